"""The dead rows of the planted Qwen3-4B, holes and singletons, and the tokens that hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.formats import BFLOAT16, Words
from forensics.synthetic.layout import Placed, TokenIds
from forensics.synthetic.qwen3_4b_holes import plant_holes
from forensics.synthetic.qwen3_4b_published import Published
from forensics.synthetic.qwen3_4b_singletons import plant_singletons

DEAD_FROM = 0.8
"""Dead tokens lie in the last fifth of the ids, as the published ones nearly all do."""


@dataclass(frozen=True, slots=True, eq=False)
class DeadRows:
    """Rows and tokens of the holes and the singletons.

    Attributes:
        holes: ``uint16[13, dim]`` bfloat16 words, in the order in which a scan numbers them.
        hole_ids: each hole's token ids, ascending.
        singletons: ``uint16[112, dim]`` bfloat16 words.
        singleton_ids: ``int64[112]``, the token of each.
        distances: ``int64[112]``, the largest absolute exponent difference of each to hole 1.
    """

    holes: Words
    hole_ids: list[TokenIds]
    singletons: Words
    singleton_ids: TokenIds
    distances: NDArray[np.int64]

    @property
    def placed(self) -> Placed:
        """The dead rows at their tokens."""
        alone = list(self.singleton_ids[:, None])
        return Placed.of([*self.hole_ids, *alone], np.concatenate([self.holes, self.singletons]))

    def hole_values(self) -> NDArray[np.float64]:
        """Values of the holes' rows, ``float64[13, dim]``."""
        return BFLOAT16.widen(self.holes).astype(np.float64)

    def singleton_values(self) -> NDArray[np.float64]:
        """Values of the singletons' rows, ``float64[112, dim]``."""
        return BFLOAT16.widen(self.singletons).astype(np.float64)

    def in_hole_centroid(self) -> NDArray[np.float64]:
        """The mean of the in-hole rows, every token counted, ``float64[dim]``."""
        populations = np.array([len(ids) for ids in self.hole_ids], dtype=np.float64)
        return np.asarray((populations[:, None] * self.hole_values()).sum(axis=0) / populations.sum())


def plant_dead(
    said: Published, rows: int, dim: int, words_rng: np.random.Generator, ids_rng: np.random.Generator
) -> DeadRows:
    """The dead rows, and tokens for them in the upper part of the id range.

    Args:
        said: the published figures.
        rows: number of token rows of the matrix.
        dim: numbers in a row.
        words_rng: draws what is not published of the rows.
        ids_rng: draws the tokens.
    """
    holes = plant_holes(said, dim, words_rng)
    singletons, distances = plant_singletons(said, holes, words_rng)
    # A small matrix has no room in its last fifth: then from where half of the ids above are dead.
    first = max(0, min(int(DEAD_FROM * rows), rows - 2 * said.n_dead))
    ids = ids_rng.choice(np.arange(first, rows, dtype=np.int64), said.n_dead, replace=False)
    cuts = np.cumsum(said.populations)
    groups = [np.sort(group) for group in np.split(ids, cuts)[:-1]]
    # Among holes of equal population a scan numbers by first token; the published order is to come out.
    groups.sort(key=lambda group: (-len(group), int(group[0])))
    return DeadRows(holes, groups, singletons, ids[cuts[-1] :], distances)
