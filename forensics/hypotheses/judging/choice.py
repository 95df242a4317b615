"""Weights between the classes that stand, and how often such a choice errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.hypotheses.judging.classes import Classes
from forensics.hypotheses.judging.distance import Floats, Frame
from forensics.hypotheses.observables.observable import Observable

NEAREST = 50
"""Simulations that are counted for the weights, at least: a weight is known to a few hundredths."""

LARGEST = 1000
"""Simulations of a class in the pool, at most."""

_SAME = 1e-12
"""Squared coordinates: rounding of sums, a millionth of a spread."""

_HEIGHT = 512


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Weights between the classes that are not rejected, never without the error of choosing by them.

    Attributes:
        weights: by class, the share of the simulations nearest to the observation; each class has as many in the pool.
        nearest: how many those are: 50, and all that are as near as the last of them.
        error: share of the pool's simulations that would be given to another class than their own, each left out.
        error_near: the same over the simulations nearest to the observation.
        n: simulations in the pool.
    """

    weights: Mapping[str, float]
    nearest: int
    error: float
    error_near: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "weights"} | {
            "weights": dict(self.weights)
        }


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Simulations of all classes, as many of each, in one frame.

    Attributes:
        columns: ``int64[used]``, the statistics that every hypothesis defines at least once.
        frame: over the whole pool.
        points: ``float64[n, k]``.
        of: ``int64[n]``, the class of each.
        classes: how many.
    """

    columns: NDArray[np.int64]
    frame: Frame
    points: Floats
    of: NDArray[np.int64]
    classes: int

    @classmethod
    def gather(cls, values: Mapping[str, Floats], classes: Classes, observables: Sequence[Observable]) -> Pool:
        """The pool of hypotheses' simulations.

        Args:
            values: by hypothesis, ``float64[n, observables]``, nan where undefined.
            classes: of these hypotheses; a class's members give alike.
            observables: one a column.
        """
        size = min(LARGEST, *(len(names) * len(values[name]) for names in classes.members for name in names))
        taken, of = [], []
        for i, names in enumerate(classes.members):
            # Drawn alike from all members: the k-th of each, k from 0.
            parts = np.stack([values[name][: -(-size // len(names))] for name in names], axis=1)
            taken.append(parts.reshape(-1, len(observables))[:size])
            of.append(np.full(size, i, np.int64))
        columns = np.flatnonzero(np.all([np.isfinite(v).any(axis=0) for v in values.values()], axis=0))
        pooled = np.concatenate(taken)[:, columns]
        frame = Frame.of(pooled, [observables[j] for j in columns.tolist()])
        return cls(columns, frame, frame.points(pooled), np.concatenate(of), len(classes.members))

    def weights(self, values: Floats, standing: NDArray[np.bool_]) -> Floats:
        """Shares of the classes among the nearest simulations.

        Args:
            values: ``float64[t, observables]``.
            standing: ``bool[classes]``, the classes that count; one at least.

        Returns:
            ``float64[t, classes]``; 0 for those that do not count.
        """
        inside = np.flatnonzero(standing[self.of])
        points = self.frame.points(values[:, self.columns])
        parts = [self._shares(inside, points[i : i + _HEIGHT], None)[0] for i in range(0, len(points), _HEIGHT)]
        return np.concatenate(parts)

    def choice(self, values: Floats, standing: NDArray[np.bool_], names: Sequence[str]) -> Choice:
        """The weights of one observation, ``float64[1, observables]``, beside the error of choosing by them."""
        inside = np.flatnonzero(standing[self.of])
        of = self.of[inside]
        wrong = np.empty(len(inside), bool)
        for start in range(0, len(inside), _HEIGHT):
            own = np.arange(start, min(start + _HEIGHT, len(inside)))
            wrong[own] = self._shares(inside, self.points[inside[own]], own)[0].argmax(axis=1) != of[own]
        shares, close = self._shares(inside, self.frame.points(values[:, self.columns]), None)
        weights = {names[i]: float(shares[0, i]) for i in np.flatnonzero(standing).tolist()}
        return Choice(weights, int(close.sum()), float(wrong.mean()), float(wrong[close[0]].mean()), len(inside))

    def _shares(
        self, inside: NDArray[np.int64], points: Floats, own: NDArray[np.int64] | None
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Class shares among the nearest of the simulations ``inside``, and which those are.

        Args:
            inside: ``int64[m]``.
            points: ``float64[t, k]``.
            own: ``int64[t]``, the place of each point in ``inside``: it is not its own neighbour.

        Returns:
            ``float64[t, classes]`` and ``bool[t, m]``. All that are as near as the last of NEAREST count: of
            simulations that are one point, an order among equals would otherwise decide.
        """
        from scipy.spatial.distance import cdist

        squared: Floats = cdist(points, self.points[inside], "sqeuclidean")
        if own is not None:
            squared[np.arange(len(own)), own] = np.inf
        count = min(NEAREST, len(inside) - 1)
        reach = np.partition(squared, count - 1, axis=1)[:, count - 1]
        close = squared <= reach[:, np.newaxis] + _SAME
        of = (self.of[inside][:, np.newaxis] == np.arange(self.classes)).astype(np.float64)
        return close @ of / close.sum(axis=1, keepdims=True), close
