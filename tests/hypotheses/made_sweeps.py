"""What the tests of sweeps simulate: a user's file that is quick, uneven and raises now and then."""

import numpy as np

from forensics.formats import BFLOAT16
from forensics.hypotheses.context import Context
from forensics.hypotheses.sweeps.reference import Reference

FILE = """
import time
import numpy as np
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.hypothesis import Hypothesis, LogUniform, Parameter

def simulate(context, parameters, rng):
    time.sleep({pause} * rng.random())
    if rng.random() < {fails}:
        raise ValueError("one of three")
    noise = parameters["sigma"] * rng.standard_normal((context.n_rows, context.dim))
    rows = context.format.narrow((context.values + noise).astype(np.float32))
    return Cloud.from_rows(rows, context.format, context.dim)

HYPOTHESIS = Hypothesis(
    name="{name}", title="noise", story="A story.", predicts="Something.", source="a test", simulate=simulate,
    slow={slow},
    parameters=(
        Parameter("sigma", "noise", lambda c: LogUniform(c.median_step / 100, 10 * c.median_step)),
    ),
)
"""


def write_file(folder, *, name="uneven", pause=0.0, slow=False, fails=1 / 3):
    """The hypothesis in a file of the folder; its path as text."""
    path = folder / f"{name}.py"
    path.write_text(FILE.format(name=name, pause=pause, slow=slow, fails=fails))
    return str(path)


def make_reference(folder, **options):
    return Reference.of(write_file(folder, **options))


def small_context(rows=20, dim=16):
    values = np.random.default_rng(0).standard_normal(dim).astype(np.float32)
    values *= np.float32(0.37) / np.linalg.norm(values)
    return Context(rows, dim, BFLOAT16, BFLOAT16.narrow(values), values, 1000, 0.02)
