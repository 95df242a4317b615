"""Gaps and breaks: against brute force, planted ones found, nothing found where nothing is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.gaps import density_break, largest_gap

distances = st.lists(st.floats(0, 1e6) | st.integers(0, 5).map(float), max_size=30)


def widest(values):
    """The first of the widest empty stretches, by looking at each."""
    ranked, best = sorted(values), None
    for i in range(len(ranked) - 1):
        width = ranked[i + 1] - ranked[i]
        if width > 0 and (best is None or width > best[0]):
            best = (width, i + 1, ranked[i], ranked[i + 1])
    return best


@given(distances, st.randoms())
def test_the_largest_gap_is_the_widest(values, random):
    shuffled = random.sample(values, len(values))
    found, expected = largest_gap(np.array(shuffled)), widest(values)
    if expected is None:
        assert found is None
    else:
        assert (found.below, found.lower, found.upper) == expected[1:]
        assert found.threshold == (found.lower + found.upper) / 2


@given(distances, st.integers(1, 12))
def test_only_the_nearest_count(values, among):
    expected = widest(sorted(values)[:among])
    found = largest_gap(np.array(values), among=among)
    assert (found is None) == (expected is None)
    assert found is None or (found.below, found.lower, found.upper) == expected[1:]


def test_what_is_not_finite_is_left_out():
    clean = largest_gap(np.array([1.0, 2.0, 9.0, 10.0]))
    assert (clean.below, clean.lower, clean.upper, clean.threshold) == (2, 2.0, 9.0, 5.5)
    assert largest_gap(np.array([np.nan, 9.0, np.inf, 1.0, 2.0, -np.inf, 10.0])) == clean
    assert largest_gap(np.array([np.inf, 9.0, 1.0, 2.0, 10.0]), among=4) == clean
    assert clean.to_dict() == {"below": 2, "lower": 2.0, "upper": 9.0, "threshold": 5.5}


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [np.nan, 1.0], [np.inf, 1.0, 1.0], [np.nan, np.nan]])
def test_no_gap(values):
    assert largest_gap(np.array(values)) is None


def test_single_precision_gaps_are_exact():
    values = np.array([0.1, 0.3, 0.7], np.float32)
    assert largest_gap(values).lower == float(np.float32(0.3))


@pytest.mark.parametrize(("dense", "sparse"), [(20, 1), (6, 2), (30, 10)])
@pytest.mark.parametrize("seed", range(10))
def test_a_planted_break_is_found(dense, sparse, seed):
    rng = np.random.default_rng(seed)
    away = np.concatenate([rng.uniform(0, 1, 60), rng.uniform(1.1, 3, 60)])
    weights = 1 + np.concatenate([rng.poisson(dense, 60), rng.poisson(sparse, 60)])
    mixed = rng.permutation(120)
    found = density_break(away[mixed], weights[mixed])
    assert abs(found.below - 60) <= 6
    assert np.sort(away)[found.below - 1] == found.lower < found.threshold < found.upper == np.sort(away)[found.below]


def test_the_break_is_where_the_inner_stretch_exceeds_its_share_most():
    rng = np.random.default_rng(3)
    away, weights = np.sort(rng.random(40)), np.r_[rng.poisson(9, 15) + 1, rng.poisson(2, 25) + 1]
    logs = np.log(weights)
    assert density_break(away, weights).below == max(range(1, 40), key=lambda n: sum(logs[:n] - logs.mean()))


def test_no_break_in_constant_weights():
    for n in (1, 2, 3, 50):
        assert density_break(np.random.default_rng(n).random(n), np.ones(n, np.int64)) is None
        assert density_break(np.random.default_rng(n).random(n), np.full(n, 700)) is None


def test_no_break_where_weights_rise_or_distances_are_equal():
    assert density_break(np.arange(40.0), np.r_[np.ones(20, np.int64), np.full(20, 50)]) is None
    assert density_break(np.arange(40.0), np.arange(1, 41)) is None
    assert density_break(np.ones(5), np.array([90, 1, 1, 1, 1])) is None
    assert density_break(np.empty(0), np.empty(0, np.int64)) is None


def test_equal_distances_are_never_split():
    away = np.repeat([0.0, 1.0, 2.0], 8)
    weights = np.r_[np.full(12, 50), np.ones(12, np.int64)]  # the drop lies inside the middle stretch
    found = density_break(away, weights)
    assert found is not None and found.below in (8, 16)
    assert (found.lower, found.upper) in ((0.0, 1.0), (1.0, 2.0))


HOLES = np.array([814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 2] + [1] * 112)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.permutation(HOLES),
        lambda rng: rng.geometric(0.3, 100),
        lambda rng: 1 + rng.poisson(4, 100),
        lambda rng: 1 + rng.poisson(0.05, 100),
    ],
    ids=["holes", "geometric", "poisson", "mostly one"],
)
def test_false_breaks_are_rare_in_random_order(draw):
    found = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        weights = draw(rng)
        found += density_break(rng.random(len(weights)), weights) is not None
    assert found <= 4  # 1 in 200 by chance: 0.75 expected of 150, more than 4 once in 900 such tests


def test_holes_near_the_centre_make_a_core():
    rng = np.random.default_rng(1)
    away = np.sort(rng.random(124))
    weights = np.ones(124, np.int64)
    weights[rng.choice(30, 12, replace=False)] = HOLES[1:13]
    assert 15 <= density_break(away, weights).below <= 30
