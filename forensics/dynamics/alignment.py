"""Whether the dead cloud is pushed, and goes, against the mean hidden state: before the optimizer and after it.

The gradient of a dead token's row is the mean over scored positions of p h, p its probability (softmax cross entropy
with no true occurrence), so the mean dead gradient points along a mean of h weighted by the dead tokens' probability.
Gradient descent would carry the centroid along -h; Adam scales each coordinate by its own history, which turns the
step towards the diagonal (all coordinates of one size), and rounding to the stored format comes after both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.course import Floats, cosines, defined, diagonality, median
from forensics.dynamics.stream import Frame, run_passes
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording

EARLY = 10
"""Steps of the early window: the founding project's figures are of the first ten."""

_MEANS = ("h_mean", "h_mean_scored")


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Cosines of each update; nan where one of the two vectors is zero.

    Attributes:
        steps: ``int64[T]``, updates: steps t with W at t and t - 1 and h_mean at t (of the forward that made it).
        before: by mean hidden state ("h_mean" over all positions, "h_mean_scored" over those in the loss),
            ``float64[T]``, cosine of the mean dead gradient with it; empty without gradients.
        after: the same keys, ``float64[T]``, cosine of the dead centroid's displacement with its negative.
        through: ``float64[T]``, cosine of that displacement with the negative mean dead gradient: what the optimizer
            and rounding left of its direction; None without gradients.
        before_diagonality: ``float64[T]``, of the mean dead gradient (see `course.diagonality`); None without.
        after_diagonality: ``float64[T]``, of the displacement.
        optimizer: its kind, as the run's config names it; None where it does not.
        missing: what was not recorded and would add to this; "" where nothing.
    """

    steps: NDArray[np.int64]
    before: Mapping[str, Floats]
    after: Mapping[str, Floats]
    through: Floats | None
    before_diagonality: Floats | None
    after_diagonality: Floats
    optimizer: str | None
    missing: str

    @property
    def series(self) -> Mapping[str, Floats]:
        """The figures of each step, ``float64[T]``."""
        found = {f"gradient_cos_{name}": values for name, values in self.before.items()}
        found |= {f"step_cos_minus_{name}": values for name, values in self.after.items()}
        found["step_diagonality"] = self.after_diagonality
        if self.through is not None and self.before_diagonality is not None:
            found |= {"step_cos_minus_gradient": self.through, "gradient_diagonality": self.before_diagonality}
        return found

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Medians over the first steps and over all."""
        early = self.steps <= EARLY
        what = f"optimizer: {self.optimizer or 'not said'}; vectors of zero length left out"
        found = []
        for name, values in self.series.items():
            unit = "ratio" if name.endswith("diagonality") else "cosine"
            label = name.replace("_", " ").replace("h mean", "h_mean")
            for when, held in ((f"first {EARLY} updates", values[early]), ("all recorded updates", values)):
                found.append(Measure(f"{label}, {when}", median(held), unit, "dead", f"median over updates; {what}"))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The first updates one by one, and what was missing."""
        early = self.steps <= EARLY
        some = {name: [defined(value) for value in values[early]] for name, values in self.series.items()}
        return {"optimizer": self.optimizer, "missing": self.missing, "steps": self.steps[early].tolist(), **some}


class AlignmentPass:
    """Takes the mean dead gradient and the dead centroid's displacement of each update.

    Raises:
        RecordingError: W or h_mean was not recorded.
    """

    def __init__(self, recording: Recording) -> None:
        recording.require("W", "h_mean")
        held = {channel.name for channel in recording.channels}
        self._means = tuple(name for name in _MEANS if name in held)
        self._has_gradient = "grad" in held
        self.needs = ("W", *self._means, *(["grad"] if self._has_gradient else []))
        self._recording = recording
        self._steps: list[int] = []
        self._moves: list[Floats] = []
        self._gradients: list[Floats] = []
        self._h: dict[str, list[Floats]] = {name: [] for name in self._means}

    def add(self, frame: Frame) -> None:
        """Takes a step, if it is one update after the step before and all is there."""
        last = frame.before("W")
        if last is None or frame.step != last.step + 1 or not all(name in frame for name in self.needs):
            return
        rows, moved = frame.rows("W").dead, frame.moved("W")
        if not len(rows) or moved is None:
            return
        old, new = last.dead("W"), frame.dead("W")
        some = moved[rows]
        move = np.subtract(new[some], old[some], dtype=np.float64).sum(axis=0) / len(rows)
        self._steps.append(frame.step)
        self._moves.append(move)
        for name in self._means:
            self._h[name].append(frame.values(name).astype(np.float64))
        if self._has_gradient:
            self._gradients.append(frame.dead("grad").mean(axis=0, dtype=np.float64))

    def result(self) -> Alignment:
        """The cosines.

        Raises:
            RecordingError: there is no single update whose displacement and h_mean were both recorded.
        """
        if not self._steps:
            raise RecordingError(
                f"{self._recording.name}: no update of a dead token has W before and after it and h_mean",
                hint='train again with W and h_mean recorded at every step (record.every "1")',
            )
        moves = np.stack(self._moves)
        h = {name: np.stack(values) for name, values in self._h.items()}
        gradients = np.stack(self._gradients) if self._has_gradient else None
        optimizer = self._recording.config.get("optimizer")
        kind = optimizer.get("kind") if isinstance(optimizer, Mapping) else None
        return Alignment(
            np.array(self._steps, np.int64),
            {} if gradients is None else {name: cosines(gradients, mean) for name, mean in h.items()},
            {name: cosines(moves, -mean) for name, mean in h.items()},
            None if gradients is None else cosines(moves, -gradients),
            None if gradients is None else diagonality(gradients),
            diagonality(moves),
            str(kind) if kind is not None else None,
            "" if self._has_gradient else "the gradient's own direction, before the optimizer: record grad",
        )


def analyse_alignment(recording: Recording) -> Alignment:
    """How the dead cloud's gradient and its steps lie to the mean hidden state.

    Raises:
        RecordingError: W or h_mean was not recorded, or not at consecutive steps, or of no dead token.
    """
    found = AlignmentPass(recording)
    run_passes(recording, [found])
    return found.result()
