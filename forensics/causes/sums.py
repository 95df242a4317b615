"""Means of chosen rows, and how far from such a mean a row may lie that was set to it.

One pass keeps sums at a few ids, so that the mean of the rows before any token, or without some tokens, costs a
few rows more. The tolerances are derived, not chosen; each is a bound on what a maker's own rounding can do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding
from forensics.formats import FloatFormat

Vector = NDArray[np.float64]
Ids = NDArray[np.int64]

CHECKPOINTS = 128
"""Sums kept on the way: 2.6 MB at 2,560 numbers a row, and a mean before a token reads a 128th of the rows."""

CHANCE = 1e-3
"""A rule is silent where one matrix in this many ordinary ones would satisfy it by chance."""

NOISE = 1e-9
"""What transformers multiplies the covariance with when it draws appended rows."""

LEAST_DIM = 16
"""Rows of fewer numbers can agree by chance, however their sizes are spread: nothing is said of means there."""

STEP_SAMPLE = 512
"""Rows whose steps stand for all rows' in a quantised matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """The mean of some rows.

    Attributes:
        over: which rows, in words.
        vector: ``float64[dim]``.
        n_rows: how many.
        tolerance: ``float64[dim]``, how far the maker's own sum can be off, and the rounding of the rows after it.
        error: norm of the standard error of such a mean: who is nearer is worth a closer look.
        reach: how far from the mean, beyond rounding, a row drawn about it can lie; see :func:`mean_of`.
    """

    over: str
    vector: Vector
    n_rows: int
    tolerance: Vector
    error: float
    reach: float


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The spacing of a matrix's stored numbers.

    Attributes:
        typical: ``float64[dim]``, root mean square over the rows.
        relative: the largest norm of a row's steps over the row's own norm.
        least: the spacing at zero.
        unused_bits: lowest mantissa bits that are clear in every number of STEP_SAMPLE rows: 16 says bfloat16 numbers
            kept as float32; None for a quantised matrix.
    """

    typical: Vector
    relative: float
    least: float
    unused_bits: int | None


@dataclass(frozen=True, slots=True, eq=False)
class RowSums:
    """Sums over the finite rows of a matrix.

    Attributes:
        embedding: the matrix.
        squares: ``float64[rows]``, squared norms; nan for a row with an infinity or a nan.
        starts: ``int64[k]``, ids at which a sum was kept.
        kept: ``float64[k, dim]``, the sum of the finite rows before each.
        total: ``float64[dim]``, the sum of all finite rows.
        power: ``float64[dim]``, the sum of their squares.
        steps: spacing of the stored numbers.
    """

    embedding: Embedding
    squares: Vector
    starts: Ids
    kept: NDArray[np.float64]
    total: Vector
    power: Vector
    steps: Steps

    @property
    def finite(self) -> NDArray[np.bool_]:
        """``bool[rows]``: every number is finite."""
        return ~np.isnan(self.squares)

    @property
    def spread(self) -> Vector:
        """Standard deviation of each dimension over the finite rows, ``float64[dim]``."""
        n = max(1, int(self.finite.sum()))
        return np.sqrt(np.maximum(self.power / n - (self.total / n) ** 2, 0))

    def steps_at(self, token_ids: Ids) -> NDArray[np.float64]:
        """The spacing at each stored number of some rows, ``float64[n, dim]``, unused mantissa bits not counted.

        For a quantised row the smallest difference between two numbers of a block: a code step, or a few where a block
        has few codes; the largest number of the block where all are equal.
        """
        return _steps_of(self.embedding, token_ids, self.steps.unused_bits or 0)

    def before(self, token: int) -> Mean | None:
        """The mean of the finite rows before a token, as a resize that appended it would take it."""
        at = int(np.searchsorted(self.starts, token, side="right")) - 1
        total = self.kept[at].copy()
        for start, stop in self.embedding.spans(token - int(self.starts[at])):
            values = self.embedding.values(int(self.starts[at]) + start, int(self.starts[at]) + stop)
            total += _sum(values[self.finite[int(self.starts[at]) + start :][: len(values)]])
        return self._mean(f"the rows before token {token:,}", total, int(self.finite[:token].sum()))

    def without(self, token_ids: Ids, over: str) -> Mean | None:
        """The mean of the finite rows but for some tokens."""
        ids = token_ids[self.finite[token_ids]]
        total = self.total.copy()
        for values in _chunks(self.embedding, ids):
            total -= _sum(values)
        return self._mean(over, total, int(self.finite.sum()) - len(ids))

    def _mean(self, over: str, total: Vector, n: int) -> Mean | None:
        return mean_of(over, total / n, n, self) if n else None


def sum_rows(embedding: Embedding) -> RowSums:
    """Squared norms and sums of all finite rows, in one pass on all cores.

    Within a block the sums are float32, of some hundred rows; across blocks float64, in order, so that they do not
    depend on the number of cores.
    """
    squares = np.empty(embedding.n_rows)
    stretch = max(1, -(-embedding.n_rows // CHECKPOINTS))
    starts = np.arange(0, embedding.n_rows, stretch)

    def work(start: int) -> tuple[Vector, Vector]:
        stop = min(start + stretch, embedding.n_rows)
        total, power = np.zeros(embedding.dim), np.zeros(embedding.dim)
        for a, b in embedding.spans(stop - start):
            one_total, one_power, squares[start + a : start + b] = _sum_block(embedding.values(start + a, start + b))
            total += one_total
            power += one_power
        return total, power

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(work, starts.tolist()))
    totals = np.cumsum([np.zeros(embedding.dim), *(total for total, _ in parts)], axis=0)
    power = np.sum([power for _, power in parts], axis=0)
    rms = np.sqrt(power / max(1, int((~np.isnan(squares)).sum())))
    return RowSums(embedding, squares, starts, totals[:-1], totals[-1], power, _steps(embedding, rms))


def _sum_block(values: NDArray[np.float32]) -> tuple[Vector, Vector, Vector]:
    """Sum and sum of squares of the finite rows, and every row's squared norm (nan where it is not finite)."""
    with np.errstate(invalid="ignore", over="ignore"):
        squared = values * values
        norms = squared.sum(axis=1)
        if not np.isfinite(norms).all():  # rare; a copy, because a float32 matrix's values are its stored bytes
            bad = ~np.isfinite(norms)
            values, norms[bad] = values.copy(), np.nan
            values[bad] = squared[bad] = 0
    ones = np.ones(len(values), np.float32)
    return (ones @ values).astype(np.float64), (ones @ squared).astype(np.float64), norms.astype(np.float64)


def mean_of(over: str, vector: Vector, n: int, sums: RowSums) -> Mean:
    r"""The mean with what its maker's arithmetic allows.

    The tolerance of a dimension adds two bounds. A float32 sum of n numbers is off by at most sqrt(n) 2^-24 rms with
    high probability (measured on torch's: 0.03 of that). Where the rows were rounded to the format after the mean was
    taken, the mean of what is stored differs by the mean of n errors of variance step^2 / 12: below
    sqrt(2 ln(2 dim / CHANCE)) standard deviations on every dimension but for a chance of CHANCE.

    The reach is that of rows drawn as N(mean, NOISE x covariance): a squared distance over the trace is below
    1 + 2 sqrt(x) + 2 x for all n rows but for a chance of CHANCE, x = ln(n / CHANCE), whatever the covariance's
    eigenvalues. Ordinary rows lie four decades further off; those of a heavy tail of sizes that happen to be near the
    sample mean miss it by its standard error. It is no more than half the mean's own norm, so that a row near zero is
    not near a mean that is near zero.

    References:
        N. J. Higham and T. Mary, "A New Approach to Probabilistic Rounding Error Analysis" (2019), theorem 2.4.
        B. Laurent and P. Massart, "Adaptive estimation of a quadratic functional" (2000), lemma 1.
        transformers, ``_init_added_embeddings_weights_with_mean``: a float32 mean of all rows before the appended.
    """
    rms = np.sqrt(sums.power / max(1, int(sums.finite.sum())))
    deviations = np.sqrt(2 * np.log(2 * len(vector) / CHANCE))
    tolerance = np.sqrt(n) * 2.0**-24 * rms + deviations * sums.steps.typical / np.sqrt(12 * n)
    spread, half = float(np.linalg.norm(sums.spread)), float(np.linalg.norm(vector)) / 2
    x = np.log(sums.embedding.n_rows / CHANCE)
    reach = float(np.sqrt(NOISE * (1 + 2 * np.sqrt(x) + 2 * x))) * spread
    return Mean(over, vector, n, tolerance, min(spread / np.sqrt(n), half), min(reach, half))


def chance_of_ordinary(width: Vector, spread: Vector, n_rows: int) -> float:
    """The expected number of n Gaussian rows that lie within ``width`` of a point on every dimension.

    A Gaussian's density is at most 1 / (sd sqrt(2 pi)), so an interval of half-width w holds it with probability at
    most w sqrt(2 / pi) / sd.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.sqrt(2 / np.pi) * width / spread
    # A dimension without spread says nothing.
    share = np.where(np.isfinite(share), np.minimum(share, 1), 1)
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(share).sum() + np.log(n_rows)))


def _steps_of(embedding: Embedding, token_ids: Ids, unused_bits: int = 0) -> NDArray[np.float64]:
    """RowSums.steps_at, given how many of the mantissa's lowest bits are clear everywhere."""
    if isinstance(embedding.format, FloatFormat):
        return embedding.format.ulp(embedding.words[token_ids]) * 2.0**unused_bits
    values = embedding.values_of(token_ids).astype(np.float64)
    size = embedding.format.block_values
    ranked = np.sort(values.reshape(len(values), embedding.dim // size, size), axis=2)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        gaps = np.diff(ranked, axis=2)
    # Products of one scale and small integers: what is below a float32's rounding is no difference.
    gaps[gaps <= np.abs(ranked[:, :, 1:]) * 2.0**-22] = np.inf
    smallest = gaps.min(axis=2, initial=np.inf)
    smallest = np.where(np.isfinite(smallest), smallest, np.abs(ranked).max(axis=2))
    return np.repeat(smallest, size, axis=1)


def _steps(embedding: Embedding, rms: Vector) -> Steps:
    ids = np.unique(np.linspace(0, embedding.n_rows - 1, min(STEP_SAMPLE, embedding.n_rows)).astype(np.int64))
    if isinstance(embedding.format, FloatFormat):
        fmt = embedding.format
        used = int(np.bitwise_or.reduce(embedding.words[ids], axis=None)) & ((1 << fmt.mantissa_bits) - 1)
        unused = (used & -used).bit_length() - 1 if used else 0
        relative = 2.0 ** (unused - fmt.mantissa_bits)
        least = float(fmt.ulp(fmt.narrow(np.zeros(1)))[0])
        return Steps(np.maximum(rms * relative, least), relative, least, unused)
    steps = _steps_of(embedding, ids)
    steps[~np.isfinite(steps)] = 0
    lengths = np.linalg.norm(embedding.values_of(ids).astype(np.float64), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = float(np.nan_to_num(np.linalg.norm(steps, axis=1) / lengths, posinf=0).max())
    return Steps(np.sqrt((steps**2).mean(axis=0)), relative, 0.0, None)


def _sum(values: NDArray[np.float32]) -> Vector:
    return np.asarray(values.sum(axis=0, dtype=np.float64))


def _chunks(embedding: Embedding, token_ids: Ids) -> Iterator[NDArray[Any]]:
    """The values of some rows, a block at a time."""
    for start, stop in embedding.spans(len(token_ids)):
        yield embedding.values_of(token_ids[start:stop])
