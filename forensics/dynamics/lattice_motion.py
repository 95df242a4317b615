"""The census of motion on the lattice: how many tokens are in which regime at each step, and how far they go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.moves import Floats, Moves, moves_of, words_format
from forensics.dynamics.plain import listed, number
from forensics.dynamics.stream import Frame, rows_of, run_passes
from forensics.measures import Measure
from forensics.recording import Recording

REGIMES = ("far", "several", "adjacent", "hop", "frozen")
"""What a token does in a step; see `classify_moves`."""

DEFINITIONS: Mapping[str, str] = {
    "far": "L2 > sqrt(D) ulp of the start, or not finite",
    "several": "L-infinity > 1 ulp, L2 <= sqrt(D)",
    "adjacent": "L-infinity <= 1 ulp, more than one ordinal step in all",
    "hop": "one coordinate goes to the neighbouring value: one ordinal step in all",
    "frozen": "no value changes in this interval; it may move again",
}

QUANTILES = (0.5, 0.9, 1.0)
"""Of tokens; a mean would be made by the few coordinates that lie near zero."""

_LENGTHS = ("l2_ulp", "linf_ulp", "l1_ordinals")


def classify_moves(moves: Moves) -> NDArray[np.int8]:
    """The regime of each changed row, an index into `REGIMES`, ``int8[k]``.

    Asked in this order: frozen, far, one hop, several, adjacent.
    """
    codes = np.where(moves.linf > 1, 1, 2).astype(np.int8)
    codes[moves.ordinals == 1] = 3
    codes[~(moves.l2 <= np.sqrt(moves.dim))] = 0  # nan, too
    codes[~moves.moving] = 4
    return codes


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """The motion of some tokens, a row for each interval between recorded steps.

    Attributes:
        tokens: how many.
        regimes: ``int64[n, 5]``, tokens in each of `REGIMES`.
        lengths: ``float64[n, 3]`` by name: the `QUANTILES` over tokens, still ones as 0.
        coordinates: ``float64[n]``, share of all coordinates that moved.
        crossing: ``float64[n]``, share of the moved coordinates that changed binade; nan where none moved.
    """

    tokens: int
    regimes: NDArray[np.int64]
    lengths: Mapping[str, Floats]
    coordinates: Floats
    crossing: Floats

    def share(self, regime: str) -> Floats:
        """``float64[n]``, share of the tokens in a regime."""
        return self.regimes[:, REGIMES.index(regime)] / self.tokens


@dataclass(frozen=True, slots=True, eq=False)
class LatticeMotion:
    """Motion on the lattice.

    Attributes:
        steps: ``int64[T]``, the recorded steps.
        format: of the stored words, whose lattice it is.
        dead: census of the recorded dead tokens; None where none is recorded.
        live: of the live ones.
    """

    steps: NDArray[np.int64]
    format: str
    dead: Census | None
    live: Census | None

    @property
    def intervals(self) -> NDArray[np.int64]:
        """``int64[T - 1]``, steps from one recorded step to the next: a move over many is no single update's."""
        return np.diff(self.steps)

    @property
    def series(self) -> Mapping[str, Floats]:
        """Figures ``float64[T]``; those of an interval stand at its end, nan at the first step."""
        found: dict[str, Floats] = {}
        for name, census in self._groups():
            found |= {f"{name}_{regime}": census.share(regime) for regime in REGIMES}
            for length, values in census.lengths.items():
                found |= {f"{name}_{length}_{_NAMES[i]}": values[:, i] for i in range(len(QUANTILES))}
            found[f"{name}_coordinates"] = census.coordinates
            found[f"{name}_crossing"] = census.crossing
        return {name: np.concatenate(([np.nan], values)) for name, values in found.items()}

    @property
    def measures(self) -> tuple[Measure, ...]:
        """When each regime was last seen, what the tokens do at the end, and how local the ulp is."""
        found = []
        for name, census in self._groups():
            for i, regime in enumerate(REGIMES[:-1]):
                seen = np.flatnonzero(census.regimes[:, i])
                last = int(self.steps[seen[-1] + 1]) if len(seen) else None
                found.append(
                    Measure(f"last {regime}", last, "step", name, f"last step with a token: {DEFINITIONS[regime]}")
                )
            still = float(census.share("frozen")[-1])
            found.append(Measure("unmoved in the last interval", still, "share", name, DEFINITIONS["frozen"]))
            moved = census.coordinates > 0
            crossing = np.average(census.crossing[moved], weights=census.coordinates[moved]) if moved.any() else np.nan
            found.append(Measure("binade crossings", number(crossing), "share", name, _CROSSING))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The census at the first and last step and in equal ratios between."""
        n = len(self.steps) - 1
        at = np.unique(np.geomspace(1, n, 24).round().astype(int))
        groups: dict[str, Any] = {"dead": None, "live": None}
        for name, census in self._groups():
            groups[name] = {
                "tokens": census.tokens,
                "regimes": census.regimes[at - 1].tolist(),
                **{length: [listed(row) for row in values[at - 1]] for length, values in census.lengths.items()},
                "coordinates": listed(census.coordinates[at - 1]),
                "crossing": listed(census.crossing[at - 1]),
            }
        return {
            "format": self.format,
            "every_step": bool((self.intervals == 1).all()),
            "regimes": [{"name": name, "definition": DEFINITIONS[name]} for name in REGIMES],
            "quantiles": list(QUANTILES),
            "steps": self.steps[at].tolist(),
            "intervals": self.intervals[at - 1].tolist(),
            **groups,
        }

    def _groups(self) -> list[tuple[str, Census]]:
        return [(name, census) for name, census in (("dead", self.dead), ("live", self.live)) if census is not None]


_NAMES = ("median", "p90", "max")
_CROSSING = (
    "of the moved coordinates of all intervals, those whose displacement in ulp is not their ordinal difference: "
    "start and end lie in different binades"
)


class LatticeMotionPass:
    """Takes the census at each recorded step of W."""

    needs = ("W",)

    def __init__(self, recording: Recording) -> None:
        self._format = words_format(recording)
        rows = rows_of(recording)
        self._steps: list[int] = []
        self._dead, self._live = _Open(rows.dead), _Open(rows.live)

    def add(self, frame: Frame) -> None:
        """Takes a step."""
        if "W" not in frame:
            return
        self._steps.append(frame.step)
        moves = moves_of(frame, self._format)
        if moves is not None:
            self._dead.add(moves)
            self._live.add(moves)

    def result(self) -> LatticeMotion:
        """The census."""
        steps = np.array(self._steps, np.int64)
        return LatticeMotion(steps, self._format.name, self._dead.close(), self._live.close())


class _Open:
    """A census as it grows."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows = rows
        self._regimes: list[NDArray[np.int64]] = []
        self._lengths: list[NDArray[np.float64]] = []
        self._coordinates: list[tuple[float, float]] = []

    def add(self, moves: Moves) -> None:
        rows = self._rows
        if not len(rows):
            return
        codes = np.full(moves.n_rows, REGIMES.index("frozen"), np.int8)
        codes[moves.rows] = classify_moves(moves)
        self._regimes.append(np.bincount(codes[rows], minlength=len(REGIMES)))
        lengths = [moves.spread(x)[rows] for x in (moves.l2, moves.linf, moves.ordinals)]
        with np.errstate(invalid="ignore"):  # infinities of a run that diverged
            self._lengths.append(np.quantile(np.stack(lengths), QUANTILES, axis=1).T)
        moved = int(moves.spread(moves.coordinates)[rows].sum())
        crossing = int(moves.spread(moves.crossing)[rows].sum())
        self._coordinates.append((moved / (len(rows) * moves.dim), crossing / moved if moved else np.nan))

    def close(self) -> Census | None:
        if not self._regimes:
            return None
        lengths = np.stack(self._lengths)
        coordinates, crossing = np.array(self._coordinates).T
        by_name = {name: lengths[:, i] for i, name in enumerate(_LENGTHS)}
        return Census(len(self._rows), np.stack(self._regimes), by_name, coordinates, crossing)


def analyse_lattice_motion(recording: Recording) -> LatticeMotion:
    """The census of motion on the lattice.

    Raises:
        RecordingError: W was not recorded, holds no words, or at one step alone.
    """
    found = LatticeMotionPass(recording)
    run_passes(recording, [found])
    return found.result()
