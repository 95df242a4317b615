"""One hypothesis against an observation: the p-value is exact, local and blind to what is not worth telling apart."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.formats import BFLOAT16
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.discovery import load_hypothesis
from forensics.hypotheses.judging.conformal import Reference
from forensics.hypotheses.judging.distance import Frame, nearest, statistics
from forensics.hypotheses.judging.fit import fit_hypothesis, needed
from forensics.hypotheses.judging.posterior import Draws, posterior
from forensics.hypotheses.observables import measure_cloud
from forensics.hypotheses.sweeps.simulation import Simulation, simulate_one
from tests.hypotheses.made_fits import counts, curve, draws, failed, named, observables, plane, point, simulations


def fit(observed, sims, k, **how):
    return fit_hypothesis("made", named(observed), sims, observables=observables(k), **how)


def plain_as_odd(frame, values, observed):
    """How many of the others are at least as odd, by the definition: every point is scored anew among the others."""
    pool = np.vstack([frame.points(values), frame.points(observed[np.newaxis])])
    n, k = pool.shape
    m = max(2, min(30, (n - 1) // 5))
    z = np.empty_like(pool)
    for i in range(n):
        others = np.delete(pool, i, axis=0)
        near = others[np.argsort(((others - pool[i]) ** 2).sum(axis=1))[:m]]
        off = pool[i] - near.mean(axis=0)
        off = np.where(np.abs(off) < frame.resolution, 0, off - np.sign(off) * frame.resolution)
        z[i] = 3 * np.arcsinh(off / np.sqrt(near.var(axis=0, ddof=1) + frame.resolution**2) / 3)
    inverse = np.linalg.inv(z.T @ z / n + k / n * np.eye(k))
    scores = np.array([row @ inverse @ row for row in z])
    return int((scores[:-1] >= scores[-1] * (1 - 1e-9)).sum())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(15, 60),
    off=st.sampled_from([0.0, 0.5, 3.0, 30.0]),
    undefined=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_the_fast_count_is_the_plain_one(seed, n, off, undefined):
    values, seen = draws(curve, n, seed), draws(curve, 1, seed + 1, off=off)[0]
    lost = np.random.default_rng(seed).random((n + 1, 3)) < undefined
    lost[0] = False
    values[:, :3][lost[:-1]] = seen[:3][lost[-1]] = np.nan
    reference = Reference.of(values, observables(10))
    assert reference.as_odd(seen[np.newaxis])[0] == plain_as_odd(reference.frame, values, seen)


@pytest.mark.parametrize(("made", "k"), [(curve, 10), (plane, 25)])
def test_p_values_are_uniform_for_few_simulations_too(made, k):
    p = []
    for seed in range(40):
        reference = Reference.of(draws(made, 99, seed), observables(k))
        p.append((reference.as_odd(draws(made, 40, 1000 + seed)) + 1) / 100)
    for level in (0.01, 0.05, 0.1, 0.5):
        # Draws of one reference are not independent: its own luck adds its variance, 40 draws against 99.
        spread = np.sqrt(level * (1 - level) / 1600 * (1 + 40 / 99))
        assert abs((np.array(p) <= level).mean() - level) < 3.5 * spread


def test_ties_count_against_rejection():
    p = []
    for seed in range(20):
        reference = Reference.of(draws(counts, 99, seed), observables(6))
        p.append((reference.as_odd(draws(counts, 40, 1000 + seed)) + 1) / 100)
    assert (np.array(p) <= 0.01).mean() <= 0.017
    assert (np.array(p) <= 0.1).mean() <= 0.13


@pytest.mark.parametrize(
    ("made", "k", "off", "least"), [(curve, 10, 8, 0.4), (curve, 10, 12, 0.55), (plane, 25, 8, 0.9)]
)
def test_an_observation_beside_the_curve_is_rejected(made, k, off, least):
    reference = Reference.of(draws(made, 800), observables(k))
    assert ((reference.as_odd(draws(made, 200, 1, off=off)) + 1) / 801 <= 0.01).mean() >= least


def test_a_broad_prior_does_not_hide_what_is_beside_the_quiet_end():
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 4, 800)
    values = np.column_stack([t, *(10 ** (t - 4) * rng.normal(size=(3, 800)))])
    # 0.05 is 160 standard deviations there, and less than one at the other end.
    beside, loud = [[0.5, 0.05, 0.05, 0.05]], [[3.9, 0.5, -0.5, 0.5]]
    fine = [o.__class__(o.name, "", "", "", "", resolution=1e-5) for o in observables(4)]
    assert list(Reference.of(values, fine).as_odd(np.array(beside + loud)) <= 7) == [True, False]


@pytest.mark.parametrize(
    ("change", "p"),
    [(0.0, 1.0), (0.002, 1.0), (0.02, 0.01), (-5.0, 0.01), (1e9, 0.01), (np.nan, 0.01)],
    ids=["the same", "not worth telling apart", "off", "far", "very far", "undefined"],
)
def test_one_point_for_ever(change, p):
    seen = np.full(10, 0.3)
    seen[4] += change
    found = fit(seen, simulations("made", point, 99), 10)
    assert found.p_value == p
    assert found.verdict == ("rejected" if p < 1 else "not rejected")
    if p < 1:
        assert found.residuals[0].observable == "s4"
        assert found.reason.startswith("figure 4: observed ")
        assert "5.6e" not in found.reason


def test_what_no_simulation_defines_is_not_judged_but_named():
    sims = simulations("made", curve, 200)
    for s in sims:
        s.observables["s3"] = None
    seen = draws(curve, 1, 5)[0]
    found, without = fit(seen, sims, 10), fit(np.where(np.arange(10) == 3, np.nan, seen), sims, 10)
    assert found.p_value == without.p_value
    assert (found.unpredicted, without.unpredicted) == (("s3",), ())
    assert next(r.z for r in found.residuals if r.observable == "s3") is None


def test_being_undefined_is_evidence_both_ways():
    sims = simulations("made", curve, 400)
    for s in sims[:200]:
        s.observables["s3"] = s.observables["s4"] = None
    seen = draws(curve, 1, 5)[0]
    none = np.where(np.isin(np.arange(10), (3, 4)), np.nan, seen)
    one = np.where(np.arange(10) == 3, np.nan, seen)
    assert [fit(x, sims, 10).verdict for x in (seen, none, one)] == ["not rejected", "not rejected", "rejected"]
    assert fit(one, sims, 10).reason == "no single statistic is far off, their combination is"


def test_a_dead_point_is_no_rows_of_zeros_where_no_norm_is_known():
    context = Context(20, 24, BFLOAT16, np.full(24, 0x3F00, np.uint16), np.full(24, 0.5), 100, None)
    sims = [simulate_one(load_hypothesis("zero_rows"), context, 0, i) for i in range(99)]
    for value, verdict in ((0.0, "not rejected"), (0.537, "rejected")):
        rows = BFLOAT16.narrow(np.full((20, 24), value, np.float32))
        found = fit_hypothesis("zero_rows", measure_cloud(Cloud.from_rows(rows, BFLOAT16, 24), context), sims)
        assert found.verdict == verdict
        assert verdict == "not rejected" or found.reason.startswith("rows of zeros: observed 0,")


@pytest.mark.parametrize("n", [100, 400])
def test_one_simulation_that_defines_what_no_other_does_hides_nothing(n):
    sims = simulations("made", curve, n)
    sims[7].observables["s3"] = None
    assert fit(np.full(10, 50.0), sims, 10).verdict == "rejected"


def test_a_residual_says_what_is_undefined():
    sims = simulations("made", curve, 400)
    seen = np.where(np.arange(10) == 3, np.nan, draws(curve, 1, 5)[0])
    worst = fit(seen, sims, 10).residuals[0]
    assert (worst.observable, worst.observed, worst.z) == ("s3", None, -50.0)
    assert worst.sentence("made").startswith("figure 3: observed undefined, made near it gives")
    assert worst.sentence("made").endswith("defined in 100 % of simulations")


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.003])
def test_too_few_simulations_give_no_verdict(alpha):
    n, far = needed(alpha), np.full(10, 50.0)
    short, enough = (fit(far, simulations("made", curve, count), 10, alpha=alpha) for count in (n - 1, n))
    assert (short.verdict, short.p_value, short.posterior) == ("no verdict", None, None)
    assert short.reason == f"{n - 1} simulations, {n} are needed for a p-value of {alpha:g}"
    assert enough.verdict == "rejected"
    assert enough.p_value == 1 / (n + 1) <= alpha


@pytest.mark.parametrize(
    ("n_failed", "verdict"), [(0, "rejected"), (4, "rejected"), (5, "no verdict"), (300, "no verdict")]
)
def test_failed_simulations_count_as_further_off(n_failed, verdict):
    sims = [*simulations("made", curve, 499), *(failed("made", 499 + i) for i in range(n_failed))]
    found = fit(np.full(10, 50.0), sims, 10)
    assert (found.n, found.n_failed, found.verdict) == (499, n_failed, verdict)
    assert found.p_value == (n_failed + 1) / (n_failed + 500)
    assert verdict == "rejected" or found.reason.startswith(f"{n_failed} of {499 + n_failed} simulations failed")


def test_nothing_but_failures():
    found = fit(np.zeros(3), [failed("made", i) for i in range(200)], 3)
    assert (found.verdict, found.n, found.n_failed) == ("no verdict", 0, 200)
    assert "ValueError: made to fail" in found.reason


@pytest.mark.parametrize(("n", "least"), [(100, 0.8), (800, 0.85)])
def test_intervals_cover_nine_times_in_ten(n, least):
    inside, width = {"scale": [], "shift": []}, []
    for seed in range(4):
        sims = simulations("made", plane, n, seed)
        known = Draws.of(sims, {"scale"})
        values = statistics([s.observables for s in sims], observables(25))
        frame = Frame.of(values, observables(25))
        for truth in simulations("made", plane, 60, 1000 + seed):
            at = frame.points(statistics([truth.observables], observables(25)))[0]
            found = posterior(known, frame.points(values), ((frame.points(values) - at) ** 2).sum(axis=1), at)
            assert {*found} == {"scale", "shift", "turn"}  # neither words nor what does not vary
            for name, hits in inside.items():
                hits.append(found[name].low <= truth.parameters[name] <= found[name].high)
            width.append(found["shift"].high - found["shift"].low)
    for hits in inside.values():
        assert least <= np.mean(hits) <= 0.96
    assert np.mean(width) < 2  # of 6 under the prior


def test_of_what_says_nothing_the_posterior_is_the_prior():
    rng = np.random.default_rng(0)
    sims = [Simulation("made", i, {"t": float(rng.uniform(-1, 1))}, named(rng.normal(size=10))) for i in range(800)]
    t = fit(rng.normal(size=10), sims, 10).posterior["t"]
    assert t.low == pytest.approx(-0.9, abs=0.15)
    assert t.high == pytest.approx(0.9, abs=0.15)


def test_residuals_name_the_statistic_that_is_off():
    seen = draws(plane, 1, 3)[0]
    seen[17] += 8
    found = fit(seen, simulations("made", plane, 800), 25)
    worst = found.residuals[0]
    assert (found.verdict, worst.observable) == ("rejected", "s17")
    assert worst.z == pytest.approx((worst.observed - worst.mean) / np.hypot(worst.sd, 0.005))
    assert abs(worst.z) > 3 > abs(found.residuals[2].z)
    assert (
        worst.sentence("made")
        == f"figure 17: observed {seen[17]:.3g}, made near it gives {worst.mean:.3g} +- {worst.sd:.2g}"
    )


def test_the_order_of_simulations_does_not_matter():
    sims, seen = simulations("made", plane, 300), draws(plane, 1, 5, off=3)[0]
    mixed = [sims[i] for i in np.random.default_rng(0).permutation(300)]
    assert fit(seen, sims, 25).p_value == fit(seen, mixed, 25).p_value


def test_a_fit_is_json():
    sims = simulations("made", curve, 200)
    for s in sims[:5]:
        s.observables["s3"] = None
    document = fit(np.full(10, np.nan), sims, 10).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["residuals"][0]["observed"] is None
    assert document["posterior_of_rejected"]


def test_nothing_to_compare_by_rejects_nothing():
    assert fit(np.full(4, np.nan), [Simulation("made", i, {}, {}) for i in range(99)], 4).p_value == 1.0


def test_infinite_statistics_are_undefined():
    values = statistics([{"s0": float("inf"), "s1": 2.0}], observables(2))
    assert np.isnan(values[0, 0])
    assert values[0, 1] == 2.0


@given(st.integers(0, 2**32), st.integers(2, 40), st.booleans())
def test_nearest_by_looking_at_each(seed, n, same):
    rng = np.random.default_rng(seed)
    among = rng.normal(size=(n, 3))
    points = among if same else rng.normal(size=(5, 3))
    count = int(rng.integers(1, n))
    index, squared = nearest(points, among, count, same=same)
    for i, row in enumerate(points):
        away = ((among - row) ** 2).sum(axis=1)
        if same:
            away[i] = np.inf
        np.testing.assert_allclose(squared[i], np.sort(away)[:count])
        np.testing.assert_allclose(away[index[i]], squared[i])


def test_coordinates_have_no_unit():
    values = draws(plane, 50)
    mixed = values.copy()
    mixed[:20, 3] = np.nan
    frame = Frame.of(mixed, observables(25))
    points = frame.points(mixed)
    assert points.shape == (50, 27)  # and a coordinate of being defined for s3, and for the others together
    assert (points[:20, 3] == 0).all()
    assert np.abs(points.mean(axis=0)).max() < 1e-9
    other = Frame.of(mixed * 1000, [o.__class__(o.name, "", "", "", "", resolution=5.0) for o in observables(25)])
    np.testing.assert_allclose(other.points(mixed * 1000), points, atol=1e-9)
