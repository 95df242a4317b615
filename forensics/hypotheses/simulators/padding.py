"""Rows appended to reach a round number: one vector, at the unbroken end of the ids.

The vector is the mean of the live rows, stored rounded (transformers' fallback, mergekit, unsloth), or zero.
Where there are no live rows the value is zero.
Trap: padding that was present in training is driven as every other dead row; this is padding added afterwards.
"""

from __future__ import annotations

import numpy as np

from forensics.errors import HypothesisError
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Fixed, Hypothesis, OneOf, Parameter, Parameters
from forensics.hypotheses.sampling.clouds import drawn_format, one_row, unwritable
from forensics.hypotheses.sampling.parameters import tail_ids


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """One row at the last ids."""
    value = parameters["value"]
    if value not in ("mean", "zero") or (value == "mean" and context.live is None):
        raise HypothesisError(f"padding of value {value!r} cannot be made", hint="choose zero, or mean with live rows")
    values = context.live.mean if context.live and value == "mean" else np.zeros(context.dim, np.float32)
    return one_row(context, drawn_format(context.format).narrow(values), tail_ids(context))


HYPOTHESIS = Hypothesis(
    name="padding",
    title="appended, all one vector",
    story="Rows were appended after training to reach a round number, all the live rows' mean or all zero.",
    predicts="One black hole whose ids are the matrix's last, of the live mean or of zeros.",
    source="transformers' resize fallback; mergekit and unsloth add_new_tokens",
    parameters=(
        Parameter(
            "value",
            "the vector: mean (of the live rows) or zero",
            lambda context: Fixed("zero") if context.live is None else OneOf(("mean", "zero")),
        ),
    ),
    simulate=simulate,
    obstacle=unwritable,
    needs_live="mean",
)
