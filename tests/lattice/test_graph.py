"""The neighbour graph against networkx on brute-force distances, and every threshold against a loop."""

import networkx as nx
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from forensics.lattice.graph import build_graph, components_by_threshold


def lattice(seed, n=40, dim=3, reach=5):
    rng = np.random.default_rng(seed)
    ordinals = np.unique(rng.integers(-reach, reach + 1, (n, dim)), axis=0).astype(np.int16)
    return rng.permutation(ordinals), rng.integers(1, 5, len(ordinals))


def brute(ordinals):
    wide = ordinals.astype(np.int64)
    gaps = np.abs(wide[:, None] - wide[None])
    return gaps.max(axis=2), gaps.sum(axis=2)


CASES = [(seed, threshold) for seed in range(8) for threshold in (1, 2, 4)]


@pytest.mark.parametrize(("seed", "threshold"), CASES)
def test_the_graph_against_networkx(seed, threshold):
    ordinals, populations = lattice(seed)
    linf, l1 = brute(ordinals)
    n = len(ordinals)
    expected = nx.Graph()
    expected.add_nodes_from(range(n))
    pairs = [(a, b) for a in range(n) for b in range(a) if linf[a, b] <= threshold]
    expected.add_edges_from(pairs)
    found = build_graph(ordinals, linf, populations, threshold)
    assert found.threshold == threshold and found.edges == len(pairs) > 0
    assert found.degrees.tolist() == [expected.degree(i) for i in range(n)]
    lengths = [int(l1[a, b]) for a, b in pairs]
    assert found.edge_l1 == {k: lengths.count(k) for k in set(lengths)}
    groups = {frozenset(c.nodes.tolist()): c for c in found.components}
    assert set(groups) == {frozenset(nodes) for nodes in nx.connected_components(expected)}
    for nodes, component in groups.items():
        inner = expected.subgraph(nodes)
        assert component.nodes.tolist() == sorted(nodes)
        assert component.edges == inner.number_of_edges()
        assert component.tokens == sum(int(populations[i]) for i in nodes)
        assert component.holes == sum(int(populations[i]) > 1 for i in nodes)
        assert component.max_degree == max(dict(inner.degree).values())
        if len(nodes) == 1:
            assert component.density is None and component.clustering is None
        else:
            assert component.density == pytest.approx(2 * component.edges / (len(nodes) * (len(nodes) - 1)))
            triangles = nx.triangles(inner)
            local = [2 * triangles[i] / (d * (d - 1)) if (d := inner.degree(i)) > 1 else 0.0 for i in nodes]
            assert component.clustering == pytest.approx(np.mean(local))
    keys = [(-len(c.nodes), -c.tokens, int(c.nodes[0])) for c in found.components]
    assert keys == sorted(keys)
    assert found.alone == sum(len(nodes) == 1 for nodes in groups)


@pytest.mark.parametrize("seed", range(8))
def test_gaps_and_bridges_between_components(seed):
    ordinals, populations = lattice(seed, n=30, reach=7)
    linf, _ = brute(ordinals)
    found = build_graph(ordinals, linf, populations, 2)
    large = [c for c in found.components if len(c.nodes) > 1]
    assert found.gaps.shape == (len(large), len(large)) and len(large) > 1
    assert set(found.bridges) == {(i, j) for j in range(len(large)) for i in range(j)}
    for i, first in enumerate(large):
        for j, second in enumerate(large):
            least = 0 if i == j else min(linf[a, b] for a in first.nodes for b in second.nodes)
            assert found.gaps[i, j] == least
            if i < j:
                a, b = found.bridges[i, j]
                assert a in first.nodes and b in second.nodes and linf[a, b] == least > 2


def test_rows_on_one_point_are_joined():
    """Rows that differ only in the sign of a zero lie at distance 0: an edge, not the lack of one."""
    ordinals = np.array([[0, 3], [0, 3], [5, 3]], np.int16)
    linf, _ = brute(ordinals)
    found = build_graph(ordinals, linf, np.array([2, 1, 1]), 1)
    assert found.edges == 1 and found.edge_l1 == {0: 1}
    assert [c.nodes.tolist() for c in found.components] == [[0, 1], [2]]
    assert components_by_threshold(linf) == [(0, 2, 1, 2), (5, 1, 3, 3)]


def test_one_row():
    found = build_graph(np.zeros((1, 4), np.int16), np.zeros((1, 1), np.int64), np.array([7]))
    assert found.edges == 0 and found.alone == 1 and found.edge_l1 == {} and found.gaps.shape == (0, 0)
    assert found.to_dict()["largest"] == [] and found.to_dict()["components"] == 1
    assert components_by_threshold(np.zeros((1, 1), np.int64)) == []


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("duplicates", [0, 4])
def test_every_threshold_against_a_loop(seed, duplicates):
    ordinals, _ = lattice(seed, n=35, reach=30)
    ordinals = np.concatenate([ordinals, ordinals[:duplicates]])
    linf, _ = brute(ordinals)
    n, expected, before = len(linf), [], len(linf)
    for threshold in range(linf.max() + 1):
        joined = np.triu(linf <= threshold, 1)
        count, labels = connected_components(joined, directed=False)
        if count != before:
            expected.append((threshold, count, int(joined.sum()), int(np.bincount(labels).max())))
        before = count
    assert components_by_threshold(linf) == expected
    assert (expected[0][0] == 0) == (duplicates > 0)
    assert expected[-1][1] == 1 and expected[-1][3] == n


def test_distances_beyond_single_precision_stay_exact():
    linf = np.array([[0, 2**32 - 1, 2**32 - 1], [2**32 - 1, 0, 2**32 - 2], [2**32 - 1, 2**32 - 2, 0]])
    assert components_by_threshold(linf) == [(2**32 - 2, 2, 1, 2), (2**32 - 1, 1, 3, 3)]
