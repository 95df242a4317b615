"""A recorded run's dead rows, driven again from their start by what the recording knows of their pushes.

Fed the recorded gradient words the cloud has the run's own words. Fed hidden states and probabilities at the scored
positions it differs by the order of float32 sums (and by clipping, which is a norm of the whole gradient); fed their
means alone also by what p and h do together. The gap says how far that carries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.push import Optimizer, optimizer_of, rates_of, same_tokens
from forensics.dynamics.stream import rows_of
from forensics.errors import RecordingError
from forensics.formats import FloatFormat, Words, float_format
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.driving.driver import Driver
from forensics.hypotheses.driving.push import GradientWords, Means, Positions, Push
from forensics.recording import Recording
from forensics.updates.threads import one_thread

By = Literal["gradients", "positions", "means"]

CHANNELS: dict[str, tuple[str, ...]] = {
    "gradients": ("grad",),
    "positions": ("h_full", "p_dead_full"),
    "means": ("h_mean_scored", "p_dead"),
}
"""What each way of driving reads, beside W at step 0."""


@dataclass(frozen=True, slots=True)
class Gap:
    """How a driven cloud differs from the recorded one after an update.

    Attributes:
        step: the update.
        equal: share of words that are the recorded ones.
        near: share of words that are at most one step of the format from the recorded ones (ordinals differ by 1).
        most_apart: the largest distance, in steps; around zero a small difference is many of them.
        centroid: distance of the two centroids over the way that the recorded one has come; None if it has not moved.
        radius: the driven cloud's rms distance from its centroid over the recorded one's; None if that is one point.
    """

    step: int
    equal: float
    near: float
    most_apart: int
    centroid: float | None
    radius: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class DrivenRecording:
    """Dead rows driven by a recording.

    Attributes:
        by: what they were pushed by.
        rows: dead tokens.
        gaps: at the steps asked for, ascending.
        caveat: why words could differ although pushes do not; "" if nothing.
    """

    by: By
    rows: int
    gaps: tuple[Gap, ...]
    caveat: str

    @property
    def first_difference(self) -> int | None:
        """The first of the steps asked for at which a word differs."""
        return next((gap.step for gap in self.gaps if gap.equal < 1), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        gaps = [gap.to_dict() for gap in self.gaps]
        return {"by": self.by, "rows": self.rows, "caveat": self.caveat, "gaps": gaps}

    def __str__(self) -> str:
        head = f"{self.rows:,} dead rows driven by recorded {self.by}"
        lines = [f"{'step':>6} {'equal':>8} {'within 1':>9} {'most':>6} {'centroid':>9} {'radius':>7}"]
        for gap in self.gaps:
            centroid, radius = (f"{x:.4f}" if x is not None else "-" for x in (gap.centroid, gap.radius))
            shares = f"{gap.equal:>8.2%} {gap.near:>9.2%}"
            lines.append(f"{gap.step:>6} {shares} {gap.most_apart:>6} {centroid:>9} {radius:>7}")
        return "\n".join([head, *lines])


def drive_recording(
    recording: Recording, *, by: By = "gradients", at: Collection[int] | None = None
) -> DrivenRecording:
    """Drives a recording's dead rows from step 0 and holds them against the recorded words.

    Args:
        recording: of a run, with W of dead tokens at step 0, and the channels of `CHANNELS` at every step from 1.
        by: "gradients", "positions" or "means".
        at: recorded steps of W to compare at; None takes some ten, in equal ratios from 1 to the last.

    Raises:
        RecordingError: a channel or a step is missing, or there are no dead tokens.
        HypothesisError: an optimizer that needs the live rows, too.
    """
    recording.require("W", *CHANNELS[by])
    optimizer, rates = optimizer_of(recording), rates_of(recording)
    fmt = float_format(optimizer.policy.weights)
    dead = rows_of(recording).dead
    if not len(dead) or 0 not in recording.steps("W"):
        raise RecordingError(f"{recording.name}: W of dead tokens is not recorded at step 0")
    wanted = _chosen(recording.steps("W"), at)
    start = recording.frame("W", 0)[dead]
    driver = Driver(Cloud.from_rows(start, fmt, start.shape[1]), optimizer.rule, optimizer.policy)
    origin = fmt.widen(start).mean(axis=0, dtype=np.float64)
    gaps = []
    with one_thread():
        for step, push in _pushes(recording, by, dead, until=max(wanted)):
            if step not in rates:
                raise RecordingError(f"{recording.name}: the learning rate of step {step} is not recorded")
            driver.push(push, rates[step])
            if step in wanted:
                gaps.append(_gap(step, fmt, driver.words(), recording.frame("W", step)[dead], origin))
    return DrivenRecording(by, len(dead), tuple(gaps), _caveat(optimizer))


def _chosen(recorded: NDArray[np.int64], at: Collection[int] | None) -> set[int]:
    steps = recorded[recorded > 0]
    if at is None:
        near = np.geomspace(1, max(int(steps[-1]), 1), 10) if len(steps) else np.empty(0)
        at = {int(steps[np.abs(steps - x).argmin()]) for x in near}
    lacking = sorted(set(at) - set(steps.tolist()))
    if lacking or not at:
        raise RecordingError(f"W is not recorded at step {lacking[0]}" if lacking else "W is recorded at step 0 alone")
    return set(at)


def _pushes(recording: Recording, by: By, dead: NDArray[np.int64], until: int) -> Iterator[tuple[int, Push]]:
    """Each update and what pushed it, from the first on.

    Raises:
        RecordingError: an update's is not recorded.
    """
    make = {"gradients": _words_of, "positions": _positions_of, "means": _means_of}[by]
    if by == "gradients":
        same_tokens(recording, ("W", "grad"))
    elif not np.array_equal(rows_of(recording).dead_ids, recording.dead_ids):
        raise RecordingError(
            f"{recording.name}: W is recorded of some dead tokens, their probabilities of all",
            hint="train again with record.tracked=dead",
        )
    steps = {name: set(recording.steps(name).tolist()) for name in CHANNELS[by]}
    for step in range(1, until + 1):
        lacking = [name for name in CHANNELS[by] if step not in steps[name]]
        if lacking:
            raise RecordingError(f"{recording.name}: {', '.join(lacking)} of step {step} is not recorded")
        yield step, make(recording, step, dead)


def _words_of(recording: Recording, step: int, dead: NDArray[np.int64]) -> Push:
    return GradientWords(recording.frame("grad", step)[dead])


def _positions_of(recording: Recording, step: int, dead: NDArray[np.int64]) -> Push:
    """The scored positions' hidden states, as `forensics.toy.loop.scored_positions` picks them."""
    from forensics.toy.config import RunConfig

    loss = RunConfig.from_dict(recording.config).loss
    hidden = recording.channel("h_full").values(recording.frame("h_full", step))  # [B, T, D]
    scored = hidden[:, : hidden.shape[1] - loss.label_offset]
    scored = scored[:, -1:] if loss.scored == "last" else scored
    return Positions(scored.reshape(-1, hidden.shape[2]), recording.frame("p_dead_full", step))


def _means_of(recording: Recording, step: int, dead: NDArray[np.int64]) -> Push:
    hidden, p = recording.frame("h_mean_scored", step), recording.frame("p_dead", step)
    return Means(hidden.astype(np.float32), p.astype(np.float32))


def _gap(step: int, fmt: FloatFormat, driven: Words, recorded: Words, origin: NDArray[np.float64]) -> Gap:
    apart = np.abs(fmt.ordinals(driven) - fmt.ordinals(recorded))
    ours, theirs = (fmt.widen(words).astype(np.float64) for words in (driven, recorded))
    centres = ours.mean(axis=0), theirs.mean(axis=0)
    come = float(np.linalg.norm(centres[1] - origin))
    radii = [float(np.sqrt(((x - c) ** 2).sum(axis=1).mean())) for x, c in zip((ours, theirs), centres, strict=True)]
    return Gap(
        step,
        float((driven == recorded).mean()),
        float((apart <= 1).mean()),
        int(apart.max()),
        float(np.linalg.norm(centres[0] - centres[1])) / come if come else None,
        radii[0] / radii[1] if radii[1] else None,
    )


def _caveat(optimizer: Optimizer) -> str:
    if optimizer.policy.rounding == "stochastic":
        return "stochastic rounding draws from a generator that is not recorded"
    if optimizer.rule.fused:
        return "a fused kernel's float32 words depend on where a tensor ends; the recorded rows end elsewhere"
    return ""
