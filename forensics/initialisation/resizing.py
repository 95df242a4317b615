"""Rows appended to a matrix the way transformers appends them.

Follows ``PreTrainedModel._init_added_embeddings_weights_with_mean`` of transformers 5.23, which
``resize_token_embeddings(mean_resizing=True)`` calls (the proposal: Hewitt 2021, "Initializing new word embeddings for
pretrained language models").
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forensics.formats import FloatFormat, Words
from forensics.initialisation.rounding import narrowed

Values = NDArray[np.float32]

TILE = 2048
"""Rows in a sum or product: fixed, since the last bits of a matrix product depend on it."""


def append_rows(words: Words, n_old: int, fmt: FloatFormat, rng: np.random.Generator, *, scale: float = 1e-9) -> None:
    """Fills the rows from ``n_old`` on with draws from N(mean, scale * covariance) of the rows before.

    Mean and covariance are of the stored rows, widened to float32; the covariance is divided by ``n_old``, not by one
    less. Where scale * covariance has no float32 Cholesky factor every new row is the rounded mean itself. More
    different rows than ``dim`` give a factor, clearly fewer give none; at dim - 1 or dim a rounding decides, there as
    here, and not always the same way. Last bits may differ between builds of the linear algebra library.
    Beside the words a few float32[dim, dim] are held.

    Args:
        words: ``uint[rows, dim]``, written in place.
        n_old: number of old rows, 1 or more.
        fmt: the stored format.
        rng: the generator; it is advanced only if there is a factor.
        scale: transformers has 1e-9.

    Raises:
        ConfigError: a number drawn is beyond the format's largest.
    """
    rows, dim = words.shape
    if n_old == rows:
        return
    mean, factor = resized_law(words[:n_old], fmt, scale)
    if factor is None:
        words[n_old:] = fmt.narrow(mean)
        return
    for start in range(n_old, rows, TILE):
        z = rng.standard_normal((min(TILE, rows - start), dim), dtype=np.float32)
        words[start : start + len(z)] = narrowed(mean + z @ factor.T, fmt, "mean-resized")


def resized_law(words: Words, fmt: FloatFormat, scale: float) -> tuple[Values, Values | None]:
    """The mean float32[dim], and the lower Cholesky factor float32[dim, dim] of scale * covariance if there is one."""
    rows, dim = words.shape
    total = np.zeros(dim)
    for values in _tiles(words, fmt):
        total += values.sum(axis=0, dtype=np.float64)
    mean = (total / rows).astype(np.float32)
    products = np.zeros((dim, dim), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # looked at below
        for values in _tiles(words, fmt):
            centred = values - mean
            products += centred.T @ centred
        covariance = products / np.float32(rows) * np.float32(scale)
    if not np.isfinite(covariance).all():
        return mean, None
    try:
        return mean, np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return mean, None


def _tiles(words: Words, fmt: FloatFormat) -> Iterator[Values]:
    for start in range(0, len(words), TILE):
        yield fmt.widen(words[start : start + TILE])
