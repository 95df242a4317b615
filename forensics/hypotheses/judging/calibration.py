"""How far the verdicts can be trusted: simulations that no fit has seen, put through the same test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.hypotheses.judging.choice import Pool
from forensics.hypotheses.judging.classes import Classes
from forensics.hypotheses.judging.conformal import Reference
from forensics.hypotheses.judging.distance import Floats, statistics
from forensics.hypotheses.judging.posterior import Draws, posterior
from forensics.hypotheses.observables.observable import Observable
from forensics.hypotheses.sweeps.simulation import Simulation

HELD_OUT = 5
"""One simulation in so many, the last ones, is never fitted."""

LARGEST = 200
"""Held-out simulations of a hypothesis that are judged, at most: a share is then known to 0.035 or better."""

NONE = "none"
"""The attribution where every hypothesis is rejected."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What the test makes of simulations that it has not seen, whose parameters it does not know.

    Attributes:
        alpha: of the verdicts.
        n: by hypothesis, its held-out simulations that were judged.
        rejected: by hypothesis that they were drawn from, then by hypothesis tested: the share of them that it
            rejects. Of itself alpha is expected, at most; of others this is the power.
        uniformity: by hypothesis, the p-value of its own held-out simulations' p-values being too small.
        attributed: by hypothesis that they were drawn from, then by class or "none": the share attributed to it, being
            not rejected and of the largest weight.
        coverage: by hypothesis and parameter, the share of held-out simulations whose own value lies in their 90 %
            interval.
    """

    alpha: float
    n: Mapping[str, int]
    rejected: Mapping[str, Mapping[str, float]]
    uniformity: Mapping[str, float]
    attributed: Mapping[str, Mapping[str, float]]
    coverage: Mapping[str, Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "alpha": self.alpha,
            "n": dict(self.n),
            "rejected": {name: dict(row) for name, row in self.rejected.items()},
            "uniformity": dict(self.uniformity),
            "attributed": {name: dict(row) for name, row in self.attributed.items()},
            "coverage": {name: dict(row) for name, row in self.coverage.items()},
        }


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A hypothesis as the verdicts know it.

    Attributes:
        reference: its fitted simulations.
        draws: their parameters.
        n_failed: simulations among them that failed.
    """

    reference: Reference
    draws: Draws
    n_failed: int

    def p_values(self, values: Floats) -> Floats:
        """The p-values of observations, ``float64[t]``; a failed simulation counts as further off."""
        p: Floats = (self.reference.as_odd(values) + self.n_failed + 1) / (len(self.reference) + self.n_failed + 1)
        return p


def calibrate(
    held_out: Mapping[str, Sequence[Simulation]],
    trained: Mapping[str, Trained],
    classes: Classes,
    pool: Pool,
    observables: Sequence[Observable],
    *,
    alpha: float,
) -> Calibration:
    """Judges held-out simulations.

    Args:
        held_out: by hypothesis, simulations that are in no reference and not in the pool.
        trained: the hypotheses that were fitted.
        classes: of these.
        pool: of their fitted simulations.
        observables: what they are judged by.
        alpha: of the verdicts.
    """
    good = {name: [s for s in found if s.error is None][:LARGEST] for name, found in held_out.items()}
    good = {name: found for name, found in good.items() if found}
    rejected: dict[str, dict[str, float]] = {}
    attributed: dict[str, dict[str, float]] = {}
    uniformity, coverage = {}, {}
    for name, found in good.items():
        values = statistics([s.observables for s in found], observables)
        p = {tested: one.p_values(values) for tested, one in trained.items()}
        rejected[name] = {tested: float((q <= alpha).mean()) for tested, q in p.items()}
        attributed[name] = _attributed(values, {tested: q > alpha for tested, q in p.items()}, classes, pool)
        if name in trained:
            uniformity[name] = too_small(p[name], len(trained[name].reference))
            coverage[name] = _coverage(found, values, trained[name])
    return Calibration(
        alpha, {name: len(found) for name, found in good.items()}, rejected, uniformity, attributed, coverage
    )


def too_small(p_values: Floats, n: int) -> float:
    """The p-value of p-values being smaller than uniform ones, by one-sided Kolmogorov-Smirnov.

    They are ranks in one reference of ``n``, so they vary with it: the test is that of two samples. Ties only make
    them larger, which is no fault.

    References:
        N. V. Smirnov (1939): P(D+ > d) -> exp(-2 d^2 t n / (t + n)).
    """
    t = len(p_values)
    above = np.arange(1, t + 1) / t - np.sort(p_values)
    return math.exp(-2 * max(0.0, float(above.max())) ** 2 * t * n / (t + n))


def _attributed(
    values: Floats, stands: Mapping[str, NDArray[np.bool_]], classes: Classes, pool: Pool
) -> dict[str, float]:
    """Shares of observations attributed to each class, or to none."""
    standing = np.stack([np.any([stands[name] for name in names], axis=0) for names in classes.members], axis=1)
    chosen = np.full(len(values), len(classes.members))
    for pattern in np.unique(standing, axis=0):
        if pattern.any():
            rows = np.flatnonzero((standing == pattern).all(axis=1))
            chosen[rows] = pool.weights(values[rows], pattern).argmax(axis=1)
    counts = np.bincount(chosen, minlength=len(classes.members) + 1) / len(values)
    return dict(zip((*classes.names, NONE), counts.tolist(), strict=True))


def _coverage(found: Sequence[Simulation], values: Floats, trained: Trained) -> dict[str, float]:
    points = trained.reference.frame.points(values)
    inside: dict[str, list[bool]] = {}
    for simulation, point in zip(found, points, strict=True):
        squared = ((trained.reference.points - point) ** 2).sum(axis=1)
        for name, interval in posterior(trained.draws, trained.reference.points, squared, point).items():
            inside.setdefault(name, []).append(interval.low <= float(simulation.parameters[name]) <= interval.high)
    return {name: sum(hits) / len(hits) for name, hits in inside.items()}
