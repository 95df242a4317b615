"""The fast displacement against the readable one, over every kind of word."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forensics.formats import BFLOAT16, FLOAT32
from forensics.lattice.coordinates import ulp_displacement
from forensics.toy import displacement as module
from forensics.toy.displacement import REGIMES, changed_rows, measure_displacement

each_format = pytest.mark.parametrize("fmt", [BFLOAT16, FLOAT32], ids=lambda f: f.name)


def tensor_of(fmt, words):
    signed = torch.from_numpy(np.ascontiguousarray(words, fmt.word_dtype).view(f"i{fmt.itemsize}"))
    return signed.view(getattr(torch, fmt.name))


def readable(fmt, before, after):
    ulps = ulp_displacement(fmt, before, after)
    steps = fmt.ordinals(after) - fmt.ordinals(before)
    return np.sqrt((ulps**2).sum(axis=1)), np.abs(ulps).max(axis=1), np.abs(steps).sum(axis=1)


def finite_words(fmt, rng, shape):
    """Words of every binade, zeros and subnormals too, up to half the largest exponent: squares stay finite."""
    magnitude = rng.integers(0, fmt.largest_finite // 2, shape)
    magnitude[rng.random(shape) < 0.1] = 0
    return (magnitude | rng.integers(0, 2, shape) << (fmt.bits - 1)).astype(fmt.word_dtype)


@each_format
@given(st.integers(0, 2**32))
def test_agrees_with_the_lattice(fmt, seed):
    rng = np.random.default_rng(seed)
    before = finite_words(fmt, rng, (9, 5))
    near = fmt.words_of(fmt.ordinals(before) + rng.integers(-3, 4, before.shape))
    after = np.where(rng.random((9, 1)) < 0.5, near, finite_words(fmt, rng, before.shape))
    after[0] = before[0]
    found = measure_displacement(tensor_of(fmt, before), tensor_of(fmt, after))
    l2, linf, l1 = readable(fmt, before, after)
    np.testing.assert_allclose(found.l2, l2, rtol=1e-12)
    np.testing.assert_allclose(found.linf, linf, rtol=1e-12)
    assert found.l1.tolist() == l1.tolist()


@each_format
@pytest.mark.parametrize("dim", [3, 4])
def test_blocks_join(fmt, dim, monkeypatch):
    rng = np.random.default_rng(4)
    before, after = finite_words(fmt, rng, (50, dim)), finite_words(fmt, rng, (50, dim))
    after[::3] = before[::3]
    pair = tensor_of(fmt, before), tensor_of(fmt, after)
    whole = measure_displacement(*pair)
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 4 * dim)
    parts = measure_displacement(*pair)
    for name in ("l2", "linf", "l1"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert not whole.l1[::3].any()
    assert whole.l1[1::3].all()


def test_a_zero_that_changes_its_sign_has_not_moved():
    before, after = torch.zeros(2, 4).bfloat16(), torch.zeros(2, 4).bfloat16()
    after[1] = -0.0
    assert changed_rows(before, after).tolist() == [1]
    assert measure_displacement(before, after).moved(np.arange(2)) == 0


def test_regimes_part_the_rows():
    before = torch.ones(5, 4).bfloat16()
    ulp = 2.0**-7
    after = before.clone()
    after[1, 0] += ulp  # L2 = Linf = 1
    after[2] += ulp  # L2 = 2 = sqrt(4), Linf = 1: still adjacent
    after[3, 0] += 2 * ulp  # L2 = 2, Linf = 2
    after[4, 0] += 3 * ulp  # L2 = 3 > 2
    found = measure_displacement(before, after)
    assert REGIMES == ("far", "several", "adjacent", "frozen")
    assert found.regimes(np.arange(5)).tolist() == [1, 1, 2, 1]
    assert found.regimes(np.array([0, 4])).tolist() == [1, 0, 0, 1]
    assert found.l2.tolist() == [0, 1, 2, 2, 3]
    assert found.l1.tolist() == [0, 1, 4, 2, 3]
    assert found.moved(np.arange(5)) == 0.8
    assert np.isnan(found.moved(np.arange(0)))


@each_format
def test_the_widest_step_is_exact(fmt):
    top = np.full((1, 3), fmt.largest_finite, fmt.word_dtype)
    bottom = top | fmt.word_dtype.type(1 << (fmt.bits - 1))
    found = measure_displacement(tensor_of(fmt, bottom), tensor_of(fmt, top))
    assert found.l1.tolist() == [6 * fmt.largest_finite]
