"""Connected components of rows that lie within one lattice step of each other on every dimension.

All pairs on all dimensions would be 6 x 10^9 comparisons for 2,221 rows of 2,560 dimensions. Most pairs are told apart
by a few bits: per dimension and threshold t, whether a row is at most t and whether it is at least t + 2. Two rows of
which one is the first and the other the second are two steps apart or more. What is left is compared number by number,
and only where it could still join two components.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forensics.lattice.distances import Ordinals

CHUNK = 1 << 17
"""Pairs whose bits are looked at together: their 64-bit words stay in a core's second-level cache."""

STAGE = 64
"""Dimensions whose bits are made at a time; the widest come first, and few stages are needed."""

EXACT = 1 << 20
"""Numbers that are compared together."""

Bits = NDArray[np.uint64]


def find_components(ordinals: Ordinals) -> NDArray[np.int64]:
    """The component of every row in the graph that joins rows at L-infinity 1 or less, ``int64[n]`` from 0.

    Args:
        ordinals: ``int[n, dims]``, of at least one row; dimensions on which all agree may be left out.
    """
    extent = np.subtract(ordinals.max(axis=0), ordinals.min(axis=0), dtype=np.int64)
    # On a dimension one step wide no two rows are two apart.
    wide = np.argsort(-extent, kind="stable")[: int((extent > 1).sum())]
    labels = np.arange(len(ordinals))
    if not len(wide):
        return np.zeros_like(labels)
    ordered = np.ascontiguousarray(ordinals[:, wide])
    stages = _Stages(ordered)
    step = max(1, CHUNK // len(labels))
    for start in range(0, len(labels), step):
        first, second = _unseparated(stages, labels, start, min(start + step, len(labels)))
        _join(ordered, labels, first, second)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


class _Stages:
    """The rows' bits, made a stage of dimensions at a time, as far as they are asked for."""

    def __init__(self, ordinals: Ordinals) -> None:
        self.ordinals = ordinals
        self.made: list[tuple[Bits, Bits]] = []

    def __iter__(self) -> Iterator[tuple[Bits, Bits]]:
        """Words of low and of high bits, ``uint64[n]`` each, from the widest dimensions on."""
        for at in range(0, self.ordinals.shape[1], STAGE):
            if at // STAGE * 3 >= len(self.made):
                self._make(self.ordinals[:, at : at + STAGE])
            yield from self.made[at // STAGE * 3 : at // STAGE * 3 + 3]

    def _make(self, ranks: Ordinals) -> None:
        # Thresholds about the first row: the most populated one is in the middle of a tight cloud.
        from_first = np.subtract(ranks, ranks[0], dtype=np.int64)
        self.made += [(_words(from_first <= t), _words(from_first >= t + 2)) for t in (-1, 0, -2)]


def _words(bits: NDArray[np.bool_]) -> Bits:
    full = np.zeros((len(bits), STAGE), np.bool_)
    full[:, : bits.shape[1]] = bits
    return np.packbits(full, axis=1).view(np.uint64)[:, 0]


def _unseparated(
    stages: _Stages, labels: NDArray[np.int64], start: int, stop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of a row from ``start`` to ``stop`` and a later row of another component that no bit tells apart."""
    near = labels[start:stop, np.newaxis] != labels[start:]
    near &= np.arange(start, stop)[:, np.newaxis] < np.arange(start, len(labels))
    # All pairs at once, while many are left; then pair by pair.
    words = iter(stages)
    for low, high in words:
        apart = low[start:stop, np.newaxis] & high[start:]
        apart |= high[start:stop, np.newaxis] & low[start:]
        near &= apart == 0
        if 8 * np.count_nonzero(near) < near.size:
            break
    first, second = np.nonzero(near)
    first, second = first + start, second + start
    for low, high in words:
        if not len(first):
            break
        together = ((low[first] & high[second]) | (high[first] & low[second])) == 0
        first, second = first[together], second[together]
    return first, second


def _join(ordinals: Ordinals, labels: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    """Joins the components of the pairs that are adjacent indeed; ``labels`` is written in place."""
    step = max(1, EXACT // ordinals.shape[1])
    while len(first):
        # The pairs of one row come together, so that after it few within its component are left.
        a, b = first[:step], second[:step]
        adjacent = (np.abs(np.subtract(ordinals[a], ordinals[b], dtype=np.int64)) <= 1).all(axis=1)
        if adjacent.any():
            labels[:] = _joined(len(labels), labels[a[adjacent]], labels[b[adjacent]])[labels]
        first, second = first[step:], second[step:]
        parted = labels[first] != labels[second]
        first, second = first[parted], second[parted]


def _joined(n: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """The new label of each of ``n`` labels, of which some pairs are one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(n, n))
    return np.asarray(connected_components(edges, directed=False)[1]).astype(np.int64)
