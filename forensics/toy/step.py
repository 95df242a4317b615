"""What one update of a toy run leaves for its observers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from forensics.toy.model import LanguageModel


@dataclass(slots=True, eq=False)
class Step:
    """One update, seen from outside: observers read these tensors, copy what they keep and never write to them.

    The forward and backward passes that made update `step` ran on the weights after update `step - 1`.

    Attributes:
        step: the update, from 1.
        lr: the learning rate it used.
        loss: mean cross-entropy over the scored positions, in nats.
        tokens: int64[B, T], the inputs.
        targets: int64[N], the true next tokens of the N scored positions, batch-major.
        hidden: [B, T, D] in the compute dtype, after the final norm: the very tensor that met the unembedding.
        scored: [N, D], the rows of `hidden` at the scored positions.
        before: [V, D], the output matrix as the forward saw it (a copy).
        weights: [V, D], the stored output matrix (tied: the only one) after the update. A view.
        gradient: [V, D], of that matrix, as handed to the optimizer.
        exact_gradient: float32[V, D], the same before rounding and clipping.
        m: [V, D], first moment after the update, as stored; None where the rule keeps none.
        v: [V, D], second moment after the update, as stored; None where the rule keeps none.
        p_mean: float32[V], softmax probability, mean over the scored positions; None unless a recorder needs it.
        model: the network after the update; `model.hidden(tokens)` gives [B, T, D] for probes.
        compensation: [V, D], what rounding left over (Kahan); None elsewhere.
    """

    step: int
    lr: float
    loss: float
    tokens: Tensor
    targets: Tensor
    hidden: Tensor
    scored: Tensor
    before: Tensor
    weights: Tensor
    gradient: Tensor
    exact_gradient: Tensor
    m: Tensor | None
    v: Tensor | None
    p_mean: Tensor | None
    model: LanguageModel
    compensation: Tensor | None
