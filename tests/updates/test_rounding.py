"""Stochastic rounding keeps the mean, keeps what is exact, and turns nothing into garbage."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forensics.updates.rounding import StochasticRounder

MAX = float(torch.finfo(torch.bfloat16).max)
N = 200_000


def rounded(values, seed=0):
    values = torch.as_tensor(values, dtype=torch.float32).clone()
    stored = torch.empty(values.shape, dtype=torch.bfloat16)
    StochasticRounder(values.device, seed, values.numel()).write(values, stored)
    assert torch.equal(values.nan_to_num(), stored.float().nan_to_num())
    return stored


def float_of(word):
    return torch.tensor([word], dtype=torch.int64).to(torch.int32).view(torch.float32)


@pytest.mark.parametrize("value", [1.0 + 2**-9, -1.0 - 2**-8 * 0.9, 3.14159, 1e-3, -7.7e-20, 1e-40, -3e-41])
def test_the_mean_is_kept(value):
    value = float(torch.tensor(value))
    words = rounded([value] * N).double()
    low, high = words.min().item(), words.max().item()
    share = (value - low) / (high - low)
    assert len(words.unique()) == 2
    assert low < value < high
    # Five standard errors of a share of N draws.
    assert (words == high).double().mean().item() == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / N))


def test_every_step_of_the_low_half_counts():
    """Shares of 1/65536 and 65535/65536 would be lost with fewer than sixteen random bits."""
    for low, expected in ((1, 1), (0xFFFF, 0xFFFF)):
        up = (rounded(float_of(0x3F800000 + low).expand(65536 * 40)) > 1).sum().item() / 40
        assert up == pytest.approx(expected, abs=5 / math.sqrt(40))


def test_every_exact_word_stays():
    words = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    finite = words[~words.isnan()]
    assert torch.equal(rounded(finite.float()).view(torch.int16), finite.view(torch.int16))


@given(st.floats(width=32, allow_nan=False), st.integers(0, 2**31))
def test_the_result_is_a_neighbour(value, seed):
    below_or_above = rounded([value] * 8, seed)
    bits = torch.tensor([value]).view(torch.int32)
    low = bits.bitwise_and(-0x10000)
    neighbours = torch.cat([low, low + (0x10000 if bits != low else 0)]).view(torch.float32).bfloat16()
    assert torch.isin(below_or_above.view(torch.int16), neighbours.view(torch.int16)).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_beyond_the_largest_word_lies_infinity(sign):
    largest = float(torch.finfo(torch.float32).max)
    words = rounded([sign * largest] * N)
    assert set((words.float() * sign).unique().tolist()) == {MAX, math.inf}
    # So often that every random number comes: one in 65536 would show an infinity taken for the largest float32.
    assert rounded(torch.tensor(sign * math.inf).expand(1_000_000)).float().unique().tolist() == [sign * math.inf]
    assert rounded([sign * MAX] * 1000).float().unique().tolist() == [sign * MAX]


@pytest.mark.parametrize("word", [0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFFC00000])
def test_a_nan_stays_one(word):
    """A carry out of a NaN's bits would make it zero or infinity."""
    assert rounded(float_of(word).expand(1000)).isnan().all()


def test_draws_are_independent_and_repeat_with_the_seed():
    # Halfway between two words.
    first, again, other = (rounded([1 + 2**-8] * 10_000, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    up = first > 1
    assert ((other > 1) == up).float().mean().item() == pytest.approx(0.5, abs=0.025)
    for lag in (1, 2, 3, 4, 8):
        assert (up[lag:] == up[:-lag]).float().mean().item() == pytest.approx(0.5, abs=0.025)


def test_torchs_global_generator_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    rounded([1.1] * 100)
    assert torch.equal(torch.get_rng_state(), before)
