"""Steps made by hand: a linear 'model', one exact gradient, and a corpus with known dead tokens."""

from itertools import pairwise

import numpy as np
import torch

from forensics.toy.census import Corpus
from forensics.toy.config import BatchSpec, ModelSpec, RunConfig
from forensics.toy.recorded import RecordSpec
from forensics.toy.step import Step
from forensics.toy.synthetic_text import SyntheticText

VOCAB, DIM, BATCH, CONTEXT = 40, 8, 3, 6
DEAD = np.array([1, 7, 8, 20, 33, 39])


def made_corpus(vocab=VOCAB, dead=DEAD, n=400, seed=0):
    live = np.setdiff1d(np.arange(vocab), dead)
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, len(live) + 1)
    tokens = np.concatenate([live, rng.choice(live, n - len(live), p=share / share.sum())])
    return Corpus.from_tokens(rng.permutation(tokens).astype(np.int32), vocab, name="made")


def made_config(**changed):
    settings = {
        "name": "made",
        "about": "a test",
        "follows": "nothing",
        "steps": 3,
        "corpus": SyntheticText(vocab=VOCAB, dead=len(DEAD), tokens=400),
        "batches": BatchSpec(batch=BATCH, context=CONTEXT),
        "model": ModelSpec(layers=1, dim=DIM, heads=2, ff=8),
        "record": RecordSpec(),
    }
    return RunConfig(**settings | changed)


class LinearModel:
    """Hidden states are looked-up rows, rolled: enough for a probe."""

    def __init__(self, output):
        self.output = self.input = output

    def hidden(self, tokens):
        return self.input[tokens].roll(1, dims=-1)


def made_step(number=1, *, dtype=torch.bfloat16, seed=0, moved=1e-3, zero_output=False):
    """A step whose gradient is that of the cross entropy at `before`, by autograd."""
    corpus = made_corpus()
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    starts = torch.randint(len(corpus.tokens) - CONTEXT, (BATCH,), generator=rng)
    tokens = torch.stack([torch.from_numpy(corpus.tokens[s : s + CONTEXT].astype(np.int64)) for s in starts])
    hidden = (normal(BATCH, CONTEXT, DIM) + 2).to(dtype)
    before = (normal(VOCAB, DIM) * (0 if zero_output else 0.3)).to(dtype)
    weights = (before.float() + moved * normal(VOCAB, DIM)).to(dtype)
    scored, targets = hidden[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
    leaf = before.float().clone().requires_grad_()
    logits = scored.float() @ leaf.T
    loss = torch.nn.functional.cross_entropy(logits, targets)
    loss.backward()
    return Step(
        step=number,
        lr=1e-3,
        loss=loss.item(),
        tokens=tokens,
        targets=targets,
        hidden=hidden,
        scored=scored,
        before=before,
        weights=weights,
        gradient=leaf.grad.to(dtype),
        exact_gradient=leaf.grad,
        m=(0.1 * leaf.grad).to(dtype),
        v=(leaf.grad**2).to(dtype),
        p_mean=torch.softmax(logits, dim=1).mean(dim=0).detach(),
        model=LinearModel(weights),
        compensation=(1e-5 * normal(VOCAB, DIM)).to(dtype),
    )


def moves(matrices, corpus):
    """Steps that only move the output matrix, from each of some matrices to the next."""
    for number, (before, after) in enumerate(pairwise(matrices), start=1):
        step = made_step(number)
        step.before, step.weights, step.model = before, after, LinearModel(after)
        yield step


def cloud(centre, radius, rows, dim=DIM, seed=0):
    """Rows of one distance from a centre."""
    rng = torch.Generator().manual_seed(seed)
    directions = torch.randn(rows, dim, generator=rng)
    return centre + radius * directions / torch.linalg.vector_norm(directions, dim=1, keepdim=True)
