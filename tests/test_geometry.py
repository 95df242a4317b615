"""Norms, centroids and angles against a dense float64 calculation written the plain way."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.black_holes import find_black_holes
from forensics.embedding import Embedding
from forensics.formats import FORMATS, BlockFormat
from forensics.geometry import angle_deg, in_hole_mask, measure_geometry

NUMPY = {
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
    "float32": np.float32,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
Q8_0 = BlockFormat("Q8_0", 8, 32, 34)


def measure(array):
    embedding = array if isinstance(array, Embedding) else Embedding.from_array(array)
    return measure_geometry(embedding, find_black_holes(embedding))


def norm(vector):
    return math.sqrt(math.fsum(float(x) * float(x) for x in vector))


def angle(u, v):
    """By the cosine: well enough conditioned away from 0 and 180 degrees."""
    cosine = math.fsum(float(a) * float(b) for a, b in zip(u, v, strict=True)) / (norm(u) * norm(v))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def plain(values, stored):
    """Every figure from the definitions: a loop over the rows, one list a population."""
    rows = values.astype(np.float64)
    finite = [bool(np.isfinite(row).all()) for row in rows]
    keys = [row.tobytes() for row in stored]
    zero_key = bytes(len(keys[0]))
    inside = [keys.count(key) > 1 and key != zero_key for key in keys]
    first = [keys.index(key) == i for i, key in enumerate(keys)]
    everything = [i for i in range(len(rows)) if finite[i]]
    mean = np.array([math.fsum(rows[everything, d]) for d in range(rows.shape[1])]) / len(everything)
    figures = {"mean": norm(mean)}
    for weighting in ("tokens", "distinct"):
        chosen = [i for i in everything if weighting == "tokens" or first[i]]
        centroids = []
        for wanted in (True, False):
            ids = [i for i in chosen if inside[i] == wanted]
            centroids.append(np.array([math.fsum(rows[ids, d]) / len(ids) for d in range(rows.shape[1])]))
        for frame, origin in (("raw", 0 * mean), ("centred", mean)):
            u, v = centroids[0] - origin, centroids[1] - origin
            figures[weighting, frame] = (norm(u), norm(v), angle(u, v), norm(u - v))
    figures["norms"] = [norm(row) if ok else math.nan for row, ok in zip(rows, finite, strict=True)]
    figures["inside"] = inside
    return figures


def assert_plain(geometry, figures):
    np.testing.assert_allclose(geometry.norms, figures["norms"], rtol=1e-12)
    assert geometry.vocabulary_mean_norm == pytest.approx(figures["mean"], rel=1e-9)
    assert [(p.weighting, p.frame) for p in geometry.centroids] == [
        ("tokens", "raw"),
        ("tokens", "centred"),
        ("distinct", "raw"),
        ("distinct", "centred"),
    ]
    for pair in geometry.centroids:
        inside, rest, degrees, distance = figures[pair.weighting, pair.frame]
        assert pair.in_hole_norm == pytest.approx(inside, rel=1e-9)
        assert pair.rest_norm == pytest.approx(rest, rel=1e-9)
        assert pair.angle_deg == pytest.approx(degrees, abs=1e-5)
        assert pair.distance == pytest.approx(distance, rel=1e-9)
    norms, inside = np.array(figures["norms"]), np.array(figures["inside"])
    for summary, chosen in zip(geometry.summaries, (inside | True, inside, ~inside), strict=True):
        of_set = norms[chosen]
        finite = of_set[~np.isnan(of_set)]
        assert (summary.rows, summary.left_out) == (len(finite), len(of_set) - len(finite))
        assert summary.mean == pytest.approx(finite.mean(), rel=1e-12)
        assert summary.std == pytest.approx(math.sqrt(((finite - finite.mean()) ** 2).mean()), abs=1e-9)
        assert (summary.min, summary.max) == pytest.approx((finite.min(), finite.max()), rel=1e-12)
        assert summary.median == pytest.approx(np.median(finite), rel=1e-12)


def planted(dtype, seed=0, rows=90, dim=12):
    """Two holes of unlike population, a zero hole, and a rest that leans another way."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.5, 1, (rows, dim))
    values[[3, 8, 20, 21, 60]] = rng.normal(-1, 0.25, dim)
    values[[5, 7]] = rng.normal(-1, 0.25, dim)
    values[[30, 31, 32]] = 0
    return values.astype(dtype)


# Against the plain calculation


@pytest.mark.parametrize("name", FORMATS)
def test_every_figure_is_that_of_the_plain_calculation(name):
    array = planted(NUMPY[name])
    embedding = Embedding.from_array(array)
    assert_plain(measure(embedding), plain(embedding.values(), embedding.rows_bytes))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_with_nan_or_infinity_are_left_out_and_counted(bad):
    array = planted(np.float32)
    array[[11, 40], 2] = bad
    array[12, 0], array[12, 1] = np.inf, -np.inf
    array[[70, 71]] = array[70]
    array[[70, 71], 4] = bad  # a hole that is not finite
    embedding = Embedding.from_array(array)
    geometry = measure(embedding)
    assert_plain(geometry, plain(embedding.values(), embedding.rows_bytes))
    assert [s.left_out for s in geometry.summaries] == [5, 2, 3]
    assert np.flatnonzero(np.isnan(geometry.norms)).tolist() == [11, 12, 40, 70, 71]
    assert geometry.hole_angles_deg[-1] is None  # holes 1 to 4 by population: 5, 3 (zeros), 2, 2 (not finite)


def test_a_signalling_nan_in_a_hole_is_only_a_nan():
    array = planted(np.float32)
    array.view(np.uint32)[[50, 51]] = 0x7F800001
    geometry = measure(array)
    assert geometry.summaries[1].left_out == 2


@given(seed=st.integers(0, 10**6), copies=st.integers(2, 9))
def test_any_planted_matrix(seed, copies):
    rng = np.random.default_rng(seed)
    array = planted(np.float16, seed, 61, 4)
    array[40 : 40 + copies] = array[2]
    array[rng.integers(9, 20)] = 0
    embedding = Embedding.from_array(array)
    assert_plain(measure(embedding), plain(embedding.values(), embedding.rows_bytes))


def test_a_matrix_of_more_than_one_block():
    rng = np.random.default_rng(5)
    array = rng.normal(0.1, 1, (5000, 128)).astype(np.float32)
    array[::7], array[3::11] = array[1], array[2]
    array[4000:4003] = np.nan
    embedding = Embedding.from_array(array)
    assert len(list(embedding.spans())) > 2
    holes = find_black_holes(embedding)
    geometry = measure_geometry(embedding, holes)
    finite = np.isfinite(array).all(axis=1)
    rows = array.astype(np.float64)
    inside, rest = rows[holes.mask & finite].mean(axis=0), rows[~holes.mask & finite].mean(axis=0)
    raw = geometry.centroids[0]
    assert raw.in_hole_norm == pytest.approx(np.linalg.norm(inside), rel=1e-11)
    assert raw.rest_norm == pytest.approx(np.linalg.norm(rest), rel=1e-11)
    assert raw.distance == pytest.approx(np.linalg.norm(inside - rest), rel=1e-11)
    np.testing.assert_allclose(geometry.norms, np.where(finite, np.linalg.norm(rows, axis=1), np.nan), rtol=1e-12)


def test_a_quantised_matrix():
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 256, (30, 2 * 34), dtype=np.uint8)
    for block in (0, 34):
        scales = rng.uniform(0.01, 0.02, (30, 1)).astype(np.float16)
        rows[:, block : block + 2] = scales.view(np.uint8)
    rows[[4, 5, 6]], rows[[8, 9]] = rows[4], 0
    embedding = Embedding(rows, Q8_0, 64)
    assert_plain(measure(embedding), plain(embedding.values(), rows))


def test_a_quantised_matrix_without_holes():
    rows = np.random.default_rng(3).integers(0, 200, (4, 34), dtype=np.uint8)
    rows[:, 1] = 0x20
    geometry = measure(Embedding(rows, Q8_0, 32))
    assert geometry.hole_angles_deg == ()
    assert geometry.centroids[0].in_hole_norm is None


# The sets


def test_weightings_count_tokens_or_distinct_rows():
    a, b, c, d = [4.0, 0.0], [0.0, 2.0], [1.0, 1.0], [3.0, 5.0]
    geometry = measure(np.array([a, a, a, b, b, c, d], np.float32))
    tokens, tokens_centred, distinct, distinct_centred = geometry.centroids
    assert tokens.in_hole_norm == pytest.approx(math.hypot(12 / 5, 4 / 5))
    assert distinct.in_hole_norm == pytest.approx(math.hypot(2, 1))
    assert tokens.rest_norm == distinct.rest_norm == pytest.approx(math.hypot(2, 3))
    mean = (16 / 7, 10 / 7)
    assert geometry.vocabulary_mean_norm == pytest.approx(math.hypot(*mean))
    assert tokens_centred.rest_norm == pytest.approx(math.hypot(2 - mean[0], 3 - mean[1]))
    assert distinct_centred.in_hole_norm == pytest.approx(math.hypot(2 - mean[0], 1 - mean[1]))
    assert set(tokens.to_dict()) == {"in_hole_norm", "rest_norm", "angle_deg", "distance"}


def test_a_zero_hole_belongs_to_the_rest():
    a, b = [3.0, 4.0], [0.0, 6.0]
    array = np.array([a, a, b, [0, 0], [0, 0], [0, 0]], np.float32)
    embedding = Embedding.from_array(array)
    holes = find_black_holes(embedding)
    assert in_hole_mask(holes).tolist() == [True, True, False, False, False, False]
    geometry = measure_geometry(embedding, holes)
    tokens, _, distinct, _ = geometry.centroids
    assert tokens.in_hole_norm == distinct.in_hole_norm == 5
    assert tokens.rest_norm == pytest.approx(6 / 4)  # b and three zeros
    assert distinct.rest_norm == pytest.approx(6 / 2)  # b and one zero
    assert [s.rows for s in geometry.summaries] == [6, 2, 4]
    assert geometry.hole_angles_deg[0] is None  # the zero hole is the most populated and has no direction
    assert geometry.hole_angles_deg[1] == pytest.approx(math.degrees(math.acos(4 / 5)))


def test_hole_angles_are_to_the_rest_in_the_raw_frame():
    array = np.array([[1, 0], [1, 0], [1, 0], [-1, 1], [-1, 1], [0, 2], [0, 4]], np.float32)
    assert measure(array).hole_angles_deg == pytest.approx((90, 45))


def test_all_rows_in_holes_leave_no_rest():
    geometry = measure(np.array([[1, 2], [1, 2], [3, 1], [3, 1]], np.float32))
    for pair in geometry.centroids:
        assert (pair.rest_norm, pair.angle_deg, pair.distance) == (None, None, None)
        assert pair.in_hole_norm is not None
    assert geometry.hole_angles_deg == (None, None)
    rest = geometry.summaries[2]
    assert rest.to_dict() == {
        "rows": 0,
        "left_out": 0,
        "mean": None,
        "std": None,
        "min": None,
        "median": None,
        "max": None,
    }
    assert geometry.vocabulary_mean_norm == pytest.approx(math.hypot(2, 1.5))


def test_no_holes_leave_no_in_hole_centroid():
    geometry = measure(np.array([[1, 2], [3, 1]], np.float32))
    for pair in geometry.centroids:
        assert (pair.in_hole_norm, pair.angle_deg, pair.distance) == (None, None, None)
    assert geometry.centroids[0].rest_norm == geometry.centroids[2].rest_norm == pytest.approx(2.5)
    assert geometry.summaries[1].rows == 0


def test_nothing_finite_has_no_figures():
    geometry = measure(np.full((3, 2), np.nan, np.float32))
    assert geometry.vocabulary_mean_norm is None
    assert {pair.in_hole_norm for pair in geometry.centroids} == {None}
    assert {pair.rest_norm for pair in geometry.centroids} == {None}
    assert [s.left_out for s in geometry.summaries] == [3, 3, 0]
    assert geometry.hole_angles_deg == (None,)


def test_a_matrix_of_zeros():
    geometry = measure(np.zeros((4, 3), np.float32))
    assert geometry.summaries[0].mean == 0
    for pair in geometry.centroids:
        assert (pair.in_hole_norm, pair.rest_norm, pair.angle_deg) == (None, 0.0, None)
    assert geometry.hole_angles_deg == (None,)


# Precision


def test_a_rest_of_zeros_has_a_centroid_of_exactly_zero():
    rng = np.random.default_rng(7)
    array = np.repeat((rng.normal(0, 1, (40, 16)) * 10.0 ** rng.integers(-9, 9, (40, 1))).astype(np.float32), 3, axis=0)
    array = np.concatenate([array, np.zeros((5, 16), np.float32)])
    geometry = measure(array)
    for pair in (geometry.centroids[0], geometry.centroids[2]):
        assert pair.rest_norm == 0
        assert pair.angle_deg is None
    assert set(geometry.hole_angles_deg) == {None}


def test_a_huge_hole_does_not_drown_the_rest():
    rest = np.random.default_rng(8).normal(1, 0.1, (20, 4)).astype(np.float32)
    array = np.concatenate([np.full((3, 4), 1e30, np.float32), rest])
    geometry = measure(array)
    expected = np.linalg.norm(rest.astype(np.float64).mean(axis=0))
    assert geometry.centroids[0].rest_norm == pytest.approx(expected, rel=1e-12)


def test_the_largest_floats_do_not_overflow():
    geometry = measure(np.array([[3e38] * 64, [3e38] * 64, [-3e38] * 64, [1] * 64], np.float32))
    largest = float(np.float32(3e38))
    assert geometry.norms[0] == pytest.approx(8 * largest, rel=1e-12)
    assert geometry.centroids[0].in_hole_norm == pytest.approx(8 * largest, rel=1e-12)
    assert geometry.centroids[0].angle_deg == pytest.approx(180)
    assert geometry.summaries[0].left_out == 0


def test_the_smallest_floats_do_not_vanish():
    smallest = float(np.float32(1e-45))
    geometry = measure(np.array([[1e-45] * 4, [1e-45] * 4, [2.8e-45] * 4], np.float32))
    assert geometry.norms.tolist() == pytest.approx([2 * smallest, 2 * smallest, 4 * smallest], rel=1e-12)
    assert geometry.centroids[0].angle_deg == 0


# Angles


@pytest.mark.parametrize("radians", [1e-12, 1e-9, 1e-6, 1e-3, 0.5, 1.5, 3.0, math.pi - 1e-9])
@pytest.mark.parametrize("lengths", [(1, 1), (1e-30, 1e30), (7, 0.01)])
def test_an_angle_is_right_to_its_last_digits_at_any_size(radians, lengths):
    u = np.array([1.0, 0.0]) * lengths[0]
    v = np.array([math.cos(radians), math.sin(radians)]) * lengths[1]
    # A vector's own rounding can turn it by an epsilon, whatever the formula.
    assert angle_deg(u, v) == pytest.approx(math.degrees(radians), abs=1e-13)


def test_a_tiny_angle_that_the_cosine_cannot_see():
    v = np.array([math.cos(1e-9), math.sin(1e-9)])
    assert math.acos(v[0]) == 0
    assert angle_deg(np.array([1.0, 0.0]), v) == pytest.approx(math.degrees(1e-9), rel=1e-6)


def test_opposite_and_equal_vectors():
    u = np.array([0.3, -0.2, 0.9])
    assert angle_deg(u, -2 * u) == pytest.approx(180, abs=1e-12)
    assert angle_deg(u, u) == 0
    assert angle_deg(np.array([1.0, 0.0]), np.array([0.0, 5.0])) == pytest.approx(90)


@pytest.mark.parametrize("other", [None, np.zeros(2), np.array([np.nan, 1]), np.array([np.inf, 1])])
def test_an_angle_to_no_direction_is_undefined(other):
    u = np.array([1.0, 2.0])
    assert angle_deg(u, other) is None
    assert angle_deg(other, u) is None
