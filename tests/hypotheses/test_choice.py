"""Weights between classes, and that their error is the error."""

import json

import numpy as np
import pytest

from forensics.hypotheses.judging.choice import LARGEST, NEAREST, Pool
from tests.hypotheses.made_fits import curve, draws, observables


def normals(apart, n=800, seed=0):
    rng = np.random.default_rng(seed)
    return {"a": rng.normal(size=(n, 1)), "b": rng.normal(apart, 1, (n, 1))}


def gather(values, members=(("a",), ("b",))):
    return Pool.gather(values, members, observables(next(iter(values.values())).shape[1]))


@pytest.mark.parametrize(("apart", "bayes"), [(0.0, 0.5), (1.0, 0.309), (2.0, 0.159), (6.0, 0.001)])
def test_the_error_is_near_that_of_the_best_choice(apart, bayes):
    choice = gather(normals(apart)).choice(np.array([[apart / 2]]), ("a", "b"))
    assert choice.error == pytest.approx(bayes, abs=0.05)
    assert choice.n == 1600


def test_near_the_middle_the_choice_errs_more():
    pool = gather(normals(2.0))
    middle, end = (pool.choice(np.array([[x]]), ("a", "b")) for x in (1.0, 4.0))
    assert middle.error_near > 0.3 > middle.error > end.error_near
    assert middle.error == end.error
    assert middle.weights["a"] == pytest.approx(0.5, abs=0.25)
    assert end.weights == {"a": pytest.approx(0, abs=0.06), "b": pytest.approx(1, abs=0.06)}


def test_weights_are_shares_of_the_nearest():
    pool = gather(normals(1.0))
    weights = pool.weights(np.linspace(-2, 3, 20)[:, np.newaxis])
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights * NEAREST, np.round(weights * NEAREST), atol=1e-9)
    assert (np.diff(weights[::5, 1]) > 0).all()


def test_a_rejected_class_has_no_weight_and_no_share_in_the_error():
    rng = np.random.default_rng(0)
    values = normals(6.0) | {"c": rng.normal(size=(800, 1))}
    pool = gather(values, (("a",), ("b",), ("c",)))
    choice = gather(values).choice(np.array([[0.0]]), ("a", "b"))
    assert choice.weights == {"a": 1.0, "b": 0.0}
    assert choice.error < 0.01 < pool.choice(np.array([[0.0]]), ("a", "b", "c")).error


def test_what_is_rejected_shortens_widens_and_hides_nothing():
    values = normals(1.0)
    plain = gather(values).choice(np.array([[0.5]]), ("a", "b")).to_dict()
    values["c"] = np.full((3, 1), np.nan)
    values["d"] = np.full((9, 1), 1e6)
    assert gather(values).choice(np.array([[0.5]]), ("a", "b")).to_dict() == plain


def test_a_class_of_many_has_no_more_weight_than_a_class_of_one():
    values = {name: draws(curve, 300, seed) for seed, name in enumerate("abcd")}
    pool = gather(values, (("a", "b", "c"), ("d",)))
    assert np.bincount(pool.of).tolist() == [300, 300]
    for i in range(3):  # and its members share alike: the first 100 of each
        inside = pool.points[pool.of == 0]
        expected = pool.frame.points(values["abc"[i]][:100])
        np.testing.assert_array_equal(inside[i::3], expected)
    weights = pool.weights(draws(curve, 200, 9))
    assert weights[:, 0].mean() == pytest.approx(0.5, abs=0.05)


def test_of_equally_near_simulations_all_count():
    rng = np.random.default_rng(0)
    values = {
        "a": np.full((400, 1), 2.0),
        "b": np.where(np.arange(400) % 4 == 0, 2.0, rng.normal(9, 1, 400))[:, np.newaxis],
    }
    for order in (1, -1):
        choice = gather({name: v[::order] for name, v in values.items()}).choice(np.array([[2.0]]), ("a", "b"))
        assert choice.weights == {"a": 0.8, "b": 0.2}
        assert choice.nearest == 500
        assert (choice.error, choice.error_near) == (100 / 800, 100 / 500)


def test_a_short_hypothesis_shortens_all():
    values = {"a": draws(curve, 2 * LARGEST), "b": draws(curve, 120, 1)}
    assert np.bincount(gather(values).of).tolist() == [120, 120]
    assert np.bincount(gather({"a": values["a"], "b": values["a"]}).of).tolist() == [LARGEST, LARGEST]


def test_only_what_all_define_decides():
    values = {"a": draws(curve, 200), "b": draws(curve, 200, 1)}
    values["b"][:, 3] = np.nan
    pool = gather(values)
    assert pool.columns.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    choice = pool.choice(draws(curve, 1, 2), ("a", "b"))
    assert 0.35 < choice.error < 0.65
    assert json.loads(json.dumps(choice.to_dict(), allow_nan=False)) == choice.to_dict()
