"""The lattice survey: what lies around a row of a float matrix, on the scale of single mantissa steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.lattice.coordinates import Locality, measure_locality
from forensics.lattice.distances import nearest_members, pairwise_distances, row_ordinals
from forensics.lattice.extent import Extent, Shells, measure_extent, measure_shells
from forensics.lattice.graph import NeighbourGraph, build_graph, components_by_threshold
from forensics.lattice.selections import exponent_misses, flood, parse_selection, select
from forensics.lattice.summary import MAX_HOLES, LatticeSummary, summarise_lattice
from forensics.lattice.unique import UniqueRows, count_unique, unique_rows
from forensics.measures import Population

DEFAULT = "exponent:5"
"""The published "frozen smoke"."""

MAX_ROWS = 4_000
"""Unique rows of a selection: all pairs of them are held, at 8 bytes a pair."""

NEAR_STEPS = 64
"""L-infinity up to which the matrix's other rows are counted around the selection."""

MISSED_DIMS = (0, 1, 5, 10)
TOLERANCES = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True, eq=False)
class LatticeSurvey:
    """What was found around a row.

    Attributes:
        summary: the selections' counts and the holes against each other.
        flooded: the closure of the holes at one step, its unique rows, and how many each round added; None
            without holes, or with more than MAX_HOLES.
        exponent_misses: for each of TOLERANCES, tokens with at most MISSED_DIMS dimensions out of tolerance.
        selection: the set that everything below is over.
        rows: its unique rows.
        linf: ``int64[n, n]``, their pairwise L-infinity.
        locality: how local they are to the centre.
        graph, relaxed: neighbour graphs at L-infinity 1 and 2.
        thresholds: (threshold, components, edges, largest component) wherever the components change.
        extent: of the selection.
        shells: Euclidean distances and principal directions.
        near: tokens outside the selection by L-infinity to its nearest row, up to NEAR_STEPS.
    """

    summary: LatticeSummary
    flooded: tuple[Population, int, list[int]] | None
    exponent_misses: dict[int, list[int]]
    selection: Population
    rows: UniqueRows
    linf: NDArray[np.int64]
    locality: Locality
    graph: NeighbourGraph
    relaxed: NeighbourGraph
    thresholds: list[tuple[int, int, int, int]]
    extent: Extent
    shells: Shells
    near: dict[int, int]

    @property
    def embedding(self) -> Embedding:
        """The float matrix."""
        return self.summary.embedding

    @property
    def counts(self) -> list[tuple[Population, int]]:
        """Every named selection with its number of unique rows, the surveyed one last."""
        listed = [*self.summary.counts, *([self.flooded[:2]] if self.flooded else [])]
        return [*((p, n) for p, n in listed if p.name != self.selection.name), (self.selection, len(self.rows))]

    @property
    def hole_rows(self) -> NDArray[np.int64]:
        """Indices into ``rows`` of those that are holes of the matrix."""
        return np.flatnonzero(np.isin(self.rows.representatives, self.summary.holes.representatives))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **self.summary.to_dict(),
            "selections": [
                {"name": p.name, "definition": p.definition, "tokens": len(p), "unique_rows": n} for p, n in self.counts
            ],
            "flood_rounds": self.flooded[2] if self.flooded else None,
            "exponent_misses": {str(t): counts for t, counts in self.exponent_misses.items()},
            "selection": {"name": self.selection.name, "tokens": len(self.selection), "unique_rows": len(self.rows)},
            "locality": self.locality.to_dict(),
            "graph": self.graph.to_dict(),
            "relaxed_graph": self.relaxed.to_dict(),
            "components_by_threshold": [list(row) for row in self.thresholds[:40]],
            "extent": self.extent.to_dict(),
            "shells": {
                **self.shells.to_dict(),
                "medoid": {"token_id": int(self.rows.representatives[self.shells.medoid])},
            },
            "near_rows": {str(step): n for step, n in sorted(self.near.items())},
        }


def survey_lattice(
    embedding: Embedding, holes: BlackHoles, selection: str = DEFAULT, centre: int | None = None
) -> LatticeSurvey | None:
    """Surveys the lattice around a row.

    Args:
        embedding: a float matrix.
        holes: its black holes.
        selection: which set the graph, extents and shells are over.
        centre: the token to look around; the most populated hole's row if None.

    Returns:
        None if no centre is given and no hole has a place on the lattice: there is nothing to survey.

    Raises:
        FormatError: the matrix is quantised.
        SelectionError: no such selection or token, a centre that is not finite, or a selection too large to pair.
    """
    parse_selection(selection)  # a slip is told before anything is measured, and where there is nothing to measure
    summary = summarise_lattice(embedding, holes, centre)
    if summary is None:
        return None
    around = summary.around
    chosen = select(selection, around)
    n_rows = count_unique(holes, chosen.token_ids)
    if not 0 < n_rows <= MAX_ROWS:
        raise SelectionError(
            f"selection {chosen.name} has {n_rows:,} unique rows, expected 1 to {MAX_ROWS:,}",
            hint="choose a narrower one" if n_rows else "choose a wider one",
        )
    rows = unique_rows(embedding, chosen.token_ids)
    ordinals = row_ordinals(embedding, rows.representatives)
    linf = pairwise_distances(ordinals, ordinals, "linf")
    locality = measure_locality(embedding, rows.representatives, around.centre)
    assert locality is not None  # there is at least one row
    flooded = None
    if 0 < len(around.holes) <= MAX_HOLES:
        population, rounds = flood(embedding, around.holes)
        flooded = (population, count_unique(holes, population.token_ids), rounds)
    return LatticeSurvey(
        summary=summary,
        flooded=flooded,
        exponent_misses=exponent_misses(embedding, around.centre, TOLERANCES, MISSED_DIMS),
        selection=chosen,
        rows=rows,
        linf=linf,
        locality=locality,
        graph=build_graph(ordinals, linf, rows.populations, 1),
        relaxed=build_graph(ordinals, linf, rows.populations, 2),
        thresholds=components_by_threshold(linf),
        extent=measure_extent(embedding, rows, ordinals),
        shells=measure_shells(embedding, rows),
        near=_count_near(embedding, chosen, ordinals),
    )


def _count_near(embedding: Embedding, chosen: Population, ordinals: NDArray[Any]) -> dict[int, int]:
    found = nearest_members(embedding, ordinals, "linf", NEAR_STEPS).distance
    found[chosen.token_ids] = -1
    steps, counts = np.unique(found[found >= 0], return_counts=True)
    return {int(step): int(n) for step, n in zip(steps, counts, strict=True)}
