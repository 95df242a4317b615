"""Hidden states in figures: how far they point one way, and how that way lies to the dead and the live tokens' rows.

h is the input of the output matrix, so h_mean @ row is a token's mean logit (an output bias aside), and the mean logit
of a set of tokens is h_mean times the set's centroid: the angle between them says how much the model holds them down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.plain import number
from forensics.embedding import Embedding
from forensics.geometry import angle_deg, cosine
from forensics.hypotheses.observables.observable import Observable

Vector = NDArray[np.float64]

_RAW = "raw frame, output matrix"

HIDDEN = (
    Observable(
        "h_mean_share",
        "share of h_mean in h",
        "share",
        "hidden states",
        "|mean h|^2 over mean |h|^2: 1 where all are one vector, about 1 / n for n unrelated ones",
        needs="live",
        transform="arcsine",
        resolution=0.01,
    ),
    Observable(
        "h_resultant",
        "resultant length of h",
        "share",
        "hidden states",
        "length of the mean of h / |h|: 1 if all point one way (Mardia and Jupp 2000, section 9.2.1)",
        needs="live",
        transform="arcsine",
        resolution=0.01,
    ),
    Observable(
        "h_angle",
        "angle of h to h_mean",
        "degrees",
        "hidden states",
        "mean angle between a hidden state and h_mean",
        needs="live",
        resolution=0.5,
    ),
    Observable(
        "h_spread_along",
        "spread of h along h_mean",
        "ratio",
        "hidden states",
        "variance of h along h_mean over the mean variance of the D - 1 directions across it: 1 if round",
        needs="live",
        transform="log",
        resolution=0.05,
    ),
    *(
        Observable(
            f"h_{key}_angle",
            f"h_mean to {name}",
            "degrees",
            f"hidden states against {name}",
            f"angle between h_mean and {name}, {_RAW}; chance is 90 \u00b1 57.3 / sqrt(D) in a round cloud",
            needs="live",
            resolution=0.5,
        )
        for key, name in (
            ("dead", "the dead centroid"),
            ("live", "the live centroid"),
            ("difference", "dead less live centroid"),
        )
    ),
    Observable(
        "dead_logit_rank",
        "live tokens scored below the dead",
        "share",
        "live tokens against dead tokens",
        "live tokens whose mean logit h_mean @ row is below the dead tokens' mean, over live tokens; no output bias",
        needs="live",
        transform="arcsine",
        resolution=0.01,
    ),
    Observable(
        "dead_logit_gap",
        "dead less live mean logit",
        "nats",
        "dead tokens against live tokens",
        "h_mean @ (dead centroid less live centroid): the mean over positions and tokens; no output bias",
        needs="live",
        resolution=0.05,
    ),
    Observable(
        "dead_probability",
        "dead probability over uniform",
        "ratio",
        "dead tokens",
        "mean over positions and dead tokens of p, times the vocabulary's size: 1 if all tokens were equally likely",
        needs="live",
        transform="log",
        resolution=0.1,
    ),
)
"""What is said of hidden states, in report order."""


@dataclass(frozen=True, slots=True, eq=False)
class Lie:
    """How h_mean lies to the output matrix.

    Attributes:
        dim: D.
        dead, live: ``float64[D]``, centroids in the raw frame.
        cosines: of h_mean with the dead centroid ("dead"), the live one ("live"), and dead less live ("difference");
            None where one of the two vectors is zero.
        values: the observables that follow, by name.
    """

    dim: int
    dead: Vector
    live: Vector
    cosines: Mapping[str, float | None]
    values: Mapping[str, float | None]

    def z(self, key: str) -> float | None:
        """The cosine in units of 1 / sqrt(D): its standard deviation between random directions (Cai et al. 2013)."""
        found = self.cosines[key]
        return None if found is None else found * math.sqrt(self.dim)


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """What is known of one model's hidden states.

    Attributes:
        where: of what and when, in words.
        lie: of h_mean to the output matrix.
        values: every observable of ``HIDDEN``, by name; None where undefined or not recorded.
        mean_norm: |h_mean|.
        norm: mean |h|; None where it was not recorded.
        intervals: 95 % bootstrap intervals of cosines, by key of ``Lie.cosines``; empty where there are no windows to
            draw from.
        facts: what else is to be said: positions, windows, loss in nats.
    """

    where: str
    lie: Lie
    values: Mapping[str, float | None]
    mean_norm: float
    norm: float | None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "where": self.where,
            "dim": self.lie.dim,
            "h_mean_norm": self.mean_norm,
            "h_norm": self.norm,
            "cosines": dict(self.lie.cosines),
            "z": {key: self.lie.z(key) for key in self.lie.cosines},
            "intervals": {key: list(ends) for key, ends in self.intervals.items()},
            "values": dict(self.values),
            **self.facts,
        }


def lie_of(embedding: Embedding, h_mean: Vector, dead_ids: NDArray[np.int64], live_ids: NDArray[np.int64]) -> Lie:
    """How a mean hidden state lies to a matrix's dead and live rows; one pass, a block of rows at a time.

    Args:
        embedding: the output matrix.
        h_mean: ``float64[D]``.
        dead_ids: of the dead tokens, one at least.
        live_ids: of the live tokens, one at least.
    """
    kinds = np.zeros(embedding.n_rows, np.int8)
    kinds[live_ids], kinds[dead_ids] = 1, 2
    sums = {1: np.zeros(embedding.dim), 2: np.zeros(embedding.dim)}
    logits = np.empty(embedding.n_rows)
    for start, values in embedding.blocks():
        block, kind = values.astype(np.float64), kinds[start : start + len(values)]
        logits[start : start + len(values)] = block @ h_mean
        for which in sums:
            sums[which] += block[kind == which].sum(axis=0)
    live, dead = sums[1] / max(1, len(live_ids)), sums[2] / max(1, len(dead_ids))
    towards = {"dead": dead, "live": live, "difference": dead - live}
    level = float(logits[dead_ids].mean())
    found = finite(
        {f"h_{key}_angle": angle_deg(h_mean, vector) for key, vector in towards.items()}
        | {
            "dead_logit_rank": float((logits[live_ids] < level).mean()),
            "dead_logit_gap": level - float(logits[live_ids].mean()),
        }
    )
    return Lie(embedding.dim, dead, live, {key: cosine(h_mean, vector) for key, vector in towards.items()}, found)


def spread_of(h: NDArray[np.float32]) -> tuple[Vector, dict[str, float | None], float]:
    """The mean, the figures of the spread about it, and the mean length of hidden states.

    Args:
        h: ``float32[n, D]``, one at least.

    Returns:
        ``float64[D]`` h_mean; the first four of ``HIDDEN``, as the toy's recorder has them; mean |h|.
    """
    n, dim = h.shape
    mean = h.sum(axis=0, dtype=np.float64) / n
    length = float(np.linalg.norm(mean))
    if not length:
        return mean, dict.fromkeys(o.name for o in HIDDEN[:4]), float(np.linalg.norm(h, axis=1).mean())
    direction, units = mean / length, np.zeros(dim)
    total = along_total = angles = norms = 0.0
    for start in range(0, n, 1024):  # float64 of so many at once is a few MB
        block = h[start : start + 1024].astype(np.float64)
        sizes = np.linalg.norm(block, axis=1)
        centred = block - mean
        squares, along = (centred**2).sum(axis=1), centred @ direction
        across = np.sqrt(np.maximum(squares - along**2, 0.0))
        total, along_total, norms = total + squares.sum(), along_total + (along**2).sum(), norms + sizes.sum()
        angles += float(np.degrees(np.arctan2(across, along + length)).sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            units += (block / sizes[:, None]).sum(axis=0)
    values = spread_values(length, total / n, along_total / n, dim)
    found = finite({**values, "h_resultant": float(np.linalg.norm(units)) / n, "h_angle": angles / n})
    return mean, found, norms / n


def spread_values(length: float, total: float, along: float, dim: int) -> dict[str, float | None]:
    """Share of the mean and roundness of the spread, from |h_mean|, mean |h - h_mean|^2 and the variance along it."""
    across = (total - along) / max(1, dim - 1)
    share = length**2 / (length**2 + total) if length or total else None
    return finite({"h_mean_share": share, "h_spread_along": along / across if across > 0 else None})


def finite(values: Mapping[str, Any]) -> dict[str, float | None]:
    """The values with None for what is not a finite number."""
    return {k: None if v is None else number(v) for k, v in values.items()}
