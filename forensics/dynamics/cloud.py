"""The rows of dead and live tokens in one plane, at a few steps from the first to the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.stream import rows_of
from forensics.errors import RecordingError
from forensics.recording import Recording

PANELS = 8
SAMPLE = 1_500
"""Rows of each kind that are drawn, evenly spread over the ids: a picture has no room for more."""


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Rows in the plane of the dead rows' first two principal directions, which stays the same at every step.

    Attributes:
        steps: ``int64[k]``, the steps shown: the first, and then in equal ratios to the last.
        dead, live: ``float64[k, n, 2]``, the rows' coordinates along the two directions; the origin is the origin.
        dead_ids, live_ids: ``int64[n]``, whose rows.
        shares: share of the variance of the dead rows at all these steps, about their common mean, along each.
    """

    steps: NDArray[np.int64]
    dead: NDArray[np.float64]
    live: NDArray[np.float64]
    dead_ids: NDArray[np.int64]
    live_ids: NDArray[np.int64]
    shares: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Where the plane lies; the points are in the figure."""
        return {"steps": self.steps.tolist(), "variance_shares": list(self.shares), "dead_rows": self.dead.shape[1]}


def draw_cloud(recording: Recording, panels: int = PANELS) -> Cloud:
    """Takes the rows at a few steps and lays them in a plane.

    Args:
        recording: with W of at least three dead tokens.
        panels: how many steps.

    Raises:
        RecordingError: W was not recorded, or of fewer than three dead tokens or two dimensions.
    """
    rows, steps = rows_of(recording), recording.steps("W")
    channel = recording.channel("W")
    if len(rows.dead) < 3 or channel.shape[1] < 2 or not len(steps):
        raise RecordingError(f"{recording.name}: a plane needs three dead tokens of two dimensions")
    last = len(steps) - 1
    shown = np.geomspace(1, max(last, 1), panels - 1).round().astype(np.int64)
    chosen = steps[np.unique([0, *shown[shown <= last]])]
    dead, live = _spread(rows.dead), _spread(rows.live)
    frames = [channel.values(recording.frame("W", int(step))) for step in chosen]
    points = np.stack([frame[dead] for frame in frames]).astype(np.float64)
    others = np.stack([frame[live] for frame in frames]).astype(np.float64)
    # A row that is not finite at one of the steps has no place in the picture.
    dead, points = _finite(dead, points)
    live, others = _finite(live, others)
    if len(dead) < 3:
        raise RecordingError(f"{recording.name}: a plane needs three dead tokens whose rows are finite")
    plane, shares = _plane(points.reshape(-1, points.shape[-1]))
    ids = rows.token_ids
    return Cloud(chosen, points @ plane, others @ plane, ids[dead], ids[live], shares)


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64))]


def _finite(rows: NDArray[np.int64], points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    kept = np.isfinite(points).all(axis=(0, 2))
    return rows[kept], points[:, kept]


def _plane(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Principal directions ``float64[D, 2]`` about the mean, and their shares of the variance.

    A direction's sign is arbitrary; the largest entry is made positive, so that the picture is the same everywhere.
    """
    centred = points - points.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    plane: NDArray[np.float64] = vectors[:, :-3:-1]
    plane = plane * np.where(plane[np.abs(plane).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    total = float(values.sum())
    first, second = (float(v) / total if total > 0 else 0.0 for v in (values[-1], values[-2]))
    return plane, (first, max(second, 0.0))
