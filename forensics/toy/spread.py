"""The mean hidden state, and how single hidden states spread about it: the founding notes lacked the second."""

from __future__ import annotations

import numpy as np
import torch

from forensics.recording import Channel
from forensics.toy.figures import Figures, exact
from forensics.toy.recorder import FORWARD, Frames, Recorder, number, scalar
from forensics.toy.step import Step

_ALL = f"over all B x T positions {FORWARD}"


class HiddenMean(Recorder):
    """h_mean, over all positions as the founding runs had it, and over the scored ones alone."""

    name = "h_mean"

    def __init__(self, dim: int, figures: Figures) -> None:
        self._figures = figures
        scored = (
            f"mean of h over the N scored positions {FORWARD}; the dead gradient is (1/N) sum p h over just these, and "
            "follows this direction"
        )
        self.channels = (
            Channel("h_mean", (dim,), "float32", unit="value", definition=f"mean of h {_ALL}"),
            Channel("h_mean_scored", (dim,), "float32", unit="value", definition=scored),
        )

    def observe(self, step: Step) -> Frames:
        """Both means."""
        hidden = self._figures.hidden(step)
        means = hidden.mean, hidden.scored_mean
        return {c.name: mean.cpu().numpy().astype(np.float32) for c, mean in zip(self.channels, means, strict=True)}


class Spread(Recorder):
    """Variance of h along h_mean and across it, and the angles and lengths of single hidden states.

    With u = h_mean / |h_mean|: along is the variance of h @ u, total is the mean of |h - h_mean|^2 (the trace of the
    covariance) and transverse their difference. All are over the population (divided by n).

    References:
        Mardia & Jupp 2000, Directional Statistics, section 9.2.1 (resultant length).
    """

    name = "spread"

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self.channels = (
            scalar("spread_along", "value^2", f"variance of h @ unit h_mean {_ALL}"),
            scalar("spread_transverse", "value^2", f"variance of h across h_mean, all D - 1 directions, {_ALL}"),
            scalar("spread_total", "value^2", f"mean of |h - h_mean|^2 {_ALL}"),
            scalar("spread_resultant", "ratio", f"length of the mean of h/|h| {_ALL}: 1 if all point one way"),
            scalar("spread_angle", "degrees", f"mean angle between h and h_mean {_ALL}"),
            scalar("spread_norm", "value", f"mean of |h| {_ALL}"),
            scalar("spread_h_mean_norm", "value", f"|h_mean|, the mean {_ALL}"),
        )

    def observe(self, step: Step) -> Frames:
        """The seven figures; nan where a direction is asked for of an h, or an h_mean, that is zero."""
        mean = self._figures.hidden(step).mean
        length = torch.linalg.vector_norm(mean)
        h = exact(step.hidden).flatten(0, 1)
        centred = h - mean  # first, not by E[x^2] - E[x]^2: the spread can be a millionth of |h|^2
        squares = centred.square().sum(dim=1)
        along = centred @ (mean / length)
        across = (squares - along.square()).clamp_(min=0).sqrt_()
        norms = torch.linalg.vector_norm(h, dim=1)
        resultant = torch.linalg.vector_norm((h / norms[:, None]).mean(dim=0))
        angle = torch.rad2deg(torch.atan2(across, along + length)).mean()
        variance_along, total = along.square().mean(), squares.mean()
        figures = (variance_along, total - variance_along, total, resultant, angle, norms.mean(), length)
        return {c.name: number(value.item()) for c, value in zip(self.channels, figures, strict=True)}
