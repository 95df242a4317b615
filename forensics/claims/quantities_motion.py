"""Quantities of how a run's tokens move: the course of their centroids, and when the dead come to rest."""

from __future__ import annotations

from typing import Literal

import numpy as np

from forensics.claims.quantities_recording import read_at, read_frames, read_values
from forensics.claims.registry import LAST, Share, Which, quantity
from forensics.dynamics.course import Course
from forensics.dynamics.freezing import analyse_freezing
from forensics.dynamics.rates import analyse_rates
from forensics.recording import Recording


@quantity(
    "centroid_course",
    on="recording",
    unit="{figure}",
    population="{which} rows, step 0 to {last}",
    definition="of the path of the mean row through the recorded steps: its length (path), the distance of its ends "
    "(net), net over path (straightness), or net over the root of the steps' summed squares, about 1 for a random "
    "walk (directedness)",
)
def _(
    recording: Recording,
    *,
    which: Which,
    figure: Literal["path", "net", "straightness", "directedness"],
    last: int = LAST,
) -> float | None:
    found = getattr(_course(recording, which, last), figure)
    return None if found is None else float(found)


@quantity(
    "centroid_path_step",
    on="recording",
    unit="step",
    population="{which} rows",
    definition="the first recorded step by which the mean row has gone {share} of the length of its whole path",
)
def _(recording: Recording, *, which: Which, share: Share) -> int | None:
    course = _course(recording, which, LAST)
    gone = np.cumsum(course.lengths)
    if not len(gone) or not gone[-1]:
        return None
    return int(course.steps[1:][(gone >= share * gone[-1]).argmax()])


@quantity(
    "liftoff_step",
    on="recording",
    kind="number or never",
    unit="step",
    population="{which} rows",
    definition="the first recorded step with the origin outside the sphere about the mean row through the row "
    "farthest from it",
)
def _(recording: Recording, *, which: Which) -> int | str:
    found = _course(recording, which, LAST).liftoff
    return "never" if found is None else found


@quantity(
    "moving_tokens",
    on="recording",
    unit="tokens",
    population="{which} tokens",
    definition="tokens with any coordinate at another value than at the step before, at step {step}",
)
def _(recording: Recording, *, which: Which, step: int) -> int:
    n = len(recording.dead_ids if which == "dead" else recording.live_ids)
    return round(n * read_at(recording, f"moved_{which}", step))


@quantity(
    "last_motion",
    on="recording",
    unit="step",
    population="dead tokens",
    definition="the last recorded step at which any dead token has a coordinate at another value than the step before; "
    "the recording's end, where one still moves then",
)
def _(recording: Recording) -> int:
    steps, moved = read_values(recording, "moved_dead", 0, LAST)
    at = np.flatnonzero(moved > 0)
    return int(steps[at[-1]]) if len(at) else 0


@quantity(
    "median_last_motion",
    on="recording",
    unit="step",
    population="dead tokens",
    definition="step by which half the dead tokens made their last motion; those that still move are censored "
    "(Kaplan-Meier)",
)
def _(recording: Recording) -> int | None:
    return analyse_freezing(recording).stillness["exact"].earliest.when(0.5)


@quantity(
    "still_share_step",
    on="recording",
    kind="number or never",
    unit="step",
    population="dead tokens",
    definition="the first recorded step at which at least {share} of the dead tokens do not move",
)
def _(recording: Recording, *, share: Share) -> int | str:
    steps, moved = read_values(recording, "moved_dead", 1, LAST)
    reached = np.flatnonzero(1 - moved >= share)
    return int(steps[reached[0]]) if len(reached) else "never"


@quantity(
    "rates",
    on="recording",
    kind="text",
    unit="",
    population="loss, and the dead rows' gradient, centroid and radius",
    definition="whether they fall together: rank correlations of the binned rates at least 0.8, and relaxation times "
    "within a factor of 3",
)
def _(recording: Recording) -> str | None:
    return analyse_rates(recording).verdict


def _course(recording: Recording, which: str, last: int) -> Course:
    radii = ("radius_mean", "radius_max", "radius_origin")
    names = [f"{name}_{which}" for name in ("centroid", *radii)]
    if names[0] not in {channel.name for channel in recording.channels}:
        recording.require("summaries")
    steps, centroid = read_frames(recording, names[0], 0, last)
    held = [read_values(recording, name, 0, last)[1] for name in names[1:]]
    n = len(recording.dead_ids if which == "dead" else recording.live_ids)
    return Course(steps, centroid, held[0], held[1], held[2], n)
