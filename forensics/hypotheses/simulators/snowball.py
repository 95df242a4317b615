"""The primordial snowball: a float32 point plus float32 noise, rounded once to the stored format.

w = b(u + sigma z), sum and product in float32. u is a float32 vector whose rounding is the row that most dead tokens
hold; where in its cells it lies is unknown and drawn (anchor "off"). Numbers of u beside a boundary flip with little
noise, which gives few large holes; a sigma of a few thousandths of the typical step already fills the cloud.
Trap: the published runs (12.1 to 12.3) put the noise around the *centred* centroid (norm 0.166), whose cells are finer
than those of the row at norm 0.371, and one stored set is float16; their sigma is not the matrix's. 13.x has the raw
centroid, which is on the lattice wherever the holes agree (anchor "centroid").
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
    """The point's place in its cell, then the rows around it."""
    return noisy_cloud(context, anchor_values(context, parameters["anchor"], rng), float(parameters["sigma"]), rng)


HYPOTHESIS = Hypothesis(
    name="snowball",
    title="a float32 point plus noise, rounded",
    story="Rows were drawn in float32 as one vector plus tiny normal noise, stored rounded, and never moved apart.",
    predicts="Product of independent flips: hole sizes fall off as products of the dimensions' flip probabilities.",
    source="founding notebooks 12.1 to 12.3, 13.4a, 15.1a",
    parameters=(SIGMA, anchor_parameter("off")),
    simulate=simulate,
    obstacle=unwritable,
)
