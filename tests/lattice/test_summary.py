"""The planted Qwen3-4B gives back what was published of its holes; what cannot be summarised is said."""

import json

import numpy as np
import pytest

import forensics
from forensics.black_holes import find_black_holes
from forensics.embedding import Embedding
from forensics.errors import FormatError, SelectionError
from forensics.formats import BFLOAT16, BlockFormat
from forensics.lattice import summary as summary_module
from forensics.lattice.coordinates import measure_locality
from forensics.lattice.selections import distances_to_point, select
from forensics.lattice.summary import summarise_lattice
from forensics.synthetic import plant_groups

POPULATIONS = [814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 2]

# real-models.md, section 4: in its order of rows, the two holes of 4 and of 3 told apart by the matrix itself.
ORDER = [11, 6, 3, 228, 814, 4, 704, 2, "3'", 10, 306, 5, "4'"]
UPPER = [
    [4, 1, 1, 1, 1, 2, 2, 8, 8, 8, 10, 8],
    [5, 4, 4, 4, 4, 4, 8, 8, 8, 8, 4],
    [1, 1, 2, 3, 3, 8, 8, 8, 11, 9],
    [1, 1, 2, 2, 8, 8, 8, 10, 8],
    [1, 2, 2, 8, 8, 8, 10, 8],
    [2, 2, 8, 8, 8, 9, 7],
    [1, 8, 8, 8, 8, 6],
    [8, 8, 8, 8, 6],
    [4, 4, 8, 8],
    [2, 10, 8],
    [8, 8],
    [8],
]

PUBLISHED_L2 = [3.4137182e-05, 3.4975299e-05, 1.5258789e-05, 1.7059845e-05, 1.7192635e-05, 3.4975306e-05,
                4.6574147e-05, 7.451e-09, 7.0585222e-05, 3.4975299e-05, 1.0537e-08, 3.4137185e-05]  # fmt: skip


def summarised(embedding, centre=None):
    return summarise_lattice(embedding, find_black_holes(embedding), centre)


@pytest.fixture(scope="module")
def qwen():
    return summarised(forensics.open_checkpoint("synth:qwen3-4b").matrices[0])


def test_the_published_matrix_of_the_holes(qwen):
    assert qwen.holes.populations.tolist() == POPULATIONS
    index = {p: i for i, p in enumerate(POPULATIONS) if POPULATIONS.count(p) == 1}
    index |= {4: 8, "4'": 9, "3'": 10, 3: 11}
    for row, steps in zip(ORDER, UPPER, strict=False):
        others = ORDER[ORDER.index(row) + 1 :]
        assert [int(qwen.linf[index[row], index[o]]) for o in others] == steps, row
    pairs = qwen.linf[np.triu_indices(13, 1)]
    assert (pairs.min(), pairs.max(), qwen.adjacent_pairs) == (1, 11, 10)
    assert (qwen.linf == qwen.linf.T).all() and (np.diag(qwen.linf) == 0).all()


def test_the_published_extent_of_the_holes(qwen):
    extent = qwen.hole_extent
    assert sorted(extent.active.tolist()) == [216, 282, 322, 450, 993, 1008, 1149, 1155, 1272, 1382, 1403, 1435, 1487,
                                              1564, 1763, 2012, 2040, 2079, 2143, 2479]  # fmt: skip
    assert extent.steps.max() == 11
    patterns = {int(d): int(extent.patterns[d]) for d in extent.active}
    assert patterns.pop(1382) == 7 and patterns.pop(1008) == patterns.pop(1435) == 3
    assert set(patterns.values()) == {2}


def test_the_published_exponent_counts(qwen):
    assert qwen.exponent_counts[:6].tolist() == [2139, 2177, 2195, 2205, 2211, 2212]
    assert len(qwen.exponent_counts) == 21


def test_the_published_selections(qwen):
    counts = {population.name: (len(population), n) for population, n in qwen.counts}
    assert counts["holes"] == (2100, 13)
    assert counts["exponent:0"] == (2139, 52)
    assert counts["exponent:5"] == (2212, 125)
    assert set(counts) == {"holes", "exponent:0", "exponent:5", "radius"}
    assert counts["radius"][0] == qwen.gap.below >= 2100
    holes = select("holes", qwen.around).token_ids
    assert np.isin(holes, select("exponent:0", qwen.around).token_ids).all()


def test_the_holes_are_local_to_each_other(qwen):
    found = measure_locality(qwen.embedding, qwen.holes.representatives, qwen.around.centre)
    assert (found.pairs, found.same_binade) == (13 * 2560, 1.0)


def test_the_published_distances_of_the_holes(qwen):
    point = qwen.embedding.values(qwen.around.centre, qwen.around.centre + 1)[0].astype(np.float64)
    away = distances_to_point(qwen.embedding, point)[qwen.holes.representatives[1:]]
    assert away.tolist() == pytest.approx(PUBLISHED_L2, rel=1e-4)


def test_the_published_ulp_of_the_centre(qwen):
    ulp = qwen.to_dict()["centre"]["ulp"]
    assert ulp["min"] == pytest.approx(7.45e-09, rel=1e-3) and ulp["max"] == pytest.approx(4.88e-04, rel=1e-3)
    assert ulp["median"] == pytest.approx(1.53e-05, rel=3e-3)
    json.dumps(qwen.to_dict(), allow_nan=False)


def test_nothing_to_summarise():
    assert summarised(plant_groups(60, 8, []).embedding()) is None
    assert summarised(plant_groups(60, 8, [], zero_rows=4).embedding()) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_holes_that_are_not_finite_are_passed_over(value):
    array = plant_groups(60, 8, [[1, 2]]).embedding().values().copy()
    array[[20, 21, 22], 4] = value
    array[[20, 21, 22]] = array[20]
    found = summarised(Embedding.from_array(array))
    assert found.around.centre == 1 and found.holes.populations.tolist() == [2]
    json.dumps(found.to_dict(), allow_nan=False)
    array[2] = array[3]
    array[3] += 1
    alone = Embedding.from_array(np.concatenate([array[20:23], array[30:40]]))
    assert summarised(alone) is None
    with pytest.raises(SelectionError, match="nan"):
        summarised(alone, 0)
    assert summarised(alone, 5).gap is None


def test_one_hole_has_no_pairs():
    found = summarised(plant_groups(60, 8, [[4, 9]]).embedding())
    assert found.linf.tolist() == [[0]] and found.hole_extent is None and found.adjacent_pairs == 0
    told = found.to_dict()
    assert told["holes"] == {"populations": [2], "linf": [[0]], "adjacent_pairs": 0, "extent": None}
    assert told["centre"]["token_id"] == 4


def test_a_token_to_look_around_needs_no_hole():
    found = summarised(plant_groups(60, 8, []).embedding(), 7)
    assert [population.name for population, _ in found.counts] == ["exponent:0", "exponent:5"]
    assert found.around.from_centroid is None and len(found.holes) == 0 and found.linf.shape == (0, 0)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("centre", [-1, 60, 10**9])
def test_a_token_that_is_not_there(centre):
    with pytest.raises(SelectionError, match="rows 0 to 59"):
        summarised(plant_groups(60, 8, [[1, 2]]).embedding(), centre)


def test_only_so_many_holes_are_held_against_each_other(monkeypatch):
    monkeypatch.setattr(summary_module, "MAX_HOLES", 3)
    found = summarised(plant_groups(60, 8, [[i, i + 1] for i in range(0, 12, 2)]).embedding())
    assert found.linf.shape == (3, 3) and {p.name: len(p) for p, _ in found.counts}["holes"] == 12


def test_blocks_are_refused():
    fmt = BlockFormat("Q8_0", 8, 32, 34)
    rows = np.zeros((4, 34), np.uint8)
    with pytest.raises(FormatError, match="no words"):
        summarised(Embedding(rows, fmt, 32))


def test_extremes_of_the_lattice_fit():
    top = BFLOAT16.largest_finite
    steps = np.array([[top, -top], [top, -top], [-top, top], [-top, top], [0, 0]])
    words = BFLOAT16.words_of(steps)
    found = summarised(Embedding(words.view(np.uint8), BFLOAT16, 2))
    assert found.linf[0, 1] == 2 * top
