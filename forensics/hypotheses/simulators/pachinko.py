"""Pachinko: N(0, sigma), then a common drift in shrinking steps, rounded to the lattice after each.

w_0 = b(sigma z); w_t = b(w_{t-1} + s_t a), where a is the stored row that most dead tokens hold and
s_t = reach (1 - r) r^(t-1) / (1 - r^T): T steps that shrink by the ratio r and add up to ``reach`` times a.
The drift stalls. At the fraction f of the way a number is f a and its half step 2^-9 to 2^-8 of it (bfloat16); a step
s_t a below that is rounded away. With the defaults that is from f = 0.76 (mantissa empty) to 0.88 (full), see
:func:`forensics.hypotheses.founding.stall`; roundings outwards carry numbers on to 0.92, and the norm stops at 0.88.
Trap: published with sigma 1e-4, far above the steps at the goal, so that no hole could form whatever the drift; its
steps of 0.003 * 0.99^t add up to 0.285, less than the goal's norm 0.371. It stalled at 0.248, and so does a replay.
"""

from __future__ import annotations

import numpy as np

from forensics.errors import HypothesisError
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Fixed, Hypothesis, Parameter, Parameters
from forensics.hypotheses.sampling.clouds import cloud_of, drawn_format, unwritable
from forensics.hypotheses.sampling.parameters import SIGMA
from forensics.hypotheses.sampling.walk import walk
from forensics.initialisation import Normal, draw


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """The noise around zero, then the walk.

    Raises:
        HypothesisError: steps that are no whole number from 1, or a ratio that is not above 0 and at most 1.
    """
    ratio, steps = float(parameters["ratio"]), float(parameters["steps"])
    if not (steps >= 1 and steps.is_integer()):
        raise HypothesisError(f"steps is {steps:g}", hint="a whole number from 1")
    if not 0 < ratio <= 1:
        raise HypothesisError(f"ratio is {ratio:g}", hint="above 0, at most 1")
    fmt = drawn_format(context.format)
    start = draw(Normal(sigma=float(parameters["sigma"])), context.n_rows, context.dim, fmt, rng)
    lengths = ratio ** np.arange(int(steps))
    lengths *= float(parameters["reach"]) / lengths.sum()
    return cloud_of(context, walk(start, [(length * context.values).astype(np.float32) for length in lengths], fmt))


HYPOTHESIS = Hypothesis(
    name="pachinko",
    title="noise around zero, drifting in shrinking steps",
    story="Rows started as noise around zero; a common drift that slowed down carried them, rounded at every step.",
    predicts="The rows stall short of the goal; they meet only if sigma is below the steps where they stop.",
    source="founding box_4, pachinko",
    parameters=(
        SIGMA,
        Parameter("ratio", "of a step's length to the one before", lambda context: Fixed(0.99)),
        Parameter("steps", "number of steps", lambda context: Fixed(300.0)),
        Parameter("reach", "sum of the steps over the way from zero to the stored row", lambda context: Fixed(1.0)),
    ),
    simulate=simulate,
    obstacle=unwritable,
)
