"""The one meeting point: a matrix of token rows held as its raw stored bytes.

Everything that reads a real checkpoint, plants a matrix or replays a recording ends in an
:class:`Embedding`; every analysis starts from one. Floats are views, made late and exactly.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.errors import EmbeddingError, FormatError
from forensics.formats import FORMATS, FloatFormat, TensorFormat, Words

Role = Literal["input", "output", "tied", "unknown"]
"""What a matrix does: looks tokens up, scores them, both from the same bytes, or its name does not say."""

BLOCK_BYTES = 1 << 20
"""Stored bytes per streamed block: small enough that a block's float64 copy stays in a core's cache."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a matrix came from, in words that mean the same on another machine.

    Attributes:
        kind: "file", "folder", "package", "planted", "memory", "hub", "recording".
        location: a name, never a machine path.
        revision: what pins the content (a commit hash, a package version, a recording's step), or None.
    """

    kind: str
    location: str
    revision: str | None = None

    def __str__(self) -> str:
        return self._named + (f" @ {self.revision}" if self.revision else "")

    @property
    def argument(self) -> str:
        """What to name on the command line to open it again: of a model on the Hub, the very commit."""
        if self.kind == "recording":
            return f"{self._named}@{self.revision}"
        if self.kind != "hub":
            return self._named
        repo, colon, file = self.location.partition(":")
        scheme = "" if "/" in repo else "hf:"
        return f"{scheme}{repo}@{self.revision}{colon}{file}"

    @property
    def _named(self) -> str:
        return {"package": "pkg:", "planted": "synth:", "recording": "run:"}.get(self.kind, "") + self.location

    def to_dict(self) -> dict[str, str | None]:
        """The three fields."""
        return {"kind": self.kind, "location": self.location, "revision": self.revision}


@dataclass(frozen=True, eq=False)
class Embedding:
    """A matrix of token rows as stored.

    Attributes:
        rows_bytes: ``uint8[rows, row_bytes]``, memory-mapped where it can be; never written to.
        format: the number format of the stored rows.
        dim: numbers in a row.
        role: what the matrix does in its model.
        tensor: its name in the file.
        source: where it came from.

    Raises:
        EmbeddingError: the bytes are not ``rows`` x ``row_bytes`` of this format, or there are none.
    """

    rows_bytes: NDArray[np.uint8]
    format: TensorFormat
    dim: int
    role: Role = "unknown"
    tensor: str = "embedding"
    source: Source = Source("memory", "array")

    def __post_init__(self) -> None:
        shape = self.rows_bytes.shape
        if self.rows_bytes.dtype != np.uint8 or len(shape) != 2:
            found = f"{self.rows_bytes.dtype.name}{list(shape)}"
            raise EmbeddingError(f"{self.tensor}: rows are uint8[rows, row_bytes], found {found}")
        if not self.rows_bytes.flags.c_contiguous:
            raise EmbeddingError(f"{self.tensor}: the rows are not one contiguous stretch of bytes")
        if self.dim < 1 or shape[0] < 1:
            raise EmbeddingError(
                f"{self.tensor}: expected rows of numbers, found {shape[0]} rows of {self.dim}",
                hint="there is nothing to scan in an empty matrix",
            )
        expected = row_bytes(self.format, self.dim)
        if shape[1] != expected:
            row = f"a row of {self.dim} {self.format.name} numbers"
            raise EmbeddingError(f"{self.tensor}: {row} is {expected} bytes, found {shape[1]}")

    def __repr__(self) -> str:
        return f"Embedding({self.tensor!r}, {self.n_rows:,} x {self.dim:,} {self.format.name}, {self.role})"

    @property
    def n_rows(self) -> int:
        """Number of token rows."""
        return int(self.rows_bytes.shape[0])

    @property
    def row_bytes(self) -> int:
        """Stored bytes of one row."""
        return int(self.rows_bytes.shape[1])

    @property
    def n_bytes(self) -> int:
        """Stored bytes of the matrix."""
        return self.rows_bytes.size

    @property
    def is_quantised(self) -> bool:
        """True where the rows are blocks of integers with scales rather than floats."""
        return not isinstance(self.format, FloatFormat)

    @property
    def float_format(self) -> FloatFormat:
        """The format, where it is a float format.

        Raises:
            FormatError: the matrix is quantised, so its numbers have no words.
        """
        if isinstance(self.format, FloatFormat):
            return self.format
        raise FormatError(
            f"{self.tensor} is stored as {self.format.name} blocks, which have no words or exponents",
            hint="scan the checkpoint that the quantised file was made from",
        )

    @property
    def words(self) -> Words:
        """The raw words, ``uint[rows, dim]``; a view, nothing is copied.

        Raises:
            FormatError: the matrix is quantised.
        """
        return self.rows_bytes.view(self.float_format.word_dtype)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the tensor's stored bytes, as hex: equal if and only if two people scanned the same."""
        digest = hashlib.sha256()
        for start, stop in self.spans():
            digest.update(self.rows_bytes[start:stop].data)
        return digest.hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """What tells it apart: role, tensor, shape, dtype, sha256."""
        shape = [self.n_rows, self.dim]
        return {
            "role": self.role,
            "tensor": self.tensor,
            "shape": shape,
            "dtype": self.format.name,
            "sha256": self.sha256,
        }

    def spans(self, n_rows: int | None = None, *, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, int]]:
        """Ranges that together cover ``n_rows`` rows (all of the matrix's if None), each of about a block's bytes."""
        step = max(1, block_bytes // self.row_bytes)
        total = self.n_rows if n_rows is None else n_rows
        for start in range(0, total, step):
            yield start, min(start + step, total)

    def values(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """The values of rows ``start`` to ``stop``, ``float32[rows, dim]``: exact, or dequantised."""
        return self._decode(self.rows_bytes[start:stop])

    def values_of(self, token_ids: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """The values of the rows of these tokens, ``float32[n, dim]``."""
        return self._decode(self.rows_bytes[token_ids])

    def _decode(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        if isinstance(self.format, FloatFormat):
            return self.format.widen(np.ascontiguousarray(rows).view(self.format.word_dtype))
        return self.format.dequantise(rows)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Streams ``(first row, float32[rows, dim])`` so that nothing holds the whole matrix as floats."""
        for start, stop in self.spans():
            yield start, self.values(start, stop)

    @classmethod
    def from_array(
        cls, array: Any, *, role: Role = "unknown", tensor: str = "embedding", source: Source | None = None
    ) -> Embedding:
        """An embedding over the bits of a numpy, ml_dtypes or torch matrix.

        Where the matrix is contiguous and on the CPU this is a view of its memory: scan before the next
        training step changes it, or pass a copy.

        Args:
            array: a two-dimensional array or tensor of bfloat16, float16, float32 or float8.
            role: what the matrix does.
            tensor: a name for it.
            source: where it came from; "memory" if not given.

        Raises:
            FormatError: the numbers are of a type that is not in the catalogue (float64 among them).
            EmbeddingError: not a matrix, an empty one, or a tensor whose numbers are not loaded.
        """
        if _is_torch(array) and array.is_meta:
            raise EmbeddingError(
                f"{tensor}: a tensor on the meta device holds no numbers", hint="load the weights first"
            )
        bits, type_name = _torch_bits(array) if _is_torch(array) else _numpy_bits(array)
        if type_name not in FORMATS:
            raise FormatError(
                f"{tensor}: {type_name} numbers are not a stored embedding format",
                hint=f"known: {', '.join(FORMATS)}; convert explicitly if that is what the model stores",
            )
        if bits.ndim != 2:
            raise EmbeddingError(f"{tensor}: expected a matrix [rows, dim], found shape {list(bits.shape)}")
        fmt = FORMATS[type_name]
        rows = np.ascontiguousarray(bits).view(np.uint8)
        return cls(rows, fmt, bits.shape[1], role, tensor, source or Source("memory", "array"))

    @classmethod
    def from_model(cls, model: Any, *, role: Literal["input", "output"] = "input") -> Embedding:
        """The embedding of a transformers model in memory, for someone in the middle of a fine-tune.

        Args:
            model: anything with ``get_input_embeddings`` and ``get_output_embeddings``.
            role: which of the two matrices.

        Raises:
            EmbeddingError: the model has no such matrix.
        """
        layer = model.get_input_embeddings() if role == "input" else model.get_output_embeddings()
        if layer is None or getattr(layer, "weight", None) is None:
            raise EmbeddingError(f"{type(model).__name__} has no {role} embedding matrix")
        source = Source("memory", type(model).__name__)
        return cls.from_array(layer.weight, role=role, tensor=f"{role}_embeddings.weight", source=source)


def row_bytes(fmt: TensorFormat, dim: int) -> int:
    """Stored bytes of a row of ``dim`` numbers in a format."""
    return fmt.itemsize * dim if isinstance(fmt, FloatFormat) else fmt.row_bytes(dim)


def _is_torch(array: Any) -> bool:
    torch = sys.modules.get("torch")  # who holds a tensor has imported it
    return torch is not None and isinstance(array, torch.Tensor)


def _torch_bits(tensor: Any) -> tuple[NDArray[Any], str]:
    import torch  # the caller holds a torch tensor, so this import is free

    type_name = str(tensor.dtype).removeprefix("torch.")
    stored = tensor.detach().cpu().contiguous()
    if type_name not in FORMATS:
        return np.empty((0, 0)), type_name
    signed = {1: torch.int8, 2: torch.int16, 4: torch.int32}[FORMATS[type_name].itemsize]
    return stored.view(signed).numpy().view(FORMATS[type_name].word_dtype), type_name


def _numpy_bits(array: Any) -> tuple[NDArray[Any], str]:
    values = np.asarray(array)
    type_name = values.dtype.name
    if type_name not in FORMATS:
        return values, type_name
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).view(FORMATS[type_name].word_dtype), type_name
