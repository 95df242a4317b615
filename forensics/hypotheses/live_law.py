"""The law of the live rows, mean and covariance, for hypotheses that draw dead rows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding
from forensics.hypotheses.context import Live

MAX_ROWS = 16_384
"""Live rows that the covariance is of, evenly spaced by id, or twice the dimensions if that is more: all 149,000 of a
large vocabulary would take a minute for figures that differ by sampling error alone."""

TILE = 1_024


def measure_live_law(embedding: Embedding, token_ids: NDArray[np.int64], mean: NDArray[np.float64]) -> Live:
    """The law of some rows.

    The factor is the covariance's lower Cholesky factor in float32, and None where there is none (fewer rows than
    dimensions, a dimension that is constant), as ``forensics.initialisation.resizing`` has it: transformers then gives
    every new row the mean. Some 35 dim^2 bytes are held: 230 MB for 2,560.

    Args:
        embedding: any matrix.
        token_ids: ``int64[n]``, of finite rows, at least one.
        mean: ``float64[dim]``, their mean.
    """
    n = len(token_ids)
    most = max(MAX_ROWS, 2 * embedding.dim)
    chosen = token_ids if n <= most else token_ids[np.linspace(0, n - 1, most).astype(np.int64)]
    centre = mean.astype(np.float32)
    if len(chosen) <= embedding.dim:
        return Live(centre)
    covariance = np.zeros((embedding.dim, embedding.dim))
    for start in range(0, len(chosen), TILE):
        centred = embedding.values_of(chosen[start : start + TILE]) - centre
        covariance += centred.T @ centred
    covariance /= len(chosen)
    return Live(centre, _factor(covariance.astype(np.float32)))


def _factor(covariance: NDArray[np.float32]) -> NDArray[np.float32] | None:
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return None
