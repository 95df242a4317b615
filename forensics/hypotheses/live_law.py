"""The law of the live rows, mean and covariance, for hypotheses that draw dead rows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding
from forensics.hypotheses.context import Live

MAX_ROWS = 16_384
"""Live rows that the covariance is of, evenly spaced by id: all 149,000 of a large vocabulary would take a minute for
figures that differ by sampling error alone."""

TILE = 1_024


def measure_live_law(embedding: Embedding, token_ids: NDArray[np.int64], mean: NDArray[np.float64]) -> Live:
    """The law of some rows.

    The factor is the covariance's lower Cholesky factor, as ``forensics.initialisation.resizing`` has it; where there
    is none (fewer rows than dimensions, or equal ones) it is the centred rows themselves over the root of their
    number, or the root of the covariance by its eigenvectors. Some 35 dim^2 bytes are held: 230 MB for 2,560.

    Args:
        embedding: any matrix.
        token_ids: ``int64[n]``, of finite rows, at least one.
        mean: ``float64[dim]``, their mean.
    """
    n = len(token_ids)
    chosen = token_ids if n <= MAX_ROWS else token_ids[np.linspace(0, n - 1, MAX_ROWS).astype(np.int64)]
    centre = mean.astype(np.float32)
    if len(chosen) <= embedding.dim:
        return Live(centre, ((embedding.values_of(chosen) - centre) / np.sqrt(np.float32(len(chosen)))).T)
    covariance = np.zeros((embedding.dim, embedding.dim))
    for start in range(0, len(chosen), TILE):
        centred = embedding.values_of(chosen[start : start + TILE]) - centre
        covariance += centred.T @ centred
    covariance /= len(chosen)
    return Live(centre, _root(covariance))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float32]:
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))
    return np.asarray(root, dtype=np.float32)
