"""Rows appended by transformers: N(mean, 1e-9 covariance) of the live rows, at the end of the matrix.

w = b(m + sqrt(scale) F z), F F^T the live rows' covariance, as ``resize_token_embeddings(mean_resizing=True)`` makes
them (Hewitt 2021; :mod:`forensics.initialisation.resizing` follows the code): where the covariance has no Cholesky
factor, every row is the mean itself. Only the dimensions whose cell the noise can leave are drawn.
Trap: mean and covariance are those of the day of the resize. Where training went on, the live rows of today are others.
"""

from __future__ import annotations

import math

import numpy as np

from forensics.errors import HypothesisError
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Fixed, Hypothesis, Parameter, Parameters
from forensics.hypotheses.sampling.clouds import cloud_on, drawn_format, one_row, with_live
from forensics.hypotheses.sampling.parameters import tail_ids
from forensics.hypotheses.sampling.sampler import LEFT_OUT

SLACK = 1.001
"""Beyond what the float32 product of F and z can add to a number by its roundings."""


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """Rows around the live rows' mean, with their covariance's shape."""
    live, fmt = context.live, drawn_format(context.format)
    if live is None:
        raise HypothesisError("the live rows' mean and covariance were not measured", hint="measure the live law")
    if live.factor is None:
        return one_row(context, fmt.narrow(live.mean), tail_ids(context))
    scale = math.sqrt(float(parameters["scale"]))
    # Chernoff's bound, as in forensics.hypotheses.sampling.sampler.
    reach = SLACK * scale * math.sqrt(2 * math.log(max(2, context.n_rows * context.dim) / LEFT_OUT))
    spread = (reach * np.linalg.norm(live.factor, axis=1)).astype(np.float32)
    active = np.flatnonzero(fmt.narrow(live.mean - spread) != fmt.narrow(live.mean + spread))
    z = rng.standard_normal((context.n_rows, live.factor.shape[1]), dtype=np.float32)
    noise = z @ (np.float32(scale) * live.factor[active]).T
    words = fmt.narrow(live.mean[active] + noise)
    return cloud_on(context, fmt.narrow(live.mean), active, words, tail_ids(context))


HYPOTHESIS = Hypothesis(
    name="mean_resized",
    title="appended around the mean of the others",
    story="The vocabulary was enlarged: transformers appended rows around the live rows' mean, and none was trained.",
    predicts="A cloud of a few steps around the live mean, nearly all rows different, ids at the end.",
    source="Hewitt 2021; transformers, mean_resizing=True",
    parameters=(Parameter("scale", "what the covariance is multiplied with", lambda context: Fixed(1e-9)),),
    simulate=simulate,
    obstacle=with_live,
    needs_live="covariance",
)
