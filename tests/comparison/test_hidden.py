"""Figures of hidden states against the toy's own recorder, plain numpy, and plants with a known answer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forensics.comparison.hidden import HIDDEN, lie_of, spread_of, spread_values
from forensics.embedding import Embedding
from forensics.toy.figures import Figures
from forensics.toy.spread import Spread
from tests.toy.made_steps import made_corpus, made_step

ROWS = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)
DEAD, LIVE = np.array([1, 7, 30]), np.array([0, 2, 3, 4, 5, 9, 39])


def test_the_spread_is_the_toy_recorders():
    h = (np.random.default_rng(1).normal(size=(1500, 8)) * np.arange(1, 9) + 2).astype(np.float32)
    step = made_step()
    step.hidden = torch.from_numpy(h)[None]
    toy = {k.removeprefix("spread_"): float(v) for k, v in Spread(Figures(made_corpus())).observe(step).items()}
    mean, values, norm = spread_of(h)
    assert norm == pytest.approx(toy["norm"]) and np.linalg.norm(mean) == pytest.approx(toy["h_mean_norm"])
    assert values["h_angle"] == pytest.approx(toy["angle"])
    assert values["h_resultant"] == pytest.approx(toy["resultant"])
    same = spread_values(toy["h_mean_norm"], toy["total"], toy["along"], 8)
    assert values["h_mean_share"] == pytest.approx(same["h_mean_share"])
    assert values["h_spread_along"] == pytest.approx(same["h_spread_along"])
    assert values["h_mean_share"] == pytest.approx(
        np.linalg.norm(mean) ** 2 / (h.astype(float) ** 2).sum(axis=1).mean()
    )
    assert values["h_spread_along"] == pytest.approx(toy["along"] / (toy["transverse"] / 7))


def test_one_vector_and_none():
    _, values, _ = spread_of(np.full((20, 4), 2, np.float32))
    assert values["h_mean_share"] == 1 and values["h_angle"] == pytest.approx(0, abs=1e-9)
    assert values["h_spread_along"] is None
    _, values, norm = spread_of(np.array([[1, 0], [-1, 0]], np.float32))
    assert set(values.values()) == {None} and norm == 1


def test_the_lie_is_numpys():
    h = np.random.default_rng(2).normal(size=12)
    lie = lie_of(Embedding.from_array(ROWS), h, DEAD, LIVE)
    wide = ROWS.astype(np.float64)
    dead, live, logits = wide[DEAD].mean(axis=0), wide[LIVE].mean(axis=0), wide @ h
    np.testing.assert_allclose([lie.dead, lie.live], [dead, live])
    for key, vector in (("dead", dead), ("live", live), ("difference", dead - live)):
        cosine = vector @ h / np.linalg.norm(vector) / np.linalg.norm(h)
        assert lie.cosines[key] == pytest.approx(cosine) and lie.z(key) == pytest.approx(cosine * np.sqrt(12))
        assert lie.values[f"h_{key}_angle"] == pytest.approx(np.degrees(np.arccos(cosine)))
    assert lie.values["dead_logit_gap"] == pytest.approx(logits[DEAD].mean() - logits[LIVE].mean())
    assert lie.values["dead_logit_rank"] == pytest.approx((logits[LIVE] < logits[DEAD].mean()).mean())


@given(st.floats(0.01, 100), st.integers(0, 5))
def test_angles_do_not_hang_on_length(scale, seed):
    h = np.random.default_rng(seed).normal(size=12)
    one, other = (lie_of(Embedding.from_array(ROWS), x, DEAD, LIVE) for x in (h, scale * h))
    assert other.values["dead_logit_gap"] == pytest.approx(scale * one.values["dead_logit_gap"])
    assert other.values["dead_logit_rank"] == one.values["dead_logit_rank"]
    assert other.cosines == pytest.approx(one.cosines)


def test_what_has_no_direction_is_undefined():
    lie = lie_of(Embedding.from_array(np.zeros((4, 3), np.float32)), np.ones(3), np.array([0]), np.array([1]))
    assert set(lie.cosines.values()) == {None} and lie.z("dead") is None and lie.values["h_dead_angle"] is None


def test_every_observable_says_what_it_is_over():
    assert all(o.population and o.definition and o.resolution > 0 and o.scale_free for o in HIDDEN)
