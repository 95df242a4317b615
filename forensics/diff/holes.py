"""What became of the black holes: of each hole, and of each token by the hole it is in.

Holes are found within each matrix by bit identity; between the two only tokens are followed, so that this means the
same whatever the formats.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.diff.pairing import Pairing

Fate = Literal["kept", "merged", "split", "dissolved"]
"""Dissolved: no two of its tokens share a row any more. Split: its tokens are in two holes or more. Else they are in
one, merged with tokens of another hole, or kept."""

HOLE_CHANGES = ("outside", "stays", "joined", "left", "changed hole")
"""Names of the codes of :func:`token_changes`. A token stays where it shares its row with some token that it shared
its row with before; it has changed hole where it shares it with others only."""

OUTSIDE, STAYS, JOINED, LEFT, CHANGED_HOLE = range(5)


@dataclass(frozen=True, slots=True)
class HoleFate:
    """Where the tokens of one hole are in the other matrix.

    Attributes:
        id: the hole's number in its own matrix.
        population: its tokens.
        fate: what became of it.
        holes: (number, tokens) of each hole of the other matrix that its tokens are in, most tokens first.
        alone: its tokens whose row in the other matrix no other row equals.
        gone: its tokens that have no row there.
        unchanged: its tokens whose stored bytes are the same in both.
    """

    id: int
    population: int
    fate: Fate
    holes: tuple[tuple[int, int], ...]
    alone: int
    gone: int
    unchanged: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__} | {"holes": [list(h) for h in self.holes]}


def map_holes(
    first: BlackHoles, second: BlackHoles, pairing: Pairing, unchanged: NDArray[np.bool_]
) -> tuple[tuple[HoleFate, ...], tuple[HoleFate, ...]]:
    """The fate of every hole of A in B; and the other way round, where "dissolved" means that it is new in B.

    Args:
        first: the holes of A.
        second: the holes of B.
        pairing: which row of B is whose.
        unchanged: ``bool[pairs]``, the stored bytes are the same.
    """
    a, b = first.hole_ids[pairing.first], second.hole_ids[pairing.second]
    return _fates(first, a, b, unchanged), _fates(second, b, a, unchanged)


def token_changes(first: BlackHoles, second: BlackHoles, pairing: Pairing) -> NDArray[np.uint8]:
    """What each pair's token did among the holes, ``uint8[pairs]``, an index into HOLE_CHANGES."""
    a, b = first.hole_ids[pairing.first].astype(np.int64), second.hole_ids[pairing.second].astype(np.int64)
    _, where, together = np.unique(a << 32 | b, return_inverse=True, return_counts=True)
    inside = np.where(together[where] > 1, STAYS, CHANGED_HOLE)
    outside = np.where(a > 0, LEFT, np.where(b > 0, JOINED, OUTSIDE))
    return np.where((a > 0) & (b > 0), inside, outside).astype(np.uint8)


def _fates(
    holes: BlackHoles, here: NDArray[np.int32], there: NDArray[np.int32], unchanged: NDArray[np.bool_]
) -> tuple[HoleFate, ...]:
    inside = np.flatnonzero(here)
    found, counts = np.unique(np.stack([here[inside], there[inside]]), axis=1, return_counts=True)
    images: dict[int, list[tuple[int, int]]] = defaultdict(list)
    sources: dict[int, int] = defaultdict(int)
    for hole, other, n in zip(*found.tolist(), counts.tolist(), strict=True):
        images[hole].append((other, n))
        sources[other] += 1
    same = np.bincount(here[inside][unchanged[inside]], minlength=len(holes) + 1)
    fates = []
    for hole in holes.holes:
        places = sorted((p for p in images[hole.id] if p[0]), key=lambda p: (-p[1], p[0]))
        alone = sum(n for other, n in images[hole.id] if not other)
        gone = hole.population - alone - sum(n for _, n in places)
        fate = _fate(places, sources)
        fates.append(HoleFate(hole.id, hole.population, fate, tuple(places), alone, gone, int(same[hole.id])))
    return tuple(fates)


def _fate(places: list[tuple[int, int]], sources: dict[int, int]) -> Fate:
    if not places or places[0][1] < 2:
        return "dissolved"
    if len(places) > 1:
        return "split"
    return "merged" if sources[places[0][0]] > 1 else "kept"
