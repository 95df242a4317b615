"""Quantities of the lattice: black holes against each other, selections around them, neighbour graphs, extents."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forensics.claims.matrix import MatrixSubject
from forensics.claims.registry import Selection, quantity
from forensics.errors import SelectionError
from forensics.gaps import Gap
from forensics.lattice.extent import Extent, measure_extent
from forensics.lattice.graph import components_by_threshold

HOLES = "one row of each black hole that is finite and not zero"
PAIRS = f"pairs of holes, {HOLES}"


@quantity(
    "hole_linf",
    on="matrix",
    unit="steps",
    population=PAIRS,
    definition="L-infinity on the lattice, the largest ordinal difference over the dimensions",
)
def _(matrix: MatrixSubject, *, statistic: Literal["min", "median", "max"]) -> float:
    found = float(getattr(np, statistic)(_pairs(matrix)))
    return int(found) if found.is_integer() else found


@quantity("adjacent_hole_pairs", on="matrix", unit="pairs", population=PAIRS, definition="pairs at L-infinity 1")
def _(matrix: MatrixSubject) -> int:
    return int((_pairs(matrix) == 1).sum())


@quantity(
    "hole_varying_dims",
    on="matrix",
    unit="dimension",
    kind="numbers",
    population=HOLES,
    definition="the dimensions on which some two holes differ, ascending from 0",
)
def _(matrix: MatrixSubject) -> tuple[int, ...]:
    return tuple(sorted(int(d) for d in _hole_extent(matrix).active))


@quantity(
    "hole_extent",
    on="matrix",
    unit="{figure}",
    population=HOLES,
    definition="dimensions on which some two holes differ (active_dims), on which none do (constant_dims), or the "
    "widest difference of ordinals (widest_steps)",
)
def _(matrix: MatrixSubject, *, figure: Literal["active_dims", "constant_dims", "widest_steps"]) -> int:
    return _figure(_hole_extent(matrix), figure)


@quantity(
    "hole_differing_entries",
    on="matrix",
    unit="entries",
    population=PAIRS,
    definition="(pair, dimension) entries whose words differ, in any bits or in a single one",
)
def _(matrix: MatrixSubject, *, bits: Literal["any", "single"]) -> int:
    _pairs(matrix)
    words = matrix.embedding.words[matrix.summary.holes.representatives].astype(np.uint32)
    differing = [np.bitwise_count(words[i] ^ words[:i]) for i in range(1, len(words))]
    return sum(int(((d > 0) if bits == "any" else (d == 1)).sum()) for d in differing)


@quantity(
    "exponent_counts",
    on="matrix",
    unit="tokens",
    kind="numbers",
    population="all",
    definition="tokens whose raw exponents are all within k of hole 1's, for k = 0, 1, ..., 20",
)
def _(matrix: MatrixSubject) -> tuple[int, ...]:
    return tuple(int(n) for n in matrix.summary.exponent_counts)


@quantity(
    "void",
    on="matrix",
    unit="value",
    population="the 10,000 tokens nearest to the holes' centroid, every token counted",
    definition="the largest gap between sorted distances: its edges or its middle",
)
def _(matrix: MatrixSubject, *, figure: Literal["lower", "upper", "threshold"]) -> float:
    gap: Gap | None = matrix.summary.gap
    if gap is None:
        raise SelectionError("there is no gap around the holes")
    return float(getattr(gap, figure))


@quantity("selection_tokens", on="matrix", unit="tokens", population="{selection}", definition="tokens in the set")
def _(matrix: MatrixSubject, *, selection: Selection) -> int:
    return len(matrix.selected(selection)[0])


@quantity(
    "selection_unique_rows",
    on="matrix",
    unit="rows",
    population="{selection}",
    definition="distinct bit patterns of the set's rows",
)
def _(matrix: MatrixSubject, *, selection: Selection) -> int:
    return matrix.selected(selection)[1]


@quantity(
    "graph",
    on="matrix",
    unit="{figure}",
    population="{selection}, one row of each distinct bit pattern",
    definition="edges join rows within an L-infinity of {threshold}: their number, that of the components, or of those "
    "of one row (alone)",
)
def _(
    matrix: MatrixSubject, *, selection: Selection, threshold: int = 1, figure: Literal["components", "edges", "alone"]
) -> int:
    graph = matrix.graph(selection, threshold)
    return len(graph.components) if figure == "components" else int(getattr(graph, figure))


@quantity(
    "component",
    on="matrix",
    unit="{figure}",
    population="{selection}, one row of each distinct bit pattern",
    definition="of the component number {number} of the graph at an L-infinity of {threshold}, by falling rows and "
    "tokens: its rows, the tokens that hold them, its holes or its edges",
)
def _(
    matrix: MatrixSubject,
    *,
    selection: Selection,
    threshold: int = 1,
    number: int = 1,
    figure: Literal["rows", "tokens", "holes", "edges"],
) -> int:
    components = matrix.graph(selection, threshold).components
    if not 1 <= number <= len(components):
        raise SelectionError(f"there is no component {number:,}: the graph has {len(components):,}")
    chosen = components[number - 1]
    return len(chosen.nodes) if figure == "rows" else int(getattr(chosen, figure))


@quantity(
    "component_counts",
    on="matrix",
    unit="components",
    kind="numbers",
    population="{selection}, one row of each distinct bit pattern",
    definition="components of the graph at an L-infinity of 1, 2, ..., {up_to}",
)
def _(matrix: MatrixSubject, *, selection: Selection, up_to: int) -> tuple[int, ...]:
    linf = matrix.unique(selection)[2]
    levels = {level: components for level, components, _, _ in components_by_threshold(linf)}
    counts, held = [], len(linf)
    for k in range(1, min(up_to, 10_000) + 1):
        held = levels.get(k, held)
        counts.append(held)
    return tuple(counts)


@quantity(
    "extent",
    on="matrix",
    unit="{figure}",
    population="{selection}, one row of each distinct bit pattern",
    definition="dimensions on which some two rows differ (active_dims), on which none do (constant_dims), or the "
    "widest difference of ordinals (widest_steps)",
)
def _(
    matrix: MatrixSubject, *, selection: Selection, figure: Literal["active_dims", "constant_dims", "widest_steps"]
) -> int:
    rows, ordinals, _ = matrix.unique(selection)
    return _figure(measure_extent(matrix.embedding, rows, ordinals), figure)


def _figure(extent: Extent, figure: str) -> int:
    if figure == "widest_steps":
        return int(extent.steps.max())
    return len(extent.active) if figure == "active_dims" else len(extent.steps) - len(extent.active)


def _hole_extent(matrix: MatrixSubject) -> Extent:
    extent = matrix.summary.hole_extent
    if extent is None:
        raise SelectionError("there is one black hole, and two are needed to differ")
    return extent


def _pairs(matrix: MatrixSubject) -> NDArray[np.int64]:
    """Of every pair of holes its L-infinity, ``int64[pairs]``."""
    linf = matrix.summary.linf
    if len(linf) < 2:
        raise SelectionError("there is one black hole, and two make a pair")
    return linf[np.triu_indices(len(linf), 1)]
