"""What the driven hypotheses share: their parameters, their push, and the start that ends at a given place.

Trap: a parametric push says how rows move apart or together, not where a run took them, since h's direction is drawn.
Of the tight clouds the start is therefore chosen so that a row without noise ends at the subject's anchor: place and
cells agree by construction, and what is compared is the cloud's shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from forensics.errors import HypothesisError
from forensics.formats import FLOAT32, FloatFormat, float_format
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.driving.course import Course
from forensics.hypotheses.driving.driver import drive
from forensics.hypotheses.driving.push import Means
from forensics.hypotheses.hypothesis import Fixed, LogUniform, Parameter, Parameters
from forensics.hypotheses.sampling.clouds import drawn_format, stored, unwritable
from forensics.toy.schedule import Schedule
from forensics.updates import POLICIES, Policy, Rule
from forensics.updates.threads import one_thread

Values = NDArray[np.float32]

STEPS = 300
"""Updates of a simulation: some seconds for 2,221 different rows of 2,560 words, which is what bounds them."""

SHOTS = 4
"""Corrections of the start, each by what the row then misses the target by; it never meets it exactly, since cells of
large numbers are too coarse for a small move."""

DRIVE: tuple[Parameter, ...] = (
    Parameter(
        "lr",
        "peak learning rate; the prior is that of published pretraining, large models to toys",
        lambda context: LogUniform(1e-4, 3e-3),
    ),
    Parameter("steps", "updates", lambda context: Fixed(STEPS)),
    Parameter(
        "feedback", "yes: p_i goes with exp(w_i . h); no: all rows get one gradient", lambda context: Fixed("yes")
    ),
    Parameter(
        "precision",
        f"which formats hold what: {', '.join(POLICIES)}",
        lambda context: Fixed("bf16" if drawn_format(context.format).name == "bfloat16" else "f32"),
    ),
    Parameter("weight_decay", "decoupled decay", lambda context: Fixed(0.0)),
    Parameter("schedule", "of the rate: constant, linear or cosine", lambda context: Fixed("constant")),
)
"""Betas (0.9, 0.999) and eps 1e-8 are AdamW's defaults, as the toys have them; h and p are `Course`'s."""


def without_torch() -> str | None:
    """That torch is missing, or None."""
    return None if find_spec("torch") else "torch is not installed (pip install 'embedding-forensics[toy]')"


def undrivable(context: Context) -> str | None:
    """Why no rows can be driven here, or None: an obstacle of every driven hypothesis."""
    return without_torch() or unwritable(context)


def policy_of(parameters: Parameters) -> Policy:
    """The policy that the parameters name.

    Raises:
        HypothesisError: there is none.
    """
    name = str(parameters["precision"])
    if name not in POLICIES:
        raise HypothesisError(f"no precision is called {name!r}", hint=f"one of: {', '.join(POLICIES)}")
    return POLICIES[name]


def draw_pushes(context: Context, parameters: Parameters, rng: np.random.Generator) -> list[Means]:
    """What pushes the rows, update by update.

    Raises:
        HypothesisError: feedback or steps are none.
    """
    feedback, steps = str(parameters["feedback"]), float(parameters["steps"])
    if feedback not in ("yes", "no"):
        raise HypothesisError(f"feedback is {feedback!r}", hint="yes or no")
    if not (steps >= 0 and steps.is_integer()):
        raise HypothesisError(f"steps is {steps:g}", hint="a whole number of updates")
    lr = float(parameters["lr"])
    course = Course(dim=context.dim, vocab=context.vocab, lr=lr, feedback=feedback == "yes")
    return list(course.pushes(int(steps), rng))


def driven_cloud(context: Context, parameters: Parameters, start: Cloud, pushes: Sequence[Means], seed: int) -> Cloud:
    """The start after all pushes, in the subject's stored format."""
    with one_thread():
        end = _drive(start, pushes, parameters, seed)
    fmt = drawn_format(context.format)
    if end.format != fmt:
        end = Cloud.from_rows(fmt.narrow(end.distinct_values())[end.pattern_of], fmt, end.dim)
    return stored(context, end)


def start_towards(target: Values, pushes: Sequence[Means], parameters: Parameters) -> Values:
    """The point ``float32[D]`` from which a row alone is pushed to the target.

    Args:
        target: ``float32[D]``, where it is to end.
        pushes: what pushes it; without others beside it, feedback changes nothing.
        parameters: of the drive.
    """
    point = target
    with one_thread():
        for _ in range(SHOTS):
            row = Cloud.from_rows(FLOAT32.narrow(point)[np.newaxis], FLOAT32, len(point))
            end = _drive(row, pushes, parameters, 0).distinct_values()[0]
            point = point + (target - end)
    return point


def start_format(parameters: Parameters) -> FloatFormat:
    """The format that the weights are trained in."""
    return float_format(policy_of(parameters).weights)


def _drive(start: Cloud, pushes: Sequence[Means], parameters: Parameters, seed: int) -> Cloud:
    rule = Rule(lr=float(parameters["lr"]), weight_decay=float(parameters["weight_decay"]))
    schedule = Schedule(kind=str(parameters["schedule"]))  # type: ignore[arg-type]  # it says what it can be
    return drive(start, pushes, rule=rule, policy=policy_of(parameters), schedule=schedule, seed=seed)
