"""The phases of a token's life, each ended by its last occurrence: a token never goes back to a phase it has left.

The boundaries are only known in hindsight. A phase that is seen in the last interval has not ended: its end is
censored, and the token counts as in it, never as frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.moves import Floats, Moves, moves_of, words_format
from forensics.dynamics.stream import Frame, rows_of, run_passes
from forensics.dynamics.survival import Survival, kaplan_meier
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording

HYPERNOVA = 1000.0
"""Ulp beyond which the five-phase scheme speaks of a hypernova."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A division of motion into phases.

    Attributes:
        name: of the scheme.
        phases: names, the last one for "after the last motion", with what puts a move into each.
        classify: gives each changed row the phase of its move, ``int8[k]``; what does not move has the last.
    """

    name: str
    phases: Mapping[str, str]
    classify: Callable[[Moves], NDArray[np.int8]]


def _three_phases(moves: Moves) -> NDArray[np.int8]:
    far, near = ~(moves.l2 <= np.sqrt(moves.dim)), moves.linf <= 1
    return np.select([~moves.moving, far, near], [3, 0, 2], 1).astype(np.int8)


def _five_phases(moves: Moves) -> NDArray[np.int8]:
    beyond, fast = ~(moves.l2 <= HYPERNOVA), ~(moves.l2 <= np.sqrt(moves.dim))
    return np.select([~moves.moving, beyond, fast, moves.l1 > 1], [4, 0, 1, 2], 3).astype(np.int8)


_AFTER = "after the last motion in the recording"

SCHEMES = (
    Scheme(
        "lore",
        {
            "early": "L2 > sqrt(D) ulp",
            "midlife": "L-infinity > 1 ulp, L2 <= sqrt(D)",
            "late": "L-infinity <= 1 ulp",
            "frozen": _AFTER,
        },
        _three_phases,
    ),
    Scheme(
        "five phases",
        {
            "hypernova": f"L2 > {HYPERNOVA:g} ulp, or not finite",
            "superluminal": "L2 > sqrt(D) ulp",
            "spherical": "L1 > 1 ulp",
            "stumbling": "L1 <= 1 ulp",
            "fimbulwinter": _AFTER,
        },
        _five_phases,
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Phases:
    """The lives of the dead tokens under one scheme.

    Attributes:
        scheme: the division.
        steps: ``int64[T]``, the recorded steps.
        token_ids: ``int64[n]``.
        ends: ``int64[phases - 1, n]``, last step of each phase; equal to the one before (for the first phase: the first
            recorded step) where a token has none of it. A token is in the first phase whose end is not past.
    """

    scheme: Scheme
    steps: NDArray[np.int64]
    token_ids: NDArray[np.int64]
    ends: NDArray[np.int64]

    def phase_at(self, step: int) -> NDArray[np.int64]:
        """``int64[n]``, index of the phase that each token is in at a step after the first."""
        past: NDArray[np.int64] = (step > self.ends).sum(axis=0, dtype=np.int64)
        return past

    @property
    def populations(self) -> NDArray[np.int64]:
        """``int64[T - 1, phases]``, tokens in each phase in each interval."""
        ended = np.stack([np.searchsorted(np.sort(end), self.steps[1:], side="left") for end in self.ends], axis=1)
        n = len(self.token_ids)
        in_or_past = np.column_stack([np.full(len(ended), n), ended, np.zeros(len(ended), np.int64)])
        return np.asarray(-np.diff(in_or_past, axis=1))

    def left(self, phase: int) -> int | None:
        """Step by which half the tokens have left a phase for good; None where that is not seen or none was in it."""
        start = self.ends[phase - 1] if phase else self.steps[0]
        return self.survival(phase).when(0.5) if (self.ends[phase] > start).any() else None

    def survival(self, phase: int) -> Survival:
        """The steps at which tokens leave a phase for good; in it in the last interval: censored."""
        end = self.ends[phase]
        return kaplan_meier(end, end == self.steps[-1])

    def durations(self, phase: int) -> Survival:
        """How many steps a phase lasts, of the tokens that have it; not ended: censored."""
        start = self.ends[phase - 1] if phase else np.full(len(self.token_ids), self.steps[0])
        lasts = self.ends[phase] - start
        has = lasts > 0
        return kaplan_meier(lasts[has], self.ends[phase][has] == self.steps[-1])

    def to_dict(self) -> dict[str, Any]:
        """Each phase with its definition, when it ends, how long it lasts, and who is in it at the end."""
        last = self.populations[-1]
        rows = []
        for i, (name, definition) in enumerate(self.scheme.phases.items()):
            row: dict[str, Any] = {"name": name, "definition": definition, "tokens_at_end": int(last[i])}
            if i < len(self.ends):
                row |= {"left": self.survival(i).to_dict(), "lasts": self.durations(i).to_dict()}
            rows.append(row)
        return {"scheme": self.scheme.name, "phases": rows}


@dataclass(frozen=True, slots=True, eq=False)
class Lifecycle:
    """The lives of the recorded dead tokens.

    Attributes:
        schemes: one for each of `SCHEMES`.
    """

    schemes: tuple[Phases, ...]

    @property
    def steps(self) -> NDArray[np.int64]:
        """``int64[T]``, the recorded steps."""
        return self.schemes[0].steps

    @property
    def series(self) -> Mapping[str, Floats]:
        """Shares ``float64[T]`` of the tokens in each phase, at the end of an interval; nan at the first step."""
        found: dict[str, Floats] = {}
        for each in self.schemes:
            shares = each.populations / len(each.token_ids)
            for i, name in enumerate(each.scheme.phases):
                found[f"dead_phase_{name}"] = np.concatenate(([np.nan], shares[:, i]))
        return found

    @property
    def tokens(self) -> Mapping[str, NDArray[Any]]:
        """A table of the dead tokens, a row each: last step of every phase."""
        found: dict[str, NDArray[Any]] = {"token_id": self.schemes[0].token_ids}
        for each in self.schemes:
            found |= {f"last_{name}": end for name, end in zip(each.scheme.phases, each.ends, strict=False)}
        return found

    @property
    def measures(self) -> tuple[Measure, ...]:
        """When half the tokens have left each phase, and how many are in it at the end."""
        found = []
        for each in self.schemes:
            last = each.populations[-1]
            for i, (name, definition) in enumerate(each.scheme.phases.items()):
                text = f"{each.scheme.name}: {definition}"
                found.append(Measure(f"{name}, at the end", int(last[i]), "tokens", "dead", text))
                if i < len(each.ends):
                    left = f"step by which half the tokens left it for good (Kaplan-Meier); {text}"
                    found.append(Measure(f"{name}, left", each.left(i), "step", "dead", left))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Every scheme's phases."""
        every = bool((np.diff(self.steps) == 1).all())
        return {
            "dead_tokens": len(self.schemes[0].token_ids),
            "every_step": every,
            "schemes": [each.to_dict() for each in self.schemes],
        }


class LifecyclePass:
    """Notes the last occurrence of every phase."""

    needs = ("W",)

    def __init__(self, recording: Recording) -> None:
        self._format = words_format(recording)
        rows = rows_of(recording)
        if not len(rows.dead):
            raise RecordingError(f"{recording.name}: no row of a dead token was recorded, so none has a life")
        self._rows, self._ids = rows.dead, rows.dead_ids
        first = int(recording.steps("W")[0])
        # Of live rows, too, and of those that do not move: to sort them out would cost more.
        self._last = [np.full((len(scheme.phases), len(rows.token_ids)), first, np.int64) for scheme in SCHEMES]
        self._steps: list[int] = []

    def add(self, frame: Frame) -> None:
        """Takes a step."""
        if "W" not in frame:
            return
        self._steps.append(frame.step)
        moves = moves_of(frame, self._format)
        if moves is not None:
            for scheme, last in zip(SCHEMES, self._last, strict=True):
                last[scheme.classify(moves), moves.rows] = frame.step

    def result(self) -> Lifecycle:
        """The lives."""
        steps = np.array(self._steps, np.int64)
        found = []
        for scheme, last in zip(SCHEMES, self._last, strict=True):
            ends = np.maximum.accumulate(last[:-1, self._rows], axis=0)
            found.append(Phases(scheme, steps, self._ids, ends))
        return Lifecycle(tuple(found))


def analyse_lifecycle(recording: Recording) -> Lifecycle:
    """The lives of the recorded dead tokens.

    Raises:
        RecordingError: W was not recorded, holds no words, at one step alone, or of no dead token.
    """
    found = LifecyclePass(recording)
    run_passes(recording, [found])
    return found.result()
