"""Where the clouds of dead and of live tokens go as a whole, and how wide they are, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.course import (
    Course,
    Floats,
    at_ends,
    cosines,
    course_measures,
    course_series,
    defined,
    diagonality,
    median,
)
from forensics.dynamics.stream import Frame, run_passes
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """The drift of the dead cloud, beside the live one.

    Attributes:
        dead: of the recorded dead tokens.
        live: of the recorded live tokens; None where none was recorded.
    """

    dead: Course
    live: Course | None

    @property
    def steps(self) -> NDArray[np.int64]:
        """``int64[T]``."""
        return self.dead.steps

    @property
    def separation(self) -> Floats | None:
        """``float64[T]``, distance between the dead and the live centroid."""
        return (
            None if self.live is None else np.asarray(np.linalg.norm(self.dead.centroid - self.live.centroid, axis=1))
        )

    @property
    def separation_ratio(self) -> Floats | None:
        """``float64[T]``, `separation` over that of the first recorded step."""
        distance = self.separation
        if distance is None:
            return None
        return distance / distance[0] if distance[0] else np.full(len(distance), np.nan)

    @property
    def angle(self) -> Floats | None:
        """``float64[T]``, degrees between the dead and the live centroid as seen from the origin."""
        if self.live is None:
            return None
        return np.degrees(np.arccos(cosines(self.dead.centroid, self.live.centroid)))

    @property
    def diagonality(self) -> Floats:
        """``float64[T - 1]``: see `diagonality` of the module, of each displacement of the dead centroid."""
        return diagonality(self.dead.moves)

    @property
    def net_diagonality(self) -> float:
        """The same of the net displacement; nan at rest."""
        return float(diagonality((self.dead.centroid[-1] - self.dead.centroid[0])[None])[0])

    @property
    def series(self) -> Mapping[str, Floats]:
        """Figures of each recorded step, ``float64[T]``; those of a displacement stand at its end, nan at the first."""
        found = {f"dead_{name}": values for name, values in course_series(self.dead).items()}
        found["dead_diagonality"] = at_ends(self.diagonality)
        if self.live is not None:
            found |= {f"live_{name}": values for name, values in course_series(self.live).items()}
        extra = {"separation": self.separation, "separation_ratio": self.separation_ratio, "angle_deg": self.angle}
        return found | {name: values for name, values in extra.items() if values is not None}

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of the whole run."""
        between = ("dead against live", _BETWEEN)
        found = course_measures("dead", self.dead) + ([] if self.live is None else course_measures("live", self.live))
        for name, series, unit in (
            ("separation ratio at the end", self.separation_ratio, "ratio"),
            ("angle at the start", None if self.angle is None else self.angle[:1], "degrees"),
            ("angle at the end", self.angle, "degrees"),
        ):
            if series is not None:
                found.append(Measure(name, defined(series[-1]), unit, *between))
        diagonal = median(self.diagonality)
        found += [
            Measure("diagonality of a step, median", diagonal, "ratio", "dead", _DIAGONALITY),
            Measure(
                "diagonality of the net displacement", defined(self.net_diagonality), "ratio", "dead", _DIAGONALITY
            ),
        ]
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The figures of each step at the first, the last, and in equal ratios between; undefined is None."""
        last = len(self.steps) - 1
        at = np.unique([0, *np.geomspace(1, last, 24).round().astype(int)] if last else [0])
        some = {name: [defined(value) for value in values[at]] for name, values in self.series.items()}
        return {"dead_tokens": self.dead.n_tokens, "steps": self.steps[at].tolist(), **some}


_BETWEEN = "distance (ratio to the first recorded step) and angle at the origin between the two mean rows"
_DIAGONALITY = (
    "L2 / L1 of the centroid's displacement over 1/sqrt(D): 1 with all coordinates of one size, "
    "sqrt(pi/2) = 1.25 for a random direction, sqrt(D) along one axis"
)


@dataclass(slots=True)
class _Open:
    """A course as it grows."""

    centroid: list[Floats] = field(default_factory=list)
    radii: list[tuple[float, float, float]] = field(default_factory=list)
    n_tokens: int = 0

    def add(self, rows: NDArray[Any]) -> None:
        self.n_tokens = len(rows)
        if not np.isfinite(rows).all():
            self.centroid.append(np.full(rows.shape[1], np.nan))
            self.radii.append((np.nan, np.nan, np.nan))
            return
        centre = rows.mean(axis=0, dtype=np.float64)
        distance = np.linalg.norm(rows - centre, axis=1)
        origin = np.linalg.norm(rows.astype(np.float64), axis=1)
        self.centroid.append(centre)
        self.radii.append((float(distance.mean()), float(distance.max()), float(origin.mean())))

    def repeat(self) -> None:
        self.centroid.append(self.centroid[-1])
        self.radii.append(self.radii[-1])

    def close(self, steps: NDArray[np.int64]) -> Course:
        mean, largest, origin = np.array(self.radii).T
        return Course(steps, np.stack(self.centroid), mean, largest, origin, self.n_tokens)


class DriftPass:
    """Takes the centroid and the radii of both clouds at each recorded step of W."""

    needs = ("W",)

    def __init__(self, recording: Recording) -> None:
        self._name = recording.name
        self._steps: list[int] = []
        self._dead, self._live = _Open(), _Open()

    def add(self, frame: Frame) -> None:
        """Takes a step."""
        if "W" not in frame:
            return
        self._steps.append(frame.step)
        moved = frame.moved("W")
        for cloud, rows, which in (
            (self._dead, frame.rows("W").dead, frame.dead),
            (self._live, frame.rows("W").live, frame.live),
        ):
            if moved is not None and len(rows) and not moved[rows].any():
                cloud.repeat()
            elif len(rows):
                cloud.add(which("W"))

    def result(self) -> Drift:
        """The drift.

        Raises:
            RecordingError: no row of a dead token was recorded.
        """
        if not self._dead.n_tokens:
            raise RecordingError(f"{self._name}: no row of a dead token was recorded, so nothing drifts")
        steps = np.array(self._steps, np.int64)
        return Drift(self._dead.close(steps), self._live.close(steps) if self._live.n_tokens else None)


def analyse_drift(recording: Recording) -> Drift:
    """Where the dead and the live cloud go.

    Raises:
        RecordingError: W was not recorded, or of no dead token.
    """
    found = DriftPass(recording)
    run_passes(recording, [found])
    return found.result()
