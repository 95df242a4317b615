"""What a source of perhaps untrained tokens proposes, and which proposal the sources support most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.embedding import Embedding
from forensics.undertrained.passes import Moments, Vector, cosine_distance, products
from forensics.undertrained.separation import LEVEL, SUPPORTED_LEVEL, Separation, find_separation

MAJORITY = 0.5
"""Of a source's rows: where fewer are in the near group, the source is about something else."""

HOLES = "black holes"
"""The source that is found from identical rows."""

MEDIAN_ROWS = 1_024
"""Rows, evenly spread over a source, that its median is taken over: a few megabytes at any dimension."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """What a source's median row sets apart: ``bool[rows]``, who is near it; without a test where it is one row."""

    source: str
    measured: str
    near: NDArray[np.bool_]
    separation: Separation | None


def propose(
    embedding: Embedding, moments: Moments, first: NDArray[np.int64], usable: Mapping[str, NDArray[np.int64]]
) -> list[Proposal]:
    """The proposals that stand; one pass over the matrix."""
    own = {name: np.unique(first[ids]) for name, ids in usable.items() if len(ids)}
    if not own:
        return []
    centres = np.stack([_median_row(embedding, rows[::2]) for rows in own.values()])
    along = products(embedding, centres.T)
    distinct, proposals = first == np.arange(len(first)), []
    for centre, dots, (name, rows) in zip(centres, along.T, own.items(), strict=True):
        counted = distinct & (moments.norms > 0)
        counted[rows[::2]] = False  # of course they are near what they made
        found = []
        for measured, away in _ways(centre, dots, moments):
            apart = find_separation(away[counted], level=SUPPORTED_LEVEL)
            if apart and _is_borne_out(apart, away[rows[1::2]] < apart.threshold, int(counted.sum())):
                found.append(Proposal(name, measured, away < apart.threshold, apart))
        proposals += sorted(found, key=lambda p: p.separation.p_value if p.separation else 0.0)[:1]
    return proposals


def propose_one_row(holes: BlackHoles, usable: Mapping[str, NDArray[np.int64]]) -> list[Proposal]:
    """A hole that holds most of another source's tokens: one row is no cluster to test, but two sources meet in it."""
    for name, ids in usable.items():
        within = holes.hole_ids[ids]
        for number in np.unique(within[within > 0]).tolist() if name != HOLES else ():
            inside, hole = within == number, holes.holes[number - 1]
            # One or two can be copies of an ordinary row; half of the matrix is the bulk.
            if inside.mean() >= MAJORITY and inside.sum() > 2 and hole.population < holes.n_rows / 2:
                return [Proposal(name, "identity", holes.hole_ids == number, None)]
    return []


def _is_borne_out(apart: Separation, near: NDArray[np.bool_], n_rows: int) -> bool:
    """Whether most of a source's other rows are in the near group, and not by chance.

    The chance that so many of them fall into a group of that size (Chernoff's bound) and the chance of the group are
    independent if the source is any set of rows: their product is below x with a chance of x (1 - ln x) (Fisher).
    """
    chance = 1.0
    if len(near):
        inside, size = float(near.mean()), apart.below / n_rows
        if inside < MAJORITY or inside <= size:
            return False
        divergence = inside * np.log(inside / size) + (1 - inside) * np.log(max(1 - inside, 1e-300) / (1 - size))
        chance = float(np.exp(-len(near) * divergence))
    product = max(apart.p_value * chance, 1e-300)
    return bool(product * (1 - np.log(product)) <= LEVEL / 2)


def _ways(centre: Vector, dots: Vector, moments: Moments) -> Iterator[tuple[str, Vector]]:
    """How far each row is from a proposal: by direction, as trained away from, and by place, as never moved.

    The distance, as |x|^2 - 2 x.p + |p|^2, is right to a 1e-8th of the norms, which decides on no group.
    """
    yield "cosine", cosine_distance(dots, moments.norms, centre)
    yield "distance", np.sqrt(np.maximum(moments.norms**2 - 2 * dots + centre @ centre, 0))


def most_supported(proposals: list[Proposal], usable: Mapping[str, NDArray[np.int64]]) -> Proposal | None:
    """The consensus: of equals the one that more rows are near to."""

    def support(proposal: Proposal) -> tuple[float, int]:
        return sum(share(proposal, ids) for ids in usable.values()), len(members(proposal, usable))

    return max(proposals, key=support, default=None)


def share(proposal: Proposal, ids: NDArray[np.int64]) -> float:
    """Of a source's tokens, those near a proposal; 0 where they are less than MAJORITY."""
    near = float(proposal.near[ids].mean()) if len(ids) else 0.0
    return near if near >= MAJORITY else 0.0


def members(proposal: Proposal | None, usable: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """The tokens of all sources that lie in a proposal's near group."""
    near = [ids[proposal.near[ids]] for ids in usable.values() if share(proposal, ids)] if proposal else []
    return np.unique(np.concatenate([*near, np.empty(0, np.int64)]).astype(np.int64))


def _median_row(embedding: Embedding, token_ids: NDArray[np.int64]) -> Vector:
    """The median of each coordinate: half of the rows may be anything."""
    chosen = token_ids[np.linspace(0, len(token_ids) - 1, min(MEDIAN_ROWS, len(token_ids))).astype(np.int64)]
    return np.asarray(np.median(embedding.values_of(chosen), axis=0), dtype=np.float64)
