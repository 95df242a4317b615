"""Quantiles and probabilities against the whole matrix of logits."""

import numpy as np
import pytest
import torch

from forensics.toy import logits as module
from forensics.toy.figures import Figures
from forensics.toy.logits import SHARES, DeadProbability, FullDeadProbability, Logits, evenly
from tests.toy.made_steps import DEAD, VOCAB, made_corpus, made_step


def all_logits(step):
    return step.scored.double() @ step.before.double().T


@pytest.mark.parametrize("wanted", [5, 64])
def test_quantiles(wanted, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", wanted)
    step = made_step()
    found = Logits(Figures(made_corpus())).observe(step)
    logits = all_logits(step)[evenly(len(step.scored), wanted)].numpy()
    for which, ids in (("dead", DEAD), ("live", np.setdiff1d(np.arange(VOCAB), DEAD))):
        expected = np.quantile(logits[:, ids], SHARES)
        assert found[f"logit_quantiles_{which}"] == pytest.approx(expected, rel=1e-5)


def test_no_dead_tokens_no_quantiles():
    found = Logits(Figures(made_corpus(dead=np.empty(0, int)))).observe(made_step())
    assert np.isnan(found["logit_quantiles_dead"]).all()
    assert np.isfinite(found["logit_quantiles_live"]).all()


def test_p_dead_is_the_mean_of_the_full_matrix(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 4 * VOCAB)
    step, figures = made_step(), Figures(made_corpus())
    full = FullDeadProbability(len(step.scored), figures).observe(step)["p_dead_full"]
    expected = torch.softmax(all_logits(step), dim=1)[:, DEAD].numpy()
    np.testing.assert_allclose(full, expected, rtol=1e-5)
    mean = DeadProbability(figures)
    assert mean.needs_p_mean
    np.testing.assert_allclose(mean.observe(step)["p_dead"], expected.mean(axis=0), rtol=1e-5)
    step.p_mean = None
    with pytest.raises(ValueError, match="want_p_mean"):
        mean.observe(step)
