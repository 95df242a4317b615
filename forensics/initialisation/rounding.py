"""The one rounding of drawn numbers to the stored format."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.errors import ConfigError
from forensics.formats import FloatFormat, Words


def narrowed(values: NDArray[np.float32], fmt: FloatFormat, kind: str) -> Words:
    """The nearest words, ties to even.

    Raises:
        ConfigError: a number is beyond the format's largest; ``kind`` names the distribution it is of.
    """
    words = fmt.narrow(values)
    if (words & fmt.magnitude_mask).max() > fmt.largest_finite:
        largest = fmt.widen(np.array([fmt.largest_finite], fmt.word_dtype))[0]
        raise ConfigError(
            f"initialisation {kind!r}: numbers drawn lie beyond {largest:g}, the largest of {fmt.name}",
            hint="draw smaller numbers, or store a wider format",
        )
    return words
