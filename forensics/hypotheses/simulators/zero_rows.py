"""All dead rows are zeros: reserved tokens, a ``padding_idx``, or rows padded by a converter."""

from __future__ import annotations

import numpy as np

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Hypothesis, Parameters
from forensics.hypotheses.sampling.clouds import drawn_format, one_row, unwritable


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """One row of zeros, held by all."""
    return one_row(context, np.zeros(context.dim, drawn_format(context.format).word_dtype))


HYPOTHESIS = Hypothesis(
    name="zero_rows",
    title="zeros",
    story="The rows were set to zero and never trained.",
    predicts="One black hole of norm 0.",
    source="torch.nn.Embedding, padding_idx; peers' reserved tokens",
    simulate=simulate,
    obstacle=unwritable,
)
