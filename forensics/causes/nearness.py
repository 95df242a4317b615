"""Which rows lie near the mean of the others, along it, or near a group: one pass that sorts out, then exact tests.

The pass works in float32 and only chooses whom to look at; every verdict is taken on the stored numbers in float64.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.causes.made import PRODUCT_ERROR, Cloud, Line, find_clouds, find_line, may_be_on_line
from forensics.causes.sums import Ids, RowSums, Vector
from forensics.embedding import Embedding


@dataclass(frozen=True, slots=True, eq=False)
class Nearness:
    """What a pass over the matrix found.

    Attributes:
        sums: of the matrix.
        from_mean: ``float64[rows]``, distance to the mean of all finite rows; float32 precision.
        zero: ``bool[rows]``, every number is zero.
        clouds: about means of others.
        line: along the mean; None without such rows.
        around: for each centre, the tokens within a step a dimension of it, itself included.
        cloud_of: ``int64[rows]``, index of the cloud each token is in, or -1.
        scale: ``float64[rows]``, of the rows on the line; nan elsewhere.
    """

    sums: RowSums
    from_mean: Vector
    zero: NDArray[np.bool_]
    clouds: tuple[Cloud, ...]
    line: Line | None
    around: tuple[Ids, ...]
    cloud_of: Ids
    scale: Vector


def look_around(sums: RowSums, centres: Ids) -> Nearness:
    """Finds the rows near the mean, along it, and within a step a dimension of some rows.

    Args:
        sums: of the matrix.
        centres: ``int64[c]``, tokens with finite rows; each costs a multiplication a number.
    """
    embedding = sums.embedding
    mean = sums.without(np.empty(0, np.int64), "all rows")
    if mean is None:
        nothing, nowhere = np.full(embedding.n_rows, np.nan), np.full(embedding.n_rows, -1)
        return Nearness(sums, nothing, np.zeros(embedding.n_rows, np.bool_), (), None, (), nowhere, nothing)
    points = embedding.values_of(centres).astype(np.float64) if len(centres) else np.empty((0, embedding.dim))
    dots = _products(embedding, np.vstack([mean.vector, points]))
    zero = _zero_rows(embedding, sums)
    squares, norm = sums.squares, float(mean.vector @ mean.vector)
    from_mean = np.sqrt(np.maximum(squares - 2 * dots[:, 0] + norm, 0))
    solid = sums.finite & ~zero
    near = np.flatnonzero(solid & (from_mean**2 < np.mean(from_mean[sums.finite] ** 2) / 4))
    clouds = tuple(find_clouds(sums, near, mean))
    cloud_of, scale = np.full(embedding.n_rows, -1), np.full(embedding.n_rows, np.nan)
    for k, cloud in enumerate(clouds):
        cloud_of[cloud.token_ids] = k
    aligned = np.flatnonzero(solid & (cloud_of < 0) & may_be_on_line(sums, mean, dots[:, 0]))
    around = tuple(
        _within_a_step(sums, centre, point, squares - 2 * dots[:, k] + point @ point, solid)
        for k, (centre, point) in enumerate(zip(centres.tolist(), points, strict=True), start=1)
    )
    line = find_line(sums, aligned, zero, mean)
    if line is not None:
        scale[line.token_ids] = line.scale
    return Nearness(sums, from_mean, zero, clouds, line, around, cloud_of, scale)


def near_duplicates(sums: RowSums, token_ids: Ids) -> NDArray[np.bool_]:
    """Which of some finite rows are within a step a dimension of which, ``bool[n, n]``.

    That is: their Euclidean distance is at most the norm of the vector of either's steps.
    """
    if not len(token_ids):  # gguf cannot turn no blocks into no numbers
        return np.zeros((0, 0), np.bool_)
    values = sums.embedding.values_of(token_ids).astype(np.float64)
    radius = _step_radius(sums, token_ids)
    near = np.zeros((len(values), len(values)), np.bool_)
    for i, row in enumerate(values):
        offset = np.sqrt(((values - row) ** 2).sum(axis=1))
        near[i] = offset <= np.maximum(radius, radius[i])
    return near


def _step_radius(sums: RowSums, token_ids: Ids) -> Vector:
    """The norm of each row's vector of steps, ``float64[n]``: how far off a row is that is one step off everywhere."""
    return np.asarray(np.linalg.norm(sums.steps_at(token_ids), axis=1))


def _products(embedding: Embedding, points: NDArray[np.float64]) -> NDArray[np.float64]:
    columns = np.ascontiguousarray(points.T.astype(np.float32))
    out = np.empty((embedding.n_rows, len(points)))

    def work(span: tuple[int, int]) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            out[slice(*span)] = embedding.values(*span) @ columns

    _in_parallel(work, list(embedding.spans()))
    return out


def _in_parallel(work: Callable[[tuple[int, int]], None], spans: list[tuple[int, int]]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(work, spans):
            pass


def _zero_rows(embedding: Embedding, sums: RowSums) -> NDArray[np.bool_]:
    zero = sums.squares == 0
    ids = np.flatnonzero(zero)  # the squares of the smallest numbers vanish, too
    for start, stop in embedding.spans(len(ids)):
        zero[ids[start:stop]] = ~embedding.values_of(ids[start:stop]).any(axis=1)
    return np.asarray(zero)


def _within_a_step(sums: RowSums, centre: int, point: Vector, squared: Vector, solid: NDArray[np.bool_]) -> Ids:
    embedding, radius = sums.embedding, float(_step_radius(sums, np.array([centre]))[0])
    slack = PRODUCT_ERROR * float(point @ point)
    ids = np.flatnonzero(solid & (squared <= 4 * radius**2 + slack))
    found = [np.empty(0, np.int64)]
    for start, stop in embedding.spans(len(ids)):
        some = ids[start:stop]
        offset = np.sqrt(((embedding.values_of(some).astype(np.float64) - point) ** 2).sum(axis=1))
        found.append(some[offset <= np.maximum(radius, _step_radius(sums, some))])
    return np.concatenate(found)
