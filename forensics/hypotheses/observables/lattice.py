"""How far apart the dead rows are in steps of their format: exact, in ordinals; None for quantised formats and nan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.formats import FloatFormat
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.observables.components import find_components
from forensics.hypotheses.observables.observable import Observable
from forensics.hypotheses.observables.populations import DEAD, DISTINCT, HOLES
from forensics.lattice.coordinates import compact_ordinals
from forensics.lattice.distances import Ordinals, pairwise_distances

MAX_HOLES = 128
"""Holes that are held against each other, the most populated: 8,128 pairs tell a median well enough."""

# A third of a step at two, where steps are counted; none of it at hundreds.
_STEPS = 0.1


def _extents(which: str, population: str, suffix: str) -> tuple[Observable, ...]:
    undefined = "undefined for quantised formats" + (" and without holes" if suffix else "")
    return (
        Observable(
            f"varying_dims{suffix}",
            f"varying dimensions, {which}",
            "share",
            population,
            f"dimensions on which the words of some two differ, over all; {undefined}",
            transform="arcsine",
        ),
        Observable(
            f"median_extent{suffix}",
            f"median extent, {which}",
            "steps",
            population,
            "median over the varying dimensions of greatest less least ordinal; undefined for quantised formats and "
            "where none varies",
            transform="log1p",
            resolution=_STEPS,
        ),
        Observable(
            f"largest_extent{suffix}",
            f"largest extent, {which}",
            "steps",
            population,
            f"largest over the dimensions of greatest less least ordinal; {undefined}",
            transform="log1p",
            resolution=_STEPS,
        ),
        Observable(
            f"shared_exponents{suffix}",
            f"dimensions of one exponent, {which}",
            "share",
            population,
            f"dimensions on which all have one raw exponent, over all; {undefined}",
            transform="arcsine",
        ),
    )


EXTENTS = (
    *_extents("holes", HOLES, "_holes"),
    *_extents("distinct rows", DISTINCT, ""),
    Observable(
        "same_exponents_share",
        "tokens with the largest population's exponents",
        "share",
        DEAD,
        "dead tokens whose raw exponents equal those of the most populated row (the first of several) on every "
        "dimension, over dead tokens; undefined for quantised formats",
        transform="arcsine",
    ),
)

_PAIRS = f"pairs of the holes' rows (of the {MAX_HOLES} most populated)"

HOLE_PAIRS = (
    Observable(
        "median_linf",
        "median L-infinity between holes",
        "steps",
        _PAIRS,
        "median over the pairs of the largest ordinal difference over the dimensions; undefined for "
        "quantised formats and with fewer than two holes",
        transform="log1p",
        resolution=_STEPS,
    ),
    Observable(
        "largest_linf",
        "largest L-infinity between holes",
        "steps",
        _PAIRS,
        "largest over the pairs of the largest ordinal difference over the dimensions; undefined for "
        "quantised formats and with fewer than two holes",
        transform="log1p",
        resolution=_STEPS,
        # The largest difference on one dimension is the extent there: only the cap tells the two apart.
        derived=True,
    ),
    Observable(
        "adjacent_share",
        "adjacent holes",
        "share",
        _PAIRS,
        "pairs at L-infinity 1 or less, over pairs; undefined for quantised formats and with fewer than two holes",
        transform="arcsine",
        # A pair among 78.
        resolution=0.05,
    ),
)

GRAPH = (
    Observable(
        "components_per_row",
        "components per distinct row",
        "share",
        DISTINCT,
        "connected components of the graph that joins rows at L-infinity 1 or less, over distinct rows; undefined for "
        "quantised formats",
        transform="arcsine",
    ),
    Observable(
        "largest_component_share",
        "tokens in the largest component",
        "share",
        DEAD,
        "dead tokens in the component that most of them are in, over dead tokens; undefined for quantised formats",
        transform="arcsine",
    ),
)


def measure_extents(cloud: Cloud, context: Context) -> dict[str, float | None]:
    """The observables of ``EXTENTS``."""
    if not isinstance(cloud.format, FloatFormat) or _has_nan(cloud, cloud.format):
        return dict.fromkeys(o.name for o in EXTENTS)
    ordinals, exponents = _ordinals(cloud, cloud.format), cloud.format.exponents(cloud.patterns)
    n_holes = int((cloud.populations > 1).sum())
    same = (exponents == exponents[0]).all(axis=1)
    return {
        **_box(cloud, ordinals, exponents, n_holes, "_holes"),
        **_box(cloud, ordinals, exponents, len(ordinals), ""),
        "same_exponents_share": int(cloud.populations[same].sum()) / len(cloud),
    }


def measure_hole_pairs(cloud: Cloud, context: Context) -> dict[str, float | None]:
    """The observables of ``HOLE_PAIRS``."""
    holes = np.flatnonzero(cloud.populations > 1)[:MAX_HOLES]
    if len(holes) < 2 or not isinstance(cloud.format, FloatFormat) or _has_nan(cloud, cloud.format):
        return dict.fromkeys(o.name for o in HOLE_PAIRS)
    # Patterns are by falling population: the holes come first.
    words = cloud.patterns[: len(holes)]
    ordinals = compact_ordinals(cloud.format, words[:, (words != words[0]).any(axis=0)])
    linf = pairwise_distances(ordinals, ordinals, "linf")[np.triu_indices(len(holes), 1)]
    return {
        "median_linf": float(np.median(linf)),
        "largest_linf": float(linf.max()),
        "adjacent_share": float((linf <= 1).mean()),
    }


def measure_graph(cloud: Cloud, context: Context) -> dict[str, float | None]:
    """The observables of ``GRAPH``."""
    if not isinstance(cloud.format, FloatFormat) or _has_nan(cloud, cloud.format):
        return dict.fromkeys(o.name for o in GRAPH)
    component = find_components(_ordinals(cloud, cloud.format))
    tokens = np.bincount(component, weights=cloud.populations)
    return {
        "components_per_row": len(tokens) / len(component),
        "largest_component_share": float(tokens.max()) / len(cloud),
    }


def _box(
    cloud: Cloud, ordinals: Ordinals, exponents: NDArray[np.unsignedinteger], n_rows: int, suffix: str
) -> dict[str, float | None]:
    """The bounding box of the first ``n_rows`` distinct rows."""
    names = [f"{name}{suffix}" for name in ("varying_dims", "median_extent", "largest_extent", "shared_exponents")]
    if not n_rows:
        return dict.fromkeys(names)
    words, ranks, exponents = cloud.patterns[:n_rows], ordinals[:n_rows], exponents[:n_rows]
    varying = (words != words[0]).any(axis=0)
    # Of 16-bit ranks the difference may not fit.
    extent = np.subtract(ranks.max(axis=0), ranks.min(axis=0), dtype=np.int64)[varying]
    split = int((exponents != exponents[0]).any(axis=0).sum())
    figures = (
        len(extent) / cloud.dim,
        float(np.median(extent)) if len(extent) else None,
        float(extent.max()) if len(extent) else 0.0,
        1 - split / cloud.dim,
    )
    return dict(zip(names, figures, strict=True))


def _ordinals(cloud: Cloud, fmt: FloatFormat) -> Ordinals:
    """Of the distinct rows on the active dimensions, ``int[u, a]``; on the others their differences are 0."""
    return compact_ordinals(fmt, cloud.patterns)


def _has_nan(cloud: Cloud, fmt: FloatFormat) -> bool:
    top = fmt.largest_finite + int(fmt.has_infinity)
    return bool(((cloud.row & fmt.magnitude_mask) > top).any() or ((cloud.patterns & fmt.magnitude_mask) > top).any())
