"""The lattice of a quantised matrix is that of its blocks: integer codes under a shared scale.

Two rows can be compared step by step only where their blocks have the same scale; elsewhere only the numbers they
stand for can. What is measured is said with each figure.

References:
    ggml's block_q8_0: a float16 scale, then 32 signed bytes; a value is scale x code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.embedding import Embedding
from forensics.errors import FormatError, SelectionError
from forensics.formats import BlockFormat
from forensics.lattice.selections import distances_to_point
from forensics.lattice.unique import unique_rows

NEAREST_ROWS = 40

SCALE_BYTES = {"Q8_0": 2}
"""Formats whose codes are whole bytes behind a float16 scale, with the width of the scale; others' codes are packed."""


@dataclass(frozen=True, slots=True)
class BlockNeighbour:
    """A unique row near the centre, compared block by block.

    Attributes:
        token_id: its first token.
        population: tokens of the neighbourhood that hold it.
        distance: Euclidean distance of the dequantised rows, in value units.
        equal_blocks: blocks whose stored bytes are the same.
        equal_scales: blocks whose scale is the same; None where the format's scale is not read.
        max_code_step, l1_code_steps: largest and summed step between codes over the blocks of equal scale; None
            where there are none, or the codes are packed.
    """

    token_id: int
    population: int
    distance: float
    equal_blocks: int
    equal_scales: int | None
    max_code_step: int | None
    l1_code_steps: int | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, eq=False)
class BlockSurvey:
    """The rows nearest to a centre row of a quantised matrix.

    Attributes:
        embedding: the quantised matrix.
        centre: token looked around.
        n_blocks: blocks in a row.
        neighbours: by distance, the centre's own row first.
    """

    embedding: Embedding
    centre: int
    n_blocks: int
    neighbours: tuple[BlockNeighbour, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "centre": {"token_id": self.centre},
            "measured": "dequantised values, and codes of blocks with equal scales",
            "blocks_per_row": self.n_blocks,
            "neighbours": [n.to_dict() for n in self.neighbours],
        }


def survey_blocks(
    embedding: Embedding, holes: BlackHoles, centre: int | None = None, nearest: int = NEAREST_ROWS
) -> BlockSurvey | None:
    """Compares the rows nearest in value to a centre row with it, block by block.

    Args:
        embedding: a quantised matrix.
        holes: its groups of identical stored rows.
        centre: the token to look around; the most populated non-zero group's if None.
        nearest: how many unique rows.

    Returns:
        None if no centre is given and there is no group to take one from.

    Raises:
        FormatError: the matrix is not quantised, or its blocks cannot be dequantised.
        SelectionError: no such token, or its row stands for a nan or an infinity.
    """
    if not isinstance(embedding.format, BlockFormat):
        raise FormatError(f"{embedding.tensor} is stored as {embedding.format.name}, not as blocks")
    if centre is None:
        solid = (hole.representative for hole in holes.holes if not hole.is_zero)
        centre = next((token for token in solid if _is_finite(embedding, token)), None)
        if centre is None:
            return None
    if not 0 <= centre < embedding.n_rows:
        raise SelectionError(f"no token {centre:,}: the matrix has rows 0 to {embedding.n_rows - 1:,}")
    if not _is_finite(embedding, centre):
        raise SelectionError(f"token {centre:,}'s row stands for a nan or an infinity: nothing lies around it")
    away = distances_to_point(embedding, embedding.values(centre, centre + 1)[0].astype(np.float64))
    # The nearest rows hold at most one token each, and those of the groups.
    order = np.argsort(away, kind="stable")[: 4 * nearest + holes.n_tokens]
    rows = unique_rows(embedding, np.sort(order[np.isfinite(away[order])]))
    # Other blocks can stand for the same numbers: the centre's own come first.
    own = (embedding.rows_bytes[rows.representatives] == embedding.rows_bytes[centre]).all(axis=1)
    ranked = np.lexsort((~own, away[rows.representatives]))[:nearest]
    block_bytes = embedding.format.block_bytes
    blocks = embedding.rows_bytes[rows.representatives[ranked]].reshape(len(ranked), -1, block_bytes)
    reference = embedding.rows_bytes[centre].reshape(-1, block_bytes)
    found = tuple(
        _compare(block, reference, SCALE_BYTES.get(embedding.format.name), int(token), int(n), float(away[token]))
        for block, token, n in zip(blocks, rows.representatives[ranked], rows.populations[ranked], strict=True)
    )
    return BlockSurvey(embedding, centre, len(reference), found)


def _is_finite(embedding: Embedding, token: int) -> bool:
    return bool(np.isfinite(embedding.values(token, token + 1)).all())


def _compare(
    blocks: NDArray[np.uint8], reference: NDArray[np.uint8], scale: int | None, token: int, n: int, distance: float
) -> BlockNeighbour:
    equal = int((blocks == reference).all(axis=1).sum())
    if scale is None:
        return BlockNeighbour(token, n, distance, equal, None, None, None)
    alike = (blocks[:, :scale] == reference[:, :scale]).all(axis=1)
    codes, others = (x[alike, scale:].view(np.int8).astype(np.int64) for x in (blocks, reference))
    steps = np.abs(codes - others)
    return BlockNeighbour(
        token_id=token,
        population=n,
        distance=distance,
        equal_blocks=equal,
        equal_scales=int(alike.sum()),
        max_code_step=int(steps.max()) if steps.size else None,
        l1_code_steps=int(steps.sum()) if steps.size else None,
    )
