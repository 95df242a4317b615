"""One walk over a recording's frames in ascending order of steps, for any number of analyses at once.

How to write an analysis: a class with ``needs`` (channels), ``add(frame)`` and ``result()``; `run_passes` calls ``add``
at every recorded step that holds at least one of its channels (step 0 holds W, not grad). A `Frame` is shared between
the passes and computes each thing once:

    frame.step                      the step
    "grad" in frame                 whether that channel has a frame at this step
    frame.words("W")                what is stored, ``[*shape]``
    frame.values("W")               numbers: words widened exactly to float32
    frame.dead("W"), frame.live("W")    values of the recorded dead or live tokens' rows, ``[n, D]``
    frame.rows("W")                 which rows are of dead and of live tokens
    frame.before("W")               the Frame of the last step before this one that holds the channel, or None; its
                                    step need not be ``frame.step - 1``, and it has no ``before`` of its own
    frame.moved("W")                ``bool[rows]``: stored words differ from those of ``frame.before("W")``, or None
    frame.shared(key, compute)      compute() once for all passes of this frame

Arrays are shared: nobody writes into them, and a pass that keeps one copies it (a view would keep a whole chunk).
`rows_of(recording, name)` says which rows of a channel by token are dead and which are live. Where a pass's cost is per
row, take ``frame.moved`` first: late in a run few rows move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from forensics.errors import RecordingError
from forensics.recording import Channel, Recording

T = TypeVar("T")

Progress = Callable[[int, int], object]
"""Called with the number of steps done and of all."""


class Pass(Protocol):
    """An analysis that sees each recorded step once."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The channels that it reads."""

    def add(self, frame: Frame) -> None:
        """Takes a step; they ascend."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Which rows of a channel's frame are of which tokens.

    Attributes:
        dead: ``int64[n]``, rows of dead tokens, ascending (and so are their ids).
        live: ``int64[n]``, rows of live tokens, ascending.
        token_ids: ``int64[rows]``, the token of each row.
    """

    dead: NDArray[np.int64]
    live: NDArray[np.int64]
    token_ids: NDArray[np.int64]

    @property
    def dead_ids(self) -> NDArray[np.int64]:
        """Tokens of the dead rows."""
        return self.token_ids[self.dead]

    @property
    def live_ids(self) -> NDArray[np.int64]:
        """Tokens of the live rows."""
        return self.token_ids[self.live]


def rows_of(recording: Recording, name: str = "W") -> Rows:
    """The dead and the live rows of a channel by token.

    Raises:
        RecordingError: not recorded, or not by token.
    """
    recording.require(name)
    ids = recording.channel(name).token_ids
    if ids is None:
        raise RecordingError(f"{recording.name}: channel {name} is not recorded by token")
    is_dead = np.isin(ids, recording.dead_ids, assume_unique=True)
    return Rows(np.flatnonzero(is_dead), np.flatnonzero(~is_dead), ids)


class Frame:
    """What was recorded at a step; see the module."""

    __slots__ = ("_before", "_held", "_known", "_shared", "step")

    def __init__(
        self, step: int, held: Mapping[str, NDArray[Any]], known: Mapping[str, _Known], before: Mapping[str, Frame]
    ) -> None:
        self.step = step
        self._held, self._known, self._before = held, known, before
        self._shared: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"Frame({self.step}, {', '.join(self._held)})"

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def words(self, name: str) -> NDArray[Any]:
        """What is stored of a channel."""
        return self._held[name]

    def values(self, name: str) -> NDArray[Any]:
        """The channel's numbers; words widened exactly to float32."""
        channel = self._known[name].channel
        return self.shared(("values", name), lambda: channel.values(self._held[name]))

    def rows(self, name: str) -> Rows:
        """Which rows of a channel by token are dead, and which are live."""
        return self._known[name].checked()

    def dead(self, name: str) -> NDArray[Any]:
        """Values of the recorded dead tokens' rows, ``[n, *]``."""
        return self.shared(("dead", name), lambda: self._take(name, self.rows(name).dead))

    def live(self, name: str) -> NDArray[Any]:
        """Values of the recorded live tokens' rows, ``[n, *]``."""
        return self.shared(("live", name), lambda: self._take(name, self.rows(name).live))

    def before(self, name: str) -> Frame | None:
        """The last frame before this one that holds the channel."""
        return self._before.get(name)

    def moved(self, name: str) -> NDArray[np.bool_] | None:
        """Rows whose stored words differ from those of the frame before; None without one."""
        last = self.before(name)
        if last is None:
            return None
        return self.shared(("moved", name), lambda: _differ(last.words(name), self.words(name)))

    def shared(self, key: Any, compute: Callable[[], T]) -> T:
        """A figure of this frame that several passes want, computed once; its key names it and its module."""
        if key not in self._shared:
            self._shared[key] = compute()
        return cast(T, self._shared[key])

    def _take(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        values = self.values(name)
        return values if len(rows) == len(values) else values[rows]

    def forget(self) -> None:
        """Lets go of the frames before."""
        self._before = {}


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    channel: Channel
    rows: Rows | None

    def checked(self) -> Rows:
        if self.rows is None:
            raise RecordingError(f"channel {self.channel.name} is not recorded by token")
        return self.rows


def frames_of(recording: Recording, names: Sequence[str]) -> Iterator[Frame]:
    """Every step that holds one of these channels, ascending; a chunk of each channel in memory.

    Raises:
        RecordingError: a channel was not recorded, or its bytes are damaged.
    """
    recording.require(*names)
    channels = {name: recording.channel(name) for name in names}
    known = {name: _Known(c, None if c.token_ids is None else rows_of(recording, name)) for name, c in channels.items()}
    queues = {name: _one_by_one(recording, name) for name in channels}
    heads = {name: next(queue, None) for name, queue in queues.items()}
    last: dict[str, Frame] = {}
    while steps := [head[0] for head in heads.values() if head is not None]:
        step = min(steps)
        held = {name: head[1] for name, head in heads.items() if head is not None and head[0] == step}
        frame = Frame(step, held, known, dict(last))
        yield frame
        frame.forget()
        for name in held:
            last[name] = frame
            heads[name] = next(queues[name], None)


def run_passes(recording: Recording, passes: Sequence[Pass], *, progress: Progress | None = None) -> None:
    """Shows every recorded step to all passes, reading each channel once.

    Args:
        recording: of a run.
        passes: the analyses; afterwards ``result()`` of each has what it found.
        progress: called after each step.

    Raises:
        RecordingError: a channel that a pass needs was not recorded, or its bytes are damaged.
    """
    from threadpoolctl import threadpool_limits

    names = list(dict.fromkeys(name for each in passes for name in each.needs))
    recording.require(*names)
    total = len(np.unique(np.concatenate([recording.steps(name) for name in names]))) if names else 0
    # One BLAS thread: products of a step's size lose more than they gain by a second one (tenfold on busy cores), and
    # their sums, and with them a report's bytes, do not depend on the number of cores.
    with threadpool_limits(1, user_api="blas"):
        for done, frame in enumerate(frames_of(recording, names), 1):
            for each in passes:
                if any(name in frame for name in each.needs):
                    each.add(frame)
            if progress is not None:
                progress(done, total)


def _one_by_one(recording: Recording, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
    for steps, frames in recording.blocks(name):
        yield from zip(steps.tolist(), frames, strict=True)


def _differ(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows that differ, bit by bit."""
    rows = len(after)
    before, after = (np.ascontiguousarray(words).reshape(rows, -1) for words in (before, after))
    if after.shape[1] * after.itemsize % 8 == 0:  # eight bytes at a time
        before, after = before.view(np.uint64), after.view(np.uint64)
    return np.asarray((before != after).any(axis=1))
