"""Sums, means and tolerances against the plain calculation."""

import numpy as np
import pytest

from forensics.causes.sums import CHECKPOINTS, chance_of_ordinary, sum_rows
from forensics.embedding import Embedding
from forensics.synthetic.causes import Q8_0, plant_cause, quantise


def matrix(rows=700, dim=40, seed=0):
    return np.random.default_rng(seed).normal(0.1, 1, (rows, dim)).astype(np.float32)


def test_means_before_and_without_are_those_of_the_rows():
    values = matrix()
    values[[5, 301]] = np.nan
    sums = sum_rows(Embedding.from_array(values))
    finite = np.isfinite(values).all(axis=1)
    rows = values.astype(np.float64)
    for token in (1, 5, 6, 299, 302, 700 - 1, 700 // CHECKPOINTS + 1):
        mean = sums.before(token)
        np.testing.assert_allclose(mean.vector, rows[:token][finite[:token]].mean(axis=0), rtol=1e-5, atol=1e-7)
        assert mean.n_rows == finite[:token].sum()
    ids = np.array([0, 5, 17, 699])
    kept = np.setdiff1d(np.flatnonzero(finite), ids)
    np.testing.assert_allclose(sums.without(ids, "").vector, rows[kept].mean(axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(sums.squares[finite], (rows[finite] ** 2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(sums.spread, rows[finite].std(axis=0), rtol=1e-5)
    assert np.isnan(sums.squares[[5, 301]]).all()
    assert sums.before(0) is None and sums.without(np.arange(700), "") is None


def test_a_matrix_of_many_blocks_and_stretches():
    values = matrix(9000, 256)
    sums = sum_rows(Embedding.from_array(values))
    assert len(sums.starts) > 2
    for token in (1, 4500, 8999):
        np.testing.assert_allclose(sums.before(token).vector, values[:token].mean(axis=0, dtype=np.float64), atol=1e-6)


def test_the_input_is_not_written_to():
    values = matrix()
    values[3] = np.inf
    before = values.copy()
    sum_rows(Embedding.from_array(values))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("rows", [100, 3000, 40_000])
def test_the_tolerance_holds_for_a_float32_mean_and_is_not_loose(rows):
    torch = pytest.importorskip("torch")
    values = matrix(rows, 16)
    mean = sum_rows(Embedding.from_array(values)).without(np.empty(0, np.int64), "")
    off = np.abs(torch.from_numpy(values).mean(dim=0).numpy() - mean.vector)
    assert (off <= mean.tolerance).all()
    assert (mean.tolerance < 0.01 * mean.error / np.sqrt(16)).all()


def test_steps_of_floats_leave_out_unused_bits():
    planted = plant_cause("null", rows=600, dim=32)
    stored = planted.embedding()
    wide = Embedding.from_array(stored.values().copy())
    ids = np.array([4, 9])
    assert sum_rows(stored).steps.unused_bits == 0 and sum_rows(wide).steps.unused_bits == 16
    np.testing.assert_array_equal(sum_rows(wide).steps_at(ids), sum_rows(stored).steps_at(ids))


def test_steps_of_blocks_are_codes():
    blocks = quantise(plant_cause("null", rows=600, dim=64, dtype="float32").embedding(), Q8_0)
    scales = blocks.rows_bytes.reshape(600, 2, 34)[:, :, :2].copy().view(np.float16)[:, :, 0].astype(np.float64)
    steps = sum_rows(blocks).steps_at(np.arange(600))
    codes = steps.reshape(600, 2, 32) / scales[:, :, None]
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    assert codes.min() > 0.99 and np.median(codes) < 1.01


def test_the_chance_bounds_what_is_drawn():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((200_000, 3)) * [1, 2, 3]
    width = np.array([0.3, 0.5, 2.0])
    inside = (np.abs(draws - [0.2, 0, 1]) <= width).all(axis=1).sum()
    bound = chance_of_ordinary(width, np.array([1.0, 2, 3]), 200_000)
    assert inside <= bound < 1.5 * inside
    assert chance_of_ordinary(width, np.array([1.0, 0, 3]), 9) > chance_of_ordinary(width, np.array([1.0, 2, 3]), 9)
