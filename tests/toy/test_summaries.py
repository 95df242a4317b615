"""Each figure of a step against its definition, written out again in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forensics.formats import BFLOAT16
from forensics.lattice.coordinates import ulp_displacement
from forensics.toy.figures import Figures, words
from forensics.toy.summaries import Summaries, coherence
from tests.toy.made_steps import DEAD, DIM, VOCAB, LinearModel, made_corpus, made_step

LIVE = np.setdiff1d(np.arange(VOCAB), DEAD)


def summarise(step):
    return Summaries(DIM, Figures(made_corpus())).observe(step)


def norms(rows):
    return np.linalg.norm(rows, axis=1)


def angle(a, b):
    return np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))


@given(st.integers(0, 1000), st.integers(2, 30))
def test_coherence_is_the_mean_over_all_pairs(seed, n):
    rows = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    units = (rows / rows.norm(dim=1, keepdim=True)).numpy()
    pairs = [units[i] @ units[j] for i in range(n) for j in range(i)]
    assert coherence(rows) == pytest.approx(np.mean(pairs), abs=1e-12)
    scales = torch.rand(n, 1, dtype=torch.float64) + 0.1
    assert coherence(rows * scales) == pytest.approx(coherence(rows), abs=1e-12)


def test_coherence_leaves_zero_rows_out():
    rows = torch.zeros(5, 3, dtype=torch.float64)
    assert np.isnan(coherence(rows))
    rows[1, 0] = 1e-30
    assert np.isnan(coherence(rows))
    rows[3, 0] = 7
    assert coherence(rows) == 1
    rows[4, 1] = 1
    assert coherence(rows) == pytest.approx(1 / 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_every_figure_follows_its_definition(dtype):
    step = made_step(dtype=dtype)
    found = summarise(step)
    g, w = step.gradient.double().numpy(), step.weights.double().numpy()
    h_mean = step.hidden.double().mean(dim=(0, 1)).numpy()
    scored_mean = step.scored.double().mean(dim=0).numpy()
    dead_gradient = g[DEAD].mean(axis=0)
    assert found["grad_norm_dead"] == pytest.approx(norms(g[DEAD]).mean())
    assert found["grad_norm_live"] == pytest.approx(norms(g[LIVE]).mean())
    assert found["coherence"] == pytest.approx(coherence(step.gradient[DEAD].double()))
    assert found["cos_grad_h"] == pytest.approx(np.cos(np.radians(angle(dead_gradient, h_mean))))
    assert found["cos_grad_h_scored"] == pytest.approx(np.cos(np.radians(angle(dead_gradient, scored_mean))))
    centroids = {"dead": w[DEAD].mean(axis=0), "live": w[LIVE].mean(axis=0)}
    for which, ids in (("dead", DEAD), ("live", LIVE)):
        radii = norms(w[ids] - centroids[which])
        assert found[f"centroid_{which}"] == pytest.approx(centroids[which], rel=1e-6)
        assert found[f"radius_mean_{which}"] == pytest.approx(radii.mean())
        assert found[f"radius_max_{which}"] == pytest.approx(radii.max())
        assert found[f"radius_origin_{which}"] == pytest.approx(norms(w[ids]).mean())
        assert found[f"angle_h_{which}"] == pytest.approx(angle(h_mean, centroids[which]))
        assert found[f"moved_{which}"] == 1
        assert found[f"step_regimes_{which}"].sum() == len(ids)
    assert found["angle_deg"] == pytest.approx(angle(centroids["dead"], centroids["live"]))
    assert found["centroid_distance"] == pytest.approx(np.linalg.norm(centroids["dead"] - centroids["live"]))


def test_steps_are_of_the_words():
    step = made_step()
    step.weights = step.before.clone()
    step.weights[DEAD[:3]] = -step.before[DEAD[:3]]
    found = summarise(step)
    before, after = words(step.before)[DEAD], words(step.weights)[DEAD]
    ulps = norms(ulp_displacement(BFLOAT16, before, after))
    steps = np.abs(BFLOAT16.ordinals(after) - BFLOAT16.ordinals(before)).sum(axis=1)
    assert found["moved_dead"] == 0.5
    assert found["moved_live"] == 0
    assert found["step_ulp_dead"] == pytest.approx(np.quantile(ulps, [0.5, 0.9, 1]))
    assert found["step_l1_dead"] == np.median(steps)
    assert found["step_regimes_dead"].tolist() == [3, 0, 0, 3]
    assert found["step_regimes_live"].tolist() == [0, 0, 0, len(LIVE)]


def test_a_dead_gradient_follows_the_scored_positions_exactly():
    found = summarise(made_step(dtype=torch.float32, zero_output=True))  # p is 1/V everywhere
    assert found["cos_grad_h_scored"] == pytest.approx(1, abs=1e-12)
    assert found["cos_grad_h"] < 1 - 1e-4  # the unscored last position is in h_mean
    assert found["coherence"] == pytest.approx(1, abs=1e-12)


def test_of_master_weights_the_visible_copy_is_what_moves():
    step = made_step(dtype=torch.bfloat16)
    step.weights = step.before.float() * (1 + 1e-5)  # far below half a step of bfloat16
    found = summarise(step)
    assert found["moved_dead"] == found["moved_live"] == 0
    step.weights[DEAD[0]] *= 2
    step.weights[DEAD[2]] = step.weights[DEAD[1]] * (1 + 1e-6)
    found = summarise(step)
    assert found["moved_dead"] == pytest.approx(2 / 6)
    assert found["holes_dead"] == 1


def test_black_holes_among_the_dead():
    step = made_step()
    step.weights[DEAD[[1, 3, 4]]] = step.weights[DEAD[0]].clone()
    step.weights[LIVE[:5]] = step.weights[LIVE[0]].clone()
    found = summarise(step)
    assert (found["holes_dead"], found["hole_tokens_dead"]) == (1, 4)


def test_step_0_has_the_figures_of_the_matrix_alone():
    step = made_step()
    recorder = Summaries(DIM, Figures(made_corpus()))
    frames, later = recorder.begin(step.weights, LinearModel(step.weights)), recorder.observe(step)
    assert set(frames) < set(later)
    assert {"centroid_dead", "radius_max_live", "angle_deg", "holes_dead"} <= set(frames)
    for name, value in frames.items():
        assert np.array_equal(value, later[name])


def test_without_dead_tokens_the_dead_have_no_figures():
    corpus = made_corpus(dead=np.empty(0, int))
    found = Summaries(DIM, Figures(corpus)).observe(made_step())
    for name in ("coherence", "grad_norm_dead", "radius_max_dead", "moved_dead", "angle_deg", "step_l1_dead"):
        assert np.isnan(found[name]), name
    assert found["holes_dead"] == 0
    assert found["moved_live"] == 1
