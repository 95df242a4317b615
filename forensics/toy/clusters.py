"""Hidden states grouped by the token they should predict, and by the one they do predict."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forensics.recording import Channel
from forensics.toy.census import Corpus
from forensics.toy.figures import array, exact
from forensics.toy.logits import evenly, logits_of
from forensics.toy.recorder import FORWARD, Frames, Recorder, number, scalar
from forensics.toy.step import Step

MOST_FREQUENT = 64
"""Tokens with a mean of their own: in a Zipf corpus of 10,000 they are about half of all positions."""

SAMPLE = 512
"""Scored positions whose prediction is looked up: their logits cost V x D each."""


class Clusters(Recorder):
    """Mean hidden state by token, and how much of the variance lies between tokens.

    With labels that say nothing, the share of the sum of squares that lies between C groups of N positions is
    (C - 1) / (N - 1) in the mean over permutations: the chance level, recorded beside the share.

    References:
        The identity total = within + between, as in a one-way analysis of variance (Fisher 1925), summed over the D
        dimensions.
    """

    name = "clusters"

    def __init__(self, dim: int, corpus: Corpus) -> None:
        counts = corpus.counts
        frequent = np.argsort(-counts, kind="stable")[: min(MOST_FREQUENT, len(corpus.live_ids))]
        self._ids = np.sort(frequent).astype(np.int64)
        sample = f"{SAMPLE} scored positions spread evenly"
        self.channels = (
            *_channels("target", "their true token", f"all scored positions {FORWARD}", self._ids, dim),
            *_channels("predicted", "their likeliest token", f"{sample} {FORWARD}", self._ids, dim),
        )

    def observe(self, step: Step) -> Frames:
        """Both groupings."""
        chosen = evenly(len(step.scored), SAMPLE).to(step.scored.device)
        some = step.scored[chosen]
        predicted = logits_of(some, step.before).argmax(dim=1)
        vocab = len(step.before)
        return {
            **self._grouped("target", step.scored, step.targets, vocab),
            **self._grouped("predicted", some, predicted, vocab),
        }

    def _grouped(self, label: str, hidden: Tensor, tokens: Tensor, vocab: int) -> Frames:
        h = exact(hidden)
        tokens = tokens.to(h.device)
        counts = torch.bincount(tokens, minlength=vocab)
        sums = h.new_zeros(vocab, h.shape[1]).index_add_(0, tokens, h)
        means = sums / counts[:, None]  # nan where a token has no position
        share, chance = variance_between(h, means, counts)
        ids = torch.from_numpy(self._ids).to(h.device)
        return {
            f"clusters_{label}_count": array(counts[ids], "int64"),
            f"clusters_{label}_h": array(means[ids]),
            f"clusters_{label}_between": number(share),
            f"clusters_{label}_within": number(1 - share),
            f"clusters_{label}_chance": number(chance),
        }


def variance_between(h: Tensor, means: Tensor, counts: Tensor) -> tuple[float, float]:
    """The share of the variance of ``h`` that lies between groups, and its mean under random labels.

    Args:
        h: ``float64[N, D]``.
        means: ``float64[groups, D]``, the mean of each group's rows; what an empty group holds is not read.
        counts: ``int64[groups]``, rows of each group.

    Returns:
        The two shares; nan where all of ``h`` is one point.
    """
    centre = h.mean(dim=0)
    total = (h - centre).square().sum().item()
    full = counts > 0
    between = ((means[full] - centre).square().sum(dim=1) * counts[full]).sum().item()
    if not total > 0:
        return float("nan"), float("nan")
    return between / total, (int(full.sum()) - 1) / (len(h) - 1)


def _channels(label: str, by: str, over: str, ids: NDArray[np.int64], dim: int) -> tuple[Channel, ...]:
    name = f"clusters_{label}"
    grouped = f"h at {over}, grouped by {by}"
    tokens = f"of the {len(ids)} most frequent tokens of the corpus"
    mean = f"mean of {grouped}: {tokens}; nan where there is none"
    return (
        Channel(
            f"{name}_count",
            (len(ids),),
            "int64",
            unit="positions",
            definition=f"size {tokens}: {grouped}",
            token_ids=ids,
        ),
        Channel(f"{name}_h", (len(ids), dim), "float32", unit="value", definition=mean, token_ids=ids),
        scalar(f"{name}_between", "share", f"share of the variance that lies between groups: {grouped}, every token"),
        scalar(f"{name}_within", "share", f"share of the variance that lies within groups: {grouped}, every token"),
        scalar(f"{name}_chance", "share", f"the share between groups that random labels would have: {grouped}"),
    )
