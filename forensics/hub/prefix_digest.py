"""The SHA-256 of a file that is still being written."""

from __future__ import annotations

import hashlib
import os
import threading
from queue import SimpleQueue

from forensics.errors import OutputError

_PIECE_BYTES = 1 << 20


class PrefixDigest:
    """SHA-256 of a file's finished prefix, computed in a thread of its own while the rest is fetched.

    It reads from the page cache what was just written, so the digest is there a moment after the last byte.
    """

    def __init__(self, handle: int, start: int, n_bytes: int) -> None:
        self._handle, self._start, self._n_bytes = handle, start, n_bytes
        self._ready: SimpleQueue[int | None] = SimpleQueue()
        self._sha256 = hashlib.sha256()
        self._position = 0
        self._stopped = False
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="sha256 of the fetched bytes", daemon=True)
        self._thread.start()

    def advance(self, position: int) -> None:
        """All bytes before this one are final."""
        self._ready.put(position)

    def finish(self) -> str:
        """Waits for the last byte; the digest as hex."""
        self._ready.put(None)
        self._thread.join()
        if self._failure or self._position != self._n_bytes:
            reason = self._failure.strerror if self._failure else "it was cut short by another program"
            raise OutputError(f"the partial file in the cache cannot be read back ({reason})", hint="run again")
        return self._sha256.hexdigest()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped = True
        self._ready.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (limit := self._ready.get()) is not None:
                while self._position < limit and not self._stopped:
                    size = min(_PIECE_BYTES, limit - self._position)
                    piece = os.pread(self._handle, size, self._start + self._position)
                    if not piece:
                        return
                    self._sha256.update(piece)
                    self._position += len(piece)
        except OSError as error:
            self._failure = error
