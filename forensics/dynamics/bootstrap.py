"""Bootstrap amplification: does the first h_mean's direction feed itself?

The founding hypothesis for the first ~90 steps: h_mean keeps the direction of h_mean[1], grows, single h's collapse
onto it, and tokens move with their frequency. Behind a final layer norm |h| is nearly fixed, so that |h_mean| grows
exactly as h collapses: they are two readings of one fact, and both are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.direction import Unigram, known_unigram
from forensics.dynamics.hidden import MeanCourse, analyse_mean
from forensics.dynamics.plain import listed, number, require_record
from forensics.dynamics.series import NOISE_FACTOR, Course, course_of, rank_correlation, running_median, window
from forensics.errors import RecordingError
from forensics.formats import float_format
from forensics.measures import Measure
from forensics.recording import Recording

KEPT_DEG = 45.0
"""h_mean keeps its direction if it stays nearer to h_mean[1] than this: in high dimension chance gives 90 degrees."""

DISPLACED_AT = (1, 10, 90)
"""Steps at which live tokens' displacement from the start is held against their share."""

ERRORS = 2.0
"""Standard errors of Fisher's z above which updates are said to grow with the share."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Displaced:
    """Live tokens' displacement from step 0 against their share of the corpus.

    Attributes:
        step: of the displacement.
        rank_correlation: of |W[step] - W[0]| with the log share over tokens whose share is known.
        along_correlation: the same of the displacement along h_mean[1].
        tokens: compared.
    """

    step: int
    rank_correlation: float | None
    along_correlation: float | None
    tokens: int

    @property
    def grows(self) -> bool | None:
        """Whether |W[step] - W[0]| grows with the share beyond chance: Fisher's z above `ERRORS` / sqrt(n - 3)."""
        rho = self.rank_correlation
        if rho is None or self.tokens <= 3:
            return None
        z = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
        return bool(z * np.sqrt(self.tokens - 3) > ERRORS)

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, eq=False)
class Bootstrap:
    """The figures of the first steps; those that a table over runs compares.

    Attributes:
        steps: ``int64[n]``.
        similarity: ``float64[n]``, cosine of h_mean with the first recorded h_mean.
        norm_ratio: ``float64[n]``, |h_mean| over its first.
        angle: course of the mean angle of h and h_mean; None below 14 steps.
        collapse_step: where that angle is lowest; None if it does not fall.
        transition_step: from quiet to wiggle: the first step after the lowest swing of h_mean at which the swing's
            running median of the logarithm is half way to its last one; None if it does not rise.
        convergence_step: of h_mean, see `hidden.MeanCourse`.
        angle_at_collapse: between h_mean at the collapse and the first, degrees; None without a collapse.
        norm_at_collapse: the norm ratio there.
        displaced: at `DISPLACED_AT`, as far as W and shares are recorded.
        shares: what is known of the corpus's shares.
        verdict: "consistent with" what was tested, or "not supported: " with what does not hold; None where spread
            has too few steps to tell.
    """

    steps: NDArray[np.int64]
    similarity: Array
    norm_ratio: Array
    angle: Course | None
    collapse_step: int | None
    transition_step: int | None
    convergence_step: int | None
    angle_at_collapse: float | None
    norm_at_collapse: float | None
    displaced: tuple[Displaced, ...]
    shares: str
    verdict: str | None

    @property
    def frequency(self) -> Displaced | None:
        """The displacement that tests growth with frequency: the last one not after the collapse, or the first."""
        return _tested(self.displaced, self.collapse_step)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        found = [
            Measure(
                "collapse",
                self.collapse_step,
                "step",
                "h",
                "where the level of the mean angle of h and h_mean is lowest",
            ),
            Measure(
                "transition",
                self.transition_step,
                "step",
                "h",
                "swing of h_mean half way (log) from lowest to last level",
            ),
            Measure(
                "h_mean converges", self.convergence_step, "step", "h", "stays near its final direction from there on"
            ),
            Measure("angle to first h_mean", self.angle_at_collapse, "degrees", "h", "of h_mean, at the collapse"),
            Measure("|h_mean| over first", self.norm_at_collapse, "ratio", "h", "at the collapse"),
        ]
        for each in self.displaced:
            what = f"rank correlation with log share, |W[{each.step}] - W[0]|; {self.shares}"
            found.append(Measure(f"displacement on share, step {each.step}", each.rank_correlation, "", "live", what))
            along = f"the same of the displacement along h_mean[1]; {self.shares}"
            found.append(Measure(f"along h_mean on share, step {each.step}", each.along_correlation, "", "live", along))
        rule = (
            f"mean angle falls and |h_mean| grows by more than {NOISE_FACTOR:g} times their noise, and h_mean stays "
            f"within {KEPT_DEG:g} degrees of the first until the collapse; where shares are known, |W - W[0]| "
            f"then grows with them (rank correlation above 0 by {ERRORS:g} standard errors)"
        )
        return (*found, Measure("bootstrap amplification", self.verdict, "", "h", rule))

    def to_dict(self) -> dict[str, Any]:
        """All as plain values."""
        scalars = ("collapse_step", "transition_step", "convergence_step", "angle_at_collapse", "norm_at_collapse")
        return {
            "steps": self.steps.tolist(),
            "similarity": listed(self.similarity),
            "norm_ratio": listed(self.norm_ratio),
            "angle": self.angle.to_dict() if self.angle else None,
            **{name: getattr(self, name) for name in scalars},
            "displaced": [each.to_dict() for each in self.displaced],
            "shares": self.shares,
            "verdict": self.verdict,
        }


def analyse_bootstrap(recording: Recording, unigram: Unigram | None = None) -> Bootstrap:
    """Tests the founding hypothesis of the first steps.

    Args:
        recording: of a run.
        unigram: shares; `known_unigram` of the recording if None.

    Raises:
        RecordingError: h_mean or spread was not recorded.
    """
    recording.require("h_mean")
    require_record(recording, "spread", "spread_angle")
    mean, h = analyse_mean(recording), recording.series("h_mean").astype(float)
    if not mean.norm[0] > 0:
        raise RecordingError(f"{recording.name}: the first h_mean is zero")
    with np.errstate(invalid="ignore", divide="ignore"):
        similarity = h @ h[0] / mean.norm[0] / mean.norm
    angle = course_of(recording.steps("spread_angle"), recording.series("spread_angle").astype(float))
    collapse = angle.lowest_step if angle and angle.falls else None
    at = None if collapse is None else min(int(np.searchsorted(mean.steps, collapse)), len(mean.steps) - 1)
    ratio = mean.norm / mean.norm[0]
    turned = None if at is None else number(np.rad2deg(np.arccos(np.clip(similarity[at], -1, 1))))
    growth = course_of(mean.steps[: at + 1], -mean.norm[: at + 1]) if at is not None else None
    unigram = unigram or known_unigram(recording)
    displaced = _displacements(recording, unigram, h[0] / mean.norm[0])
    return Bootstrap(
        steps=mean.steps,
        similarity=similarity,
        norm_ratio=ratio,
        angle=angle,
        collapse_step=collapse,
        transition_step=transition(mean),
        convergence_step=mean.convergence_step,
        angle_at_collapse=turned,
        norm_at_collapse=None if at is None else number(ratio[at]),
        displaced=displaced,
        shares=unigram.source if unigram else "no share is recorded: record probe or clusters",
        verdict=_verdict(angle, growth, turned, _tested(displaced, collapse)),
    )


def transition(mean: MeanCourse) -> int | None:
    """The step at which h_mean goes over from keeping still to wiggling (`Bootstrap.transition_step`)."""
    steps = mean.steps[1:]
    # Of logarithms: a swing's noise grows with the swing. Below a millionth of a degree float32 says nothing.
    swing = np.log(np.maximum(mean.swing, 1e-6))
    course = course_of(steps, swing)
    if course is None or not course.rises:
        return None
    width = window(len(swing))
    levels = running_median(swing, width)
    lowest = int(np.argmin(levels))
    above = np.flatnonzero(levels[lowest:] >= (course.lowest + course.end) / 2)
    return int(steps[lowest + above[0] + width // 2]) if len(above) else None


def _tested(displaced: tuple[Displaced, ...], collapse: int | None) -> Displaced | None:
    before = [each for each in displaced if collapse is not None and each.step <= collapse]
    return before[-1] if before else next(iter(displaced), None)


def _verdict(
    angle: Course | None, growth: Course | None, turned: float | None, displaced: Displaced | None
) -> str | None:
    if angle is None:
        return None
    lacking = []
    if not angle.falls:
        return "not supported: h does not collapse onto h_mean"
    if growth is None or not growth.falls:
        lacking.append("h_mean does not grow")
    if turned is None or turned > KEPT_DEG:
        lacking.append("h_mean leaves its first direction")
    grows = displaced.grows if displaced else None
    if grows is False:
        lacking.append("updates do not grow with token frequency")
    if lacking:
        return f"not supported: {', '.join(lacking)}"
    if grows is None:
        return "consistent with collapse, growth and kept direction; frequency not tested"
    return "consistent with collapse, growth, kept direction and frequency"


def _displacements(recording: Recording, unigram: Unigram | None, direction: Array) -> tuple[Displaced, ...]:
    names = {channel.name for channel in recording.channels}
    if unigram is None or "W" not in names:
        return ()
    channel, steps = recording.channel("W"), recording.steps("W")
    ids = channel.token_ids
    if ids is None or not len(steps) or steps[0] != 0 or channel.format is None:
        return ()
    _, rows, known = np.intersect1d(ids, unigram.token_ids, return_indices=True)
    fmt = float_format(channel.format)
    start = fmt.widen(recording.frame("W", 0)[rows])
    found = []
    for step in DISPLACED_AT:
        if step in steps:
            moved = fmt.widen(recording.frame("W", step)[rows]) - start
            share = unigram.log_share[known]
            sizes = np.linalg.norm(moved, axis=1).astype(float)
            along = (moved @ direction).astype(float)
            found.append(Displaced(step, rank_correlation(sizes, share), rank_correlation(along, share), len(rows)))
    return tuple(found)
