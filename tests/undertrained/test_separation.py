"""The test for a group of low values: nulls of every shape, planted groups, and its laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.undertrained.separation import LEAST_VALUES, find_separation, valley_statistics

SHAPES = {
    "normal": lambda rng, n: rng.normal(1, 0.1, n),
    "uniform": lambda rng, n: rng.random(n),
    "lognormal": lambda rng, n: np.exp(rng.normal(0, 1, n)),
    "falling": lambda rng, n: rng.exponential(size=n),
    "rising": lambda rng, n: -rng.exponential(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "long low tail": lambda rng, n: -np.exp(rng.normal(0, 1, n)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bulk_of_one_mode_has_no_low_group(shape):
    rng = np.random.default_rng(11)
    for _ in range(15):
        assert find_separation(SHAPES[shape](rng, int(rng.integers(60, 5_000)))) is None


@pytest.mark.parametrize("n", [5, 20, 100, 2_000])
@pytest.mark.parametrize("shape", ["normal", "uniform", "lognormal"])
def test_a_planted_group_is_found_to_the_value(n, shape):
    rng = np.random.default_rng(n)
    bulk = SHAPES[shape](rng, 20_000)
    # A tight group, as far under the lowest as the bulk's own half width.
    low = bulk.min() - np.ptp(np.quantile(bulk, (0.01, 0.5))) - 0.01 * rng.random(n)
    found = find_separation(rng.permutation(np.concatenate([bulk, low])))
    assert found is not None
    assert found.below == n
    assert n == 5 or found.test == "valley"  # of five the void says as much
    assert low.max() < found.threshold < bulk.min()


def test_one_value_far_below_is_a_void():
    values = np.append(np.random.default_rng(0).normal(1, 0.02, 5_000), 0.01)
    found = find_separation(values)
    assert (found.test, found.below) == ("void", 1)
    assert 0.01 < found.threshold < 0.9


def test_one_value_a_little_below_is_not():
    assert find_separation(np.append(np.random.default_rng(0).normal(1, 0.02, 5_000), 0.89)) is None


def test_overlapping_groups_are_parted_where_values_are_fewest():
    rng = np.random.default_rng(2)
    low, bulk = rng.normal(0.3, 0.05, 1_000), rng.normal(1, 0.15, 30_000)
    found = find_separation(np.concatenate([low, bulk]))
    assert 0.4 < found.threshold < 0.6
    assert (low < found.threshold).mean() > 0.97


def test_a_high_group_is_none_of_its_business():
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(1, 0.1, 20_000), rng.normal(3, 0.01, 50)])
    assert find_separation(values) is None


def test_a_bump_on_the_slope_is_no_low_group():
    rng = np.random.default_rng(9)
    values = np.concatenate([np.exp(rng.normal(0, 0.2, 20_000)), rng.normal(0.75, 0.002, 300)])
    assert find_separation(values) is None


def test_the_larger_part_is_the_bulk():
    rng = np.random.default_rng(8)
    assert find_separation(np.concatenate([rng.normal(0.3, 0.01, 3_000), rng.normal(1, 0.1, 1_000)])) is None


def test_copies_are_one_value():
    values = np.concatenate([np.random.default_rng(4).normal(1, 0.1, 3_000), np.full(500, 0.55)])
    assert find_separation(values) is None


@pytest.mark.parametrize(
    "values", [[], [1.0], [1.0] * 500, [np.nan] * 99, np.arange(LEAST_VALUES - 1), np.zeros((0,)), [0.0, np.inf]]
)
def test_too_little_to_say(values):
    assert find_separation(np.array(values)) is None


def test_what_is_not_finite_is_left_out():
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(1, 0.05, 2_000), rng.normal(0.2, 0.01, 40)])
    assert find_separation(np.append(values, [np.nan, np.inf, -np.inf])) == find_separation(values)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), power=st.integers(-40, 40), shift=st.integers(-3, 3))
def test_neither_order_nor_scale_nor_origin_matter(seed, power, shift):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(1, 0.05, 400), rng.normal(0.2, 0.01, 15)])
    one, other = find_separation(values), find_separation(rng.permutation((values + shift) * 2.0**power))
    assert one.below == other.below
    assert other.threshold == pytest.approx((one.threshold + shift) * 2.0**power, rel=1e-9, abs=1e-9 * 2.0**power)


def plain_valleys(ranked):
    """The statistic by its definition, over every four of few ranks."""

    def ratio(i, j, k, falling):
        share, width = (j - i) / (k - i), (ranked[j] - ranked[i]) / (ranked[k] - ranked[i])
        if (share > width) != falling:
            return 0.0
        return (k - i) * (share * math.log(share / width) + (1 - share) * math.log((1 - share) / (1 - width)))

    n = len(ranked)
    out = np.zeros((n, n))
    for j in range(1, n - 1):
        for k in range(j + 1, n - 1):
            falls = max(ratio(i, j, k, True) for i in range(j))
            rises = max(ratio(j, k, top, False) for top in range(k + 1, n))
            out[j, k] = min(falls, rises)
    return out


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_the_valley_statistic_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    ranked = np.sort(np.concatenate([rng.random(6), 2 + rng.random(14)]))
    statistics, ranks = valley_statistics(ranked)
    assert ranks.tolist() == list(range(20))
    np.testing.assert_allclose(statistics, plain_valleys(ranked), rtol=1e-9, atol=1e-12)


def test_the_stated_chance_bounds_what_uniform_values_do():
    rng = np.random.default_rng(6)
    tops = np.array([valley_statistics(np.sort(rng.random(200)))[0].max() for _ in range(500)])
    for chance in (0.1, 0.01):
        assert (np.exp(5.5 - 0.9 * tops) <= chance).mean() <= chance
