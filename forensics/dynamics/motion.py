"""What kind of motion the dead cloud makes: its modes, bulk against thermal, and how long velocities are remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.course import Floats, defined
from forensics.dynamics.modes import PARTS, chance_shares, fit_modes
from forensics.dynamics.stream import Frame, rows_of, run_passes
from forensics.dynamics.velocity import Autocorrelation, Velocities
from forensics.dynamics.windows import WindowModes, windows_of
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording

INTERVALS = 200
"""At how many single steps the modes are fitted, in equal ratios of step numbers."""

_FITTING = 4e10
"""Multiplications that all those fits together may take; wide models are fitted at fewer steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """The motion of the recorded dead tokens; ``T`` displacements between recorded steps.

    Attributes:
        steps: ``int64[T]``, the step that each displacement leads to.
        bulk: ``float64[T]``, length of the centroid's displacement.
        thermal: ``float64[T]``, mean length of the rows' deviations from it.
        rho_bulk: ``float64[T]``, mean cosine of a moving row's displacement with the centroid's; nan at rest.
        moved: ``float64[T]``, share of the rows that moved.
        mode_steps: ``int64[K]``, the steps (T's) at which modes were fitted.
        mode_shares: ``float64[K, 6]``, shares by `PARTS`; nan where nothing moved.
        mode_chance: ``float64[6]``, the expected shares of independent noise, for a cloud of full rank.
        windows: the modes over longer windows, the last over the whole run.
        autocorrelation: of velocities; None where no two consecutive steps were recorded.
        n_tokens: rows.
        dim: D.
    """

    steps: NDArray[np.int64]
    bulk: Floats
    thermal: Floats
    rho_bulk: Floats
    moved: Floats
    mode_steps: NDArray[np.int64]
    mode_shares: Floats
    mode_chance: Floats
    windows: tuple[WindowModes, ...]
    autocorrelation: Autocorrelation | None
    n_tokens: int
    dim: int

    @property
    def shear_ratio(self) -> float | None:
        """Mean thermal over mean bulk displacement (the founding "shear ratio"); None where the centroid rests."""
        total = float(np.nansum(self.bulk))
        return float(np.nansum(self.thermal)) / total if total else None

    @property
    def series(self) -> Mapping[str, Floats]:
        """Figures of each displacement, ``float64[T]``; shares are nan at steps where no modes were fitted."""
        found = {"bulk": self.bulk, "thermal": self.thermal, "rho_bulk": self.rho_bulk, "moved": self.moved}
        at = np.searchsorted(self.steps, self.mode_steps)
        for i, name in enumerate(PARTS):
            shares = np.full(len(self.steps), np.nan)
            shares[at] = self.mode_shares[:, i]
            found[f"share_{name}"] = shares
        return found

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The whole run's modes, bulk against thermal, and the memory of velocities."""
        whole = self.windows[-1]
        who, span = "dead", f"of W[{whole.last}] - W[{whole.first}]"
        found = []
        for i, name in enumerate(PARTS):
            part = f"{name} part {span}, nested least squares in the order {', '.join(PARTS)}"
            for label, value, what in (
                ("share", whole.modes.shares[i], f"sum of squares of the {part}"),
                ("share, low", whole.interval[0, i], "2.5 % of 1,000 bootstraps over tokens"),
                ("share, high", whole.interval[1, i], "97.5 % of 1,000 bootstraps over tokens"),
                ("share by chance", whole.modes.chance[i], "dimension of the part's fields over n D"),
            ):
                found.append(Measure(f"{name} {label}", defined(value), "share", who, what))
        for i, name in enumerate(PARTS[1:]):
            what = (
                f"the same without translation: {name} part over the sum of squares about the mean displacement {span}"
            )
            found.append(
                Measure(f"{name} share of thermal", defined(whole.modes.thermal_shares[i]), "share", who, what)
            )
        moving = "mean length of rows' deviations from the centroid's displacement over that displacement's mean length"
        found.append(Measure("thermal over bulk", self.shear_ratio, "ratio", who, f"{moving}, over recorded steps"))
        held = self.rho_bulk[np.isfinite(self.rho_bulk)]
        rho = float(held.mean()) if len(held) else None
        found.append(Measure("rho_bulk", rho, "cosine", who, "moving rows' displacement with the centroid's, mean"))
        if self.autocorrelation is not None:
            found += _memory(self.autocorrelation)
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The windows and the autocorrelation; the figures of each step are in `series`."""
        return {
            "tokens": self.n_tokens,
            "dim": self.dim,
            "parts": list(PARTS),
            "windows": [window.to_dict() for window in self.windows],
            "autocorrelation": None if self.autocorrelation is None else self.autocorrelation.to_dict(),
        }


def _memory(found: Autocorrelation) -> list[Measure]:
    a, b = found.windows[-1]
    where = f"C(k) / C(0), updates {a + 1} to {b}"
    at = {lag: defined(found.total[-1, found.lags.index(lag)]) for lag in (1, 10, 100)}
    rows = [Measure(f"velocity autocorrelation, lag {lag}", rho, "ratio", "dead", where) for lag, rho in at.items()]
    cosine = "of a row's velocity with its next, mean over rows that moved in both updates"
    return [*rows, Measure("velocity cosine, lag 1", defined(found.cosine[-1]), "cosine", "dead", cosine)]


class MotionPass:
    """Takes the dead rows' displacement between recorded steps of W.

    Raises:
        RecordingError: W was not recorded, of no dead token, or at one step only.
    """

    needs = ("W",)

    def __init__(self, recording: Recording) -> None:
        n, dim = len(rows_of(recording).dead), recording.channel("W").shape[1]
        steps = recording.steps("W")
        if not n or len(steps) < 2:
            what = "no row of a dead token was recorded" if not n else "motion is between two recorded steps"
            raise RecordingError(f"{recording.name}: {what}")
        self._n, self._dim, self._last = n, dim, int(steps[-1])
        self._windows = windows_of(steps)
        self._fit_at = set(_spread(steps[1:], _intervals(n, dim)).tolist())
        self._starts: dict[int, NDArray[Any]] = {}
        self._found: list[WindowModes] = []
        self._steps: list[int] = []
        self._figures: list[tuple[float, float, float, float]] = []
        self._shares: list[tuple[int, Floats]] = []
        consecutive = bool((np.diff(steps) == 1).any())
        self._velocities = Velocities(self._windows, n, dim) if consecutive else None

    def add(self, frame: Frame) -> None:
        """Takes a step."""
        if "W" not in frame:
            return
        rows, last = frame.dead("W"), frame.before("W")
        if last is not None:
            self._add_displacement(frame, last.dead("W"), rows, frame.step - last.step)
        self._close_windows(frame.step, rows)
        if any(first == frame.step for first, _ in self._windows):
            self._starts[frame.step] = rows.copy()

    def _add_displacement(self, frame: Frame, old: NDArray[Any], new: NDArray[Any], gap: int) -> None:
        if not (np.isfinite(old).all() and np.isfinite(new).all()):
            self._add_undefined(frame)
            return
        field = new - old  # float32: a displacement has no more digits than that
        centre = field.mean(axis=0, dtype=np.float64)
        bulk = float(np.linalg.norm(centre))
        moving = np.flatnonzero(field.any(axis=1))
        some = field[moving].astype(np.float64)
        thermal = float(np.linalg.norm(some - centre, axis=1).sum()) + (len(field) - len(moving)) * bulk
        cosine = float((some @ centre / np.linalg.norm(some, axis=1)).mean()) / bulk if bulk and len(some) else np.nan
        self._steps.append(frame.step)
        self._figures.append((bulk, thermal / len(field), cosine, len(moving) / len(field)))
        if frame.step in self._fit_at:
            shares = fit_modes(old, new).shares if len(moving) else np.full(len(PARTS), np.nan)
            self._shares.append((frame.step, shares))
        if self._velocities is not None and gap == 1:
            self._velocities.add(frame.step, field)

    def _add_undefined(self, frame: Frame) -> None:
        """A displacement from or to rows that are not finite: only how many of them moved can be told."""
        moved = frame.moved("W")
        share = float(moved[frame.rows("W").dead].mean()) if moved is not None else np.nan
        self._steps.append(frame.step)
        self._figures.append((np.nan, np.nan, np.nan, share))
        if frame.step in self._fit_at:
            self._shares.append((frame.step, np.full(len(PARTS), np.nan)))

    def _close_windows(self, step: int, rows: NDArray[Any]) -> None:
        for first, last in self._windows:
            if last == step:
                self._found.append(WindowModes.fit(first, last, self._starts[first], rows))

    def result(self) -> Motion:
        """The motion."""
        bulk, thermal, rho, moved = np.array(self._figures).T
        at = np.array([step for step, _ in self._shares], np.int64)
        return Motion(
            np.array(self._steps, np.int64),
            bulk,
            thermal,
            rho,
            moved,
            at,
            np.stack([shares for _, shares in self._shares]),
            chance_shares(self._n, self._dim),
            tuple(self._found),
            None if self._velocities is None else self._velocities.result(),
            self._n,
            self._dim,
        )


def analyse_motion(recording: Recording) -> Motion:
    """What kind of motion the dead cloud makes.

    Raises:
        RecordingError: W was not recorded, of no dead token, or at one step only.
    """
    found = MotionPass(recording)
    run_passes(recording, [found])
    return found.result()


def _intervals(n: int, dim: int) -> int:
    """At how many steps modes are fitted: three products with D x D and an eigenproblem each time."""
    return int(np.clip(_FITTING / (3 * n * dim**2 + 10 * dim**3), 8, INTERVALS))


def _spread(steps: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """About so many of the steps, in equal ratios of their number."""
    if len(steps) <= count:
        return steps
    return steps[np.unique(np.geomspace(1, len(steps), count).round().astype(np.int64)) - 1]
