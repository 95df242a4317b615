"""The spread of hidden states: does h collapse onto h_mean, and does it spread again as context is learned?

The diversification hypothesis (founding notes, 2025-11-28): first every h falls towards h_mean, which says frequencies
alone; then single h's leave it as the model learns context, so that spread grows while loss falls below the unigram
entropy. Spread that stays flat at that loss is "stuck at unigram".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.plain import listed, require_record
from forensics.dynamics.series import (
    NOISE_FACTOR,
    Course,
    binned,
    correlation,
    course_of,
    noise,
    rank_correlation,
)
from forensics.measures import Measure
from forensics.recording import Recording

Array = NDArray[np.float64]

BINS = 20
"""Equal bins after the lowest spread, over which it is correlated with the loss: single losses are mostly noise."""

LINK_ERRORS = 2.0
"""Standard errors below zero from which the bin-to-bin changes of angle and loss are called linked."""

FEWEST_CHANGES = 8
"""Below, the error of Fisher's z is too wide for any link to show."""


@dataclass(frozen=True, slots=True, eq=False)
class SpreadCourse:
    """How single hidden states lie about their mean, and what that says of the diversification hypothesis.

    Attributes:
        steps: ``int64[n]``.
        series: by name ``float64[n]``: "along" (variance of h @ unit h_mean), "angle" (mean angle of h and h_mean,
            degrees), "total" (mean |h - h_mean|^2).
        courses: the course of each, see `series.Course`; None below 14.
        loss: ``float64[n]``, or None where it was not recorded at these steps.
        unigram_entropy, context_entropy: nats, from the census; None where it has none.
        level_correlation: rank correlation of angle and loss over bins after the lowest angle.
        change_correlation: correlation of their bin-to-bin changes: what is left when both only trend.
        linked: whether it is negative beyond `LINK_ERRORS` standard errors; None below `FEWEST_CHANGES` bins.
        loss_end: mean loss of the last tenth.
        below_unigram: whether it lies more than `NOISE_FACTOR` steps' noise below the unigram entropy.
        verdict: one of `VERDICTS`; None where loss or its reference is missing, or below 14 steps.
    """

    steps: NDArray[np.int64]
    series: Mapping[str, Array]
    courses: Mapping[str, Course | None]
    loss: Array | None
    unigram_entropy: float | None
    context_entropy: float | None
    level_correlation: float | None
    change_correlation: float | None
    linked: bool | None
    loss_end: float | None
    below_unigram: bool | None
    verdict: str | None

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        found = []
        for name, course in self.courses.items():
            shape = course.shape if course else None
            rule = f"a change is a level's difference above {NOISE_FACTOR:g} times the step-to-step noise"
            found.append(Measure(f"spread {name}", shape, "", "h", rule))
            found.append(
                Measure(f"spread {name}, lowest", course.lowest_step if course else None, "step", "h", "of its level")
            )
        is_known = self.unigram_entropy is not None and self.loss_end is not None
        margin = (self.unigram_entropy or 0) - (self.loss_end or 0) if is_known else None
        return (
            *found,
            Measure(
                "loss below unigram", margin, "nats", "run", "unigram entropy less the mean loss of the last tenth"
            ),
            Measure(
                "spread angle with loss",
                self.level_correlation,
                "",
                "h",
                "rank correlation over 20 bins after the lowest",
            ),
            Measure("their changes", self.change_correlation, "", "h", "correlation of bin-to-bin changes"),
            Measure("diversification", self.verdict, "", "h", VERDICT_RULE),
        )

    def to_dict(self) -> dict[str, Any]:
        """All as plain values."""
        scalars = ("unigram_entropy", "context_entropy", "level_correlation", "change_correlation", "loss_end")
        return {
            "steps": self.steps.tolist(),
            **{name: listed(series) for name, series in self.series.items()},
            "courses": {name: course.to_dict() if course else None for name, course in self.courses.items()},
            **{name: getattr(self, name) for name in scalars},
            "linked": self.linked,
            "below_unigram": self.below_unigram,
            "verdict": self.verdict,
        }


VERDICTS = (
    "supported: collapse, then spread as loss falls below unigram, their changes linked",
    "spread as loss falls below unigram, their changes linked, without a collapse before",
    "spread below unigram loss, but not with the loss",
    "both trend: their changes are not linked",
    "both trend: too few steps after the lowest to tell whether their changes are linked",
    "contradicted: loss falls below unigram, and h does not spread",
    "contradicted: h spreads, and loss ends at unigram",
    "stuck at unigram so far: h does not spread, and loss ends there",
    "loss has not reached unigram entropy",
)

VERDICT_RULE = (
    f"spread: the last level of the mean angle is above its lowest by more than {NOISE_FACTOR:g} times its noise, from "
    "step to step or between twenty blocks; collapse: its first point is; below unigram: the loss of the last tenth "
    "is, by as many of its own step to step, at unigram: within them; with the loss: rank correlation of angle and "
    f"loss after the lowest at most -0.5; linked: so are their bin-to-bin changes, by more than {LINK_ERRORS:g} "
    "standard errors (Fisher z)"
)


def analyse_spread(recording: Recording) -> SpreadCourse:
    """Follows the spread of h.

    Raises:
        RecordingError: spread was not recorded.
    """
    names = {"along": "spread_along", "angle": "spread_angle", "total": "spread_total"}
    require_record(recording, "spread", *names.values())
    steps = recording.steps("spread_angle")
    series = {name: recording.series(channel).astype(float) for name, channel in names.items()}
    loss = None
    if any(channel.name == "loss" for channel in recording.channels) and np.array_equal(recording.steps("loss"), steps):
        loss = recording.series("loss").astype(float)
    census = recording.extra.get("corpus") or {}
    return follow_spread(
        steps,
        series,
        loss,
        unigram_entropy=census.get("unigram_entropy"),
        context_entropy=census.get("context_entropy"),
    )


def follow_spread(
    steps: NDArray[np.int64],
    series: Mapping[str, Array],
    loss: Array | None,
    *,
    unigram_entropy: float | None = None,
    context_entropy: float | None = None,
) -> SpreadCourse:
    """Follows a spread given as series, of which "angle" carries the verdict."""
    courses = {name: course_of(steps, each) for name, each in series.items()}
    course = courses["angle"]
    level = change = linked = end = below = reached = verdict = None
    if loss is not None and len(loss):
        end = float(loss[-max(1, len(loss) // 10) :].mean())
        if unigram_entropy is not None:
            limit = NOISE_FACTOR * noise(loss)
            below, reached = end < unigram_entropy - limit, end <= unigram_entropy + limit
    if course and loss is not None:
        after = int(np.searchsorted(steps, course.lowest_step))
        edges = np.unique(np.linspace(after, len(steps), BINS + 1).astype(np.int64))
        angle, losses = binned(series["angle"], edges), binned(loss, edges)
        level = rank_correlation(angle, losses)
        change = correlation(np.diff(angle), np.diff(losses)) if len(angle) >= 5 else None
        linked = _linked(change, len(angle) - 1)
    if course and below is not None:
        verdict = _diversification(course, below, level, linked) if reached else VERDICTS[-1]
    return SpreadCourse(
        steps, series, courses, loss, unigram_entropy, context_entropy, level, change, linked, end, below, verdict
    )


def _linked(change: float | None, n: int) -> bool | None:
    """Whether a correlation of n changes is negative beyond its error, 1 / sqrt(n - 3) of Fisher's z (1921)."""
    if change is None or n < FEWEST_CHANGES:
        return None
    z = np.arctanh(np.clip(change, -1 + 1e-12, 1 - 1e-12))
    return bool(z * np.sqrt(n - 3) < -LINK_ERRORS)


def _diversification(course: Course, below: bool, level: float | None, linked: bool | None) -> str:
    with_collapse, without, apart, unlinked, untold, no_spread, no_loss, stuck, _ = VERDICTS
    if not course.rises:
        return no_spread if below else stuck
    if not below:
        return no_loss
    if level is None or level > -0.5:
        return apart
    if not linked:
        return untold if linked is None else unlinked
    return with_collapse if course.falls else without
