"""Files read at given offsets, on this disk or elsewhere: what every reader of weights is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

AHEAD_BYTES = 1 << 18
"""Read at once where many small reads follow each other."""


class BinaryFile(Protocol):
    """A file whose bytes are read at given offsets.

    Attributes:
        path: where its tensors say that they lie; its name begins error messages.
        size: in bytes.
    """

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """The bytes from ``offset``; fewer than asked for only at the file's end."""


class LocalFile:
    """A file on this disk."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.size = os.fstat(file.fileno()).st_size
        self._file = file

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """The bytes from ``offset``; fewer than asked for only at the file's end."""
        self._file.seek(offset)
        return self._file.read(n_bytes)


class ReadAhead:
    """Serves small reads that go forward through a file from one larger read."""

    def __init__(self, file: BinaryFile, block_bytes: int = AHEAD_BYTES) -> None:
        self.path, self.size = file.path, file.size
        self._file, self._block_bytes = file, block_bytes
        self._start, self._block = 0, b""

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """The bytes from ``offset``; fewer than asked for only at the file's end."""
        at = offset - self._start
        if at < 0 or at + n_bytes > len(self._block):
            wanted = min(max(n_bytes, self._block_bytes), self.size - offset)
            self._start, self._block = offset, self._file.read_at(offset, wanted) if wanted > 0 else b""
            at = 0
        return self._block[at : at + n_bytes]


@contextmanager
def opened(file: Path | BinaryFile) -> Iterator[BinaryFile]:
    """The file itself, or the one of that path for as long as it is needed."""
    if not isinstance(file, Path):
        yield file
        return
    with file.open("rb", buffering=0) as handle:
        yield LocalFile(file, handle)
