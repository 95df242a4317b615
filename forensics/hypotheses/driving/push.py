"""What pushes dead rows in one update: their gradient, in the forms in which it can be known.

A dead token is never a target, so its row's gradient under cross entropy is (1/N) sum_n p_n h_n over the N scored
positions, h the hidden state that met the unembedding and p the token's softmax probability there (the derivative of
-log softmax by an output row; Land & Bartolo 2024 see its consequence).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forensics.errors import HypothesisError
from forensics.formats import Words

Scope = Literal["column", "row", "token"]
"""What an element's gradient depends on beside the step: its column, its row's own words, or its token."""

SCOPES: tuple[Scope, ...] = ("column", "row", "token")
"""From the narrowest to the widest."""


@dataclass(frozen=True, slots=True, eq=False)
class GradientWords:
    """The gradient as it was handed to the optimizer.

    Attributes:
        words: ``uint[n, D]``, of the policy's gradient format.
    """

    words: Words

    @property
    def scope(self) -> Scope:
        """Each token has its own."""
        return "token"


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Hidden states and probabilities at the scored positions: (1/N) p.T @ h in float32, then rounded as the toy does.

    Attributes:
        hidden: ``float32[N, D]``.
        p: ``float32[N, n]``, the dead tokens' probabilities.

    Raises:
        HypothesisError: they are of different positions.
    """

    hidden: NDArray[np.float32]
    p: NDArray[np.float32]

    def __post_init__(self) -> None:
        if len(self.hidden) != len(self.p):
            raise HypothesisError(f"hidden states of {len(self.hidden)} positions, probabilities of {len(self.p)}")

    @property
    def scope(self) -> Scope:
        """Each token has its own."""
        return "token"


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Mean hidden state and mean probability: p_i h_mean, which leaves out how p and h vary together over positions.

    Attributes:
        hidden: ``float32[D]``, h_mean.
        p: ``float32[n]``, each dead token's; or one number for all.
        feedback: with one number: p_i = p exp((w_i - c) . h_mean)/z, with c the rows' mean before the first update and
            z the mean of the same before it, so that p is the first update's mean and what moves away from h is pushed
            less. It is the softmax with a denominator that stays: what the dead lose of it the live gain. At most 1.
    """

    hidden: NDArray[np.float32]
    p: NDArray[np.float32] | float
    feedback: bool = False

    @property
    def scope(self) -> Scope:
        """One probability for all leaves the column; feedback adds the row's own words."""
        if isinstance(self.p, np.ndarray):
            return "token"
        return "row" if self.feedback else "column"


Push = GradientWords | Positions | Means
