"""Which hypotheses make the same distribution: equal ones are one class, others not, and the test keeps its level."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from forensics.hypotheses.judging.classes import _holm, find_classes
from forensics.hypotheses.judging.distance import Frame, nearest
from forensics.hypotheses.judging.two_samples import _relabelled, _tail, two_samples
from tests.hypotheses.made_fits import counts, curve, draws, observables, plane, point


def p_value(first, second, seed=0):
    return two_samples(first, second, observables(first.shape[1]), np.random.default_rng(seed))[2]


@pytest.mark.parametrize("made", [curve, plane, counts])
def test_equal_ones_are_told_apart_as_often_as_the_level_says(made):
    found = np.array([p_value(draws(made, 60, 2 * i), draws(made, 60, 2 * i + 1)) for i in range(150)])
    assert (found <= 0.1).mean() <= 0.1 + 3.5 * np.sqrt(0.09 / 150)
    assert (found <= 0.5).mean() == pytest.approx(0.5, abs=0.17)


@pytest.mark.parametrize(("made", "off", "n"), [(curve, 2.0, 400), (plane, 2.0, 400), (counts, 1.5, 400)])
def test_unequal_ones_are_told_apart(made, off, n):
    found = [p_value(draws(made, n, 2 * i), draws(made, n, 2 * i + 1, off=off)) for i in range(8)]
    assert np.mean(np.array(found) <= 0.001) >= 0.9


def test_the_variance_is_that_of_all_relabellings():
    rng = np.random.default_rng(0)
    near = np.stack([rng.choice(np.delete(np.arange(30), i), 5, replace=False) for i in range(30)])
    labels = np.arange(30) < 12
    same = []
    for _ in range(20_000):
        mixed = rng.permutation(labels)
        same.append((mixed[near] == mixed[:, np.newaxis]).sum())
    mean, variance = _relabelled(near, 12, 18)
    assert mean == pytest.approx(np.mean(same), rel=0.005)
    assert variance == pytest.approx(np.var(same), rel=0.05)


def test_the_tail_is_that_of_relabellings():
    rng = np.random.default_rng(0)
    # The quiet end of a curve has many neighbours, the loud end none: the counts are skewed.
    values = np.concatenate([draws(curve, 60, 2), draws(curve, 60, 3)])
    points = Frame.of(values, observables(10)).points(values)
    near, _ = nearest(points, points, 5, same=True)
    is_first = np.arange(120) < 60
    mean, variance = _relabelled(near, 60, 60)
    drawn = np.array([(m[near] == m[:, np.newaxis]).sum() for m in (rng.permutation(is_first) for _ in range(40_000))])
    for level in (0.01, 0.001):
        same = int(np.quantile(drawn, 1 - level))
        share = (drawn >= same).mean()
        normal = 0.5 * math.erfc((same - mean) / math.sqrt(2 * variance))
        found = _tail(same, mean, variance, near, is_first, rng)
        assert found == pytest.approx(share, rel=0.3)
        assert normal < 0.75 * share


@pytest.mark.parametrize(("shift", "apart"), [(0.0, False), (1e-12, False), (0.004, False), (0.1, True)])
def test_points_are_told_apart_by_more_than_the_resolution(shift, apart):
    assert (p_value(draws(point, 50), draws(point, 50, which=shift)) < 1e-6) == apart


def test_a_statistic_near_a_point_is_blurred_by_its_resolution():
    first, second = np.full((300, 1), 0.3), np.full((300, 1), 0.3 + 1e-9)
    first[0] = second[0] = 0.5  # so that it varies
    assert p_value(first, second) > 0.01


@pytest.mark.parametrize(("needs", "told"), [("cloud", True), ("ids", False)])
def test_what_one_alone_defines_tells_them_apart_but_for_ids(needs, told):
    first, second = draws(curve, 200), draws(curve, 200, 1)
    second[:, 3] = np.nan
    of = observables(10)
    of[3] = replace(of[3], needs=needs)
    assert (two_samples(first, second, of, np.random.default_rng(0))[2] < 1e-6) == told


def test_how_often_a_statistic_is_defined_tells_them_apart():
    first, second = draws(curve, 200), draws(curve, 200, 1)
    first[:100, 4] = np.nan
    assert p_value(first, second) < 1e-6
    second[:100, 4] = np.nan
    assert p_value(first, second) > 0.01


def test_a_pair_is_tested_alike_whoever_else_is():
    values = {name: draws(counts, 200, seed) for seed, name in enumerate("abcd")}
    few, many = (find_classes({name: values[name] for name in names}, observables(6)) for names in ("cd", "abcd"))
    assert few.pairs[0].p_value == next(p.p_value for p in many.pairs if (p.first, p.second) == ("c", "d"))
    other = find_classes({name: values[name] for name in "cd"}, observables(6), seed=1)
    assert other.pairs[0].p_value != few.pairs[0].p_value


def test_classes_and_the_declared_pair():
    values = {
        "b": draws(curve, 300),
        "a": draws(curve, 300, 1),
        "c": draws(curve, 300, 2, which=1),
        "d": draws(point, 300),
    }
    found = find_classes(values, observables(10), same_as={"b": "a", "c": "d"})
    assert found.members == (("a", "b"), ("c",), ("d",))
    assert found.names == ("a = b", "c", "d")
    assert [found.of(name) for name in "abcde"] == [0, 0, 1, 2, None]
    assert found.among(["b", "d", "e"]) == (("b",), (), ("d",))
    assert (found.compared(["a", "b"]), found.compared(["c"])) == (300, 0)
    shown = {(p.first, p.second): (p.told_apart, p.declared) for p in found.pairs}
    assert shown["a", "b"] == (False, True)
    assert shown["c", "d"] == (True, True)  # argued to be the same, and shown not to be
    assert shown["a", "c"] == (True, False)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == found.to_dict()


def test_too_few_simulations_join_nothing():
    found = find_classes({"a": draws(curve, 300), "b": draws(curve, 19)}, observables(10))
    assert (found.members, found.pairs) == ((("a",), ("b",)), ())


def test_a_chain_does_not_join_its_ends():
    p = {("a", "b"): 0.5, ("b", "c"): 0.5, ("a", "c"): 1e-9}
    assert _holm(p, 0.01) == {("a", "c")}
    rng = np.random.default_rng(0)
    steps = {name: rng.normal(shift, 1, (500, 1)) for name, shift in (("a", 0.0), ("b", 0.35), ("c", 0.7))}
    found = find_classes(steps, observables(1), alpha=1e-6)
    assert {(q.first, q.second) for q in found.pairs if q.told_apart} == {("a", "c")}
    p = {(q.first, q.second): q.p_value for q in found.pairs}
    assert found.members == ((("a",), ("b", "c")) if p["b", "c"] > p["a", "b"] else (("a", "b"), ("c",)))


def test_holm_stops_at_the_first_that_passes():
    p = {("a", "b"): 0.001, ("a", "c"): 0.006, ("b", "c"): 0.0061}
    assert _holm(p, 0.01) == {("a", "b")}
    assert _holm(p, 0.0125) == {*p}
