"""Every stored word is torch.optim's: for-loop, foreach and fused, float32 and bfloat16, over 200 steps."""

import functools

import pytest
import torch

from forensics.updates import pieces
from forensics.updates.rules import POLICIES, Rule
from forensics.updates.step import Updater

STEPS = 200
FORMATS = {"f32": torch.float32, "bf16": torch.bfloat16}
ADAMS = {"decoupled": torch.optim.AdamW, "l2": torch.optim.Adam}


@functools.cache
def gradients(shape, dtype, steps=STEPS):
    """Forty orders of magnitude down to subnormal numbers, a tenth zeros."""
    draw = torch.Generator().manual_seed(5)
    shape = (steps, *shape)
    size = 10 ** (torch.rand(shape, generator=draw) * 44 - 41)
    keep = torch.rand(shape, generator=draw) > 0.1
    return (torch.randn(shape, generator=draw) * size * keep).to(dtype).unbind()


def schedule(t):
    return 1e-2 / (1 + t) ** 0.7


def start(shape, dtype):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 0.02).to(dtype)


def by_torch(make, weights, drawn):
    """Weights and the state of torch's optimizer after the gradients, with another learning rate at each step."""
    parameter = weights.clone()
    optimizer = make([parameter])
    for t, gradient in enumerate(drawn):
        optimizer.param_groups[0]["lr"] = schedule(t)
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter, optimizer.state[parameter]


def ours(rule, policy, weights, drawn):
    updater = Updater(rule, POLICIES[policy], weights)
    for t, gradient in enumerate(drawn):
        updater.step(gradient, schedule(t))
    return updater


def same(a, b):
    """Word for word: of one format, and no bit differs."""
    assert a.dtype == b.dtype
    words = torch.int32 if a.dtype == torch.float32 else torch.int16
    return torch.equal(a.contiguous().view(words), b.contiguous().view(words))


def assert_adam(updater, parameter, state):
    assert same(updater.weights, parameter)
    assert same(updater.m, state["exp_avg"])
    assert same(updater.v, state["exp_avg_sq"])
    assert updater.t == int(state["step"]) == STEPS
    assert parameter.isfinite().all()


@pytest.mark.parametrize("beta2", [0.999, 0.99, 0.998])
@pytest.mark.parametrize("weight_decay", [0, 0.01, 0.1])
@pytest.mark.parametrize("decay", ADAMS)
@pytest.mark.parametrize("policy", FORMATS)
def test_adam_and_adamw(policy, decay, weight_decay, beta2):
    dtype = FORMATS[policy]
    weights, drawn = start((37, 53), dtype), gradients((37, 53), dtype)
    settings = {"beta2": beta2, "decay": decay, "weight_decay": weight_decay}
    seen = {}
    for how in ("foreach", "fused", "loop"):
        flags = {"foreach": how == "foreach", "fused": how == "fused"}

        def make(ps, flags=flags):
            return ADAMS[decay](ps, betas=(0.9, beta2), weight_decay=weight_decay, **flags)

        updater = ours(Rule(**flags, **settings), policy, weights, drawn)
        assert_adam(updater, *by_torch(make, weights, drawn))
        seen[how] = updater
    # bfloat16(0.999) is 1, and 0.999 moves no bfloat16 word either; the others differ once the factor is rounded.
    assert same(seen["loop"].v, seen["foreach"].v) == (policy == "f32" or beta2 == 0.999)
    assert not same(seen["loop"].weights, seen["fused"].weights)


SHAPES = [(shape, fused) for shape in [(1,), (3, 5), (64, 64), (5, 7, 11)] for fused in (False, True)]


@pytest.mark.parametrize(("shape", "fused"), [*SHAPES, ((40_001,), True)])
@pytest.mark.parametrize("policy", FORMATS)
def test_every_shape(monkeypatch, shape, policy, fused):
    monkeypatch.setattr(pieces, "PIECE", 7 if fused else 1000)
    dtype = FORMATS[policy]
    weights, drawn = start(shape, dtype), gradients(shape, dtype)
    theirs = by_torch(lambda ps: torch.optim.AdamW(ps, fused=fused, foreach=False), weights, drawn)
    updater = ours(Rule(weight_decay=0.01, fused=fused), policy, weights, drawn)
    assert updater.weights.shape == shape
    assert_adam(updater, *theirs)


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("weight_decay", [0, 0.01, 0.1])
@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("policy", FORMATS)
def test_sgd(policy, momentum, weight_decay, foreach):
    dtype = FORMATS[policy]
    weights, drawn = start((37, 53), dtype), gradients((37, 53), dtype)
    # The first momentum is the gradient itself, its sign of zero included.
    drawn = (-drawn[0].abs() * (drawn[0].abs() > 1), *drawn[1:])

    def make(ps):
        return torch.optim.SGD(ps, momentum=momentum, weight_decay=weight_decay, foreach=foreach)

    rule = Rule(kind="sgd", momentum=momentum, weight_decay=weight_decay, decay="l2", foreach=foreach)
    for steps in (1, STEPS):
        parameter, state = by_torch(make, weights, drawn[:steps])
        updater = ours(rule, policy, weights, drawn[:steps])
        assert same(updater.weights, parameter)
        assert updater.v is None
        assert (updater.m is None) == (momentum == 0)
        if momentum:
            assert same(updater.m, state["momentum_buffer"])


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("policy", FORMATS)
def test_one_flat_tensor_gives_the_words_of_its_parts(monkeypatch, policy, foreach):
    """A model's parameters lie in one tensor here; torch takes them one by one."""
    monkeypatch.setattr(pieces, "PIECE", 640)
    dtype, sizes = FORMATS[policy], [1, 7, 33, 1000, 64, 895]
    weights, drawn = start((2000,), dtype), gradients((2000,), dtype)
    updater = ours(Rule(weight_decay=0.1, foreach=foreach), policy, weights, drawn)
    parts = [
        by_torch(lambda ps: torch.optim.AdamW(ps, weight_decay=0.1, foreach=foreach), w, list(gs))
        for w, gs in zip(weights.split(sizes), zip(*(g.split(sizes) for g in drawn), strict=True), strict=True)
    ]
    assert same(updater.weights, torch.cat([parameter for parameter, _ in parts]))
    assert same(updater.v, torch.cat([state["exp_avg_sq"] for _, state in parts]))


def test_the_master_weights_of_mixed_are_float32_training():
    weights, drawn = start((37, 53), torch.float32), gradients((37, 53), torch.float32)
    for fused in (False, True):
        rule = Rule(weight_decay=0.1, fused=fused)
        mixed, plain = (ours(rule, policy, weights, drawn) for policy in ("mixed", "f32"))
        assert same(mixed.weights, plain.weights)
        assert same(mixed.v, plain.v)
        assert same(mixed.visible, plain.weights.bfloat16())


def test_the_gradient_is_left_as_it_was():
    weights = start((100,), torch.bfloat16)
    for rule in (Rule(decay="l2", weight_decay=0.1), Rule(kind="sgd", decay="l2", weight_decay=0.1), Rule(fused=True)):
        (gradient,) = gradients((100,), torch.bfloat16, 1)
        before = gradient.clone()
        Updater(rule, POLICIES["bf16"], weights).step(gradient)
        assert same(gradient, before)
