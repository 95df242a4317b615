"""Selections: each against a brute-force count, and the whole grammar a user can type."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from forensics.black_holes import find_black_holes
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.formats import FORMATS, float_format
from forensics.lattice.selections import (
    Surroundings,
    distances_to_point,
    exponent_distances,
    exponent_misses,
    flood,
    hole_centroid,
    select,
    select_component,
    select_holes,
    select_radius,
    solid_holes,
)
from forensics.lattice.unique import unique_rows
from forensics.synthetic import plant_groups

WIDE = ("bfloat16", "float16", "float32", "float8_e4m3fn", "float8_e5m2")


def from_words(words, name="bfloat16"):
    fmt = float_format(name)
    words = np.ascontiguousarray(words, fmt.word_dtype)
    return Embedding(words.view(np.uint8), fmt, words.shape[1])


def from_steps(steps, name="bfloat16"):
    return from_words(float_format(name).words_of(np.asarray(steps)), name)


def around(embedding, centre=None):
    solid = solid_holes(embedding, find_black_holes(embedding))
    return Surroundings.measure(embedding, solid, solid[0].representative if centre is None else centre)


@pytest.fixture
def planted():
    return plant_groups(200, 24, [[5, 9, 11], [50, 51]], zero_rows=3).embedding()


def test_unique_rows_against_a_dict():
    rng = np.random.default_rng(0)
    embedding = from_words(rng.integers(0, 2, (300, 5)))
    for ids in (np.arange(300), np.sort(rng.choice(300, 40, replace=False)), np.array([7])):
        expected = {}
        for token in ids.tolist():
            expected.setdefault(embedding.rows_bytes[token].tobytes(), []).append(token)
        expected = sorted(expected.values(), key=lambda group: (-len(group), group[0]))
        found = unique_rows(embedding, ids)
        assert [m.tolist() for m in found.members] == expected
        assert found.representatives.tolist() == [group[0] for group in expected]
        assert found.populations.tolist() == [len(group) for group in expected]
        assert len(found) == len(expected)
        assert found.tokens().tolist() == ids.tolist()
        keep = np.arange(len(found)) % 2 == 0
        assert found.tokens(keep).tolist() == sorted(token for group in expected[::2] for token in group)


def test_unique_rows_of_nothing(planted):
    found = unique_rows(planted, np.empty(0, np.int64))
    assert len(found) == 0 and found.tokens().tolist() == []


def test_zeros_of_two_signs_are_two_rows():
    assert len(unique_rows(from_words([[0x8000, 1], [0, 1], [0, 1]]), np.arange(3))) == 2


def test_holes_of_zeros_and_of_what_is_not_finite_have_no_place(planted):
    words = planted.words.copy()
    words[[20, 21]] = words[20]
    words[[20, 21], 3] = 0x7FC0  # nan
    words[[30, 31]] = words[30]
    words[[30, 31], 3] = 0xFF80  # -infinity
    embedding = from_words(words)
    holes = find_black_holes(embedding)
    assert len(holes) == 5
    solid = solid_holes(embedding, holes)
    assert [hole.token_ids.tolist() for hole in solid] == [[5, 9, 11], [50, 51]]
    assert select_holes(solid).token_ids.tolist() == [5, 9, 11, 50, 51]
    assert select_holes([]).token_ids.tolist() == []


def brute_exponents(embedding, reference):
    fields = embedding.float_format.exponents(embedding.words).astype(np.int64)
    return np.abs(fields - fields[reference])


@pytest.mark.parametrize("name", WIDE)
def test_exponent_distances_against_brute_force(name):
    fmt = float_format(name)
    words = np.random.default_rng(1).integers(0, fmt.largest_finite + 1, (300, 9)).astype(fmt.word_dtype)
    words[::3] |= 1 << (fmt.bits - 1)
    embedding = from_words(words, name)
    for reference in (0, 7):
        expected = brute_exponents(embedding, reference).max(axis=1)
        assert exponent_distances(embedding, reference).tolist() == expected.tolist()
        for within in (0, 3, 10, 100):
            chosen = select(f"exponent:{within}", around(embedding, reference)).token_ids
            assert chosen.tolist() == np.flatnonzero(expected <= within).tolist()


@pytest.mark.parametrize("name", WIDE)
def test_rows_that_are_not_finite_are_in_no_exponent_selection(name):
    fmt = float_format(name)
    words = np.full((6, 3), fmt.largest_finite, fmt.word_dtype)
    words[1, 2] = fmt.magnitude_mask  # nan, one exponent away at most
    if fmt.has_infinity:
        words[2, 0] = fmt.largest_finite + 1
    expected = [0, 3, 4, 5] if fmt.has_infinity else [0, 2, 3, 4, 5]
    surroundings = around(from_words(words, name), 0)
    for within in (0, 1, 40_000, 999_999_999):
        assert select(f"exponent:{within}", surroundings).token_ids.tolist() == expected
    assert exponent_misses(surroundings.embedding, 0, [0, 9], [0, 3]) == {
        0: [len(expected)] * 2,
        9: [len(expected)] * 2,
    }


@pytest.mark.parametrize("dim", [6, 64, 200])
def test_exponent_misses_against_brute_force(dim):
    rng = np.random.default_rng(dim)
    base = rng.integers(100, 130, dim)
    exponents = base + rng.integers(-4, 5, (400, dim)) * (rng.random((400, dim)) < rng.random((400, 1)) ** 3)
    exponents[3] = base
    embedding = from_words((exponents << 7) | rng.integers(0, 128, (400, dim)))
    gaps = brute_exponents(embedding, 3)
    tolerances, dims = (0, 1, 2, 3), (0, 1, 5, 10)
    expected = {t: [int(((gaps > t).sum(axis=1) <= m).sum()) for m in dims] for t in tolerances}
    assert exponent_misses(embedding, 3, tolerances, dims) == expected
    assert len({n for counts in expected.values() for n in counts}) > 5


def brute_closure(embedding, seeds, step):
    """The tokens within reach of the seeds, by all pairs of exact ordinals."""
    ordinals = embedding.float_format.ordinals(embedding.words)
    linf = np.abs(ordinals[:, None] - ordinals[None]).max(axis=2)
    _, labels = connected_components(linf <= step, directed=False)
    return np.flatnonzero(np.isin(labels, labels[seeds])).tolist()


def flooded(embedding, step=1):
    holes = solid_holes(embedding, find_black_holes(embedding))
    return *flood(embedding, holes, step), np.concatenate([hole.token_ids for hole in holes])


def test_a_chain_is_flooded_link_by_link_across_a_binade_and_across_zero():
    start = 2 * 128 - 3  # three steps under a power of two
    up = [[start + k, 5 - min(k, 5)] for k in range(1, 7)]
    down = [[start, 5 - k] for k in range(1, 9)]  # 5 to -3: through zero
    rows = [[start, 5], [start, 5], *up, *down, [start + 20, 5], [start + 7, -3]]
    population, rounds, seeds = flooded(from_steps(rows))
    assert population.token_ids.tolist() == brute_closure(from_steps(rows), seeds, 1) == list(range(16))
    assert rounds == [2, 2, 2, 2, 2, 2, 1, 1, 0]
    assert population.name == "flood:1"


def test_both_zeros_are_one_step_of_a_chain():
    words = [[1, 9], [1, 9], [0x8000, 9], [0x8001, 9], [0x8003, 9]]
    assert flooded(from_words(words))[0].token_ids.tolist() == [0, 1, 2, 3]
    assert flooded(from_words(words), 2)[0].token_ids.tolist() == [0, 1, 2, 3, 4]
    assert flooded(from_words([[0, 7], [0, 7], [0x8000, 7]]), 0)[0].token_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_flood_against_brute_force(name, step):
    rng = np.random.default_rng(step)
    steps = rng.integers(-9, 10, (120, 3))
    steps[[1, 2]] = steps[1]
    embedding = from_steps(steps, name)
    population, rounds, seeds = flooded(embedding, step)
    assert population.token_ids.tolist() == brute_closure(embedding, seeds, step)
    assert rounds[-1] == 0 and all(rounds[:-1])
    n_seeds = len(unique_rows(embedding, seeds))
    assert sum(rounds) + n_seeds == len(unique_rows(embedding, population.token_ids))


def test_flood_does_not_flow_through_rows_that_are_not_finite():
    top = float_format("float16").largest_finite
    words = np.array([[top, 1], [top, 1], [top + 1, 1], [top - 1, 1], [top + 2, 1], [0x7E00, 1]])
    assert flooded(from_words(words, "float16"))[0].token_ids.tolist() == [0, 1, 3]


def test_the_radius_is_cut_at_the_largest_gap():
    rng = np.random.default_rng(2)
    rows = np.concatenate([rng.normal(0, 0.01, (30, 8)), rng.normal(0, 1, (100, 8))]).astype(np.float32) + 1
    rows[[4, 8]] = rows[4]
    rows[40, 2] = np.nan
    rows[41, 2] = np.inf
    surroundings = around(Embedding.from_array(rows))
    centroid = hole_centroid(surroundings.embedding, surroundings.holes)
    assert np.array_equal(centroid, rows[4].astype(np.float64))
    away = np.sqrt(((rows.astype(np.float64) - centroid) ** 2).sum(axis=1))
    assert np.allclose(surroundings.from_centroid, away, rtol=1e-14, equal_nan=True)
    population, gap = select_radius(surroundings.from_centroid)
    assert population.token_ids.tolist() == list(range(30)) and gap.below == 30


def test_the_centroid_counts_every_token():
    rows = np.array([[1, 1], [1, 1], [1, 1], [3, 7], [3, 7]], np.float32)
    embedding = Embedding.from_array(rows)
    assert hole_centroid(embedding, solid_holes(embedding, find_black_holes(embedding))).tolist() == [1.8, 3.4]
    assert distances_to_point(embedding, np.array([1.0, 2.0])).tolist() == [1, 1, 1, 29**0.5, 29**0.5]


def component_by_all_pairs(embedding, centre, threshold):
    values = embedding.values().astype(np.float64)
    between = np.sqrt(((values[:, None] - values[None]) ** 2).sum(axis=2))
    with np.errstate(invalid="ignore"):
        _, labels = connected_components(between < threshold, directed=False)
    return np.flatnonzero(labels == labels[centre]).tolist()


@pytest.mark.parametrize("threshold", [1e-9, 0.11, 0.2, 0.27, 0.31, 0.36, 0.5, 2.0])
def test_component_against_all_pairs(threshold):
    rng = np.random.default_rng(4)
    rows = rng.uniform(0, 2, (220, 3)).astype(ml_dtypes.bfloat16)
    rows[[7, 8, 9]] = rows[7]
    rows[[100, 101]] = rows[100]
    embedding = Embedding.from_array(rows)
    sizes = set()
    for centre in (7, 0, 100, 219):
        away = distances_to_point(embedding, embedding.values(centre, centre + 1)[0].astype(np.float64))
        found = select_component(embedding, centre, away, threshold).token_ids.tolist()
        assert found == component_by_all_pairs(embedding, centre, threshold)
        assert centre in found
        sizes.add(len(found))
    assert threshold < 0.1 or threshold > 1 or len(sizes) > 1 or max(sizes) > 100


def test_a_component_follows_a_chain_that_turns_back():
    angles = np.linspace(0, 1.9 * np.pi, 60)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    far = np.array([[9, 9], [np.nan, 0], [np.inf, 0]], np.float32)
    embedding = Embedding.from_array(np.concatenate([ring, far]))
    away = distances_to_point(embedding, embedding.values(0, 1)[0].astype(np.float64))
    assert select_component(embedding, 0, away, 0.11).token_ids.tolist() == list(range(60))
    assert select_component(embedding, 0, away, 0.09).token_ids.tolist() == [0]


def test_an_edge_is_a_distance_below_the_threshold_not_at_it():
    embedding = Embedding.from_array(np.array([[0, 1], [1, 1], [2, 1], [4, 1]], np.float32))
    surroundings = around(embedding, 0)
    assert select("component:1", surroundings).token_ids.tolist() == [0]
    assert select("component:1.001", surroundings).token_ids.tolist() == [0, 1, 2]
    assert select("component:2.5", surroundings).token_ids.tolist() == [0, 1, 2, 3]
    assert select("component:1e300", surroundings).token_ids.tolist() == [0, 1, 2, 3]


def test_every_form_is_named_and_defined(planted):
    surroundings = around(planted)
    expected = {
        "holes": ("holes", [5, 9, 11, 50, 51]),
        "exponent:0": ("exponent:0", [5, 9, 11]),
        "exponent:999999999": ("exponent:999999999", list(range(200))),
        "flood": ("flood:1", [5, 9, 11, 50, 51]),
        "flood:0": ("flood:0", [5, 9, 11, 50, 51]),
        "flood:999999999": ("flood:999999999", list(range(200))),
        "component:1e-6": ("component:1e-06", [5, 9, 11]),
        "component:0.000001": ("component:1e-06", [5, 9, 11]),
    }
    for text, (name, ids) in expected.items():
        population = select(text, surroundings)
        assert population.name == name and population.token_ids.tolist() == ids, text
        assert len(population.definition) > 20
    assert select("radius", surroundings).name == "radius"


BAD = (
    "", ":", "nothing", "holes:3", "holes:", "exponent", "exponent:", "exponent:-1", "exponent:1.5", "exponent:x",
    "exponent:5:5", "exponent:1_0", "exponent: 5", "exponent:\u0665", "exponent:" + "9" * 5000, "flood:-1", "flood:x",
    "flood:1.5", "flood:" + "9" * 30, "radius:1", "component", "component:", "component:0", "component:-1",
    "component:nan", "component:inf", "component:1e999", "component:x", "Exponent:5", "EXPONENT:5", "exponent=5",
)  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_bad_forms_are_refused_with_a_hint(text, planted):
    with pytest.raises(SelectionError) as raised:
        select(text, around(planted))
    assert raised.value.hint.startswith("known: ")
    assert raised.value.exit_code == 3 and len(raised.value.message) < 100


def test_what_starts_from_holes_needs_holes(planted):
    surroundings = replace(around(planted), holes=[], from_centroid=None)
    for text in ("holes", "flood", "flood:2", "radius"):
        with pytest.raises(SelectionError, match="there are none") as raised:
            select(text, surroundings)
        assert raised.value.hint
    assert select("exponent:0", surroundings).token_ids.tolist() == [5, 9, 11]


def test_every_format_is_covered():
    assert set(WIDE) == set(FORMATS)


def test_a_component_that_reaches_too_far_is_refused():
    rows = np.random.default_rng(0).standard_normal((9_000, 4)).astype(np.float32)
    embedding = Embedding.from_array(rows)
    away = distances_to_point(embedding, rows[0].astype(np.float64))
    with pytest.raises(SelectionError, match="smaller threshold"):
        select_component(embedding, 0, away, 100.0)
