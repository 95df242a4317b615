"""What an observation says of a hypothesis's parameters: rejection, then regression."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.hypotheses.judging.distance import Floats
from forensics.hypotheses.sweeps.simulation import Simulation

ACCEPTED = 50
"""Simulations that are accepted, at least: the 5 % quantile of fewer rests on one or two of them."""

ACCEPTED_SHARE = 0.02

PILOT = 10
"""Simulations for the regression: so many times the coordinates, at least."""

_RIDGE = 1e-6
"""Added to the squares of coordinates of unit variance, so that constant ones have a coefficient: 0."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A parameter's posterior: the median and the central 90 %."""

    median: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """The parameters that simulations were drawn with, of those that are numbers and vary.

    Attributes:
        names: of the parameters.
        values: ``float64[n, names]``, logarithms where ``logs``.
        logs: ``bool[names]``.
    """

    names: tuple[str, ...]
    values: Floats
    logs: NDArray[np.bool_]

    @classmethod
    def of(cls, simulations: Sequence[Simulation], logarithmic: Collection[str]) -> Draws:
        """The draws of simulations; the parameters named, if above 0, are taken as logarithms."""
        first = simulations[0].parameters if simulations else {}
        plain = {}
        for name in first:
            column = [value for s in simulations if isinstance(value := s.parameters.get(name), int | float)]
            if len(column) == len(simulations) and min(column) < max(column):
                plain[name] = np.array(column, np.float64)
        logs = np.array([name in logarithmic and bool(column.min() > 0) for name, column in plain.items()], bool)
        values = [np.log(column) if log else column for log, column in zip(logs, plain.values(), strict=True)]
        return cls(tuple(plain), np.array(values).T.reshape(len(simulations), len(plain)), logs)

    def plain(self, which: int, value: float) -> float:
        """A value of one parameter on its own scale."""
        return float(np.exp(value)) if self.logs[which] else float(value)


def accepted_count(n: int) -> int:
    """How many of ``n`` simulations a rejection step accepts."""
    return min(n, max(ACCEPTED, round(ACCEPTED_SHARE * n)))


def posterior(draws: Draws, points: Floats, squared: Floats, point: Floats) -> dict[str, Interval]:
    """Posterior intervals of parameters.

    A parameter's expectation is regressed on all coordinates over the simulations nearest to the observation; those
    whose expectation lies nearest to the observation's are accepted, and each, adjusted to it, is a draw. The
    expectation is one number, so its neighbours are near however many statistics there are. Residuals are divided by
    1 - leverage, since a fit is nearest to what it was fitted to. Draws stay within the simulated range.

    Args:
        draws: of the simulations.
        points: ``float64[n, k]``, their coordinates.
        squared: ``float64[n]``, squared distances from the observation.
        point: ``float64[k]``, the observation.

    References:
        M. A. Beaumont, W. Zhang, D. J. Balding, "Approximate Bayesian computation in population genetics" (2002), for
        the adjustment; P. Fearnhead, D. Prangle, "Constructing summary statistics for approximate Bayesian
        computation" (2012), for the expectation as the statistic.
    """
    if not draws.names or len(points) < 3:
        return {}
    n = len(points)
    count = min(n, max(PILOT * points.shape[1], n // 3))
    pilot = np.argpartition(squared, count - 1)[:count]
    x = points[pilot] - points[pilot].mean(axis=0)
    ahead = point - points[pilot].mean(axis=0)
    inverse = np.linalg.inv(x.T @ x + _RIDGE * count * np.eye(x.shape[1]))
    leverage = np.einsum("ij,ij->i", x @ inverse, x) + 1 / count
    theta = draws.values[pilot]
    slopes = inverse @ (x.T @ (theta - theta.mean(axis=0)))
    fitted, expected = theta.mean(axis=0) + x @ slopes, theta.mean(axis=0) + ahead @ slopes
    low, high = draws.values.min(axis=0), draws.values.max(axis=0)
    residual = (theta - fitted) / np.maximum(1 - leverage, 0.5)[:, np.newaxis]
    found = {}
    for j, name in enumerate(draws.names):
        taken = min(accepted_count(n), count)
        close = np.argpartition(np.abs(fitted[:, j] - expected[j]), taken - 1)[:taken]
        drawn = np.clip(expected[j] + residual[close, j], low[j], high[j])
        # Weibull's ranks, q (n + 1): the 5 % and 95 % of 50 draws then hold 90 % of the next ones, not 86.5 %.
        middle = (draws.plain(j, value) for value in np.quantile(drawn, [0.5, 0.05, 0.95], method="weibull"))
        found[name] = Interval(*middle)
    return found
