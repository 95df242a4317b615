"""A tight cloud that training moved: a float32 point plus noise, rounded, then pushed under AdamW.

The start is the snowball's (u + sigma z in float32, rounded to the trained format), u being chosen so that a row
without noise ends at the anchor. On the way rows that come into coarser cells meet, and with feedback rows that differ
are pushed differently.
Trap: the start's sigma is in the cells of the start, which lie elsewhere than the end's; and h's direction is drawn, so
that where the cloud lies is no prediction, only its shape is.
"""

from __future__ import annotations

import numpy as np

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.driving.hypothesis import (
    DRIVE,
    draw_pushes,
    driven_cloud,
    start_format,
    start_towards,
    undrivable,
)
from forensics.hypotheses.hypothesis import Hypothesis, Parameters
from forensics.hypotheses.sampling.anchors import anchor_values
from forensics.hypotheses.sampling.parameters import SIGMA
from forensics.hypotheses.sampling.sampler import Noise, Sampler


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """The push, the point that it brings to the anchor, the rows around that point, and their way."""
    pushes = draw_pushes(context, parameters, rng)
    centre = start_towards(anchor_values(context, "off", rng), pushes, parameters)
    fmt = start_format(parameters)
    sampler = Sampler(Noise(centre, float(parameters["sigma"]), fmt), context.n_rows)
    start = Cloud.from_active(sampler.row, sampler.active, sampler.draw(context.n_rows, rng), fmt, context.dim)
    return driven_cloud(context, parameters, start, pushes, int(rng.integers(2**31)))


HYPOTHESIS = Hypothesis(
    name="driven_snowball",
    title="a float32 point plus noise, rounded, then trained",
    story="Rows were drawn as one float32 vector plus tiny noise, stored rounded, and moved by AdamW along -h_mean.",
    predicts="Rows meet as cells grow coarser: fewer and larger holes than the snowball of the same sigma.",
    source="founding notebooks 12.1, 13.4a, 15.1a; Zamirai et al. 2020 (arXiv 2010.06192); recorded toy runs",
    parameters=(SIGMA, *DRIVE),
    simulate=simulate,
    obstacle=undrivable,
    slow=True,
)
