"""The parameters that several hypotheses share, and token ids that some predict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Fixed, LogUniform, Parameter

DEFAULT_RANGE = 0.02
"""GPT-2's, and transformers' where a config says nothing."""

SIGMA = Parameter(
    "sigma",
    "standard deviation of the noise, in the value's unit; the prior is 1e-5 to 10 times the median step at the anchor",
    lambda context: LogUniform(1e-5 * context.median_step, 10 * context.median_step),
)


def anchor_parameter(anchor: str) -> Parameter:
    """Where the point lies; see :func:`forensics.hypotheses.sampling.anchors.anchor_values`."""
    return Parameter("anchor", "where the point lies: on, off or centroid", lambda context: Fixed(anchor))


def initializer_range(context: Context) -> float:
    """The config's standard deviation, or the usual one."""
    return DEFAULT_RANGE if context.initializer_range is None else context.initializer_range


CONFIG_SIGMA = Parameter(
    "sigma",
    "standard deviation: the config's initializer_range, 0.02 if it says nothing",
    lambda context: Fixed(initializer_range(context)),
)


def tail_ids(context: Context) -> NDArray[np.int64]:
    """The last ids of the vocabulary, one a dead row."""
    return np.arange(context.vocab - context.n_rows, context.vocab, dtype=np.int64)
