"""What the planted neighbour graph is, from the pattern's coordinates: the truth beside which analyses are put.

Computed from a few dozen small integers per row, never from the planted words, so that it can disagree with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.synthetic.qwen3_4b_dead import DeadRows
from forensics.synthetic.qwen3_4b_pattern import Pattern, Steps, load_pattern, place_slots
from forensics.synthetic.qwen3_4b_published import Published

DEFINITION = (
    "nodes: the 125 distinct rows of holes and singletons, a hole counted once; distance: L-infinity, the largest "
    "difference of two rows' ordinals over the dimensions, in steps; edge: distance exactly 1; tokens: all that "
    "hold the rows; degree: edges of a node; clustering: mean over a component's nodes of the share of their "
    "neighbours' pairs that are edges, 0 with fewer than two neighbours"
)

PROVENANCE = (
    "Published and met: the words of the holes; the edges with their L1; components, their rows, tokens, holes and "
    "edges; the degrees in component 1; least distances between components; the relaxed graph; the flood; pairs "
    "within 1 to 9 steps but for 4; extents, and the dimensions of the three largest. Published and not met: "
    "clustering 0.817 and 0.688 of components 1 and 2 (0.790 of component 3 is met), 486 pairs within 4. Ours: the "
    "steps of the singletons, which of them has which neighbours, the dimensions of the other extents. Rows that do "
    "not share all exponents lie 64 steps or more from every other, which is not the model's. Where there are too "
    "few fine numbers, some active dimensions of extent 1 are left out."
)

WITHIN = (1, 2, 3, 4, 5, 6, 7, 8, 9)
"""Distances up to which pairs are counted."""

Adjacency = NDArray[np.bool_]


def tell_graph(said: Published, dead: DeadRows) -> dict[str, Any]:
    """The neighbour graph as plain JSON values."""
    pattern = load_pattern()
    slots = place_slots(said, pattern, dead.holes[0])
    at = pattern.coordinates(said, len(slots.positions))
    apart = np.abs(at[:, None] - at[None])
    linf, l1 = apart.max(axis=2), apart.sum(axis=2)
    n_far = len(dead.holes) + len(dead.singletons) - len(at)
    edges, relaxed = linf == 1, (linf == 1) | (linf == 2)
    first, second = np.nonzero(np.triu(edges))
    steps, counts = np.unique(l1[first, second], return_counts=True)
    groups, wider = _components(edges), _components(relaxed)
    joined = [group for group in groups if len(group) > 1]
    return {
        "definition": DEFINITION,
        "provenance": PROVENANCE,
        "n_rows": len(at) + n_far,
        "n_edges": len(first),
        "n_components": len(groups) + n_far,
        "edges_by_l1": {str(step): int(n) for step, n in zip(steps, counts, strict=True)},
        "components": [_component(group, edges, dead) for group in joined],
        "least_distance_between_components": _between(joined, linf),
        "pairs_within_distance": {str(k): int((np.triu(linf, 1) <= k).sum() - np.tri(len(at)).sum()) for k in WITHIN},
        "relaxed": {
            "definition": "the same graph with an edge at a distance of 1 or 2",
            "n_edges": int(relaxed.sum()) // 2,
            "n_components": len(wider) + n_far,
            "components": [_summary(group, relaxed, dead) for group in wider if len(group) > 1],
        },
        "flood": _flood(edges, dead),
        "extents": _extents(at, slots.positions, pattern, said),
    }


def _components(edges: Adjacency) -> list[Steps]:
    """Connected components, most nodes first, then by last node; nodes ascending.

    That is the published numbering: the pattern lists the rows of component 4 before those of component 5.
    """
    labels = np.arange(len(edges))
    while True:
        # Each node takes the least label among itself and its neighbours.
        spread = np.where(edges, labels[None], labels[:, None]).min(axis=1, initial=len(edges))
        spread = np.minimum(spread, labels)
        if (spread == labels).all():
            break
        labels = spread
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return sorted(groups, key=lambda group: (-len(group), int(group[-1])))


def _tokens(node: int, dead: DeadRows) -> list[int]:
    """The tokens that hold a node's row: holes come first, then the singletons of the pattern."""
    n_holes = len(dead.hole_ids)
    return dead.hole_ids[node].tolist() if node < n_holes else [int(dead.singleton_ids[node - n_holes])]


def _summary(group: Steps, edges: Adjacency, dead: DeadRows) -> dict[str, Any]:
    n_holes = len(dead.hole_ids)
    return {
        "rows": len(group),
        "tokens": sum(len(_tokens(node, dead)) for node in group.tolist()),
        "edges": int(edges[np.ix_(group, group)].sum()) // 2,
        "holes": [node + 1 for node in group.tolist() if node < n_holes],
    }


def _component(group: Steps, edges: Adjacency, dead: DeadRows) -> dict[str, Any]:
    inside = edges[np.ix_(group, group)].astype(np.int64)
    degrees = inside.sum(axis=1)
    paths = degrees * (degrees - 1)
    closed = np.diagonal(inside @ inside @ inside)
    clustering = np.divide(closed, paths, out=np.zeros(len(group)), where=paths > 0)
    return {
        **_summary(group, edges, dead),
        "clustering": float(clustering.mean()),
        "degrees": [
            {"token_id": _tokens(node, dead)[0], "population": len(_tokens(node, dead)), "degree": degree}
            for node, degree in zip(group.tolist(), degrees.tolist(), strict=True)
        ],
    }


def _between(groups: list[Steps], linf: Steps) -> dict[str, int]:
    """The least distance of each two components, by their numbers from 1."""
    return {
        f"{a}-{b}": int(linf[np.ix_(groups[a - 1], groups[b - 1])].min())
        for a in range(1, len(groups) + 1)
        for b in range(a + 1, len(groups) + 1)
    }


def _flood(edges: Adjacency, dead: DeadRows) -> dict[str, Any]:
    reached = np.arange(len(edges)) < len(dead.hole_ids)
    added = []
    while True:
        new = edges[reached].any(axis=0) & ~reached
        added.append(int(new.sum()))
        if not new.any():
            break
        reached |= new
    return {
        "definition": "closure of the 13 holes under edges; added: rows new in each round",
        "rows": int(reached.sum()),
        "tokens": sum(len(_tokens(node, dead)) for node in np.flatnonzero(reached).tolist()),
        "added": added,
    }


def _extents(at: Steps, positions: Steps, pattern: Pattern, said: Published) -> dict[str, Any]:
    extents = np.ptp(at, axis=0)
    values, counts = np.unique(extents[extents > 0], return_counts=True)
    return {
        "definition": "over the rows that share all exponents with hole 1, holes among them: the number of steps "
        "between the least and greatest ordinal of a dimension; active: an extent of 1 or more",
        "rows": len(at),
        "active_dims": int(counts.sum()),
        "all_active_dims_are_there": len(positions) == len(said.varying_dims) + len(pattern.rooms),
        "dims_by_extent": {str(value): int(n) for value, n in zip(values, counts, strict=True)},
        "largest": [{"dim": int(positions[slot]), "extent": int(extents[slot])} for slot in np.argsort(-extents)[:3]],
    }
