"""What rounding does to Adam: the facts that a frozen matrix is explained by, each with the policies that break it."""

import pytest
import torch

from forensics.updates.rules import POLICIES, Rule
from forensics.updates.step import Updater

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
# All bfloat16 words from +0 on that are finite.
POSITIVE = torch.arange(0x7F80, dtype=torch.int16).view(torch.bfloat16)
FINITE = torch.cat([POSITIVE, -POSITIVE])


def updater(weights, policy="bf16", v=None, **settings):
    made = Updater(Rule(**settings), POLICIES[policy], weights)
    if v is not None:
        made.v.copy_(v)
    return made


def as_gradient(made, gradient):
    return gradient.to(DTYPES[made.policy.gradient])


@pytest.mark.parametrize(("size", "norm"), [(1e-6, 7.73), (1e-8, 3.42), (1e-10, 0.078)])
def test_the_first_update_is_a_sign_only_far_above_eps(size, norm):
    g = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0)) * size
    made = updater(torch.zeros_like(g), "f32", lr=1e-3)
    made.step(g)
    wanted = -1e-3 * g.double() / (g.double().abs() + 1e-8)
    assert torch.allclose(made.weights.double(), wanted, rtol=1e-5, atol=0)
    # algorithms.md, section 2: norm of the update over lr in 64 dimensions, of sqrt(64) = 8.
    assert (made.weights / 1e-3).norm(dim=1).mean().item() == pytest.approx(norm, rel=0.01)


def smaller(beta2, policy="bf16", gradient=0.0, **settings):
    """How many of all words of v are smaller after a step."""
    made = updater(torch.zeros_like(POSITIVE), policy, POSITIVE, beta2=beta2, **settings)
    made.step(as_gradient(made, torch.full(POSITIVE.shape, gradient)))
    return int((made.v < POSITIVE).sum())


@pytest.mark.parametrize("gradient", [0.0, 1e-20, 1e-4, 1.0])
@pytest.mark.parametrize("how", ["loop", "foreach", "fused", "bf16-kahan"])
def test_v_never_decreases_where_one_step_forgets_a_thousandth(how, gradient):
    settings = {how: True} if how in {"foreach", "fused"} else {}
    policy = how if how in POLICIES else "bf16"
    assert smaller(0.999, policy, gradient, **settings) == 0
    assert smaller(0.9995, policy, gradient, **settings) == 0


def test_v_decreases_elsewhere():
    """Half the step down from a word is 2^-9 of it at a power of two, where the tie stays, and more elsewhere."""
    words = len(POSITIVE)
    assert smaller(1 - 2**-9) == 0
    assert smaller(1 - 2**-9 * 1.005) > 0
    # algorithms.md, section 2: 4.7 % of the words, those of the upper mantissas.
    for settings in ({}, {"fused": True}, {"policy": "bf16-kahan"}):
        assert smaller(0.998, **settings) / words == pytest.approx(0.047, abs=0.0005)
    # foreach rounds 0.998 to 0.99609375 before it multiplies.
    assert smaller(0.998, foreach=True) / words > 0.99
    assert smaller(0.99) / words > 0.99
    # A step of 0.001 against steps of 2^-8 to 2^-7 of a word.
    assert 0.001 * 2**7 < smaller(0.999, "bf16-stochastic") / words < 0.001 * 2**8


def changed(strength, policy="bf16", **settings):
    """How many of all finite words a step of decay alone changes, at lr·wd = strength."""
    made = updater(FINITE, policy, lr=strength * 16, weight_decay=1 / 16, **settings)
    made.step(as_gradient(made, torch.zeros(FINITE.shape)))
    return int((made.weights.view(torch.int16) != FINITE.view(torch.int16)).sum())


@pytest.mark.parametrize("strength", [2**-9, 2**-10, 1e-5, 3e-5, 3e-6])
def test_decay_alone_changes_no_word(strength):
    assert changed(strength) == changed(strength, foreach=True) == changed(strength, fused=True) == 0


def test_decay_changes_words_elsewhere():
    assert changed(2**-9 * 1.001) == changed(2**-9 * 1.001, fused=True) == 2 * 253
    # 1 - lr·wd, rounded, is 1 up to here and 0.99609375 from here on.
    assert changed(2**-9 * 1.001, foreach=True) > 0.99 * len(FINITE)
    assert changed(1e-5, "bf16-stochastic") > 0
    assert changed(1e-5, decay="l2") > 0.4 * len(FINITE)


@pytest.mark.parametrize(
    ("policy", "settings", "v_decreases", "decay_matters"),
    [
        ("bf16", {}, False, False),
        ("bf16", {"foreach": True}, False, False),
        ("bf16", {"beta2": 0.99}, True, False),
        ("bf16", {"fused": True}, False, True),
        ("bf16", {"decay": "l2"}, False, True),
        ("bf16-kahan", {}, False, True),
        ("bf16-stochastic", {}, True, True),
        ("bf16-f32state", {}, True, True),
        ("f32", {}, True, True),
    ],
)
def test_which_training_breaks_which_fact(policy, settings, v_decreases, decay_matters):
    draw = torch.Generator().manual_seed(2)
    start = torch.randn(20_000, generator=draw) * 0.02
    # lr·wd = 1e-5.
    with_decay, without = (updater(start, policy, lr=1e-3, weight_decay=wd, **settings) for wd in (0.01, 0.0))
    fell = False
    for _ in range(200):
        before = with_decay.v.clone()
        gradient = torch.randn(20_000, generator=draw) * 1e-3
        for made in (with_decay, without):
            made.step(as_gradient(made, gradient))
        fell |= bool((with_decay.v < before).any())
    assert fell == v_decreases
    assert torch.equal(with_decay.weights, without.weights) != decay_matters


def test_without_an_error_word_small_updates_are_lost():
    """1000 updates of 1e-4 on 1: to nearest none is kept, stochastic rounding keeps them on average, Kahan each."""
    gradient = torch.ones(4000)
    ends = {}
    for policy in ("bf16", "bf16-kahan", "bf16-stochastic"):
        made = updater(torch.ones(4000), policy, kind="sgd", lr=1e-4)
        for _ in range(1000):
            made.step(as_gradient(made, gradient))
        ends[policy] = made.weights.float()
    assert (ends["bf16"] == 1).all()
    # One word below 1 is 2^-8.
    assert (ends["bf16-kahan"] - 0.9).abs().max() <= 2**-8
    assert ends["bf16-kahan"].unique().numel() == 1
    assert ends["bf16-stochastic"].mean().item() == pytest.approx(0.9, abs=2**-10)
    assert ends["bf16-stochastic"].unique().numel() > 5


def test_the_error_word_keeps_what_rounding_lost():
    """Sum of weight and error word is the same before and after, to the last bit, where the error is the smaller."""
    draw = torch.Generator().manual_seed(1)
    weights = torch.randn(50_000, generator=draw).bfloat16()
    made = updater(weights, "bf16-kahan", kind="sgd", lr=1.0)
    gradient = (weights * torch.rand(50_000, generator=draw)).bfloat16()
    made.step(gradient)
    assert torch.equal(made.weights.double() + made.compensation.double(), weights.double() - gradient.double())
    assert (made.compensation != 0).any()
