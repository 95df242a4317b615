"""The mean hidden state: how its direction keeps, swings and settles, and how long it is.

The other questions about h are in :mod:`.diversification`, :mod:`.direction`, :mod:`.context` and :mod:`.bootstrap`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.diversification import analyse_spread
from forensics.dynamics.plain import listed, number
from forensics.dynamics.series import running_median, window
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording

__all__ = ["MeanCourse", "analyse_mean", "analyse_spread", "follow_mean"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MeanCourse:
    """The direction of h_mean over a run.

    Attributes:
        steps: ``int64[n]``.
        lags: ``int64[m]``, in steps, 0 to the longest; of the longest stretch that was recorded at one cadence.
        autocorrelation: ``float64[m]``, mean cosine of h_mean and h_mean a lag later.
        lag_one: ``float64[k]``, cosine of neighbouring recorded h_means.
        swing: ``float64[n - 1]``, the angle between neighbouring recorded h_means, degrees.
        norm: ``float64[n]``, |h_mean|.
        convergence_step: the first step from which on the running median of the angle to the final direction (mean unit
            vector of the last quarter) stays within the largest angle of the last quarter; None if it does not
            converge: the third quarter's mean direction is more than half that angle away, or below 16 steps.
        tolerance: that angle, degrees; None with fewer than 16 steps.
    """

    steps: NDArray[np.int64]
    lags: NDArray[np.int64]
    autocorrelation: Array
    lag_one: Array
    swing: Array
    norm: Array
    convergence_step: int | None
    tolerance: float | None

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        hundred = self.swing[: max(1, int(np.searchsorted(self.steps, 100)))]
        rule = "first step from which h_mean stays as near to its final direction as in the last quarter"
        return (
            Measure("h_mean lag-1 cosine, mean", _mean(self.lag_one), "cosine", "h", "neighbouring recorded steps"),
            Measure(
                "h_mean lag-1 cosine, std",
                number(self.lag_one.std()) if len(self.lag_one) else None,
                "cosine",
                "h",
                "the same",
            ),
            Measure(
                "h_mean lag-1 cosine, min",
                number(self.lag_one.min()) if len(self.lag_one) else None,
                "cosine",
                "h",
                "the same",
            ),
            Measure(
                "swing, first 100 steps", _mean(hundred), "degrees", "h", "mean angle between neighbouring h_means"
            ),
            Measure("swing, later", _mean(self.swing[len(hundred) :]), "degrees", "h", "the same after step 100"),
            Measure("|h_mean|, first", number(self.norm[0]), "value", "h", "norm at the first recorded step"),
            Measure("|h_mean|, last", number(self.norm[-1]), "value", "h", "norm at the last recorded step"),
            Measure("h_mean converges", self.convergence_step, "step", "h", rule),
        )

    def to_dict(self) -> dict[str, Any]:
        """All as plain values."""
        return {
            "steps": self.steps.tolist(),
            "lags": self.lags.tolist(),
            **{name: listed(getattr(self, name)) for name in ("autocorrelation", "lag_one", "swing", "norm")},
            "convergence_step": self.convergence_step,
            "tolerance_deg": self.tolerance,
        }


def analyse_mean(recording: Recording) -> MeanCourse:
    """Follows h_mean.

    Raises:
        RecordingError: h_mean was not recorded, or at no step.
    """
    recording.require("h_mean")
    steps = recording.steps("h_mean")
    if not len(steps):
        raise RecordingError(f"{recording.name}: h_mean was recorded at no step")
    return follow_mean(steps, recording.series("h_mean"))


def follow_mean(steps: NDArray[np.int64], h: NDArray[Any]) -> MeanCourse:
    """Follows a direction ``float[n, D]`` over ``int64[n]`` steps."""
    h = h.astype(np.float64)
    norm = np.linalg.norm(h, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = h / norm[:, None]
    unit = np.nan_to_num(unit)  # a zero vector has no direction: it counts as orthogonal to all
    lag_one = np.einsum("ij,ij->i", unit[:-1], unit[1:])
    start, stop, stride = _longest_stretch(steps)
    autocorrelation = mean_cosine_by_lag(unit[start:stop])
    converged, tolerance = convergence(steps, unit)
    lags = np.arange(len(autocorrelation)) * stride
    return MeanCourse(steps, lags, autocorrelation, lag_one, angles(unit[:-1], unit[1:]), norm, converged, tolerance)


def angles(a: Array, b: Array) -> Array:
    """Angles between rows of unit vectors in degrees: 2 atan2(|a - b|, |a + b|), exact for small ones (Kahan 2006)."""
    return np.asarray(np.rad2deg(2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))))


def mean_cosine_by_lag(unit: Array) -> Array:
    """Mean cosine at every lag, ``float64[n]``, of unit vectors ``[n, D]``, by Fourier transform (Wiener-Khinchin)."""
    n = len(unit)
    size = 1 << (2 * n - 1).bit_length()
    power = np.zeros(size // 2 + 1)
    for column in unit.T:  # one dimension at a time: memory of one
        power += np.abs(np.fft.rfft(column, size)) ** 2
    return np.asarray(np.fft.irfft(power, size)[:n] / np.arange(n, 0, -1))


def convergence(steps: NDArray[np.int64], unit: Array) -> tuple[int | None, float | None]:
    """The step from which on a direction stays where it ends, and the angle that counts as staying (`MeanCourse`)."""
    n = len(unit)
    if n < 16:
        return None, None
    last, third = unit[-(n // 4) :], unit[n // 2 : -(n // 4)]
    final, before = _unit(last.mean(axis=0)), _unit(third.mean(axis=0))
    tolerance = float(angles(last, final).max())
    if float(angles(before, final)) > tolerance / 2:
        return None, tolerance
    # Medians: a single far swing in a long run is not a departure.
    width = window(n)
    outside = np.flatnonzero(running_median(angles(unit, final), width) > tolerance)
    at = int(outside[-1]) + 1 + width // 2 if len(outside) else 0
    return int(steps[at]), tolerance


def _longest_stretch(steps: NDArray[np.int64]) -> tuple[int, int, int]:
    """Start, stop and stride of the longest run of equally spaced steps."""
    if len(steps) < 2:
        return 0, len(steps), 1
    strides = np.diff(steps)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(strides)) + 1, [len(strides)]])
    longest = int(np.argmax(np.diff(edges)))
    start, stop = int(edges[longest]), int(edges[longest + 1]) + 1
    return start, stop, int(strides[start])


def _unit(vector: Array) -> Array:
    size = np.linalg.norm(vector)
    return np.asarray(vector / size if size else vector)


def _mean(values: Array) -> float | None:
    return number(values.mean()) if len(values) else None
