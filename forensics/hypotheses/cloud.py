"""A cloud: the rows of the dead tokens, held as distinct rows and how many tokens hold each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import row_bytes
from forensics.errors import HypothesisError
from forensics.formats import FloatFormat, TensorFormat, Words


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Rows in their stored form. Tight clouds differ on few of their dimensions, so only those are held row by row.

    A column is a dimension of a float format, and a stored byte of a quantised one.

    Attributes:
        format: the stored format.
        dim: numbers in a row.
        row: ``uint[columns]``, the first row.
        active: ``int64[a]``, ascending: the columns on which some two rows differ.
        patterns: ``uint[u, a]``, the distinct rows on the active columns, most populated first, then by first row.
        pattern_of: ``int64[n]``, the pattern that each row holds.
        token_ids: ``int64[n]`` ascending, of the rows, where they are known or predicted; else None.
    """

    format: TensorFormat
    dim: int
    row: Words
    active: NDArray[np.int64]
    patterns: Words
    pattern_of: NDArray[np.int64]
    token_ids: NDArray[np.int64] | None = None

    @classmethod
    def from_rows(cls, rows: Words, fmt: TensorFormat, dim: int, token_ids: NDArray[np.int64] | None = None) -> Cloud:
        """The cloud of rows in their stored form.

        Args:
            rows: ``uint[n, columns]``, one row at least: words, or the bytes of a quantised format.
            fmt: the stored format.
            dim: numbers in a row.
            token_ids: ``int64[n]``, of the rows.

        Raises:
            HypothesisError: not rows of this format.
        """
        _check(rows, fmt, columns=stored_columns(fmt, dim))
        active = np.flatnonzero((rows != rows[0]).any(axis=0))
        return cls.from_active(rows[0], active, rows[:, active], fmt, dim, token_ids)

    @classmethod
    def from_active(
        cls,
        row: Words,
        active: NDArray[np.int64],
        words: Words,
        fmt: TensorFormat,
        dim: int,
        token_ids: NDArray[np.int64] | None = None,
    ) -> Cloud:
        """The cloud of rows that equal ``row`` on all but some columns.

        Args:
            row: ``uint[columns]``.
            active: ``int64[a]``, ascending: columns on which rows may differ.
            words: ``uint[n, a]``, each row's words there.
            fmt: the stored format.
            dim: numbers in a row.
            token_ids: ``int64[n]``, of the rows.

        Raises:
            HypothesisError: not words of this format, or not one column for each active one.
        """
        _check(row[np.newaxis], fmt, columns=stored_columns(fmt, dim))
        _check(words, fmt, columns=len(active))
        first = np.array(row)
        first[active] = words[0]
        differing = (words != words[0]).any(axis=0)
        patterns, pattern_of = _distinct(np.ascontiguousarray(words[:, differing]))
        return cls(fmt, dim, first, active[differing], patterns, pattern_of, token_ids)

    def __len__(self) -> int:
        return len(self.pattern_of)

    @property
    def populations(self) -> NDArray[np.int64]:
        """``int64[u]``, rows that hold each pattern."""
        return np.bincount(self.pattern_of, minlength=len(self.patterns))

    def rows(self) -> Words:
        """Every row in its stored form, ``uint[n, columns]``."""
        return self._filled(self.patterns)[self.pattern_of]

    def distinct_rows(self) -> Words:
        """The distinct rows, ``uint[u, columns]``, in the order of ``patterns``."""
        return self._filled(self.patterns)

    def distinct_values(self) -> NDArray[np.float32]:
        """The numbers of the distinct rows, ``float32[u, dim]``."""
        rows = self.distinct_rows()
        return self.format.widen(rows) if isinstance(self.format, FloatFormat) else self.format.dequantise(rows)

    def _filled(self, patterns: Words) -> Words:
        full = np.repeat(self.row[np.newaxis], len(patterns), axis=0)
        full[:, self.active] = patterns
        return full


def stored_columns(fmt: TensorFormat, dim: int) -> int:
    """Columns of a stored row: words of a float format, bytes of a quantised one."""
    return dim if isinstance(fmt, FloatFormat) else row_bytes(fmt, dim)


def _check(rows: Words, fmt: TensorFormat, columns: int) -> None:
    dtype = fmt.word_dtype if isinstance(fmt, FloatFormat) else np.dtype(np.uint8)
    if rows.dtype != dtype or rows.ndim != 2 or rows.shape[1] != columns or not len(rows):
        found = f"{rows.dtype.name}{list(rows.shape)}"
        raise HypothesisError(
            f"{fmt.name} rows of a cloud are {dtype.name}[1 or more, {columns}], found {found}",
            hint="a simulator gives stored words, not values: FloatFormat.narrow rounds them",
        )


def _distinct(words: Words) -> tuple[Words, NDArray[np.int64]]:
    """Distinct rows, most populated first and then by first row, and which of them each row is."""
    n = len(words)
    if not words.shape[1]:
        return words[:1], np.zeros(n, np.int64)
    whole = words.view(np.dtype((np.void, words.shape[1] * words.itemsize)))[:, 0]
    _, first, index = np.unique(whole, return_index=True, return_inverse=True)
    order = np.lexsort((first, -np.bincount(index)))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return words[first[order]], rank[index]
