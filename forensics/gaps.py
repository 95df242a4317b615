"""Gaps and breaks in sorted distances, and the thresholds they imply: one place for all that need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ORDERS = 199
"""Random orders that a break is held against."""


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

    The split at which the inner stretch's ln(weight) exceeds, in sum, what the overall mean would give it by the
    most: the top of the cumulative sum. The logarithm keeps one giant point from deciding alone, and makes no claim
    that the units of a point's weight fell there independently. Of ORDERS random orders of the same weights none may
    reach as high: by chance alone a break is found once in ORDERS + 1 times.

    Args:
        distances: of each point from a centre that was not chosen for its weight; leave such a centre out.
        weights: of each point, from 1; its tokens, say.

    Returns:
        None if a random order does as well, or if the weight would rise outwards.

    References:
        E. S. Page, "A test for a change in a parameter occurring at an unknown point" (1955), with ranks A. N.
        Pettitt, "A non-parametric approach to the change-point problem" (1979).
    """
    order = np.argsort(distances, kind="stable")
    ranked, logs = np.asarray(distances, dtype=np.float64)[order], np.log(weights[order])
    possible = np.flatnonzero(np.diff(ranked) > 0)
    if not possible.size:
        return None
    rng, excess = np.random.default_rng(0), _excess(logs, possible)
    best = int(np.argmax(excess))
    chance = max(float(_excess(rng.permutation(logs), possible).max()) for _ in range(ORDERS))
    # Sums of the same numbers in another order differ in the last bits.
    return _gap(ranked, int(possible[best])) if excess[best] > chance * (1 + 1e-9) + 1e-9 else None


def _excess(logs: NDArray[np.float64], possible: NDArray[np.int64]) -> NDArray[np.float64]:
    """By how much each possible split's inner sum exceeds its share; below 0 where the mean rises outwards."""
    excess: NDArray[np.float64] = np.cumsum(logs)[possible] - (possible + 1) * logs.mean()
    return excess


def _gap(ranked: NDArray[np.float64], at: int) -> Gap:
    lower, upper = float(ranked[at]), float(ranked[at + 1])
    return Gap(at + 1, lower, upper, (lower + upper) / 2)
