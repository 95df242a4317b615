"""Figures of a test of hypotheses, as PNG bytes: the same result gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forensics.hypotheses.founding import Curve
from forensics.hypotheses.judging.fit import OFF, Fit
from forensics.hypotheses.observables import OBSERVABLES
from forensics.hypotheses.sweeps.study import HypothesesStudy
from forensics.report.dynamics_figures import canvas
from forensics.report.figures import IN_HOLE, REST
from forensics.report.hypotheses_calibration import confusion_grid
from forensics.report.hypotheses_verdicts import in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = ("verdicts", "transition", "calibration")

Curves = Mapping[str, Curve]
"""What noise gives against its sigma, by what it lies around."""

Grid = NDArray[np.float64]

CUT = 6.0
"""Standard deviations at which the colour saturates: twice those that a statistic is named from."""

SHOWN_STATISTICS = 16
"""Statistics shown: more are not legible at half width."""

_COLOURS = (IN_HOLE, REST, "#5b8c5a", "#8d6a9f", "#e9b44c")


def draw_hypotheses(result: HypothesesStudy, curves: Curves | None = None) -> Iterator[tuple[str, str, bytes]]:
    """The figures that this result supports: (name, caption, PNG bytes).

    Args:
        result: of a study.
        curves: noise around this subject's points, to be set beside what is observed.
    """
    judgement = result.judgement
    fits = in_order(judgement.fits) if judgement else []
    names, statistics, z = residual_grid(fits)
    if statistics:
        rejected = {fit.hypothesis for fit in fits if fit.verdict == "rejected"}
        caption = (
            "The observation against the simulations nearest to it: standard deviations that it lies above (red) or "
            f"below (blue) their mean; a dot where {OFF:g} or more, grey where neither side defines the statistic. "
            "x: rejected."
        )
        height = 1.9 + 0.27 * len(statistics)
        yield "verdicts", caption, canvas(partial(_verdicts, names, statistics, z, rejected), 8.4, height)
    if curves:
        dead = result.subject.cloud
        seen = observed_counts(dead.populations) if dead is not None else {}
        yield "transition", *transition(curves, seen)
    if judgement is not None and judgement.calibration is not None and judgement.calibration.attributed:
        caption = (
            "Held-out simulations by the class they were drawn from (rows) and what the test says of them (columns), "
            "in percent of each row."
        )
        yield "calibration", caption, confusion(*confusion_grid(judgement.calibration, judgement.classes))


def residual_grid(fits: Sequence[Fit]) -> tuple[list[str], list[str], Grid]:
    """Hypotheses that have residuals, statistics that some of them miss, and ``float64[statistics, hypotheses]``.

    The worst statistic of each hypothesis is taken, then the second of each, and so on: one that misses everything
    does not hide why another fails. They come in report order; nan where a residual is undefined.
    """
    shown = [fit for fit in fits if fit.residuals]
    turns = zip_longest(*([r.observable for r in fit.residuals if r.z is not None] for fit in shown))
    chosen = list(dict.fromkeys(name for turn in turns for name in turn if name is not None))[:SHOWN_STATISTICS]
    names = [name for name in OBSERVABLES if name in chosen]
    z = [{r.observable: np.nan if r.z is None else r.z for r in fit.residuals} for fit in shown]
    grid = np.array([[of.get(name, np.nan) for of in z] for name in names]).reshape(len(names), len(shown))
    return [fit.hypothesis for fit in shown], [OBSERVABLES[name].title for name in names], grid


def transition(curves: Curves, observed: Mapping[str, float]) -> tuple[str, bytes]:
    """Caption and PNG of holes, distinct rows and the largest population against sigma.

    Args:
        curves: by what the noise lies around.
        observed: figure -> its value in the dead rows, drawn as a line; may lack any.
    """
    caption = (
        f"Noise around {', '.join(curves)}: counts by its standard deviation over the median step of the stored format "
        "at the stored row; the mean of the draws, their range shaded" + ("; dashed: observed." if observed else ".")
    )
    return caption, canvas(partial(_transition, curves, observed), 8.4, 3.4)


def observed_counts(populations: NDArray[np.int64]) -> dict[str, float]:
    """What the transition's figures count, of rows with these populations."""
    return {
        "unique": float(len(populations)),
        "holes": float((populations > 1).sum()),
        "largest": float(populations.max()),
    }


def confusion(rows: Sequence[str], columns: Sequence[str], shares: Grid) -> bytes:
    """A confusion matrix as a heat map with numbers.

    Args:
        rows: what was drawn from.
        columns: what it was given to.
        shares: ``float64[rows, columns]``, of each row; nan where there were no draws.
    """
    return canvas(partial(_confusion, rows, columns, shares), 8.4, 1.9 + 0.33 * len(rows))


def _verdicts(names: Sequence[str], statistics: Sequence[str], z: Grid, rejected: set[str], figure: Figure) -> None:
    axes = figure.subplots()
    axes.set_facecolor("#d9d9d9")
    image = axes.imshow(np.clip(z, -CUT, CUT), cmap="RdBu_r", vmin=-CUT, vmax=CUT, aspect="auto")
    labels = [f"{name} x" if name in rejected else name for name in names]
    _ticks(axes, labels, statistics)
    down, across = np.nonzero(np.abs(np.nan_to_num(z)) >= OFF)
    axes.scatter(across, down, s=12, color="black", lw=0)
    figure.colorbar(image, ax=axes, label="standard deviations", extend="both", pad=0.01, aspect=30)


def _transition(curves: Curves, observed: Mapping[str, float], figure: Figure) -> None:
    panels = (("holes", "black holes"), ("unique", "distinct rows"), ("largest", "largest population"))
    for axes, (name, title) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for (label, curve), colour in zip(curves.items(), _COLOURS, strict=False):
            drawn = curve.figures[name]
            axes.fill_between(curve.steps, drawn.min(axis=1), drawn.max(axis=1), color=colour, alpha=0.2, lw=0)
            axes.plot(curve.steps, drawn.mean(axis=1), color=colour, lw=1.6, label=label)
        if name in observed:
            axes.axhline(observed[name], color="black", lw=1, ls="--")
        axes.set(xscale="log", yscale="symlog", xlabel="sigma over the median step", title=title)
        axes.set_ylim(bottom=0)
        axes.title.set_fontsize(11)
    figure.axes[0].set_ylabel("groups, rows or tokens")
    lines, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=4, fontsize=10)


def _confusion(rows: Sequence[str], columns: Sequence[str], shares: Grid, figure: Figure) -> None:
    axes = figure.subplots()
    axes.set_facecolor("#d9d9d9")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    _ticks(axes, columns, rows)
    for (i, j), share in np.ndenumerate(shares):
        if share > 0:
            text = f"{100 * share:.0f}" if share >= 0.005 else "<1"
            axes.text(j, i, text, ha="center", va="center", fontsize=10, color="white" if share > 0.6 else "black")


def _ticks(axes: Axes, across: Sequence[str], down: Sequence[str]) -> None:
    axes.grid(False)
    axes.set_xticks(range(len(across)), [_broken(text) for text in across], rotation=40, ha="left", va="bottom")
    axes.set_yticks(range(len(down)), [_broken(text) for text in down])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=10)
    axes.set_xticks(np.arange(len(across) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(down) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1.5, alpha=1)
    axes.tick_params(which="minor", length=0)


def _broken(text: str) -> str:
    """A class of hypotheses over two lines: of three or more its first and how many others, or labels would overlap."""
    first, *others = text.split(" = ")
    return " =\n".join([first, *(others if len(others) < 2 else [f"{len(others)} others"])])
