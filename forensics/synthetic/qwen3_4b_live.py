"""The live rows: Gaussian directions with prescribed norms around a prescribed centroid, streamed.

A row is ``centroid + noise`` with the noise at right angles to the centroid, so that its length fixes the
row's norm. Within each group of rows the noise sums to zero, and what rounding to bfloat16 takes from one
row is given to the next; so the sum of all rows is exact to about one rounding, however few rows there are.
Only elementwise arithmetic and numpy's own sums are used, not BLAS, whose bits depend on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from forensics.formats import BFLOAT16, Words
from forensics.synthetic.qwen3_4b_published import Published

GROUP = 64
"""Least rows whose noise cancels: two of them are then at cosine -1/63, below the scatter of 2,560 dims."""

ROUNDS = 4
"""Alternations of centring and rescaling; each leaves about a tenth of the error in the norms."""

TAIL = 3.4
"""Standard deviations at which the norms' normal distribution is cut: inside the published 0.3595 to 1.6050."""

APART = 6
"""On the holes' smallest number a live row's exponent is this far above theirs, or more: past distance 5."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveRows:
    """What the live rows are drawn to.

    Attributes:
        centroid: ``float64[dim]``, their mean.
        norms: ``float64[n]``, the norm of each, in token order.
        over: "rest" if the published mean and deviation hold over live rows and singletons together, "live"
            if over the live rows alone.
    """

    centroid: NDArray[np.float64]
    norms: NDArray[np.float64]
    over: str


def plan_live(
    said: Published,
    n: int,
    singletons: NDArray[np.float64],
    in_hole: NDArray[np.float64],
    rng: np.random.Generator,
) -> LiveRows:
    """The centroid and norms that give the published figures over live rows and singletons together.

    Args:
        said: the figures.
        n: live rows.
        singletons: ``float64[112, dim]``, values.
        in_hole: ``float64[dim]``, the mean of the in-hole rows.
        rng: draws the centroid's direction around the holes' and the order of the norms.
    """
    dim = len(in_hole)
    rest = n + len(singletons)
    axis = in_hole / np.sqrt((in_hole**2).sum())
    across = rng.standard_normal(dim)
    across -= (across * axis).sum() * axis
    across /= np.sqrt((across**2).sum())
    cosine = said.centroid_cosine
    rest_centroid = said.rest_centroid_norm * said.scale(dim) * (cosine * axis + np.sqrt(1 - cosine**2) * across)
    centroid = (rest * rest_centroid - singletons.sum(axis=0)) / n

    mean, std = said.rest_norm_mean * said.scale(dim), said.rest_norm_std * said.scale(dim)
    squares = (singletons**2).sum(axis=1)
    live_mean = (rest * mean - np.sqrt(squares).sum()) / n
    variance = (rest * (mean**2 + std**2) - squares.sum()) / n - live_mean**2
    # The singletons' low norms alone exceed the deviation if the live rows are few.
    over = "rest" if variance > (std / 2) ** 2 else "live"
    if over == "rest":
        mean, std = live_mean, float(np.sqrt(variance))
    return LiveRows(centroid, rng.permutation(mean + std * _scores(n)), over)


def _scores(n: int) -> NDArray[np.float64]:
    """Quantiles of a normal distribution cut at both ends, of mean 0 and deviation 1 exactly."""
    normal = NormalDist()
    lowest = normal.cdf(-TAIL)
    shares = lowest + (np.arange(n) + 0.5) / n * (1 - 2 * lowest)
    scores = np.array([normal.inv_cdf(share) for share in shares.tolist()])
    scores -= scores.mean()
    return scores / float(scores.std())


def group_sizes(n: int) -> NDArray[np.int64]:
    """Sizes of the groups of rows whose noise cancels: equal to within one, 64 to 127 each."""
    groups = max(1, n // GROUP)
    return np.diff(np.arange(groups + 1) * n // groups)


class LiveStream:
    """One pass over the live rows in token order."""

    def __init__(self, plan: LiveRows, hole: Words, rng: np.random.Generator) -> None:
        square = (plan.centroid**2).sum()
        self._centroid = plan.centroid.astype(np.float32)
        self._axis = (plan.centroid / np.sqrt(square)).astype(np.float32)
        self._lengths = np.sqrt(plan.norms**2 - square).astype(np.float32)
        exponents = BFLOAT16.exponents(hole)
        self._finest = int(np.argmin(exponents))
        self._least_word = (int(exponents[self._finest]) + APART) << BFLOAT16.mantissa_bits
        self._rng, self._next = rng, 0
        self._carry = np.zeros(len(hole), np.float32)

    def draw(self, n: int) -> Words:
        """The next n live rows, ``uint16[n, dim]``; n is the next of :func:`group_sizes`."""
        lengths = self._lengths[self._next : self._next + n]
        self._next += n
        rows = self._noise(lengths)
        rows += self._centroid
        words = np.empty(rows.shape, BFLOAT16.word_dtype)
        for i, row in enumerate(rows):
            due = row + self._carry
            words[i] = self._rounded(due)
            self._carry = due - BFLOAT16.widen(words[i])
        if self._next == len(self._lengths):
            self._settle(words)
        return words

    def _rounded(self, values: NDArray[np.float32]) -> Words:
        """The words of one row, kept apart from the holes on the dimension where these are smallest."""
        words = BFLOAT16.narrow(values)
        word = int(words[self._finest])
        if word & BFLOAT16.magnitude_mask < self._least_word:
            words[self._finest] = (word & ~BFLOAT16.magnitude_mask) | self._least_word
        return words

    def _settle(self, words: Words) -> None:
        """Gives what the last row left over to each dimension's smallest number, whose spacing is finest."""
        dims = np.arange(words.shape[1])
        smallest = np.argmin(words & BFLOAT16.magnitude_mask, axis=0)
        words[smallest, dims] = self._rounded(BFLOAT16.widen(words[smallest, dims]) + self._carry)

    def _noise(self, lengths: NDArray[np.float32]) -> NDArray[np.float32]:
        """``float32[n, dim]`` of these lengths, at right angles to the centroid, of sum zero."""
        noise = self._rng.standard_normal((len(lengths), len(self._axis)), dtype=np.float32)
        noise -= (noise * self._axis).sum(axis=1)[:, None] * self._axis
        for _ in range(ROUNDS):
            noise -= noise.mean(axis=0)
            noise *= (lengths / np.sqrt((noise * noise).sum(axis=1)))[:, None]
        # The sum is to be exact; the norms then miss by some 1e-5 of themselves, to either side.
        noise -= noise.mean(axis=0)
        return noise
