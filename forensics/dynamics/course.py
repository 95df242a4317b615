"""The course of one cloud of rows: its centroid and its radii at every recorded step.

The centroid is the mean row. A cloud's path is the broken line of its centroid through the recorded steps; a path that
is straight and one that wanders are told apart by the net displacement against what steps of the same lengths in
independent directions would give: the root of the sum of their squares (Pearson, "The problem of the random walk",
Nature 72, 1905: the mean square end-to-end distance of independent steps is the sum of their mean squares).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.measures import Measure

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One cloud at every recorded step; ``T`` steps, ``D`` dimensions.

    Attributes:
        steps: ``int64[T]``.
        centroid: ``float64[T, D]``, the mean row.
        radius_mean, radius_max: ``float64[T]``, distance of the rows from their centroid.
        radius_origin: ``float64[T]``, mean distance of the rows from the origin.
        n_tokens: rows of the cloud.
    """

    steps: NDArray[np.int64]
    centroid: Floats
    radius_mean: Floats
    radius_max: Floats
    radius_origin: Floats
    n_tokens: int

    @property
    def norm(self) -> Floats:
        """``float64[T]``, distance of the centroid from the origin."""
        return np.asarray(np.linalg.norm(self.centroid, axis=1))

    @property
    def moves(self) -> Floats:
        """``float64[T - 1, D]``, displacement of the centroid between recorded steps."""
        return np.diff(self.centroid, axis=0)

    @property
    def lengths(self) -> Floats:
        """``float64[T - 1]``, the lengths of `moves`."""
        return np.asarray(np.linalg.norm(self.moves, axis=1))

    @property
    def path(self) -> float:
        """Length of the centroid's path through the recorded steps; a coarser record is shorter."""
        return float(self.lengths.sum())

    @property
    def net(self) -> float:
        """Distance of the last centroid from the first."""
        return float(np.linalg.norm(self.centroid[-1] - self.centroid[0]))

    @property
    def straightness(self) -> float | None:
        """Net displacement over path length: 1 on a line; None for a cloud at rest."""
        return self.net / self.path if self.path else None

    @property
    def directedness(self) -> float | None:
        """Net displacement over the root of the summed squares of the steps: about 1 for a random walk."""
        walk = float(np.sqrt(np.square(self.lengths).sum()))
        return self.net / walk if walk else None

    @property
    def turning(self) -> Floats:
        """``float64[T - 2]``, cosine between one displacement of the centroid and the next; nan at rest."""
        return cosines(self.moves[:-1], self.moves[1:])

    @property
    def liftoff(self) -> int | None:
        """The first step at which the origin is outside the bounding sphere; None if it never is.

        The sphere is about the centroid through the farthest row: the origin is outside where the centroid's norm is
        above the largest distance of a row from it.
        """
        outside = self.norm > self.radius_max
        return int(self.steps[outside.argmax()]) if outside.any() else None

    @property
    def compression(self) -> Floats:
        """``float64[T]``, mean radius over that of the first recorded step; nan for a cloud that began as a point."""
        start = self.radius_mean[0]
        return self.radius_mean / start if start else np.full(len(self.steps), np.nan)


def cosines(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Cosine between rows ``[n, D]`` and rows ``[n, D]``, ``float64[n]``; nan where one is zero."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    products = np.einsum("...d,...d->...", a, b)
    return np.asarray(np.clip(np.divide(products, norms, out=np.full(norms.shape, np.nan), where=norms > 0), -1, 1))


def diagonality(moves: Floats) -> Floats:
    """How far rows ``[n, D]`` are from all coordinates of one size, ``float64[n]``; nan for a zero row.

    L2 / L1 over 1/sqrt(D), by Cauchy and Schwarz from 1 (diagonal) to sqrt(D) (along an axis). For independent normal
    coordinates L2 / L1 tends to sqrt(pi / (2 D)): 1.25.
    """
    l1, l2 = np.abs(moves).sum(axis=1), np.linalg.norm(moves, axis=1)
    ratio = np.divide(l2, l1, out=np.full(len(moves), np.nan), where=l1 > 0)
    return np.asarray(ratio * np.sqrt(moves.shape[1]))


def defined(value: float | np.floating[Any]) -> float | None:
    """A number as JSON holds it: None where it is not finite."""
    return float(value) if np.isfinite(value) else None


def median(values: Floats) -> float | None:
    """Median of the defined values; None without any."""
    held = values[np.isfinite(values)]
    return float(np.median(held)) if len(held) else None


def at_ends(values: Floats) -> Floats:
    """Figures of displacements at their ends: nan before."""
    return np.concatenate([[np.nan], values])


def course_series(course: Course) -> dict[str, Floats]:
    """A cloud's figures of each step, ``float64[T]``."""
    return {
        "centroid_norm": course.norm,
        "centroid_move": at_ends(course.lengths),
        "turning": at_ends(at_ends(course.turning)) if len(course.steps) > 1 else np.full(1, np.nan),
        "radius_mean": course.radius_mean,
        "radius_max": course.radius_max,
        "radius_origin": course.radius_origin,
        "compression": course.compression,
    }


def course_measures(name: str, course: Course) -> list[Measure]:
    """A cloud's figures of the whole run."""
    lift = course.liftoff
    rows: tuple[tuple[str, Any, str, str], ...] = (
        ("path length", _finite(course.path), "value", "length of the centroid's path through the recorded steps"),
        ("net displacement", _finite(course.net), "value", "distance of the last centroid from the first"),
        ("straightness", _finite(course.straightness), "ratio", "net displacement over path length: 1 on a line"),
        (
            "directedness",
            _finite(course.directedness),
            "ratio",
            "net displacement over the root of the steps' summed squares: about 1 for a random walk",
        ),
        ("turning, median", median(course.turning), "cosine", "between one displacement of the centroid and the next"),
        ("centroid norm at the start", defined(course.norm[0]), "value", "distance of the mean row from the origin"),
        ("centroid norm at the end", defined(course.norm[-1]), "value", "distance of the mean row from the origin"),
        (
            "mean radius at the end",
            defined(course.radius_mean[-1]),
            "value",
            "mean distance of rows from their centroid",
        ),
        ("largest radius at the end", defined(course.radius_max[-1]), "value", "of the row farthest from the centroid"),
        ("compression at the end", defined(course.compression[-1]), "ratio", "mean radius over that of the first step"),
        (
            "liftoff",
            lift,
            "step",
            "first recorded step with the origin outside the sphere about the centroid through its farthest row",
        ),
    )
    return [Measure(label, value, unit, name, definition) for label, value, unit, definition in rows]


def _finite(value: float | None) -> float | None:
    return None if value is None else defined(value)
