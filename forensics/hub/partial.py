"""A tensor while it is fetched: written in place, chunk by chunk, so that a kill costs the chunks in flight.

The journal's first line says what is fetched; each further line names a chunk whose bytes all arrived, with
their hash. Lines are appended after the chunk's last byte was written. On resumption every chunk named is
hashed again before it is believed, so that a torn or lying line costs a chunk and never gives wrong bytes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from forensics.errors import RemoteError
from forensics.hub.entry import EntryFiles, cache_trouble, write_whole
from forensics.hub.prefix_digest import PrefixDigest
from forensics.hub.wanted import Wanted

SCHEMA = "forensics.partial/1"

CHUNK_BYTES = 16 << 20
"""Bytes of one request, and the most a killed worker loses: 200 MB are 12 requests, 778 MB are 47."""

_PIECE_BYTES = 1 << 20
_LINE = re.compile(rb"(\d{1,9}) ([0-9a-f]{32})")
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def n_chunks(wanted: Wanted) -> int:
    """Chunks of a tensor; the last can be shorter."""
    return -(-wanted.n_bytes // CHUNK_BYTES)


def journal_head(wanted: Wanted) -> bytes:
    """The journal's first line: the source, the layout and the ETag. A partial file under another starts over."""
    return json.dumps({"schema": SCHEMA, "chunk_bytes": CHUNK_BYTES, **wanted.to_dict()}, sort_keys=True).encode()


def read_journal(path: Path) -> tuple[bytes, dict[int, str]]:
    """A journal's first line, and the hash of each chunk it names; what is no such line is left out."""
    try:
        head, *lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return b"", {}
    found = [match for line in lines if (match := _LINE.fullmatch(line))]
    return head, {int(m[1]): m[2].decode() for m in found}


@dataclass(slots=True)
class _Chunk:
    start: int
    stop: int
    position: int
    hash: Any = field(default_factory=xxhash.xxh3_128)


class Partial:
    """The partial file of an entry whose lock is held; positions are bytes of the tensor.

    Attributes:
        notes: what was found of an earlier fetch.
    """

    def __init__(self, files: EntryFiles, wanted: Wanted) -> None:
        """Takes up what an earlier fetch left, and claims the room of the rest.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self.files, self.wanted = files, wanted
        self.notes: list[str] = []
        self._idle = threading.Condition()
        self._n_writing = 0
        self._done: dict[int, str] = {}
        self._missing: dict[int, _Chunk] = {}
        self._prefix = 0
        head, header = journal_head(wanted), wanted.header()
        self._data_start = len(header)
        said, hashes = read_journal(files.journal)
        if said != head:
            if said:
                self.notes.append("what an earlier run had fetched was of another file, or is damaged: started over")
            files.partial.unlink(missing_ok=True)
            hashes = {}
        elif files.data.exists() and not files.partial.exists():
            files.data.replace(files.partial)  # killed between the renaming of the data and the manifest
        self._handle = os.open(files.partial, os.O_RDWR | os.O_CREAT, 0o666)
        self._journal = -1
        self._digest = PrefixDigest(self._handle, self._data_start, wanted.n_bytes)
        try:
            _claim(self._handle, self._data_start + wanted.n_bytes)
            _write_all(self._handle, memoryview(header), 0)
            self._believe(hashes)
            lines = [head, *(b"%d %s" % (i, h.encode()) for i, h in self._done.items())]
            write_whole(files.journal, b"".join(line + b"\n" for line in lines))
            self._journal = os.open(files.journal, os.O_WRONLY | os.O_APPEND)
        except BaseException:
            self.close()
            raise
        self._advance()

    def _believe(self, hashes: dict[int, str]) -> None:
        total = n_chunks(self.wanted)
        self._done = {i: said for i, said in sorted(hashes.items()) if i < total and self._hash(i) == said}
        if hashes:
            self.notes.append(f"resumed: {len(self._done)} of {total} chunks were there from an earlier run")
        self._missing = {
            i: _Chunk(start, stop, start)
            for i in range(total)
            if i not in self._done
            for start, stop in [self._span(i)]
        }

    def _span(self, index: int) -> tuple[int, int]:
        return index * CHUNK_BYTES, min((index + 1) * CHUNK_BYTES, self.wanted.n_bytes)

    def _hash(self, index: int) -> str:
        start, stop = self._span(index)
        digest = xxhash.xxh3_128()
        for position in range(start, stop, _PIECE_BYTES):
            size = min(_PIECE_BYTES, stop - position)
            digest.update(os.pread(self._handle, size, self._data_start + position))
        return str(digest.hexdigest())

    def missing(self) -> list[tuple[int, int]]:
        """First byte and end, in the remote file, of each chunk still to be fetched."""
        return [(self.wanted.offset + c.start, self.wanted.offset + c.stop) for c in self._missing.values()]

    def write(self, offset: int, piece: memoryview) -> None:
        """Puts bytes of the remote file in their place; called from several threads, one a chunk.

        The pieces of a chunk come in order and without gaps; starting again at the chunk's first byte is allowed.

        Raises:
            RemoteError: bytes that are not the next of a chunk still to be fetched.
            OutputError: they cannot be written.
        """
        start, size = offset - self.wanted.offset, len(piece)
        with self._idle:
            chunk = self._missing.get(start // CHUNK_BYTES)
            if chunk is not None and start == chunk.start:
                chunk.position, chunk.hash = start, xxhash.xxh3_128()
            if chunk is None or start != chunk.position or start + size > chunk.stop:
                what = f"bytes {offset:,} to {offset + size:,} came, which were not asked for"
                raise RemoteError(f"{self._where}: {what}")
            self._n_writing += 1
        try:
            with cache_trouble(self.files.folder):
                _write_all(self._handle, piece, self._data_start + start)
            chunk.hash.update(piece)
            chunk.position += size
        finally:
            with self._idle:
                self._n_writing -= 1
                self._idle.notify_all()

    def done(self, span: tuple[int, int]) -> None:
        """Records that all bytes of a chunk were written.

        Raises:
            RemoteError: they were not.
            OutputError: the journal cannot be written.
        """
        index = (span[0] - self.wanted.offset) // CHUNK_BYTES
        with self._idle:
            chunk = self._missing.get(index)
            if chunk is None or chunk.position != chunk.stop:
                raise RemoteError(f"{self._where}: fewer bytes came than bytes {span[0]:,} to {span[1]:,}")
            self._done[index] = chunk.hash.hexdigest()
            with cache_trouble(self.files.folder):
                _write_all(self._journal, memoryview(b"%d %s\n" % (index, self._done[index].encode())))
            del self._missing[index]
            self._advance()

    def _advance(self) -> None:
        while self._prefix in self._done:
            self._prefix += 1
        self._digest.advance(min(self._prefix * CHUNK_BYTES, self.wanted.n_bytes))

    def finish(self) -> str:
        """The SHA-256 of the whole tensor, as hex.

        Raises:
            RemoteError: chunks are missing.
            OutputError: the file could not be read back.
        """
        if self._missing:
            raise RemoteError(f"{self._where}: {len(self._missing)} of {n_chunks(self.wanted)} chunks did not come")
        return self._digest.finish()

    def close(self) -> None:
        """Lets go of the files; what was fetched stays for the next run.

        A thread that still writes, as one may after an interrupt, comes to its end first, and later ones are refused:
        a closed handle's number may by then be another file's.
        """
        with self._idle:
            self._missing = {}
            self._idle.wait_for(lambda: self._n_writing == 0)
        self._digest.stop()
        for handle in (self._handle, self._journal):
            if handle >= 0:
                os.close(handle)

    @property
    def _where(self) -> str:
        return f"{self.wanted.key.file[:80]}: tensor {self.wanted.key.tensor[:80]!r}"


def described(head: bytes) -> Wanted | None:
    """What a journal's first line says is fetched; None where it says nothing sound."""
    try:
        return Wanted.from_dict(json.loads(head))
    except (ValueError, TypeError, RecursionError):  # CheckpointError is a ValueError
        return None


def _claim(handle: int, size: int) -> None:
    """Gives the file its size and, where the system can, its room: a full disk is known before the fetch."""
    if os.fstat(handle).st_size > size:
        os.ftruncate(handle, size)
    try:
        os.posix_fallocate(handle, 0, size)
    except AttributeError:  # macOS
        os.ftruncate(handle, size)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        os.ftruncate(handle, size)


def _write_all(handle: int, piece: memoryview, offset: int | None = None) -> None:
    """Writes all of a piece at an offset, or at the end of an appended file."""
    while piece:
        written = os.write(handle, piece) if offset is None else os.pwrite(handle, piece, offset)
        piece = piece[written:]
        offset = None if offset is None else offset + written
