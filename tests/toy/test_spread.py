"""The spread of hidden states against their covariance matrix, and against plants with a known answer."""

import numpy as np
import pytest
import torch

from forensics.toy.figures import Figures
from forensics.toy.spread import HiddenMean, Spread
from tests.toy.made_steps import DIM, made_corpus, made_step


def spread_of(hidden):
    step = made_step()
    step.hidden = hidden.reshape(1, *hidden.shape)
    frame = Spread(Figures(made_corpus())).observe(step)
    return {name.removeprefix("spread_"): float(value) for name, value in frame.items()}


def test_agrees_with_the_covariance():
    h = torch.randn(200, DIM, generator=torch.Generator().manual_seed(1)) * torch.arange(1, DIM + 1) + 3
    found = spread_of(h)
    x = h.double().numpy()
    mean, covariance = x.mean(axis=0), np.cov(x.T, bias=True)
    u = mean / np.linalg.norm(mean)
    norms = np.linalg.norm(x, axis=1)
    assert found["along"] == pytest.approx(u @ covariance @ u)
    assert found["along"] == pytest.approx((x @ u).var())
    assert found["total"] == pytest.approx(np.trace(covariance))
    assert found["transverse"] == pytest.approx(np.trace(covariance) - u @ covariance @ u)
    assert found["resultant"] == pytest.approx(np.linalg.norm((x / norms[:, None]).mean(axis=0)))
    assert found["angle"] == pytest.approx(np.degrees(np.arccos(x @ u / norms)).mean())
    assert found["norm"] == pytest.approx(norms.mean())
    assert found["h_mean_norm"] == pytest.approx(np.linalg.norm(mean))


def test_a_collapsed_cloud_has_no_spread():
    found = spread_of(torch.full((50, DIM), 3.0).bfloat16())
    assert found["total"] == found["along"] == found["transverse"] == found["angle"] == 0
    assert found["resultant"] == pytest.approx(1, abs=1e-15)


def test_a_spread_far_smaller_than_h_keeps_its_digits():
    h = torch.zeros(2, DIM)
    h[:, 0] = 1e4
    h[:, 1] = torch.tensor([1.0, -1.0]) * 2**-10
    found = spread_of(h)
    assert found["total"] == found["transverse"] == pytest.approx(2.0**-20, rel=1e-12)
    assert found["along"] == 0
    assert found["angle"] == pytest.approx(np.degrees(2.0**-10 / 1e4), rel=1e-9)


def test_opposite_states_have_no_direction():
    found = spread_of(torch.tensor([[1.0] * DIM, [-1.0] * DIM]))
    assert found["total"] == DIM
    assert found["h_mean_norm"] == found["resultant"] == 0
    assert np.isnan(found["along"])
    assert np.isnan(found["angle"])


def test_both_means():
    step = made_step()
    frames = HiddenMean(DIM, Figures(made_corpus())).observe(step)
    h = step.hidden.double()
    assert frames["h_mean"] == pytest.approx(h.mean(dim=(0, 1)).numpy(), rel=1e-6)
    assert frames["h_mean_scored"] == pytest.approx(h[:, :-1].mean(dim=(0, 1)).numpy(), rel=1e-6)
    assert not np.array_equal(frames["h_mean"], frames["h_mean_scored"])
