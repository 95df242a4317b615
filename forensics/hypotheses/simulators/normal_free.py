"""Independent normal numbers around zero, of whatever scale: N(0, sigma), never moved.

As :mod:`forensics.hypotheses.simulators.normal`, for matrices whose config does not say how they were initialised, or
whose rows decay alone has shrunk: without a gradient, decoupled weight decay multiplies every row by the same factor.
"""

from __future__ import annotations

from forensics.hypotheses.hypothesis import Hypothesis, LogUniform, Parameter
from forensics.hypotheses.sampling.clouds import unwritable
from forensics.hypotheses.sampling.parameters import initializer_range
from forensics.hypotheses.simulators.normal import simulate

HYPOTHESIS = Hypothesis(
    name="normal_free",
    title="normal noise around zero of any scale",
    story="Rows are independent normal numbers of some scale, perhaps shrunk by decay, and nothing else moved them.",
    predicts="All rows different, norms of sigma sqrt(D) with a spread of 1 / sqrt(2 D), centroid near zero.",
    source="founding 1.10b, c",
    parameters=(
        Parameter(
            "sigma",
            "standard deviation; the prior is a hundredth to a hundred times the config's",
            lambda context: LogUniform(0.01 * initializer_range(context), 100 * initializer_range(context)),
        ),
    ),
    simulate=simulate,
    obstacle=unwritable,
)
