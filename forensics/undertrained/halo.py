"""The near-dead halo: tokens close to a black hole or to the reference without being in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.embedding import Embedding
from forensics.gaps import Gap, largest_gap
from forensics.lattice.distances import pairwise_distances, row_ordinals
from forensics.lattice.selections import NEAREST
from forensics.undertrained.passes import Vector, over_parts, row_squares
from forensics.undertrained.reference import Reference

LISTED = 64

MOST_CENTRES = 32
"""Holes that distances are measured to, the most populated first: each costs as much as a pass over the matrix."""


@dataclass(frozen=True, slots=True)
class HaloToken:
    """A token near the dead ones.

    Attributes:
        token_id: the token.
        distance: Euclidean, in value units, to the nearest centre.
        nearest: a token of that centre: a hole's first, or None for the reference mean.
        inside: nearer than the threshold.
        linf_steps, l1_steps: lattice distance to that hole's row; None for the reference mean, where the row has no
            place on the lattice, and for quantised matrices.
    """

    token_id: int
    distance: float
    nearest: int | None
    inside: bool
    linf_steps: int | None
    l1_steps: int | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, eq=False)
class Halo:
    """What lies around the holes and the reference.

    Attributes:
        centres: how many points distances are to: solid holes' rows, and the reference mean where holes do not
            supply it.
        void: the largest gap among the NEAREST distances, at most half of all, those of the holes and the reference
            included; None without. It is the largest, and no test: where a cloud thins out it may set a few ordinary
            rows apart.
        token_ids: ``int64[n]``, the halo: nearer than the void's threshold, in neither set, nearest first.
        tokens: the nearest in neither set, inside the threshold or not, at most LISTED.
    """

    centres: int
    void: Gap | None
    token_ids: NDArray[np.int64]
    tokens: tuple[HaloToken, ...]

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def is_apart(self) -> bool:
        """The void is wider than all that lies inside it: no thinning cloud ends so."""
        return self.void is not None and self.void.upper > 2 * self.void.lower

    def to_dict(self) -> dict[str, Any]:
        """The count, the void, and the nearest tokens."""
        return {
            "definition": "tokens nearer to a hole or the reference mean than the largest gap, in neither",
            "centres": self.centres,
            "void": self.void and self.void.to_dict(),
            "tokens": len(self),
            "nearest": [token.to_dict() for token in self.tokens],
        }


def find_halo(
    embedding: Embedding, holes: BlackHoles, reference: Reference | None = None, *, listed: int = LISTED
) -> Halo:
    """The tokens around the holes and the reference, nearest first; two passes over the matrix.

    Args:
        embedding: any matrix.
        holes: its black holes; those that are zero or not finite are no centres.
        reference: what :func:`~forensics.undertrained.reference.find_reference` found.
        listed: how many of the nearest to describe.

    Returns:
        An empty halo where there is neither a solid hole nor a reference.
    """
    solid = [h for h in holes.holes if not h.is_zero and np.isfinite(embedding.values_of(h.token_ids[:1])).all()]
    named = np.array([hole.representative for hole in solid[:MOST_CENTRES]], dtype=np.int64)
    members = holes.mask  # zero rows among them: they are no centres, and no halo
    centres = list(embedding.values_of(named).astype(np.float64)) if len(named) else []
    if reference is not None and reference.mean is not None:
        if not members[reference.token_ids].all():
            centres.append(reference.mean)
        members[reference.token_ids] = True
    if not centres:
        return Halo(0, None, np.empty(0, np.int64), ())
    distances, which = _nearest(embedding, np.stack(centres))
    # A gap with most of the matrix before it lies behind the bulk, before its last outliers.
    void = largest_gap(distances, among=min(NEAREST, int(np.isfinite(distances).sum()) // 2))
    order = np.argsort(distances, kind="stable")
    order = order[~members[order] & np.isfinite(distances[order])]
    inside = order[distances[order] < (void.threshold if void else 0)]
    steps = _steps(embedding, order[:listed], named)
    tokens = tuple(
        _describe(int(token), float(distances[token]), int(which[token]), named, void, steps[i])
        for i, token in enumerate(order[:listed])
    )
    return Halo(len(centres), void, inside, tokens)


def _nearest(embedding: Embedding, centres: Vector) -> tuple[Vector, NDArray[np.int64]]:
    """The distance of every row to its nearest centre, nan if the row is not finite, and which that is.

    Each difference is formed: near rows' distances would drown in a difference of squares.
    """
    squares, which = np.full(embedding.n_rows, np.inf), np.zeros(embedding.n_rows, np.int64)

    def work(blocks: Iterator[tuple[int, Vector]]) -> None:
        for start, block in blocks:
            rows = slice(start, start + len(block))
            offset = np.empty_like(block)
            for index, centre in enumerate(centres):
                with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite
                    found = row_squares(np.subtract(block, centre, out=offset))
                which[rows][found < squares[rows]] = index
                np.minimum(squares[rows], found, out=squares[rows])

    over_parts(embedding, work)
    squares[~np.isfinite(squares)] = np.nan
    return np.sqrt(squares), which


def _steps(embedding: Embedding, token_ids: NDArray[np.int64], named: NDArray[np.int64]) -> NDArray[np.int64]:
    """L-infinity and L1 on the lattice of some tokens to some others, ``int64[n, m, 2]``; m = 0 if quantised."""
    if embedding.is_quantised or not len(token_ids) or not len(named):
        return np.empty((len(token_ids), 0, 2), np.int64)
    rows, centres = row_ordinals(embedding, token_ids), row_ordinals(embedding, named)
    return np.stack([pairwise_distances(rows, centres, metric) for metric in ("linf", "l1")], axis=2)


def _describe(
    token: int, distance: float, which: int, named: NDArray[np.int64], void: Gap | None, steps: NDArray[np.int64]
) -> HaloToken:
    hole = int(named[which]) if which < len(named) else None
    linf, l1 = (int(n) for n in steps[which]) if hole is not None and len(steps) else (None, None)
    return HaloToken(token, distance, hole, void is not None and distance < void.threshold, linf, l1)
