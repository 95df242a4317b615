"""The figures of a comparison, as PNG bytes: each line on its own scale, the toys' runs as dots, the real as a bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from forensics.comparison import Comparison
from forensics.comparison.result import Line
from forensics.comparison.runs import Group
from forensics.comparison.verdict import Cell, predict
from forensics.report.dynamics_figures import FOURTH, LIVE, THIRD, canvas
from forensics.report.figures import IN_HOLE
from forensics.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REAL = IN_HOLE
TOYS = (LIVE, "#e9b44c", THIRD, FOURTH, "#777777")
"""One colour a group; further groups are in the tables alone."""


def draw_comparison(result: Comparison) -> Iterator[tuple[str, str, bytes]]:
    """The figures that this result supports: (file name, caption, PNG bytes)."""
    groups = result.groups[: len(TOYS)]
    for name, section in (("observables.png", "embedding"), ("hidden.png", "hidden states")):
        lines = [line for line in result.lines if line.section == section and _both(line)]
        if lines:
            shown = "" if len(groups) == len(result.groups) else f" The first {len(groups)} groups are shown."
            caption = (
                f"{section.capitalize()}: each line on its own scale (that of its verdict), from the least to the "
                "largest value in it; the real model is the bar, each toy run a dot, the shade where a further run of "
                "the toy would lie (95 %, from three seeds on); a cross: not reproduced. Beside it: real | toy "
                f"{groups[0].label} at step {groups[0].step:,}.{shown}"
            )
            draw = partial(_draw, lines, groups)
            yield name, caption, canvas(draw, 8.4, 1.0 + (0.27 + 0.05 * (len(groups) - 1)) * len(lines))


def _both(line: Line) -> bool:
    return line.real is not None and any(cell.n for cell in line.cells)


def _draw(lines: Sequence[Line], groups: Sequence[Group], figure: Figure) -> None:
    axes = figure.subplots()
    for row, line in enumerate(lines):
        _draw_line(axes, row, line, line.cells[: len(groups)])
    axes.set_yticks(range(len(lines)), [_label(line, groups) for line in lines], fontsize=10)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(-0.06, 1.06)
    axes.set_xticks([])
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    for edge in range(1, len(lines)):
        axes.axhline(edge - 0.5, color="black", lw=0.4, alpha=0.2)
    right = axes.twinx()
    right.set_ylim(len(lines) - 0.5, -0.5)
    right.set_yticks(range(len(lines)), [_values(line.real, line.cells[0]) for line in lines], fontsize=10)
    right.tick_params(length=0)
    right.grid(False)
    axes.plot([], [], color=REAL, lw=3, label="real")
    for group, colour in zip(groups, TOYS, strict=False):
        axes.plot([], [], "o", color=colour, ms=5, label=f"toy {group.label}, step {group.step:,}")
    axes.legend(fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), columnspacing=1)


def _draw_line(axes: Axes, row: int, line: Line, cells: Sequence[Cell]) -> None:
    o, real = line.observable, line.observable.transformed(line.real)
    spans = [predict(o, _known(cell)).ends if cell.low is not None else None for cell in cells]
    values = [[o.transformed(value) for value in _known(cell)] for cell in cells]
    every = [real, *(v for own in values for v in own), *(end for span in spans if span for end in span)]
    low, high = min(every), max(every)
    # Equal values must look equal: never finer than a few times what is not worth telling apart.
    middle, wide = (low + high) / 2, max(high - low, 8 * o.resolution)
    step = 0.7 / len(cells)
    for i, (span, own, colour) in enumerate(zip(spans, values, TOYS, strict=False)):
        y = row - 0.35 + (i + 0.5) * step
        if span is not None:
            ends = [(end - middle) / wide + 0.5 for end in span]
            axes.fill_between(ends, y - 0.42 * step, y + 0.42 * step, color=colour, alpha=0.25, lw=0)
        axes.plot((np.array(own) - middle) / wide + 0.5, np.full(len(own), y), "o", color=colour, ms=4, mew=0)
    at = (real - middle) / wide + 0.5
    axes.plot([at, at], [row - 0.4, row + 0.4], color=REAL, lw=3, solid_capstyle="butt")


def _label(line: Line, groups: Sequence[Group]) -> str:
    """The title, with a cross and the groups that do not reproduce it."""
    pairs = zip(groups, line.cells, strict=False)
    missed = "".join(group.label for group, cell in pairs if cell.verdict == "not reproduced")
    whose = f" {missed}" if len({group.label for group in groups}) == len(groups) > 1 else ""
    return f"{line.observable.title} \u2717{whose}" if missed else line.observable.title


def _known(cell: Cell) -> list[float]:
    return [value for value in cell.values if value is not None]


def _values(real: float | None, cell: Cell) -> str:
    spread = "" if cell.sd is None else f" \u00b1 {number(cell.sd, 2)}"
    return f"{number(real, 3)} | {number(cell.mean, 3)}{spread}"
