"""One attempt at a file's description or at a range of its bytes, every answer along the way checked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urljoin

from forensics.hub.answers import (
    RemoteFile,
    changed,
    check_range,
    check_resolve,
    check_status,
    check_whole,
    described,
    etag_of,
    measured,
)
from forensics.hub.exchange import REDIRECTS, Flight, Line
from forensics.hub.explain import explain, host

if TYPE_CHECKING:
    from datetime import datetime

    import httpx2

Write: TypeAlias = Callable[[int, memoryview], object]
"""Takes a piece and its offset in the remote file."""


class Reader:
    """Makes single attempts; remembers the ETags that it has seen.

    Attributes:
        notes: what a user should know about how the bytes came.
    """

    def __init__(self, line: Line, now: Callable[[], datetime]) -> None:
        self.notes: list[str] = []
        self._line, self._now = line, now
        self._lock = threading.Lock()
        self._etags: dict[tuple[str, str], str | None] = {}

    def locate(self, url: str, name: str, commit: str, flight: Flight) -> RemoteFile:
        """One attempt at the answer that speaks of the file: the last one that is the Hub's own."""
        with contextlib.closing(self._line.hops("HEAD", url, {}, flight, name)) as hops:
            for at, answer in hops:
                if answer.status_code in REDIRECTS and self._line.is_hub(
                    urljoin(at, answer.headers.get("Location", ""))
                ):
                    continue
                if answer.status_code not in REDIRECTS:
                    self._refuse(name, url, at, answer)
                return described(url, name, commit, answer)
        raise AssertionError("the last hop was no redirect")

    def fetch(self, file: RemoteFile, start: int, stop: int, hand_on: Write, flight: Flight) -> None:
        """One attempt at what is missing of a range."""
        asked = {"range": f"bytes={start}-{stop - 1}"}
        with contextlib.closing(self._line.hops("GET", file.url, asked, flight, file.name)) as hops:
            for at, answer in hops:
                if self._line.is_hub(at):
                    check_resolve(file, answer)
                if answer.status_code in REDIRECTS:
                    continue
                self._refuse(file.name, file.url, at, answer, file.size)
                self._check_etag(file, at, answer)
                body = self._line.pieces(at, answer, flight)
                if answer.status_code == 200:
                    check_whole(file, at, answer)
                    whole = b"".join(measured(file, at, body, 0, file.size))
                    if (start, stop) != (0, file.size):
                        self._note(f"{file.name}: {host(at)} ignores ranges and sent the whole file")
                    hand_on(start, memoryview(whole)[start:stop])
                    return
                check_range(file, at, answer, start, stop)
                offset = start
                for piece in measured(file, at, body, start, stop):
                    hand_on(offset, piece)
                    offset += len(piece)

    def _refuse(self, name: str, url: str, at: str, answer: httpx2.Response, size: int | None = None) -> None:
        """Turns an answer without the file into the error that says why."""
        is_hub = self._line.is_hub(at)
        if is_hub and answer.status_code in (400, 401, 403, 404, 410, 451):
            repo, _, revision = url.removeprefix(f"{self._line.endpoint}/").partition("/resolve/")
            raise explain(answer, repo, revision[:12], file=name, endpoint=self._line.endpoint)
        check_status(name, size, at, answer, is_hub=is_hub, now=self._now())

    def _check_etag(self, file: RemoteFile, at: str, answer: httpx2.Response) -> None:
        """A host's ETag for a file stays what it was at first (a CDN's need not be the Hub's)."""
        etag = etag_of(answer.headers)
        with self._lock:
            first = self._etags.setdefault((file.url, host(at)), etag)
        if etag != first:
            raise changed(file.name, f"{host(at)} gives it another ETag")

    def _note(self, note: str) -> None:
        with self._lock:
            if note not in self.notes:
                self.notes.append(note)
