"""The chunk of a channel that is being filled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forensics.recording.channel import Channel
from forensics.recording.differences import encode
from forensics.recording.recording import Recording
from forensics.recording.steps import Steps
from forensics.recording.store import chunk_path, is_encoded, layout_on_disk


class OpenChunk:
    """Frames of one channel from the last chunk boundary on.

    Attributes:
        channel: whose frames.
        written: the steps of all frames that are on disk.
    """

    def __init__(self, folder: Path, channel: Channel, array: Any) -> None:
        self.channel = channel
        self.written = Steps()
        self._folder = folder
        self._array = array
        layout = layout_on_disk(array, channel, f"{folder.name}: channel {channel.name}")
        self._size = layout.frames
        self.is_small = layout.rows is None
        self._frames: NDArray[Any] | None = None
        self._steps: list[int] = []
        self._start = 0
        self._on_disk = 0
        self._last: int | None = None

    @classmethod
    def resume(cls, folder: Path, channel: Channel, array: Any, recording: Recording, step: int) -> Self:
        """As it was when the frames to ``step`` had been added."""
        made = cls(folder, channel, array)
        kept = [int(s) for s in recording.steps(channel.name) if s <= step]
        made.written = Steps.of(kept)
        made._start = len(kept) // made._size * made._size
        made._last = kept[-1] if kept else None
        made._steps = kept[made._start :]
        made._on_disk = len(made._steps)
        if made._steps:
            frames = recording.series(channel.name, made._steps[0], made._steps[-1] + 1)
            made._buffer()[: len(frames)] = frames
        return made

    @property
    def last_step(self) -> int | None:
        """The step of the newest frame."""
        return self._last

    @property
    def is_full(self) -> bool:
        """No further frame fits."""
        return len(self._steps) == self._size

    @property
    def is_pending(self) -> bool:
        """Some frames are in memory only."""
        return self._on_disk < len(self._steps)

    @property
    def first_pending(self) -> int:
        """The step of the first of those."""
        return self._steps[self._on_disk]

    def add(self, step: int, frame: NDArray[Any]) -> None:
        """Adds a frame; the chunk is not full."""
        self._buffer()[len(self._steps)] = frame
        self._steps.append(step)
        self._last = step

    def write(self) -> Path:
        """Writes the frames as far as they are there; a full chunk makes room for the next.

        Returns:
            The chunk's file.
        """
        n = len(self._steps)
        frames = self._buffer()[:n]
        stored = encode(frames) if is_encoded(self.channel) else frames
        if n < self._size:
            stored = np.concatenate([stored, np.zeros((self._size - n, *self.channel.shape), self.channel.dtype)])
        # Whole, with zeros for what is to come: a part of a shard would be read, merged and written again.
        self._resize(self._start + self._size)
        self._array[self._start : self._start + self._size] = stored
        self._resize(self._start + n)
        for step in self._steps[self._on_disk :]:
            self.written.append(step)
        path = chunk_path(self._folder, self.channel, self._start // self._size)
        self._on_disk = n
        if n == self._size:
            self._start += n
            self._steps, self._on_disk = [], 0
        return path

    def trim(self) -> None:
        """Drops what lies on disk beyond the written frames."""
        self._resize(len(self.written))

    def _resize(self, n: int) -> None:
        if self._array.shape[0] != n:
            self._array.resize((n, *self.channel.shape))

    def _buffer(self) -> NDArray[Any]:
        if self._frames is None:
            self._frames = np.empty((self._size, *self.channel.shape), self.channel.dtype)
        return self._frames
