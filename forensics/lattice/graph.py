"""The neighbour graph: nodes are unique rows, edges join rows within k lattice steps on every dimension.

Adjacency is L-infinity over all dimensions; the published alternatives ("some dimension differs by one
step", a fixed epsilon in value units) make any tight cloud a complete graph.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.lattice.distances import Ordinals, pairwise_distances

Matrix = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """A connected component of the neighbour graph.

    Attributes:
        nodes: ``int64[n]``, indices of unique rows, ascending.
        tokens: tokens that hold them.
        holes: nodes with more than one token.
        edges: edges inside.
        density: edges over possible edges; None for one node.
        clustering: mean local clustering coefficient; None for one node.
        max_degree: of its nodes.
    """

    nodes: NDArray[np.int64]
    tokens: int
    holes: int
    edges: int
    density: float | None
    clustering: float | None
    max_degree: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping; the nodes as their number."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "nodes": len(self.nodes)}


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourGraph:
    """The graph at one threshold.

    Attributes:
        threshold: an edge is an L-infinity of at most this.
        edges: number of edges.
        components: by falling number of nodes, then tokens, then first node.
        degrees: ``int64[n]``.
        edge_l1: how many edges have each L1 (1 face, 2 edge, 3 corner, ...).
        gaps: ``int64[c, c]``, least L-infinity between the components of two or more nodes, 0 on the diagonal.
        bridges: for each pair of those, the two nodes that realise it.
    """

    threshold: int
    edges: int
    components: tuple[Component, ...]
    degrees: NDArray[np.int64]
    edge_l1: dict[int, int]
    gaps: Matrix
    bridges: dict[tuple[int, int], tuple[int, int]]

    @property
    def alone(self) -> int:
        """Nodes without an edge."""
        return sum(len(component.nodes) == 1 for component in self.components)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; components of one node are counted, not listed."""
        return {
            "threshold": self.threshold,
            "edges": self.edges,
            "components": len(self.components),
            "alone": self.alone,
            "largest": [c.to_dict() for c in self.components if len(c.nodes) > 1],
            "edge_l1": {str(k): n for k, n in sorted(self.edge_l1.items())},
            "component_gaps": self.gaps.tolist(),
        }


def build_graph(ordinals: Ordinals, linf: Matrix, populations: NDArray[np.int64], threshold: int = 1) -> NeighbourGraph:
    """The neighbour graph of unique rows.

    Args:
        ordinals: ``int[n, dim]`` of the unique rows.
        linf: their pairwise L-infinity distances.
        populations: tokens that hold each.
        threshold: L-infinity of an edge, from 1.
    """
    import networkx as nx  # 0.2 s, for graphs only

    adjacent = (linf <= threshold) & ~np.eye(len(linf), dtype=bool)
    graph = nx.from_numpy_array(adjacent)
    found = [np.array(sorted(nodes)) for nodes in nx.connected_components(graph)]
    found.sort(key=lambda nodes: (-len(nodes), -int(populations[nodes].sum()), int(nodes[0])))
    components = tuple(_component(graph.subgraph(nodes.tolist()), nodes, populations) for nodes in found)
    first, second = np.nonzero(np.triu(adjacent))
    l1 = [
        int(pairwise_distances(ordinals[a : a + 1], ordinals[b : b + 1], "l1")[0, 0])
        for a, b in zip(first, second, strict=True)
    ]
    gaps, bridges = _between([c.nodes for c in components if len(c.nodes) > 1], linf)
    return NeighbourGraph(threshold, len(first), components, adjacent.sum(axis=1), dict(Counter(l1)), gaps, bridges)


def components_by_threshold(linf: Matrix) -> list[tuple[int, int, int, int]]:
    """(threshold, components, edges, nodes of the largest) at every threshold where the components change.

    Joining rows by growing distance (single linkage) gives all thresholds at once.
    """
    from scipy.cluster.hierarchy import linkage

    if len(linf) < 2:
        return []
    pairs = np.sort(linf[np.triu_indices(len(linf), 1)])
    # Each merge: two clusters, their distance, the nodes of the two together.
    merges = linkage(linf[np.triu_indices(len(linf), 1)].astype(np.float64), "single")
    levels, last = np.unique(merges[::-1, 2], return_index=True)
    joined = len(merges) - last
    edges = np.searchsorted(pairs, levels, side="right")
    largest = np.maximum.accumulate(merges[:, 3])[joined - 1]
    rows = zip(levels, len(linf) - joined, edges, largest, strict=True)
    return [(int(level), int(n), int(pairs_within), int(size)) for level, n, pairs_within, size in rows]


def _component(graph: Any, nodes: NDArray[np.int64], populations: NDArray[np.int64]) -> Component:
    import networkx as nx

    several = len(nodes) > 1
    return Component(
        nodes=nodes,
        tokens=int(populations[nodes].sum()),
        holes=int((populations[nodes] > 1).sum()),
        edges=graph.number_of_edges(),
        density=float(nx.density(graph)) if several else None,
        clustering=float(nx.average_clustering(graph)) if several else None,
        max_degree=max(degree for _, degree in graph.degree),
    )


def _between(groups: list[NDArray[np.int64]], linf: Matrix) -> tuple[Matrix, dict[tuple[int, int], tuple[int, int]]]:
    gaps = np.zeros((len(groups), len(groups)), np.int64)
    bridges = {}
    for i, first in enumerate(groups):
        for j, second in enumerate(groups[:i]):
            block = linf[np.ix_(second, first)]
            a, b = np.unravel_index(int(block.argmin()), block.shape)
            gaps[i, j] = gaps[j, i] = block[a, b]
            bridges[j, i] = (int(second[a]), int(first[b]))
    return gaps, bridges
