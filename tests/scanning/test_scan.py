"""The scan as a whole: planted truth comes back, the null comes out clean, undefined figures are null."""

import json

import numpy as np
import pytest

import forensics
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.formats import FORMATS
from forensics.scanning import SCHEMA
from forensics.synthetic import plant, plant_groups
from forensics.vocabulary import Vocabulary
from tests.scanning.planted_model import ROWS, TOKENS, opened


def checkpoint_of(*embeddings, tied="absent", vocabulary=None, config=None, notes=()):
    return Checkpoint(Source("memory", "test"), embeddings, tied, vocabulary, config or {}, notes)


def scan_array(array, **named):
    return forensics.scan(checkpoint_of(Embedding.from_array(array), **named))


@pytest.mark.parametrize("name", FORMATS)
def test_planted_groups_come_back(name):
    groups = [[3, 77, 78, 79], [10, 11], [200, 201, 202]]
    planted = plant_groups(300, 48, groups, format=FORMATS[name], zero_rows=2)
    result = forensics.scan(checkpoint_of(planted.embedding())).to_dict()["matrices"][0]
    found = result["black_holes"]
    assert found["holes"][0]["token_ids"] == [3, 77, 78, 79]
    assert found["populations"] == [4, 3, 2, 2]
    assert found["unique_rows"] == 300 - 11 + 4
    assert [hole["is_zero"] for hole in found["holes"]].count(True) == 1
    zero = next(hole for hole in found["holes"] if hole["is_zero"])
    assert zero["angle_deg"] is None and zero["norm"] == 0
    assert result["populations"]["in-hole"]["tokens"] == 9  # the zero hole is rest
    assert result["populations"]["rest"]["tokens"] == 291
    assert result["dtype"] == name


@pytest.mark.parametrize("name", FORMATS)
def test_the_null_is_clean(name):
    result = forensics.scan(checkpoint_of(plant("healthy", rows=500, dim=32, dtype=name).embedding()))
    found = result.to_dict()["matrices"][0]
    assert found["black_holes"]["count"] == 0
    assert found["black_holes"]["unique_rows"] == 500
    assert found["norms"]["in-hole"]["mean"] is None
    assert found["centroids"]["tokens"]["raw"]["angle_deg"] is None
    assert found["exponents"]["offset_in_hole_to_rest"] is None
    assert "no black holes" in str(result)


def test_published_figures_of_the_planted_model_come_back():
    result = forensics.scan(forensics.open_checkpoint("synth:qwen3-4b")).to_dict()["matrices"][0]
    found = result["black_holes"]
    assert found["populations"] == [814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 2]
    assert result["norms"]["rest"]["mean"] == pytest.approx(1.0973, abs=5e-5)
    assert result["norms"]["rest"]["std"] == pytest.approx(0.1462, abs=5e-5)
    assert result["norms"]["in-hole"]["mean"] == pytest.approx(0.3709, abs=5e-5)
    raw = result["centroids"]["tokens"]["raw"]
    assert raw["rest_norm"] == pytest.approx(0.304392, abs=5e-6)
    assert raw["in_hole_norm"] == pytest.approx(0.370917, abs=5e-7)
    assert [round(hole["angle_deg"], 1) for hole in found["holes"]] == [26.6] * 13
    assert result["exponents"]["holes_share_exponents"]["all"] is True
    assert result["norms"]["expected_at_initialisation"] == pytest.approx(0.02 * 2560**0.5)


def test_two_matrices_each_have_their_figures():
    first = plant_groups(60, 16, [[1, 2]], seed=1).embedding()
    second = plant_groups(60, 16, [[5, 6, 7]], seed=2).embedding()
    document = forensics.scan(checkpoint_of(first, second, tied="different")).to_dict()
    assert document["schema"] == SCHEMA
    assert document["tied"] == "different"
    assert [m["black_holes"]["populations"] for m in document["matrices"]] == [[2], [3]]
    assert document["matrices"][0]["sha256"] != document["matrices"][1]["sha256"]


def rows_with(value, rows=6, dim=4):
    array = np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)
    array[2:4] = value
    return array


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(value):
    result = scan_array(rows_with(value))
    found = result.to_dict()["matrices"][0]
    assert found["black_holes"]["populations"] == [2]
    assert found["black_holes"]["holes"][0]["norm"] is None
    assert found["norms"]["in-hole"]["left_out"] == 2
    assert found["norms"]["rest"]["rows"] == 4
    json.dumps(result.to_dict(), allow_nan=False)
    assert str(result)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (8, 1), (8, 8)])
def test_matrices_of_one_value(value, shape):
    result = scan_array(np.full(shape, value, np.float32))
    found = result.to_dict()["matrices"][0]["black_holes"]
    assert found["populations"] == ([] if shape[0] == 1 else [8])
    assert found["unique_rows"] == 1
    json.dumps(result.to_dict(), allow_nan=False)


def test_the_frame_carries_set_unit_and_definition():
    planted = plant_groups(50, 8, [[1, 2]])
    frame = forensics.scan(checkpoint_of(planted.embedding())).to_frame()
    assert {"role", "name", "value", "unit", "population", "definition"} == set(frame.columns)
    assert frame.loc[frame.name == "black holes", "value"].item() == 1
    assert (frame.definition.str.len() > 10).all()


def test_the_config_gives_the_norm_of_an_untouched_row():
    array = rows_with(1.0, dim=4)
    assert scan_array(array, config={"initializer_range": 0.02}).matrices[0].expected_norm == pytest.approx(0.04)
    nested = {"text_config": {"vocab_size": 6, "initializer_range": 0.5}}
    assert scan_array(array, config=nested).matrices[0].expected_norm == pytest.approx(1.0)
    for value in (None, "x", True, -0.02, 0, 10**400, float("inf"), float("nan"), [0.02]):
        assert scan_array(array, config={"initializer_range": value}).matrices[0].expected_norm is None


def test_padding_rows_are_counted():
    vocabulary = Vocabulary(("a", "b", "c", "d"), "plain")
    assert scan_array(rows_with(1.0), vocabulary=vocabulary).to_dict()["tokenizer"] == {
        "tokens": 4, "rows_beyond": 2, "encoder": None, "unreachable": None,
    }  # fmt: skip


def test_what_the_tokenizer_can_produce_is_of_the_scan(tmp_path):
    document = forensics.scan(opened(tmp_path / "m")).to_dict()
    assert document["tokenizer"] == {
        "tokens": TOKENS, "rows_beyond": ROWS - TOKENS, "encoder": "tokenizer.json", "unreachable": 1 + ROWS - TOKENS,
    }  # fmt: skip
    (matrix,) = document["matrices"]
    assert (matrix["tokens"]["tokens"], matrix["tokens"]["unreachable"]) == (6, 0)
    assert matrix["causes"]["tokens"] == {"zero": 1, "copied": 2, "unexplained": 4}


def test_progress_names_every_stage():
    stages = []
    forensics.scan(checkpoint_of(plant_groups(50, 8, [[1, 2]]).embedding()), progress=stages.append)
    assert [s.rpartition(": ")[2] for s in stages] == [
        "tokenizer",
        "identical rows",
        "bits",
        "norms and centroids",
        "lattice",
        "causes",
        "sha256",
    ]


def test_the_table_is_safe_for_a_terminal():
    hostile = Vocabulary(("\x1b[31mred", "\u202egpj.exe", "ok", "d"), "plain")
    text = str(scan_array(np.ones((4, 2), np.float32), vocabulary=hostile))
    assert "\x1b" not in text and "\u202e" not in text
    assert "\\u001b[31mred" in text
