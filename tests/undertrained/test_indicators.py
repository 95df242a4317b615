"""The published indicators against an independent, whole-matrix calculation of their definitions."""

import ml_dtypes
import numpy as np
import pytest

from benchmarks.baselines import published_indicators, randomized_component
from forensics.embedding import Embedding
from forensics.errors import EmbeddingError, SelectionError
from forensics.formats import BlockFormat
from forensics.undertrained import DEFINITIONS, measure_indicators
from forensics.undertrained.component import PRECISION, first_component
from forensics.undertrained.passes import measure_moments

REFERENCED = ["cosine", "cosine_centred", "cosine_without_component", "distance"]


def matrix(rows=3_000, dim=48, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.3, 1, (rows, dim)) * np.linspace(2, 0.5, dim)
    values[rows // 2 : rows // 2 + 20] = 0.4 * rng.normal(0, 1, dim)
    values[rows // 2 : rows // 2 + 20] += rng.normal(0, 0.01, (20, dim))
    values[7] = 0
    values[8] *= 1e-9
    return values.astype(dtype)


def plain(values, ids, component):
    """In float64, from the text of the definitions."""
    x = values.astype(np.float64)
    p = component / np.linalg.norm(component)

    def cosine(rows):
        u = rows[ids].mean(axis=0)
        return np.array([1 - r @ u / max(np.sqrt(r @ r) * np.sqrt(u @ u), 1e-6) for r in rows])

    return {
        "norm": np.sqrt((x * x).sum(axis=1)),
        "cosine": cosine(x),
        "cosine_centred": cosine(x - x.mean(axis=0)),
        "cosine_without_component": cosine(x - np.outer(x @ p, p)),
        "distance": np.sqrt(((x - x[ids].mean(axis=0)) ** 2).sum(axis=1)),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_every_indicator_is_its_definition(dtype):
    array, ids = matrix(dtype=dtype), np.arange(1_500, 1_520)
    embedding = Embedding.from_array(array)
    component = np.random.default_rng(1).normal(size=48)
    found = measure_indicators(embedding, ids, component=component)
    assert list(found.values) == ["norm", *REFERENCED]
    for name, expected in plain(embedding.values(), ids, component).items():
        np.testing.assert_allclose(found.values[name], expected, rtol=1e-9, atol=1e-11, err_msg=name)
    assert found.values["cosine"][7] == 1  # a zero row, by the clip
    assert found.component is None


def test_they_agree_with_the_published_way_of_working_to_float32_rounding():
    array, ids = matrix(), np.arange(1_500, 1_520)
    component = randomized_component(array)
    found = measure_indicators(Embedding.from_array(array), ids, component=component)
    for name, expected in published_indicators(array, ids).items():
        np.testing.assert_allclose(found.values[name], expected, rtol=3e-6, atol=3e-6, err_msg=name)


@pytest.mark.parametrize("dim", [1, 2, 48, 512, 513, 640])
def test_the_component_is_that_of_the_covariance(dim):
    array = matrix(1_500, dim) if dim < 500 else matrix(1_500, dim) * (1 + 3 * (np.arange(dim) == 4))
    embedding = Embedding.from_array(array.astype(np.float32))
    found = first_component(embedding, measure_moments(embedding))
    centred = embedding.values().astype(np.float64)
    centred -= centred.mean(axis=0)
    variances, vectors = np.linalg.eigh(centred.T @ centred)
    sine = np.sqrt(max(0, 1 - (found.direction @ vectors[:, -1]) ** 2))
    assert sine <= max(found.error, 1e-7) <= PRECISION
    assert found.share == pytest.approx(variances[-1] / variances.sum(), rel=1e-6)
    assert np.linalg.norm(found.direction) == pytest.approx(1)


def test_the_matrix_is_left_as_it_was():
    array = matrix(900, 600)
    before = array.copy()
    measure_indicators(Embedding.from_array(array), [500])
    assert (array == before).all()


def test_without_a_gap_the_whole_covariance_is_solved():
    embedding = Embedding.from_array(np.random.default_rng(0).normal(size=(1_200, 600)).astype(np.float32))
    found = first_component(embedding, measure_moments(embedding))
    assert found.gap < 0.1
    assert found.error < 1e-9
    centred = embedding.values() - embedding.values().mean(axis=0, dtype=np.float64)
    assert abs(found.direction @ np.linalg.svd(centred, full_matrices=False)[2][0]) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_numbers_whose_squares_do_not_fit_float32(scale):
    array = (matrix(900, 600) * np.where(np.arange(600) == 3, 5, 1) * scale).astype(np.float32)
    embedding = Embedding.from_array(array)
    found = first_component(embedding, measure_moments(embedding))
    assert abs(found.direction[3]) > 0.9
    assert found.error < 1e-9


def test_rows_that_are_not_finite_are_left_out_and_counted():
    array, ids = matrix(1_000), np.arange(500, 520)
    clean = measure_indicators(Embedding.from_array(array), ids)
    dirty = np.concatenate([array, np.full((3, 48), np.nan, np.float32)])
    dirty[1_001, 1:], dirty[1_002, 2:] = np.inf, 0
    found = measure_indicators(Embedding.from_array(dirty), [*ids, 1_001])
    assert found.left_out == 3
    assert found.reference_ids.tolist() == ids.tolist()
    for name, values in clean.values.items():
        assert np.isnan(found.values[name][1_000:]).all()
        np.testing.assert_allclose(found.values[name][:1_000], values, rtol=1e-9, atol=1e-12)


def test_without_a_reference_only_norm_and_bias_remain():
    bias = np.linspace(-1, 1, 1_000)
    found = measure_indicators(Embedding.from_array(matrix(1_000), role="output"), [], bias=bias)
    assert list(found.values) == ["norm", "bias"]
    assert found.values["bias"].tolist() == bias.tolist()
    assert found.main == "norm"


@pytest.mark.parametrize(("role", "main"), [("input", "norm"), ("output", "cosine"), ("tied", "cosine")])
def test_the_main_indicator_is_the_published_choice(role, main):
    assert measure_indicators(Embedding.from_array(matrix(100), role=role), [1]).main == main


def test_a_quantised_matrix():
    rows = np.random.default_rng(3).integers(0, 256, (300, 2 * 34), dtype=np.uint8)
    rows[:, [1, 35]] = 0x20
    embedding = Embedding(rows, BlockFormat("Q8_0", 8, 32, 34), 64)
    found = measure_indicators(embedding, [1, 2], component=np.ones(64))
    for name, expected in plain(embedding.values(), [1, 2], np.ones(64)).items():
        np.testing.assert_allclose(found.values[name], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "array", [np.zeros((5, 3)), np.ones((2, 4)), np.ones((4, 1)), np.full((3, 2), np.nan), np.ones((1, 1))]
)
def test_degenerate_matrices(array):
    found = measure_indicators(Embedding.from_array(array.astype(np.float32)), [0])
    assert found.component is None
    assert "cosine_without_component" not in found.values
    found.to_dict()


def test_the_summary_defines_every_number():
    summary = measure_indicators(Embedding.from_array(matrix(200)), [100]).to_dict()
    assert [entry["name"] for entry in summary["indicators"]] == ["norm", *REFERENCED]
    for entry in summary["indicators"]:
        assert entry["definition"] == DEFINITIONS[entry["name"]]
        assert entry["min"] <= entry["lowest_2_percent"] <= entry["median"] <= entry["max"]
    empty = measure_indicators(Embedding.from_array(np.full((3, 2), np.nan, np.float32)), []).to_dict()
    assert empty["indicators"][0]["median"] is None


def test_what_does_not_fit_is_refused():
    embedding = Embedding.from_array(matrix(100))
    with pytest.raises(SelectionError, match="100 rows"):
        measure_indicators(embedding, [100])
    with pytest.raises(SelectionError):
        measure_indicators(embedding, [-1])
    with pytest.raises(EmbeddingError, match="a bias is one number a row"):
        measure_indicators(embedding, [1], bias=np.zeros(99))
    with pytest.raises(EmbeddingError, match="a component"):
        measure_indicators(embedding, [1], component=np.zeros(48))
