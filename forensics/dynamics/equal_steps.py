"""Dimension or time: gradients and centroids of several runs at equal steps, and which of the two moves them more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.result import Dynamics

STEPS = (1, 2, 5, 10, 12, 20, 50, 100)
"""1 and 12 are the steps at which the founding runs took 6.3 (D = 128) and 4,810 (D = 2,560)."""

NEEDS = ("grad_norm_live", "grad_norm_dead", "coherence", "angle_deg")


@dataclass(frozen=True, slots=True, eq=False)
class EqualSteps:
    """Three figures by group of runs and step, nan where undefined.

    Attributes:
        steps: ``int64[k]``, those of `STEPS` that every run recorded.
        dims: D of each group.
        ratio: ``float64[groups, k]``, mean L2 norm of live gradient rows over that of dead ones; geometric mean over
            seeds.
        coherence: ``float64[groups, k]``, mean cosine between two dead gradient rows; mean over seeds.
        angle_deg: ``float64[groups, k]``, between dead and live centroid after the step; mean over seeds.
    """

    steps: NDArray[np.int64]
    dims: tuple[int | None, ...]
    ratio: NDArray[np.float64]
    coherence: NDArray[np.float64]
    angle_deg: NDArray[np.float64]

    @property
    def shares(self) -> tuple[float, float, float] | None:
        """Shares of the variation of log ratio between runs, between steps, and of what is neither.

        Two-way analysis of variance without repetition (Fisher 1925): sums of squares of group means, of step means
        and of the rest, over their total. None where there are fewer than two of either, or no variation.
        """
        with np.errstate(all="ignore"):
            logs = np.log(self.ratio)
        if min(logs.shape) < 2 or not np.isfinite(logs).all():
            return None
        centred = logs - logs.mean()
        runs, steps = centred.mean(axis=1, keepdims=True), centred.mean(axis=0, keepdims=True)
        total = float((centred**2).sum())
        if total == 0:
            return None
        by_run, by_step = (float((np.broadcast_to(part, logs.shape) ** 2).sum()) / total for part in (runs, steps))
        return by_run, by_step, max(0.0, 1 - by_run - by_step)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        shares = self.shares
        return {
            "steps": self.steps.tolist(),
            "dims": list(self.dims),
            **{name: _plain(getattr(self, name)) for name in ("ratio", "coherence", "angle_deg")},
            "log_ratio_shares": None if shares is None else dict(zip(("runs", "steps", "rest"), shares, strict=True)),
        }


def at_equal_steps(groups: Sequence[Sequence[Dynamics]]) -> EqualSteps | None:
    """The figures of each group; None where a run has no summaries or no step of `STEPS` is in all."""
    runs = [run for members in groups for run in members]
    if any(name not in run.recorded for run in runs for name in NEEDS):
        return None
    common = set(STEPS).intersection(*(run.recorded[name][0].tolist() for run in runs for name in NEEDS))
    if not common:
        return None
    steps = np.array(sorted(common), np.int64)
    with np.errstate(all="ignore"):
        ratio = [
            np.mean([np.log(_at(r, NEEDS[0], steps) / _at(r, NEEDS[1], steps)) for r in g], axis=0) for g in groups
        ]
        others = [np.stack([np.mean([_at(r, name, steps) for r in g], axis=0) for g in groups]) for name in NEEDS[2:]]
    dims = tuple(members[0].dim for members in groups)
    return EqualSteps(steps, dims, np.exp(np.stack(ratio)), *others)


def _at(run: Dynamics, name: str, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    recorded, values = run.recorded[name]
    return values[np.searchsorted(recorded, steps)].astype(np.float64)


def _plain(table: NDArray[np.float64]) -> list[list[float | None]]:
    return [[float(x) if np.isfinite(x) else None for x in row] for row in table]
