"""Planted groups come back as holes; the null has none, in every format and where rows can hardly differ."""

import numpy as np
import pytest

from forensics.black_holes import find_black_holes, find_equal_values
from forensics.errors import ForensicsError, FormatError, SourceError
from forensics.formats import BFLOAT16, FLOAT8_E4M3FN, FORMATS
from forensics.geometry import measure_geometry
from forensics.synthetic import PLANTED, SOURCE_ROWS, plant, plant_groups


def holes_of(planted):
    found = find_black_holes(planted.embedding())
    return [
        {"id": h.id, "population": h.population, "is_zero": h.is_zero, "token_ids": h.token_ids.tolist()}
        for h in found.holes
    ]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("zero_rows", [0, 1, 2, 40])
def test_groups_come_back(name, zero_rows):
    groups = [[999, 3], [5, 6, 7, 500], [0, 1]]
    planted = plant_groups(1000, 24, groups, format=FORMATS[name], seed=3, zero_rows=zero_rows)
    truth = planted.truth
    assert holes_of(planted) == truth["holes"]
    expected = [[5, 6, 7, 500], [0, 1], [3, 999]]
    assert [h["token_ids"] for h in truth["holes"] if not h["is_zero"]] == expected
    assert truth["zero_rows"] == list(range(999 - zero_rows, 999))
    words = planted.embedding().words
    assert np.flatnonzero(~words.any(axis=1)).tolist() == truth["zero_rows"]
    assert truth["n_unique_rows"] == len(np.unique(words, axis=0))
    assert truth["n_holes"] == 3 + (zero_rows > 1)


def test_all_tokens_in_one_group():
    planted = plant_groups(5000, 300, [range(5000)])
    assert holes_of(planted)[0]["population"] == 5000 and planted.truth["n_unique_rows"] == 1


def test_all_rows_zero():
    planted = plant_groups(10, 4, [], zero_rows=10)
    assert [h["is_zero"] for h in holes_of(planted)] == [True] and not planted.embedding().words.any()


@pytest.mark.parametrize("name", FORMATS)
def test_healthy_has_no_holes(name):
    planted = plant("healthy", rows=3000, dim=32, dtype=name)
    embedding = planted.embedding()
    assert embedding.format is FORMATS[name] and embedding.words.shape == (3000, 32)
    assert len(find_black_holes(embedding)) == 0 == planted.truth["n_holes"]
    assert planted.truth["n_unique_rows"] == 3000
    assert embedding.values().std() == pytest.approx(0.02, rel=0.02)


def test_healthy_defaults():
    planted = plant("healthy")
    assert (planted.rows, planted.dim, planted.format, planted.seed) == (32_000, 512, BFLOAT16, 0)
    assert next(planted.blocks()).shape[1] == 512


@pytest.mark.parametrize(("name", "dim", "rows"), [("float8_e4m3fn", 2, 150), ("float8_e5m2", 3, 700),
                                                   ("bfloat16", 1, 150), ("float16", 1, 1000)])  # fmt: skip
def test_rows_that_can_hardly_differ_still_do(name, dim, rows):
    planted = plant("healthy", rows=rows, dim=dim, dtype=name, seed=7)
    assert len(find_black_holes(planted.embedding())) == 0
    # The draw without the guard would have repeated itself, or this tests nothing.
    free = np.random.default_rng(7).standard_normal((rows, dim), dtype=np.float32) * np.float32(0.02)
    assert len(np.unique(FORMATS[name].narrow(free), axis=0)) < rows


def test_no_random_row_is_zero_in_either_sign():
    drawn_zeros = 0
    for seed in range(100):
        planted = plant("healthy", rows=6, dim=1, dtype="float8_e4m3fn", seed=seed)
        assert planted.embedding().values().all()
        free = np.random.default_rng(seed).standard_normal(6, dtype=np.float32) * np.float32(0.02)
        drawn_zeros += int((FLOAT8_E4M3FN.widen(FLOAT8_E4M3FN.narrow(free)) == 0).sum())
    assert drawn_zeros > 5


def test_rows_differ_by_more_than_the_sign_of_a_zero():
    rows_with_negative_zero = 0
    for seed in range(10):
        embedding = plant("healthy", rows=150, dim=2, dtype="float8_e4m3fn", seed=seed).embedding()
        assert len(find_equal_values(embedding)) == 0
        rows_with_negative_zero += int((embedding.words == 0x80).any(axis=1).sum())
    assert rows_with_negative_zero > 10


@pytest.mark.parametrize(("dtype", "dim", "rows"), [("float8_e4m3fn", 1, 60), ("float8_e5m2", 2, 5000),
                                                    ("bfloat16", 1, 5000), ("float8_e4m3fn", 3, 32_000)])  # fmt: skip
def test_more_rows_than_can_differ_are_refused(dtype, dim, rows):
    with pytest.raises(FormatError, match="have room for about") as caught:
        plant("healthy", rows=rows, dim=dim, dtype=dtype)
    assert "\n" not in str(caught.value)


def test_shared_rows_need_no_room():
    planted = plant_groups(5000, 1, [range(2500), range(2500, 5000)], format=FLOAT8_E4M3FN)
    assert [h["population"] for h in holes_of(planted)] == [2500, 2500]


@pytest.mark.parametrize(
    ("rows", "groups", "more", "says"),
    [
        (10, [[1, 2], [2, 3]], {}, "two groups"),
        (10, [[1, 10]], {}, "0 to 9"),
        (10, [[-1, 3]], {}, "0 to 9"),
        (10, [[4]], {}, "two or more"),
        (10, [[]], {}, "two or more"),
        (10, [[4, 4]], {}, "two or more"),
        (10, [[4, 5]], {"zero_rows": 9}, "zero rows"),
        (10, [[4, 5]], {"zero_rows": -1}, "zero rows"),
        (0, [], {}, "rows"),
        (10, [], {"dim": 0}, "dim"),
        (10, [], {"seed": -1}, "seed"),
    ],
)
def test_impossible_groups_are_refused(rows, groups, more, says):
    with pytest.raises(SourceError, match=says) as caught:
        plant_groups(rows, **{"dim": 8, "groups": groups, **more})
    assert "\n" not in str(caught.value)


def test_unknown_names_are_listed():
    with pytest.raises(SourceError, match="healthy, qwen3-4b"):
        plant("qwen3-5b")
    with pytest.raises(ForensicsError, match="float12"):
        plant("healthy", dtype="float12")
    with pytest.raises(SourceError, match="rows"):
        plant("healthy", rows=0)


def test_every_recipe_says_what_it_holds_and_plants():
    assert set(SOURCE_ROWS) <= set(PLANTED)
    for name, recipe in PLANTED.items():
        assert (recipe.__doc__ or "").splitlines()[0].endswith(".")
        planted = plant(name, rows=2300, dim=64)
        assert planted.name == name and planted.embedding().n_rows == 2300


def test_std_is_the_values_own():
    embedding = plant_groups(2000, 64, [], std=3.0).embedding()
    assert embedding.values().std() == pytest.approx(3.0, rel=0.02)
    assert measure_geometry(embedding, find_black_holes(embedding)).summaries[2].mean == pytest.approx(24, rel=0.02)
