"""Figures of a run's dynamics, as PNG bytes: the same result gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.account import COUNTS, LOST, UpdateAccount
from forensics.dynamics.cloud import Cloud
from forensics.dynamics.drift import Drift
from forensics.dynamics.equal_steps import EqualSteps
from forensics.dynamics.formation import Formation
from forensics.dynamics.freezing import Freezing
from forensics.dynamics.lattice_motion import REGIMES, LatticeMotion
from forensics.dynamics.modes import PARTS
from forensics.dynamics.motion import Motion
from forensics.dynamics.result import Dynamics
from forensics.dynamics.study import Study
from forensics.report.figures import IN_HOLE, REST, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEAD, LIVE, THIRD, FOURTH = IN_HOLE, REST, "#5b8c5a", "#8d6a9f"
FIGURES = ("hidden", "cloud", "drift", "motion", "lattice", "freezing", "account", "formation", "equal_steps")

Drawn = tuple[str, int, str, bytes]
"""A figure's name, its section (0: compared runs), its caption, its PNG bytes."""


def draw_dynamics(result: Study) -> Iterator[Drawn]:
    """The figures that this result supports."""
    run = result.run
    yield from _hidden(run)
    if (cloud := run.cloud) is not None:
        caption = (
            f"Dead and live rows at {len(cloud.steps)} steps, in one plane: the dead rows' first two principal "
            f"directions, {100 * sum(cloud.shares):.0f} % of their variance then. The cross is the origin; the "
            "axes differ in scale."
        )
        yield "cloud", 2, caption, canvas(partial(_cloud, cloud), 8.4, 4.6)
    if (drift := run["drift"]) is not None:
        caption = "Distance of the centroids from the origin, and the dead cloud's radii about its centroid, by step."
        yield "drift", 2, caption, canvas(partial(_drift, drift), 8.4, 3.4)
    if (motion := run["motion"]) is not None and len(motion.mode_steps) > 1:
        caption = "Shares of the dead rows' displacement at single steps, by kind of motion; white where nothing moved."
        yield "motion", 3, caption, canvas(partial(_modes, motion))
    if (lattice := run["lattice"]) is not None and lattice.dead is not None:
        caption = "Dead tokens by regime of motion; how far they go in ulp (means over up to 200 groups of steps)."
        yield "lattice", 4, caption, canvas(partial(_lattice, lattice), 8.4, 3.4)
    if (freezing := run["freezing"]) is not None:
        caption = (
            "Dead tokens still to freeze (Kaplan-Meier): if all that stand still at the end stay so, and if those that "
            "have stood still for no longer than a pause that ended may move again; and the share unmoved, by "
            "definition (means over up to 200 groups of steps)."
        )
        yield "freezing", 4, caption, canvas(partial(_freezing, freezing), 8.4, 3.4)
    if (updates := run["updates"]) is not None and len(updates.steps) > 1 and "dead" in updates.kinds:
        caption = "Elements of dead rows by what became of their update, and the update against half the gap, by step."
        yield "account", 5, caption, canvas(partial(_account, updates), 8.4, 3.4)
    if (formation := run["formation"]) is not None and len(formation.steps) > 1:
        caption = "Black holes, and the tokens in them, at every recorded step."
        yield "formation", 6, caption, canvas(partial(_formation, formation))
    if result.comparison is not None and result.comparison.equal_steps is not None:
        found = result.comparison.equal_steps
        labels = [group.label for group in result.comparison.groups]
        if len(found.steps) > 1:
            caption = "Live over dead gradient norm at equal steps, by group of runs."
            yield "equal_steps", 0, caption, canvas(lambda figure: _equal_steps(figure.subplots(), found, labels))


def canvas(draw: Callable[[Figure], None], width: float = 6.4, height: float = 3.8) -> bytes:
    """The PNG of what ``draw(figure)`` draws, in the house's style."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def by_step(axes: Axes, steps: NDArray[np.int64], **labels: str) -> None:
    """Steps along the axis: in ratios where the run is long, for most happens early."""
    if len(steps) and steps[-1] > 50:
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks([0, *(10**k for k in range(7) if 10**k <= steps[-1])])
        axes.xaxis.set_minor_locator(_nothing())
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set(xlabel="step", **labels)
    if len(steps) > 1:
        axes.set_xlim(0, steps[-1])


def in_ratios(axes: Axes, values: NDArray[np.float64]) -> None:
    """A logarithmic scale, where anything is above zero."""
    if np.any(np.isfinite(values) & (values > 0)):
        axes.set_yscale("log")


def _nothing() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def thin(steps: NDArray[np.int64], limit: int = 2_000) -> NDArray[np.int64]:
    """Indices of at most so many steps, dense at the start: a line of more points costs time and shows no more."""
    if len(steps) <= limit:
        return np.arange(len(steps))
    late = np.geomspace(limit // 2, len(steps) - 1, limit // 2).astype(np.int64)
    return np.unique(np.concatenate([np.arange(limit // 2), late]))


def binned(values: NDArray[np.float64], limit: int = 200) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Means of at most so many bins in equal ratios, and the index of each bin's last value."""
    if len(values) <= limit:
        return np.arange(len(values)), values
    starts = np.unique(np.geomspace(1, len(values) + 1, limit + 1)[:-1].astype(np.int64)) - 1
    ends = np.append(starts[1:], len(values))
    return ends - 1, np.add.reduceat(values, starts) / (ends - starts)


def _hidden(run: Dynamics) -> Iterator[Drawn]:
    if "loss" not in run.recorded or "spread_angle" not in run.recorded:
        return
    caption = "Loss against the stream's entropies, and the spread of h about its mean, by step."
    yield "hidden", 1, caption, canvas(lambda figure: _loss_and_spread(figure, run), 8.4, 3.4)


def _loss_and_spread(figure: Figure, run: Dynamics) -> None:
    left, right = figure.subplots(1, 2)
    steps, loss = run.recorded["loss"]
    at = thin(steps)
    left.plot(steps[at], loss[at], color="black", lw=1, label="loss")
    for key, style in (("unigram_entropy", "--"), ("context_entropy", ":")):
        if isinstance(run.corpus.get(key), int | float):
            left.axhline(run.corpus[key], color=THIRD, lw=1.2, ls=style, label=key.replace("_", " "))
    by_step(left, steps, ylabel="nats")
    left.legend(fontsize=9)
    steps, angle = run.recorded["spread_angle"]
    right.plot(steps[thin(steps)], angle[thin(steps)], color=LIVE, lw=1.2)
    by_step(right, steps, ylabel="mean angle of h to h_mean (\u00b0)")


def _cloud(cloud: Cloud, figure: Figure) -> None:
    columns = min(4, len(cloud.steps))
    grid = figure.subplots(-(-len(cloud.steps) // columns), columns, sharex=True, sharey=True, squeeze=False)
    # The frame holds every dead row and the origin: live rows go so much further that the dead would be a dot.
    shown = np.concatenate([cloud.dead.reshape(-1, 2), np.zeros((1, 2))])
    low, high = shown.min(axis=0), shown.max(axis=0)
    margin = 0.08 * np.maximum(high - low, 1e-9)
    for axes, step, dead, rest in zip(grid.flat, cloud.steps, cloud.dead, cloud.live, strict=False):
        axes.scatter(rest[:, 0], rest[:, 1], s=2, color=LIVE, alpha=0.35, lw=0, label="live")
        axes.scatter(dead[:, 0], dead[:, 1], s=2, color=DEAD, alpha=0.5, lw=0, label="dead")
        axes.plot(0, 0, "+", color="black", ms=9, mew=1)
        axes.set_title(f"step {int(step):,}", fontsize=10)
        axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
        axes.tick_params(labelsize=8)
    for axes in grid.flat[len(cloud.steps) :]:
        axes.set_axis_off()
    grid.flat[0].legend(fontsize=8, markerscale=4, loc="best", handletextpad=0.1)
    figure.supxlabel("first direction", fontsize=10)
    figure.supylabel("second", fontsize=10)


def _drift(drift: Drift, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    at = thin(drift.steps)
    steps = drift.steps[at]
    left.plot(steps, drift.dead.norm[at], color=DEAD, label="dead")
    if drift.live is not None:
        left.plot(steps, drift.live.norm[at], color=LIVE, label="live")
    by_step(left, drift.steps, ylabel="centroid's norm")
    left.legend(fontsize=9)
    right.plot(steps, drift.dead.radius_mean[at], color=DEAD, label="mean")
    right.plot(steps, drift.dead.radius_max[at], color=DEAD, ls=":", label="largest")
    right.plot(steps, drift.dead.norm[at], color="black", lw=0.8, label="centroid's norm")
    by_step(right, drift.steps, ylabel="dead rows from their centroid")
    if drift.dead.liftoff is not None:
        right.axvline(drift.dead.liftoff, color="#777777", lw=1, ls="--", label=f"liftoff, step {drift.dead.liftoff:,}")
    if (drift.dead.radius_mean > 0).all():
        in_ratios(right, drift.dead.radius_mean)
    right.legend(fontsize=8)


def _modes(motion: Motion, figure: Figure) -> None:
    axes = figure.subplots()
    moving = np.asarray(np.isfinite(motion.mode_shares).all(axis=1))
    colours = (DEAD, "#e9b44c", THIRD, FOURTH, "#c8d0d8", LIVE)
    shares = np.where(moving[:, None], motion.mode_shares, 0.0).T
    axes.stackplot(motion.mode_steps, shares, labels=PARTS, colors=colours, lw=0)
    by_step(axes, motion.mode_steps, ylabel="share of the sum of squares")
    axes.set_ylim(0, 1)
    axes.grid(False)
    axes.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1)


def _lattice(found: LatticeMotion, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    assert found.dead is not None
    at = thin(found.steps[1:])
    steps = found.steps[1:][at]
    shares = found.dead.regimes[at].T / found.dead.tokens
    left.stackplot(steps, shares, labels=REGIMES, colors=(DEAD, "#e9b44c", THIRD, FOURTH, "#c8d0d8"), lw=0)
    by_step(left, found.steps, ylabel="share of dead tokens")
    left.set_ylim(0, 1)
    left.grid(False)
    left.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1)
    for i, (label, style) in enumerate((("median", "-"), ("90 %", "--"), ("largest", ":"))):
        ends, means = binned(found.dead.lengths["l2_ulp"][:, i])
        right.plot(found.steps[1:][ends], np.where(means > 0, means, np.nan), color=DEAD, ls=style, lw=1, label=label)
    by_step(right, found.steps, ylabel="L2 of a step (ulp)")
    in_ratios(right, found.dead.lengths["l2_ulp"][at])
    right.legend(fontsize=9)


def _freezing(found: Freezing, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    at = thin(found.steps)
    exact = found.stillness["exact"]
    left.step(found.steps[at], exact.earliest.at(found.steps[at]), where="post", color=DEAD, label="all stay still")
    latest = exact.latest.at(found.steps[at])
    left.step(found.steps[at], latest, where="post", color="black", ls="--", lw=1, label="undecided may move")
    by_step(left, found.steps, ylabel="share with motion to come (estimate)")
    left.set_ylim(0, 1.02)
    left.legend(fontsize=9, loc="lower left")
    for (name, shares), style in zip(found.unmoved.items(), ("-", ":", "--", "-."), strict=False):
        colour = LIVE if name == "value" else DEAD
        at, means = binned(shares)
        right.plot(found.steps[1:][at], means, color=colour, ls=style, lw=1, label=name)
    by_step(right, found.steps, ylabel="share unmoved in an interval")
    right.set_ylim(0, 1.02)
    right.legend(fontsize=9)


def _account(found: UpdateAccount, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    at = thin(found.steps)
    dead = found.kinds["dead"]
    shares = dead.counts[at][:, :5].T / dead.elements
    labels = [LOST[found.rule][0] if name == "lost" else name.replace("_", " ") for name in COUNTS[:5]]
    left.stackplot(found.steps[at], shares, labels=labels, colors=(LIVE, "#c8d0d8", "#e9b44c", DEAD, "black"), lw=0)
    by_step(left, found.steps, ylabel="share of the dead rows' elements")
    left.set_ylim(0, 1)
    left.grid(False)
    left.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1)
    for which, colour in (("dead", DEAD), ("live", LIVE)):
        if which in found.kinds:
            ratio = found.kinds[which].push_over_gap[at]
            right.plot(found.steps[at], np.where(ratio > 0, ratio, np.nan), color=colour, lw=1, label=which)
    right.axhline(1, color="black", lw=1, ls="--")
    by_step(right, found.steps, ylabel="median update / half gap")
    in_ratios(right, dead.push_over_gap)
    right.legend(fontsize=9)


def _formation(found: Formation, figure: Figure) -> None:
    axes = figure.subplots()
    at = thin(found.steps)
    for name, colour, style in (("tokens_dead", DEAD, "-"), ("tokens_live", LIVE, "-"), ("holes", "black", "--")):
        label = name.replace("tokens_", "tokens in one, ")
        axes.step(found.steps[at], found.counts[name][at], where="post", color=colour, ls=style, label=label)
    by_step(axes, found.steps, ylabel="number")
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(fontsize=9)


def _equal_steps(axes: Axes, found: EqualSteps, labels: list[str]) -> None:
    for label, dim, row in zip(labels, found.dims, found.ratio, strict=True):
        axes.plot(found.steps, row, marker="o", ms=4, label=f"{label} (D = {dim})")
    axes.set(xlabel="step", ylabel="live / dead gradient norm", xscale="log", yscale="log")
    axes.legend(fontsize=9)
