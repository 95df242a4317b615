"""Pauses: how long tokens stood still before they moved again, and how long they have stood still at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.survival import Survival, kaplan_meier

THAW_STEPS = (1, 10, 100)
"""A token that moves again after at least so many still steps thaws: three readings of the word."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stillness:
    """The pauses of some tokens and what became of them.

    A pause lies between two motions. A token that has stood still since its last motion is *settled* where it has for
    longer than any pause of the run that ended, else *undecided*; while no pause has ended there is nothing to hold its
    stillness against, and every still token is undecided. One that moved in the last interval is *moving*, and
    censored. Whether a settled token stays so, only a longer run would tell.

    Attributes:
        token_ids: ``int64[n]``.
        first: the first recorded step.
        end: the last recorded step.
        first_motion: ``int64[n]``, end of the interval in which it first moved; `first` if it never did.
        last_motion: ``int64[n]``, of the last one.
        lengths: ``int64[k]``, ascending, steps of the pauses that ended.
        counts: ``int64[k]``, how many were that long.
        longest: (token, last step of motion before, first after) of the longest; None without a pause.
        thaws: ``int64[T - 1, 3]``, tokens that moved in an interval after at least `THAW_STEPS` still steps.
    """

    token_ids: Ints
    first: int
    end: int
    first_motion: Ints
    last_motion: Ints
    lengths: Ints
    counts: Ints
    longest: tuple[int, int, int] | None
    thaws: Ints

    @property
    def longest_steps(self) -> int:
        """Steps of the longest pause that ended; 0 without one."""
        return int(self.lengths[-1]) if len(self.lengths) else 0

    @property
    def moving(self) -> NDArray[np.bool_]:
        """``bool[n]``: moved in the last interval."""
        return np.asarray(self.last_motion == self.end)

    @property
    def undecided(self) -> NDArray[np.bool_]:
        """``bool[n]``: still at the end, but for no longer than a pause that ended, or no pause has."""
        short = self.end - self.last_motion <= self.longest_steps
        return ~self.moving & (short | (self.longest_steps == 0))

    @property
    def settled(self) -> NDArray[np.bool_]:
        """``bool[n]``: still at the end for longer than any pause that ended."""
        return ~self.moving & ~self.undecided

    @property
    def fates(self) -> dict[str, int]:
        """Tokens in each of the three states."""
        return {name: int(np.count_nonzero(getattr(self, name))) for name in ("moving", "undecided", "settled")}

    @property
    def earliest(self) -> Survival:
        """Steps of the last motion if every still token stays still: only the moving ones are censored."""
        return kaplan_meier(self.last_motion, self.moving)

    @property
    def latest(self) -> Survival:
        """The same if the undecided may move again: they are censored, too.

        At the end or at their last motion makes no difference: every settled token has stood still for longer.
        """
        return kaplan_meier(self.last_motion, ~self.settled)

    def to_dict(self) -> dict[str, Any]:
        """The states, both curves' quartiles, and the pauses by powers of two."""
        bins = np.floor(np.log2(self.lengths)).astype(int) if len(self.lengths) else np.empty(0, int)
        longest = None
        if self.longest is not None:
            token, before, after = self.longest
            longest = {"token_id": token, "still_after": before, "moves_at": after, "steps": self.longest_steps}
        return {
            "fates": self.fates,
            "never_moved": int(np.count_nonzero(self.last_motion == self.first)),
            "last_motion": {"earliest": self.earliest.to_dict(), "latest": self.latest.to_dict()},
            "pauses": [
                {"from_steps": 1 << i, "ended": int(self.counts[bins == i].sum())}
                for i in range(bins.max(initial=-1) + 1)
            ],
            "longest_pause": longest,
            "thaws": {f"after_{n}": int(self.thaws[:, i].sum()) for i, n in enumerate(THAW_STEPS)},
        }


class StillnessTally:
    """Collects a `Stillness` of some rows."""

    def __init__(self, token_ids: Ints, first: int) -> None:
        self._ids, self._first, self._end = token_ids, first, first
        self._first_motion = np.full(len(token_ids), first, np.int64)
        self._last_motion = self._first_motion.copy()
        self._counts: dict[int, int] = {}
        self._longest: tuple[int, int, int] | None = None
        self._longest_steps = 0
        self._thaws: list[list[int]] = []

    def add(self, step: int, moved: NDArray[np.bool_]) -> None:
        """Takes the rows that moved since the step that was given before, ``bool[n]``."""
        rows = np.flatnonzero(moved)
        last = self._last_motion[rows]
        started = last == self._first
        self._first_motion[rows[started]] = step
        lengths = np.where(started, 0, self._end - last)
        paused = lengths > 0
        if paused.any():
            for length, count in zip(*np.unique(lengths[paused], return_counts=True), strict=True):
                self._counts[int(length)] = self._counts.get(int(length), 0) + int(count)
            top = int(lengths.argmax())
            if lengths[top] > self._longest_steps:
                self._longest_steps = int(lengths[top])
                self._longest = (int(self._ids[rows[top]]), int(last[top]), step)
        self._thaws.append([int(np.count_nonzero(lengths >= n)) for n in THAW_STEPS])
        self._last_motion[rows] = step
        self._end = step

    def result(self) -> Stillness:
        """What was collected."""
        lengths = np.array(sorted(self._counts), np.int64)
        counts = np.array([self._counts[int(length)] for length in lengths], np.int64)
        thaws = np.array(self._thaws, np.int64).reshape(-1, len(THAW_STEPS))
        motion = self._first_motion, self._last_motion
        return Stillness(self._ids, self._first, self._end, *motion, lengths, counts, self._longest, thaws)
