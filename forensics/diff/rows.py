"""Pairs of rows held against each other: by stored bytes, then in steps of the format, then by value.

A row is *unchanged* only if its stored bytes are. -0.0 and +0.0 are two words of one ordinal: rows that differ in
nothing else have *equal values* and are 0 steps apart. A nan has no ordinal and equals nothing: a row that has one
and other bytes has *changed*, by an unknown number of steps, be it by a nan's payload alone.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.diff.pairing import Pairing
from forensics.embedding import Embedding
from forensics.formats import FloatFormat, Words
from forensics.lattice.coordinates import compact_ordinals

STATES = ("unchanged", "equal values", "equal after rounding", "moved", "changed")
"""Names of the codes in :attr:`RowChanges.state`."""

UNCHANGED, EQUAL, ROUNDED, MOVED, CHANGED = range(5)

BLOCK_BYTES = 1 << 18
"""Stored bytes of a block of A: its float64 difference, eight bytes a number, stays in a core's second-level cache."""

Values = NDArray[np.float32]
Sums = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RowChanges:
    """What happened to each pair of rows. All arrays are ``[pairs]``, in the order of the pairing.

    Attributes:
        state: ``uint8``, an index into STATES.
        steps: ``int64``, L-infinity distance in steps of the format; -1 where it is undefined (the formats differ or
            are quantised, or a row holds a nan).
        distance: ``float64``, Euclidean, in value units; nan where a row holds an infinity or a nan.
        along: ``float64``, inner product of the row of A with the change; nan as above, 0 where unchanged.
        norm: ``float64``, Euclidean norm of the row of A; nan where unchanged, or not finite.
        became_zero, was_zero: ``bool``, only the row of B, or only that of A, is all zero.
        became_non_finite, was_non_finite: ``bool``, only one of the rows holds an infinity or a nan.
    """

    state: NDArray[np.uint8]
    steps: NDArray[np.int64]
    distance: Sums
    along: Sums
    norm: Sums
    became_zero: NDArray[np.bool_]
    was_zero: NDArray[np.bool_]
    became_non_finite: NDArray[np.bool_]
    was_non_finite: NDArray[np.bool_]


def compare_rows(first: Embedding, second: Embedding, pairing: Pairing, within: int) -> RowChanges:
    """Compares every pair, blocks of pairs in parallel; each holds a few megabytes.

    Args:
        first: A.
        second: B, of the same dim.
        pairing: which rows to compare.
        within: largest L-infinity distance in steps at which a row has moved rather than changed.
    """
    n = len(pairing)
    changes = RowChanges(
        state=np.zeros(n, np.uint8),
        steps=np.full(n, 0 if _has_steps(first, second) else -1),
        distance=np.zeros(n),
        along=np.zeros(n),
        norm=np.full(n, np.nan),
        became_zero=np.zeros(n, np.bool_),
        was_zero=np.zeros(n, np.bool_),
        became_non_finite=np.zeros(n, np.bool_),
        was_non_finite=np.zeros(n, np.bool_),
    )

    def work(span: tuple[int, int]) -> None:
        pairs = np.arange(*span)
        a = _take(first.rows_bytes, pairing.first[slice(*span)])
        b = _take(second.rows_bytes, pairing.second[slice(*span)])
        if first.format == second.format:
            other = np.flatnonzero((_wide(a) != _wide(b)).any(axis=1))
            pairs, a, b = pairs[other], _take(a, other), _take(b, other)
        if len(pairs):
            _compare(changes, pairs, _Side(first, a), _Side(second, b), within)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # numpy lets go of the interpreter inside its loops
        for _ in pool.map(work, first.spans(n, block_bytes=BLOCK_BYTES)):
            pass
    return changes


class _Side:
    """Rows of one matrix: their stored bytes and their values."""

    def __init__(self, matrix: Embedding, rows: NDArray[np.uint8]) -> None:
        self.format, self.rows = matrix.format, rows
        self.values = Embedding(np.ascontiguousarray(rows), matrix.format, matrix.dim).values()

    @property
    def words(self) -> Words:
        assert isinstance(self.format, FloatFormat)
        return np.ascontiguousarray(self.rows).view(self.format.word_dtype)


def _compare(changes: RowChanges, pairs: NDArray[np.int64], a: _Side, b: _Side, within: int) -> None:
    """Fills in what is known of pairs whose bytes, or whose formats, differ."""
    with np.errstate(invalid="ignore"):  # infinity less infinity; a signalling nan is turned into a quiet one
        _judge(changes, pairs, a, b, within)
        start = a.values.astype(np.float64)
        change = np.subtract(b.values, start)
        square, along, norm = (_inner(x, y) for x, y in ((change, change), (start, change), (start, start)))
        square[~np.isfinite(square)] = np.nan
        changes.distance[pairs], changes.along[pairs], changes.norm[pairs] = np.sqrt(square), along, np.sqrt(norm)
        _zeros(changes, pairs, square, norm, b.values)
    _non_finite(changes, pairs, square, a.values, b.values)


def _judge(changes: RowChanges, pairs: NDArray[np.int64], a: _Side, b: _Side, within: int) -> None:
    state = np.full(len(pairs), CHANGED, np.uint8)
    if isinstance(a.format, FloatFormat) and a.format == b.format:
        steps = row_steps(a.format, a.words, b.words)
        changes.steps[pairs] = steps
        state[(steps >= 0) & (steps <= within)] = MOVED
        state[steps == 0] = EQUAL
    else:
        state[_rounded(a, b)] = ROUNDED
        state[(a.values == b.values).all(axis=1)] = EQUAL
    changes.state[pairs] = state


def row_steps(fmt: FloatFormat, first: Words, second: Words) -> NDArray[np.int64]:
    """L-infinity distance of each row to its partner in ordinal steps, ``int64[n]``; -1 where either holds a nan."""
    a, b = compact_ordinals(fmt, first), compact_ordinals(fmt, second)
    top = fmt.largest_finite + (1 if fmt.has_infinity else 0)
    high, low = np.maximum(a, b), np.minimum(a, b)
    beyond = None
    if high.size and (high.max() > top or low.min() < -top):
        beyond = ((high > top) | (low < -top)).any(axis=1)
    # The true difference fits the unsigned type; the signed subtraction wraps to the same bits.
    high -= low
    steps = np.asarray(high.view(f"u{high.itemsize}").max(axis=1)).astype(np.int64)
    if beyond is not None:
        steps[beyond] = -1
    return steps


def _rounded(a: _Side, b: _Side) -> NDArray[np.bool_]:
    """The rows of which one is the other rounded to its format, to nearest; none where one is quantised."""
    found = np.zeros(len(a.rows), np.bool_)
    for wide, narrow in ((a, b), (b, a)):
        if isinstance(wide.format, FloatFormat) and isinstance(narrow.format, FloatFormat):
            rounded = narrow.format.widen(narrow.format.narrow(wide.values))
            found |= (rounded == narrow.values).all(axis=1)
    return found


def _zeros(changes: RowChanges, pairs: NDArray[np.int64], square: Sums, norm: Sums, values: Values) -> None:
    changes.was_zero[pairs] = (norm == 0) & (square != 0)
    # Where B is 0 the change is minus A, or nan where A is not finite.
    maybe = np.flatnonzero((square == norm) & (norm != 0) | np.isnan(square))
    changes.became_zero[pairs[maybe]] = ~values[maybe].any(axis=1)


def _non_finite(changes: RowChanges, pairs: NDArray[np.int64], square: Sums, a: Values, b: Values) -> None:
    maybe = np.flatnonzero(np.isnan(square))
    was, becomes = (~np.isfinite(side[maybe]).all(axis=1) for side in (a, b))
    changes.was_non_finite[pairs[maybe]] = was & ~becomes
    changes.became_non_finite[pairs[maybe]] = becomes & ~was
    changes.norm[pairs[maybe[was]]] = np.nan
    changes.along[pairs[maybe]] = np.nan


def _inner(x: Sums, y: Sums) -> Sums:
    return np.asarray(np.einsum("ij,ij->i", x, y))


def _has_steps(first: Embedding, second: Embedding) -> bool:
    return first.format == second.format and not first.is_quantised


def _take(rows: NDArray[np.uint8], ids: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Rows by their numbers; a view of the stored bytes where they follow each other."""
    if len(ids) and (np.diff(ids) == 1).all():
        return rows[ids[0] : ids[-1] + 1]
    return rows[ids]


def _wide(rows: NDArray[np.uint8]) -> NDArray[Any]:
    """The same bytes as the widest integers that divide a row: fewer to compare."""
    size = next(size for size in (8, 4, 2, 1) if rows.shape[1] % size == 0)
    return rows.view(f"u{size}")
