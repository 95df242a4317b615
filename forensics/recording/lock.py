"""One writer at a time: a lock on the folder that dies with its process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from forensics.errors import OutputError, RecordingError

LOCK_FILE = ".writing"


class FolderLock:
    """Holds ``.writing`` in a folder.

    Raises:
        RecordingError: another process writes there.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import fcntl
        except ImportError:
            raise OutputError(
                "this system has no file locks of the POSIX kind, so no run is recorded to disk",
                hint="keep the recording in memory",
            ) from None
        self._path = folder / LOCK_FILE
        self._handle: int | None = None
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its holder may have removed the file between the two calls.
            if not os.path.samestat(os.fstat(handle), self._path.stat()):
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError):
            os.close(handle)
            raise RecordingError(
                f"{folder.name}: another process writes this recording", hint="wait for it, or choose another folder"
            ) from None
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle

    @property
    def is_held(self) -> bool:
        """True until it is released."""
        return self._handle is not None

    def release(self) -> None:
        """Gives the folder free; once is enough."""
        if self._handle is not None:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._handle)
            self._handle = None
