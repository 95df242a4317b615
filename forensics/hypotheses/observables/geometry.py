"""Norms, centroid and spread of the dead rows, in forms that do not depend on their number or dimension."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.formats import FloatFormat
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.observables.observable import Observable
from forensics.hypotheses.observables.populations import DEAD

BLOCK = 1 << 18
"""Numbers that are held as float64 at a time."""

GEOMETRY = (
    Observable(
        "zero_row_share",
        "rows of zeros",
        "share",
        DEAD,
        "dead tokens whose every number is 0 or -0, over dead tokens",
        transform="arcsine",
    ),
    Observable(
        "radius_over_centroid",
        "radius over centroid norm",
        "ratio",
        DEAD,
        "root mean square distance of the rows from their mean over the norm of the mean; undefined for a mean of zero",
        transform="log",
        resolution=0.02,
    ),
    Observable(
        "norm_over_initial",
        "norm over that of the config's initialisation",
        "ratio",
        DEAD,
        "mean norm over initializer_range x sqrt(dim), which rows drawn from N(0, initializer_range) have; undefined "
        "without an initializer_range above 0",
        needs="config",
        transform="log",
        resolution=0.001,
    ),
    Observable(
        "norm_spread",
        "spread of the norms",
        "ratio",
        DEAD,
        "standard deviation of the norms x sqrt(2) over the root mean square element: 1 for independent normal "
        "numbers, whose norm has the deviation sigma / sqrt(2); undefined for rows of zeros",
        transform="log",
        resolution=0.02,
    ),
    Observable(
        "centroid_norm",
        "centroid norm against independent rows",
        "ratio",
        DEAD,
        "norm of the mean x sqrt(tokens) over the root mean square norm: 1 for independent rows of mean zero, "
        "sqrt(tokens) on one point; undefined for rows of zeros",
        transform="log",
        resolution=0.01,
        # On one point it is the root of the number of tokens.
        scale_free=False,
    ),
    Observable(
        "kurtosis",
        "kurtosis about the centroid",
        "ratio",
        DEAD,
        "mean fourth power of (number less its dimension's mean) over the square of the mean second power, all "
        "dimensions together: 3 for normal numbers of one variance; undefined on one point",
        transform="log",
        resolution=0.01,
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over the dead rows, in float64.

    Attributes:
        mean: ``float64[dim]``.
        norms: ``float64[u]``, of the distinct rows.
        squares: ``float64[u]``, squared distances of the distinct rows from the mean.
        second, fourth: mean over rows and dimensions of the powers of (number less its dimension's mean).
    """

    mean: NDArray[np.float64]
    norms: NDArray[np.float64]
    squares: NDArray[np.float64]
    second: float
    fourth: float


def measure_moments(cloud: Cloud) -> Moments | None:
    """The moments of a cloud; None if a row holds an infinity or a nan."""
    base, values, active = _numbers(cloud)
    if not (np.isfinite(base).all() and np.isfinite(values).all()):
        return None
    weights, mean = cloud.populations / len(cloud), base.astype(np.float64)
    still = mean.copy()
    still[active] = 0
    step = max(1, BLOCK // max(1, len(active)))
    spans = [slice(start, start + step) for start in range(0, len(values), step)]
    mean[active] = sum(weights[s] @ values[s].astype(np.float64) for s in spans)
    norms, squares, fourth = np.empty(len(values)), np.empty(len(values)), 0.0
    for s in spans:
        block = values[s].astype(np.float64)
        norms[s] = np.einsum("ij,ij->i", block, block)
        block -= mean[active]
        block *= block
        squares[s] = block.sum(axis=1)
        fourth += float(weights[s] @ np.einsum("ij,ij->i", block, block))
    second = float(weights @ squares) / cloud.dim
    return Moments(mean, np.sqrt(norms + still @ still), squares, second, fourth / cloud.dim)


def measure_geometry(cloud: Cloud, context: Context) -> dict[str, float | None]:
    """The observables of ``GEOMETRY``."""
    moments, zeros = measure_moments(cloud), _zero_row_share(cloud)
    if moments is None:
        return dict.fromkeys(o.name for o in GEOMETRY) | {"zero_row_share": zeros}
    weights, norms = cloud.populations / len(cloud), moments.norms
    length, mean_norm = float(np.linalg.norm(moments.mean)), float(weights @ norms)
    squares = float(weights @ norms**2)
    spread = float(np.sqrt(weights @ (norms - mean_norm) ** 2))
    drawn = context.initializer_range
    return {
        "zero_row_share": zeros,
        "radius_over_centroid": float(np.sqrt(moments.second * cloud.dim)) / length if length > 0 else None,
        "norm_over_initial": mean_norm / (drawn * float(np.sqrt(cloud.dim))) if drawn else None,
        "norm_spread": spread * float(np.sqrt(2 * cloud.dim / squares)) if squares > 0 else None,
        "centroid_norm": length * float(np.sqrt(len(cloud) / squares)) if squares > 0 else None,
        "kurtosis": moments.fourth / moments.second**2 if moments.second > 0 else None,
    }


def _zero_row_share(cloud: Cloud) -> float:
    base, values, active = _numbers(cloud)
    still = base.copy()
    still[active] = 0
    zero = ~values.any(axis=1) & (not still.any())
    return float(cloud.populations[zero].sum()) / len(cloud)


def _numbers(cloud: Cloud) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """The first row's numbers, the distinct rows' on some dimensions, and which those are.

    A byte of a quantised row has no dimension of its own: there all dimensions are held.
    """
    if isinstance(cloud.format, FloatFormat):
        return cloud.format.widen(cloud.row), cloud.format.widen(cloud.patterns), cloud.active
    values = cloud.distinct_values()
    return values[0], values, np.arange(cloud.dim)
