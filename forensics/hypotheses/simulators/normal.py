"""Rows as initialised by the config: N(0, initializer_range), never moved.

w = b(sigma z), sigma the config's ``initializer_range`` (0.02 if it says nothing). Around zero the float lattice is
scale-free: the same words a binade lower, so no sigma well above the least subnormal makes rows coincide. See
``normal_free`` for another sigma and ``driven_normal`` for what training makes of it.
Trap: "ruled out, no holes" (1.10b, c) for noise around zero says nothing about noise around any other point.
"""

from __future__ import annotations

import numpy as np

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Hypothesis, Parameters
from forensics.hypotheses.sampling.clouds import cloud_of, drawn_format, unwritable
from forensics.hypotheses.sampling.parameters import CONFIG_SIGMA
from forensics.initialisation import Normal, draw


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """Independent normal numbers, rounded."""
    fmt = drawn_format(context.format)
    return cloud_of(context, draw(Normal(sigma=float(parameters["sigma"])), context.n_rows, context.dim, fmt, rng))


HYPOTHESIS = Hypothesis(
    name="normal",
    title="the config's initialisation, untouched",
    story="Rows are as the config initialises them, independent normal numbers, and no training moved them.",
    predicts="All rows different, norms of sigma sqrt(D), centroid near zero, exponents all over the binades.",
    source="Radford et al. 2019 (GPT-2, 0.02); founding 1.10b, c",
    parameters=(CONFIG_SIGMA,),
    simulate=simulate,
    obstacle=unwritable,
)
