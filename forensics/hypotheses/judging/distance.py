"""Simulations as points: their statistics on the scales of the observables, and which points lie nearest.

That a statistic is defined or not is itself a statistic: two clouds without holes have no extent between holes, and
a cloud with two is unlike them. What no simulation of a hypothesis yields, it does not predict, and is not judged by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.hypotheses.observables.observable import Observable

Floats = NDArray[np.float64]

DEFINED_RESOLUTION = 0.01
"""Of being defined, 0 or 1: far below a step, so that it is seen, and above rounding."""

_CHUNK = 1 << 24
"""Distances held at a time: 128 MiB."""


def statistics(records: Sequence[Mapping[str, float | None]], observables: Sequence[Observable]) -> Floats:
    """Observables of some clouds on the scales of their transforms, ``float64[n, observables]``; undefined is nan."""
    found = [[o.transformed(record.get(o.name)) for o in observables] for record in records]
    values = np.array(found, np.float64).reshape(len(records), len(observables))
    values[~np.isfinite(values)] = np.nan
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """How statistics become coordinates: what simulations say of each statistic's spread, and of where it is defined.

    A coordinate is a statistic less its mean over the square root of its variance plus its resolution squared; an
    undefined one counts as the mean. Statistics that are defined in the same simulations share one more coordinate:
    whether all of them are (of an observation with some of them, a mean would lie between the two kinds).

    Attributes:
        kept: ``int64[k]``, the statistics that some simulation defines.
        group: ``int64[k]``, which of them are defined together.
        mean: ``float64[k + groups]``.
        scale: ``float64[k + groups]``, above 0.
        resolution: ``float64[k + groups]``, in coordinates; at most 1.
    """

    kept: NDArray[np.int64]
    group: NDArray[np.int64]
    mean: Floats
    scale: Floats
    resolution: Floats

    @classmethod
    def of(cls, values: Floats, observables: Sequence[Observable]) -> Frame:
        """The frame of simulations.

        Args:
            values: ``float64[n, observables]``, nan where undefined; n at least 1.
            observables: one a column.
        """
        defined = np.isfinite(values)
        kept = np.flatnonzero(defined.any(axis=0))
        _, group = np.unique(defined[:, kept], axis=1, return_inverse=True)
        group = group.reshape(-1).astype(np.int64)
        groups = int(group.max()) + 1 if len(kept) else 0
        resolution = np.array([observables[j].resolution for j in kept.tolist()] + [DEFINED_RESOLUTION] * groups)
        raw = _with_defined(values[:, kept], group)
        mean = np.array([np.mean(column[np.isfinite(column)]) for column in raw.T])
        variance = np.array([np.var(column[np.isfinite(column)]) for column in raw.T])
        scale = np.sqrt(variance + resolution**2)
        return cls(kept, group, mean, scale, resolution / scale)

    def points(self, values: Floats) -> Floats:
        """Coordinates of some clouds' statistics, ``float64[n, k + groups]``."""
        raw = (_with_defined(values[:, self.kept], self.group) - self.mean) / self.scale
        raw[np.isnan(raw)] = 0
        return raw


def _with_defined(values: Floats, group: NDArray[np.int64]) -> Floats:
    defined = np.isfinite(values)
    whole = [defined[:, group == g].all(axis=1) for g in range(int(group.max()) + 1 if len(group) else 0)]
    return np.column_stack([values, *whole])


def nearest(points: Floats, among: Floats, count: int, *, same: bool = False) -> tuple[NDArray[np.int64], Floats]:
    """The nearest points by Euclidean distance, nearest first.

    Args:
        points: ``float64[n, k]``.
        among: ``float64[m, k]``.
        count: how many; at most m, or m - 1 if ``same``.
        same: ``points`` is ``among``, and a point is not its own neighbour.

    Returns:
        ``int64[n, count]`` rows of ``among``, and ``float64[n, count]`` squared distances.
    """
    from scipy.spatial.distance import cdist

    index, reach = np.empty((len(points), count), np.int64), np.empty((len(points), count))
    height = max(1, _CHUNK // max(1, len(among)))
    for start in range(0, len(points), height):
        squared: Floats = cdist(points[start : start + height], among, "sqeuclidean")
        if same:
            own = np.arange(len(squared))
            squared[own, start + own] = np.inf
        found = np.argpartition(squared, count - 1, axis=1)[:, :count]
        away = np.take_along_axis(squared, found, axis=1)
        order = np.argsort(away, axis=1, kind="stable")
        rows = slice(start, start + len(squared))
        index[rows] = np.take_along_axis(found, order, axis=1)
        reach[rows] = np.take_along_axis(away, order, axis=1)
    return index, reach
