"""Floating-point formats: how a stored word splits into sign, exponent and mantissa, and what it means.

References:
    IEEE 754-2019 (float16, float32); Kalamkar et al. 2019, arXiv 1905.12322 (bfloat16);
    Micikevicius et al. 2022, arXiv 2209.05433 (float8_e4m3fn, float8_e5m2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forensics.errors import FormatError
from forensics.formats.conversion import Words, narrow, widen

CLASSES = ("zero", "subnormal", "normal", "infinite", "nan")
"""Names of the codes that :meth:`FloatFormat.classify` returns."""

ZERO, SUBNORMAL, NORMAL, INFINITE, NAN = range(5)


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A binary floating-point format with an implicit leading bit.

    Attributes:
        name: the name used by torch and ml_dtypes, such as "bfloat16".
        exponent_bits: width of the raw exponent field E.
        mantissa_bits: width of the stored fraction.
        bias: a normal word's value is (-1)^sign * 2^(E - bias) * (1 + mantissa / 2^mantissa_bits).
        has_infinity: False where the top binade holds numbers and only the all-ones word is nan (e4m3fn).
        stored_as: the dtype code that safetensors files use.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    has_infinity: bool
    stored_as: str

    @property
    def bits(self) -> int:
        """Width of a word in bits."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def itemsize(self) -> int:
        """Width of a word in bytes."""
        return self.bits // 8

    @property
    def word_dtype(self) -> np.dtype[Any]:
        """The little-endian unsigned integer type that holds a word."""
        return np.dtype(f"<u{self.itemsize}")

    @property
    def n_exponents(self) -> int:
        """Number of values that the raw exponent field can take."""
        return 1 << self.exponent_bits

    @property
    def magnitude_mask(self) -> int:
        """All bits but the sign."""
        return (1 << (self.bits - 1)) - 1

    @property
    def largest_finite(self) -> int:
        """The word of the largest finite value."""
        infinity_or_top = (self.n_exponents - 1) << self.mantissa_bits
        return infinity_or_top - 1 if self.has_infinity else self.magnitude_mask - 1

    def _checked(self, words: ArrayLike) -> Words:
        array = np.asarray(words)
        if array.dtype != self.word_dtype:
            raise FormatError(
                f"{self.name} words are {self.word_dtype.name}, found {array.dtype}",
                hint="view the raw bits as unsigned integers of that width",
            )
        return array

    def split(self, words: ArrayLike) -> tuple[Words, Words, Words]:
        """Sign, raw exponent and mantissa of each word.

        Args:
            words: unsigned integers of this format's width, of any shape.

        Returns:
            Three arrays of the same shape and dtype; the exponent is raw (biased).

        Raises:
            FormatError: the array is not of this format's word dtype.
        """
        w = self._checked(words)
        sign = np.asarray(w >> (self.bits - 1), dtype=self.word_dtype)
        mantissa = np.asarray(w & ((1 << self.mantissa_bits) - 1), dtype=self.word_dtype)
        return sign, self.exponents(w), mantissa

    def exponents(self, words: ArrayLike) -> Words:
        """The raw exponent field of each word."""
        fields = (self._checked(words) >> self.mantissa_bits) & (self.n_exponents - 1)
        return np.asarray(fields, dtype=self.word_dtype)

    def join(self, sign: ArrayLike, exponent: ArrayLike, mantissa: ArrayLike) -> Words:
        """The words with these fields; the inverse of :meth:`split`.

        Raises:
            FormatError: a field does not fit its width.
        """
        fields = []
        for name, field, width in (
            ("sign", sign, 1),
            ("exponent", exponent, self.exponent_bits),
            ("mantissa", mantissa, self.mantissa_bits),
        ):
            array = np.asarray(field)
            if array.size and (array.min() < 0 or array.max() >= 1 << width):
                raise FormatError(
                    f"a {self.name} {name} is 0 to {(1 << width) - 1}, found {array.min()} to {array.max()}"
                )
            fields.append(array.astype(self.word_dtype))
        s, e, m = fields
        return np.asarray((s << (self.bits - 1)) | (e << self.mantissa_bits) | m, dtype=self.word_dtype)

    def classify(self, words: ArrayLike) -> NDArray[np.uint8]:
        """The class of each word: an index into :data:`CLASSES`."""
        magnitude = self._checked(words) & self.magnitude_mask
        classes = np.full(magnitude.shape, NORMAL, np.uint8)
        classes[magnitude < 1 << self.mantissa_bits] = SUBNORMAL
        classes[magnitude == 0] = ZERO
        classes[magnitude > self.largest_finite] = NAN
        if self.has_infinity:
            classes[magnitude == self.largest_finite + 1] = INFINITE
        return classes

    def widen(self, words: ArrayLike) -> NDArray[np.float32]:
        """The value of each word, exactly, as float32.

        Every value of the narrower formats is a float32; a nan stays a nan (its payload is in the word).
        """
        return widen(self, self._checked(words))

    def narrow(self, values: ArrayLike) -> Words:
        """The word nearest to each float32 value, ties to even.

        Beyond the largest finite value the result is infinity, or nan where the format has none (ml_dtypes
        does the same; torch 2.13 saturates there, to the largest finite value).
        """
        return narrow(self, np.asarray(values, dtype=np.float32))

    def ulp(self, words: ArrayLike) -> NDArray[np.float64]:
        """Spacing of the format at each value: 2^(max(E, 1) - bias - mantissa_bits).

        Subnormals and zeros share the lowest binade's spacing. From a power of two towards zero the next
        value is half of this away. Infinite and nan words have no spacing: nan.
        """
        w = self._checked(words)
        exponent = np.maximum(self.exponents(w), 1).astype(np.int32)
        spacing = np.ldexp(1.0, exponent - self.bias - self.mantissa_bits)
        return np.where(self.classify(w) >= INFINITE, np.nan, spacing)

    def ordinals(self, words: ArrayLike) -> NDArray[np.int64]:
        """The signed rank of each value: -0.0 and +0.0 are 0, one step to the next value is 1.

        Sign-magnitude words to integers; differences are exact and additive across binades and zero.

        Raises:
            FormatError: a word is nan, which has no rank.
        """
        w = self._checked(words)
        magnitude = (w & self.magnitude_mask).astype(np.int64)
        top = self.largest_finite + (1 if self.has_infinity else 0)
        if magnitude.size and magnitude.max() > top:
            n_nan = int((magnitude > top).sum())
            raise FormatError(
                f"{n_nan} of {magnitude.size} {self.name} words are nan and have no ordinal",
                hint="leave out the rows with nan",
            )
        return np.where(w >> (self.bits - 1), -magnitude, magnitude)

    def words_of(self, ordinals: ArrayLike) -> Words:
        """The words with these ordinals (+0.0 for 0); the inverse of :meth:`ordinals` but for -0.0."""
        ranks = np.asarray(ordinals, dtype=np.int64)
        top = self.largest_finite + (1 if self.has_infinity else 0)
        if ranks.size and (ranks.min() < -top or ranks.max() > top):
            found = f"{ranks.min()} to {ranks.max()}"
            raise FormatError(f"{self.name} ordinals lie within +-{top}, found {found}")
        sign = (ranks < 0).astype(np.int64) << (self.bits - 1)
        return np.asarray(np.abs(ranks) | sign, dtype=self.word_dtype)
