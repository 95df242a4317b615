"""A recording's frames on disk; reading makes no files and holds none open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.checkpoint.tokenizer_files import MAX_TOKEN_ID
from forensics.errors import RecordingError
from forensics.recording.channel import Channel, by_name
from forensics.recording.differences import decode, decode_last
from forensics.recording.layout import Layout
from forensics.recording.recording import Recording, checked_dead
from forensics.recording.steps import Steps
from forensics.recording.store import (
    FRAMES_FILE,
    chunk_path,
    describe_array,
    is_encoded,
    layout_on_disk,
    open_array,
    read_attributes,
    read_document,
    read_ids,
    reading,
)

_ROWS_TOGETHER = 64
"""Chunks that a trajectory reads in one call: enough to keep the cores busy, few enough for memory."""

_COPY_AGAIN = "copy the folder again, or train again from the last checkpoint before it"


def open_recording(path: str | Path) -> Recording:
    """Opens a recording's folder, also while a run writes it: what it holds now; open again to see more.

    Args:
        path: the folder.

    Raises:
        RecordingError: no recording, one of another format, or a damaged one.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise RecordingError(f"{folder.name or folder}: no such folder", hint="name a recording's folder")
    folder = folder if folder.name not in ("", "..") else folder.resolve()
    attributes = read_attributes(folder)
    counted = read_counts(folder)
    with reading(f"{folder.name}: zarr.json does not say what was recorded"):
        vocab_size = int(attributes["vocab_size"])
        config, extra = dict(attributes["config"]), dict(attributes["extra"])
        names = [str(name) for name in attributes["channels"]]
    if not 0 < vocab_size <= MAX_TOKEN_ID:
        raise RecordingError(f"{folder.name}: a vocabulary of {vocab_size:,} tokens")
    dead_ids = checked_dead(read_ids(folder, "dead"), vocab_size)
    channels = read_channels(folder, names, vocab_size, dead_ids)
    frames = StoredFrames(folder, channels, {name: counted.get(name, Steps()) for name in names})
    return Recording(
        folder.name, config, channels.values(), frames, vocab_size=vocab_size, dead_ids=dead_ids, extra=extra
    )


def read_counts(folder: Path) -> dict[str, Steps]:
    """The steps of each channel's frames that are there.

    Raises:
        RecordingError: the file is missing or damaged.
    """
    path = folder / FRAMES_FILE
    if not path.is_file():
        raise RecordingError(
            f"{folder.name}: not a whole recording (it has no {FRAMES_FILE})",
            hint="it was cut off while it was made, or not copied whole",
        )
    found = read_document(path, f"{folder.name}: {FRAMES_FILE}").get("steps")
    if not isinstance(found, dict):
        raise RecordingError(f"{folder.name}: {FRAMES_FILE} holds no steps")
    return {name: Steps.parse(runs, f"{folder.name}: {FRAMES_FILE}, {name}") for name, runs in found.items()}


def read_channels(folder: Path, names: list[str], vocab_size: int, dead_ids: NDArray[np.int64]) -> dict[str, Channel]:
    """The channels as their arrays describe them.

    Raises:
        RecordingError: an array is missing or says something else than a channel.
    """
    everything = np.arange(vocab_size, dtype=np.int64)
    found = []
    for name in names:
        # The name first: it becomes a path.
        Channel(name, (), "int64")
        described = describe_array(folder, name)
        with reading(f"{folder.name}: channel {name} does not say what it holds"):
            said = dict(described["attributes"])
            tokens = said["tokens"]
            ids = None
            if tokens == "all":
                ids = everything
            elif tokens == "dead":
                ids = dead_ids
            elif tokens == "live":
                ids = np.setdiff1d(everything, dead_ids, assume_unique=True)
            elif tokens is not None:
                ids = read_ids(folder, name)
            unit, definition = str(said["unit"]), str(said["definition"])
            shape = tuple(int(n) for n in described["shape"][1:])
            found.append(Channel(name, shape, str(described["data_type"]), said["format"], unit, definition, ids))
    return by_name(found)


class StoredFrames:
    """Frames in a folder.

    The chunk that was read last is kept as it is stored: reading the steps of a chunk in turn decompresses it once.
    """

    def __init__(self, folder: Path, channels: Mapping[str, Channel], counted: Mapping[str, Steps]) -> None:
        self._folder = folder
        self._channels = channels
        self._steps = {name: steps.array() for name, steps in counted.items()}
        self._arrays: dict[str, tuple[Any, Layout]] = {}
        self._last: tuple[str, int, NDArray[Any]] | None = None

    def steps(self, name: str) -> NDArray[np.int64]:
        """The recorded steps of a channel, ascending."""
        return self._steps[name]

    def spans(self, name: str) -> Iterator[tuple[int, int]]:
        """The chunks' ranges."""
        n = len(self.steps(name))
        return self._array(name)[1].spans(n) if n else iter(())

    def frame(self, name: str, at: int) -> NDArray[Any]:
        """The frame of that index."""
        layout = self._array(name)[1]
        chunk, inside = divmod(at, layout.frames)
        stored = self._stored(name, chunk)[: inside + 1]
        return decode_last(stored) if is_encoded(self._channels[name]) else np.array(stored[-1])

    def frames(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Frames ``start`` to ``stop``."""
        channel = self._channels[name]
        out = np.empty((stop - start, *channel.shape), channel.dtype)
        if start == stop:
            return out
        size = self._array(name)[1].frames
        for chunk in range(start // size, -(-stop // size)):
            first, last = max(start, chunk * size), min(stop, (chunk + 1) * size)
            stored = self._stored(name, chunk)[: last - chunk * size]
            words = decode(stored) if is_encoded(channel) else stored
            out[first - start : last - start] = words[first - chunk * size :]
        return out

    def rows(self, name: str, row: int) -> NDArray[Any]:
        """One row of every frame."""
        channel, n = self._channels[name], len(self.steps(name))
        out = np.empty((n, *channel.shape[1:]), channel.dtype)
        if n == 0:
            return out
        array, layout = self._array(name)
        together = layout.frames * _ROWS_TOGETHER
        for start in range(0, n, together):
            stop = min(start + together, n)
            self._check_files(name, start, stop)
            try:
                with reading("a trajectory"):
                    out[start:stop] = np.asarray(array[start:stop, row])
            except RecordingError:
                # One that is replaced just now is read in two halves, of the old file and of the new.
                out[start:stop] = self._one_by_one(name, start, stop, row)
        if is_encoded(channel):
            for start, stop in layout.spans(n):
                # Rows of a single number are kept arrays: a lone unsigned scalar warns when it wraps.
                out[start:stop] = decode(out[start:stop].reshape(stop - start, -1)).reshape(out[start:stop].shape)
        return out

    def _array(self, name: str) -> tuple[Any, Layout]:
        """The array, opened after the counts were read, so that it holds at least as many frames."""
        if name not in self._arrays:
            where = f"{self._folder.name}: channel {name}"
            array = open_array(self._folder, name)
            layout = layout_on_disk(array, self._channels[name], where)
            if array.shape[0] < len(self.steps(name)):
                raise RecordingError(
                    f"{where} is cut short: {array.shape[0]:,} of {len(self.steps(name)):,} frames are there",
                    hint=_COPY_AGAIN,
                )
            self._arrays[name] = (array, layout)
        return self._arrays[name]

    def _stored(self, name: str, chunk: int) -> NDArray[Any]:
        """A chunk's frames as they are stored; not the caller's to change."""
        if self._last is not None and self._last[:2] == (name, chunk):
            return self._last[2]
        array, layout = self._array(name)
        start, stop = chunk * layout.frames, min((chunk + 1) * layout.frames, len(self.steps(name)))
        self._check_files(name, start, stop)
        with reading(self._place(name, start, stop, "is damaged"), _COPY_AGAIN):
            stored: NDArray[Any] = np.asarray(array[start:stop])
        self._last = (name, chunk, stored)
        return stored

    def _check_files(self, name: str, start: int, stop: int) -> None:
        """Zarr reads a chunk that is not there as zeros: its file has to be looked for."""
        frames = self._array(name)[1].frames
        for chunk in range(start // frames, -(-stop // frames)):
            if not chunk_path(self._folder, self._channels[name], chunk).is_file():
                last = min((chunk + 1) * frames, len(self.steps(name)))
                raise RecordingError(self._place(name, chunk * frames, last, "is missing"), hint=_COPY_AGAIN)

    def _one_by_one(self, name: str, start: int, stop: int, row: int) -> NDArray[Any]:
        """A row of a stretch, each chunk read whole: finds the one that is damaged."""
        frames = self._array(name)[1].frames
        return np.concatenate([self._stored(name, i)[:, row] for i in range(start // frames, -(-stop // frames))])

    def _place(self, name: str, start: int, stop: int, fate: str) -> str:
        steps = self.steps(name)
        chunk = start // self._array(name)[1].frames
        return f"{self._folder.name}: channel {name}, chunk {chunk} (steps {steps[start]} to {steps[stop - 1]}) {fate}"
