"""What claims about a matrix are measured from: each part once, and only if a claim asks for it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from forensics.bits import BitCensus, census_bits
from forensics.black_holes import BlackHole, BlackHoles, find_black_holes
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.geometry import Geometry, in_hole_mask, measure_geometry
from forensics.lattice import LatticeSummary, summarise_lattice
from forensics.lattice.distances import Ordinals, pairwise_distances, row_ordinals
from forensics.lattice.graph import NeighbourGraph, build_graph
from forensics.lattice.selections import flood, parse_selection, select
from forensics.lattice.summary import MAX_HOLES
from forensics.lattice.survey import MAX_ROWS
from forensics.lattice.unique import UniqueRows, count_unique, unique_rows
from forensics.measures import Population
from forensics.vocabulary import Census, take_census


class MatrixSubject:
    """One matrix of a checkpoint, with what was measured of it so far.

    Args:
        checkpoint: that it is of.
        embedding: the matrix.
    """

    def __init__(self, checkpoint: Checkpoint, embedding: Embedding) -> None:
        self.checkpoint, self.embedding = checkpoint, embedding
        self._selected: dict[str, tuple[Population, int]] = {}
        self._unique: dict[str, tuple[UniqueRows, Ordinals, NDArray[np.int64]]] = {}
        self._graphs: dict[tuple[str, int], NeighbourGraph] = {}

    @cached_property
    def holes(self) -> BlackHoles:
        """The groups of bit-identical rows."""
        return find_black_holes(self.embedding)

    @cached_property
    def bits(self) -> tuple[BitCensus, BitCensus, BitCensus]:
        """Censuses of all, in-hole and rest rows."""
        return census_bits(self.embedding, self.holes)

    @cached_property
    def geometry(self) -> Geometry:
        """Norms, centroids, angles."""
        return measure_geometry(self.embedding, self.holes)

    @cached_property
    def census(self) -> Census:
        """What the tokenizer can produce; seconds for a large one."""
        return take_census(self.checkpoint.vocabulary, self.embedding.n_rows)

    @cached_property
    def _summary(self) -> LatticeSummary | None:
        return summarise_lattice(self.embedding, self.holes)

    @property
    def summary(self) -> LatticeSummary:
        """What lies around the most populated hole.

        Raises:
            FormatError: the matrix is quantised.
            SelectionError: no hole has a place on the lattice.
        """
        if self._summary is None:
            raise SelectionError("there are no black holes to look around")
        return self._summary

    def hole(self, number: int) -> BlackHole:
        """The hole of that number, 1 for the most populated.

        Raises:
            SelectionError: there are fewer.
        """
        if not 1 <= number <= len(self.holes):
            raise SelectionError(f"there is no hole {number:,}: the matrix has {len(self.holes):,}")
        return self.holes.holes[number - 1]

    def row_ids(self, rows: str) -> NDArray[np.int64]:
        """The tokens of a set of `registry.Rows`, ``int64[n]``."""
        if rows.startswith("hole:"):
            return self.hole(int(rows.removeprefix("hole:"))).token_ids
        if rows == "all":
            return np.arange(self.embedding.n_rows)
        inside = in_hole_mask(self.holes)
        return np.flatnonzero(inside if rows == "in-hole" else ~inside)

    def selected(self, selection: str) -> tuple[Population, int]:
        """The tokens of a selection and how many unique rows they hold.

        Raises:
            SelectionError: the matrix has no such selection.
        """
        if selection not in self._selected:
            chosen = self._select(selection)
            self._selected[selection] = (chosen, count_unique(self.holes, chosen.token_ids))
        return self._selected[selection]

    def _select(self, selection: str) -> Population:
        around = self.summary.around
        name, step = parse_selection(selection)
        if name != "flood":
            return select(selection, around)
        if len(around.holes) > MAX_HOLES:
            raise SelectionError(f"{len(around.holes):,} holes are flooded from, at most {MAX_HOLES:,}")
        return flood(self.embedding, around.holes, int(step))[0]

    def unique(self, selection: str) -> tuple[UniqueRows, Ordinals, NDArray[np.int64]]:
        """The unique rows of a selection, their coordinates and their pairwise L-infinity.

        Raises:
            SelectionError: the matrix has no such selection, or it is too large to pair.
        """
        if selection not in self._unique:
            chosen, n = self.selected(selection)
            if not 0 < n <= MAX_ROWS:
                raise SelectionError(f"selection {selection} has {n:,} unique rows, expected 1 to {MAX_ROWS:,}")
            rows = unique_rows(self.embedding, chosen.token_ids)
            ordinals = row_ordinals(self.embedding, rows.representatives)
            self._unique[selection] = (rows, ordinals, pairwise_distances(ordinals, ordinals, "linf"))
        return self._unique[selection]

    def graph(self, selection: str, threshold: int) -> NeighbourGraph:
        """The neighbour graph of a selection's unique rows at an L-infinity.

        Raises:
            SelectionError: the matrix has no such selection, or it is too large to pair.
        """
        if (selection, threshold) not in self._graphs:
            rows, ordinals, linf = self.unique(selection)
            self._graphs[selection, threshold] = build_graph(ordinals, linf, rows.populations, threshold)
        return self._graphs[selection, threshold]
