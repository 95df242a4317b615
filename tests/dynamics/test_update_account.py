"""Why an element stays, against torch's own steps, and by hand where the rule bends."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forensics.dynamics.account import COUNTS
from forensics.dynamics.push import Optimizer, denominators, gap
from forensics.dynamics.update_account import analyse_updates
from forensics.errors import RecordingError
from forensics.formats import float_format
from forensics.updates import POLICIES, Rule, arithmetic
from tests.dynamics.made_updates import rewritten, trained

BF16 = float_format("bfloat16")
RNG = np.random.default_rng(5)


@pytest.mark.parametrize("t", [1, 2, 50, 5_000])
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_the_denominator_of_every_word_is_torchs(t, eps):
    rule = Rule(eps=eps)
    words = np.arange(0x7F81, dtype=np.uint16)  # zero to infinity
    v = torch.from_numpy(words.view(np.int16)).view(torch.bfloat16)
    theirs = arithmetic.denominator(rule, t, v, torch.empty_like(v)).float().numpy()
    assert np.array_equal(denominators(Optimizer(rule, POLICIES["bf16"]), t, words), theirs)


@pytest.mark.parametrize(
    ("value", "push", "expected"),
    [
        (1.0, 1, 2**-7),
        (1.0, -1, 2**-8),  # below a power of two the spacing halves
        (-1.0, 1, 2**-8),
        (-1.0, -1, 2**-7),
        (1.5, -1, 2**-7),
        (0.0, 1, 2**-133),
        (0.0, -1, 2**-133),
        (-0.0, 1, 2**-133),
        (2**-126, -1, 2**-133),  # the lowest binade has no finer one below
        (1.0, 0, 2**-7),
    ],
)
def test_the_gap_by_hand(value, push, expected):
    values = np.array([[value]], np.float32)
    assert gap(BF16, BF16.narrow(values), values, np.array([[push]], np.float32)) == expected


@given(st.integers(0, 0x7F7F), st.booleans(), st.booleans())
def test_the_gap_is_the_distance_between_ordinals(magnitude, negative, upwards):
    word = np.array([magnitude | negative << 15], np.uint16)
    step = 1 if upwards else -1
    other = BF16.widen(BF16.words_of(BF16.ordinals(word) + step))
    if np.isfinite(other).all():
        value = BF16.widen(word)
        assert gap(BF16, word, value, np.array([step], np.float32)) == abs(float(other[0]) - float(value[0]))


def one_step(weight, push):
    """An SGD step that adds `push` to a bfloat16 weight."""
    return analyse_updates(trained([[weight]], [[[-push]]], rule={"kind": "sgd", "lr": 1.0}, dead=[0]))


@pytest.mark.parametrize(
    ("weight", "push", "expected"),
    [
        (1.0, 0.0, "no_gradient"),
        (1.0, 2**-8, "lost"),  # a tie, and 1.0 is even
        (1.0, 2**-8 + 2**-15, "moved"),
        (1.0 + 2**-7, 2**-8, "moved"),  # a tie, and the word is odd
        (1.0 + 2**-7, -(2**-8), "moved"),
        (1.0 + 2**-6, -(2**-8), "lost"),
        (1.0, -(2**-9), "lost"),  # a tie in the finer binade below
        (1.0, -(2**-9) - 2**-16, "moved"),  # where a whole ulp's half, 2^-8, would call it lost
        (1.0, -(2**-9) + 2**-16, "lost"),
        (0.0, 2**-20, "moved"),
    ],
)
def test_an_element_by_hand(weight, push, expected):
    account = one_step(weight, push).kinds["dead"]
    assert dict(zip(COUNTS, account.counts[0].tolist(), strict=True)) == {n: int(n == expected) for n in COUNTS}


RUNS = {
    "adam": {},
    "decay": {"rule": {"lr": 1e-2, "weight_decay": 0.9}},
    "l2": {"rule": {"decay": "l2", "weight_decay": 0.1}},
    "foreach": {"rule": {"foreach": True, "lr": 1e-2, "weight_decay": 0.9}},
    "sgd": {"rule": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}},
    "sign": {"rule": {"kind": "sign"}},
    "coupled": {"rule": {"kind": "coupled-adam"}},
    "f32state": {"precision": "bf16-f32state", "rule": {"weight_decay": 0.5}},
    "mixed": {"precision": "mixed", "rule": {"lr": 1e-9, "weight_decay": 0.5}},
    "f32": {"precision": "f32", "rule": {"lr": 1e-9}},
}


def made_run(rng=None, steps=12, **options):
    rng = np.random.default_rng(3) if rng is None else rng
    scale = 0.3 ** np.arange(steps)[:, None, None]
    gradients = rng.normal(0, 1e-2, (steps, 6, 32)) * scale
    gradients[:, 3] = 0
    return trained(rng.normal(0, 0.5, (6, 32)), gradients, **options)


@pytest.mark.parametrize("name", RUNS)
def test_the_rule_explains_every_element_of_torchs_own_steps(name):
    found = analyse_updates(made_run(**RUNS[name]))
    for which, tokens in (("dead", 2), ("live", 4)):
        counts = found.kinds[which].counts
        assert counts[:, :5].sum(axis=1).tolist() == [tokens * 32] * 12
        assert counts[:, 4:].sum() == 0  # nothing unexplained, nothing moved against the rule
        assert 0 < counts[:, 0].sum() < counts[:, :5].sum()
    assert (found.rule, found.is_exact) == ("half a gap", True)
    live = dict(zip(COUNTS, found.kinds["live"].counts.sum(axis=0).tolist(), strict=True))
    assert live["no_update"] == 0
    if name in {"adam", "sgd", "sign"}:
        assert live["no_gradient"] == 12 * 32
    json.dumps(found.to_dict(), allow_nan=False)
    assert len({(m.name, m.population) for m in found.measures}) == len(found.measures)


def test_the_true_rate_is_what_explains():
    run = made_run(rates=[1e-3 / t for t in range(1, 13)])
    assert sum(account.counts[:, 4:].sum() for account in analyse_updates(run).kinds.values()) == 0
    constant = made_run(rates=[1e-3 / t for t in range(1, 13)], without=["lr"])  # the config's schedule is constant
    assert sum(account.counts[:, 4:].sum() for account in analyse_updates(constant).kinds.values()) > 20


def test_a_word_moved_against_the_rule_and_one_held_back_are_told():
    run = trained([[1.0, 1.0]], [[[2**-12, -(2**-7)]]], rule={"kind": "sgd", "lr": 1.0}, dead=[0])
    names = dict(zip(COUNTS, range(6), strict=True))
    moved = analyse_updates(rewritten(run, "W", 1, 0, 0, 1)).kinds["dead"].counts[0]
    assert (moved[names["moved"]], moved[names["against_rule"]], moved[names["unexplained"]]) == (2, 1, 0)
    held = analyse_updates(rewritten(run, "W", 1, 0, 1, -1)).kinds["dead"].counts[0]
    assert (held[names["lost"]], held[names["unexplained"]], held[names["against_rule"]]) == (1, 1, 0)


def test_an_update_of_zero_in_spite_of_a_gradient():
    run = trained([[1.0]], [[[1.0]], [[-1.0]]], rule={"kind": "sgd", "lr": 1.0, "momentum": 1.0}, dead=[0])
    counts = analyse_updates(run).kinds["dead"].counts
    assert dict(zip(COUNTS, counts[1].tolist(), strict=True))["no_update"] == 1


def test_the_first_adam_step_has_norm_sqrt_d():
    account = analyse_updates(made_run(precision="f32", steps=1)).kinds["dead"]
    assert account.adam_norm[0] == pytest.approx(np.sqrt(32), rel=1e-4)
    # At |g| = eps the first step is lr/2 an element, not lr.
    small = trained(np.ones((1, 4)), [np.full((1, 4), 1e-8)], precision="f32", dead=[0])
    assert analyse_updates(small).kinds["dead"].adam_norm[0] == pytest.approx(1.0, rel=1e-3)


def test_v_never_decays_in_bfloat16_and_does_in_float32():
    gradients = [np.full((2, 4), 1e-2)] + [np.zeros((2, 4))] * 50
    for precision, kept in (("bf16", 1.0), ("bf16-f32state", 0.999**50)):
        account = analyse_updates(trained(np.ones((2, 4)), gradients, precision=precision)).kinds["dead"]
        assert account.v_mean[-1] / account.v_mean[0] == pytest.approx(kept, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "rule", "exact"),
    [
        ({"precision": "bf16-stochastic"}, "chance", True),
        ({"precision": "bf16-kahan"}, "second word", True),
        ({"rule": {"fused": True}}, "half a gap", False),
    ],
)
def test_what_the_rule_does_not_decide_is_said(options, rule, exact):
    found = analyse_updates(made_run(**options))
    assert (found.rule, found.is_exact) == (rule, exact)
    if exact:
        assert found.kinds["live"].counts[:, 4:].sum() == 0


def test_w_alone_recovers_a_coarse_step_and_nothing_of_a_lost_one():
    signs = np.where(RNG.random((2, 16)) < 0.5, -1.0, 1.0)
    steps = [signs * 2**-6] * 10 + [signs * 2**-12] * 10
    found = analyse_updates(trained(1.5 * np.ones((2, 16)), steps, rule={"kind": "sgd", "lr": 1.0}, dead=[0, 1]))
    recovery = found.recovery
    assert np.allclose(recovery.velocity, [1.0] * 10 + [0.0] * 10)
    assert np.allclose(recovery.gradient_cosine[:10], 1)
    assert np.isnan(recovery.gradient_cosine[10:]).all()
    assert np.allclose(recovery.window_cosine[:1], 1)
    assert (recovery.still.tolist(), recovery.still_pushed.tolist()) == ([0] * 10 + [2] * 10, [0] * 10 + [2] * 10)
    assert recovery.acceleration[10] == pytest.approx(1 - (2**-12 / (2**-6 - 2**-12)) ** 2)  # by hand: off by u[11]
    by_name = {m.name: m.value for m in recovery.measures}
    assert by_name["still though pushed"] == 1


def test_a_row_at_rest_without_a_gradient_is_not_pushed():
    found = analyse_updates(trained(np.ones((1, 4)), [np.zeros((1, 4))] * 3, dead=[0]))
    assert found.recovery.still_pushed.tolist() == [0, 0, 0]
    assert found.kinds["dead"].share("no_gradient") == 1
    assert "live" not in found.kinds


def test_no_dead_tokens_one_step_and_missing_channels():
    found = analyse_updates(made_run(steps=1, dead=[]))
    assert found.recovery is None and [*found.kinds] == ["live"]
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(RecordingError, match="no update"):
        analyse_updates(made_run(steps=0))
    with pytest.raises(RecordingError, match="m, v were not recorded") as error:
        analyse_updates(made_run(without=["m", "v"]))
    assert "--record m,v" in error.value.hint
