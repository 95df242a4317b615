"""Hidden states by token: against loops, against plants, and the chance level against permutations."""

import numpy as np
import pytest
import torch

from forensics.toy.clusters import MOST_FREQUENT, Clusters, variance_between
from forensics.toy.logits import evenly
from tests.toy.made_steps import DEAD, DIM, VOCAB, made_corpus, made_step


def by_loops(h, labels):
    groups = {label: h[labels == label] for label in np.unique(labels)}
    between = sum(len(rows) * ((rows.mean(axis=0) - h.mean(axis=0)) ** 2).sum() for rows in groups.values())
    within = sum(((rows - rows.mean(axis=0)) ** 2).sum() for rows in groups.values())
    return groups, between, within


def test_agrees_with_loops():
    step = made_step()
    recorder = Clusters(DIM, made_corpus())
    found = recorder.observe(step)
    h = step.scored.double().numpy()
    predicted = (step.scored.float() @ step.before.float().T).argmax(dim=1)
    for label, labels in (("target", step.targets.numpy()), ("predicted", predicted.numpy())):
        groups, between, within = by_loops(h, labels)
        assert found[f"clusters_{label}_between"] == pytest.approx(between / (between + within))
        assert found[f"clusters_{label}_within"] == pytest.approx(within / (between + within))
        assert found[f"clusters_{label}_chance"] == pytest.approx((len(groups) - 1) / (len(h) - 1))
        ids = next(c.token_ids for c in recorder.channels if c.name == f"clusters_{label}_h")
        for row, token in enumerate(ids):
            expected = groups.get(token, np.empty((0, DIM)))
            assert found[f"clusters_{label}_count"][row] == len(expected)
            mean = expected.mean(axis=0) if len(expected) else np.full(DIM, np.nan)
            np.testing.assert_allclose(found[f"clusters_{label}_h"][row], mean, rtol=1e-6)


def test_the_most_frequent_live_tokens_have_means():
    corpus = made_corpus(vocab=200, dead=np.arange(0, 200, 4), n=3000)
    ids = Clusters(DIM, corpus).channels[0].token_ids
    assert len(ids) == MOST_FREQUENT
    rest = np.setdiff1d(corpus.live_ids, ids)
    assert corpus.counts[ids].min() >= corpus.counts[rest].max()
    few = Clusters(DIM, made_corpus()).channels[0].token_ids
    assert few.tolist() == np.setdiff1d(np.arange(VOCAB), DEAD).tolist()


def test_planted_clusters_hold_all_the_variance_and_one_cluster_none():
    step = made_step()
    step.scored = torch.eye(VOCAB)[step.targets][:, :DIM] + torch.arange(VOCAB)[step.targets, None]
    assert Clusters(DIM, made_corpus()).observe(step)["clusters_target_between"] == pytest.approx(1)
    step.targets[:] = 3
    assert Clusters(DIM, made_corpus()).observe(step)["clusters_target_between"] == pytest.approx(0)
    step.scored[:] = 1
    assert np.isnan(Clusters(DIM, made_corpus()).observe(step)["clusters_target_between"])


def test_the_chance_level_is_the_mean_over_permutations():
    rng = np.random.default_rng(0)
    h, labels = torch.from_numpy(rng.normal(size=(60, 3))), rng.integers(0, 12, 60)
    shares = []
    for _ in range(2000):
        permuted = torch.from_numpy(rng.permutation(labels))
        counts = torch.bincount(permuted, minlength=12)
        means = torch.zeros(12, 3, dtype=torch.float64).index_add_(0, permuted, h) / counts[:, None]
        share, chance = variance_between(h, means, counts)
        shares.append(share)
    assert np.mean(shares) == pytest.approx(chance, abs=4 * np.std(shares) / 2000**0.5)


@pytest.mark.parametrize(("n", "wanted"), [(1, 4), (4, 4), (10, 4), (1016, 64), (16256, 512)])
def test_a_sample_is_even(n, wanted):
    sample = evenly(n, wanted).numpy()
    assert len(np.unique(sample)) == min(n, wanted)
    assert sample.min() == 0
    assert n - n // wanted - 2 < sample.max() < n
    if n > wanted:
        assert np.ptp(np.diff(sample)) <= 1
