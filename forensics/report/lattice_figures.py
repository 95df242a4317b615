"""Figures of a lattice survey, as PNG bytes: the same survey gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forensics.lattice import LatticeSurvey
from forensics.lattice.coordinates import relative_coordinates
from forensics.report.figures import IN_HOLE, REST, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = ("lattice_map", "extents", "linf_holes", "components", "shells", "exponent_profile", "surroundings")

SHOWN_COMPONENTS = 12
SHOWN_DIMS = 60
SHOWN_ROWS = 160
MAP_STEPS = 12
"""Steps at which the map's colour saturates: the published holes are at most 11 apart."""

SAMPLE = 2_000
"""Rows from which the vocabulary's principal directions are taken, evenly spread: all of them would cost minutes."""


def draw_lattice(survey: LatticeSurvey) -> Iterator[tuple[str, str, bytes]]:
    """The figures that this survey supports: (name, caption, PNG bytes)."""
    if len(survey.extent.active):
        yield (
            "lattice_map",
            "Steps of each unique row from the centre, on the dimensions that vary most.",
            png(_map, survey),
        )
        yield "extents", "Extent of the selection per dimension, widest first.", png(_extents, survey)
    if len(survey.hole_rows) > 1:
        yield "linf_holes", "L-infinity between the holes, in steps.", png(_linf, survey)
    if survey.graph.edges:
        yield (
            "components",
            "Components of the neighbour graph (L-infinity 1) with more than one row.",
            png(_components, survey),
        )
    if survey.summary.around.from_centroid is not None:
        yield "shells", "Distance from the holes' centroid by rank, and the void.", png(_shells, survey)
    yield (
        "exponent_profile",
        "Exponents against the centre's row: the selection's furthest row, and the vocabulary.",
        png(_profile, survey),
    )
    if min(survey.embedding.dim, survey.embedding.n_rows) > 3:
        yield (
            "surroundings",
            "The selection among the vocabulary, on the vocabulary's first two principal directions.",
            png(_surroundings, survey),
        )


def _map(axes: Axes, survey: LatticeSurvey) -> None:
    holes = survey.hole_rows
    others = np.setdiff1d(np.arange(len(survey.rows)), holes)
    order = np.concatenate([holes, others])[:SHOWN_ROWS]
    dims = np.sort(_varying(survey)[:SHOWN_DIMS])
    steps = relative_coordinates(survey.embedding, survey.rows.representatives[order], survey.summary.around.centre)[
        :, dims
    ]
    image = axes.imshow(
        np.clip(steps, -MAP_STEPS, MAP_STEPS), cmap="RdBu", vmin=-MAP_STEPS, vmax=MAP_STEPS, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.grid(False)
    if 0 < len(holes) < len(order):
        axes.axhline(len(holes) - 0.5, color="black", lw=1)
    axes.set(xlabel=f"{len(dims)} varying dimensions, ascending", ylabel=f"unique row ({len(holes)} holes on top)")
    axes.figure.colorbar(image, ax=axes, label=f"steps from centre (cut at \u00b1{MAP_STEPS})")


def _varying(survey: LatticeSurvey) -> NDArray[np.int64]:
    """The dimensions on which the holes differ, widest first, then those on which the selection does."""
    first = survey.summary.hole_extent.active if survey.summary.hole_extent else np.empty(0, np.int64)
    rest = survey.extent.active
    return np.concatenate([first, rest[~np.isin(rest, first)]])


def _linf(axes: Axes, survey: LatticeSurvey) -> None:
    holes = survey.hole_rows[:30]
    matrix = survey.linf[np.ix_(holes, holes)]
    axes.imshow(np.log2(matrix + 1.0), cmap="viridis_r", interpolation="nearest")
    axes.grid(False)
    if len(holes) <= 20:
        for (i, j), step in np.ndenumerate(matrix):
            dark = np.log2(step + 1.0) > 0.55 * np.log2(matrix.max() + 1.0)
            axes.text(j, i, f"{step:,}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    labels = [f"{survey.rows.populations[i]:,}" for i in holes]
    axes.set_xticks(range(len(holes)), labels, rotation=90, fontsize=9)
    axes.set_yticks(range(len(holes)), labels, fontsize=9)
    axes.set(xlabel="hole, by tokens", ylabel="hole, by tokens")


def _components(axes: Axes, survey: LatticeSurvey) -> None:
    import networkx as nx

    place, right = {}, 0.0
    for component in survey.graph.components[:SHOWN_COMPONENTS]:
        if len(component.nodes) < 2:
            break
        inside = survey.linf[np.ix_(component.nodes, component.nodes)]
        graph = nx.from_numpy_array((inside <= survey.graph.threshold) & ~np.eye(len(inside), dtype=bool))
        size = len(component.nodes) ** 0.8
        # All pairs by path length: it keeps the members of a clique apart, but costs their number cubed.
        arrange = nx.kamada_kawai_layout if len(inside) <= 60 else partial(nx.spring_layout, seed=0)
        layout = arrange(graph, center=(right + size, 0), scale=0.8 * size)
        place.update({int(component.nodes[i]): xy for i, xy in layout.items()})
        for a, b in graph.edges:
            axes.plot(*zip(layout[a], layout[b], strict=True), color="#999999", lw=0.7, zorder=1)
        right += 2 * size + 0.6
    nodes = np.array(list(place))
    points = np.array([place[n] for n in nodes])
    tokens = survey.rows.populations[nodes]
    colours = [IN_HOLE if n > 1 else REST for n in tokens]
    sizes = np.where(tokens > 1, 150 + 60 * np.log10(tokens), 30)
    axes.scatter(points[:, 0], points[:, 1], s=sizes, c=colours, zorder=2)
    for (x, y), n in zip(points, tokens, strict=True):
        if n > 1:
            axes.annotate(f"{n:,}", (x, y), ha="center", va="center_baseline", fontsize=8, color="white")
    axes.set_axis_off()
    axes.margins(0.05, 0.1)


def _extents(axes: Axes, survey: LatticeSurvey) -> None:
    dims = survey.extent.active[:SHOWN_DIMS]
    exponents = survey.extent.exponents[dims]
    bars = axes.bar(range(len(dims)), survey.extent.steps[dims], width=0.9)
    from matplotlib import colormaps

    span = max(1, int(exponents.max() - exponents.min()))
    for bar, exponent in zip(bars, exponents, strict=True):
        bar.set_color(colormaps["viridis"](float(exponent - exponents.min()) / span))
    axes.set(
        xlabel=f"dimension, widest {len(dims)} of {len(survey.extent.active):,}", ylabel="extent (steps)", yscale="log"
    )
    axes.set_ylim(bottom=0.8)
    low, high = exponents.min(), exponents.max()
    axes.set_title(
        f"colour: the most populated row's exponent, {low} (dark) to {high} (light)", fontsize=10, loc="left"
    )


def _shells(axes: Axes, survey: LatticeSurvey) -> None:
    assert survey.summary.around.from_centroid is not None
    ranked = np.sort(survey.summary.around.from_centroid[np.isfinite(survey.summary.around.from_centroid)])
    ranks = np.arange(1, len(ranked) + 1)
    axes.plot(ranks, np.maximum(ranked, 1e-12), color=REST, lw=1.5)
    if survey.summary.gap is not None:
        gap = survey.summary.gap
        axes.axhspan(max(gap.lower, 1e-12), gap.upper, color="#dddddd", zorder=0)
        axes.axvline(gap.below + 0.5, color="black", lw=1, ls="--", label=f"void beyond rank {gap.below:,}")
        axes.legend(loc="upper left")
    axes.set(xlabel="rank", ylabel="distance from the holes' centroid", xscale="log", yscale="log")


def _profile(axes: Axes, survey: LatticeSurvey) -> None:
    e, around = survey.embedding, survey.summary.around
    chosen = survey.rows.representatives
    furthest = int(chosen[np.argmax(around.exponents[chosen])])
    sample = np.linspace(0, e.n_rows - 1, min(e.n_rows, 512)).astype(np.int64)
    target = e.float_format.exponents(e.words[around.centre]).astype(np.int64)
    series = (
        (sample, REST, "vocabulary (a sample)"),
        (np.array([furthest]), IN_HOLE, f"token {furthest}, furthest of the selection"),
    )
    drawn = [(e.float_format.exponents(e.words[ids]).astype(np.int64) - target, c, label) for ids, c, label in series]
    reach = min(12, max(int(np.abs(d).max()) for d, _, _ in drawn) or 1)
    span = np.arange(-reach, reach + 1)
    for i, (difference, colour, label) in enumerate(drawn):
        counts = [100 * float((difference == step).mean()) for step in span]
        axes.bar(span + (i - 0.5) * 0.42, counts, width=0.42, color=colour, label=label)
    axes.set(xlabel="exponent less the centre's", ylabel="% of dimensions", yscale="symlog")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", fontsize=9)


def _surroundings(axes: Axes, survey: LatticeSurvey) -> None:
    e = survey.embedding
    sample = np.unique(np.linspace(0, e.n_rows - 1, min(e.n_rows, SAMPLE)).astype(np.int64))
    rows = e.values_of(sample).astype(np.float64)
    finite = np.isfinite(rows).all(axis=1)
    sample, rows = sample[finite], rows[finite]
    mean = rows.mean(axis=0)
    plane = _first_directions(rows - mean)
    inside = np.isin(sample, survey.selection.token_ids)
    points = rows @ plane
    axes.scatter(
        points[~inside, 0], points[~inside, 1], s=3, color=REST, alpha=0.35, lw=0, label="vocabulary (a sample)"
    )
    chosen = (e.values_of(survey.rows.representatives).astype(np.float64) - mean) @ plane
    axes.scatter(chosen[:, 0], chosen[:, 1], s=18, color=IN_HOLE, label=survey.selection.name)
    axes.set(xlabel="first principal direction", ylabel="second")
    axes.legend(loc="upper left", fontsize=9)


def _first_directions(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first two principal directions, ``float64[dim, 2]``.

    From the products of rows or of dimensions, whichever are fewer: exact, and defined where the rows lie on a line or
    a point, unlike an iteration. A direction's sign is arbitrary; the largest entry is made positive, so that the
    picture is the same everywhere.
    """
    from scipy.linalg import eigh

    if min(centred.shape) < 2:
        return np.zeros((centred.shape[1], 2))
    across = len(centred) < centred.shape[1]
    products = centred @ centred.T if across else centred.T @ centred
    _, vectors = eigh(products, subset_by_index=(len(products) - 2, len(products) - 1))
    plane: NDArray[np.float64] = centred.T @ vectors[:, ::-1] if across else vectors[:, ::-1]
    length: NDArray[np.float64] = np.linalg.norm(plane, axis=0)
    plane = plane / np.where(length > 0, length, 1.0)
    signs: NDArray[np.float64] = np.sign(plane[np.abs(plane).argmax(axis=0), np.arange(2)])
    return plane * signs
