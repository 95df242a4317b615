"""Streams a matrix through both cores in parts that do not depend on how many cores there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.embedding import Embedding

Vector = NDArray[np.float64]
Result = TypeVar("Result")

PARTS = 16
"""Contiguous stretches of rows, each summed by itself: a sum is the same on any number of cores."""


def over_parts(
    embedding: Embedding, work: Callable[[Iterator[tuple[int, Any]]], Result], number: type = np.float64
) -> list[Result]:
    """What a function makes of each part of a matrix, in the order of the rows.

    Args:
        embedding: any matrix.
        work: takes the ``(first row, float[rows, dim])`` blocks of a part, copies that it may write on.
        number: the type of a block's numbers.
    """
    ends = np.linspace(0, embedding.n_rows, PARTS + 1).astype(np.int64)
    parts: list[tuple[int, int]] = [(a, b) for a, b in pairwise(ends.tolist()) if a < b]
    from threadpoolctl import threadpool_limits

    # The parts are worked on in parallel already: threads of BLAS's own would only wait for each other.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(lambda part: work(_blocks(embedding, part[0], part[1], number)), parts))


def _blocks(embedding: Embedding, first: int, last: int, number: type) -> Iterator[tuple[int, Any]]:
    for start, stop in embedding.spans(last - first):
        with np.errstate(invalid="ignore"):  # a signalling nan is turned into a quiet one
            block: NDArray[Any] = embedding.values(first + start, first + stop).astype(number)
        yield first + start, block


CLIP = 1e-6
"""The least product of norms that a cosine is divided by, as published: a zero row is at cosine distance 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Norms and the mean row of a matrix.

    Attributes:
        norms: ``float64[rows]``; nan for a row with an infinity or a nan.
        mean: ``float64[dim]``, over the finite rows; zeros if there are none.
    """

    norms: Vector
    mean: Vector

    @property
    def finite(self) -> NDArray[np.bool_]:
        """``bool[rows]``: neither an infinity nor a nan in the row."""
        finite: NDArray[np.bool_] = np.isfinite(self.norms)
        return finite


def measure_moments(embedding: Embedding) -> Moments:
    """The norm of every row and the mean of the finite ones; one pass."""
    norms = np.empty(embedding.n_rows)

    def work(blocks: Iterator[tuple[int, Vector]]) -> Vector:
        total = np.zeros(embedding.dim)
        for start, block in blocks:
            squares = row_squares(block)
            norms[start : start + len(block)] = np.sqrt(squares)
            total += blank_out(block, np.isfinite(squares)).sum(axis=0)
        return total

    total = np.sum(over_parts(embedding, work), axis=0)
    norms[~np.isfinite(norms)] = np.nan
    return Moments(norms, total / max(1, int(np.isfinite(norms).sum())))


def products(embedding: Embedding, columns: Vector) -> Vector:
    """The products of every row with some columns, ``float64[rows, columns]``; one pass."""
    out = np.empty((embedding.n_rows, columns.shape[1]))

    def work(blocks: Iterator[tuple[int, Vector]]) -> None:
        for start, block in blocks:
            with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite
                out[start : start + len(block)] = block @ columns

    over_parts(embedding, work)
    return out


def row_squares(block: Vector) -> Vector:
    """The sum of the squares of each row; nan or infinite where the row is not finite."""
    return np.asarray(np.einsum("ij,ij->i", block, block))


def blank_out(block: NDArray[Any], finite: NDArray[np.bool_]) -> NDArray[Any]:
    """The block, with zeros in place of the rows that are not finite."""
    if not finite.all():
        block[~finite] = 0
    return block


def mean_of(embedding: Embedding, token_ids: NDArray[np.int64]) -> Vector:
    """The mean of these tokens' rows, which must be finite, ``float64[dim]``."""
    total = np.zeros(embedding.dim)
    for start, stop in embedding.spans(len(token_ids)):
        total += embedding.values_of(token_ids[start:stop]).astype(np.float64).sum(axis=0)
    return total / len(token_ids)


def cosine_distance(dots: Vector, lengths: Vector, direction: Vector) -> Vector:
    """1 - cosine, from the products of rows with a direction and the rows' norms."""
    with np.errstate(invalid="ignore", over="ignore"):
        return 1 - dots / np.maximum(lengths * np.linalg.norm(direction), CLIP)


def first_of_equals(holes: BlackHoles) -> NDArray[np.int64]:
    """For every token the first whose stored row is the same, ``int64[rows]``: one name for each distinct row."""
    first = np.arange(holes.n_rows)
    representatives = np.array([hole.representative for hole in holes.holes], dtype=np.int64)
    first[holes.mask] = representatives[holes.hole_ids[holes.mask] - 1]
    return first
