r"""Distances between rows on the lattice: exact, in blocks, with early exit at a bound.

Over the coordinate differences d of two rows: L0 counts the dimensions that differ, L1 sums \|d\|, L2 is the
root of the sum of squares, L-infinity is the largest \|d\|. All but L2 are integers and exact.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding
from forensics.formats import FloatFormat, Words
from forensics.lattice.coordinates import compact_ordinals

Metric = Literal["l0", "l1", "l2", "linf"]
Ordinals = NDArray[np.signedinteger[Any]]

BLOCK_NUMBERS = 1 << 17
"""Coordinates of a block: with two scratch blocks of the same size it stays in a core's second-level cache."""


def row_ordinals(embedding: Embedding, token_ids: NDArray[np.int64]) -> Ordinals:
    """The compact ordinals of rows, ``int[n, dim]``."""
    return compact_ordinals(embedding.float_format, embedding.words[token_ids])


def pairwise_distances(first: Ordinals, second: Ordinals, metric: Metric) -> NDArray[Any]:
    """The distance of every row of ``first`` to every row of ``second``, ``[n, m]``.

    Integers for l0, l1 and linf, float64 for l2; n x m numbers and a few blocks are held.
    """
    out = np.empty((len(first), len(second)), _result_dtype(metric))
    for start, stop in _spans(len(first), first.shape[1]):
        scratch = _Scratch(first[start:stop], metric)
        for column, row in enumerate(second):
            out[start:stop, column] = scratch.measure_to(row)
    return _finish(out, metric)


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """For every row of a vocabulary its nearest row of a set.

    Attributes:
        distance: ``[rows]``, -1 where nothing lies within the bound, or the row holds a nan.
        member: ``int32[rows]``, index into the set, the first of equals; -1 as above.
    """

    distance: NDArray[Any]
    member: NDArray[np.int32]


def nearest_members(embedding: Embedding, members: Ordinals, metric: Metric, bound: int | None = None) -> Nearest:
    """The nearest member of a set for every row of a matrix.

    Blocks of rows go through in parallel; each holds a few megabytes and a copy of the members. The dimensions on
    which the members agree are measured once for all of them, and for "linf" a row costs little more than one
    distance where no dimension on which they differ can decide it. With a bound, a row is dropped at the first
    stretch of dimensions on which it leaves the set's bounding box widened by the bound (a coordinate further out
    alone makes any distance but L0 exceed it), so that most rows cost a few numbers.

    Args:
        embedding: the matrix; rows with nan are passed over.
        members: ``int[m, dim]`` compact ordinals, free of nan.
        metric: which distance.
        bound: rows further than this from every member are reported as -1. Not for "l0".

    Raises:
        ValueError: a bound was given for "l0".
    """
    if bound is not None and metric == "l0":
        raise ValueError("an L0 distance cannot be bounded by a box")
    distance = np.full(embedding.n_rows, -1, _result_dtype(metric))
    member = np.full(embedding.n_rows, -1, np.int32)
    if not len(members):
        return Nearest(distance, member)
    fmt, words = embedding.float_format, np.asarray(embedding.words)
    search = _Search(members, metric)
    box = None if bound is None else _Box(fmt, members, bound)

    def work(span: tuple[int, int]) -> None:
        ids = np.arange(*span) if box is None else span[0] + box.inside(words[slice(*span)])
        for a, b in _spans(len(ids), embedding.dim):
            some = ids[a:b]
            ranks = compact_ordinals(fmt, words[some[0] : some[-1] + 1] if box is None else words[some])
            some, ranks = _without_nan(fmt, some, ranks)
            if not some.size:
                continue
            best, which = search.nearest(ranks)
            if bound is not None:
                within = best <= bound
                some, best, which = some[within], best[within], which[within]
            distance[some], member[some] = best, which

    _in_parallel(work, embedding.spans())
    return Nearest(distance, member)


def pairwise_value_distances(
    first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]], metric: Metric
) -> NDArray[np.float64]:
    """The same distances between values instead of coordinates, ``float64[n, m]``, in value units (L0 in dimensions).

    Dominated by the dimensions with large numbers, where a step of the format is large; see
    :func:`pairwise_distances` for the one that weighs every step alike.

    Args:
        first: ``float[n, dim]``.
        second: ``float[m, dim]``.
        metric: which distance.
    """
    from scipy.spatial.distance import cdist  # 0.1 s, for values only

    a, b = first.astype(np.float64), second.astype(np.float64)
    if metric == "l0":
        # scipy's Hamming distance is the share of positions that differ.
        return np.asarray(np.rint(cdist(a, b, "hamming") * a.shape[1]))
    return np.asarray(cdist(a, b, {"l1": "cityblock", "l2": "euclidean", "linf": "chebyshev"}[metric]))


def hamming_bits(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64]:
    """The number of bits in which the stored words of two sets of rows differ, ``int64[n, m]``."""
    out = np.empty((len(first), len(second)), np.int64)
    for column, row in enumerate(second):
        out[:, column] = np.bitwise_count(first ^ row).sum(axis=1, dtype=np.int64)
    return out


class _Scratch:
    """A block of rows with room for its differences to one row after another."""

    def __init__(self, block: Ordinals, metric: Metric) -> None:
        self.metric = metric
        self.block = np.ascontiguousarray(block)
        self.high = np.empty_like(self.block)
        self.low = np.empty_like(self.block)
        # The widest difference of 16-bit ranks is 65,535: sums of 32 bits hold 65,537 of them.
        self.sum_dtype = np.uint32 if self.block.itemsize == 2 and block.shape[1] <= 65_537 else np.uint64

    def measure_to(self, row: Ordinals) -> NDArray[Any]:
        """The distances to a row, for "l2" their squares: what adds up over dimensions, or tops for "linf"."""
        np.maximum(self.block, row, out=self.high)
        np.minimum(self.block, row, out=self.low)
        # The true difference fits the unsigned type; the signed subtraction wraps to the same bits.
        np.subtract(self.high, self.low, out=self.high)
        difference = self.high.view(_unsigned(self.high))
        if self.metric == "l2":
            wide = difference.astype(np.float64)
            return np.asarray(np.einsum("ij,ij->i", wide, wide))
        if self.metric == "linf":
            found = difference.max(axis=1)
        elif self.metric == "l1":
            found = difference.sum(axis=1, dtype=self.sum_dtype)
        else:
            found = np.count_nonzero(difference, axis=1)
        return np.asarray(found).astype(np.int64)


class _Search:
    """A set of rows to be searched for the nearest to each row of a block.

    Each dimension lies in an interval, from the lowest member to the highest; where the members agree it is a
    point. What a row has at most and at least to go to the members on a dimension follows from the interval.
    """

    def __init__(self, members: Ordinals, metric: Metric) -> None:
        self.members, self.metric = members, metric
        self.low, self.high = members.min(axis=0), members.max(axis=0)
        self.width = (self.high.astype(np.int64) - self.low).astype(_unsigned(members))
        self.agree = np.flatnonzero(self.width == 0)
        self.differ = np.flatnonzero(self.width)

    def nearest(self, block: Ordinals) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Distance and index of the first nearest member of each row."""
        if self.metric == "linf":
            return self._nearest_by_largest(block)
        base = np.zeros(len(block), _result_dtype(self.metric))
        if self.agree.size:
            base += _Scratch(_columns(block, self.agree), self.metric).measure_to(self.members[0, self.agree])
        best, which = self._compare(block, self.differ, base)
        return _finish(best, self.metric), which

    def _nearest_by_largest(self, block: Ordinals) -> tuple[NDArray[Any], NDArray[np.int32]]:
        # At most this far on each dimension (exactly, unless the row lies inside the interval), at least this
        # less the width. Where the largest is on a dimension of no width, it is the distance to every member.
        most = np.maximum(block, self.high)
        most -= np.minimum(block, self.low)
        most = most.view(self.width.dtype)
        top = most.argmax(axis=1)
        best = most[np.arange(len(block)), top].astype(np.int64)
        which = np.zeros(len(block), np.int32)
        left = np.flatnonzero(self.width[top])
        if left.size:
            most = most[left]
            least = (most - self.width).max(axis=1)
            open_dims = np.flatnonzero((most > least[:, None]).any(axis=0))
            best[left], which[left] = self._compare(block[left], open_dims, least.astype(np.int64))
        return best, which

    def _compare(
        self, block: Ordinals, dims: NDArray[np.int64], base: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """The nearest over some dimensions, given what the others come to for every member alike."""
        which = np.zeros(len(block), np.int32)
        if not dims.size:
            return base, which
        join = np.maximum if self.metric == "linf" else np.add
        block, members = _columns(block, dims), _columns(self.members, dims)
        best = np.full(len(block), np.inf if self.metric == "l2" else np.iinfo(np.int64).max, base.dtype)
        if len(block) >= len(members):
            scratch = _Scratch(block, self.metric)
            for index, row in enumerate(members):
                found = join(base, scratch.measure_to(row))
                closer = found < best
                best[closer] = found[closer]
                which[closer] = index
            return best, which
        # A few rows against many members: the same with the roles exchanged.
        for start, stop in _spans(*members.shape):
            scratch = _Scratch(members[start:stop], self.metric)
            for index, row in enumerate(block):
                found = join(base[index], scratch.measure_to(row))
                first = int(found.argmin())
                if found[first] < best[index]:
                    best[index], which[index] = found[first], start + first
        return best, which


class _Box:
    """The bounding box of a set, widened by a bound; tested on a growing number of dimensions."""

    def __init__(self, fmt: FloatFormat, members: Ordinals, bound: int) -> None:
        limits = np.iinfo(members.dtype)
        self.fmt = fmt
        self.low = np.maximum(members.min(axis=0).astype(np.int64) - bound, limits.min).astype(members.dtype)
        self.high = np.minimum(members.max(axis=0).astype(np.int64) + bound, limits.max).astype(members.dtype)

    def inside(self, words: Words) -> NDArray[np.int64]:
        """Indices of the rows of a block that lie in the box."""
        left = np.arange(len(words))
        start, width = 0, 16
        while start < words.shape[1] and left.size:
            stop = start + width
            ranks = compact_ordinals(self.fmt, words[left, start:stop])
            fits = ((ranks >= self.low[start:stop]) & (ranks <= self.high[start:stop])).all(axis=1)
            left = left[fits]
            start, width = stop, width * 4
        return left


def _without_nan(fmt: FloatFormat, ids: NDArray[np.int64], ranks: Ordinals) -> tuple[NDArray[np.int64], Ordinals]:
    top = fmt.largest_finite + (1 if fmt.has_infinity else 0)
    if ranks.size and (ranks.max() > top or ranks.min() < -top):
        ranked = ((ranks <= top) & (ranks >= -top)).all(axis=1)
        return ids[ranked], ranks[ranked]
    return ids, ranks


def _columns(ranks: Ordinals, dims: NDArray[np.int64]) -> Ordinals:
    # Indexing would lay the result out by columns, which makes every row a stride.
    return ranks if len(dims) == ranks.shape[1] else np.take(ranks, dims, axis=1)


def _result_dtype(metric: Metric) -> type[np.float64 | np.int64]:
    return np.float64 if metric == "l2" else np.int64


def _finish(measured: NDArray[Any], metric: Metric) -> NDArray[Any]:
    return np.sqrt(measured, out=measured) if metric == "l2" else measured


def _unsigned(ranks: Ordinals) -> np.dtype[Any]:
    return np.dtype(f"u{ranks.itemsize}")


def _spans(n_rows: int, dim: int) -> Iterator[tuple[int, int]]:
    step = max(1, BLOCK_NUMBERS // dim)
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)


def _in_parallel(work: Callable[[tuple[int, int]], None], spans: Iterator[tuple[int, int]]) -> None:
    """Runs blocks on every core: numpy lets go of the interpreter inside its loops."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(work, spans):
            pass
