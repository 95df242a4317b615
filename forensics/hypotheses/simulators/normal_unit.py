"""The rows of ``torch.nn.Embedding`` as it comes: N(0, 1), never moved."""

from __future__ import annotations

from forensics.hypotheses.hypothesis import Fixed, Hypothesis, Parameter
from forensics.hypotheses.sampling.clouds import unwritable
from forensics.hypotheses.simulators.normal import simulate

HYPOTHESIS = Hypothesis(
    name="normal_unit",
    title="torch's default initialisation, untouched",
    story="Rows are as torch.nn.Embedding makes them, N(0, 1), and no training moved them.",
    predicts="All rows different, norms near sqrt(D), centroid near zero.",
    source="torch.nn.Embedding",
    parameters=(Parameter("sigma", "standard deviation", lambda context: Fixed(1.0)),),
    simulate=simulate,
    obstacle=unwritable,
)
