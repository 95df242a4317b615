"""What was published about Qwen3-4B-Instruct-2507's embedding, and how it is carried to fewer dimensions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from forensics.formats import BFLOAT16, Words


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """The published figures that are planted; words are bfloat16, norms in units of the value.

    Attributes:
        rows, dim: size of the matrix.
        populations: tokens in each of the 13 holes, falling.
        varying_dims: the dimensions on which some two holes differ, ascending.
        words: ``uint16[13, len(varying_dims)]``, the holes' words there.
        words_at: other dimensions whose word (equal in all holes) was printed.
        exponents_at: dimensions of which only the raw exponent was printed.
        exponents: ``int64[dim]``, the raw exponents of hole 1, sorted: its histogram spelled out.
        hole_norm: norm of hole 1.
        positive_share: share of hole 1's numbers that are positive.
        singletons: for k = 0, 1, ...: tokens in no hole whose largest exponent difference to hole 1 is k.
        rest_norm_mean, rest_norm_std: mean and population deviation of the norms of all rows that are in no hole.
        rest_centroid_norm: norm of the mean of those rows.
        centroid_cosine: cosine of that mean with the mean of the in-hole rows.
    """

    rows: int
    dim: int
    populations: tuple[int, ...]
    varying_dims: tuple[int, ...]
    words: Words
    words_at: dict[int, int]
    exponents_at: dict[int, int]
    exponents: NDArray[np.int64]
    hole_norm: float
    positive_share: float
    singletons: tuple[int, ...]
    rest_norm_mean: float
    rest_norm_std: float
    rest_centroid_norm: float
    centroid_cosine: float

    @property
    def n_dead(self) -> int:
        """In-hole tokens and singletons: 2,212."""
        return sum(self.populations) + sum(self.singletons)

    def scale(self, dim: int) -> float:
        """What norms shrink by with fewer dimensions of the same numbers: sqrt(dim / 2560)."""
        return float(np.sqrt(dim / self.dim))

    def varying_positions(self, dim: int) -> NDArray[np.int64]:
        """Where the varying dimensions go among ``dim``: spread as published, in order, none twice.

        The published positions themselves at full size.
        """
        positions = np.array(self.varying_dims, dtype=np.int64) * dim // self.dim
        order = np.arange(len(positions))
        # Each at least one past the one before, then none past the end.
        positions = np.maximum.accumulate(positions - order) + order
        return np.minimum(positions, dim - len(positions) + order)


@cache
def published() -> Published:
    """The figures, from the package's data file."""
    said = json.loads(files("forensics.synthetic").joinpath("qwen3_4b.json").read_text(encoding="utf-8"))
    histogram = {int(e): n for e, n in said["exponent_histogram"].items()}
    return Published(
        rows=said["rows"],
        dim=said["dim"],
        populations=tuple(said["populations"]),
        varying_dims=tuple(said["varying_dims"]),
        words=np.array([[int(w, 16) for w in row] for row in said["words"]], BFLOAT16.word_dtype),
        words_at={int(d): int(w, 16) for d, w in said["words_at"].items()},
        exponents_at={int(d): e for d, e in said["exponents_at"].items()},
        exponents=np.repeat(list(histogram), list(histogram.values())),
        hole_norm=said["hole_norm"],
        positive_share=said["positive_share"],
        singletons=tuple(said["singletons_by_exponent_distance"]),
        rest_norm_mean=said["rest_norm_mean"],
        rest_norm_std=said["rest_norm_std"],
        rest_centroid_norm=said["rest_centroid_norm"],
        centroid_cosine=said["centroid_cosine"],
    )
