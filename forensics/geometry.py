"""Norms, centroids and angles of populations of rows, accumulated in float64.

In a scan the populations are always *in-hole* (rows of the non-zero black holes) and *rest* (all others).
Rows that hold an infinity or a nan have no norm and are left out of every centroid; how many is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHole, BlackHoles
from forensics.embedding import Embedding

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NormSummary:
    """Euclidean row norms of a population; None where it has no finite row.

    Attributes:
        population: the name of the set.
        rows: rows with a finite norm.
        left_out: rows with an infinity or a nan.
        mean, std, min, median, max: in units of the value; std is over the population (not n - 1).
    """

    population: str
    rows: int
    left_out: int
    mean: float | None
    std: float | None
    min: float | None
    median: float | None
    max: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields but the population's name."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "population"}


@dataclass(frozen=True, slots=True)
class CentroidPair:
    """The centroids of in-hole and rest rows in one frame under one weighting.

    Attributes:
        weighting: "tokens" (every token counts) or "distinct" (every distinct stored row counts once).
        frame: "raw" (values as stored) or "centred" (less the mean over all finite rows).
        in_hole_norm, rest_norm: norms of the centroids.
        angle_deg: angle between them; None where a centroid is missing or zero.
        distance: norm of their difference.

    In the centred frame under "tokens" the two centroids are opposite by construction (their weighted sum is
    zero): only the norms say anything there.
    """

    weighting: Literal["tokens", "distinct"]
    frame: Literal["raw", "centred"]
    in_hole_norm: float | None
    rest_norm: float | None
    angle_deg: float | None
    distance: float | None

    def to_dict(self) -> dict[str, Any]:
        """The four figures."""
        return {
            "in_hole_norm": self.in_hole_norm,
            "rest_norm": self.rest_norm,
            "angle_deg": self.angle_deg,
            "distance": self.distance,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Norms of every row and the centroids of the two populations.

    Attributes:
        norms: ``float64[rows]``; nan for a row with an infinity or a nan.
        summaries: of all, in-hole and rest rows.
        vocabulary_mean_norm: norm of the mean over all finite rows.
        centroids: for both weightings and both frames.
        hole_angles_deg: for each hole, the angle of its row to the rest centroid, raw frame.
    """

    norms: Vector
    summaries: tuple[NormSummary, NormSummary, NormSummary]
    vocabulary_mean_norm: float | None
    centroids: tuple[CentroidPair, ...]
    hole_angles_deg: tuple[float | None, ...]


def measure_geometry(embedding: Embedding, holes: BlackHoles) -> Geometry:
    """Row norms, centroids and angles; one pass over the matrix, a block of rows at a time."""
    in_hole = in_hole_mask(holes)
    norms, rest_sum, n_rest = _norms_and_rest(embedding, in_hole)
    zero_copies = sum(hole.population - 1 for hole in holes.holes if hole.is_zero)
    weighted, distinct = np.zeros(embedding.dim), np.zeros(embedding.dim)
    n_inside = n_distinct = 0
    for hole, row in _hole_rows(embedding, holes):
        if not hole.is_zero and np.isfinite(norms[hole.representative]):
            weighted += hole.population * row
            distinct += row
            n_inside += hole.population
            n_distinct += 1
    n_finite = n_inside + n_rest
    mean = (weighted + rest_sum) / n_finite if n_finite else None
    rest = rest_sum / n_rest if n_rest else None
    pairs = {
        "tokens": (weighted / n_inside if n_inside else None, rest),
        "distinct": (
            distinct / n_distinct if n_distinct else None,
            rest_sum / (n_rest - zero_copies) if n_rest else None,
        ),
    }
    centroids = tuple(
        _pair(weighting, frame, inside, outside, origin)  # type: ignore[arg-type]
        for weighting, (inside, outside) in pairs.items()
        for frame, origin in (("raw", None), ("centred", mean))
    )
    return Geometry(
        norms=norms,
        summaries=(
            _summarise("all", norms),
            _summarise("in-hole", norms[in_hole]),
            _summarise("rest", norms[~in_hole]),
        ),
        vocabulary_mean_norm=_norm(mean),
        centroids=centroids,
        hole_angles_deg=tuple(angle_deg(row, rest) for _, row in _hole_rows(embedding, holes)),
    )


def angle_deg(first: Vector | None, second: Vector | None) -> float | None:
    """The angle between two vectors in degrees; None if either is missing, zero or not finite.

    2 atan2(|u - v|, |u + v|) on unit vectors keeps its precision at small angles, where arccos of a cosine
    near one loses half the digits (Kahan, "How Futile are Mindless Assessments of Roundoff", 2006).
    """
    if first is None or second is None:
        return None
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if not all(np.isfinite(n) and n > 0 for n in lengths):
        return None
    u, v = first / lengths[0], second / lengths[1]
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v))))


def cosine(first: Vector, second: Vector) -> float | None:
    """The cosine of two vectors; None if either is zero or not finite."""
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if np.isfinite(lengths) and lengths > 0 else None


def _norms_and_rest(embedding: Embedding, in_hole: NDArray[np.bool_]) -> tuple[Vector, Vector, int]:
    """Norm of every row; and over the finite rows outside the holes, their sum and number.

    The rest is summed by itself: as the sum of all less that of the holes it would carry their rounding.
    """
    squares = np.empty(embedding.n_rows)
    total = np.zeros(embedding.dim)
    n_rest = 0
    for start, values in embedding.blocks():
        stop = start + len(values)
        block = _as_float64(values)
        squares[start:stop] = np.einsum("ij,ij->i", block, block)
        counted = np.isfinite(squares[start:stop]) & ~in_hole[start:stop]
        n_rest += int(counted.sum())
        block[~counted] = 0  # the block is a copy, and this is cheaper than to pick the others out
        total += block.sum(axis=0)
    squares[~np.isfinite(squares)] = np.nan
    return np.sqrt(squares), total, n_rest


def _hole_rows(embedding: Embedding, holes: BlackHoles) -> Iterator[tuple[BlackHole, Vector]]:
    """Each hole with its row, a block of holes at a time: a matrix can be nothing but pairs."""
    for start, stop in embedding.spans(len(holes)):
        chosen = holes.holes[start:stop]
        rows = np.array([hole.representative for hole in chosen], dtype=np.int64)
        yield from zip(chosen, _as_float64(embedding.values_of(rows)), strict=True)


def _as_float64(values: NDArray[np.float32]) -> Vector:
    with np.errstate(invalid="ignore"):  # a signalling nan is turned into a quiet one
        return values.astype(np.float64)


def in_hole_mask(holes: BlackHoles) -> NDArray[np.bool_]:
    """``bool[rows]``: in a hole whose row is not all zero."""
    zero_holes = [hole.id for hole in holes.holes if hole.is_zero]
    return holes.mask & ~np.isin(holes.hole_ids, zero_holes)


def _summarise(population: str, norms: Vector) -> NormSummary:
    finite = norms[np.isfinite(norms)]
    left_out = len(norms) - len(finite)
    if not len(finite):
        return NormSummary(population, 0, left_out, None, None, None, None, None)
    figures = (finite.mean(), finite.std(), finite.min(), np.median(finite), finite.max())
    return NormSummary(population, len(finite), left_out, *(float(f) for f in figures))


def _pair(
    weighting: Literal["tokens", "distinct"],
    frame: Literal["raw", "centred"],
    inside: Vector | None,
    rest: Vector | None,
    origin: Vector | None,
) -> CentroidPair:
    if origin is not None:
        inside = None if inside is None else inside - origin
        rest = None if rest is None else rest - origin
    distance = None if inside is None or rest is None else _norm(inside - rest)
    return CentroidPair(weighting, frame, _norm(inside), _norm(rest), angle_deg(inside, rest), distance)


def _norm(vector: Vector | None) -> float | None:
    return None if vector is None else float(np.linalg.norm(vector))
