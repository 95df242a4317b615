"""Windows of steps, and the modes of motion over each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.course import Floats, defined
from forensics.dynamics.modes import LINEAR, PARTS, Modes, bootstrap_shares, fit_modes
from forensics.dynamics.velocity import Window


@dataclass(frozen=True, slots=True, eq=False)
class WindowModes:
    """The modes of the displacement over a window of steps.

    Attributes:
        first, last: steps; the displacement is W[last] - W[first].
        modes: its parts.
        interval: ``float64[2, 6]``, 95 % bootstrap interval of the shares over tokens.
        thermal_interval: ``float64[2, 5]``, that of the shares without translation.
    """

    first: int
    last: int
    modes: Modes
    interval: Floats
    thermal_interval: Floats

    @classmethod
    def fit(cls, first: int, last: int, before: NDArray[Any], after: NDArray[Any]) -> WindowModes:
        """Splits the displacement of rows ``[n, D]`` between two steps."""
        modes = fit_modes(before, after)
        each = modes.contributions
        return cls(first, last, modes, bootstrap_shares(each), bootstrap_shares(each[:, 1:]))

    def to_dict(self) -> dict[str, Any]:
        """The shares by part; undefined is None."""
        found = self.modes
        parts = {
            name: {
                "share": defined(found.shares[i]),
                "low": defined(self.interval[0, i]),
                "high": defined(self.interval[1, i]),
                "by_chance": defined(found.chance[i]),
                "excess": defined(found.excess[i]) if i < LINEAR else None,
            }
            for i, name in enumerate(PARTS)
        }
        for i, name in enumerate(PARTS[1:]):
            low, high = self.thermal_interval[:, i]
            thermal = {"share": defined(found.thermal_shares[i]), "low": defined(low), "high": defined(high)}
            parts[name] |= {f"thermal_{key}": value for key, value in thermal.items()}
        size = defined(found.energy.sum())
        return {"from": self.first, "to": self.last, "sum_of_squares": size, "rank": found.rank, "parts": parts}


def windows_of(steps: NDArray[np.int64]) -> tuple[Window, ...]:
    """Decades of steps, 0 to 1, 1 to 10, 10 to 100 and so on, each from and to a recorded step; last, the whole."""
    first, last = int(steps[0]), int(steps[-1])
    decades = [10**k for k in range(19) if first < 10**k < last]
    edges = [first, *(int(steps[np.searchsorted(steps, edge)]) for edge in decades), last]
    edges = sorted(set(edges))
    parts = list(pairwise(edges))
    return tuple(parts if len(parts) == 1 else [*parts, (first, last)])
