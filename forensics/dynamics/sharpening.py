"""Is it softmax sharpening that quiets the dead tokens?

A dead token's gradient is the mean of p h over the scored positions, so that its norm is p_dead |h| wherever h points
one way: the slope of log |g| on log p_dead over tokens is then 1, and over time, too, as long as |mean h| keeps
its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.plain import listed, number
from forensics.dynamics.series import NOISE_FACTOR, Line, fit_line, logs, noise
from forensics.dynamics.stream import Frame, run_passes
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sharpening:
    """Dead gradient norms against dead probabilities.

    Attributes:
        steps: ``int64[n]``.
        gradient: ``float64[n]``, mean row norm of the dead gradient.
        probability: ``float64[n]``, mean p_dead.
        over_time: log gradient on log probability over steps; None where it cannot be fitted.
        token_slope: ``float64[n]``, slope of log |g_i| on log p_i over the dead tokens of a step; nan if undefined.
        token_r2: ``float64[n]``, its r2.
    """

    steps: NDArray[np.int64]
    gradient: Array
    probability: Array
    over_time: Line | None
    token_slope: Array
    token_r2: Array

    @property
    def explained(self) -> float | None:
        """Share of the fall of log |g| that the fall of log p makes, first step to the median of the last tenth.

        None unless both fall by more than `NOISE_FACTOR` times their noise.
        """
        falls = []
        for series in (self.probability, self.gradient):
            fall = logs(series)
            change = fall[0] - np.median(fall[-max(1, len(fall) // 10) :])
            if not change > NOISE_FACTOR * noise(fall):
                return None
            falls.append(change)
        return number(falls[0] / falls[1])

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        line, over = self.over_time, "log mean |g_i| on log mean p_i over steps, dead tokens"
        slopes = self.token_slope[np.isfinite(self.token_slope)]
        middle = number(np.median(slopes)) if len(slopes) else None
        return (
            Measure("gradient on p_dead, slope", line.slope if line else None, "", "dead", f"slope of {over}"),
            Measure(
                "gradient on p_dead, error", line.slope_error if line else None, "", "dead", "jackknife, ten stretches"
            ),
            Measure("gradient on p_dead, r2", line.r2 if line else None, "share", "dead", f"r2 of {over}"),
            Measure(
                "fall by sharpening",
                self.explained,
                "ratio",
                "dead",
                "fall of log p over fall of log |g|, first step to last tenth",
            ),
            Measure("over tokens, slope", middle, "", "dead", "median over steps of the slope of log |g_i| on log p_i"),
        )

    def to_dict(self) -> dict[str, Any]:
        """All as plain values."""
        series = ("gradient", "probability", "token_slope", "token_r2")
        return {
            "steps": self.steps.tolist(),
            "over_time": self.over_time.to_dict() if self.over_time else None,
            "explained": self.explained,
            **{name: listed(getattr(self, name)) for name in series},
        }


class SharpeningPass:
    """Collects a `Sharpening`."""

    def __init__(self, recording: Recording) -> None:
        recording.require("p_dead")
        names = {channel.name for channel in recording.channels}
        self._gradient = "dead_grad" if "dead_grad" in names else "grad"
        self.needs = (self._gradient, "p_dead")
        recording.require(*self.needs)
        ids = recording.channel(self._gradient).token_ids
        dead = recording.channel("p_dead").token_ids
        if ids is None or dead is None:
            raise RecordingError(f"{recording.name}: {self._gradient} and p_dead are not recorded by token")
        both = np.intersect1d(ids, dead, assume_unique=True)
        if not len(both):
            raise RecordingError(f"{recording.name}: {self._gradient} and p_dead share no token")
        self._rows, self._of_dead = np.searchsorted(ids, both), np.searchsorted(dead, both)
        self._format = recording.channel(self._gradient)
        self._steps: list[int] = []
        self._figures: list[tuple[float, float, float, float]] = []

    def add(self, frame: Frame) -> None:
        """Takes a step that holds both."""
        if any(name not in frame for name in self.needs):
            return
        rows = self._format.values(frame.words(self._gradient)[self._rows])
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float32)).astype(np.float64)
        p = frame.values("p_dead")[self._of_dead].astype(np.float64)
        self._steps.append(frame.step)
        self._figures.append((float(norms.mean()), float(p.mean()), *_over_tokens(p, norms)))

    def result(self) -> Sharpening:
        """The regression.

        Raises:
            RecordingError: no step holds both.
        """
        if not self._steps:
            raise RecordingError(
                "no step holds both the dead gradient and p_dead", hint="record them at the same steps"
            )
        gradient, probability, slope, r2 = np.array(self._figures).T
        line = fit_line(logs(probability), logs(gradient))
        return Sharpening(np.array(self._steps), gradient, probability, line, slope, r2)


def analyse_sharpening(recording: Recording) -> Sharpening:
    """Regresses the dead gradient on p_dead.

    Raises:
        RecordingError: grad (or dead_grad) or p_dead was not recorded.
    """
    found = SharpeningPass(recording)
    run_passes(recording, [found])
    return found.result()


def _over_tokens(p: Array, norms: Array) -> tuple[float, float]:
    there = (p > 0) & (norms > 0)
    if int(there.sum()) < 3:
        return np.nan, np.nan
    x, y = np.log(p[there]), np.log(norms[there])
    x, y = x - x.mean(), y - y.mean()
    if not (x @ x > 0 and y @ y > 0):
        return np.nan, np.nan
    return float(x @ y / (x @ x)), float((x @ y) ** 2 / (x @ x) / (y @ y))
