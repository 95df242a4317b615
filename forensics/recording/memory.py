"""A recording's frames in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forensics.errors import RecordingError
from forensics.recording.channel import Channel, unknown
from forensics.recording.layout import layout_of


@dataclass(frozen=True, slots=True, eq=False)
class MemoryFrames:
    """Frames as arrays.

    Attributes:
        channels: by name.
        held: by name, ``int64[n]`` steps and ``[n, *shape]`` frames.
    """

    channels: Mapping[str, Channel]
    held: Mapping[str, tuple[NDArray[np.int64], NDArray[Any]]]

    @classmethod
    def collect(
        cls, channels: Mapping[str, Channel], frames: Iterable[tuple[int, Mapping[str, ArrayLike]]]
    ) -> MemoryFrames:
        """Frames as they come, checked and copied.

        Raises:
            RecordingError: as :meth:`Recording.from_frames`.
        """
        steps: dict[str, list[int]] = {name: [] for name in channels}
        arrays: dict[str, list[NDArray[Any]]] = {name: [] for name in channels}
        for step, frame in frames:
            for name, array in frame.items():
                if name not in channels:
                    raise unknown(name, channels)
                check_step(name, step, steps[name][-1] if steps[name] else None)
                arrays[name].append(channels[name].checked(array).copy())
                steps[name].append(int(step))
        held = {
            name: (
                np.array(steps[name], np.int64),
                np.stack(arrays[name]) if arrays[name] else np.empty((0, *c.shape), c.dtype),
            )
            for name, c in channels.items()
        }
        return cls(channels, held)

    def steps(self, name: str) -> NDArray[np.int64]:
        """The recorded steps of a channel, ascending."""
        return self.held[name][0]

    def frame(self, name: str, at: int) -> NDArray[Any]:
        """The frame of that index."""
        return np.array(self.held[name][1][at])

    def frames(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Frames ``start`` to ``stop``."""
        return self.held[name][1][start:stop].copy()

    def rows(self, name: str, row: int) -> NDArray[Any]:
        """One row of every frame."""
        return self.held[name][1][:, row].copy()

    def spans(self, name: str) -> Iterator[tuple[int, int]]:
        """The ranges that a file of this channel would have: an analysis sees the same blocks."""
        return layout_of(self.channels[name]).spans(len(self.steps(name)))


def check_step(name: str, step: int, last: int | None) -> None:
    """Steps of a channel ascend from 0 on.

    Raises:
        RecordingError: this one does not.
    """
    if step < 0 or (last is not None and step <= last):
        after = "0" if last is None else f"{last + 1}"
        raise RecordingError(f"channel {name}: the next step is {after} or later, found {step}")
