"""Rows moved together by a common drift, rounded to the stored format after every step.

What is common to all rows makes of each dimension a map from word to word: numbers that meet never part, so only the
different words of a dimension are walked. The maps are monotone, so those that meet are neighbours in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from forensics.formats import FloatFormat, Words

DIMS = 128
"""Dimensions walked at a time: their words stay in a core's cache."""

Index = NDArray[np.int64]


def walk(words: Words, shifts: Sequence[NDArray[np.float32]], fmt: FloatFormat) -> Words:
    """The words after steps w <- b(w + shift), the sum in float32, b() being rounding to the format.

    Args:
        words: ``uint[rows, dim]``.
        shifts: ``float32[dim]`` of each step.
        fmt: the stored format.
    """
    out = np.empty_like(words)
    for start in range(0, words.shape[1], DIMS):
        part = slice(start, start + DIMS)
        out[:, part] = _walk_part(np.ascontiguousarray(words[:, part].T), (s[part] for s in shifts), fmt).T
    return out


def _walk_part(columns: Words, shifts: Iterable[NDArray[np.float32]], fmt: FloatFormat) -> Words:
    """The same for ``uint[dims, rows]``."""
    order = np.argsort(columns, axis=1, kind="stable")  # radix sort of 16-bit words
    words = np.take_along_axis(columns, order, axis=1).ravel()
    dims = np.repeat(np.arange(len(columns)), columns.shape[1])
    pointers: list[Index] = []
    words, dims = _merged(words, dims, pointers)
    due = 1
    for n, shift in enumerate(shifts, start=1):
        values = fmt.widen(words) + shift[dims]
        words = fmt.narrow(values)
        if n == due:
            words, dims = _merged(words, dims, pointers)
            due *= 2
    for pointer in reversed(pointers):
        words = words[pointer]
    final = np.empty_like(columns)
    np.put_along_axis(final, order, words.reshape(columns.shape), axis=1)
    return final


def _merged(words: Words, dims: Index, pointers: list[Index]) -> tuple[Words, Index]:
    """The words without those equal to the one before in their dimension; ``pointers`` gains where each went."""
    first = np.ones(len(words), bool)
    first[1:] = (words[1:] != words[:-1]) | (dims[1:] != dims[:-1])
    pointers.append(np.cumsum(first) - 1)
    return words[first], dims[first]
