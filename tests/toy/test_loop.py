"""The loop: what it yields is what was computed, and it is the computation that torch would do."""

import numpy as np
import pytest
import torch

from forensics.errors import TrainingError
from forensics.toy.config import RunConfig, override
from forensics.toy.corpus import build_corpus
from forensics.toy.loop import Training, scored_positions, train

SMALL = RunConfig.from_dict(
    {
        "steps": 12,
        "corpus": {"kind": "synthetic", "vocab": 96, "dead": 32, "tokens": 20_000},
        "batches": {"batch": 8, "context": 16},
        "model": {"layers": 1, "dim": 16, "heads": 2, "ff": 32},
        "record": {"channels": ["W"]},
    }
)


@pytest.fixture(scope="module")
def corpus():
    return build_corpus(SMALL.corpus)


def start(corpus, *settings):
    return Training.start(override(SMALL, settings), corpus)


def steps(corpus, *settings, keep=lambda step: step):
    training = start(corpus, *settings)
    return [keep(step) for step in train(training)]


def words(tensor):
    return tensor.detach().clone().view(torch.int16 if tensor.dtype == torch.bfloat16 else torch.int32)


@pytest.mark.parametrize("offset", [1, 2])
@pytest.mark.parametrize("which", ["all", "last"])
def test_scored_positions(offset, which):
    tokens = torch.arange(24).view(3, 8)
    positions, targets = scored_positions(tokens, offset, which)
    assert torch.equal(tokens.flatten()[positions] + offset, targets)
    assert len(targets) == 3 * (8 - offset if which == "all" else 1)
    assert which == "all" or set((positions % 8).tolist()) == {7 - offset}


@pytest.mark.parametrize("settings", [(), ("model.tied=false",), ("model.kind=gpt2",), ("loss.label_offset=2",)])
def test_a_step_is_autograds(corpus, settings):
    """The gradient of both matrices, from whole logits by autograd in float64."""
    training = start(corpus, "precision=f32", "initial.tokens.sigma=0.3", *settings)
    model = training.model
    body = {name: p.detach().clone() for name, p in model.body.named_parameters()}
    w_in, w_out = model.input.clone(), model.output.clone()
    step = next(train(training))
    model.body.double()
    with torch.no_grad():
        for name, parameter in model.body.named_parameters():
            parameter.copy_(body[name])
    w_in = w_in.double().requires_grad_()
    w_out = w_in if model.tied else w_out.double().requires_grad_()
    hidden = model.body(w_in[step.tokens])
    offset = training.config.loss.label_offset
    logits = hidden[:, :-offset] @ w_out.T
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), step.tokens[:, offset:].flatten())
    loss.backward()
    assert step.loss == pytest.approx(loss.item(), rel=1e-6)
    error = (step.exact_gradient - w_out.grad).norm() / w_out.grad.norm()
    assert error < 1e-5
    dead = torch.from_numpy(corpus.dead_ids)
    assert ((step.exact_gradient - w_out.grad)[dead].norm(dim=1) / w_out.grad[dead].norm(dim=1)).max() < 1e-5


def test_hidden_is_what_met_the_unembedding(corpus):
    """Loss and dead gradient follow from the yielded hidden states and matrix alone."""
    dead = torch.from_numpy(corpus.dead_ids)
    for step in train(start(corpus)):
        h, w = step.scored.double(), step.before.double()
        p = torch.softmax(h @ w.T, 1)
        assert step.loss == pytest.approx(-p.gather(1, step.targets[:, None]).log().mean().item(), rel=1e-6)
        by_hand = p[:, dead].T @ h / len(h)
        off = (step.exact_gradient[dead] - by_hand).norm(dim=1) / by_hand.norm(dim=1)
        assert off.max() < 1e-6
        assert torch.equal(step.gradient, step.exact_gradient.bfloat16())
        assert torch.equal(step.scored.view(8, 15, 16), step.hidden[:, :-1])


def test_dead_gradient_points_along_h_mean_at_step_1(corpus):
    step = next(train(start(corpus)))
    dead = torch.from_numpy(corpus.dead_ids)
    mean = step.scored.double().mean(0)
    gradient = step.exact_gradient[dead].double()
    assert torch.nn.functional.cosine_similarity(gradient, mean[None]).min() > 0.99
    assert torch.nn.functional.cosine_similarity(gradient.mean(0), mean, dim=0) > 0.9999


def test_the_first_update_is_lr_g_over_g_plus_eps(corpus):
    """Adam's bias corrections cancel at step 1 (arXiv 1412.6980, section 2): the sign alone where |g| >> eps."""
    training = start(corpus, "precision=f32", "optimizer.lr=1e-3")
    before = training.weights.clone().double()
    step = next(train(training))
    g = step.gradient.double()
    moved = before - step.weights.double()
    assert torch.allclose(moved, 1e-3 * g / (g.abs() + 1e-8), atol=1e-8)
    assert moved.abs().max() <= 1.0001e-3


@pytest.mark.parametrize("precision", ["bf16", "bf16-f32state", "mixed", "f32", "bf16-stochastic", "bf16-kahan"])
def test_same_seed_same_words(corpus, precision):
    first, again = (steps(corpus, f"precision={precision}", keep=lambda s: words(s.weights)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = steps(corpus, f"precision={precision}", "seed=7", keep=lambda s: words(s.weights))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("precision", ["bf16", "mixed", "bf16-stochastic"])
def test_restored_words_go_on(corpus, precision):
    whole = steps(corpus, f"precision={precision}", keep=lambda s: words(s.weights))
    half = start(corpus, f"precision={precision}")
    loop = train(half)
    for _ in range(5):
        next(loop)
    state = half.updater.state()
    fresh = start(corpus, f"precision={precision}")
    fresh.restore(5, state)
    rest = [words(step.weights) for step in train(fresh)]
    assert all(torch.equal(a, b) for a, b in zip(whole[5:], rest, strict=True))


CHANGES = [
    ("optimizer.kind=sgd", "optimizer.lr=1"),
    ("optimizer.kind=coupled-adam",),
    ("optimizer.kind=sign",),
    ("optimizer.fused=true",),
    ("optimizer.decay=l2", "optimizer.weight_decay=0.1"),
    ("clip=0.01",),
    ("schedule.kind=linear",),
    ("model.final_norm=rmsnorm",),
    ("loss.scored=last",),
]


@pytest.mark.parametrize("settings", CHANGES, ids=" ".join)
def test_every_setting_changes_the_words(corpus, settings):
    plain = steps(corpus, keep=lambda s: words(s.weights))[-1]
    assert not torch.equal(plain, steps(corpus, *settings, keep=lambda s: words(s.weights))[-1])


def test_learns(corpus):
    losses = steps(corpus, "steps=150", "optimizer.lr=1e-2", keep=lambda s: s.loss)
    assert losses[0] == pytest.approx(np.log(96), abs=0.05)
    assert np.mean(losses[-10:]) < corpus.unigram_entropy - 0.1


def test_initial_words_of_one_matrix_do_not_depend_on_another(corpus):
    plain, other = start(corpus), start(corpus, "initial.positions.sigma=1.0")
    assert torch.equal(plain.model.input, other.model.input)
    assert not torch.equal(plain.model.body.positions, other.model.body.positions)


def test_untied_starts_as_a_copy_unless_told(corpus):
    copy = start(corpus, "model.tied=false")
    assert torch.equal(copy.model.input, copy.model.output)
    own = start(corpus, "model.tied=false", "initial.output.kind=normal")
    assert not torch.equal(own.model.input, own.model.output)


def test_clipping_is_torchs(corpus):
    from forensics.toy.loop import clip

    gradient = torch.randn(1000)
    parameter = torch.nn.Parameter(torch.zeros(1000))
    parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_([parameter], 0.5)
    clip(gradient, 0.5)
    assert torch.allclose(gradient, parameter.grad, rtol=1e-6)
    small = torch.full((4,), 1e-3)
    clip(small, 1.0)
    assert torch.equal(small, torch.full((4,), 1e-3))


def test_a_loss_that_is_no_number_ends_the_run_at_the_step_before(corpus):
    training = start(corpus, "optimizer.kind=sgd", "optimizer.lr=1e30", "precision=f32")
    with pytest.raises(TrainingError, match=r"step \d+: .*(nan|inf|not finite)"):
        for _ in train(training):
            pass
    assert 1 <= training.step < 12


def test_the_global_generator_is_left_alone(corpus):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    steps(corpus, "precision=bf16-stochastic", "steps=2")
    assert torch.equal(before, torch.get_rng_state())
