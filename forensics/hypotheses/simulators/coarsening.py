"""Coarsening: N(0, sigma) moved onto the stored row, then rounded to its coarser cells.

w = b(sigma z + v), v being the stored row that most dead tokens hold (anchor "on"): the numbers of the noise around
zero are all different, and the translation rounds them to the cells that the format has at v.
Trap: one jump, not a drift; and v is half a step from its boundaries by construction, which no vector that was drawn
and rounded is. Published at 2.02e-8: half of 2,200 rows unique, 410 holes; no sigma gives few large holes with many
singletons.
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
    """Rows around the stored one."""
    return noisy_cloud(context, anchor_values(context, parameters["anchor"], rng), float(parameters["sigma"]), rng)


HYPOTHESIS = Hypothesis(
    name="coarsening",
    title="noise around zero, moved onto the lattice",
    story="Rows started as tiny noise around zero and one common move carried them to where cells are coarser.",
    predicts="Only the finest numbers flip; many small holes where half of the rows are unique.",
    source="founding box_4, coarsening sigma-sweep",
    parameters=(SIGMA, anchor_parameter("on")),
    simulate=simulate,
    obstacle=unwritable,
)
