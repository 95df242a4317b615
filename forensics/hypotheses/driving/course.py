"""A push with few parameters: how h_mean and the dead tokens' probability go over a run, as toy runs have them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forensics.errors import HypothesisError
from forensics.hypotheses.driving.push import Means


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The course of h_mean and of p over the updates of a run.

    h_mean = sqrt(D) length u_t. Its direction u_t is batch noise about a direction that walks slowly: with a_t a
    stationary Gaussian vector of autocorrelation ``keep`` a step and white noise e_t of its size, u_t is a_t + sqrt(q)
    e_t made unit, q = keep/autocorrelation - 1, so that neighbouring steps have cosine ``autocorrelation``. A walk
    alone with the published autocorrelation would lose the direction in 400 steps, and toys keep it.

    With feedback nothing is said of p but its start, 1/V: it follows from the rows (`Means`).

    Without, p = (floor + (1 - floor) exp(-(t - 1)/fall))/V: Adam moves a coordinate by lr as long as its gradient keeps
    its sign, so the logit w . h falls by lr |h|_1 = lr D sqrt(2/pi) length an update, and p by e in the inverse of
    that. With such a p rows do not come to rest: bfloat16's second moment keeps the size of the first gradients.

    Attributes:
        dim: D.
        vocab: V, tokens of the whole matrix: an untrained softmax gives each 1/V.
        lr: the optimizer's rate, for ``fall``.
        length: |h_mean|/sqrt(D). 1 is a final LayerNorm's length with all positions alike (published for Crucible 3 at
            D = 64: 5.5 to 8.5, where sqrt(D) is 8).
        autocorrelation: mean cosine of h_mean and that of the next step: 0.9976 published (Crucible 3).
        keep: autocorrelation of the slow direction; a choice, no fit: 0.9999 keeps e^-0.03 = 0.97 of it in 300 steps.
        fall: without feedback: updates in which p falls by e, or None for the above.
        floor: without feedback: share of 1/V below which p does not fall; a choice, no fit.
        feedback: see :class:`~forensics.hypotheses.driving.push.Means`.

    Raises:
        HypothesisError: a value is out of range.
    """

    dim: int
    vocab: int
    lr: float
    length: float = 1.0
    autocorrelation: float = 0.9976
    keep: float = 0.9999
    fall: float | None = None
    floor: float = 0.005
    feedback: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.autocorrelation <= self.keep <= 1:
            raise HypothesisError(
                f"h_mean keeps {self.autocorrelation} of its direction a step and {self.keep} of the slow one",
                hint="0 < autocorrelation <= keep <= 1",
            )
        if not (self.length > 0 and 0 <= self.floor <= 1 and self.time_constant > 0):
            raise HypothesisError(
                f"length {self.length}, floor {self.floor} and fall {self.time_constant} make no push",
                hint="length and fall are above 0, floor is 0 to 1",
            )

    @property
    def time_constant(self) -> float:
        """Updates in which p falls by e; endless at a rate of 0."""
        if self.fall is not None:
            return self.fall
        speed = self.lr * self.dim * math.sqrt(2 / math.pi) * self.length
        return 1 / speed if speed > 0 else math.inf

    def probability(self, step: int) -> float:
        """Without feedback, the dead tokens' p in update ``step``, from 1."""
        return (self.floor + (1 - self.floor) * math.exp(-(step - 1) / self.time_constant)) / self.vocab

    def pushes(self, steps: int, rng: np.random.Generator) -> Iterator[Means]:
        """The pushes of updates 1 to ``steps``; the first direction is uniform on the sphere."""
        slow = rng.standard_normal(self.dim)
        noise = math.sqrt(self.keep / self.autocorrelation - 1)
        for step in range(1, steps + 1):
            h = slow + noise * rng.standard_normal(self.dim)
            h *= math.sqrt(self.dim) * self.length / float(np.linalg.norm(h))
            p = 1 / self.vocab if self.feedback else self.probability(step)
            yield Means(h.astype(np.float32), p, self.feedback)
            slow = self.keep * slow + math.sqrt(1 - self.keep**2) * rng.standard_normal(self.dim)
