"""Words to float32 values, exactly, and back, rounded to nearest with ties to even."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from forensics.formats.float_format import FloatFormat

Words = NDArray[np.unsignedinteger[Any]]
"""Raw integers of stored numbers."""


def widen(fmt: FloatFormat, words: Words) -> NDArray[np.float32]:
    """The value of each word, exactly."""
    if fmt.bits == 32:
        return words.view(np.float32)
    if fmt.name == "bfloat16":
        return np.left_shift(words, 16, dtype=np.uint32).view(np.float32)
    if fmt.name == "float16":
        return words.view(np.float16).astype(np.float32)
    return _value_table(fmt)[words]


def narrow(fmt: FloatFormat, x: NDArray[np.float32]) -> Words:
    """The nearest word to each value, ties to even."""
    if fmt.bits == 32:
        return x.view(np.uint32)
    if fmt.name == "bfloat16":
        return _narrow_to_bfloat16(x)
    if fmt.name == "float16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).view(np.uint16)
    return _narrow_by_table(fmt, x)


@cache
def _value_table(fmt: FloatFormat) -> NDArray[np.float32]:
    """The value of every word of an 8-bit format, by the definition of the fields."""
    words = np.arange(1 << fmt.bits, dtype=fmt.word_dtype)
    sign, exponent, mantissa = (field.astype(np.int32) for field in fmt.split(words))
    implicit = np.where(exponent == 0, 0, 1 << fmt.mantissa_bits)
    scale = np.maximum(exponent, 1) - fmt.bias - fmt.mantissa_bits
    values = np.where(sign == 1, -1.0, 1.0) * np.ldexp((implicit + mantissa).astype(np.float64), scale)
    beyond = (words & fmt.magnitude_mask).astype(np.int32) - fmt.largest_finite
    values[beyond > 0] = np.nan
    if fmt.has_infinity:
        values[beyond == 1] = np.where(sign[beyond == 1] == 1, -np.inf, np.inf)
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
