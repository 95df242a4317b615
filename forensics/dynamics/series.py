"""Series against their own noise: what counts as a change, how two courses go together, when one settles.

A change is real if it exceeds `NOISE_FACTOR` times the step-to-step noise of the series itself, so that neither a long
run nor a short one is called anything by its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NOISE_FACTOR = 4.0
"""Changes of a level below 4 standard deviations of a single step are called flat. Of 300 flat series each, of 12 to
2,000 points with normal noise and with the logarithm of its size, at most 1 % exceed it."""

BLOCKS = 20
"""Blocks whose means show the noise that outlasts a step."""

FEWEST = 14
"""Points from which a series has a course: two windows."""


def noise(series: Array) -> float:
    """Standard deviation of a step about the course: median |x[t+1] - x[t]| / (sqrt(2) 0.6745); 0 below three points.

    The median keeps the first steps' fall out, where a run changes more in a step than later in a hundred (for normal
    noise sqrt(2) 0.6745 sd is the median of such a difference).
    """
    finite = series[np.isfinite(series)]
    if len(finite) < 3:
        return 0.0
    return float(np.median(np.abs(np.diff(finite))) / (np.sqrt(2) * 0.6745))


def slow_noise(series: Array) -> float:
    """The same of the means of `BLOCKS` equal blocks, which hold what wanders slowly; 0 below two points a block.

    Non-overlapping batch means (Conway, Management Science 9, 1963), their differences by the median as in `noise`.
    """
    finite = series[np.isfinite(series)]
    if len(finite) < 2 * BLOCKS:
        return 0.0
    return noise(np.array([block.mean() for block in np.array_split(finite, BLOCKS)]))


def window(n: int) -> int:
    """Points of a level: a twentieth of the run, 7 to 50."""
    return min(n, 50, max(7, n // 20))


def running_median(series: Array, width: int) -> Array:
    """Medians of ``width`` consecutive points, ``[n - width + 1]``."""
    if width <= 1:
        return series.astype(float)
    views = np.lib.stride_tricks.sliding_window_view(series, width)
    return np.asarray(np.median(views, axis=1), float)


@dataclass(frozen=True, slots=True)
class Course:
    """A fall and a rise of a series.

    Attributes:
        start, lowest, end: levels: the first point, the lowest and the last running median.
        lowest_step: the middle of the lowest window.
        noise: the larger of `noise` and `slow_noise`.
        falls, rises: whether start - lowest, end - lowest exceed `NOISE_FACTOR` times the noise.
    """

    start: float
    lowest: float
    end: float
    lowest_step: int
    noise: float
    falls: bool
    rises: bool

    @property
    def shape(self) -> str:
        """One of "falls, then rises", "falls", "rises" and "flat"."""
        return {(1, 1): "falls, then rises", (1, 0): "falls", (0, 1): "rises"}.get((self.falls, self.rises), "flat")

    def to_dict(self) -> dict[str, Any]:
        """The fields and the shape."""
        return {name: getattr(self, name) for name in self.__slots__} | {"shape": self.shape}


def course_of(steps: NDArray[np.int64], series: Array) -> Course | None:
    """The course of a series; None below `FEWEST` finite points."""
    there = np.isfinite(series)
    steps, series = steps[there], series[there]
    if len(series) < FEWEST:
        return None
    width = window(len(series))
    levels = running_median(series, width)
    at = int(np.argmin(levels))
    spread = max(noise(series), slow_noise(series))
    start, lowest, end = float(series[0]), float(levels[at]), float(levels[-1])
    limit = max(NOISE_FACTOR * spread, 1e-9 * abs(start))  # a constant's last bits are no change
    return Course(start, lowest, end, int(steps[at + width // 2]), spread, start - lowest > limit, end - lowest > limit)


def geometric_edges(n: int, per_decade: int = 8) -> NDArray[np.int64]:
    """Edges of bins that widen with time, ``0 = e_0 < e_1 < ... = n``, at least one point each."""
    edges = np.unique(np.round(np.geomspace(1, max(n, 1), max(2, int(per_decade * np.log10(max(n, 10))) + 1))))
    return np.unique(np.append([0], edges)).astype(np.int64)


def binned(series: Array, edges: NDArray[np.int64]) -> Array:
    """Means of the finite points in each bin; nan for none."""
    found = np.full(len(edges) - 1, np.nan)
    for i, (start, stop) in enumerate(pairwise(edges.tolist())):
        part = series[start:stop]
        part = part[np.isfinite(part)]
        found[i] = part.mean() if len(part) else np.nan
    return found


def rank_correlation(a: Array, b: Array) -> float | None:
    """Spearman's rho of the pairs where both are finite, ties by mean rank; None below four pairs or without spread."""
    there = np.isfinite(a) & np.isfinite(b)
    if int(there.sum()) < 4:
        return None
    return correlation(_ranks(a[there]), _ranks(b[there]))


def correlation(a: Array, b: Array) -> float | None:
    """Pearson's r; None where one is constant."""
    left, right = a - a.mean(), b - b.mean()
    size = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / size) if size > 0 else None


@dataclass(frozen=True, slots=True)
class Line:
    """A least-squares line.

    Attributes:
        slope, intercept: of y on x.
        slope_error: standard error, by leaving out one of ten consecutive stretches at a time.
        r2: share of the variance of y that it explains.
        points: fitted.
    """

    slope: float
    intercept: float
    slope_error: float
    r2: float
    points: int

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {name: getattr(self, name) for name in self.__slots__}


def fit_line(x: Array, y: Array) -> Line | None:
    """The line through the finite points; None below ten points or where x has no spread.

    The error is the delete-a-group jackknife (Kott 2001): neighbouring steps are not independent, stretches of a tenth
    of the run nearly are.
    """
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    n = len(x)
    if n < 10 or np.ptp(x) == 0:
        return None
    slope, intercept = _line(x, y)
    groups = np.arange(n) * 10 // n
    without = [_line(x[groups != g], y[groups != g])[0] for g in range(10) if np.ptp(x[groups != g]) > 0]
    error = float(np.sqrt(0.9 * np.sum((np.array(without) - slope) ** 2))) if len(without) == 10 else float("nan")
    spread = float(np.var(y))
    r2 = 1 - float(np.var(y - slope * x)) / spread if spread else 0.0
    return Line(slope, intercept, error if np.isfinite(error) else 0.0, r2, n)


def _line(x: Array, y: Array) -> tuple[float, float]:
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: Array = ends - (counts - 1) / 2
    return mean[inverse]


def logs(values: Array) -> Array:
    """Natural logarithms; nan where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(values)
    return np.where(np.isfinite(found), found, np.nan)
