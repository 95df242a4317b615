"""The first principal component of a matrix that is too big to be held as floats.

A block Krylov subspace is grown, one pass over the rows a step, and the covariance is solved inside it
(Rayleigh-Ritz). It stops where the angle between what was found and the true component is proved small (Davis-Kahan:
the residual over the gap to the next eigenvalue). A matrix without a gap never gets there: then, and for short rows,
the whole covariance is formed and solved.

References:
    C. Musco and C. Musco, "Randomized block Krylov methods for stronger and faster approximate singular value
    decomposition" (2015); B. Parlett, "The symmetric eigenvalue problem" (1998), chapter 11.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding
from forensics.undertrained.passes import Moments, Vector, blank_out, over_parts

PRECISION = 1e-4
"""Sine of the angle to the true component at which the search stops. What the published randomized PCA differs by
from run to run is ten times as much; a pass more would gain about a digit."""

COLUMNS = 1
"""Of the sample's own components: more of them make every pass dearer and, measured, spare none."""

MOST_PASSES = 10

SAMPLE_ROWS = 512
"""Rows, evenly spread, whose own components the search starts from, with the hint."""

SAFE_NORMS = (1e-15, 1e15)
"""Squares of numbers beyond these do not fit float32."""

SHORT_ROW = 512
"""The covariance of rows up to this long is cheaper than three passes."""


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """The direction in which the centred rows vary most.

    Attributes:
        direction: ``float64[dim]``, of norm 1; its sign means nothing.
        share: of the rows' total variance.
        gap: 1 less the second variance over the first: near 0 two directions are alike, and which of them comes
            first means little.
        error: upper estimate of the sine of its angle to the true one.
    """

    direction: Vector
    share: float
    gap: float
    error: float


def first_component(embedding: Embedding, moments: Moments, hint: Vector | None = None) -> Component | None:
    """The first principal component of the finite rows; None if they do not vary.

    Args:
        embedding: any matrix.
        moments: of the same matrix.
        hint: ``float64[dim]``, a direction in which the rows may vary much, such as from their mean to that of the
            under-trained ones: a good one spares passes, a poor one costs nothing.
    """
    finite = moments.norms[moments.finite]
    variance = float((finite**2).sum() - len(finite) * (moments.mean**2).sum())
    # What is left of a difference of equal sums is rounding.
    if len(finite) < 2 or not variance > 1e-13 * float((finite**2).sum()):
        return None
    found = None
    if embedding.dim > SHORT_ROW and SAFE_NORMS[0] < np.median(finite) and finite.max() < SAFE_NORMS[1]:
        found = _solve_in_subspace(embedding, moments, variance, _start(embedding, moments, hint))
    return found or _solve_whole(embedding, moments, variance)


def _solve_whole(embedding: Embedding, moments: Moments, variance: float) -> Component:
    total = np.zeros((embedding.dim, embedding.dim))
    for start, block in embedding.blocks():
        rows = block.astype(np.float64)
        rows -= moments.mean
        rows = blank_out(rows, moments.finite[start : start + len(block)])
        total += rows.T @ rows
    values, vectors = np.linalg.eigh(total)
    first, second = values[-1], values[-2] if len(values) > 1 else 0.0
    rounding = np.finfo(np.float64).eps * first / max(first - second, np.finfo(np.float64).tiny)
    return Component(vectors[:, -1], float(first / variance), float(1 - second / first), float(min(1.0, rounding)))


def _solve_in_subspace(embedding: Embedding, moments: Moments, variance: float, new: Vector) -> Component | None:
    basis, images = np.empty((2, embedding.dim, 0))
    for _ in range(MOST_PASSES):
        basis = np.hstack([basis, new])
        images = np.hstack([images, _apply(embedding, moments, new)])
        values, vectors = np.linalg.eigh((basis.T @ images + images.T @ basis) / 2)
        first, second = vectors[:, -1], vectors[:, -2]
        residuals = [
            float(np.linalg.norm(images @ v - value * (basis @ v)))
            for v, value in ((first, values[-1]), (second, values[-2]))
        ]
        room = float(values[-1] - values[-2]) - residuals[1]
        error = residuals[0] / room if room > 0 else 1.0
        if error <= PRECISION:
            share, gap = float(values[-1] / variance), float(1 - values[-2] / values[-1])
            return Component(basis @ first, share, gap, error)
        new = _orthonormal(images[:, -new.shape[1] :], basis)
        if not new.shape[1]:
            return None
    return None


def _apply(embedding: Embedding, moments: Moments, columns: Vector) -> Vector:
    """The centred rows' covariance (times their number) on some columns; one pass in float32, summed in float64."""
    mean, narrow = moments.mean.astype(np.float32), columns.astype(np.float32)

    def work(blocks: Iterator[tuple[int, NDArray[np.float32]]]) -> Vector:
        total = np.zeros(columns.shape)
        for start, rows in blocks:
            np.subtract(rows, mean, out=rows)
            blank_out(rows, moments.finite[start : start + len(rows)])
            total += ((rows @ narrow).T @ rows).T
        return total

    return np.asarray(np.sum(over_parts(embedding, work, np.float32), axis=0))


def _start(embedding: Embedding, moments: Moments, hint: Vector | None) -> Vector:
    finite = np.flatnonzero(moments.finite)
    chosen = finite[np.linspace(0, len(finite) - 1, min(SAMPLE_ROWS, len(finite))).astype(np.int64)]
    rows = embedding.values_of(chosen).astype(np.float64) - moments.mean
    vectors = np.linalg.eigh(rows @ rows.T)[1]
    # Unit vectors, too: copies of one row have no components, and a second variance is needed to see a gap.
    columns = [rows.T @ vectors[:, -COLUMNS:], np.eye(embedding.dim)[:, :1], moments.mean[:, None]]
    columns += [] if hint is None else [hint[:, None]]
    return _orthonormal(np.hstack(columns), np.empty((embedding.dim, 0)))


def _orthonormal(columns: Vector, basis: Vector) -> Vector:
    """An orthonormal basis of what some columns add to one."""
    lengths = np.linalg.norm(columns, axis=0)
    columns = columns[:, lengths > 0] / lengths[lengths > 0]
    for _ in range(2):  # once leaves rounding of the size of what was taken away
        columns = columns - basis @ (basis.T @ columns)
    left, sizes, _right = np.linalg.svd(columns, full_matrices=False)
    kept: Vector = left[:, sizes > 1e-10]
    return kept
