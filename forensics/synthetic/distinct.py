"""Gaussian rows of which no two are equal: the background in which groups are planted."""

from __future__ import annotations

import math

import numpy as np
import xxhash
from numpy.typing import NDArray

from forensics.errors import FormatError
from forensics.formats import FloatFormat, Words

SAMPLE = 1 << 16
"""Draws behind the collision estimate: 2e9 pairs, enough to see the 1e-7 of a float32 dimension."""


class DistinctRows:
    """Draws rows of N(0, std) numbers, none equal to another or to zero.

    Equality is over values: rows that differ only in the sign of a zero are not both given. A row already
    seen is drawn again; 16 bytes a row are kept to know it.
    """

    def __init__(self, fmt: FloatFormat, dim: int, std: float, rng: np.random.Generator) -> None:
        self._format, self._dim, self._std, self._rng = fmt, dim, np.float32(std), rng
        self._seen = {self._digest(np.zeros(dim, fmt.word_dtype))}

    def draw(self, n: int) -> Words:
        """The next n rows, ``uint[n, dim]``."""
        words = self._gaussian(n)
        for row in words:
            digest = self._digest(row)
            while digest in self._seen:
                row[:] = self._gaussian(1)[0]
                digest = self._digest(row)
            self._seen.add(digest)
        return words

    def _gaussian(self, n: int) -> Words:
        return gaussian_words(self._format, (n, self._dim), float(self._std), self._rng)

    def _digest(self, row: Words) -> bytes:
        negative_zero = row == self._format.magnitude_mask + 1
        if negative_zero.any():
            row = np.where(negative_zero, row.dtype.type(0), row)
        return xxhash.xxh3_128_digest(row.data)


def gaussian_words(
    fmt: FloatFormat, shape: tuple[int, ...], std: float, rng: np.random.Generator
) -> NDArray[np.unsignedinteger]:
    """Words of N(0, std) numbers rounded to a format."""
    return fmt.narrow(rng.standard_normal(shape, dtype=np.float32) * np.float32(std))


def check_room(name: str, rows: int, dim: int, fmt: FloatFormat, std: float) -> None:
    """Refuses more distinct rows than N(0, std) gives in this format and number of dimensions.

    With q the chance that two numbers agree, two rows agree with chance q^dim. The chance that a new row is
    among n seen ones is at most sqrt(n q^dim) (Cauchy-Schwarz); asking n <= q^-dim / 4 keeps it at a half,
    so that drawing again ends.

    Raises:
        FormatError: there is no room for that many.
    """
    words = gaussian_words(fmt, (SAMPLE,), std, np.random.default_rng(0))
    counts = np.unique(words, return_counts=True)[1].astype(np.int64)
    pairs_equal = int((counts * (counts - 1)).sum())
    q = max(pairs_equal, 1) / (SAMPLE * (SAMPLE - 1))
    room = -dim * math.log(q) - math.log(4)
    if math.log(rows) > room:
        raise FormatError(
            f"{name}: {rows:,} distinct rows asked, {dim} {fmt.name} numbers of N(0, {std:g}) have room for "
            f"about {int(math.exp(room)):,}",
            hint="ask for fewer rows, more dimensions or a wider format",
        )
