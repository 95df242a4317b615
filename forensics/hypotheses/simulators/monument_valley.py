"""Monument Valley: the whole vocabulary is a snowball, and the dead rows are those that survived.

All ``vocab`` rows are drawn as in :mod:`forensics.hypotheses.simulators.snowball`; a uniform choice of them survives.
Rows are independent and alike and survival does not look at them, so the survivors are independent draws of the same
law: statistically this is the snowball (exchangeability), whatever the vocabulary. It is drawn in full all the same,
so that a test can show it.
Trap: the published "direct 12.8 holes against Monument Valley's 5.8" compares two anchors (centred, raw), not two
stories.
"""

from __future__ import annotations

import numpy as np

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Hypothesis, Parameters
from forensics.hypotheses.sampling.anchors import anchor_values
from forensics.hypotheses.sampling.clouds import cloud_on, drawn_format, unwritable
from forensics.hypotheses.sampling.parameters import SIGMA, anchor_parameter
from forensics.hypotheses.sampling.sampler import Noise, Sampler

BLOCK_BYTES = 16 << 20
"""Words held at a time, so that a wide cloud of a whole vocabulary costs tens of MB, not hundreds."""


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """Every row of the vocabulary, block by block, of which the survivors are kept."""
    centre = anchor_values(context, parameters["anchor"], rng)
    noise = Noise(centre, float(parameters["sigma"]), drawn_format(context.format))
    sampler = Sampler(noise, context.vocab)
    survivors = np.sort(rng.choice(context.vocab, context.n_rows, replace=False, shuffle=False))
    words = np.empty((context.n_rows, len(sampler.active)), sampler.row.dtype)
    step = max(1, BLOCK_BYTES // max(1, words[:1].nbytes))
    for start in range(0, context.vocab, step):
        drawn = sampler.draw(min(step, context.vocab - start), rng)
        first, last = np.searchsorted(survivors, (start, start + len(drawn)))
        words[first:last] = drawn[survivors[first:last] - start]
    return cloud_on(context, sampler.row, sampler.active, words)


HYPOTHESIS = Hypothesis(
    name="monument_valley",
    title="a snowball of the whole vocabulary, survived",
    story="The whole vocabulary started as one point plus noise; training carried most rows away, these it left.",
    predicts="What the snowball predicts.",
    source="founding notebooks 13.3a to f",
    parameters=(SIGMA, anchor_parameter("off")),
    simulate=simulate,
    obstacle=unwritable,
    slow=True,
    same_as="snowball",
)
