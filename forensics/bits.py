"""Bit anatomy: the census of sign, exponent and mantissa over every stored element of a set of rows.

Words of at most 16 bits are counted whole (a histogram of 65,536 bins holds everything there is to know);
float32 words are counted in two halves, which is enough for every marginal asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.embedding import Embedding
from forensics.formats import CLASSES, INFINITE, NAN, ZERO, FloatFormat, Words

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class BitCensus:
    """How often each bit field takes each value, over the elements of a population's rows.

    Attributes:
        population: the name of the set of rows.
        format: the number format.
        classes: ``int64[5]``, elements by class, in the order of :data:`forensics.formats.CLASSES`.
        signs: ``int64[2]``, elements with the sign bit clear and set (zeros and nans included).
        exponents: ``int64[n_exponents]``, elements that are finite and not zero, by raw exponent field.
        mantissa_ones: ``int64[mantissa_bits]``, elements whose mantissa bit is set, lowest bit first.
    """

    population: str
    format: FloatFormat
    classes: Counts
    signs: Counts
    exponents: Counts
    mantissa_ones: Counts

    @property
    def n_elements(self) -> int:
        """Elements counted: rows x dim."""
        return int(self.classes.sum())

    @property
    def mode(self) -> int | None:
        """The most frequent raw exponent, the lowest of equals; None if no element is finite and non-zero."""
        return int(self.exponents.argmax()) if self.exponents.any() else None

    @property
    def mean(self) -> float | None:
        """The mean raw exponent over the finite non-zero elements."""
        total = int(self.exponents.sum())
        return float(np.arange(len(self.exponents)) @ self.exponents / total) if total else None

    @property
    def unused_mantissa_bits(self) -> int | None:
        """Lowest mantissa bits that are clear in every element: 16 says bfloat16 numbers kept as float32."""
        if not self.n_elements:
            return None
        used = np.flatnonzero(self.mantissa_ones)
        return int(used[0]) if used.size else self.format.mantissa_bits

    def to_dict(self) -> dict[str, Any]:
        """Counts as plain numbers; only exponents that occur."""
        return {
            "elements": self.n_elements,
            "classes": {name: int(n) for name, n in zip(CLASSES, self.classes, strict=True)},
            "signs": {"positive": int(self.signs[0]), "negative": int(self.signs[1])},
            "histogram": {str(e): int(self.exponents[e]) for e in np.flatnonzero(self.exponents)},
            "mode": self.mode,
            "mean": self.mean,
            "mantissa_ones": [int(n) for n in self.mantissa_ones],
            "unused_mantissa_bits": self.unused_mantissa_bits,
        }


@dataclass(frozen=True, slots=True)
class ExponentOffset:
    """How far one population's exponents lie from another's, in exponents (factors of two); low minus high.

    Attributes:
        by_mode: difference of the modes.
        by_mean: difference of the means.
        shift: the translation of the second histogram that brings it nearest to the first.
        distance: Wasserstein-1 distance between the two as they are.
        distance_after_shift: what remains of it after the shift; 0 would be "same shape, shifted".
    """

    by_mode: int
    by_mean: float
    shift: int
    distance: float
    distance_after_shift: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ExponentAgreement:
    """Whether all black holes hold the same raw exponent on every dimension.

    Attributes:
        dims: number of dimensions.
        differing_dims: dimensions on which some two holes' exponents differ, ascending.
    """

    dims: int
    differing_dims: tuple[int, ...]

    @property
    def shared_by_all(self) -> bool:
        """True if no dimension differs."""
        return not self.differing_dims

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {
            "dims": self.dims,
            "agreeing_dims": self.dims - len(self.differing_dims),
            "all": self.shared_by_all,
            "differing_dims": list(self.differing_dims),
        }


def census_bits(embedding: Embedding, holes: BlackHoles) -> tuple[BitCensus, BitCensus, BitCensus]:
    """The censuses of all rows, of the in-hole rows and of the rest: every element, not a sample.

    In-hole rows are those of the non-zero holes. A hole is one row many times over, so its share is one row
    counted with its population, and the rest is the whole less that.

    Raises:
        FormatError: the matrix is quantised and has no words.
    """
    fmt = embedding.float_format
    words = embedding.words
    everything = _Tally.empty(fmt)
    for start, stop in embedding.spans():
        everything.add(words[start:stop], 1)
    inside = _Tally.empty(fmt)
    for population, rows in _rows_by_population(holes):
        for start, stop in embedding.spans(len(rows)):
            inside.add(words[rows[start:stop]], population)
    rest = _Tally(fmt, everything.high - inside.high, everything.low - inside.low)
    return everything.census("all"), inside.census("in-hole"), rest.census("rest")


def exponent_offset(first: BitCensus, second: BitCensus) -> ExponentOffset | None:
    """The offset from the second population's exponents to the first's; None if either has none.

    The translation s minimising W1(F, G + s) = integral |F^-1(u) - G^-1(u) - s| du is a median of the
    quantile differences, which are integers here; so the best real shift is this integer.
    """
    if first.mode is None or second.mode is None or first.mean is None or second.mean is None:
        return None
    differences, weights = _quantile_differences(first.exponents, second.exponents)
    order = np.argsort(differences, kind="stable")
    cumulative = np.cumsum(weights[order])
    shift = int(differences[order][np.searchsorted(cumulative, cumulative[-1] / 2)])
    return ExponentOffset(
        by_mode=first.mode - second.mode,
        by_mean=first.mean - second.mean,
        shift=shift,
        distance=float(np.abs(differences) @ weights),
        distance_after_shift=float(np.abs(differences - shift) @ weights),
    )


def compare_hole_exponents(embedding: Embedding, holes: BlackHoles) -> ExponentAgreement | None:
    """Whether all non-zero holes share the raw exponent on every dimension; None with fewer than two holes.

    Raises:
        FormatError: the matrix is quantised and has no words.
    """
    words = embedding.words
    rows = [hole.representative for hole in holes.holes if not hole.is_zero]
    if len(rows) < 2:
        return None
    exponents = embedding.float_format.exponents(words[rows])
    differing = np.flatnonzero((exponents != exponents[0]).any(axis=0))
    return ExponentAgreement(embedding.dim, tuple(int(d) for d in differing))


def _rows_by_population(holes: BlackHoles) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each population that occurs, with one row of every non-zero hole of it: fewer passes than one a hole."""
    solid = [hole for hole in holes.holes if not hole.is_zero]
    for population, group in groupby(solid, key=lambda hole: hole.population):
        yield population, np.array([hole.representative for hole in group])


@dataclass(slots=True)
class _Tally:
    """Counts of words: whole words in ``high``, or for 32-bit words their upper and lower halves."""

    format: FloatFormat
    high: Counts
    low: Counts

    @classmethod
    def empty(cls, fmt: FloatFormat) -> _Tally:
        bins = 1 << min(fmt.bits, 16)
        # Two bins tell a lower half of zero from another, for the class of a word; see `census`.
        return cls(fmt, np.zeros((2 if fmt.bits == 32 else 1, bins), np.int64), np.zeros(bins, np.int64))

    def add(self, words: Words, times: int) -> None:
        flat = words.reshape(-1)
        if self.format.bits == 32:
            low = (flat & 0xFFFF).astype(np.uint16)
            high = (flat >> 16).astype(np.int64) + ((low != 0).astype(np.int64) << 16)
            self.low += times * np.bincount(low, minlength=1 << 16)
            self.high += times * np.bincount(high, minlength=1 << 17).reshape(2, -1)
        else:
            self.high[0] += times * np.bincount(flat, minlength=self.high.shape[1])

    def census(self, population: str) -> BitCensus:
        fmt = self.format
        patterns = np.arange(self.high.shape[1], dtype=np.uint32)
        if fmt.bits == 32:
            # A representative word of each (upper half, lower half zero or not): class and fields follow.
            words = np.stack([patterns << 16, (patterns << 16) | 1]).astype(fmt.word_dtype)
        else:
            words = patterns.astype(fmt.word_dtype)[None, :]
        sign, exponent, mantissa = fmt.split(words)
        kind = fmt.classify(words)
        counted = (kind != ZERO) & (kind != INFINITE) & (kind != NAN)

        def total(values: NDArray[Any], where: NDArray[np.bool_] | None, n: int) -> Counts:
            chosen = np.ones(values.shape, bool) if where is None else where
            counts = np.zeros(n, np.int64)
            np.add.at(counts, values[chosen].astype(np.int64), self.high[chosen])
            return counts

        low_bits = 16 if fmt.bits == 32 else 0
        ones = np.zeros(fmt.mantissa_bits, np.int64)
        for bit in range(fmt.mantissa_bits):
            if bit < low_bits:
                ones[bit] = self.low[(patterns >> bit) & 1 == 1].sum()
            else:
                ones[bit] = self.high[(mantissa >> bit) & 1 == 1].sum()
        return BitCensus(
            population,
            fmt,
            total(kind, None, len(CLASSES)),
            total(sign, None, 2),
            total(exponent, counted, fmt.n_exponents),
            ones,
        )


def _quantile_differences(first: Counts, second: Counts) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """F^-1(u) - G^-1(u) on the pieces of (0, 1] where it is constant, and the pieces' widths."""
    # Cross-multiplied cumulative counts are exact integers; shares would round at the joints.
    n_first, n_second = int(first.sum()), int(second.sum())
    cdf_first = np.cumsum(first).astype(object) * n_second
    cdf_second = np.cumsum(second).astype(object) * n_first
    joints = np.array(sorted(set(cdf_first) | set(cdf_second)), dtype=object)
    joints = joints[joints > 0]
    quantile_first = np.searchsorted(cdf_first, joints)
    quantile_second = np.searchsorted(cdf_second, joints)
    widths = np.diff(joints, prepend=0) / (n_first * n_second)
    return (quantile_first - quantile_second).astype(np.int64), widths.astype(np.float64)
