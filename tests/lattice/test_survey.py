"""The survey as a whole: every null is a clear statement, every figure is defined, sets are consistent."""

import json

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

import forensics
from forensics.black_holes import find_black_holes
from forensics.embedding import Embedding
from forensics.errors import FormatError, SelectionError
from forensics.formats import FORMATS, BlockFormat
from forensics.lattice import survey as survey_module
from forensics.lattice.survey import survey_lattice
from forensics.synthetic import plant_groups


def surveyed(embedding, *arguments, **named):
    return survey_lattice(embedding, find_black_holes(embedding), *arguments, **named)


@pytest.fixture(scope="module")
def qwen():
    return surveyed(forensics.open_checkpoint("synth:qwen3-4b").matrices[0], "holes")


def test_the_planted_holes_as_the_selection(qwen):
    assert (len(qwen.selection), len(qwen.rows), qwen.graph.edges) == (2100, 13, 10)
    assert qwen.locality.same_binade == 1.0
    assert len(qwen.extent.active) == 20 and qwen.extent.steps.max() == 11
    assert qwen.hole_rows.tolist() == list(range(13))
    assert (qwen.linf == qwen.summary.linf).all()
    assert np.argwhere(np.triu(qwen.linf) == 1).tolist() == [
        [0, 3], [0, 4], [0, 8], [0, 11], [1, 12], [3, 4], [3, 8], [3, 11], [4, 8], [4, 11]
    ]  # fmt: skip


def test_the_planted_misses_agree_with_the_counts(qwen):
    exact = [counts[0] for counts in qwen.exponent_misses.values()]
    assert exact == qwen.summary.exponent_counts[:4].tolist() == [2139, 2177, 2195, 2205]
    for counts in qwen.exponent_misses.values():
        assert counts == sorted(counts)


def test_near_rows_against_brute_force():
    rng = np.random.default_rng(0)
    fmt = FORMATS["bfloat16"]
    steps = 16_000 + rng.integers(-50, 51, (150, 4))
    steps[[3, 4]] = steps[3]
    embedding = Embedding(fmt.words_of(steps).view(np.uint8), fmt, 4)
    found = surveyed(embedding, "flood:9")
    inside = found.selection.token_ids
    gaps = np.abs(steps[:, None] - steps[None, inside]).max(axis=2).min(axis=1)
    gaps[inside] = -1
    expected = {int(k): int((gaps == k).sum()) for k in np.unique(gaps) if 0 <= k <= 64}
    assert found.near == expected and min(expected) > 9
    _, labels = connected_components(np.abs(steps[:, None] - steps[None]).max(axis=2) <= 9, directed=False)
    assert inside.tolist() == np.flatnonzero(labels == labels[3]).tolist()


def test_counts_name_each_selection_once(qwen):
    names = [population.name for population, _ in qwen.counts]
    assert sorted(names) == sorted(["exponent:0", "exponent:5", "radius", "flood:1", "holes"]) and names[-1] == "holes"


def test_no_holes_is_nothing_to_survey():
    assert surveyed(plant_groups(80, 8, []).embedding()) is None
    assert surveyed(plant_groups(80, 8, [], zero_rows=5).embedding()) is None


@pytest.mark.parametrize("text", ["nothing", "exponent:x", "component:-1"])
def test_a_slip_is_told_even_where_there_is_nothing_to_survey(text):
    with pytest.raises(SelectionError, match="unknown selection"):
        surveyed(plant_groups(80, 8, []).embedding(), text)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("selection", ["holes", "exponent:5", "flood", "radius", "component:0.01"])
def test_one_hole_in_every_format(name, selection):
    embedding = plant_groups(120, 32, [[7, 8, 9]], format=FORMATS[name]).embedding()
    found = surveyed(embedding, selection)
    assert np.isin([7, 8, 9], found.selection.token_ids).all()
    assert found.rows.populations[0] == 3 and found.rows.representatives[0] == 7
    assert found.hole_rows.tolist() == [0]
    assert found.locality.pairs == len(found.rows) * 32
    assert len(found.to_dict()["selections"]) == len({s["name"] for s in found.to_dict()["selections"]})
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("shape", [(2, 1), (2, 8), (9, 1), (30, 16)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_all_rows_equal(shape, dtype):
    found = surveyed(Embedding.from_array(np.full(shape, 0.3, dtype)))
    assert len(found.rows) == 1 and len(found.selection) == shape[0]
    assert found.graph.edges == 0 and found.thresholds == [] and found.near == {}
    assert found.summary.gap is None and found.extent.active.size == 0
    assert found.flooded[1:] == (1, [0])
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(SelectionError, match="0 unique rows") as raised:
        surveyed(Embedding.from_array(np.full(shape, 0.3, dtype)), "radius")
    assert raised.value.hint == "choose a wider one"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", FORMATS)
def test_rows_that_are_not_finite_are_left_out(name, value):
    fmt = FORMATS[name]
    array = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    array[[3, 4]] = array[3] = np.float32(fmt.widen(np.array([fmt.largest_finite], fmt.word_dtype))[0]) * np.float32(
        0.5
    )
    array[10:14, 2] = value
    array[[10, 11, 12]] = array[10]
    embedding = Embedding(fmt.narrow(array).view(np.uint8), fmt, 8)
    for selection in ("exponent:999", "holes", "component:1e30"):
        found = surveyed(embedding, selection)
        assert found.summary.around.centre == 3
        assert not np.isin([10, 11, 12, 13], found.selection.token_ids).any()
        json.dumps(found.to_dict(), allow_nan=False)


def test_both_zeros_among_the_holes():
    array = np.array([[0, 1], [0, 1], [-0.0, 1], [-0.0, 1], [5, 5]], np.float32)
    found = surveyed(Embedding.from_array(array), "holes")
    assert len(found.rows) == 2 and found.linf.tolist() == [[0, 0], [0, 0]]
    assert found.graph.edges == 1 and found.thresholds == [(0, 1, 1, 2)]
    json.dumps(found.to_dict(), allow_nan=False)


def test_around_a_token():
    embedding = plant_groups(120, 8, [[7, 8, 9]]).embedding()
    found = surveyed(embedding, "exponent:1", centre=30)
    assert 30 in found.selection.token_ids and found.to_dict()["centre"]["token_id"] == 30
    assert found.flooded is not None
    alone = surveyed(plant_groups(120, 8, []).embedding(), "exponent:0", centre=30)
    assert alone.selection.token_ids.tolist() == [30] and alone.flooded is None
    for selection in ("holes", "flood", "radius"):
        with pytest.raises(SelectionError, match="there are none"):
            surveyed(plant_groups(120, 8, []).embedding(), selection, centre=30)


def test_a_selection_too_large_to_pair(monkeypatch):
    monkeypatch.setattr(survey_module, "MAX_ROWS", 10)
    embedding = plant_groups(120, 8, [[7, 8, 9]]).embedding()
    assert len(surveyed(embedding, "holes").rows) == 1
    with pytest.raises(SelectionError, match=r"exponent:999 has 118 unique rows, expected 1 to 10") as raised:
        surveyed(embedding, "exponent:999")
    assert raised.value.hint == "choose a narrower one"


def test_beyond_so_many_holes_nothing_is_flooded(monkeypatch):
    monkeypatch.setattr(survey_module, "MAX_HOLES", 2)
    embedding = plant_groups(120, 8, [[1, 2], [3, 4], [5, 6]]).embedding()
    assert surveyed(embedding).flooded is None
    assert surveyed(embedding).to_dict()["flood_rounds"] is None


def test_blocks_are_refused():
    with pytest.raises(FormatError):
        surveyed(Embedding(np.zeros((4, 34), np.uint8), BlockFormat("Q8_0", 8, 32, 34), 32))


def test_the_medoid_is_a_token():
    embedding = plant_groups(40, 8, [[30, 31]]).embedding()
    found = surveyed(embedding, "exponent:999")
    medoid = found.to_dict()["shells"]["medoid"]["token_id"]
    values = embedding.values().astype(np.float64)
    unique = np.delete(values, 31, axis=0)
    assert medoid == np.linalg.norm(values[:, None] - unique[None], axis=2).mean(axis=1).argmin()
