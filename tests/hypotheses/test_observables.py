"""Every observable against a plain computation from whole rows, and against what is known without one."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse.csgraph import connected_components

from forensics.embedding import Embedding
from forensics.formats import BFLOAT16, FLOAT8_E5M2, FLOAT16, FLOAT32, BlockFormat
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.observables import CLOUD, OBSERVABLES, SCALE_FREE, measure_cloud, transformed
from forensics.hypotheses.observables.live import measure_against_live, measure_live
from forensics.synthetic.qwen3_4b_published import published

N_VOCAB = 1_000
LATTICE = [name for name, o in OBSERVABLES.items() if "undefined for quantised formats" in o.definition]


def cloud_of(values, fmt=BFLOAT16, ids=None):
    return Cloud.from_rows(fmt.narrow(np.asarray(values, np.float32)), fmt, np.shape(values)[1], ids)


def context_of(cloud, initial=0.02):
    row = cloud.distinct_rows()[0]
    return Context(len(cloud), cloud.dim, cloud.format, row, cloud.distinct_values()[0], N_VOCAB, initial)


def measured(cloud, initial=0.02, **more):
    return measure_cloud(cloud, context_of(cloud, initial), **more)


def plain(words, fmt, ids, initial=0.02):
    """All figures of a cloud of finite rows, from their definitions alone."""
    n, dim = words.shape
    rows = Counter(map(bytes, words))
    counts = sorted(rows.values(), reverse=True)
    distinct = np.unique(words, axis=0)
    populations = np.array([rows[bytes(row)] for row in distinct])
    out = {
        "holes": sum(c > 1 for c in counts),
        "holes_per_token": sum(c > 1 for c in counts) / n,
        "population_entropy": -sum(c / n * math.log(c / n) for c in counts) / math.log(n) if n > 1 else None,
        "in_hole_share": sum(c for c in counts if c > 1) / n,
        "unique_share": len(counts) / n,
        "singleton_share": counts.count(1) / n,
        "norm_over_initial": None,
        "zero_row_share": float((fmt.widen(words) == 0).all(axis=1).mean()),
    }
    for i, rank in enumerate(("largest", "second", "third", "fourth")):
        out[f"{rank}_share"] = [*counts, 0, 0, 0][i] / n
    for suffix, chosen in (("_holes", distinct[populations > 1]), ("", distinct)):
        ranks, exponents = fmt.ordinals(chosen), fmt.exponents(chosen)
        varying = [d for d in range(dim) if len(set(chosen[:, d].tolist())) > 1]
        extents = [int(ranks[:, d].max() - ranks[:, d].min()) for d in varying]
        shared = sum(len(set(exponents[:, d].tolist())) == 1 for d in range(dim))
        there = len(chosen) > 0
        out[f"varying_dims{suffix}"] = len(varying) / dim if there else None
        out[f"median_extent{suffix}"] = np.median(extents) if varying else None
        out[f"largest_extent{suffix}"] = max(extents, default=0) if there else None
        out[f"shared_exponents{suffix}"] = shared / dim if there else None
    first = next(row for row in words if rows[bytes(row)] == counts[0])
    out["same_exponents_share"] = (fmt.exponents(words) == fmt.exponents(first)).all(axis=1).mean()
    ranks = fmt.ordinals(distinct)
    linf = np.abs(ranks[:, None] - ranks[None]).max(axis=2)
    held = linf[np.ix_(populations > 1, populations > 1)]
    pairs = held[np.triu_indices(len(held), 1)]
    out["median_linf"] = np.median(pairs) if len(pairs) else None
    out["largest_linf"] = pairs.max() if len(pairs) else None
    out["adjacent_share"] = (pairs <= 1).mean() if len(pairs) else None
    parts, label = connected_components(linf <= 1)
    out["components_per_row"] = parts / len(distinct)
    out["largest_component_share"] = max(populations[label == part].sum() for part in range(parts)) / n
    values = fmt.widen(words).astype(np.float64)
    mean, norms = values.mean(axis=0), np.linalg.norm(values, axis=1)
    off, rms = values - mean, np.sqrt((norms**2).mean())
    length = np.linalg.norm(mean)
    out["radius_over_centroid"] = np.sqrt((off**2).sum(axis=1).mean()) / length if length else None
    out["norm_over_initial"] = norms.mean() / (initial * math.sqrt(dim)) if initial else None
    out["norm_spread"] = norms.std() * math.sqrt(2) / np.sqrt((values**2).mean()) if rms else None
    out["centroid_norm"] = length * math.sqrt(n) / rms if rms else None
    out["kurtosis"] = (off**4).mean() / (off**2).mean() ** 2 if off.any() else None
    tail = 0
    while ids is not None and N_VOCAB - 1 - tail in ids:
        tail += 1
    out["tail_share"] = None if ids is None else tail / n
    out["median_id"] = None if ids is None else (np.median(ids) + 0.5) / N_VOCAB
    return out


def agree(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def drawn(kind, seed=0):
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 0.02, 24)
    return {
        "one point": lambda: np.tile(centre, (40, 1)),
        "tight": lambda: centre + rng.normal(0, 2e-6, (60, 24)),
        "off one point, a few": lambda: np.vstack([np.tile(centre, (50, 1)), centre + rng.normal(0, 1e-4, (6, 24))]),
        "all apart": lambda: rng.normal(0, 0.02, (50, 24)),
        "one row": lambda: centre[np.newaxis],
        "zeros": lambda: np.zeros((5, 24)),
        "two points": lambda: np.repeat(rng.normal(0, 1, (2, 24)), [3, 4], axis=0),
        "about zero, opposite": lambda: np.vstack([np.ones((3, 24)), -np.ones((3, 24))]),
        "signs of zero": lambda: np.where(rng.random((30, 24)) < 0.1, -0.0, 0.0),
    }[kind]()


KINDS = (
    "one point",
    "tight",
    "off one point, a few",
    "all apart",
    "one row",
    "zeros",
    "two points",
    "about zero, opposite",
    "signs of zero",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fmt", [BFLOAT16, FLOAT16, FLOAT32, FLOAT8_E5M2], ids=lambda f: f.name)
@pytest.mark.parametrize("ids", [None, "tail", "spread"])
def test_every_figure_is_what_its_definition_says(kind, fmt, ids):
    words = fmt.narrow(drawn(kind).astype(np.float32))
    n = len(words)
    token_ids = {"tail": np.r_[5 : 5 + n // 3, N_VOCAB - n + n // 3 : N_VOCAB], "spread": np.arange(n) * 7}.get(ids)
    found = measured(Cloud.from_rows(words, fmt, 24, token_ids))
    agree(found, plain(words, fmt, token_ids))
    assert all(value is None or math.isfinite(value) for value in found.values())
    assert [name for name in OBSERVABLES if name in found] == list(found)


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.integers(0, 2**16 - 1)))
def test_any_finite_words(words):
    words = words & np.uint16(0xBFFF)  # exponents below half of the range: squares are finite
    agree(measured(Cloud.from_rows(words, BFLOAT16, words.shape[1])), plain(words, BFLOAT16, None))


@given(st.integers(0, 1000))
def test_neither_the_order_of_tokens_nor_of_dimensions_matters(seed):
    rng = np.random.default_rng(seed)
    words = BFLOAT16.narrow(drawn("tight", seed).astype(np.float32))
    moved = rng.permutation(words)[:, rng.permutation(words.shape[1])]
    first, second = (measured(Cloud.from_rows(w, BFLOAT16, 24)) for w in (words, moved))
    # Of several rows that most tokens hold, the first sets the exponents.
    if words.shape[0] * (first["largest_share"] - first["second_share"]) > 0.5:
        assert second["same_exponents_share"] == first["same_exponents_share"]
    del first["same_exponents_share"], second["same_exponents_share"]
    agree(second, first)


@given(st.integers(-20, 20))
def test_a_power_of_two_changes_nothing_but_the_norm_against_the_config(power):
    rows = drawn("off one point, a few")
    before, after = measured(cloud_of(rows)), measured(cloud_of(rows * 2.0**power))
    before["norm_over_initial"] *= 2.0**power
    agree(after, before)


@pytest.mark.parametrize(("n", "dim"), [(400, 64), (100, 1024)])
def test_independent_normal_rows_are_what_the_definitions_promise(n, dim):
    rng = np.random.default_rng(1)
    found = measured(cloud_of(rng.normal(0, 0.02, (n, dim)), FLOAT32))
    assert found["norm_over_initial"] == pytest.approx(1, rel=0.02)
    assert found["norm_spread"] == pytest.approx(1, rel=0.15)
    assert found["centroid_norm"] == pytest.approx(1, rel=0.15)
    assert found["kurtosis"] == pytest.approx(3, rel=0.05)
    assert found["in_hole_share"] == 0 and found["components_per_row"] == 1
    assert found["population_entropy"] == pytest.approx(1)


def test_the_published_holes():
    """13 x 20 printed words: L-infinity 1 to 11, 10 adjacent pairs of 78, 20 of 2,560 dimensions, one exponent."""
    truth = published()
    rows = np.repeat(truth.words, truth.populations, axis=0)
    base = np.full(truth.dim, 0x3C00, np.uint16)
    cloud = Cloud.from_active(base, np.array(truth.varying_dims), rows, BFLOAT16, truth.dim)
    found = measured(cloud)
    assert found["holes"] == 13 and found["largest_linf"] == found["largest_extent_holes"] == 11
    assert found["adjacent_share"] == 10 / 78 and found["varying_dims_holes"] == 20 / 2560
    assert found["largest_share"] == 814 / 2100 and found["fourth_share"] == 228 / 2100
    assert found["shared_exponents_holes"] == found["same_exponents_share"] == 1


def test_many_holes_are_held_against_each_other_up_to_the_cap():
    steps = np.repeat(np.arange(200), [3] * 128 + [2] * 72)
    rows = (0x3C00 + steps[:, None]).astype(np.uint16) + np.zeros((1, 3), np.uint16)
    found = measured(Cloud.from_rows(rows, BFLOAT16, 3))
    assert found["largest_linf"] == 127 and found["largest_extent_holes"] == 199 and found["holes"] == 200


def test_only_what_is_asked_for_is_measured(monkeypatch):
    cloud = cloud_of(drawn("tight"))
    monkeypatch.setattr("forensics.hypotheses.observables.geometry.measure_moments", None)
    monkeypatch.setattr("forensics.hypotheses.observables.lattice.find_components", None)
    found = measured(cloud, only={"second_share", "holes"})
    assert list(found) == ["holes", "second_share"]
    assert found.items() <= measured(cloud, only=[n for n in CLOUD if n in found]).items()


def test_quantised_rows_have_populations_and_norms_but_no_lattice():
    q8 = BlockFormat("Q8_0", 8, 32, 34)
    rows = np.zeros((5, 34), np.uint8)
    rows[:, 1], rows[:, 2] = 0x3C, [1, 1, 1, 2, 3]  # a scale of 1
    found = measured(Cloud.from_rows(rows, q8, 32))
    assert found["holes"] == 1 and found["largest_share"] == 0.6
    assert [
        name for name, value in found.items() if value is None and "id" not in name and name != "tail_share"
    ] == LATTICE[:14]
    assert found["radius_over_centroid"] == pytest.approx(np.std([1, 1, 1, 2, 3]) / 1.6)


def test_a_point_of_zeros_is_told_from_any_other():
    zero, other = (measured(cloud_of(np.full((5, 24), x)), None) for x in (-0.0, 2.63))
    assert (zero["zero_row_share"], other["zero_row_share"]) == (1, 0)
    assert measured(cloud_of(np.vstack([np.zeros((3, 24)), np.eye(24)[:1]])))["zero_row_share"] == 0.75
    assert measured(cloud_of(np.full((2, 24), np.nan)))["zero_row_share"] == 0
    assert "zero_row_share" in CLOUD


def test_the_entropy_of_one_hole_is_not_below_zero():
    assert math.copysign(1, measured(cloud_of(drawn("one point")))["population_entropy"]) == 1


def test_extents_do_not_wrap():
    words = np.array([[0x7F00, 1], [0xFF00, 1], [0x7F00, 1], [0xFF00, 1]], np.uint16)
    found = measured(Cloud.from_rows(words, BFLOAT16, 2))
    assert found["largest_extent"] == found["largest_extent_holes"] == found["largest_linf"] == 2 * 0x7F00


def test_an_infinity_that_all_rows_share_leaves_no_norms():
    rows = drawn("tight")
    rows[:, 5] = np.inf
    found = measured(cloud_of(rows))
    assert {found[name] for name in ("radius_over_centroid", "norm_spread", "kurtosis", "norm_over_initial")} == {None}
    assert found["components_per_row"] > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_leave_only_what_is_defined(bad):
    rows = drawn("tight")
    rows[3, 5] = bad
    found = measured(cloud_of(rows))
    assert found["radius_over_centroid"] is None and found["norm_spread"] is None
    assert (found["largest_extent"] is None) == np.isnan(bad)
    assert (found["components_per_row"] is None) == np.isnan(bad)
    assert found["holes"] == measured(cloud_of(drawn("tight")))["holes"]


@pytest.mark.parametrize("initial", [None, 0.0])
def test_without_an_initial_range_the_norm_has_nothing_to_be_held_against(initial):
    assert measured(cloud_of(drawn("tight")), initial)["norm_over_initial"] is None


def test_dead_against_live_rows():
    rng = np.random.default_rng(3)
    array = BFLOAT16.widen(BFLOAT16.narrow(rng.normal(0.01, 0.02, (300, 16)).astype(np.float32)))
    array[200:] /= 8
    array[7, 3], array[8, 0] = np.inf, np.nan
    embedding = Embedding(BFLOAT16.narrow(array).view(np.uint8), BFLOAT16, 16)
    candidates = np.arange(300) < 190
    live = measure_live(embedding, candidates)
    keep = np.setdiff1d(np.arange(190), [7, 8])
    np.testing.assert_array_equal(live.token_ids, keep)
    wide = array.astype(np.float64)
    np.testing.assert_allclose(live.mean, wide[keep].mean(axis=0))
    assert live.mean_norm == pytest.approx(np.linalg.norm(wide[keep], axis=1).mean())
    found = measure_against_live(Cloud.from_rows(embedding.words[200:], BFLOAT16, 16), live)
    dead = wide[200:]
    cosine = dead.mean(axis=0) @ live.mean / np.linalg.norm(dead.mean(axis=0)) / np.linalg.norm(live.mean)
    assert found["centroid_angle"] == pytest.approx(np.degrees(np.arccos(cosine)))
    assert found["norm_ratio"] == pytest.approx(np.linalg.norm(dead, axis=1).mean() / live.mean_norm)
    exponents = BFLOAT16.exponents(embedding.words).astype(int)
    assert found["exponent_offset"] == pytest.approx(exponents[200:].mean() - exponents[keep].mean())
    nobody = measure_against_live(
        Cloud.from_rows(embedding.words[200:], BFLOAT16, 16), measure_live(embedding, ~candidates & candidates)
    )
    assert set(nobody.values()) == {None}


def test_the_list_names_itself():
    assert list(OBSERVABLES) == [o.name for o in OBSERVABLES.values()]
    assert set(CLOUD) | {n for n, o in OBSERVABLES.items() if o.needs == "live" or o.derived} == set(OBSERVABLES)
    assert {"holes", "largest_linf"} - set(SCALE_FREE) == {"holes"}
    for o in OBSERVABLES.values():
        assert o.definition and o.population and o.unit and o.resolution > 0
        assert o.to_dict()["name"] == o.name


def test_the_scales_that_distances_are_taken_on():
    values = {"holes": 3.0, "in_hole_share": 0.25, "radius_over_centroid": 0.0, "population_entropy": 0.5}
    found = transformed(values, [*values, "median_linf"])
    np.testing.assert_allclose(found[:4], [math.log(4), math.pi / 6, math.log(1e-9), 0.5])
    assert np.isnan(found[4])


@given(st.integers(1, 5000), st.data())
def test_a_share_has_the_same_standard_error_wherever_it_lies(n, data):
    """One token more or less moves a share by 1 / (2 sqrt(n)) in the middle, by at most twice that at the ends."""
    k = data.draw(st.integers(0, n - 1))
    step = OBSERVABLES["in_hole_share"].transformed((k + 1) / n) - OBSERVABLES["in_hole_share"].transformed(k / n)
    assert 1 / n * 0.99 <= step <= 1 / math.sqrt(n) * math.pi / 2 + 1e-9


def test_the_smallest_cloud_that_is_no_point_is_above_the_floor():
    """One token of 2,221 one step off on the finest of 2,560 dimensions."""
    base = np.full(2560, 0x3BF0, np.uint16)  # 0.0073, the published root mean square element
    base[0] = 107 << 7
    words = np.repeat(base[:1][None], 2221, axis=0)
    words[0] += np.uint16(1)
    cloud = Cloud.from_active(base, np.array([0]), words, BFLOAT16, 2560)
    found = measured(cloud)["radius_over_centroid"]
    assert OBSERVABLES["radius_over_centroid"].transformed(found) >= math.log(1e-10) and found > 1e-10
