"""Lattice coordinates: where a row lies among the numbers its format can hold.

A coordinate is an *ordinal*, the signed rank of a value among all values of the format. Differences of
ordinals are exact integers, additive across binades and through zero. The founding definition, displacement
divided by the ulp at the start, agrees with them while start and end share sign and binade, and is kept
here under its own name because published figures use it.

References:
    Bruce Dawson, "Comparing Floating Point Numbers" (ordered integers); algorithms of the founding notebooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding
from forensics.formats import NAN, FloatFormat, Words


def compact_ordinals(fmt: FloatFormat, words: Words) -> NDArray[np.signedinteger[Any]]:
    """The ordinals of words in the narrowest integer that holds them: int16 up to 16 bits, else int32.

    What :meth:`FloatFormat.ordinals` gives, four times smaller and without its checks: a nan gets the rank
    that its magnitude would have, so rows with nan must be left out before or after.
    """
    unsigned, signed = (np.uint16, np.int16) if fmt.bits <= 16 else (np.uint32, np.int32)
    ranks = np.bitwise_and(words, fmt.magnitude_mask, dtype=unsigned)
    sign = np.right_shift(words, fmt.bits - 1, dtype=unsigned)
    np.negative(sign, out=sign)
    # All ones where the sign bit is set: x ^ -1 - -1 is -x, modulo 2^16 or 2^32.
    ranks ^= sign
    ranks -= sign
    return ranks.view(signed)


def rows_with_nan(embedding: Embedding, token_ids: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The tokens, among ``token_ids`` or all, whose rows hold a nan and so have no place on the lattice."""
    fmt = embedding.float_format
    ids = np.arange(embedding.n_rows) if token_ids is None else token_ids
    found = [
        ids[start:stop][(fmt.classify(embedding.words[ids[start:stop]]) == NAN).any(axis=1)]
        for start, stop in embedding.spans(len(ids))
    ]
    return np.concatenate([*found, np.empty(0, np.int64)]).astype(np.int64)


def relative_coordinates(embedding: Embedding, token_ids: NDArray[np.int64], reference: int) -> NDArray[np.int64]:
    """Coordinates of rows relative to a reference row, ``int64[n, dim]``, in steps of the format.

    Raises:
        FormatError: a row holds a nan, or the matrix is quantised.
    """
    fmt = embedding.float_format
    return fmt.ordinals(embedding.words[token_ids]) - fmt.ordinals(embedding.words[reference])


def ulp_displacement(fmt: FloatFormat, start: Words, end: Words) -> NDArray[np.float64]:
    """(end - start) / ulp(start), value units over the local spacing: the founding notebooks' definition.

    Against the ordinal difference, by the raw exponents of start and end (0 counts as 1: the lowest two binades
    have one spacing; a zero is of the other's sign):

    - same sign and binade, or any signs in the lowest: equal, so an integer;
    - same sign, the end k binades higher: 1 to 2^k times the ordinal difference, 1 only at the power of two
      that ends the start's binade;
    - same sign, the end k binades lower: 2^-k to 1 times, a multiple of 2^-k, 2^-k only one binade down from
      a power of two;
    - opposite signs otherwise: no bounded factor, from far below to far above 1.

    Infinite where the end is and the start is finite; nan where the start is infinite or either is nan.
    """
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return (fmt.widen(end).astype(np.float64) - fmt.widen(start).astype(np.float64)) / fmt.ulp(start)


@dataclass(frozen=True, slots=True)
class Locality:
    """How far rows lie from a reference on the scale of binades: where local coordinates may be trusted.

    Shares of (row, dimension) pairs; they add up to 1.

    Attributes:
        pairs: number of (row, dimension) pairs.
        same_binade: same sign and exponent: local displacement and ordinal difference agree exactly.
        adjacent_binade: same sign, exponents one apart: off by up to a factor of two.
        further: same sign, exponents two or more apart: not comparable.
        crossing_zero: opposite signs: not comparable.
    """

    pairs: int
    same_binade: float
    adjacent_binade: float
    further: float
    crossing_zero: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


def measure_locality(embedding: Embedding, token_ids: NDArray[np.int64], reference: int) -> Locality | None:
    """The locality of rows, free of nan, about a reference row; None for no rows.

    A zero counts as of the other value's sign: -0.0 and +0.0 are one point.
    """
    fmt = embedding.float_format
    _, e_ref, _ = fmt.split(embedding.words[reference])
    o_ref = compact_ordinals(fmt, embedding.words[reference])
    e_ref = np.maximum(e_ref.astype(np.int16), 1)  # subnormals share the lowest normal binade's spacing
    counts = np.zeros(4, np.int64)
    for start, stop in embedding.spans(len(token_ids)):
        words = embedding.words[token_ids[start:stop]]
        gap = np.abs(np.maximum(fmt.exponents(words).astype(np.int16), 1) - e_ref)
        crossing = np.sign(compact_ordinals(fmt, words)) * np.sign(o_ref) < 0
        kind = np.where(crossing, 3, np.minimum(gap, 2))
        counts += np.bincount(kind.reshape(-1), minlength=4)
    total = int(counts.sum())
    return Locality(total, *(float(n / total) for n in counts)) if total else None
