"""Does a group of low values stand apart from the bulk? Two tests that assume no shape of the bulk.

*Valley*: a density with one mode does not fall and then rise again. Between the order statistics with ranks
i < j < k the value of rank j divides the stretch like a Beta(j - i, k - j) variable if the density is constant
there, and further up if it rises; so a stretch that is dense below and sparse above speaks against a rising density
by the likelihood ratio (k - i) KL((j - i) / (k - i) || share of the stretch below). A valley is a stretch that is
sparse against one below *and* one above it; its statistic is the smaller of the two ratios. The group is refused
where the bulk, as dense below the valley as in it, could be most of the group.

*Void*: a few values that lie alone. If the tail below the median falls like any power of the depth, the logarithms
of the ratios of neighbouring depths are independent exponentials (Rényi), so that one of them over the mean of the
next is an F variable. Lighter tails, the normal one among them, have shorter outer ratios: for them the test errs on
the side of finding nothing.

References:
    L. Dümbgen and G. Walther, "Multiscale inference about a density" (2008); C. Rivera and G. Walther, "Optimal
    detection of a jump in the intensity of a Poisson process or in a density" (2013); A. Rényi, "On the theory of
    order statistics" (1953); B. Hill, "A simple general approach to inference about the tail of a distribution" (1975).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LEVEL = 1e-4
"""Chance that a healthy set of values shows a group, over both tests."""

SUPPORTED_LEVEL = 1e-2
"""The same where other evidence, held to LEVEL, says already which rows are untrained."""

LEAST_VALUES = 50
"""Fewer distinct values have no bulk to stand apart from."""

VALLEY_RATE, VALLEY_OFFSET = 0.9, 5.5
"""The largest fall of n uniform values exceeds t with a chance of about exp(VALLEY_OFFSET - VALLEY_RATE t). No other
density that rises does worse, and where it rises steeply at the end a fall is all that a valley needs. Measured on
36,500 sets of 60 to 150,000 values: the 99 % point was 9.8 to 11.1, the 99.9 % point 12.4 to 13.5."""

FINE_RANKS = 64
STEPS_A_DOUBLING = 8
"""Ranks looked at: every one of the lowest FINE_RANKS, then this many for each doubling."""

MOST_ALONE = 16
"""Values that the void test looks for below the void."""

MOST_TAIL = 400
"""Values that give the tail's shape: the square root of all, at most these, at least MOST_ALONE more than alone."""


@dataclass(frozen=True, slots=True)
class Separation:
    """A group of low values that stands apart.

    Attributes:
        test: "valley" or "void".
        below: distinct values under the threshold.
        lower, upper: where the valley or void lies.
        threshold: values under it are of the group.
        statistic: the likelihood ratio of the valley, or the F value of the void.
        p_value: an upper bound, over every place looked at.
    """

    test: Literal["valley", "void"]
    below: int
    lower: float
    upper: float
    threshold: float
    statistic: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


def find_separation(values: NDArray[Any], *, level: float = LEVEL) -> Separation | None:
    """The group of low values that stands apart from the bulk, if there is one.

    Args:
        values: one for each distinct row: copies of a row are no evidence of a cluster. What is not finite is left
            out; equal values count once.
        level: the chance of a group where there is none.

    Returns:
        None where neither test finds one, with fewer than LEAST_VALUES distinct values, or where the group would
        be the larger part.
    """
    ranked = np.unique(np.asarray(values, dtype=np.float64))
    ranked = ranked[np.isfinite(ranked)]
    if len(ranked) < LEAST_VALUES:
        return None
    found = _valley(ranked, level / 2) or _void(ranked, level / 2)
    return found if found and found.below <= len(ranked) // 2 else None


def valley_statistics(ranked: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For every pair of ranks looked at, how far the stretch between them is a valley.

    Args:
        ranked: ascending, distinct.

    Returns:
        ``float64[n, n]``: likelihood ratio of the stretch from the first to the second; and the n ranks.
    """
    ranks = _ranks(len(ranked))
    at = ranked[ranks]
    falls, rises = np.zeros((2, len(ranks), len(ranks)))
    for j in range(1, len(ranks) - 1):
        left, right = slice(0, j), slice(j + 1, None)
        # Ranks of the three ends: [i, 1] and [1, k].
        below, above = (ranks[j] - ranks[left])[:, None], (ranks[right] - ranks[j])[None, :]
        width = (at[j] - at[left])[:, None] / (at[None, right] - at[left, None])
        ratio = _likelihood_ratio(below, above, width)
        share = below / (below + above)
        falls[j, right] = np.where(share > width, ratio, 0).max(axis=0)
        rises[left, j] = np.where(share < width, ratio, 0).max(axis=1)
    return np.minimum(falls, rises), ranks


def _likelihood_ratio(below: NDArray[Any], above: NDArray[Any], width: NDArray[np.float64]) -> NDArray[np.float64]:
    n = (below + above).astype(np.float64)
    with np.errstate(divide="ignore", over="ignore"):  # a width can round to 0 or 1
        ratio: NDArray[np.float64] = below * np.log(below / n / width) + above * np.log(above / n / (1 - width))
    return ratio


def _ranks(n: int) -> NDArray[np.int64]:
    doublings = math.log2(max(n / FINE_RANKS, 1))
    wide = FINE_RANKS * 2 ** np.linspace(0, doublings, max(2, round(doublings * STEPS_A_DOUBLING)))
    ranks = np.concatenate([np.arange(FINE_RANKS), wide.astype(np.int64)])
    return np.unique(np.minimum(ranks, n - 1))


def _valley(ranked: NDArray[np.float64], level: float) -> Separation | None:
    statistics, ranks = valley_statistics(ranked)
    first, second = np.unravel_index(int(statistics.argmax()), statistics.shape)
    found = float(statistics[first, second])
    p_value = min(1.0, math.exp(VALLEY_OFFSET - VALLEY_RATE * found))
    if p_value > level:
        return None
    at, low, high = _sparsest(ranked, int(ranks[first]), int(ranks[second]))
    # A bump on the bulk's slope has a valley, too. The bulk is nowhere denser below the valley than in it: if by that
    # it could be most of the group, the threshold parts nothing. A few strays far below must not widen the stretch.
    step = int(np.searchsorted(ranked, high) - np.searchsorted(ranked, low))
    if step / (high - low) * ((low + high) / 2 - ranked[at // 100]) > at / 2:
        return None
    return Separation("valley", at, low, high, (low + high) / 2, found, p_value)


def _sparsest(ranked: NDArray[np.float64], first: int, last: int) -> tuple[int, float, float]:
    """Where a valley is emptiest: how many values lie below, and the widest step over the root of its values."""
    step = max(1, math.isqrt(last - first))
    widths = ranked[first + step : last + 1] - ranked[first : last + 1 - step]
    start = first + int(widths.argmax())
    low, high = float(ranked[start]), float(ranked[start + step])
    return int(np.searchsorted(ranked, (low + high) / 2)), low, high


def _void(ranked: NDArray[np.float64], level: float) -> Separation | None:
    depths = np.median(ranked) - ranked
    tail = min(max(math.isqrt(len(ranked)), 2 * MOST_ALONE), MOST_TAIL, len(ranked) // 2 - 1)
    # ranks[j] of the j + 1 lowest: (j + 1) ln(depth_j / depth_{j + 1}) are exponentials of one rate.
    steps = np.arange(1, tail + 1) * np.log(depths[:tail] / depths[1 : tail + 1])
    places = min(MOST_ALONE, tail // 2)
    inner = tail - np.arange(1, places + 1)
    means = (steps.sum() - np.cumsum(steps)[:places]) / inner
    ratios = steps[:places] / means
    # P(F(2, 2m) > f) = (1 + f / m)^-m.
    chances = places * (1 + ratios / inner) ** -inner.astype(np.float64)
    best = int(chances.argmin())
    if not chances[best] <= level:
        return None
    low, high = float(ranked[best]), float(ranked[best + 1])
    return Separation("void", best + 1, low, high, (low + high) / 2, float(ratios[best]), float(chances[best]))
