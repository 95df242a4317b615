"""Bytes of a remote file, by ranges: several in flight, every answer checked before its bytes are handed on.

Every range is asked for at the Hub's resolve address: the address of the CDN that it leads to may hold for that one
range and for minutes only. What is handed on is what the headers vouch for; a byte that was damaged at its source is
for a digest to find.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeAlias

from forensics.errors import CheckpointError, RemoteError, SourceError
from forensics.hub.answers import RemoteFile
from forensics.hub.exchange import Flight, HaltedError, Line
from forensics.hub.explain import host
from forensics.hub.headers import request_headers
from forensics.hub.reader import Reader, Write
from forensics.hub.retry import AgainError, Attempts, Patience, Pauses

__all__ = ["Patience", "Range", "RemoteFile", "Transport", "Write"]

Range: TypeAlias = tuple[int, int]
"""First byte and the one behind the last."""

PINNED = re.compile(r"/resolve/([0-9a-f]{40})/")


class Transport:
    """Reads remote files for one opened SOURCE; its methods may be called from several threads.

    Attributes:
        endpoint: the Hub's address.
        notes: what a user should know about how the bytes came.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        token: str | bool | None = None,
        max_workers: int = 4,
        patience: Patience | None = None,
        progress: Callable[[int], object] | None = None,
        say: Callable[[str], object] | None = None,
    ) -> None:
        """Prepares; asks nothing of the network.

        Args:
            endpoint: the Hub's address; None takes HF_ENDPOINT as it was when huggingface_hub was imported.
            token: as everywhere in huggingface_hub; None takes HF_TOKEN or the stored login.
            max_workers: ranges in flight at once.
            patience: time-outs and retries.
            progress: called with the number of new bytes, from one thread at a time.
            say: is told of long pauses.

        Raises:
            RemoteError: a login is asked for and there is none, or the token cannot be sent, or the endpoint is no
                web address.
        """
        from huggingface_hub import constants

        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._max_workers = max_workers
        self._patience = patience or Patience()
        self._progress = progress
        self._pauses = Pauses(self._patience, say)
        self._lock = threading.Lock()
        self._flights: set[Flight] = set()
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", self.endpoint) or host(self.endpoint) == "the address":
            raise RemoteError("the Hub's endpoint is not a web address", hint="set HF_ENDPOINT, or unset it")
        headers = request_headers(token, host(self.endpoint))
        self._reader = Reader(Line(self.endpoint, headers, self._patience), self._patience.now)
        self.notes = self._reader.notes

    def __repr__(self) -> str:
        return f"Transport({host(self.endpoint)})"

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Breaks off what is in flight; idle connections belong to huggingface_hub's session, which closes them."""
        with self._lock:
            flights = list(self._flights)
        for flight in flights:
            flight.halt()

    def locate(self, url: str, name: str) -> RemoteFile:
        """Size and ETag of a file.

        Args:
            url: its resolve address at a commit hash.
            name: its path in the repository.

        Raises:
            RemoteError: it is not there, or may not be read, or the Hub is out of reach.
            SourceError: the address names no commit.
        """
        pinned = PINNED.search(url)
        if pinned is None:
            raise SourceError(f"{name}: its address names no commit", hint="resolve the revision first")
        with self._flight() as flight:
            attempts = Attempts(name, self._patience, flight.pause, self._pauses)
            while True:
                try:
                    return self._reader.locate(url, name, pinned[1], flight)
                except AgainError as again:
                    attempts.failed(again, progress=False)

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to ``stop``, in memory: for headers.

        Raises:
            RemoteError: see ``fetch``.
        """
        held = bytearray()
        self.fetch(file, start, stop, lambda _, piece: held.extend(piece))
        return bytes(held)

    def fetch(self, file: RemoteFile, start: int, stop: int, write: Write) -> None:
        """Hands the bytes from ``start`` up to ``stop`` to ``write``, in order, each once, at most 1 MiB at a time.

        Raises:
            CheckpointError: the file does not hold these bytes.
            RemoteError: they cannot be had, or the file has changed.
        """
        with self._flight() as flight:
            self._fetch(file, start, stop, write, flight)

    def fetch_all(
        self, file: RemoteFile, ranges: Sequence[Range], write: Write, done: Callable[[Range], object]
    ) -> None:
        """Fetches ranges, several at once; the first error, or an interrupt, ends all of them.

        Args:
            file: what to read.
            ranges: in the order in which they are begun.
            write: called from several threads; never after this method has ended.
            done: called once for each range whose bytes have all been handed on, from several threads.

        Raises:
            RemoteError: see ``fetch``.
        """

        def one(wanted: Range) -> None:
            self._fetch(file, *wanted, write, flight)
            done(wanted)

        with self._flight() as flight, ThreadPoolExecutor(self._max_workers, "forensics-fetch") as pool:
            try:
                for finished in as_completed([pool.submit(one, wanted) for wanted in ranges]):
                    finished.result()
            except BaseException:
                flight.halt()
                pool.shutdown(wait=False, cancel_futures=True)  # leaving the pool then waits for the threads
                raise

    @contextlib.contextmanager
    def _flight(self) -> Iterator[Flight]:
        flight = Flight()
        with self._lock:
            self._flights.add(flight)
        try:
            yield flight
        except HaltedError:
            raise RemoteError(f"{host(self.endpoint)}: the transfer was closed while it ran") from None
        finally:
            with self._lock:
                self._flights.discard(flight)

    def _fetch(self, file: RemoteFile, start: int, stop: int, write: Write, flight: Flight) -> None:
        if not 0 <= start <= stop <= file.size:
            raise CheckpointError(
                f"{file.name}: bytes {start:,} to {stop:,} are asked for, the file has {file.size:,}",
                hint="its header is damaged",
            )
        at = start

        def hand_on(offset: int, piece: memoryview) -> None:
            nonlocal at
            write(offset, piece)
            at = offset + len(piece)
            if self._progress is not None:
                with self._lock:
                    self._progress(len(piece))

        attempts = Attempts(file.name, self._patience, flight.pause, self._pauses)
        while at < stop:
            before = at
            try:
                self._reader.fetch(file, at, stop, hand_on, flight)
            except AgainError as again:
                attempts.failed(again, progress=at > before)
