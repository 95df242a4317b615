"""How far the verdicts can be trusted: simulations that no fit has seen, put through the same test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

WEAK = 0.5
"""Power below which not being rejected is worth a warning: most of what others draw would pass, too."""

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
        thirds: by hypothesis and the first of its parameters that varies, the share of its own held-out simulations
            that it rejects where that is lowest, middling and highest. Alpha holds on average over the prior alone.
    """

    alpha: float
    n: Mapping[str, int]
    rejected: Mapping[str, Mapping[str, float]]
    uniformity: Mapping[str, float]
    attributed: Mapping[str, Mapping[str, float]]
    coverage: Mapping[str, Mapping[str, float]]
    thirds: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "alpha": self.alpha,
            "n": dict(self.n),
            "rejected": {name: dict(row) for name, row in self.rejected.items()},
            "uniformity": dict(self.uniformity),
            "attributed": {name: dict(row) for name, row in self.attributed.items()},
            "coverage": {name: dict(row) for name, row in self.coverage.items()},
            "thirds": {name: {p: list(sizes) for p, sizes in row.items()} for name, row in self.thirds.items()},
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
    values: Mapping[str, Floats],
    observables: Sequence[Observable],
    *,
    alpha: float,
) -> Calibration:
    """Judges held-out simulations.

    Args:
        held_out: by hypothesis, simulations that are in no reference.
        trained: the hypotheses that were fitted.
        classes: of these.
        values: by hypothesis, its fitted simulations' statistics, ``float64[n, observables]``.
        observables: what they are judged by.
        alpha: of the verdicts.
    """
    good = {name: [s for s in found if s.error is None][:LARGEST] for name, found in held_out.items()}
    good = {name: found for name, found in good.items() if found}
    rejected: dict[str, dict[str, float]] = {}
    attributed: dict[str, dict[str, float]] = {}
    uniformity, coverage, thirds = {}, {}, {}
    pools = _Pools(values, classes, observables)
    for name, found in good.items():
        seen = statistics([s.observables for s in found], observables)
        p = {tested: one.p_values(seen) for tested, one in trained.items()}
        rejected[name] = {tested: float((q <= alpha).mean()) for tested, q in p.items()}
        attributed[name] = pools.attributed(seen, {tested: q > alpha for tested, q in p.items()})
        if name in trained:
            uniformity[name] = too_small(p[name], len(trained[name].reference))
            coverage[name] = _coverage(found, seen, trained[name])
            thirds[name] = _thirds(found, trained[name], p[name] <= alpha)
    n = {name: len(found) for name, found in good.items()}
    return Calibration(alpha, n, rejected, uniformity, attributed, coverage, thirds)


def power_of(tested: str, found: Calibration | None, classes: Classes) -> float | None:
    """The share of other classes' held-out draws that a hypothesis rejects; None where there are none."""
    own = next((names for names in classes.members if tested in names), (tested,))
    others = [name for name in found.n if name not in own and tested in found.rejected[name]] if found else []
    if found is None or not others:
        return None
    return sum(found.n[name] * found.rejected[name][tested] for name in others) / sum(found.n[name] for name in others)


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


@dataclass(frozen=True, slots=True, eq=False)
class _Pools:
    """Pools of the hypotheses that stand, as many as there are patterns of standing ones."""

    values: Mapping[str, Floats]
    classes: Classes
    observables: Sequence[Observable]
    made: dict[tuple[str, ...], Pool] = field(default_factory=dict)

    def attributed(self, seen: Floats, stands: Mapping[str, NDArray[np.bool_]]) -> dict[str, float]:
        """Shares of observations attributed to each class, or to none.

        Args:
            seen: ``float64[t, observables]``.
            stands: by hypothesis, ``bool[t]``.
        """
        names = tuple(stands)
        standing = np.stack([stands[name] for name in names], axis=1)
        chosen = np.full(len(seen), len(self.classes.members))
        for pattern in np.unique(standing, axis=0):
            rows = np.flatnonzero((standing == pattern).all(axis=1))
            left = self.classes.among([name for name, ok in zip(names, pattern, strict=True) if ok])
            places = np.flatnonzero([len(members) > 0 for members in left])
            if len(places):
                chosen[rows] = places[self._chosen(seen[rows], [members for members in left if members])]
        counts = np.bincount(chosen, minlength=len(self.classes.members) + 1) / len(seen)
        return dict(zip((*self.classes.names, NONE), counts.tolist(), strict=True))

    def _chosen(self, seen: Floats, left: Sequence[tuple[str, ...]]) -> NDArray[np.int64]:
        if len(left) == 1:
            return np.zeros(len(seen), np.int64)
        key = tuple(name for members in left for name in members)
        if key not in self.made:
            self.made[key] = Pool.gather(self.values, left, self.observables)
        chosen: NDArray[np.int64] = self.made[key].weights(seen).argmax(axis=1)
        return chosen


def _thirds(found: Sequence[Simulation], trained: Trained, rejected: NDArray[np.bool_]) -> dict[str, tuple[float, ...]]:
    if not trained.draws.names or len(found) < 3:
        return {}
    first = trained.draws.names[0]
    order = np.argsort([float(s.parameters[first]) for s in found], kind="stable")
    return {first: tuple(float(third.mean()) for third in np.array_split(rejected[order], 3))}


def _coverage(found: Sequence[Simulation], values: Floats, trained: Trained) -> dict[str, float]:
    points = trained.reference.frame.points(values)
    inside: dict[str, list[bool]] = {}
    for simulation, point in zip(found, points, strict=True):
        squared = ((trained.reference.points - point) ** 2).sum(axis=1)
        for name, interval in posterior(trained.draws, trained.reference.points, squared, point).items():
            inside.setdefault(name, []).append(interval.low <= float(simulation.parameters[name]) <= interval.high)
    return {name: sum(hits) / len(hits) for name, hits in inside.items()}
