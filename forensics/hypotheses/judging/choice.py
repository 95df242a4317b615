"""Weights between the classes that stand, and how often such a choice errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.hypotheses.judging.distance import Floats, Frame
from forensics.hypotheses.observables.observable import Observable

NEAREST = 50
"""Simulations that are counted for the weights, at least: the standard error of a weight is then up to 0.07."""

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
    """Simulations of the classes that stand, as many of each, in one frame; the rejected have no part in it.

    Attributes:
        columns: ``int64[used]``, the statistics that each of its hypotheses defines at least once.
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
    def gather(
        cls, values: Mapping[str, Floats], classes: Sequence[Sequence[str]], observables: Sequence[Observable]
    ) -> Pool:
        """The pool of hypotheses' simulations.

        Args:
            values: by hypothesis, ``float64[n, observables]``, nan where undefined; others are ignored.
            classes: the hypotheses that stand, by class; those of one class give alike.
            observables: one a column.
        """
        size = min(LARGEST, *(len(names) * len(values[name]) for names in classes for name in names))
        taken, of = [], []
        for i, names in enumerate(classes):
            # Drawn alike from all members: the k-th of each, k from 0.
            parts = np.stack([values[name][: -(-size // len(names))] for name in names], axis=1)
            taken.append(parts.reshape(-1, len(observables))[:size])
            of.append(np.full(size, i, np.int64))
        defined = [np.isfinite(values[name]).any(axis=0) for names in classes for name in names]
        columns = np.flatnonzero(np.all(defined, axis=0))
        pooled = np.concatenate(taken)[:, columns]
        frame = Frame.of(pooled, [observables[j] for j in columns.tolist()])
        return cls(columns, frame, frame.points(pooled), np.concatenate(of), len(classes))

    def weights(self, values: Floats) -> Floats:
        """Shares of the classes among the nearest simulations, ``float64[t, classes]``.

        Args:
            values: ``float64[t, observables]``.
        """
        points = self.frame.points(values[:, self.columns])
        return np.concatenate([self._shares(points[i : i + _HEIGHT])[0] for i in range(0, len(points), _HEIGHT)])

    def choice(self, values: Floats, names: Sequence[str]) -> Choice:
        """The weights of one observation, ``float64[1, observables]``, by name, and the error of such a choice."""
        wrong = np.empty(len(self.of), bool)
        for start in range(0, len(self.of), _HEIGHT):
            own = np.arange(start, min(start + _HEIGHT, len(self.of)))
            wrong[own] = self._shares(self.points[own], own)[0].argmax(axis=1) != self.of[own]
        shares, close = self._shares(self.frame.points(values[:, self.columns]))
        weights = dict(zip(names, shares[0].tolist(), strict=True))
        return Choice(weights, int(close.sum()), float(wrong.mean()), float(wrong[close[0]].mean()), len(self.of))

    def _shares(self, points: Floats, own: NDArray[np.int64] | None = None) -> tuple[Floats, NDArray[np.bool_]]:
        """Class shares among the nearest simulations, and which those are.

        Args:
            points: ``float64[t, k]``.
            own: ``int64[t]``, the place of each point in the pool: it is not its own neighbour.

        Returns:
            ``float64[t, classes]`` and ``bool[t, n]``. All that are as near as the last of NEAREST count: of
            simulations that are one point, an order among equals would otherwise decide.
        """
        from scipy.spatial.distance import cdist

        squared: Floats = cdist(points, self.points, "sqeuclidean")
        if own is not None:
            squared[np.arange(len(own)), own] = np.inf
        count = min(NEAREST, len(self.of) - 1)
        reach = np.partition(squared, count - 1, axis=1)[:, count - 1]
        close = squared <= reach[:, np.newaxis] + _SAME
        of = (self.of[:, np.newaxis] == np.arange(self.classes)).astype(np.float64)
        return close @ of / close.sum(axis=1, keepdims=True), close
