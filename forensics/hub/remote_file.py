"""A weights file on the Hub, read at offsets: its header alone, which is remembered beside the fetched tensors."""

from __future__ import annotations

import bisect
import json
from pathlib import Path

import xxhash

from forensics.hub.explain import offline
from forensics.hub.transfer import RemoteFile, Transport

BLOCK_BYTES = {".safetensors": 1, ".gguf": 2 << 20}
"""Read at once: a safetensors header takes two reads whose ends are known; a GGUF header has a vocabulary in it."""

SMALL_BLOCK_BYTES = 1 << 16
"""For torch files, whose directory, pickle and entry headers take dozens of reads of a few bytes."""


class RemoteBytes:
    """The bytes of a remote file at given offsets; every stretch is asked for once, and offline none.

    Attributes:
        path: the file's path in its repository.
        size: in bytes.
        file: which file.
        is_new: something was read that is not remembered.
        is_recalled: what the file is was asked in an earlier run.
    """

    def __init__(self, file: RemoteFile, transport: Transport | None) -> None:
        self.path, self.size, self.file = Path(file.name), file.size, file
        self.is_new = self.is_recalled = False
        self._transport = transport
        self._block_bytes = BLOCK_BYTES.get(self.path.suffix, SMALL_BLOCK_BYTES)
        self._starts: list[int] = []
        self._held: list[bytes] = []

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """The bytes from ``offset``; fewer than asked for only at the file's end.

        Raises:
            RemoteError: they cannot be fetched.
        """
        stop = min(offset + n_bytes, self.size)
        if stop <= offset:
            return b""
        held = self._find(offset, stop)
        if held is not None:
            return held
        if self._transport is None:
            raise offline(self.file.name)
        block = self._block_bytes
        first, last = offset // block * block, min(-(-stop // block) * block, self.size)
        raw = self._transport.read(self.file, first, last)
        self._keep(first, raw)
        self.is_new = True
        return raw[offset - first : stop - first]

    def _find(self, offset: int, stop: int) -> bytes | None:
        at = bisect.bisect_right(self._starts, offset) - 1
        if at < 0 or stop > self._starts[at] + len(self._held[at]):
            return None
        start = self._starts[at]
        return self._held[at][offset - start : stop - start]

    def _keep(self, start: int, raw: bytes) -> None:
        at = bisect.bisect_left(self._starts, start)
        if at < len(self._starts) and self._starts[at] == start:
            self._held[at] = raw  # a longer stretch from the same byte
            return
        self._starts.insert(at, start)
        self._held.insert(at, raw)

    def to_bytes(self, repo: str) -> bytes:
        """What was read and of what file, to be remembered: a hash of the rest, a line of JSON, the stretches.

        Not its address: the file is the same at every endpoint, and an endpoint may hold a password.
        """
        table = [(start, len(raw)) for start, raw in zip(self._starts, self._held, strict=True)]
        place = (repo, self.file.commit, self.file.name)
        head = {"file": place, "etag": self.file.etag, "size": self.size, "stretches": table}
        rest = json.dumps(head).encode() + b"\n" + b"".join(self._held)
        return xxhash.xxh3_128_digest(rest) + rest

    @classmethod
    def recall(
        cls, remembered: bytes, url: str, place: tuple[str, str, str], transport: Transport | None
    ) -> RemoteBytes | None:
        """What an earlier run read of the file; None where it is of another, or damaged.

        Args:
            remembered: of :meth:`to_bytes`.
            url: where the file is now.
            place: its repository, commit and path.
            transport: for what was not read; None offline.
        """
        digest, rest = remembered[:16], remembered[16:]
        if xxhash.xxh3_128_digest(rest) != digest:
            return None
        line, _, joined = rest.partition(b"\n")
        try:
            head = json.loads(line)
            if head["file"] != list(place):
                return None
            _, commit, name = place
            file = cls(RemoteFile(url, name, int(head["size"]), str(head["etag"]), commit), transport)
            for start, n_bytes in head["stretches"]:
                file._keep(start, joined[:n_bytes])
                joined = joined[n_bytes:]
        except (ValueError, LookupError, TypeError):
            return None
        file.is_recalled = True
        return file
