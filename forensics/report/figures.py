"""Figures of a scan, as PNG bytes: the same scan gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.scanning import MatrixScan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IN_HOLE, REST = "#d1495b", "#3b6ea5"
"""One colour a population in every figure; told apart in greyscale and by the colour-blind."""

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs on every machine
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def draw_figures(result: MatrixScan) -> Iterator[tuple[str, str, bytes]]:
    """The figures that this matrix supports: (name, caption, PNG bytes)."""
    if np.isfinite(result.geometry.norms).any():
        yield "norms", "Row norms by population.", png(_draw_norms, result)
    if result.bits is not None and result.bits.everything.mode is not None:
        yield (
            "exponents",
            "Raw exponents of all elements by population (those under 0.1 % left out).",
            png(_draw_exponents, result),
        )
    if result.holes.holes:
        yield "populations", "Tokens in each black hole.", png(_draw_populations, result)
    if any(angle is not None for angle in result.geometry.hole_angles_deg):
        yield (
            "angles",
            "Angle of each black hole's row to the centroid of the rest.",
            png(_draw_angles, result),
        )


def png(draw: Any, result: Any) -> bytes:
    """The PNG of what ``draw(axes, result)`` draws, in the house's style."""
    from matplotlib import rc_context  # 0.5 s, for reports only
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.8), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot(), result)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _draw_norms(axes: Axes, result: MatrixScan) -> None:
    norms = result.geometry.norms
    finite = norms[np.isfinite(norms)]
    low, high = float(finite.min()), float(finite.max())
    margin = 0.02 * (high - low) or 0.01 * (high or 1.0)
    bins = np.linspace(low - margin, high + margin, 121).tolist()
    inside, rest = (norms[p.token_ids] for p in result.populations)
    axes.hist(rest[np.isfinite(rest)], bins=bins, color=REST, alpha=0.75, label=f"rest ({len(rest):,})")
    if len(inside):
        axes.hist(inside[np.isfinite(inside)], bins=bins, color=IN_HOLE, label=f"in-hole ({len(inside):,})")
        # Rest rows of the same norm would be hidden behind the holes' bar.
        axes.hist(rest[np.isfinite(rest)], bins=bins, histtype="step", color=REST, lw=1.2)
    if result.expected_norm is not None and low - margin <= result.expected_norm <= high + margin:
        axes.axvline(result.expected_norm, color="black", lw=1, ls="--", label="initializer_range \u00d7 \u221adim")
    axes.set(xlabel="Euclidean norm of the row", ylabel="tokens", yscale="log", xlim=(bins[0], bins[-1]))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, columnspacing=1)


def _draw_exponents(axes: Axes, result: MatrixScan) -> None:
    bits = result.bits
    assert bits is not None
    occurring = np.flatnonzero(bits.everything.exponents)
    span = np.arange(occurring[0], occurring[-1] + 1)
    drawn = [(c, colour) for c, colour in ((bits.rest, REST), (bits.in_hole, IN_HOLE)) if c.mode is not None]
    width = 0.84 / len(drawn)
    for i, (census, colour) in enumerate(drawn):
        share = 100 * census.exponents[span] / census.exponents.sum()
        axes.bar(span + (i + 0.5) * width - 0.42, share, width=width, color=colour, label=census.population)
    # Exponents held by less than a thousandth of every population would stretch the axis to nothing.
    seen = np.flatnonzero(np.max([c.exponents / c.exponents.sum() for c, _ in drawn], axis=0) > 1e-3)
    axes.set(
        xlabel="raw exponent field E",
        ylabel="% of the population's elements",
        xlim=(seen[0] - 1, seen[-1] + 1),
    )
    axes.legend()


def _draw_populations(axes: Axes, result: MatrixScan) -> None:
    from matplotlib.ticker import MaxNLocator

    populations = result.holes.populations
    ids = np.arange(1, len(populations) + 1)
    if len(ids) <= 200:
        axes.bar(ids, populations, color=IN_HOLE, width=0.8 if len(ids) <= 60 else 1.0)
    else:  # as one shape: tens of thousands of bars take minutes
        axes.fill_between(ids, populations, step="mid", color=IN_HOLE)
    axes.set(xlabel="black hole, by population", ylabel="tokens")
    if max(populations) > 50:
        axes.set(yscale="log")
        axes.set_ylim(bottom=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(ids) <= 20:
        axes.set_xticks(ids)
        for x, population in zip(ids, populations, strict=True):
            axes.annotate(f"{population:,}", (x, population), ha="center", va="bottom", fontsize=9)


def _draw_angles(axes: Axes, result: MatrixScan) -> None:
    from matplotlib.ticker import MaxNLocator

    points = [
        (hole.id, angle, hole.population)
        for hole, angle in zip(result.holes.holes, result.geometry.hole_angles_deg, strict=True)
        if angle is not None
    ]
    ids, angles, populations = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    axes.scatter(ids, angles, s=20 + 30 * np.log10(populations), color=IN_HOLE, alpha=0.8)
    centroid = result.geometry.centroids[0].angle_deg
    if centroid is not None:
        axes.axhline(centroid, color="black", lw=1, ls="--", label=f"in-hole centroid: {centroid:.1f}\u00b0")
        axes.legend()
    # Never narrower than ten degrees: equal angles must look equal.
    middle, half = (angles.min() + angles.max()) / 2, max(5.0, 0.6 * (angles.max() - angles.min()))
    axes.set(xlabel="black hole, by population (marker size)", ylabel="angle to rest centroid (\u00b0)")
    axes.set(xlim=(0.3, ids.max() + 0.7), ylim=(middle - half, middle + half))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
