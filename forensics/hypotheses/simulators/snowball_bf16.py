"""The snowball drawn and added in bfloat16: w = b(b(u) + b(sigma b(z))).

b(u) is the stored row itself: a lattice point, half a step from every boundary (a quarter below a power of two), so
that holes appear and dissolve at one sigma per binade. A number keeps its word until the noise passes that half step.
Trap: against float32 noise the published comparison (15.1, 15.2, D = 64) shows the anchor's place, not the noise's
format: float32 noise around b(u) gives nearly the same law. Two differences are the rounded product and ties to even.
"""

from __future__ import annotations

import numpy as np

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Hypothesis, Parameters
from forensics.hypotheses.sampling.anchors import anchor_values
from forensics.hypotheses.sampling.clouds import noisy_cloud, unwritable
from forensics.hypotheses.sampling.parameters import SIGMA, anchor_parameter


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """Rows around the stored one, in bfloat16 throughout."""
    centre = anchor_values(context, parameters["anchor"], rng)
    return noisy_cloud(context, centre, float(parameters["sigma"]), rng, arithmetic="bfloat16")


HYPOTHESIS = Hypothesis(
    name="snowball_bf16",
    title="a bfloat16 point plus bfloat16 noise",
    story="Rows were drawn and added in bfloat16: one stored vector plus tiny noise, each operation rounded.",
    predicts="Only the finest numbers flip: few varying dimensions, and holes until sigma reaches the typical step.",
    source="founding notebooks 15.1b, 15.2",
    parameters=(SIGMA, anchor_parameter("on")),
    simulate=simulate,
    obstacle=unwritable,
)
