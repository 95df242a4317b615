"""The steps at which frames were recorded, kept as runs of (first, stride, count)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.errors import RecordingError

MAX_FRAMES = 1 << 24
"""Sixteen million; the longest of the runs that this follows has 100,000 steps. A count beyond is a damaged file."""


class Steps:
    """Ascending steps; a schedule such as "each to 100, then every tenth" takes two runs, not a list."""

    __slots__ = ("runs",)

    def __init__(self, runs: Iterable[list[int]] = ()) -> None:
        self.runs: list[list[int]] = [list(run) for run in runs]

    @classmethod
    def of(cls, steps: Iterable[int]) -> Steps:
        """The runs of ascending steps."""
        made = cls()
        for step in steps:
            made.append(int(step))
        return made

    @classmethod
    def parse(cls, runs: Any, where: str) -> Steps:
        """Runs from a file.

        Raises:
            RecordingError: not lists of first, stride and count, or not ascending.
        """
        last = -1
        for run in runs if isinstance(runs, list) else [None]:
            if not (isinstance(run, list) and len(run) == 3 and all(type(n) is int for n in run)):
                raise RecordingError(f"{where}: steps are lists of first, stride and count, found {str(run)[:40]}")
            first, stride, count = run
            if first <= last or stride < 1 or not 1 <= count < MAX_FRAMES:
                raise RecordingError(f"{where}: steps {run} do not go on after {last}")
            last = first + stride * (count - 1)
        return cls(runs)

    def append(self, step: int) -> None:
        """Adds a later step."""
        if self.runs:
            first, stride, count = self.runs[-1]
            if count == 1 or step == first + stride * count:
                self.runs[-1] = [first, step - first if count == 1 else stride, count + 1]
                return
        self.runs.append([step, 1, 1])

    def __len__(self) -> int:
        return sum(count for _, _, count in self.runs)

    def array(self) -> NDArray[np.int64]:
        """``int64[frames]``, ascending."""
        parts = [first + stride * np.arange(count, dtype=np.int64) for first, stride, count in self.runs]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)


def index_of(steps: NDArray[np.int64], step: int, name: str) -> int:
    """Which frame is of a step.

    Raises:
        RecordingError: there is none; the nearest steps are said.
    """
    at = int(np.searchsorted(steps, step))
    if at < len(steps) and steps[at] == step:
        return at
    if not len(steps):
        raise RecordingError(f"channel {name}: no frame is recorded yet")
    near = " and ".join(str(n) for n in steps[max(0, at - 1) : at + 1])
    raise RecordingError(
        f"channel {name}: step {step} is not recorded",
        hint=f"the nearest are {near}; it holds {len(steps):,} steps, {steps[0]} to {steps[-1]}",
    )
