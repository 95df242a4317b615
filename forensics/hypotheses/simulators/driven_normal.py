"""Rows as initialised by the config, then trained: N(0, sigma), pushed under AdamW.

Around zero the rows all differ, and a common push keeps them apart: it takes the cloud away from the origin and, with
feedback, draws it together across h. The start is not chosen: norm and centroid are predictions, as far as the push's
drawn h goes.
"""

from __future__ import annotations

import numpy as np

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.driving.hypothesis import DRIVE, draw_pushes, driven_cloud, start_format, undrivable
from forensics.hypotheses.hypothesis import Hypothesis, Parameters
from forensics.hypotheses.sampling.parameters import CONFIG_SIGMA
from forensics.initialisation import Normal, draw


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """The push, independent normal rows, and their way."""
    pushes = draw_pushes(context, parameters, rng)
    fmt = start_format(parameters)
    words = draw(Normal(sigma=float(parameters["sigma"])), context.n_rows, context.dim, fmt, rng)
    start = Cloud.from_rows(words, fmt, context.dim)
    return driven_cloud(context, parameters, start, pushes, int(rng.integers(2**31)))


HYPOTHESIS = Hypothesis(
    name="driven_normal",
    title="the config's initialisation, then trained",
    story="Rows began as the config initialises them, independent normal numbers, and AdamW moved them along -h_mean.",
    predicts="All rows different; the centroid leaves the origin by several nats over |h|, the radius hardly shrinks.",
    source="Radford et al. 2019 (GPT-2, 0.02); founding Stamp 03, Crucible 3; recorded toy runs",
    parameters=(CONFIG_SIGMA, *DRIVE),
    simulate=simulate,
    obstacle=undrivable,
    slow=True,
)
