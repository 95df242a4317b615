"""The step itself: what it goes on from, what it refuses, and the rules that torch does not have."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import ConfigError
from forensics.updates import pieces
from forensics.updates.pieces import cut
from forensics.updates.rules import POLICIES, Rule
from forensics.updates.step import Updater

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
RULES = {
    "adamw": Rule(weight_decay=0.1),
    "adam": Rule(decay="l2", weight_decay=0.1),
    "fused": Rule(weight_decay=0.1, fused=True),
    "foreach": Rule(weight_decay=0.1, beta2=0.99, foreach=True),
    "sgd": Rule(kind="sgd", lr=0.1),
    "sgdw": Rule(kind="sgd", lr=0.1, momentum=0.9, weight_decay=0.1),
    "momentum": Rule(kind="sgd", lr=0.1, momentum=0.9, decay="l2", weight_decay=0.1),
    "coupled": Rule(kind="coupled-adam", weight_decay=0.1),
    "sign": Rule(kind="sign", weight_decay=0.1),
}
PAIRS = [
    (rule, policy)
    for rule, policy in itertools.product(RULES, POLICIES)
    if not ((RULES[rule].fused or RULES[rule].foreach) and POLICIES[policy].rounding != "nearest")
]
SHAPE = (12, 7)


def drawn(seed, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def new(rule, policy, weights=None, **settings):
    weights = drawn(0) * 0.02 if weights is None else weights
    return Updater(rule, POLICIES[policy], weights, coupled=[(0, 10, 7)], **settings)


def step(updater, seed, lr=1e-3):
    updater.step((drawn(seed) * 1e-3).to(DTYPES[updater.policy.gradient]), lr)


def words(updater):
    held = updater.state()
    return {name: held[name].double().nan_to_num(7.0) for name in held}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("rule", "policy"), PAIRS)
def test_a_restored_updater_goes_on_to_the_same_words(monkeypatch, rule, policy):
    monkeypatch.setattr(pieces, "PIECE", 20)
    first = new(RULES[rule], policy, seed=1)
    for t in range(4):
        step(first, t)
    held = first.state()
    kept = {name: value.clone() for name, value in held.items()}
    for t in range(4, 8):
        step(first, t, 1e-2)
    assert same(held, kept), "a state is a copy"

    second = new(RULES[rule], policy, drawn(9), seed=2)
    storage = second.weights.data_ptr(), second.visible.data_ptr()
    step(second, 3)
    second.restore(held)
    assert torch.equal(second.visible, second.weights.to(second.visible.dtype))
    for t in range(4, 8):
        step(second, t, 1e-2)
    assert same(words(first), words(second))
    assert (second.weights.data_ptr(), second.visible.data_ptr()) == storage
    assert torch.equal(first.visible, second.visible)
    assert second.t == 8
    assert not torch.equal(first.weights, kept["weights"])


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_stored_in_which_format(policy):
    made = new(RULES["adamw"], policy)
    described = POLICIES[policy]
    for t in range(3):
        step(made, t)
        assert torch.equal(made.visible, made.weights.to(made.visible.dtype))
    assert made.weights.dtype == DTYPES[described.weights]
    assert made.m.dtype == made.v.dtype == DTYPES[described.state]
    assert made.visible.dtype == DTYPES[described.compute]
    assert (made.visible.data_ptr() == made.weights.data_ptr()) == (policy != "mixed")
    assert (made.compensation is not None) == (policy == "bf16-kahan")
    assert made.weights.shape == made.m.shape == made.v.shape == SHAPE


def test_the_given_weights_are_not_touched():
    for policy in POLICIES:
        weights = drawn(0)
        made = new(RULES["adamw"], policy, weights)
        step(made, 1)
        assert torch.equal(weights, drawn(0))
    weights = drawn(0).bfloat16()
    step(new(RULES["adamw"], "bf16", weights.T.contiguous().T), 1)
    assert torch.equal(weights, drawn(0).bfloat16())


def test_float32_moments_over_bfloat16_weights_round_once():
    """The weights are those of float32 training from the stored words, rounded to nearest."""
    for rule in (RULES["adamw"], RULES["adam"], RULES["fused"]):
        made = new(rule, "bf16-f32state")
        for t in range(5):
            exact = new(rule, "f32", made.weights.float())
            exact.restore(exact.state() | {name: value for name, value in made.state().items() if name != "weights"})
            step(made, t)
            step(exact, t)
            assert torch.equal(made.weights, exact.weights.bfloat16())
            assert torch.equal(made.v, exact.v)


def test_stochastic_rounding_keeps_the_mean_of_weights_and_moments():
    """Many copies of one element: weights and moments average to what float32 gives."""
    many = 100_000
    made, exact = (Updater(Rule(lr=1e-3), POLICIES[p], torch.full((many,), 0.3)) for p in ("bf16-stochastic", "f32"))
    exact.weights.copy_(made.weights)
    gradient = torch.full((many,), 0.0123).bfloat16()
    made.step(gradient)
    exact.step(gradient.float())
    for name in ("m", "v"):
        assert getattr(made, name).unique().numel() == 2
        wanted = getattr(exact, name)[0].item()
        assert getattr(made, name).double().mean().item() == pytest.approx(wanted, rel=2**-8 * 5 / many**0.5)
    assert made.weights.double().mean().item() == pytest.approx(exact.weights[0].item(), abs=2**-9 * 5 / many**0.5)


@pytest.mark.parametrize(("rule", "policy"), [("adamw", "bf16"), ("fused", "f32"), ("adamw", "bf16-stochastic")])
def test_the_number_of_threads_changes_no_word(rule, policy):
    made = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        made.append(Updater(RULES[rule], POLICIES[policy], drawn(0, (200_003,)) * 0.02))
        for t in range(3):
            made[-1].step((drawn(t, (200_003,)) * 1e-3).to(DTYPES[made[-1].policy.gradient]))
    assert same(words(made[0]), words(made[1]))


def test_sign_moves_by_the_learning_rate():
    made = Updater(Rule(kind="sign", lr=0.5), POLICIES["f32"], torch.zeros(4))
    made.step(torch.tensor([3.0, -1e-30, 0.0, -0.0]))
    assert made.weights.tolist() == [-0.5, 0.5, 0, 0]


def summing_to_zero(rows, dim, steps):
    for seed in range(steps):
        gradient = drawn(seed, (rows, dim)) * torch.linspace(0.01, 3, rows)[:, None]
        yield gradient - gradient.mean(0)


def test_coupled_updates_sum_to_zero_over_the_vocabulary():
    drift = {}
    for kind in ("coupled-adam", "adam"):
        made = Updater(Rule(kind=kind), POLICIES["f32"], torch.zeros(500, 16), coupled=[(0, 500, 16)])
        for gradient in summing_to_zero(500, 16, 20):
            made.step(gradient)
        drift[kind] = (made.weights.double().sum(0).norm() / made.weights.double().norm()).item()
    assert drift["coupled-adam"] < 1e-4
    assert drift["adam"] > 0.01


@pytest.mark.parametrize("piece", [20, 1 << 19])
def test_coupled_adam_is_the_formula(monkeypatch, piece):
    """Two matrices between other parameters, against float64 written down from the paper."""
    monkeypatch.setattr(pieces, "PIECE", piece)
    rule = Rule(kind="coupled-adam", weight_decay=0.1)
    n, matrices = 400, [(260, 10, 7), (30, 40, 5)]
    made = Updater(rule, POLICIES["f32"], drawn(0, (n,)), coupled=matrices)
    plain = Updater(Rule(weight_decay=0.1), POLICIES["f32"], drawn(0, (n,)))
    w = drawn(0, (n,)).double()
    m, v = torch.zeros(2, n, dtype=torch.float64)
    for t in range(1, 6):
        g = drawn(t, (n,))
        made.step(g)
        plain.step(g)
        m = 0.9 * m + 0.1 * g.double()
        v = 0.999 * v + 0.001 * g.double() ** 2
        used = v.clone()
        for first, rows, dim in matrices:
            block = slice(first, first + rows * dim)
            used[block] = v[block].view(rows, dim).mean(0).repeat(rows)
        w = w * (1 - 1e-4) - 1e-3 * (m / (1 - 0.9**t)) / ((used / (1 - 0.999**t)).sqrt() + 1e-8)
    assert torch.allclose(made.weights.double(), w, rtol=0, atol=2e-6)
    assert torch.equal(made.v, plain.v)
    inside = torch.zeros(n, dtype=torch.bool)
    inside[30:230] = inside[260:330] = True
    assert torch.equal(made.weights[~inside], plain.weights[~inside])
    assert (made.weights[inside] != plain.weights[inside]).float().mean() > 0.9


# Stochastic draws fall on other elements when all moments are made first.
@pytest.mark.parametrize("policy", [name for name in POLICIES if POLICIES[name].rounding != "stochastic"])
def test_a_vocabulary_of_one_is_adam(policy):
    one = Updater(RULES["coupled"], POLICIES[policy], drawn(0), coupled=[(0, 1, 84)])
    adam = new(RULES["adamw"], policy, drawn(0))
    for t in range(5):
        step(one, t)
        step(adam, t)
    assert torch.equal(one.weights, adam.weights)


@given(st.data(), st.integers(1, 50))
def test_pieces_cover_everything_once(data, size):
    matrices, at = [], 0
    for _ in range(data.draw(st.integers(0, 3))):
        first, rows, dim = at + data.draw(st.integers(0, 30)), *(data.draw(st.integers(1, 20)) for _ in range(2))
        matrices.append((first, rows, dim))
        at = first + rows * dim
    elements = at + data.draw(st.integers(0, 60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", size)
        made = cut(elements, data.draw(st.permutations(matrices)))
    assert [i for piece in made for i in range(piece.start, piece.stop)] == list(range(elements))
    for piece in made:
        assert 0 < piece.size <= max(size, piece.matrix[2] if piece.matrix else 0)
        if piece.matrix:
            assert (piece.start - piece.matrix[0]) % piece.matrix[2] == piece.size % piece.matrix[2] == 0
            assert piece.matrix[0] <= piece.start < piece.stop <= piece.matrix[0] + piece.matrix[1] * piece.matrix[2]
    assert {piece.matrix for piece in made if piece.matrix} == set(matrices)


@pytest.mark.parametrize(
    ("gradient", "lr", "says"),
    [
        (torch.zeros(7, 12).bfloat16(), None, r"bfloat16 \[7, 12\]; bf16 takes torch.bfloat16 \[12, 7\]"),
        (torch.zeros(84).bfloat16(), None, r"\[84\]"),
        (torch.zeros(12, 7), None, "float32"),
        (torch.zeros(12, 7, device="meta").bfloat16(), None, "on meta"),
        (torch.zeros(12, 7).bfloat16(), float("nan"), "learning rate is nan"),
        (torch.zeros(12, 7).bfloat16(), -1.0, "learning rate is -1.0"),
    ],
)
def test_what_is_no_step(gradient, lr, says):
    made = new(RULES["adamw"], "bf16")
    before = words(made)
    with pytest.raises(ConfigError, match=says):
        made.step(gradient, lr)
    assert same(words(made), before)


def test_what_is_no_updater():
    with pytest.raises(ConfigError, match="weights are torch.float16"):
        new(Rule(), "bf16", drawn(0).half())
    with pytest.raises(ConfigError, match="weights are torch.bfloat16"):
        new(Rule(), "f32", drawn(0).bfloat16())
    with pytest.raises(ConfigError, match="coupled-adam needs to know"):
        Updater(Rule(kind="coupled-adam"), POLICIES["f32"], drawn(0))
    with pytest.raises(ConfigError, match="fused rounds to nearest"):
        new(RULES["fused"], "bf16-kahan")
    for matrices in ([(0, 12, 8)], [(0, 6, 7), (41, 2, 7)], [(-7, 2, 7)], [(0, 0, 7)], [(0, 3, 0)]):
        with pytest.raises(ConfigError, match="overlaps another or reaches outside"):
            Updater(Rule(kind="coupled-adam"), POLICIES["f32"], drawn(0), coupled=matrices)


def test_a_state_of_something_else_is_refused():
    made = new(RULES["adamw"], "bf16")
    for other in (new(RULES["adamw"], "bf16-stochastic"), new(RULES["sgd"], "bf16"), new(RULES["adamw"], "bf16-kahan")):
        with pytest.raises(ConfigError, match="a state of"):
            made.restore(other.state())
    with pytest.raises(ConfigError, match="weights of the state is torch.float32"):
        made.restore(new(RULES["adamw"], "f32").state())
    with pytest.raises(ConfigError, match=r"bfloat16 \[3\]"):
        made.restore(Updater(Rule(), POLICIES["bf16"], torch.zeros(3)).state())
