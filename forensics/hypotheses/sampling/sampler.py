"""Rows of a point plus noise, drawn exactly, without drawing the numbers that cannot leave their cell.

The law is that of :func:`forensics.initialisation.draw` with an anchor: u + sigma * z in float32, product and sum each
rounded, then rounded to the stored format (or the same in bfloat16 throughout). Every one of these roundings is
monotone in z, so that equal words at z = -c and z = c prove that no z between them gives another. That is asked of the
arithmetic itself, at the ends of three ranges, which splits the dimensions four ways: those that cannot flip, those
that flip beyond 3.5 or beyond 2 standard deviations only, of which just the tails' z are drawn, and the others.

A sum's rounding matters: near u = 0.007 a float32 ulp is 4.7e-10, a third of the published sigma of 1.5e-9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.errors import HypothesisError
from forensics.formats import BFLOAT16, FloatFormat, Words

Values = NDArray[np.float32]

LEFT_OUT = 1e-12
"""Bound on the probability that a number which is not drawn would have flipped, over all rows and dimensions."""

TAILS = (3.5, 2.0)
"""Beyond them lie 1 in 2,149 and 1 in 22 numbers: cheaper to place than to draw all."""

BLOCK = 1 << 18
"""Numbers in a block: 1 MB of float32 stays in a core's cache from the noise to the rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """A point with normal noise, and how it is added and stored.

    Attributes:
        centre: ``float32[dim]``, the point u.
        sigma: standard deviation of the noise.
        format: the stored format.
        arithmetic: "float32": b(u + sigma z), b() being rounding to ``format``; "bfloat16": every operand and result
            rounded to bfloat16, as torch adds two bfloat16 tensors.
    """

    centre: Values
    sigma: float
    format: FloatFormat
    arithmetic: str = "float32"

    def words(self, z: Values, dims: NDArray[np.int64] | slice = slice(None)) -> Words:
        """The stored words of these dimensions' numbers for their noise z, of z's shape."""
        if self.arithmetic == "bfloat16":
            scaled = _bfloat16(_bfloat16(z) * np.float32(self.sigma))
            return self.format.narrow(_bfloat16(_bfloat16(self.centre[dims]) + scaled))
        values = z * np.float32(self.sigma)
        values += self.centre[dims]
        return self.format.narrow(values)


class Sampler:
    """Draws rows of a noise.

    Attributes:
        row: ``uint[dim]``, the words without noise.
        active: ``int64[a]``, ascending: the dimensions that are drawn.
    """

    def __init__(self, noise: Noise, n_rows: int) -> None:
        """Splits the dimensions.

        Args:
            noise: what is drawn.
            n_rows: rows that will be drawn in all: the probability left out is over them.

        Raises:
            HypothesisError: numbers would lie beyond the format's largest.
        """
        self.noise, dim = noise, len(noise.centre)
        # P(|Z| > c) <= exp(-c^2 / 2) (Chernoff), summed over all numbers.
        reach = math.sqrt(2 * math.log(max(2, n_rows * dim) / LEFT_OUT))
        with np.errstate(over="ignore", invalid="ignore"):  # looked at below
            ends = [np.full(dim, end, np.float32) for end in (-reach, reach)]
            low, high = (noise.words(end) for end in ends)
        fmt = noise.format
        if max(int((words & fmt.magnitude_mask).max()) for words in (low, high)) > fmt.largest_finite:
            raise HypothesisError(
                f"noise of {noise.sigma:g} around the anchor lies beyond the largest number of {fmt.name}",
                hint="choose a smaller sigma",
            )
        self.row = noise.words(np.zeros(dim, np.float32))
        self.active = np.flatnonzero(low != high)
        self._tails: list[tuple[float, NDArray[np.int64]]] = []
        left = np.arange(len(self.active))
        for cut in TAILS:
            dims = self.active[left]
            z = np.full(len(dims), cut, np.float32)
            still = noise.words(-z, dims) == noise.words(z, dims)
            self._tails.append((cut, left[still]))
            left = left[~still]
        self._dense = left

    def draw(self, n: int, rng: np.random.Generator) -> Words:
        """The words of ``n`` rows on the active dimensions, ``uint[n, a]``."""
        words = np.repeat(self.row[np.newaxis, self.active], n, axis=0)
        for cut, columns in self._tails:
            rows, which, z = _tail_noise(n, len(columns), cut, rng)
            words[rows, columns[which]] = self.noise.words(z, self.active[columns[which]])
        if len(self._dense):
            self._fill(words, rng)
        return words

    def _fill(self, words: Words, rng: np.random.Generator) -> None:
        columns, dims = self._dense, self.active[self._dense]
        rows = max(1, BLOCK // len(dims))
        for start in range(0, len(words), rows):
            z = rng.standard_normal((min(rows, len(words) - start), len(dims)), dtype=np.float32)
            words[start : start + len(z), columns] = self.noise.words(z, dims)


def _tail_noise(
    n: int, width: int, cut: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], Values]:
    """Row, column and value of those of n x width standard normal numbers that lie beyond +-cut.

    How many is binomial, where is uniform without repetition, and their values follow the normal law's tail.
    """
    count = int(rng.binomial(n * width, math.erfc(cut / math.sqrt(2)))) if width else 0
    if not count:
        nothing = np.empty(0, np.int64)
        return nothing, nothing, np.empty(0, np.float32)
    cells = rng.choice(n * width, count, replace=False, shuffle=False)
    z = normal_tail(cut, count, rng)
    z *= rng.choice((-1.0, 1.0), count)
    return *np.divmod(cells, width), z.astype(np.float32)


def normal_tail(cut: float, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Standard normal numbers above ``cut``, above 0.

    Reference: Marsaglia 1964, "Generating a variable from the tail of the normal distribution": x = sqrt(cut^2 + 2 E),
    E exponential, is kept where U x <= cut.
    """
    kept: list[NDArray[np.float64]] = []
    missing = count
    while missing > 0:
        x = np.sqrt(cut * cut + 2 * rng.standard_exponential(missing + missing // 4 + 8))
        found = x[rng.random(len(x)) * x <= cut][:missing]
        kept.append(found)
        missing -= len(found)
    return np.concatenate(kept) if kept else np.empty(0)


def _bfloat16(values: Values) -> Values:
    return BFLOAT16.widen(BFLOAT16.narrow(values))
