"""Verdicts: the prediction interval against scipy's, its rate of misses, and every case without a verdict."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from forensics.comparison.verdict import SEEDS, judge, predict
from forensics.hypotheses.observables.observable import Observable


def observable(transform="identity", unit="value", resolution=1e-9, **named):
    return Observable("o", "an o", unit, "dead", "d", transform=transform, resolution=resolution, **named)


def test_the_interval_is_students():
    toys = [13.0, 11.5, 14.2, 12.9]
    m, s, n = np.mean(toys), np.std(toys, ddof=1), len(toys)
    low, high = stats.t.interval(0.95, n - 1, loc=m, scale=s * math.sqrt(1 + 1 / n))
    cell = judge(observable(), high + 1, toys)
    assert (cell.low, cell.high) == pytest.approx((low, high))
    assert (cell.mean, cell.sd, cell.n) == pytest.approx((m, s, n))
    assert cell.verdict == "not reproduced" and cell.difference == pytest.approx(high + 1 - m)
    assert cell.distance == pytest.approx((high + 1 - m) / (s * math.sqrt(1 + 1 / n)))
    assert cell.p == pytest.approx(2 * stats.t.sf(abs(cell.distance), n - 1))
    assert judge(observable(), high - 1e-6, toys).verdict == "reproduced"


@pytest.mark.parametrize("n", [3, 6])
def test_one_run_in_twenty_misses_its_own_group(n):
    draws = np.random.default_rng(n).normal(5, 2, (3000, n + 1)).tolist()
    missed = np.mean([judge(observable(), real, toys).verdict == "not reproduced" for real, *toys in draws])
    assert missed == pytest.approx(0.05, abs=0.012)  # three standard errors


values = st.floats(-100, 100).map(lambda x: round(x, 3))


@given(values, st.lists(values, min_size=3, max_size=6), st.floats(0.5, 4), values)
def test_a_verdict_does_not_hang_on_units(real, toys, scale, shift):
    before = judge(observable(), real, toys)
    after = judge(observable(), real * scale + shift, [toy * scale + shift for toy in toys])
    if before.distance is None or abs(abs(before.distance) - stats.t.ppf(0.975, len(toys) - 1)) > 1e-6:
        assert after.verdict == before.verdict


@pytest.mark.parametrize(
    ("transform", "to", "back"),
    [
        ("log", math.log, math.exp),
        ("log1p", math.log1p, math.expm1),
        ("arcsine", lambda x: math.asin(math.sqrt(x)), lambda y: math.sin(y) ** 2),
    ],
)
def test_intervals_are_on_the_observables_scale(transform, to, back):
    toys = [0.2, 0.21, 0.19]
    plain = predict(observable(), [to(toy) for toy in toys])
    cell = judge(observable(transform), 0.5, toys)
    assert (cell.low, cell.high) == pytest.approx((back(plain.low), back(plain.high)))
    assert cell.mean == pytest.approx(0.2) and cell.verdict == "not reproduced"


def test_a_share_of_none_and_of_all_is_comparable():
    assert judge(observable("arcsine", resolution=0.005), 1.0, [0, 0, 0]).verdict == "not reproduced"
    assert judge(observable("arcsine", resolution=0.005), 0.0, [0, 0, 0]).verdict == "reproduced"


def test_what_is_below_the_resolution_is_no_difference():
    for real, verdict in ((1.09, "reproduced"), (1.11, "not reproduced")):
        cell = judge(observable(resolution=0.1), real, [1.0, 1.0, 1.0])
        assert cell.verdict == verdict and cell.distance is None and cell.p is None and cell.sd == 0


@pytest.mark.parametrize("n", range(1, SEEDS))
def test_fewer_seeds_give_a_difference_alone(n):
    cell = judge(observable(), 3.0, [1.0] * n)
    assert (cell.verdict, cell.difference, cell.low, cell.p) == ("no verdict", 2.0, None, None)
    assert cell.reason == f"three seeds at least, here {n}"


@pytest.mark.parametrize(
    ("real", "toys", "reason"),
    [
        (None, [1.0, 2.0], "undefined in the real model"),
        (1.0, [None, None], "undefined in every toy"),
        (None, [None], "undefined in the real model and every toy"),
    ],
)
def test_undefined_says_on_which_side(real, toys, reason):
    cell = judge(observable(), real, toys)
    assert (cell.verdict, cell.reason) == ("undefined", reason)
    assert None not in cell.to_dict()["values"] or cell.n < len(toys)


def test_an_undefined_run_is_left_out():
    cell = judge(observable(), 1.0, [1.0, None, 1.5, 0.5, 0.9])
    assert cell.n == 4 and cell.values[1] is None and cell.verdict == "reproduced"


@pytest.mark.parametrize(
    ("o", "toys"),
    [
        (("arcsine",), [0.05, 0.5, 0.95]),
        (("identity", "degrees"), [20, 90, 160]),
        (("identity", "share"), [0.1, 0.5, 0.9]),  # an entropy
    ],
)
def test_an_interval_of_all_values_says_nothing(o, toys):
    cell = judge(observable(*o), 0.5, toys)
    assert cell.verdict == "no verdict" and cell.reason == "seeds spread over all values"


@pytest.mark.parametrize(("n", "told"), [(3, "(3 seeds: \u00b1 5 sd)"), (4, "(4 seeds: \u00b1 3.6 sd)"), (5, None)])
def test_few_seeds_say_how_wide_they_are(n, told):
    toys = [1.0, 1.1, 0.9, 1.05, 0.95][:n]
    cell = judge(observable(), 1.0, toys)
    assert cell.verdict == cell.to_dict()["verdict"] == "reproduced"
    assert cell.told == ("reproduced" if told is None else f"within the seeds' spread {told}")
    assert judge(observable(), 99.0, toys).told == "not reproduced"


def test_angles_stay_angles():
    cell = judge(observable(unit="degrees"), 90.0, [172.0, 175.0, 169.0])
    assert cell.high == 180 and 150 < cell.low < 170


def test_a_reason_bars_the_verdict():
    cell = judge(observable(), 9.0, [1.0, 1.1, 0.9], "sizes differ")
    assert (cell.verdict, cell.reason, cell.difference) == ("no verdict", "sizes differ", pytest.approx(8.0))
