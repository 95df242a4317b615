"""Tracers: an ordered structure of dead tokens planted at initialisation, and its deformation afterwards.

Dead tokens are all pushed alike, so rows that start as a grid or a simplex show what the motion does to shapes: the
best linear map from the structure at the first step to the structure at a later one has as singular values the
stretches along its principal directions, and as orthogonal polar factor its rotation (Gurtin, "An Introduction to
Continuum Mechanics", 1981, section 6). What no linear map explains is the residual.

To plant, save the array of `plant_tracers` with numpy.save and train with ``initial.tokens.kind = "file"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forensics.dynamics.course import Floats, defined
from forensics.dynamics.stream import Frame, rows_of, run_passes
from forensics.errors import RecordingError, SelectionError
from forensics.formats import float_format
from forensics.measures import Measure
from forensics.recording import Recording


def plant_tracers(
    values: ArrayLike, token_ids: Sequence[int], shape: Sequence[int] | str, spacing: float, seed: int = 0
) -> NDArray[np.float32]:
    """A matrix with a structure in place of some rows.

    Args:
        values: ``[V, D]``, the matrix before.
        token_ids: whose rows are replaced, in the order of the structure's points.
        shape: sides of a grid such as (3, 3, 3), points of which run through the last axis first; or "simplex", whose
            points all have the same distance from each other.
        spacing: distance of neighbours; take it well above the ulp at the centre, or rounding deforms the structure.
        seed: of the structure's orientation in space, which is uniformly random.

    Returns:
        ``float32[V, D]``; the structure's centre is the mean of the rows that it replaces.

    Raises:
        SelectionError: ids that are not distinct rows, or that the structure has not as many points or dimensions as.
    """
    matrix = np.array(values, np.float32)
    ids = np.asarray(token_ids, np.int64)
    if (
        matrix.ndim != 2
        or ids.ndim != 1
        or len(np.unique(ids)) != len(ids)
        or not np.isin(ids, range(len(matrix))).all()
    ):
        raise SelectionError(f"tracers are distinct rows of a matrix, found {len(ids):,} ids for {list(matrix.shape)}")
    points = _simplex(len(ids)) if isinstance(shape, str) else _grid(shape)
    if (isinstance(shape, str) and shape != "simplex") or len(points) != len(ids) or points.shape[1] > matrix.shape[1]:
        raise SelectionError(
            f"{shape} has {len(points):,} points in {points.shape[1]:,} dimensions, "
            f"found {len(ids):,} ids and {matrix.shape[1]:,} dimensions",
            hint='say "simplex", or the sides of a grid whose product is the number of ids',
        )
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.standard_normal((matrix.shape[1], points.shape[1])))[0]
    matrix[ids] = matrix[ids].mean(axis=0, dtype=np.float64) + spacing * points @ frame.T
    return matrix


def _grid(sides: Sequence[int]) -> Floats:
    """Points of unit spacing about the origin, ``float64[n, k]``, the last axis first; an axis of side 1 is none."""
    axes = [np.arange(side, dtype=np.float64) - (side - 1) / 2 for side in sides if side != 1]
    if not axes:
        return np.zeros((1, 0))
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)


def _simplex(n: int) -> Floats:
    """Points of unit distance about the origin, ``float64[n, n - 1]``: the unit vectors of n axes, about their mean."""
    centred = (np.eye(n) - 1 / n) / np.sqrt(2)
    return np.asarray(centred @ np.linalg.svd(centred)[2][: n - 1].T)


@dataclass(frozen=True, slots=True, eq=False)
class Deformation:
    """What became of a structure, at each of ``T`` recorded steps.

    It spans k dimensions at the first step, by more than rounding would.

    Attributes:
        token_ids: ``int64[n]``, ascending.
        steps: ``int64[T]``.
        travel: ``float64[T]``, distance of its centre from where it was at the first step.
        stretches: ``float64[T, k]``, singular values of the best linear map, descending: 1 is unchanged.
        turn: ``float64[T]``, degrees, the largest rotation angle of the map within the space it spanned at first; nan
            where the map flattens or mirrors the structure, or turns it out of that space entirely.
        tilt: ``float64[T]``, degrees, the largest principal angle between that space and the one it spans now; nan
            where it is flattened.
        residual: ``float64[T]``, share of the structure's sum of squares that no linear map explains; 0 by
            construction where it has k + 1 points, nan where it is a point.
    """

    token_ids: NDArray[np.int64]
    steps: NDArray[np.int64]
    travel: Floats
    stretches: Floats
    turn: Floats
    tilt: Floats
    residual: Floats

    @property
    def series(self) -> Mapping[str, Floats]:
        """Figures of each step, ``float64[T]``."""
        return {
            "travel": self.travel,
            "stretch_largest": self.stretches[:, 0],
            "stretch_smallest": self.stretches[:, -1],
            "volume": self.stretches.prod(axis=1),
            "turn_deg": self.turn,
            "tilt_deg": self.tilt,
            "residual": self.residual,
        }

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures at the last step."""
        units = {"travel": "value", "turn_deg": "degrees", "tilt_deg": "degrees"}
        what = f"best linear map of the tracers from step {self.steps[0]} to {self.steps[-1]}"
        return tuple(
            Measure(
                f"{name.replace('_', ' ')} at the end", defined(values[-1]), units.get(name, "ratio"), "tracers", what
            )
            for name, values in self.series.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """The stretches at the last step, and whose."""
        stretches = [defined(value) for value in self.stretches[-1]]
        return {"token_ids": self.token_ids.tolist(), "last_step": int(self.steps[-1]), "stretches": stretches}


class TracerPass:
    """Follows a structure of tokens.

    Raises:
        RecordingError: W was not recorded, or not of these tokens.
    """

    needs = ("W",)

    def __init__(self, recording: Recording, token_ids: Sequence[int]) -> None:
        known = rows_of(recording).token_ids
        self._ids = np.unique(np.asarray(token_ids, np.int64))
        if len(self._ids) < 2 or not np.isin(self._ids, known).all():
            raise RecordingError(f"{recording.name}: tracers are two or more tokens whose W was recorded")
        self._name = recording.name
        self._rows = np.searchsorted(known, self._ids)
        self._steps: list[int] = []
        self._points: list[NDArray[Any]] = []
        self._format = recording.channel("W").format
        self._rounding = 0.0

    def add(self, frame: Frame) -> None:
        """Takes a step."""
        if "W" in frame:
            if not self._steps and self._format is not None:
                self._rounding = _rounding(float_format(self._format).ulp(frame.words("W")[self._rows]))
            self._steps.append(frame.step)
            self._points.append(frame.values("W")[self._rows])

    def result(self) -> Deformation:
        """What became of it.

        Raises:
            RecordingError: at the first step its tokens are apart by no more than rounding.
        """
        if not self._steps:
            raise RecordingError(f"{self._name}: no frame of W was recorded")
        first = self._points[0].astype(np.float64)
        centre = first.mean(axis=0)
        size, space = np.linalg.svd(first - centre, full_matrices=False)[1:]
        # A rounded structure has a little extent in every direction; a map of that would say nothing.
        space = space[size > max(self._rounding, size[0] * 1e-6)].T
        if not space.size:
            raise RecordingError(f"{self._name}: the tracers are one point at step {self._steps[0]}, but for rounding")
        start = (first - centre) @ space
        found = [_deformation(start, space, points.astype(np.float64)) for points in self._points]
        travel = [float(np.linalg.norm(points.mean(axis=0, dtype=np.float64) - centre)) for points in self._points]
        stretches = np.stack([stretches for stretches, *_ in found])
        turn, tilt, residual = np.array([rest for _, *rest in found]).T
        return Deformation(self._ids, np.array(self._steps), np.array(travel), stretches, turn, tilt, residual)


def follow_tracers(recording: Recording, token_ids: Sequence[int]) -> Deformation:
    """What became of a structure of tokens.

    Args:
        recording: with W of these tokens.
        token_ids: of the structure, in any order.

    Raises:
        RecordingError: W was not recorded of all of them, or they start as a point.
    """
    found = TracerPass(recording, token_ids)
    run_passes(recording, [found])
    return found.result()


def _rounding(ulps: Floats) -> float:
    """An extent of points ``[n, D]`` that rounding alone does not make: twice its expected largest singular value.

    Rounding errors are taken as independent with variance ulp^2 / 12, whose matrix has a largest singular value of at
    most about sqrt(n) + sqrt(D) standard deviations (Davidson & Szarek, "Local operator theory, random matrices and
    Banach spaces", 2001, theorem II.13).
    """
    n, dim = ulps.shape
    return float(2 * np.sqrt(np.square(ulps).mean() / 12) * (np.sqrt(n) + np.sqrt(dim)))


def _deformation(start: Floats, space: Floats, points: Floats) -> tuple[Floats, float, float, float]:
    """Stretches, turn, tilt and residual of points ``[n, D]`` that were at ``start [n, k]`` in ``space [D, k]``."""
    now = points - points.mean(axis=0)
    squares = float(np.square(now).sum())
    linear = np.linalg.lstsq(start, now, rcond=None)[0].T  # [D, k], acting on columns
    left, stretches, right = np.linalg.svd(linear, full_matrices=False)
    residual = float(np.square(now - start @ linear.T).sum()) / squares if squares else np.nan
    if stretches[-1] <= 1e-6 * max(stretches[0], 1e-300):
        return stretches, np.nan, np.nan, residual
    rotation = space.T @ (left @ right)
    cosine = np.linalg.svd(rotation)[1]
    tilt = float(np.degrees(np.arccos(np.clip(cosine[-1], -1, 1))))
    return stretches, _turn(rotation), tilt, residual


def _turn(inside: Floats) -> float:
    """Degrees of the largest rotation angle of the orthogonal matrix nearest to ``[k, k]``; nan where it mirrors."""
    left, size, right = np.linalg.svd(inside)
    nearest = left @ right
    if size[-1] < 1e-6 or np.linalg.det(nearest) < 0:
        return np.nan
    return float(np.degrees(np.abs(np.angle(np.linalg.eigvals(nearest))).max()))
