"""A factor common to many rows, as decoupled weight decay leaves on rows that no gradient reached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from forensics.diff.rows import UNCHANGED, RowChanges


@dataclass(frozen=True, slots=True)
class Scaling:
    """Rows of B that are one common multiple of their rows of A.

    Attributes:
        factor: the multiple, median over the rows.
        rows: rows of which it explains more than half, of the squared change and of the squared row.
        of: rows that changed, are finite, and were not zero.
        explained: median share that it explains, over those rows.
    """

    factor: float
    rows: int
    of: int
    explained: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


def find_scaling(changes: RowChanges, dim: int) -> Scaling | None:
    """The common factor of the rows that went towards or away from zero and nowhere else.

    With d = b - a, the multiple of a that is nearest to d is g = <a,d>/<a,a>. It leaves d - g a = b - (1 + g) a and
    explains 1 - |d - g a|^2 / min(|d|^2, |b|^2): of the change, and of b itself, because for unrelated rows g = -1
    explains half of the change. The common factor is 1 + the median g of the rows of which their own explains
    more than half; a row counts if that one g does so, too.

    Half is what chance does not reach: the cosine of a random direction to a given one exceeds t with a probability
    of at most exp(-dim t^2 / 2). Nothing is found where that would give one row among those that changed. A factor
    so near to 1 that most numbers round back to where they were stays unseen: their change is rounding.

    Returns:
        None with fewer than two such rows.

    References:
        K. Ball, "An elementary introduction to modern convex geometry" (1997), lecture 2 (caps of the sphere);
        Loshchilov & Hutter 2019, arXiv 1711.05101 (decoupled decay multiplies each weight by 1 - lr x decay).
    """
    usable = np.flatnonzero((changes.state != UNCHANGED) & (changes.norm > 0) & (changes.distance > 0))
    chance = 2 * len(usable) * math.exp(-dim / 4)
    if len(usable) < 2 or chance >= 1:
        return None
    own, square = changes.norm[usable] ** 2, changes.distance[usable] ** 2
    along = changes.along[usable]
    whole = np.minimum(square, np.maximum(own + 2 * along + square, 0))
    candidates = square - along**2 / own < whole / 2
    if not candidates.any():
        return None
    g = float(np.median((along / own)[candidates]))
    left = square - 2 * g * along + g * g * own
    explained = 1 - np.divide(left, whole, out=np.ones_like(left), where=whole > 0)
    scaled = explained > 0.5
    if scaled.sum() < 2:
        return None
    return Scaling(1 + g, int(scaled.sum()), len(usable), float(np.median(explained[scaled])))
