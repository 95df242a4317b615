"""What is fetched: one tensor of one file of a repository at a commit, and how a cache file holds it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forensics.checkpoint.safetensors_file import BITS, METADATA
from forensics.checkpoint.stored import StoredTensor
from forensics.errors import CheckpointError, SourceError
from forensics.formats import FORMATS, BlockFormat, FloatFormat, TensorFormat

ALIGNMENT = 64
"""The data of a cache file starts at a multiple of this: a cache line, and the widest vector load."""

COMMIT = re.compile("[0-9a-f]{40}([0-9a-f]{24})?")
"""A SHA-1 or SHA-256 of git."""

_LAYOUT = {"name", "code", "block_values", "block_bytes"}


@dataclass(frozen=True, slots=True)
class TensorKey:
    """Names a tensor for good: a commit's files never change.

    Attributes:
        repo: ``org/name``.
        commit: a whole commit hash, never a branch.
        file: the file's path in the repository.
        tensor: the tensor's name in the file.

    Raises:
        SourceError: the commit is not a hash.
        CheckpointError: a name cannot be written down (half of a surrogate pair), or is no tensor's.
    """

    repo: str
    commit: str
    file: str
    tensor: str

    def __post_init__(self) -> None:
        if not COMMIT.fullmatch(self.commit):
            raise SourceError(f"{self.repo}: {self.commit[:80]!r} is not a commit hash")
        try:
            "".join((self.repo, self.file, self.tensor)).encode()
        except UnicodeEncodeError as error:
            raise CheckpointError(f"tensor {self.tensor[:80]!r} has a name that is not text ({error.reason})") from None
        if self.tensor == METADATA:
            raise CheckpointError(f"{self.file[:80]}: a tensor named {METADATA} cannot be kept as safetensors")

    @property
    def stem(self) -> str:
        """The name of its cache files: the tensor's, made plain, and a hash of the exact key.

        The hash alone tells keys apart, so nothing depends on what a file system makes of case or accents.
        """
        return f"{plain(self.tensor)}-{short_hash(self.repo, self.commit, self.file, self.tensor)}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tensor as a byte range of a remote file.

    Attributes:
        key: which tensor.
        etag: the file's.
        file_size: bytes of the file.
        offset: first byte of the tensor in the file.
        n_bytes: bytes of the tensor.
        shape: rows first.
        dtype: the file's own name for the number type.
        format: the number format; None where it is not one that holds embeddings.

    Raises:
        CheckpointError: the bytes are not in the file, or do not add up to the shape.
    """

    key: TensorKey
    etag: str
    file_size: int
    offset: int
    n_bytes: int
    shape: tuple[int, ...]
    dtype: str
    format: TensorFormat | None

    def __post_init__(self) -> None:
        where = f"{self.key.file[:80]}: tensor {self.key.tensor[:80]!r}"
        if not 0 <= self.offset <= self.offset + self.n_bytes <= self.file_size:
            stop = self.offset + self.n_bytes
            raise CheckpointError(f"{where} is bytes {self.offset:,} to {stop:,}, the file has {self.file_size:,}")
        code, shape = self.stored_as
        if BITS[code] * math.prod(shape) != 8 * self.n_bytes:
            raise CheckpointError(f"{where}: {self.n_bytes:,} bytes are not {str(list(shape))[:80]} {code}")

    @classmethod
    def of(cls, tensor: StoredTensor, *, repo: str, commit: str, file: str, etag: str, file_size: int) -> Wanted:
        """What a remote file's header says, with where the file is."""
        key = TensorKey(repo, commit, file, tensor.name)
        return cls(
            key, etag, file_size, tensor.offset, tensor.n_bytes, tuple(tensor.shape), tensor.dtype, tensor.format
        )

    @property
    def stored_as(self) -> tuple[str, tuple[int, ...]]:
        """Dtype code and shape in the cache file: quantised rows are rows of bytes."""
        if isinstance(self.format, FloatFormat):
            return self.format.stored_as, self.shape
        if self.format is not None and self.shape:
            return "U8", (*self.shape[:-1], self.format.row_bytes(self.shape[-1]))
        return (self.dtype, self.shape) if self.dtype in BITS else ("U8", (self.n_bytes,))

    def header(self) -> bytes:
        """All bytes of the cache file before the data: a function of this value alone, so it is checked by equality."""
        code, shape = self.stored_as
        metadata = {"repo": self.key.repo, "commit": self.key.commit, "file": self.key.file}
        if isinstance(self.format, BlockFormat):
            metadata |= {"format": self.format.name, "shape": json.dumps(self.shape)}
        entry = {"dtype": code, "shape": shape, "data_offsets": (0, self.n_bytes)}
        text = json.dumps({METADATA: metadata, self.key.tensor: entry}, separators=(",", ":"), ensure_ascii=False)
        raw = text.encode()
        raw += b" " * (-(8 + len(raw)) % ALIGNMENT)
        return len(raw).to_bytes(8, "little") + raw

    def stored(self, path: Path) -> StoredTensor:
        """The tensor in its cache file, with the dtype and format that it had at its source."""
        offset = len(self.header())
        return StoredTensor(self.key.tensor, self.shape, self.dtype, self.format, path, offset, self.n_bytes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        fmt = self.format
        return {
            **asdict(self.key),
            "etag": self.etag,
            "file_size": self.file_size,
            "byte_range": [self.offset, self.offset + self.n_bytes],
            "shape": list(self.shape),
            "dtype": self.dtype,
            "format": asdict(fmt) if isinstance(fmt, BlockFormat) else fmt and {"name": fmt.name},
        }

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> Wanted:
        """What :meth:`to_dict` gave; the rest of the mapping is not looked at.

        Raises:
            CheckpointError: it did not.
        """
        try:
            key = TensorKey(said["repo"], said["commit"], said["file"], said["tensor"])
            start, stop = said["byte_range"]
            fmt, shape = said["format"], tuple(said["shape"])
            if fmt is not None:
                fmt = BlockFormat(**fmt) if fmt.keys() == _LAYOUT else FORMATS[fmt["name"]]
            return cls(key, said["etag"], said["file_size"], start, stop - start, shape, said["dtype"], fmt)
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            raise CheckpointError(f"does not describe a tensor ({type(error).__name__})") from None


def plain(name: str) -> str:
    """At most 60 ASCII letters, digits, dots, hyphens and underscores of a name, which need not tell it apart."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60].strip(".-") or "unnamed"


def short_hash(*names: str) -> str:
    """128 bits of a SHA-256 over names, as hex."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:32]
