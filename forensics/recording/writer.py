"""Writes a recording, frame by frame, so that a reader or a kill at any moment finds whole frames.

A chunk of frames is gathered in memory and written when it is full: beside, then renamed; ``frames.json``, which
says how many frames there are, is replaced after it. A kill costs the frames that were only in memory: of a large
channel fewer than a chunk, of small ones some seconds. :meth:`RecordingWriter.flush` writes them all and waits for
the disk, so that what it wrote survives a power cut, too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import ArrayLike

from forensics.errors import ForensicsError, OutputError, RecordingError
from forensics.recording.channel import Channel, by_name, unknown
from forensics.recording.folder import change_config, check_tokens, make_folder, refuse_what_is_there
from forensics.recording.lock import FolderLock
from forensics.recording.memory import check_step
from forensics.recording.open_chunk import OpenChunk
from forensics.recording.reader import open_recording
from forensics.recording.recording import checked_dead
from forensics.recording.store import (
    FRAMES_FILE,
    TOKENIZER_FILE,
    open_array,
    read_attributes,
    read_document,
    replace_text,
    writing,
)

PUBLISH_S = 5.0
"""Seconds after which small channels' open chunks are written for readers; rewriting them each time would cost more
than it saves."""


class RecordingWriter:
    """Appends frames to a recording's folder; a context manager.

    Made by :meth:`create` or :meth:`reopen`.
    """

    def __init__(self, folder: Path, lock: FolderLock, chunks: dict[str, OpenChunk], at: int) -> None:
        self._folder = folder
        self._lock = lock
        self._chunks = chunks
        self._at = at
        self._published = time.monotonic()
        self._unsynced: set[Path] = set()

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: Mapping[str, Any],
        channels: Sequence[Channel],
        *,
        vocab_size: int,
        dead_ids: ArrayLike,
        extra: Mapping[str, Any] | None = None,
        tokenizer_json: str | None = None,
    ) -> Self:
        """Starts a recording in a folder.

        Args:
            path: the folder; made if it is not there. Other files in it are left alone.
            config: the run's settings; JSON values.
            channels: what will be recorded.
            vocab_size: number of tokens.
            dead_ids: tokens that never occur in the training stream.
            extra: what else belongs to the run, such as the census; small JSON values.
            tokenizer_json: the text of the run's tokenizer.json, for a reader who wants pieces.

        Raises:
            OutputError: the folder holds a recording, or cannot be written.
            RecordingError: another process writes there; values that JSON cannot hold; channels that contradict.
        """
        folder, known, dead = Path(path), by_name(channels), checked_dead(dead_ids, vocab_size)
        check_tokens(known, vocab_size)
        with writing(folder.name):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(folder)
        try:
            refuse_what_is_there(folder)
            with writing(folder.name):
                if tokenizer_json is not None:
                    replace_text(folder / TOKENIZER_FILE, tokenizer_json)
                made_of = {"config": config, "vocab_size": vocab_size, "extra": extra or {}}
                arrays = make_folder(folder, made_of, known, dead)
                chunks = {name: OpenChunk(folder, known[name], array) for name, array in arrays.items()}
                made = cls(folder, lock, chunks, -1)
                # Last: a folder without it was cut off while it was made, and may be made again.
                made._publish()
                return made
        except BaseException:
            lock.release()
            raise

    @classmethod
    def reopen(cls, path: str | Path, step: int, *, config: Mapping[str, Any] | None = None) -> Self:
        """Goes on with a recording after a step; frames of later steps are dropped.

        Args:
            path: the folder.
            step: the last step to keep.
            config: the run's settings from now on, where they change; None leaves them.

        Raises:
            RecordingError: no recording, another process writes it, or frames up to that step are not all there.
            OutputError: the folder cannot be written.
        """
        folder = Path(path)
        read_attributes(folder)
        with writing(folder.name):
            lock = FolderLock(folder)
        try:
            recording = open_recording(folder)
            whole = read_document(folder / FRAMES_FILE, f"{folder.name}: {FRAMES_FILE}").get("complete_to")
            if not isinstance(whole, int) or step > whole:
                raise RecordingError(
                    f"{folder.name}: its frames are complete to step {whole}, so it cannot go on after {step}",
                    hint=f"go on from a checkpoint at step {whole} or before",
                )
            chunks = {}
            with writing(folder.name):
                for channel in recording.channels:
                    array = open_array(folder, channel.name, writable=True)
                    chunks[channel.name] = OpenChunk.resume(folder, channel, array, recording, step)
                made = cls(folder, lock, chunks, step)
                # The counts first: until they are down, no frame that they count may go.
                made._publish()
                for chunk in chunks.values():
                    chunk.trim()
                if config is not None:
                    change_config(folder, config)
            return made
        except BaseException:
            lock.release()
            raise

    def append(self, step: int, frame: Mapping[str, ArrayLike]) -> None:
        """Adds one step's frames; the arrays are copied.

        Args:
            step: not before that of an earlier call, and later than any frame of these channels.
            frame: by channel; any of them.

        Raises:
            RecordingError: an unknown channel, a frame of another shape or dtype, a step that is not later. Nothing
                of the call is recorded then.
            OutputError: a chunk is full and the disk cannot take it; it is tried again with the next call.
        """
        self._check_open()
        arrays = {}
        for name, given in frame.items():
            if name not in self._chunks:
                raise unknown(name, self._chunks)
            check_step(name, step, self._chunks[name].last_step)
            arrays[name] = self._chunks[name].channel.checked(given)
        if step < self._at:
            raise RecordingError(f"{self._folder.name}: step {step} comes after step {self._at}")
        with writing(self._folder.name):
            full = [chunk for name in arrays if (chunk := self._chunks[name]).is_full]
            for chunk in full:  # left from a call that failed
                self._write(chunk)
            for name, array in arrays.items():
                self._chunks[name].add(step, array)
            self._at = max(self._at, step)
            full = [chunk for name in arrays if (chunk := self._chunks[name]).is_full]
            late = time.monotonic() - self._published > PUBLISH_S
            open_ones = [c for c in self._chunks.values() if late and c.is_small and c.is_pending]
            for chunk in dict.fromkeys([*full, *open_ones]):
                self._write(chunk)
            if full or open_ones:
                self._publish(late=late)

    def flush(self) -> None:
        """Writes every frame and waits until the disk holds it.

        Raises:
            OutputError: the disk cannot take it; what was written before is kept.
        """
        self._check_open()
        with writing(self._folder.name):
            for chunk in self._chunks.values():
                if chunk.is_pending:
                    self._write(chunk)
            described = {path.with_name("zarr.json") for path in self._unsynced}
            for path in sorted(self._unsynced | described | {path.parent for path in self._unsynced}):
                _sync(path)
            self._unsynced.clear()
            self._publish()
            _sync(self._folder / FRAMES_FILE)
            _sync(self._folder)

    def close(self) -> None:
        """Flushes and lets go of the folder; once is enough."""
        if self._lock.is_held:
            try:
                self.flush()
            finally:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except ForensicsError:
            if error is None:
                raise

    def _check_open(self) -> None:
        if not self._lock.is_held:
            raise OutputError(f"{self._folder.name}: the recording was closed", hint="reopen it at its last step")

    def _write(self, chunk: OpenChunk) -> None:
        self._unsynced.add(chunk.write())

    def _publish(self, *, late: bool = True) -> None:
        waiting = [c.first_pending for c in self._chunks.values() if c.is_pending]
        document = {
            "complete_to": min([self._at, *(step - 1 for step in waiting)]),
            "steps": {name: chunk.written.runs for name, chunk in self._chunks.items()},
        }
        replace_text(self._folder / FRAMES_FILE, json.dumps(document, separators=(",", ":")) + "\n")
        if late:
            self._published = time.monotonic()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
