"""Gaps and breaks in sorted distances, and the thresholds they imply: one place for all that need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Gap:
    """An empty stretch between two consecutive sorted distances.

    Attributes:
        below: how many distances lie under it.
        lower, upper: the distances at its ends.
        threshold: the middle.
    """

    below: int
    lower: float
    upper: float
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


def largest_gap(distances: NDArray[Any], *, among: int | None = None) -> Gap | None:
    """The largest gap between consecutive sorted distances, the first of equals.

    Args:
        distances: any order; what is not finite is left out.
        among: look only at this many nearest.

    Returns:
        None with fewer than two distances, or if all are equal.
    """
    ranked = np.sort(np.asarray(distances, dtype=np.float64))
    ranked = ranked[np.isfinite(ranked)][:among]
    if len(ranked) < 2 or ranked[0] == ranked[-1]:
        return None
    return _gap(ranked, int(np.argmax(np.diff(ranked))))


def density_break(distances: NDArray[Any], weights: NDArray[np.int64]) -> Gap | None:
    """Where the weight per point drops, going outwards: a dense core against sparse outskirts.

    The split into two stretches of constant mean weight that is most likely under Poisson counts; its
    log-likelihood beyond one stretch is W1 ln(W1/n1) + W2 ln(W2/n2) - W ln(W/n), with W the weight and n the
    points of a side. It must exceed ln n, the Bayesian information criterion's price of two parameters.

    Args:
        distances: of each point from the centre.
        weights: of each point, from 1; its tokens, say.

    Returns:
        None if no split pays, or if the weight would rise outwards.
    """
    order = np.argsort(distances, kind="stable")
    ranked, mass = np.asarray(distances, dtype=np.float64)[order], np.cumsum(weights[order]).astype(np.float64)
    n = len(ranked)
    possible = np.flatnonzero(np.diff(ranked) > 0)
    if not possible.size:
        return None
    inner, n_inner = mass[possible], possible + 1.0
    outer, n_outer = mass[-1] - inner, n - n_inner
    gain = inner * np.log(inner / n_inner) + outer * np.log(outer / n_outer) - mass[-1] * np.log(mass[-1] / n)
    gain[inner / n_inner <= outer / n_outer] = -np.inf
    best = int(np.argmax(gain))
    return _gap(ranked, int(possible[best])) if gain[best] > np.log(n) else None


def _gap(ranked: NDArray[np.float64], at: int) -> Gap:
    lower, upper = float(ranked[at]), float(ranked[at + 1])
    return Gap(at + 1, lower, upper, (lower + upper) / 2)
