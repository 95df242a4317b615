"""Black holes in a recording, at every step: the partition that ``scan`` makes of a matrix, followed through time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles, find_black_holes
from forensics.dynamics.lineage import Descent, Event, Lineage, Step
from forensics.dynamics.stream import Frame, rows_of, run_passes
from forensics.embedding import Embedding
from forensics.errors import RecordingError
from forensics.formats import float_format
from forensics.measures import Measure
from forensics.recording import Recording

KEPT_EVENTS = 500
"""Merges and splits that are kept one by one, the latest; the series count them all."""

SHOWN_HOLES = 64

COUNTS: Mapping[str, str] = {
    "holes": "groups of two or more recorded tokens with bit-identical rows",
    "tokens_dead": "dead tokens in one",
    "tokens_live": "live tokens in one",
    "mixed": "holes with dead and live tokens",
    "largest": "tokens in the most populated one",
    "unique_dead": "distinct rows among the dead tokens",
}
"""What is counted at a step."""

EVENTS: Mapping[str, str] = {
    "births": "holes of rows that were in none",
    "deaths": "holes none of whose rows is in one any more",
    "merges": "holes with rows of two or more holes",
    "splits": "holes whose rows are now in two or more",
    "joins_dead": "dead tokens that were in no hole and are in one",
    "joins_live": "live tokens that were in no hole and are in one",
    "leaves_dead": "dead tokens that were in a hole and are in none",
    "leaves_live": "live tokens that were in a hole and are in none: they evaporated",
}
"""What is counted between two recorded steps."""


@dataclass(frozen=True, slots=True, eq=False)
class FinalHole:
    """A hole of the last recorded step.

    Attributes:
        lineage: its descent.
        dead_ids: ``int64[n]``, its dead tokens.
        live_ids: ``int64[n]``, its live tokens.
    """

    lineage: Lineage
    dead_ids: NDArray[np.int64]
    live_ids: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Its descent and how many tokens it holds; the first is named."""
        dead, live = len(self.dead_ids), len(self.live_ids)
        first = int(min([*self.dead_ids[:1], *self.live_ids[:1]]))
        return {**self.lineage.to_dict(), "dead": dead, "live": live, "first_token": first}


@dataclass(frozen=True, slots=True, eq=False)
class Formation:
    """Black holes through the recording.

    Attributes:
        steps: ``int64[T]``, the recorded steps.
        counts: `COUNTS` by name, ``int64[T]``.
        changes: `EVENTS` by name, ``int64[T - 1]``.
        events: the latest merges and splits, ascending.
        last_change: the last step whose partition differs from the one before; None where none does.
        final: the holes of the last step, most populated first.
        n_dead: recorded dead tokens.
        n_live: recorded live tokens.
    """

    steps: NDArray[np.int64]
    counts: Mapping[str, NDArray[np.int64]]
    changes: Mapping[str, NDArray[np.int64]]
    events: tuple[Event, ...]
    last_change: int | None
    final: tuple[FinalHole, ...]
    n_dead: int
    n_live: int

    @property
    def series(self) -> Mapping[str, NDArray[np.float64]]:
        """Figures ``float64[T]``; those between two steps stand at the later, nan at the first."""
        found = {
            f"hole_{name}" if name != "holes" else name: values.astype(float) for name, values in self.counts.items()
        }
        return found | {f"hole_{name}": np.concatenate(([np.nan], values)) for name, values in self.changes.items()}

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Start, peak and end of the counts, and all events."""
        tokens = "recorded tokens"
        found = []
        for name, text in COUNTS.items():
            values = self.counts[name]
            for when, value in (("first step", values[0]), ("most", values.max()), ("last step", values[-1])):
                found.append(
                    Measure(f"{name}, {when}", int(value), "holes" if name == "mixed" else _unit(name), tokens, text)
                )
        for name, text in EVENTS.items():
            what = f"all intervals together: {text}"
            found.append(Measure(name, int(self.changes[name].sum()), "events", tokens, what))
        found.append(
            Measure("last change", self.last_change, "step", tokens, "last step at which the partition changed")
        )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Definitions, totals, the series at steps in equal ratios, final holes, latest events."""
        last = len(self.steps) - 1
        at = np.unique([0, *np.geomspace(1, last, 24).round().astype(int)] if last else [0])
        return {
            "dead_tokens": self.n_dead,
            "live_tokens": self.n_live,
            "definitions": {**COUNTS, **EVENTS},
            "totals": {name: int(values.sum()) for name, values in self.changes.items()},
            "last_change": self.last_change,
            "steps": self.steps[at].tolist(),
            "counts": {name: values[at].tolist() for name, values in self.counts.items()},
            "final_holes": len(self.final),
            "final": [hole.to_dict() for hole in self.final[:SHOWN_HOLES]],
            "events": [event.to_dict() for event in self.events[-SHOWN_HOLES:]],
        }


def _unit(name: str) -> str:
    return {"holes": "holes", "unique_dead": "rows"}.get(name, "tokens")


class FormationPass:
    """Takes the partition at each recorded step of W."""

    needs = ("W",)

    def __init__(self, recording: Recording) -> None:
        recording.require("W")
        channel = recording.channel("W")
        if channel.format is None or len(channel.shape) != 2:
            raise RecordingError(f"{recording.name}: channel W holds no rows of words, but {channel.covers}")
        self._format, self._dim = float_format(channel.format), channel.shape[1]
        self._rows = rows_of(recording)
        self._descent = Descent()
        self._holes: BlackHoles | None = None
        self._steps: list[int] = []
        self._counts: list[list[int]] = []
        self._changes: list[list[int]] = []
        self._events: list[Event] = []
        self._last_change: int | None = None

    def add(self, frame: Frame) -> None:
        """Takes a step."""
        if "W" not in frame:
            return
        self._steps.append(frame.step)
        moved = frame.moved("W")
        last, changes = self._holes, [0] * len(EVENTS)
        if last is None or moved is None:
            self._holes = self._partition(frame)
            self._descent.begin(frame.step, self._holes)
            self._counts.append(self._counted(self._holes))
            return
        if moved.any():
            self._holes = self._partition(frame)
        if self._holes is not None and not np.array_equal(last.hole_ids, self._holes.hole_ids):
            change = Step.between(last.hole_ids, self._holes.hole_ids)
            self._events = [*self._events, *self._descent.follow(frame.step, change, self._holes)][-KEPT_EVENTS:]
            self._last_change = frame.step
            changes = [*change.counts.values(), *self._turnover(last, self._holes)]
            self._counts.append(self._counted(self._holes))
        else:
            self._counts.append(self._counts[-1])
        self._changes.append(changes)

    def result(self) -> Formation:
        """How they formed.

        Raises:
            RecordingError: no step is recorded.
        """
        if self._holes is None:
            raise RecordingError("W is recorded at no step", hint="train for a step at least")
        counts = np.array(self._counts, np.int64)
        changes = np.array(self._changes, np.int64).reshape(-1, len(EVENTS))
        is_dead = np.zeros(len(self._rows.token_ids), np.bool_)
        is_dead[self._rows.dead] = True
        final = []
        for hole in self._holes.holes:
            ids, dead = self._rows.token_ids[hole.token_ids], is_dead[hole.token_ids]
            final.append(FinalHole(self._descent.now[hole.id], ids[dead], ids[~dead]))
        return Formation(
            np.array(self._steps, np.int64),
            {name: counts[:, i] for i, name in enumerate(COUNTS)},
            {name: changes[:, i] for i, name in enumerate(EVENTS)},
            tuple(self._events),
            self._last_change,
            tuple(final),
            len(self._rows.dead),
            len(self._rows.live),
        )

    def _partition(self, frame: Frame) -> BlackHoles:
        words = np.ascontiguousarray(frame.words("W"))
        return find_black_holes(Embedding(words.view(np.uint8), self._format, self._dim))

    def _counted(self, holes: BlackHoles) -> list[int]:
        dead, live = holes.hole_ids[self._rows.dead], holes.hole_ids[self._rows.live]
        of_dead, of_live = np.unique(dead[dead > 0]), np.unique(live[live > 0])
        mixed = len(np.intersect1d(of_dead, of_live, assume_unique=True))
        n_dead, n_live = int((dead > 0).sum()), int((live > 0).sum())
        largest = holes.populations[0] if len(holes) else 0
        return [len(holes), n_dead, n_live, mixed, largest, len(dead) - n_dead + len(of_dead)]

    def _turnover(self, before: BlackHoles, after: BlackHoles) -> list[int]:
        joined, left = after.mask & ~before.mask, before.mask & ~after.mask
        return [int(who[rows].sum()) for who in (joined, left) for rows in (self._rows.dead, self._rows.live)]


def analyse_formation(recording: Recording) -> Formation:
    """How black holes form, merge, split and evaporate.

    Raises:
        RecordingError: W was not recorded or holds no words.
    """
    found = FormationPass(recording)
    run_passes(recording, [found])
    return found.result()
