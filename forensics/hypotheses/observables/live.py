"""Dead rows held against live ones: exponents, norms, centroids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding
from forensics.formats import FloatFormat
from forensics.geometry import angle_deg
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.observables.geometry import measure_moments
from forensics.hypotheses.observables.observable import Observable

AGAINST = "dead tokens against live ones"

LIVE = (
    Observable(
        "exponent_offset",
        "exponent offset, dead less live",
        "exponents",
        AGAINST,
        "mean raw exponent of the dead rows' numbers less that of the live rows'; undefined for quantised formats",
        needs="live",
        resolution=0.02,
    ),
    Observable(
        "norm_ratio",
        "norm, dead over live",
        "ratio",
        AGAINST,
        "mean norm of the dead rows over that of the live rows; undefined without live rows",
        needs="live",
        transform="log",
        resolution=0.02,
    ),
    Observable(
        "centroid_angle",
        "centroid angle, dead to live",
        "degrees",
        AGAINST,
        "angle between the mean of the dead rows and the mean of the live rows, raw frame; undefined where one is zero",
        needs="live",
        resolution=0.5,
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class LiveRows:
    """What one pass over the live rows gives.

    Attributes:
        token_ids: ``int64[n]``, of those among the candidates that are finite, ascending.
        mean: ``float64[dim]``, of their rows; None without any.
        mean_norm: of their rows; None without any.
        mean_exponent: mean raw exponent of their numbers; None without any, and for quantised formats.
    """

    token_ids: NDArray[np.int64]
    mean: NDArray[np.float64] | None
    mean_norm: float | None
    mean_exponent: float | None


def measure_live(embedding: Embedding, candidates: NDArray[np.bool_]) -> LiveRows:
    """Measures the finite rows among some, in one pass, a block at a time.

    Args:
        embedding: any matrix.
        candidates: ``bool[rows]``.
    """
    total, norms, exponents = np.zeros(embedding.dim), 0.0, 0
    found = np.zeros(embedding.n_rows, np.bool_)
    fmt = embedding.format
    for start, values in embedding.blocks():
        stop = start + len(values)
        with np.errstate(invalid="ignore", over="ignore"):
            wide = values.astype(np.float64)
            squares = np.einsum("ij,ij->i", wide, wide)
        chosen = candidates[start:stop] & np.isfinite(squares)
        found[start:stop] = chosen
        wide[~chosen] = 0
        total += wide.sum(axis=0)
        norms += float(np.sqrt(squares[chosen]).sum())
        if isinstance(fmt, FloatFormat):
            exponents += int(fmt.exponents(embedding.words[start:stop]).sum(axis=1, dtype=np.int64)[chosen].sum())
    ids = np.flatnonzero(found)
    n = len(ids)
    if not n:
        return LiveRows(ids, None, None, None)
    exponent = exponents / (n * embedding.dim) if isinstance(fmt, FloatFormat) else None
    return LiveRows(ids, total / n, norms / n, exponent)


def measure_against_live(cloud: Cloud, live: LiveRows) -> dict[str, float | None]:
    """The observables of ``LIVE``."""
    moments, exponent = measure_moments(cloud), _mean_exponent(cloud)
    if moments is None:
        return dict.fromkeys(o.name for o in LIVE)
    norm = float(cloud.populations @ moments.norms) / len(cloud)
    offset = None if exponent is None or live.mean_exponent is None else exponent - live.mean_exponent
    return {
        "exponent_offset": offset,
        "norm_ratio": norm / live.mean_norm if live.mean_norm else None,
        "centroid_angle": angle_deg(moments.mean, live.mean),
    }


def _mean_exponent(cloud: Cloud) -> float | None:
    fmt = cloud.format
    if not isinstance(fmt, FloatFormat):
        return None
    still = fmt.exponents(cloud.row).astype(np.int64)
    still[cloud.active] = 0
    moving = fmt.exponents(cloud.patterns).sum(axis=1, dtype=np.int64)
    return float(still.sum() + cloud.populations @ moving / len(cloud)) / cloud.dim
