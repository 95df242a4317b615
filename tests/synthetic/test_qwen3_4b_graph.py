"""The planted smoke has the published neighbour graph: brute force on the stored words, at every width and seed."""

from collections import Counter

import networkx as nx
import numpy as np
import pytest

from forensics.formats import BFLOAT16
from forensics.synthetic import plant
from forensics.synthetic.qwen3_4b_holes import plant_holes
from forensics.synthetic.qwen3_4b_pattern import load_pattern, place_pattern, place_slots
from forensics.synthetic.qwen3_4b_published import published

SIZES = [(2276, 64, 0), (2276, 64, 1), (2300, 64, 2), (2276, 65, 7), (2276, 100, 3), (2276, 257, 4), (2276, 2560, 0),
         (2400, 2560, 5)]  # fmt: skip

PAIRS_WITHIN = {1: 100, 2: 280, 3: 380, 4: 485, 5: 540, 6: 575, 7: 596, 8: 1019, 9: 1044}
"""As published, but for 486 within 4; the truth says so."""

WIDER = {3: (85, 33), 4: (82, 34), 5: (81, 34), 6: (81, 34), 7: (81, 34), 8: (79, 47), 9: (78, 48), 13: (78, 48)}
"""Components, and rows of the largest, at wider bounds."""

EXTENTS = {1: 50, 2: 11, 3: 6, 4: 1, 7: 1, 8: 2, 9: 2, 27: 1, 32: 1, 55: 1}


class Smoke:
    """The 125 unique rows of a planted smoke, from the words alone: no pattern, no truth."""

    def __init__(self, rows, dim, seed):
        self.planted = plant("qwen3-4b", rows=rows, dim=dim, seed=seed)
        words = self.planted.embedding().words
        _, self.first, counts = np.unique(words, axis=0, return_index=True, return_counts=True)
        largest = words[self.first[np.argmax(counts)]]
        exponents = BFLOAT16.exponents(words[self.first]).astype(np.int16)
        far = np.abs(exponents - BFLOAT16.exponents(largest).astype(np.int16)).max(axis=1)
        kept = far <= 5
        self.first, self.populations, self.exponent_distance = self.first[kept], counts[kept], far[kept]
        self.words = words[self.first]
        ordinals = BFLOAT16.ordinals(self.words)
        assert ordinals.dtype == np.int64
        self.ordinals = ordinals
        self.linf = np.array([np.abs(ordinals - row).max(axis=1) for row in ordinals])
        self.l1 = np.array([np.abs(ordinals - row).sum(axis=1) for row in ordinals])

    def graph(self, bound):
        graph = nx.Graph()
        graph.add_nodes_from(range(len(self.words)))
        graph.add_edges_from(np.argwhere(np.triu((self.linf >= 1) & (self.linf <= bound))).tolist())
        return graph

    def components(self, bound=1):
        """As published: most rows first, of equals fewest tokens; those of one row left out."""
        graph = self.graph(bound)
        found = [sorted(c) for c in nx.connected_components(graph) if len(c) > 1]
        return graph, sorted(found, key=lambda c: (-len(c), self.populations[c].sum()))

    def holes(self, component):
        return sorted((int(n) for n in self.populations[component] if n > 1), reverse=True)


_KEPT = {}


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    _KEPT.clear()


@pytest.fixture(params=SIZES, ids=str)
def smoke(request):
    if request.param not in _KEPT:
        _KEPT[request.param] = Smoke(*request.param)
    return _KEPT[request.param]


def test_the_smoke_is_125_rows(smoke):
    assert len(smoke.words) == 125 and smoke.populations.sum() == 2212
    assert int((smoke.populations > 1).sum()) == 13
    assert np.bincount(smoke.exponent_distance[smoke.populations == 1]).tolist() == [39, 38, 18, 10, 6, 1]


def test_edges_and_components(smoke):
    graph, components = smoke.components()
    assert graph.number_of_edges() == 100
    assert nx.number_connected_components(graph) == 96
    measured = [
        (len(c), int(smoke.populations[c].sum()), smoke.holes(c), graph.subgraph(c).number_of_edges())
        for c in components
    ]
    assert measured == [
        (15, 1070, [814, 228, 11, 4, 3], 66),
        (8, 712, [704, 2], 19),
        (7, 312, [306], 13),
        (2, 2, [], 1),
        (2, 6, [5], 1),
    ]
    alone = [node for node in graph if graph.degree(node) == 0]
    assert sorted(smoke.populations[alone].tolist()) == [1] * 87 + [3, 4, 6, 10]
    # Published are 0.817, 0.688 and 0.790; the pattern was not found to meet the first two, and its truth says so.
    assert round(nx.average_clustering(graph.subgraph(components[2])), 3) == 0.790


def test_l1_of_the_edges(smoke):
    first, second = np.array(smoke.graph(1).edges).T
    assert Counter(smoke.l1[first, second].tolist()) == {1: 24, 2: 37, 3: 24, 4: 13, 7: 2}
    both = (smoke.populations[first] > 1) & (smoke.populations[second] > 1)
    assert sorted(smoke.l1[first, second][both].tolist()) == [1, 1, 1, 1, 2, 2, 2, 3, 3, 4]


def test_degrees_in_component_1(smoke):
    graph, components = smoke.components()
    degrees = {node: graph.degree(node) for node in components[0]}
    holes = {int(smoke.populations[n]): d for n, d in degrees.items() if smoke.populations[n] > 1}
    assert holes == {814: 12, 228: 12, 11: 12, 4: 9, 3: 8}
    assert sorted(d for n, d in degrees.items() if smoke.populations[n] == 1) == [2, 2, 8, 8, 9, 9, 10, 10, 10, 11]


def test_least_distances_between_components(smoke):
    _, c = smoke.components()
    least = {(a, b): int(smoke.linf[np.ix_(c[a - 1], c[b - 1])].min()) for a in range(1, 6) for b in range(a + 1, 6)}
    assert least == {(1, 2): 2, (1, 3): 8, (1, 4): 2, (1, 5): 9, (2, 3): 8, (2, 4): 3, (2, 5): 8, (3, 4): 8, (3, 5): 6,
                     (4, 5): 8}  # fmt: skip


def test_relaxed_graph(smoke):
    graph, components = smoke.components(2)
    assert graph.number_of_edges() == 280 and nx.number_connected_components(graph) == 86
    measured = [(len(c), int(smoke.populations[c].sum()), len(smoke.holes(c))) for c in components]
    assert measured == [(32, 1796, 8), (8, 322, 2), (2, 6, 1)]


def test_pairs_and_components_at_wider_bounds(smoke):
    pairs = smoke.linf[np.triu_indices(125, 1)]
    assert {k: int((pairs <= k).sum()) for k in PAIRS_WITHIN} == PAIRS_WITHIN
    for bound, (n, largest) in WIDER.items():
        _, components = smoke.components(bound)
        assert (125 - sum(len(c) - 1 for c in components), len(components[0])) == (n, largest), bound


def test_flood_from_the_holes(smoke):
    reached = smoke.populations > 1
    added = []
    while True:
        new = (smoke.linf[reached] == 1).any(axis=0) & ~reached
        added.append(int(new.sum()))
        if not new.any():
            break
        reached |= new
    assert added == [19, 4, 0]
    assert (int(reached.sum()), int(smoke.populations[reached].sum())) == (36, 2123)
    assert (smoke.exponent_distance[reached] == 0).all()
    # The published "moons": eight rows exactly two steps off the flood, ten within five.
    off = smoke.linf[reached][:, ~reached].min(axis=0)
    assert off.min() == 2 and int((off == 2).sum()) == 8 and int((off <= 5).sum()) == 10


def test_rows_that_moved_an_exponent_lie_apart(smoke):
    moved = smoke.exponent_distance > 0
    others = smoke.linf[moved] + np.where(np.eye(125, dtype=bool)[moved], 1000, 0)
    assert others.min() >= 64


def test_extents_over_equal_exponents(smoke):
    ordinals = smoke.ordinals[smoke.exponent_distance == 0]
    assert len(ordinals) == 52
    extents = np.ptp(ordinals, axis=0)
    said = smoke.planted.truth["neighbour_graph"]["extents"]
    assert said["active_dims"] == int((extents > 0).sum())
    assert said["dims_by_extent"] == {str(k): int((extents == k).sum()) for k in np.unique(extents[extents > 0])}
    assert [e["extent"] for e in said["largest"]] == [extents[e["dim"]] for e in said["largest"]]
    assert sorted(extents)[-3:] == [27, 32, 55]
    # With fewer fine numbers only dimensions of extent 1 are left out.
    assert {k: n for k, n in Counter(extents.tolist()).items() if k > 1} == {k: n for k, n in EXTENTS.items() if k > 1}
    if smoke.planted.dim == 2560:
        assert said["all_active_dims_are_there"]
        assert Counter(extents[extents > 0].tolist()) == EXTENTS
        assert [int(extents[d]) for d in (1008, 1382, 1435, 1487, 1362, 1718)] == [55, 32, 27, 9, 8, 7]
        # The very words published for dimension 1008.
        words = smoke.words[smoke.exponent_distance == 0, 1008]
        assert (words.min(), words.max()) == (46519, 46574)


def test_truth_says_what_the_words_say(smoke):
    said = smoke.planted.truth["neighbour_graph"]
    graph, components = smoke.components()
    assert (said["n_rows"], said["n_edges"], said["n_components"]) == (125, 100, 96)
    first, second = np.array(graph.edges).T
    assert said["edges_by_l1"] == {str(k): n for k, n in sorted(Counter(smoke.l1[first, second].tolist()).items())}
    for told, component in zip(said["components"], components, strict=True):
        inside = graph.subgraph(component)
        assert (told["rows"], told["edges"]) == (len(component), inside.number_of_edges())
        assert told["tokens"] == smoke.populations[component].sum()
        assert told["clustering"] == pytest.approx(nx.average_clustering(inside))
        # By the first token of each row, which is how a scan would name a row.
        found = {(int(smoke.first[n]), int(smoke.populations[n]), graph.degree(n)) for n in component}
        assert {(d["token_id"], d["population"], d["degree"]) for d in told["degrees"]} == found
        populations = [smoke.planted.truth["holes"][hole - 1]["population"] for hole in told["holes"]]
        assert populations == smoke.holes(component)
    assert said["pairs_within_distance"] == {str(k): n for k, n in PAIRS_WITHIN.items()}
    relaxed, _ = smoke.components(2)
    assert said["relaxed"]["n_edges"] == relaxed.number_of_edges()
    assert said["relaxed"]["n_components"] == nx.number_connected_components(relaxed)
    assert said["flood"] | {"definition": ""} == {"definition": "", "rows": 36, "tokens": 2123, "added": [19, 4, 0]}
    between = said["least_distance_between_components"]
    for pair, least in between.items():
        a, b = (components[int(number) - 1] for number in pair.split("-"))
        assert least == smoke.linf[np.ix_(a, b)].min()


@pytest.mark.parametrize("dim", [64, 80, 128, 500, 2560])
def test_the_pattern_holds_for_many_seeds(dim):
    said, pattern = published(), load_pattern()
    distances = set()
    for seed in range(20):
        holes = plant_holes(said, dim, np.random.default_rng([seed, 0]))
        slots = place_slots(said, pattern, holes[0])
        rows = np.concatenate([holes, place_pattern(pattern, slots, holes)])
        assert len(set(slots.positions.tolist())) == len(slots.positions)
        assert (BFLOAT16.exponents(rows) == BFLOAT16.exponents(rows[0])).all()
        ordinals = BFLOAT16.ordinals(rows)
        linf = np.array([np.abs(ordinals - row).max(axis=1) for row in ordinals])
        distances.add(linf.tobytes())
    assert len(distances) == 1
