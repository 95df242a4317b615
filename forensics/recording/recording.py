"""What was recorded of a training run, read through the same accessors from memory and from disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forensics.embedding import Embedding, Role, Source
from forensics.errors import RecordingError
from forensics.formats import float_format
from forensics.recording.channel import Channel, by_name, unknown
from forensics.recording.steps import index_of


class Frames(Protocol):
    """Where a recording's frames are."""

    def steps(self, name: str) -> NDArray[np.int64]:
        """The recorded steps of a channel, ascending."""

    def frame(self, name: str, at: int) -> NDArray[Any]:
        """The frame of that index; the caller's own."""

    def frames(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Frames ``start`` to ``stop``, ``[n, *shape]``; the caller's own."""

    def rows(self, name: str, row: int) -> NDArray[Any]:
        """One row of every frame, ``[n, *shape[1:]]``."""

    def spans(self, name: str) -> Iterator[tuple[int, int]]:
        """Ranges of frames that are cheap to read together, covering all."""


class Recording:
    """A training run's frames by step; of a folder that is still written, those that it held when it was opened.

    Attributes:
        name: of the run; never a machine path.
        config: the run's settings.
        channels: what was recorded.
        vocab_size: number of tokens.
        dead_ids: ``int64[n]``, tokens that never occur in the training stream, by its census.
        extra: what else the run left, such as the census; plain JSON values.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any],
        channels: Iterable[Channel],
        frames: Frames,
        *,
        vocab_size: int,
        dead_ids: ArrayLike,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.channels = tuple(channels)
        self.vocab_size = int(vocab_size)
        self.dead_ids = checked_dead(dead_ids, self.vocab_size)
        self.extra = extra or {}
        self._frames = frames
        self._by_name = by_name(self.channels)

    @classmethod
    def from_frames(
        cls,
        config: Mapping[str, Any],
        channels: Sequence[Channel],
        frames: Iterable[tuple[int, Mapping[str, ArrayLike]]],
        *,
        vocab_size: int,
        dead_ids: ArrayLike,
        name: str = "memory",
    ) -> Recording:
        """A recording in memory.

        Args:
            config: the run's settings.
            channels: what is recorded.
            frames: (step, frames by channel) in ascending order of steps; frames are copied.
            vocab_size: number of tokens.
            dead_ids: tokens that never occur.
            name: of the run.

        Raises:
            RecordingError: a frame that is not of its channel, or steps that do not ascend.
        """
        from forensics.recording.memory import MemoryFrames

        held = MemoryFrames.collect(by_name(channels), frames)
        return cls(name, config, channels, held, vocab_size=vocab_size, dead_ids=dead_ids)

    def __repr__(self) -> str:
        return f"Recording({self.name!r}, {len(self.channels)} channels, {self.vocab_size:,} tokens)"

    @property
    def live_ids(self) -> NDArray[np.int64]:
        """``int64[n]``, tokens that occur in the training stream."""
        return np.setdiff1d(np.arange(self.vocab_size, dtype=np.int64), self.dead_ids, assume_unique=True)

    def channel(self, name: str) -> Channel:
        """The channel of that name.

        Raises:
            RecordingError: it was not recorded; the nearest name is said.
        """
        if name not in self._by_name:
            raise unknown(name, self._by_name)
        return self._by_name[name]

    def require(self, *names: str) -> None:
        """Makes sure that channels are there.

        Raises:
            RecordingError: some were not recorded; the hint says with which option they are.
        """
        lacking = [name for name in names if name not in self._by_name]
        if lacking:
            raise RecordingError(
                f"{self.name}: {', '.join(lacking)} {'was' if len(lacking) == 1 else 'were'} not recorded",
                hint=f"train again with --record {','.join(lacking)} beside the others",
            )

    def steps(self, name: str = "W") -> NDArray[np.int64]:
        """The recorded steps of a channel, ``int64[n]``, ascending."""
        return self._frames.steps(self.channel(name).name)

    def frame(self, name: str, step: int) -> NDArray[Any]:
        """What was stored of a channel at a step, ``[*shape]``: words where the channel has a format.

        Raises:
            RecordingError: no such channel or step, or its bytes are damaged.
        """
        return self._frames.frame(name, index_of(self.steps(name), step, name))

    def trajectory(self, token_id: int, name: str = "W") -> NDArray[Any]:
        """One token's numbers at every recorded step, ``[steps, *shape[1:]]``.

        Raises:
            RecordingError: no such channel, the token is not recorded in it, or its bytes are damaged.
        """
        return self._frames.rows(name, self.channel(name).row(token_id))

    def series(self, name: str, start: int | None = None, stop: int | None = None) -> NDArray[Any]:
        """The frames of the steps ``start <= step < stop``, ``[n, *shape]``, all in memory at once.

        Args:
            name: of a small channel; a large one is read with :meth:`blocks`.
            start: the first step; the first recorded one if None.
            stop: the step to end before; after the last recorded one if None.
        """
        steps = self.steps(name)
        first = 0 if start is None else int(np.searchsorted(steps, start))
        last = len(steps) if stop is None else int(np.searchsorted(steps, stop))
        return self._frames.frames(name, first, max(first, last))

    def blocks(self, name: str) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Streams ``(int64[n] steps, [n, *shape] frames)`` in order, a chunk in memory at a time."""
        steps = self.steps(name)
        for start, stop in self._frames.spans(name):
            yield steps[start:stop], self._frames.frames(name, start, stop)

    def embedding(self, step: int, name: str = "W") -> Embedding:
        """The matrix at a step, as every analysis of a matrix takes it.

        Args:
            step: a recorded step.
            name: "W", the output (tied: the) matrix, or "E", the input matrix of an untied model.

        Raises:
            RecordingError: the channel was not recorded, holds no words, or covers some tokens only.
        """
        self.require(name)
        channel = self.channel(name)
        if channel.format is None or len(channel.shape) != 2:
            raise RecordingError(f"{self.name}: channel {name} holds no matrix of words, but {channel.covers}")
        if channel.shape[0] != self.vocab_size:
            raise RecordingError(
                f"{self.name}: channel {name} holds {channel.shape[0]:,} of {self.vocab_size:,} tokens, not a matrix",
                hint="train again with tracked tokens 'all', or read it with open_recording(...).frame",
            )
        words = np.ascontiguousarray(self.frame(name, step))
        source = Source("recording", self.name, str(step))
        role: Role = "tied" if self.is_tied else "output" if name == "W" else "input"
        return Embedding(words.view(np.uint8), float_format(channel.format), channel.shape[1], role, name, source)

    @property
    def is_tied(self) -> bool:
        """Whether the run's one matrix serves both ends, as its config says; tied where that is silent."""
        model = self.config.get("model")
        tied = model.get("tied") if isinstance(model, Mapping) else None
        return tied if isinstance(tied, bool) else "E" not in self._by_name


def checked_dead(dead_ids: ArrayLike, vocab_size: int) -> NDArray[np.int64]:
    """Dead ids as ``int64[n]``, ascending.

    Raises:
        RecordingError: not ids below the vocabulary's size, or one twice.
    """
    given = np.asarray(dead_ids)
    ids = np.sort(given.astype(np.int64).ravel()) if given.size else np.empty(0, np.int64)
    if len(ids) and (ids[0] < 0 or ids[-1] >= vocab_size or np.any(ids[1:] == ids[:-1])):
        raise RecordingError(f"dead ids are distinct and below {vocab_size:,}, found {ids[0]} to {ids[-1]}")
    return ids
