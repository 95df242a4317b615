"""All dead rows are one vector, and stay so.

Rows that start equal and receive the same gradient stay bit-identical for ever: nothing in a deterministic step tells
them apart (founding 08.x, 10.2a: 51 dead rows, one point after 100,000 steps). The point is the stored row that most
dead tokens hold; where it lies says nothing for or against the story.
Trap: a run with this start is not refuted by live rows that escape, and confirmed by nothing but one single hole.
"""

from __future__ import annotations

import numpy as np

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Hypothesis, Parameters


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """One row, held by all."""
    nothing = np.empty((context.n_rows, 0), context.anchor.dtype)
    return Cloud.from_active(context.anchor, np.empty(0, np.int64), nothing, context.format, context.dim)


HYPOTHESIS = Hypothesis(
    name="singular",
    title="one point",
    story="All rows started as one vector; equal gradients keep the dead ones equal for ever.",
    predicts="One black hole that holds every dead token.",
    source="founding notebooks 08.x, 10.2a, 1.12b; symmetry",
    simulate=simulate,
)
