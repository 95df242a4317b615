"""Number formats as values: how a stored word splits into sign, exponent and mantissa, and what it means.

A *word* is the raw unsigned integer of one stored number; its *value* is the float that it encodes; its
*ordinal* is the signed rank of that value among the format's values. Words and ordinals are exact integers,
so everything that must not round is done on them.

References:
    IEEE 754-2019 (float16, float32); Kalamkar et al. 2019, arXiv 1905.12322 (bfloat16);
    Micikevicius et al. 2022, arXiv 2209.05433 (float8_e4m3fn, float8_e5m2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forensics.errors import FormatError

Words = NDArray[np.unsignedinteger[Any]]

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
        w = self._checked(words)
        if self.bits == 32:
            return w.view(np.float32)
        if self.name == "bfloat16":
            return np.left_shift(w, 16, dtype=np.uint32).view(np.float32)
        if self.name == "float16":
            return w.view(np.float16).astype(np.float32)
        return _value_table(self)[w]

    def narrow(self, values: ArrayLike) -> Words:
        """The word nearest to each float32 value, ties to even.

        Beyond the largest finite value the result is infinity, or nan where the format has none (ml_dtypes
        does the same; torch 2.13 saturates there, to the largest finite value).
        """
        x = np.asarray(values, dtype=np.float32)
        if self.bits == 32:
            return x.view(np.uint32)
        if self.name == "bfloat16":
            return _narrow_to_bfloat16(x)
        if self.name == "float16":
            with np.errstate(over="ignore"):
                return x.astype(np.float16).view(np.uint16)
        return _narrow_by_table(self, x)

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


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """A quantised format: a row is stored as blocks of integers with shared scales.

    Attributes:
        name: the ggml name, such as "Q8_0".
        code: the ggml type number.
        block_values: numbers in a block.
        block_bytes: bytes in a block.
    """

    name: str
    code: int
    block_values: int
    block_bytes: int

    def row_bytes(self, dim: int) -> int:
        """Stored bytes of a row of ``dim`` numbers.

        Raises:
            FormatError: a row is not a whole number of blocks.
        """
        if dim % self.block_values:
            raise FormatError(f"a {self.name} row is a multiple of {self.block_values} numbers, found {dim}")
        return dim // self.block_values * self.block_bytes

    def dequantise(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The values that the stored blocks stand for, ``float32[rows, dim]``, as ggml computes them.

        Raises:
            FormatError: the gguf package cannot dequantise this type.
        """
        from gguf.constants import GGMLQuantizationType  # 0.2 s, for quantised files only
        from gguf.quants import dequantize

        try:
            values = dequantize(rows, GGMLQuantizationType(self.code))
        except NotImplementedError as error:
            raise FormatError(
                f"{self.name} blocks cannot be turned into numbers by the installed gguf package",
                hint="a newer gguf may know the type",
            ) from error
        return np.asarray(values, dtype=np.float32)


TensorFormat = FloatFormat | BlockFormat

BFLOAT16 = FloatFormat("bfloat16", 8, 7, 127, True, "BF16")
FLOAT16 = FloatFormat("float16", 5, 10, 15, True, "F16")
FLOAT32 = FloatFormat("float32", 8, 23, 127, True, "F32")
FLOAT8_E4M3FN = FloatFormat("float8_e4m3fn", 4, 3, 7, False, "F8_E4M3")
FLOAT8_E5M2 = FloatFormat("float8_e5m2", 5, 2, 15, True, "F8_E5M2")

FORMATS: dict[str, FloatFormat] = {f.name: f for f in (BFLOAT16, FLOAT16, FLOAT32, FLOAT8_E4M3FN, FLOAT8_E5M2)}
"""The float formats by name."""


def float_format(name: str) -> FloatFormat:
    """The format of that name.

    Raises:
        FormatError: no such format.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise FormatError(f"unknown number format {name!r}", hint=f"known: {', '.join(FORMATS)}") from None


@cache
def _value_table(fmt: FloatFormat) -> NDArray[np.float32]:
    """The value of every word of an 8-bit format, by the definition of the fields."""
    words = np.arange(1 << fmt.bits, dtype=fmt.word_dtype)
    sign, exponent, mantissa = (field.astype(np.int32) for field in fmt.split(words))
    implicit = np.where(exponent == 0, 0, 1 << fmt.mantissa_bits)
    scale = np.maximum(exponent, 1) - fmt.bias - fmt.mantissa_bits
    values = np.where(sign == 1, -1.0, 1.0) * np.ldexp((implicit + mantissa).astype(np.float64), scale)
    classes = fmt.classify(words)
    values[classes == INFINITE] = np.copysign(np.inf, values[classes == INFINITE])
    values[classes == NAN] = np.nan
    table: NDArray[np.float32] = values.astype(np.float32)
    table.setflags(write=False)
    return table


def _narrow_to_bfloat16(x: NDArray[np.float32]) -> Words:
    bits = x.view(np.uint32)
    # Adding 0x7fff, or 0x8000 to an odd word, carries into bit 16 exactly when the tail rounds up.
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    is_nan = np.isnan(x)
    if is_nan.any():
        rounded = np.where(is_nan, (bits >> 16) | 0x40, rounded)
    return rounded.astype(np.uint16)


def _narrow_by_table(fmt: FloatFormat, x: NDArray[np.float32]) -> Words:
    finite = _value_table(fmt)[: fmt.largest_finite + 1].astype(np.float64)
    # One more step of the top binade stands for what lies beyond: past the midpoint to it is overflow.
    beyond = 2 * finite[-1] - finite[-2]
    midpoints = (finite + np.append(finite[1:], beyond)) / 2
    with np.errstate(invalid="ignore"):  # a signalling nan is turned into a quiet one
        magnitude = np.abs(x).astype(np.float64)
    words = np.searchsorted(midpoints, magnitude)
    tie = midpoints[np.minimum(words, len(midpoints) - 1)] == magnitude
    words += tie & (words % 2 == 1)
    # Past the largest finite word comes infinity, or in a format without it the only nan.
    words = np.where(np.isnan(x), fmt.magnitude_mask, words)
    return np.asarray(words | (np.signbit(x).astype(np.int64) << (fmt.bits - 1)), dtype=fmt.word_dtype)
