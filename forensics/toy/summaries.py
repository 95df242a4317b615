"""The figures of one step that a run is followed by: gradients, where rows lie, how far they moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forensics.black_holes import BlackHoles
from forensics.geometry import angle_deg
from forensics.recording import Channel
from forensics.toy.displacement import REGIMES, quantiles
from forensics.toy.figures import Cloud, Figures, Vector, exact, pick
from forensics.toy.model import LanguageModel
from forensics.toy.recorder import AFTER, FORWARD, Frames, Recorder, number, scalar
from forensics.toy.step import Step

STEP_SHARES = (0.5, 0.9, 1.0)
"""Quantiles of a step's length over tokens: means are made by the few coordinates that lie near zero."""

_SEEN = "of the output matrix as the forward sees it (of float32 master weights the bfloat16 copy)"


class Summaries(Recorder):
    """Gradient, geometry and displacement of dead and live tokens; each figure's definition is in its channel."""

    name = "summaries"

    def __init__(self, dim: int, figures: Figures) -> None:
        self._figures = figures
        self.channels = (
            *_gradient_channels(),
            *(channel for which in ("dead", "live") for channel in _cloud_channels(which, dim)),
            *_between_channels(),
            *(channel for which in ("dead", "live") for channel in _step_channels(which)),
            scalar("holes_dead", "holes", f"black holes among the dead rows {_SEEN}, {AFTER}", "int64"),
            scalar("hole_tokens_dead", "tokens", f"dead tokens in a black hole {_SEEN}, {AFTER}", "int64"),
        )

    def begin(self, weights: Tensor, model: LanguageModel) -> Frames:
        """What the initial matrix alone has: clouds, their distance and angle, black holes."""
        clouds = (self._figures.cloud_of(weights, ids) for ids in (self._figures.dead, self._figures.live))
        return _places(*clouds) | _holes(self._figures.holes_of(model.output))

    def observe(self, step: Step) -> Frames:
        """Every figure."""
        figures = self._figures
        hidden, moves = figures.hidden(step), figures.displacement(step)
        dead, live = figures.dead_cloud(step), figures.live_cloud(step)
        frames = _gradient(step, figures) | _places(dead, live) | _holes(figures.dead_holes(step))
        h_mean = hidden.mean.cpu().numpy()
        for which, cloud, ids in (("dead", dead, figures.dead), ("live", live, figures.live)):
            token_ids = ids.numpy()
            frames[f"angle_h_{which}"] = _angle(h_mean, cloud.centroid)
            frames[f"moved_{which}"] = number(moves.moved(token_ids))
            frames[f"step_ulp_{which}"] = quantiles(moves.l2[token_ids], STEP_SHARES)
            frames[f"step_l1_{which}"] = number(quantiles(moves.l1[token_ids], (0.5,))[0])
            frames[f"step_regimes_{which}"] = moves.regimes(token_ids)
        return frames


def coherence(rows: Tensor) -> float:
    """The mean cosine of all pairs of non-zero rows; nan for fewer than two.

    Of unit rows u it is (|sum u|^2 - n) / (n (n - 1)): the square of the sum holds every ordered pair once, and each
    row with itself. Exact, where the founding notebooks drew a hundred rows.
    """
    norms = torch.linalg.vector_norm(rows, dim=1)
    units = rows[norms > 0] / norms[norms > 0, None]
    n = len(units)
    if n < 2:
        return float("nan")
    return float((units.sum(dim=0).square().sum().item() - n) / (n * (n - 1)))


def _gradient(step: Step, figures: Figures) -> Frames:
    dead = exact(step.gradient[pick(figures.dead, step.gradient)])
    norms = torch.linalg.vector_norm(exact(step.gradient), dim=1).cpu()
    hidden = figures.hidden(step)
    mean = dead.sum(dim=0)
    return {
        "grad_norm_dead": number(norms[figures.dead].mean().item()),
        "grad_norm_live": number(norms[figures.live].mean().item()),
        "coherence": number(coherence(dead)),
        "cos_grad_h": _cosine(mean, hidden.mean),
        "cos_grad_h_scored": _cosine(mean, hidden.scored_mean),
    }


def _places(dead: Cloud, live: Cloud) -> Frames:
    frames: Frames = {}
    for which, cloud in (("dead", dead), ("live", live)):
        frames[f"centroid_{which}"] = cloud.centroid.astype(np.float32)
        for radius in ("radius_mean", "radius_max", "radius_origin"):
            frames[f"{radius}_{which}"] = number(getattr(cloud, radius))
    frames["angle_deg"] = _angle(dead.centroid, live.centroid)
    frames["centroid_distance"] = number(float(np.linalg.norm(dead.centroid - live.centroid)))
    return frames


def _holes(holes: BlackHoles | None) -> Frames:
    n, tokens = (len(holes), holes.n_tokens) if holes else (0, 0)
    return {"holes_dead": number(n, "int64"), "hole_tokens_dead": number(tokens, "int64")}


def _angle(first: Vector, second: Vector) -> NDArray[Any]:
    found = angle_deg(first, second)
    return number(np.nan if found is None else found)


def _cosine(first: Tensor, second: Tensor) -> NDArray[Any]:
    return number((first @ second / (torch.linalg.vector_norm(first) * torch.linalg.vector_norm(second))).item())


def _gradient_channels() -> tuple[Channel, ...]:
    rows = "gradient of the output matrix as handed to the optimizer"
    return (
        scalar("grad_norm_dead", "value", f"mean L2 norm of the dead rows of the {rows}"),
        scalar("grad_norm_live", "value", f"mean L2 norm of the live rows of the {rows}"),
        scalar("coherence", "cosine", f"mean cosine over all pairs of dead, non-zero rows of the {rows}"),
        scalar("cos_grad_h", "cosine", f"mean dead row of the {rows} against h_mean over all positions, {FORWARD}"),
        scalar("cos_grad_h_scored", "cosine", f"mean dead row of the {rows} against h_mean_scored, {FORWARD}"),
    )


def _cloud_channels(which: str, dim: int) -> tuple[Channel, ...]:
    rows = f"of the {which} rows of the stored output matrix, raw frame, {AFTER}"
    return (
        Channel(f"centroid_{which}", (dim,), "float32", unit="value", definition=f"mean {rows}"),
        scalar(f"radius_mean_{which}", "value", f"mean distance from their centroid {rows}"),
        scalar(f"radius_max_{which}", "value", f"largest distance from their centroid {rows}"),
        scalar(f"radius_origin_{which}", "value", f"mean norm, the distance from the origin, {rows}"),
    )


def _between_channels() -> tuple[Channel, ...]:
    centroid = f"of the stored output matrix, raw frame, {AFTER}"
    return (
        scalar("angle_deg", "degrees", f"angle between the dead and the live centroid {centroid}"),
        scalar("centroid_distance", "value", f"distance between the dead and the live centroid {centroid}"),
        *(
            scalar(
                f"angle_h_{which}",
                "degrees",
                f"angle between h_mean (all positions) and the {which} centroid {centroid}",
            )
            for which in ("dead", "live")
        ),
    )


def _step_channels(which: str) -> tuple[Channel, ...]:
    rows = f"over the {which} rows {_SEEN}; the move from the step before to this"
    shares = ", ".join(f"{share:g}" for share in STEP_SHARES)
    regimes = "L2 > sqrt(D); L-infinity > 1 but L2 <= sqrt(D); 0 < L-infinity <= 1; no move (in ulp of the start)"
    ulp = f"quantiles {shares} of the L2 norm in ulp of the start, {rows}"
    return (
        scalar(f"moved_{which}", "share", f"tokens with any coordinate at another value, {rows}"),
        Channel(f"step_ulp_{which}", (len(STEP_SHARES),), "float64", unit="ulp", definition=ulp),
        scalar(f"step_l1_{which}", "steps", f"median of the summed ordinal differences, {rows}"),
        Channel(
            f"step_regimes_{which}", (len(REGIMES),), "int64", unit="tokens", definition=f"how many: {regimes}; {rows}"
        ),
    )
