"""The probe: fixed sequences of the corpus, ranks and log-probabilities against the whole matrix of logits."""

import numpy as np
import pytest
import torch

from forensics.errors import ConfigError
from forensics.toy import logits as module
from forensics.toy.probe import KEPT, SEQUENCES, Probe, probe_sequences
from tests.toy.made_steps import CONTEXT, DIM, VOCAB, LinearModel, made_corpus, made_step


def probe_of(corpus, label_offset=1, scored="all"):
    return Probe(dim=DIM, context=CONTEXT, label_offset=label_offset, scored=scored, corpus=corpus)


@pytest.mark.parametrize(("label_offset", "scored", "each"), [(1, "all", 5), (2, "all", 4), (1, "last", 1)])
def test_answers(label_offset, scored, each, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 7 * VOCAB)
    corpus, step = made_corpus(), made_step()
    probe = probe_of(corpus, label_offset, scored)
    first = probe.begin(step.before, LinearModel(step.before))
    found = probe.observe(step)
    assert set(found) == {"probe_h", "probe_rank", "probe_logp"}
    tokens = torch.from_numpy(first["probe_tokens"])
    targets = tokens[:, label_offset:][:, -each:].flatten()
    assert first["probe_targets"].tolist() == targets.tolist()
    for frames, matrix in ((first, step.before), (found, step.weights)):
        hidden = LinearModel(matrix).hidden(tokens)[:, : CONTEXT - label_offset][:, -each:].flatten(0, 1)
        logits = hidden.double() @ matrix.double().T
        true = logits.gather(1, targets[:, None])
        np.testing.assert_allclose(frames["probe_logp"], (true[:, 0] - logits.logsumexp(1)).numpy(), rtol=1e-5)
        assert frames["probe_rank"].tolist() == (1 + (logits > true + 1e-6).sum(1)).tolist()
        assert np.array_equal(frames["probe_h"], hidden[: KEPT * each].float().numpy())


def test_the_baseline_is_the_corpus_share():
    corpus, step = made_corpus(), made_step()
    first = probe_of(corpus).begin(step.before, step.model)
    share = corpus.unigram[first["probe_targets"]]
    assert first["probe_unigram_logp"] == pytest.approx(np.log(share), rel=1e-6)
    expected = [1 + int((corpus.unigram > one).sum()) for one in share]
    assert first["probe_unigram_rank"].tolist() == expected
    assert first["probe_unigram_rank"].min() == 1


def test_sequences_are_stretches_of_the_stream_and_always_the_same():
    corpus = made_corpus()
    sequences = probe_sequences(corpus, CONTEXT)
    stream = " ".join(map(str, corpus.tokens)) + " "
    assert sequences.shape == (SEQUENCES, CONTEXT)
    assert all(" ".join(map(str, row)) + " " in stream for row in sequences)
    assert len(np.unique(sequences, axis=0)) == SEQUENCES
    np.random.seed(5)
    assert np.array_equal(probe_sequences(corpus, CONTEXT), sequences)


def test_a_short_corpus():
    corpus = made_corpus(n=VOCAB)
    assert probe_sequences(corpus, VOCAB - 1).shape == (SEQUENCES, VOCAB - 1)  # two starts for sixteen sequences
    with pytest.raises(ConfigError, match="needs 41 tokens, the corpus has 40"):
        probe_sequences(corpus, VOCAB + 1)
