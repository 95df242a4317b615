"""The lattice summary: which tokens lie around the black holes, and how the holes lie to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.gaps import Gap
from forensics.lattice.distances import pairwise_distances, row_ordinals
from forensics.lattice.extent import Extent, measure_extent
from forensics.lattice.selections import Surroundings, is_finite, select, select_holes, select_radius, solid_holes
from forensics.lattice.unique import UniqueRows, count_unique
from forensics.measures import Population

EXPONENT_STEPS = 20

MAX_HOLES = 500
"""Holes that are held against each other and flooded from: beyond, "around the holes" is the whole vocabulary."""

SHOWN_HOLES = 64


@dataclass(frozen=True, slots=True, eq=False)
class LatticeSummary:
    """The part of a survey that costs two passes over the matrix.

    Attributes:
        around: what selections are made from.
        counts: tokens and unique rows of every named selection, with its definition.
        exponent_counts: ``int[k]``, tokens whose exponents are all within k of the centre's.
        gap: the void beyond the radius selection; None without holes or gap.
        holes: the unique rows of the most populated holes that have a place on the lattice, at most MAX_HOLES.
        linf: ``int64[n, n]``, their pairwise L-infinity.
        hole_extent: their bounding box; None with fewer than two.
    """

    around: Surroundings
    counts: tuple[tuple[Population, int], ...]
    exponent_counts: NDArray[np.int64]
    gap: Gap | None
    holes: UniqueRows
    linf: NDArray[np.int64]
    hole_extent: Extent | None

    @property
    def embedding(self) -> Embedding:
        """The float matrix."""
        return self.around.embedding

    @property
    def adjacent_pairs(self) -> int:
        """Pairs of holes at L-infinity 1."""
        return int((self.linf[np.triu_indices(len(self.linf), 1)] == 1).sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain values; at most 64 holes are listed."""
        ulp = self.embedding.float_format.ulp(self.embedding.words[self.around.centre])
        shown = slice(0, SHOWN_HOLES)
        return {
            "centre": {
                "token_id": self.around.centre,
                "ulp": {"min": float(ulp.min()), "median": float(np.median(ulp)), "max": float(ulp.max())},
            },
            "selections": [
                {"name": p.name, "definition": p.definition, "tokens": len(p), "unique_rows": n} for p, n in self.counts
            ],
            "exponent_counts": [int(n) for n in self.exponent_counts],
            "gap": self.gap.to_dict() if self.gap else None,
            "holes": {
                "populations": [int(n) for n in self.holes.populations[shown]],
                "linf": self.linf[shown, shown].tolist(),
                "adjacent_pairs": self.adjacent_pairs,
                "extent": self.hole_extent.to_dict() if self.hole_extent else None,
            },
        }


def summarise_lattice(embedding: Embedding, holes: BlackHoles, centre: int | None = None) -> LatticeSummary | None:
    """Counts the named selections and measures the holes against each other.

    Args:
        embedding: a float matrix.
        holes: its black holes.
        centre: the token to look around; the most populated hole's row if None.

    Returns:
        None if no centre is given and no hole has a place on the lattice: there is nothing to survey.

    Raises:
        FormatError: the matrix is quantised.
        SelectionError: no such token, or its row holds a nan or an infinity.
    """
    solid = solid_holes(embedding, holes)
    if centre is None:
        if not solid:
            return None
        centre = solid[0].representative
    _check_centre(embedding, centre)
    around = Surroundings.measure(embedding, solid, centre)
    sets, gap = [select("exponent:0", around), select("exponent:5", around)], None
    if around.from_centroid is not None:
        radius, gap = select_radius(around.from_centroid)
        sets = [select_holes(solid), *sets, radius]
    largest = solid[:MAX_HOLES]
    rows = UniqueRows(
        np.array([hole.representative for hole in largest], dtype=np.int64),
        np.array([hole.population for hole in largest], dtype=np.int64),
        tuple(hole.token_ids for hole in largest),
    )
    ordinals = row_ordinals(embedding, rows.representatives)
    return LatticeSummary(
        around=around,
        counts=tuple((chosen, count_unique(holes, chosen.token_ids)) for chosen in sets),
        exponent_counts=np.searchsorted(np.sort(around.exponents), np.arange(EXPONENT_STEPS + 1), side="right"),
        gap=gap,
        holes=rows,
        linf=pairwise_distances(ordinals, ordinals, "linf"),
        hole_extent=measure_extent(embedding, rows, ordinals) if len(rows) > 1 else None,
    )


def _check_centre(embedding: Embedding, centre: int) -> None:
    if not 0 <= centre < embedding.n_rows:
        raise SelectionError(f"no token {centre:,}: the matrix has rows 0 to {embedding.n_rows - 1:,}")
    if not is_finite(embedding, centre):
        raise SelectionError(f"token {centre:,}'s row holds an infinity or a nan: there are no distances from it")
