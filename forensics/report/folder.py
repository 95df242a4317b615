"""Report folders: all of a report's files are written whole before any of them replaces an old one."""

from __future__ import annotations

import contextlib
import itertools
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from forensics.errors import OutputError

Writer = Callable[[Path], None]


def write_folder(folder: Path, files: Mapping[str, bytes | Writer], stale: frozenset[str] = frozenset()) -> list[Path]:
    """Writes files into a folder; on any failure the folder is as it was.

    Everything is first written into a hidden folder inside, so that a full disk or an interrupt ends before
    the old files are touched; then each file is renamed into place, which cannot run out of space.

    Args:
        folder: made if it is not there; other files in it are left alone.
        files: the bytes of each file, or a function that writes it to a path.
        stale: names of files of an earlier report to remove where this one has none of that name.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    made: list[Path] = []
    try:
        made = _missing(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".forensics-", dir=folder) as temporary:
            staging = Path(temporary)
            for name, content in files.items():
                if callable(content):
                    content(staging / name)
                else:
                    (staging / name).write_bytes(content)
            with _uninterrupted():
                for name in files:
                    (staging / name).replace(folder / name)
                for name in stale - files.keys():
                    (folder / name).unlink(missing_ok=True)
    except BaseException as error:
        _remove_empty(made)
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            raise OutputError(
                f"{folder}: the report cannot be written ({error.strerror or error})",
                hint="choose another folder with --out, or free some space",
            ) from error
        raise
    return [folder / name for name in files]


def _missing(folder: Path) -> list[Path]:
    """The folders that have to be made, innermost first."""
    return list(itertools.takewhile(lambda candidate: not candidate.exists(), (folder, *folder.parents)))


def _remove_empty(made: list[Path]) -> None:
    """Removes folders that were made and hold nothing: another report may have come into one meanwhile."""
    with contextlib.suppress(OSError):
        for folder in made:
            folder.rmdir()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back for the moment of the renames, so that a report is the old one or the new one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt
