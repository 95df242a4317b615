"""A tensor as a byte range of a file: what every checkpoint format comes down to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding, Role, Source, row_bytes
from forensics.errors import CheckpointError, FormatError
from forensics.formats import TensorFormat


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a checkpoint, not yet read.

    Attributes:
        name: its name in the file.
        shape: rows first.
        dtype: the file's own name for the number type.
        format: the number format; None where it is not one that holds embeddings.
        path: the file that holds the bytes.
        offset: first byte in that file.
        n_bytes: number of bytes.
        sha256: digest of the bytes, where they were just checked against it; as hex.
        local: gives the tensor on this disk, fetching its bytes first; None where they are here.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    format: TensorFormat | None
    path: Path
    offset: int
    n_bytes: int
    sha256: str | None = None
    local: Callable[[StoredTensor], StoredTensor] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.name} [{' x '.join(map(str, self.shape))}] {self.dtype}"

    @property
    def _advice(self) -> str:
        """What to do about a number type that holds no embedding."""
        if "strided" in self.dtype:
            return "save the tensor again with .contiguous()"
        if self.dtype in ("F64", "float64", "torch.float64"):
            return "no model stores its embedding so; convert it to float32 if it is one"
        return "packed low-bit weights are not read; scan the checkpoint they were made from"

    @property
    def _where(self) -> str:
        return f"{self.path.name}: tensor {self.name[:200]!r}"

    def map(self) -> NDArray[np.uint8]:
        """The bytes, ``uint8[n_bytes]``, memory-mapped: nothing is read until it is looked at.

        Raises:
            CheckpointError: the file is gone, or shorter than it was when its header was read.
            RemoteError: the bytes are elsewhere and cannot be fetched.
        """
        if self.local is not None:
            return self.local(self).map()
        if self.n_bytes == 0:
            return np.empty(0, np.uint8)
        try:
            mapped = np.memmap(self.path, np.uint8, mode="r", offset=self.offset, shape=(self.n_bytes,))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{self._where} cannot be read ({reason})", hint="did the file change?") from error
        # As a plain array: numpy.memmap wraps every slice and row in a costlier object.
        return np.asarray(mapped)

    def embedding(self, role: Role, source: Source) -> Embedding:
        """The matrix, memory-mapped.

        Raises:
            CheckpointError: the tensor is not a matrix with rows.
            FormatError: its numbers are not of a known float or quantised format.
        """
        where = self._where
        if len(self.shape) != 2:
            shape = str(list(self.shape))[:80]
            raise CheckpointError(f"{where} has shape {shape}, an embedding is a matrix [rows, dim]")
        rows, dim = self.shape
        if rows < 1 or dim < 1:
            raise CheckpointError(f"{where} is {rows} x {dim}", hint="there is nothing to scan in an empty matrix")
        if self.format is None:
            raise FormatError(f"{where} is stored as {self.dtype}, not as floats or ggml blocks", hint=self._advice)
        width = row_bytes(self.format, dim)
        here = self if self.local is None else self.local(self)
        embedding = Embedding(here.map().reshape(rows, width), self.format, dim, role, self.name, source)
        if here.sha256 is not None:
            embedding.__dict__["sha256"] = here.sha256  # the cached property: computed once, on the way here
        return embedding
