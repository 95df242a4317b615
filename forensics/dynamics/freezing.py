"""When dead tokens stop moving, under each definition of standing still side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.moves import Floats, Moves, moves_of, words_format
from forensics.dynamics.onset import (
    SEARCH_AFTER,
    Onset,
    Quiet,
    onset_by_radius,
    onset_by_share,
    onset_of_all,
    permanent_onset,
    quiet_stretches,
)
from forensics.dynamics.stillness import THAW_STEPS, Stillness, StillnessTally
from forensics.dynamics.stream import Frame, rows_of, run_passes
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording

ULP = 0.1
"""Of the founding notebooks. The shortest move is half an ulp (down from a power of two): the same rows as "exact"."""

VALUE = 1e-4
"""Of the founding notebooks; longer than most hops of small numbers, so that moving rows pass for frozen."""

STILL: Mapping[str, str] = {
    "exact": "no value changes: the displacement is exactly 0, its L1 is 0",
    "bits": "no stored bit changes: as exact, but a zero that changes its sign moves",
    "ulp": f"the displacement's L2 is below {ULP} ulp of the start",
    "value": f"the displacement's L2 is below {VALUE:g} in value units",
}
"""The definitions of a still step."""

SHOWN_QUIET = 16


def moves_by(definition: str, moves: Moves) -> NDArray[np.bool_]:
    """Which of the changed rows move under a definition of `STILL`, ``bool[k]``; what is not finite moves."""
    if definition == "bits":
        return np.ones(len(moves.rows), np.bool_)
    if definition == "exact":
        return moves.moving
    lengths, least = (moves.l2, ULP) if definition == "ulp" else (moves.value, VALUE)
    return np.asarray(~(lengths < least))


@dataclass(frozen=True, slots=True, eq=False)
class Freezing:
    """How the recorded dead tokens come to rest.

    Attributes:
        steps: ``int64[T]``, the recorded steps.
        unmoved: by definition of `STILL`, ``float64[T - 1]``, share of the dead tokens that are still in each interval.
        stillness: by definition, pauses and last motions.
        radius: ``float64[T]``, mean norm of the dead rows.
        quiet: the stretches in which no bit of any dead row changes.
        onsets: by each definition of the onset.
    """

    steps: NDArray[np.int64]
    unmoved: Mapping[str, Floats]
    stillness: Mapping[str, Stillness]
    radius: Floats
    quiet: tuple[Quiet, ...]
    onsets: tuple[Onset, ...]

    @property
    def token_ids(self) -> NDArray[np.int64]:
        """``int64[n]``, the recorded dead tokens."""
        return self.stillness["exact"].token_ids

    @property
    def permanent(self) -> int | None:
        """First step from which no value of any dead row changes; None where one moves in the last interval."""
        return next(onset.step for onset in self.onsets if onset.name == "permanent, exact")

    @property
    def quiet_ratio(self) -> float | None:
        """The stretch that reaches the end over the longest that ended; None where there are not both."""
        ended = [each.steps for each in self.quiet if each.until < self.steps[-1]]
        last = [each.steps for each in self.quiet if each.until == self.steps[-1]]
        return last[0] / max(ended) if ended and last else None

    @property
    def series(self) -> Mapping[str, Floats]:
        """Figures ``float64[T]`` that stand at the end of their interval, nan at the first step."""
        exact = self.stillness["exact"]
        left = {"earliest": exact.earliest, "latest": exact.latest}
        found = {f"dead_unmoved_{name}": _ends(values) for name, values in self.unmoved.items()}
        found |= {f"dead_thaws_{n}": _ends(exact.thaws[:, i].astype(float)) for i, n in enumerate(THAW_STEPS)}
        return found | {f"dead_survival_{name}": curve.at(self.steps) for name, curve in left.items()}

    @property
    def tokens(self) -> Mapping[str, NDArray[Any]]:
        """A table of the dead tokens, a row each."""
        exact = self.stillness["exact"]
        fates = np.select([exact.moving, exact.undecided], ["moving", "undecided"], "settled")
        last = {f"last_motion_{name}": found.last_motion for name, found in self.stillness.items()}
        return {"token_id": self.token_ids, "first_motion": exact.first_motion, **last, "fate": fates}

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        found = [Measure(f"onset, {o.name}", o.step, "step", "dead", _with_note(o)) for o in self.onsets]
        for name, still in self.stillness.items():
            share = float(self.unmoved[name][-1])
            found.append(Measure(f"still at the end, {name}", share, "share", "dead", f"last interval: {STILL[name]}"))
            for bound, curve, what in (
                ("earliest", still.earliest, "tokens that move in the last interval censored"),
                ("latest", still.latest, "undecided tokens, too, censored"),
            ):
                text = f"step by which half the tokens made their last motion, {what} (Kaplan-Meier; {STILL[name]})"
                found.append(Measure(f"median last motion, {name}, {bound}", curve.when(0.5), "step", "dead", text))
        exact = self.stillness["exact"]
        for state, n in exact.fates.items():
            found.append(Measure(f"{state} at the end", n, "tokens", "dead", _FATES[state]))
        found += [
            Measure(
                "longest pause that ended", exact.longest_steps, "steps", "dead", "still steps between two motions"
            ),
            *(
                Measure(f"thaws after {n} steps", int(exact.thaws[:, i].sum()), "events", "dead", _THAW.format(n))
                for i, n in enumerate(THAW_STEPS)
            ),
            Measure("last quiet stretch", self.quiet_ratio, "ratio", "dead", _QUIET),
        ]
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The onsets, each definition's figures, the longest quiet stretches."""
        longest = sorted(self.quiet, key=lambda each: (-each.steps, each.after))[:SHOWN_QUIET]
        return {
            "dead_tokens": len(self.token_ids),
            "every_step": bool((np.diff(self.steps) == 1).all()),
            "onsets": [onset.to_dict() for onset in self.onsets],
            "definitions": {
                name: {
                    "definition": STILL[name],
                    "unmoved_at_end": float(self.unmoved[name][-1]),
                    **{f"unmoved_{share:.0%}": self._reached(name, share) for share in (0.5, 0.9, 0.99)},
                    **still.to_dict(),
                }
                for name, still in self.stillness.items()
            },
            "quiet": {
                "stretches": len(self.quiet),
                "longest": [{"after": q.after, "until": q.until, "steps": q.steps} for q in longest],
                "last_over_longest_ended": self.quiet_ratio,
            },
        }

    def _reached(self, name: str, share: float) -> int | None:
        found = np.flatnonzero(self.unmoved[name] >= share)
        return int(self.steps[found[0] + 1]) if len(found) else None


_FATES = {
    "moving": "moved in the last interval: censored, not frozen",
    "undecided": "still at the end, for no longer than the longest pause that ended, if any: it may be one",
    "settled": "still at the end for longer than any pause that ended",
}
_THAW = "a token moves again after at least {} still steps"
_QUIET = "steps of the stretch without any dead motion that reaches the end, over the longest such stretch that ended"


def _with_note(onset: Onset) -> str:
    return f"{onset.definition}; {onset.note}" if onset.note else onset.definition


def _ends(values: Floats) -> Floats:
    return np.concatenate(([np.nan], values))


class FreezingPass:
    """Follows the dead rows of W."""

    needs = ("W",)

    def __init__(self, recording: Recording) -> None:
        self._format = words_format(recording)
        rows = rows_of(recording)
        if not len(rows.dead):
            raise RecordingError(f"{recording.name}: no row of a dead token was recorded, so none freezes")
        first = int(recording.steps("W")[0])
        self._rows = rows.dead
        self._tallies = {name: StillnessTally(rows.dead_ids, first) for name in STILL}
        self._steps: list[int] = []
        self._moving: list[list[int]] = []
        self._radius: list[float] = []

    def add(self, frame: Frame) -> None:
        """Takes a step."""
        if "W" not in frame:
            return
        self._steps.append(frame.step)
        moves = moves_of(frame, self._format)
        if moves is None:
            self._radius.append(_radius(frame))
            return
        counts = []
        for name, tally in self._tallies.items():
            moved = moves.spread(moves_by(name, moves))[self._rows]
            tally.add(frame.step, moved)
            counts.append(int(np.count_nonzero(moved)))
        self._moving.append(counts)
        self._radius.append(_radius(frame) if any(counts) else self._radius[-1])

    def result(self) -> Freezing:
        """How they freeze."""
        steps, moving = np.array(self._steps, np.int64), np.array(self._moving, np.int64)
        unmoved = {name: 1 - moving[:, i] / len(self._rows) for i, name in enumerate(STILL)}
        stillness = {name: tally.result() for name, tally in self._tallies.items()}
        radius = np.array(self._radius)
        quiet = quiet_stretches(steps, moving[:, list(STILL).index("bits")])
        onsets = (
            onset_by_share(steps, unmoved["exact"]),
            onset_by_radius(steps, radius, after=SEARCH_AFTER),
            onset_by_radius(steps, radius, after=None),
            onset_of_all(steps, quiet),
            *(permanent_onset(steps, int(each.last_motion.max()), name) for name, each in stillness.items()),
        )
        return Freezing(steps, unmoved, stillness, radius, quiet, onsets)


def _radius(frame: Frame) -> float:
    return float(np.linalg.norm(frame.dead("W").astype(np.float64), axis=1).mean())


def analyse_freezing(recording: Recording) -> Freezing:
    """How the recorded dead tokens come to rest.

    Raises:
        RecordingError: W was not recorded, holds no words, at one step alone, or of no dead token.
    """
    found = FreezingPass(recording)
    run_passes(recording, [found])
    return found.result()
