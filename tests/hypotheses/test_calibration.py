"""All hypotheses against one observation: verdicts, claim, and a calibration that would show a broken test."""

import json
from dataclasses import replace

import numpy as np
import pytest

from forensics.hypotheses.judging.calibration import too_small
from forensics.hypotheses.judging.result import judge
from tests.hypotheses.made_fits import (
    counts,
    curve,
    draws,
    failed,
    hypothesis,
    named,
    observables,
    plane,
    point,
    simulations,
)

K = 25
OBSERVABLES = observables(K)


def rotated(rng):
    return plane(rng, which=3)


def tripled(rng):
    """The plane's law under much noise: it holds the plane's draws within it."""
    (names, values), (_, other) = plane(rng), plane(rng)
    return names, values + 1.5 * (other - other.mean())


LAWS = {"plane": plane, "survivors": plane, "rotated": rotated, "point": lambda rng: point(rng, which=3, k=K)}


def judged(observed, n=500, laws=LAWS, **how):
    sims = {name: simulations(name, made, n, seed) for seed, (name, made) in enumerate(laws.items(), 2)}
    known = [hypothesis(name, same_as="plane" if name == "survivors" else None) for name in sims]
    return judge(known, None, named(observed), sims, observables=OBSERVABLES, **how)


@pytest.fixture(scope="module")
def of_plane():
    return judged(draws(plane, 1, 50)[0])


def test_what_made_it_stands_and_the_others_are_rejected(of_plane):
    verdicts = {fit.hypothesis: fit.verdict for fit in of_plane.fits}
    assert verdicts == {
        "plane": "not rejected",
        "point": "rejected",
        "rotated": "rejected",
        "survivors": "not rejected",
    }
    assert of_plane.classes.members == (("plane", "survivors"), ("point",), ("rotated",))
    assert of_plane.choice is None  # one class is left: there is nothing to choose
    assert of_plane.claim == (
        "2 of 4 hypotheses are rejected at 0.01; what remains is not told apart with 400 simulations of each: "
        "plane, survivors (one class)"
    )
    assert str(of_plane).split()[-4:] == ["400", f"{of_plane.fits[3].p_value:.2g}", "not", "rejected"]
    assert list(of_plane.to_frame().verdict) == [fit.verdict for fit in of_plane.fits]
    document = of_plane.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_calibration_is_in_order(of_plane):
    found = of_plane.calibration
    assert set(found.n.values()) == {100}
    for name in LAWS:
        # 100 draws against a reference of 400, at 0.01.
        assert found.rejected[name][name] <= 0.05
        assert found.uniformity[name] > 0.001
        assert sum(found.attributed[name].values()) == pytest.approx(1)
    for one, other in (("plane", "rotated"), ("rotated", "plane"), ("point", "plane"), ("plane", "point")):
        assert found.rejected[one][other] >= 0.98
    assert found.attributed["plane"]["plane = survivors"] >= 0.95
    assert found.attributed["survivors"]["plane = survivors"] >= 0.95
    assert found.attributed["rotated"]["rotated"] >= 0.95
    assert found.attributed["point"] == {"plane = survivors": 0, "point": 1, "rotated": 0, "none": 0}
    for name in ("plane", "survivors", "rotated"):
        assert {*found.coverage[name]} == {"scale", "shift", "turn"}
        assert all(0.78 <= share <= 0.98 for share in found.coverage[name].values())
    assert found.coverage["point"] == {}


def test_no_fit_sees_the_held_out_fifth(of_plane):
    sims = {name: simulations(name, made, 500, seed) for seed, (name, made) in enumerate(LAWS.items(), 2)}
    # Worth nothing as simulations of their hypothesis: the calibration alone may say so.
    for seed, name in enumerate(("plane", "rotated")):
        late = [replace(s, index=i + 400) for i, s in enumerate(simulations(name, tripled, 100, 70 + seed))]
        sims[name][400:] = late
    known = [hypothesis(name) for name in sims]
    found = judge(known, None, named(draws(plane, 1, 50)[0]), sims, observables=OBSERVABLES)
    assert [fit.to_dict() for fit in found.fits] == [fit.to_dict() for fit in of_plane.fits]
    assert found.calibration.uniformity["plane"] < 1e-6 < of_plane.calibration.uniformity["plane"]
    assert found.calibration.rejected["plane"]["plane"] > 0.1
    assert found.calibration.attributed["rotated"]["rotated"] < 0.1


def test_weights_stand_beside_their_error():
    found = judged(draws(plane, 1, 50)[0], laws={"plane": plane, "tripled": tripled, "point": LAWS["point"]})
    assert {fit.hypothesis for fit in found.fits if fit.stands} == {"plane", "tripled"}
    assert {*found.choice.weights} == {"plane", "tripled"}
    assert found.choice.weights["plane"] > 0.8
    assert 0.3 < found.choice.error < 0.5  # the wide law has no more points near than the narrow one
    assert found.choice.error_near < 0.1
    assert found.claim.startswith(
        "1 of 3 hypotheses are rejected at 0.01; what remains: plane; tripled; a choice between"
    )
    assert "choosing by them errs in" in str(found)
    assert "weights" not in str(found).split("weights: ", maxsplit=1)[0]


def test_what_is_rejected_has_no_part_in_the_weights():
    laws = {"plane": plane, "tripled": tripled}
    plain, more = (judged(draws(plane, 1, 50)[0], laws=of) for of in (laws, laws | {"point": LAWS["point"]}))
    assert not next(fit for fit in more.fits if fit.hypothesis == "point").stands
    assert more.choice.to_dict() == plain.choice.to_dict()
    # Whoever is given to the two is so in both: the pool of a calibration holds who stands.
    for name in laws:
        assert {**more.calibration.attributed[name], "point": 0} == {**plain.calibration.attributed[name], "point": 0}


@pytest.mark.parametrize(("power", "weak"), [(0.1, True), (0.6, False)])
def test_one_that_remains_and_rejects_little_is_told(power, weak):
    found = judged(np.full(K, 3.3))
    rejected = {name: {**of, "point": power} for name, of in found.calibration.rejected.items()}
    said = replace(found, calibration=replace(found.calibration, rejected=rejected)).claim
    assert said.endswith("point, though this test rejects few of the others' draws (power 0.1)" if weak else "point")


def test_what_is_left_out_of_the_observables_is_no_evidence():
    seen, sims = (
        named(draws(plane, 1, 50)[0]),
        {name: simulations(name, LAWS[name], 200) for name in ("plane", "point")},
    )
    before = judge([hypothesis(name) for name in sims], None, seen, sims, observables=OBSERVABLES[1:]).to_dict()
    for i, s in enumerate(s for found in sims.values() for s in found):
        s.observables["s0"] = None if i % 3 else 1e6 * i
    seen["s0"] = -5.0
    assert judge([hypothesis(name) for name in sims], None, seen, sims, observables=OBSERVABLES[1:]).to_dict() == before


def test_the_size_is_told_by_thirds_of_a_parameter():
    sims = simulations("plane", plane, 500)
    late = sorted(sims[400:], key=lambda s: s.parameters["scale"])
    for s in late[-20:]:
        s.observables["s0"] = 1e3
    found = judge([hypothesis("plane")], None, named(draws(plane, 1, 50)[0]), {"plane": sims}, observables=OBSERVABLES)
    ((name, sizes),) = found.calibration.thirds["plane"].items()
    assert name == "scale" and sizes[0] == 0 and sizes[2] >= 20 / 33
    assert np.dot(sizes, [34, 33, 33]) / 100 == pytest.approx(found.calibration.rejected["plane"]["plane"])


def test_one_that_remains_is_not_proved():
    found = judged(np.full(K, 3.3))
    assert found.claim == "3 of 4 hypotheses are rejected at 0.01; what remains is one, not proved by that: point"


def test_all_can_be_rejected():
    found = judged(np.full(K, 60.0))
    assert found.claim == "every hypothesis judged here is rejected at 0.01 (4)"
    assert found.choice is None


@pytest.mark.parametrize(("n", "verdict"), [(123, "no verdict"), (124, "rejected")])
def test_a_small_budget_gives_no_verdict_and_says_which_would(n, verdict):
    found = judged(np.full(K, 60.0), n=n, laws={"plane": plane, "rotated": rotated})
    if verdict == "rejected":
        assert {fit.verdict for fit in found.fits} == {verdict}
        return
    assert [fit.n for fit in found.fits] == [99, 99]


def test_the_budget_that_the_refusal_names_is_enough():
    found = judged(np.full(K, 60.0), n=60, laws={"plane": plane})
    assert found.claim == (
        "no verdict on any of 1 hypotheses: 48 simulations, 99 are needed for a p-value of 0.01: a budget of 124, as a "
        "fifth is held out"
    )
    assert (found.calibration, found.choice) == (None, None)
    assert judged(np.full(K, 60.0), n=124, laws={"plane": plane}).fits[0].verdict == "rejected"


def test_obstacles_and_failures_are_no_verdicts():
    sims = {"plane": simulations("plane", plane, 200), "broken": [failed("broken", i) for i in range(200)]}
    known = {
        h.name: h for h in (hypothesis("plane"), hypothesis("broken"), hypothesis("blocked", obstacle="no live rows"))
    }
    found = judge(known, None, named(draws(plane, 1, 50)[0]), sims, observables=OBSERVABLES)
    assert {fit.hypothesis: (fit.verdict, fit.n_failed) for fit in found.fits} == {
        "blocked": ("no verdict", 0),
        "broken": ("no verdict", 160),
        "plane": ("not rejected", 0),
    }
    assert found.fits[0].reason == "no live rows"
    assert found.claim.endswith("what remains is one, not proved by that: plane; no verdict on blocked, broken")
    assert found.calibration.n == {"plane": 40}


def test_the_same_seed_gives_the_same_judgement_in_any_order(of_plane):
    sims = {name: simulations(name, made, 500, seed)[::-1] for seed, (name, made) in enumerate(LAWS.items(), 2)}
    known = [hypothesis(name, same_as="plane" if name == "survivors" else None) for name in reversed(LAWS)]
    again = judge(known, None, named(draws(plane, 1, 50)[0]), sims, observables=OBSERVABLES)
    assert again.to_dict() == of_plane.to_dict()


def test_small_p_values_are_noticed_and_ties_are_not():
    rng = np.random.default_rng(0)
    p = np.array([too_small(np.ceil(rng.random(100) * 400) / 400, 400) for _ in range(500)])
    assert (p <= 0.05).mean() <= 0.08
    assert too_small(rng.random(100) ** 2, 400) < 1e-4
    assert too_small(np.ones(100), 400) == 1
    assert too_small(np.repeat([0.5, 1.0], 50), 400) > 0.5


@pytest.mark.parametrize("made", [curve, counts])
def test_a_rare_failure_does_not_spoil_the_level(made):
    sims = simulations("made", made, 1000)
    sims[::250] = [failed("made", s.index) for s in sims[::250]]
    k = len(sims[1].observables)
    found = judge([hypothesis("made")], None, named(draws(made, 1, 3)[0]), {"made": sims}, observables=observables(k))
    assert found.fits[0].n_failed == 4
    assert found.calibration.rejected["made"]["made"] <= 0.03
