"""Which token holds which row: placed rows among freely drawn ones, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.formats import Words

TokenIds = NDArray[np.int64]

Draw = Callable[[int], Words]
"""Gives the next n free rows, ``uint[n, dim]``."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Rows put at chosen tokens; every other token is free.

    Attributes:
        token_ids: ``int64[n]``, ascending.
        row_of: ``int64[n]``, the row of ``words`` that each of them holds.
        words: ``uint[k, dim]``, each row once however many tokens share it.
    """

    token_ids: TokenIds
    row_of: TokenIds
    words: Words

    @classmethod
    def of(cls, tokens_of_row: list[TokenIds], words: Words) -> Placed:
        """From the tokens of each row of ``words``."""
        token_ids = np.concatenate([*tokens_of_row, np.empty(0, np.int64)]).astype(np.int64)
        row_of = np.repeat(np.arange(len(tokens_of_row)), [len(ids) for ids in tokens_of_row])
        order = np.argsort(token_ids)
        return cls(token_ids[order], row_of[order].astype(np.int64), words)

    def free_ids(self, rows: int) -> TokenIds:
        """The tokens of a matrix of ``rows`` that hold no placed row, ascending."""
        return np.delete(np.arange(rows, dtype=np.int64), self.token_ids)


def interleave(spans: Iterable[tuple[int, int]], placed: Placed, draw: Draw) -> Iterator[Words]:
    """Streams the matrix over ranges of token ids, drawing the free rows in token order.

    Args:
        spans: ranges (first, past the last) that follow one another from 0.
        placed: the placed rows.
        draw: called once per range that has free tokens, with their number.
    """
    dim, dtype = placed.words.shape[1], placed.words.dtype
    for start, stop in spans:
        low, high = np.searchsorted(placed.token_ids, (start, stop))
        if low == high:
            yield draw(stop - start)
            continue
        block = np.empty((stop - start, dim), dtype)
        here = placed.token_ids[low:high] - start
        block[here] = placed.words[placed.row_of[low:high]]
        free = np.delete(np.arange(stop - start), here)
        if free.size:
            block[free] = draw(len(free))
        yield block
