"""Which row of B is held against which row of A."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Match = Literal["id", "piece"]
"""Rows are one token's where they have the same id, or where the tokenizers give them the same piece."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """A one-to-one matching of rows of A with rows of B.

    Attributes:
        match: what made two rows a pair.
        first, second: ``int64[pairs]``, the token ids of each pair in A (ascending) and in B.
        removed: ``int64[n]``, ascending: the rows of A that have no partner.
        added: ``int64[n]``, ascending: the rows of B that have no partner.
    """

    match: Match
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    removed: NDArray[np.int64]
    added: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)


def pair_by_id(n_first: int, n_second: int) -> Pairing:
    """Pairs rows of the same id: what one matrix has beyond the other's last row was removed or added."""
    both = np.arange(min(n_first, n_second))
    return Pairing("id", both, both, np.arange(n_second, n_first), np.arange(n_first, n_second))


def pair_rows(first: NDArray[np.int64], second: NDArray[np.int64], n_first: int, n_second: int) -> Pairing:
    """Pairs the rows of A and B that stand at the same place of two lists of ids; each id occurs at most once."""
    order = np.argsort(first)
    removed, added = (np.setdiff1d(np.arange(n), ids) for n, ids in ((n_first, first), (n_second, second)))
    return Pairing("piece", first[order], second[order], removed, added)
