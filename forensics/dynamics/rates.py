"""Do all rates fall together: loss, dead gradient, dead centroid, dead radius?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.plain import listed, require_record
from forensics.dynamics.series import Line, binned, fit_line, geometric_edges, logs, rank_correlation
from forensics.dynamics.sharpening import Sharpening, SharpeningPass, analyse_sharpening
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording

__all__ = ["Rates", "Sharpening", "SharpeningPass", "analyse_rates", "analyse_sharpening", "compare_rates", "fit_decay"]

TOGETHER = 0.8
"""Rank correlation of two binned rates from which they are said to fall together."""

TIME_RATIO = 3.0
"""Falling together also asks that no relaxation time is more than this many times another."""

LEAST_R2 = 0.5
"""A fit that explains less of the variance has no relaxation time."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decay:
    """The fit y = floor + height exp(-t/time).

    Attributes:
        floor, height: in the unit of y.
        time: steps in which what is above the floor falls to 1/e.
        r2: share of the variance of y that it explains.
        is_bounded: the time lies inside what the run's length can tell (1 to its length in steps).
    """

    floor: float
    height: float
    time: float
    r2: float
    is_bounded: bool

    @property
    def is_fall(self) -> bool:
        """Whether the time is one in which the series falls: a positive height, a time in bounds, r2 at least 0.5."""
        return self.height > 0 and self.is_bounded and self.r2 >= LEAST_R2

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Rates of a run side by side.

    Attributes:
        bins: ``int64[n]``, the last step of each bin; bins widen with time.
        rates: by name ``float64[n]``, bin means, in the unit of the channel per step.
        power: by name, log rate on log step over the bins (None below ten bins): the exponent of a power law.
        decay: by name, an exponential to a floor fitted to the series.
        correlation: rank correlation over the bins, by pair of names.
        verdict: "all fall together", "some fall together (a with b)", or "do not fall together"; None with fewer than
            two rates. That rates fall together is no evidence of a common cause.
    """

    bins: NDArray[np.int64]
    rates: Mapping[str, Array]
    power: Mapping[str, Line | None]
    decay: Mapping[str, Decay | None]
    correlation: Mapping[tuple[str, str], float | None]
    verdict: str | None

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        found = []
        for name in self.rates:
            decay, power = self.decay[name], self.power[name]
            time = decay.time if decay and decay.is_fall else None
            rule = f"of floor + height exp(-t/time), least squares, where height > 0 and r2 >= {LEAST_R2}"
            found.append(Measure(f"{name}, time", time, "steps", "run", rule))
            found.append(Measure(f"{name}, r2", decay.r2 if decay else None, "share", "run", "of that fit"))
            slope = power.slope if power else None
            found.append(Measure(f"{name}, exponent", slope, "", "run", "slope of log rate on log step over the bins"))
        rule = f"rank correlations over bins at least {TOGETHER}, times within a factor {TIME_RATIO:g}, and all fall"
        return (*found, Measure("rates", self.verdict, "", "run", rule))

    def to_dict(self) -> dict[str, Any]:
        """All as plain values; a pair is written "a | b"."""
        return {
            "bins": self.bins.tolist(),
            "rates": {name: listed(series) for name, series in self.rates.items()},
            "power": {name: line.to_dict() if line else None for name, line in self.power.items()},
            "decay": {name: fit.to_dict() if fit else None for name, fit in self.decay.items()},
            "correlation": {" | ".join(pair): value for pair, value in self.correlation.items()},
            "verdict": self.verdict,
        }


def analyse_rates(recording: Recording) -> Rates:
    """Compares how fast loss, dead gradient, dead centroid, dead radius and the moving share fall.

    Raises:
        RecordingError: loss or summaries were not recorded.
    """
    recording.require("loss")
    require_record(recording, "summaries", "grad_norm_dead", "centroid_dead", "radius_mean_dead")
    steps = recording.steps("loss")
    speed = np.linalg.norm(np.diff(recording.series("centroid_dead").astype(float), axis=0), axis=1)
    radius = np.abs(np.diff(recording.series("radius_mean_dead").astype(float)))
    series = {
        "dead gradient": recording.series("grad_norm_dead").astype(float),
        "dead centroid speed": _per_step(recording, "centroid_dead", speed),
        "dead radius change": _per_step(recording, "radius_mean_dead", radius),
    }
    series = {name: each for name, each in series.items() if len(each) == len(steps) and np.isfinite(each).any()}
    return compare_rates(steps, recording.series("loss").astype(float), series)


def compare_rates(steps: NDArray[np.int64], loss: Array, series: Mapping[str, Array]) -> Rates:
    """Compares the fall of the loss with that of other rates.

    The loss's rate is the fall of its bin mean to the next bin, per step; where it rises, it is
    undefined.

    Args:
        steps: ``int64[n]``.
        loss: ``float64[n]``.
        series: rates by name, ``float64[n]`` each, not negative.

    Raises:
        RecordingError: fewer than ten steps.
    """
    if len(steps) < 10:
        raise RecordingError(f"rates need ten recorded steps to fall in, found {len(steps)}")
    edges = geometric_edges(len(steps))
    levels, middles = binned(loss, edges), binned(steps.astype(float), edges)
    falls = -np.diff(levels) / np.diff(middles)
    fall = np.append(np.where(falls > 0, falls, np.nan), np.nan)
    rates = {"loss fall": fall} | {name: binned(each, edges) for name, each in series.items()}
    power = {name: fit_line(np.log(middles), logs(each)) for name, each in rates.items()}
    decay = {"loss fall": fit_decay(steps, loss)} | {name: fit_decay(steps, each) for name, each in series.items()}
    names = list(rates)
    pairs = {(a, b): rank_correlation(rates[a], rates[b]) for i, a in enumerate(names) for b in names[i + 1 :]}
    return Rates(steps[edges[1:] - 1], rates, power, decay, pairs, _verdict(rates, decay, pairs))


def fit_decay(steps: NDArray[np.int64], series: Array) -> Decay | None:
    """An exponential to a floor, by variable projection: for each time, floor and height are linear.

    Times are tried on a grid of 200 from 1 to ten times the run's length. None below ten finite points, or
    for a constant.

    References:
        Golub & Pereyra 1973, variable projection.
    """
    there = np.isfinite(series)
    t, y = (steps[there] - steps[there][:1]).astype(float), series[there]
    if len(y) < 10 or np.ptp(y) == 0:
        return None
    length = max(t[-1], 1.0)
    times = np.geomspace(1, 10 * length, 200)
    best: tuple[float, float, float, float] | None = None
    for time in times:
        shape = np.exp(-t / time)
        centred = shape - shape.mean()
        size = centred @ centred
        if size <= 1e-12 * len(t):
            continue
        height = float(centred @ y / size)
        residual = y - y.mean() - height * centred
        lost = float(residual @ residual)
        if best is None or lost < best[0]:
            best = lost, float(time), height, float(y.mean() - height * shape.mean())
    if best is None:
        return None
    lost, time, height, floor = best
    return Decay(floor, height, time, 1 - lost / float(np.var(y) * len(y)), bool(times[0] < time <= length))


def _verdict(
    rates: Mapping[str, Array], decay: Mapping[str, Decay | None], pairs: Mapping[tuple[str, str], float | None]
) -> str | None:
    if len(rates) < 2:
        return None
    falling = {name for name, fit in decay.items() if fit and fit.is_fall}

    def together(pair: tuple[str, str]) -> bool:
        one, other = decay[pair[0]], decay[pair[1]]
        rho = pairs[pair]
        if one is None or other is None or rho is None or not {*pair} <= falling:
            return False
        return rho >= TOGETHER and max(one.time, other.time) <= TIME_RATIO * min(one.time, other.time)

    found = [f"{a} with {b}" for a, b in pairs if together((a, b))]
    if len(found) == len(pairs):
        return "all fall together"
    return f"some fall together ({', '.join(found)})" if found else "do not fall together"


def _per_step(recording: Recording, name: str, differences: Array) -> Array:
    """Differences per step of the steps after the first."""
    return differences / np.diff(recording.steps(name))
