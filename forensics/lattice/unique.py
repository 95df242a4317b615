"""The distinct rows among some tokens, with how many tokens hold each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles, find_black_holes
from forensics.embedding import Embedding


@dataclass(frozen=True, slots=True, eq=False)
class UniqueRows:
    """Distinct stored rows, most populated first, then by first token.

    Attributes:
        representatives: ``int64[n]``, the first token of each.
        populations: ``int64[n]``, tokens of the set that hold it.
        members: the tokens of each.
    """

    representatives: NDArray[np.int64]
    populations: NDArray[np.int64]
    members: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.representatives)

    def tokens(self, chosen: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """The tokens of all rows, or of the chosen ones, ascending."""
        picked = self.members if chosen is None else [m for m, keep in zip(self.members, chosen, strict=True) if keep]
        return np.sort(np.concatenate([*picked, np.empty(0, np.int64)]).astype(np.int64))


def count_unique(holes: BlackHoles, token_ids: NDArray[np.int64]) -> int:
    """How many distinct stored rows these tokens hold, without looking at a row again."""
    ids = holes.hole_ids[token_ids]
    return len(np.unique(ids[ids > 0])) + int((ids == 0).sum())


def unique_rows(embedding: Embedding, token_ids: NDArray[np.int64]) -> UniqueRows:
    """The distinct rows among these tokens, by bit identity."""
    if not len(token_ids):
        return UniqueRows(np.empty(0, np.int64), np.empty(0, np.int64), ())
    chosen = Embedding(embedding.rows_bytes[token_ids], embedding.format, embedding.dim)
    found = find_black_holes(chosen)
    groups = [token_ids[hole.token_ids] for hole in found.holes]
    groups += [token_ids[i : i + 1] for i in np.flatnonzero(~found.mask)]
    return UniqueRows(
        np.array([group[0] for group in groups], dtype=np.int64),
        np.array([len(group) for group in groups], dtype=np.int64),
        tuple(groups),
    )
