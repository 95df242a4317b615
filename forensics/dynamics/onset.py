"""Fimbulwinter, the onset of freezing, by each of the definitions in use: they do not name the same step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNMOVED = 0.9
"""Share of unmoved dead tokens beyond which definition (i) sees the onset."""

RATE = 0.01
"""Share of the peak rate of the radius below which definition (ii) sees it."""

SEARCH_AFTER = 100
"""Step after which definition (ii) looks; it was set for runs of one width and one schedule."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Onset:
    """An onset of freezing under one definition.

    Attributes:
        name: of the definition.
        definition: in a sentence.
        step: the first step of it; None where it is not seen.
        held: whether its condition held from then to the last recorded step; None without a step.
        note: what to beware of; "" for nothing.
    """

    name: str
    definition: str
    step: int | None
    held: bool | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Quiet:
    """A stretch in which no dead token moves.

    Attributes:
        after: the last step of motion before it (or the first recorded step).
        until: its last recorded step.
    """

    after: int
    until: int

    @property
    def steps(self) -> int:
        """How long it is."""
        return self.until - self.after


def quiet_stretches(steps: Ints, moving: Ints) -> tuple[Quiet, ...]:
    """The maximal stretches in which nothing moves.

    Args:
        steps: ``int64[T]``, recorded steps.
        moving: ``int64[T - 1]``, how many tokens move in each interval.
    """
    still = np.concatenate(([False], moving == 0, [False]))
    edges = np.flatnonzero(np.diff(still))
    return tuple(Quiet(int(steps[start]), int(steps[stop])) for start, stop in edges.reshape(-1, 2))


def onset_by_share(steps: Ints, unmoved: NDArray[np.float64]) -> Onset:
    """(i): the first step with more than 90 % of the dead tokens unmoved; ``unmoved`` is ``float64[T - 1]``."""
    definition = f"(i) first step at which more than {UNMOVED:.0%} of the dead tokens do not move"
    found = np.flatnonzero(unmoved > UNMOVED)
    if not len(found):
        return Onset("share", definition, None, None)
    after = unmoved[found[0] :]
    held = bool((after > UNMOVED).all())
    low = int(np.argmin(after))
    note = "" if held else f"the share falls to {after[low]:.1%} at step {steps[found[0] + low + 1]}"
    return Onset("share", definition, int(steps[found[0] + 1]), held, note)


def onset_by_radius(steps: Ints, radius: NDArray[np.float64], *, after: int | None) -> Onset:
    """(ii): the first step at which the radius grows at less than 1 % of its peak rate.

    Args:
        steps: ``int64[T]``.
        radius: ``float64[T]``, mean norm of the dead rows.
        after: the step to search after; the peak's if None.
    """
    where = "its peak" if after is None else f"step {after}"
    name = "radius, after the peak" if after is None else "radius"
    definition = f"(ii) first step after {where} at which the mean distance of dead rows from the origin grows at less "
    definition += f"than {RATE:.0%} of its peak rate"
    if not np.isfinite(radius).all():
        return Onset(name, definition, None, None, "the radius is not finite at every step")
    rates = np.diff(radius) / np.diff(steps)
    peak = int(np.argmax(rates))
    if not rates[peak] > 0:
        return Onset(name, definition, None, None, "the radius never grows")
    searched = np.flatnonzero(steps[1:] > (int(steps[peak + 1]) if after is None else after))
    low = searched[rates[searched] < RATE * rates[peak]]
    if not len(low):
        return Onset(name, definition, None, None)
    held = bool((rates[low[0] :] < RATE * rates[peak]).all())
    artefact = after is not None and low[0] == searched[0]
    note = "the first step that is searched: the clause decides, not the run" if artefact else ""
    return Onset(name, definition, int(steps[low[0] + 1]), held, note)


def onset_of_all(steps: Ints, quiet: tuple[Quiet, ...]) -> Onset:
    """(iii): the first step at which every dead row equals, bit for bit, that of the step before."""
    definition = "(iii) first step at which no bit of any dead row changes"
    if not quiet:
        return Onset("all", definition, None, None)
    held = quiet[0].until == int(steps[-1])
    note = "" if held else f"{len(quiet)} such stretches"
    return Onset("all", definition, _next(steps, quiet[0].after), held, note)


def permanent_onset(steps: Ints, last_motion: int, by: str) -> Onset:
    """(iv): the first recorded step after the last motion of any dead token; None if that is in the last interval."""
    definition = f"(iv) first step after the last motion of any dead token ({by})"
    if last_motion == steps[-1]:
        return Onset(f"permanent, {by}", definition, None, None, "censored: a token moves in the last interval")
    return Onset(f"permanent, {by}", definition, _next(steps, last_motion), True, "as far as the recording goes")


def _next(steps: Ints, after: int) -> int:
    return int(steps[np.searchsorted(steps, after, side="right")])
