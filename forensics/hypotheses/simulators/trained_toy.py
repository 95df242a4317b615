"""The trained toy itself: a preset is trained with a seed of its own, and its dead rows at the last step are the cloud.

Traps: its rows, width, vocabulary and format are the toy's, not the subject's, so that only scale-free observables can
be set side by side (norms over the config's initialisation grow as 1/sqrt(D): a few nats over |h|, against sigma
sqrt(D)); its ids are placed by construction and predict nothing.
"""

from __future__ import annotations

import numpy as np

from forensics.errors import ConfigError, HypothesisError, TrainingError
from forensics.formats import FloatFormat, Words, float_format
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.driving.tensors import one_thread
from forensics.hypotheses.hypothesis import Fixed, Hypothesis, LogUniform, Parameter, Parameters
from forensics.hypotheses.sampling.parameters import initializer_range
from forensics.toy.config import RunConfig, override
from forensics.toy.presets import DEFAULT, load_config


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """Trains a toy.

    Raises:
        HypothesisError: no such preset, it has no dead tokens, or its training diverges.
    """
    seed = int(rng.integers(2**31))
    try:
        config = toy_config(parameters, seed)
        with one_thread():
            words, fmt = _dead_rows(config)
    except (ConfigError, TrainingError) as error:
        raise HypothesisError(f"the toy cannot be trained: {error.message}", hint=error.hint) from None
    return Cloud.from_rows(words, fmt, config.model.dim)


def toy_config(parameters: Parameters, seed: int) -> RunConfig:
    """The run that the parameters and a seed name.

    Raises:
        ConfigError: there is no such preset, or a value is out of range.
    """
    config = load_config(str(parameters["preset"]))
    settings = [f"seed={seed}", f"optimizer.lr={parameters['lr']}", "initial.tokens.kind=normal"]
    settings.append(f"initial.tokens.sigma={parameters['sigma']}")
    if float(parameters["steps"]) > 0:
        settings.append(f"steps={int(float(parameters['steps']))}")
    return override(config, settings)


def _dead_rows(config: RunConfig) -> tuple[Words, FloatFormat]:
    """Words ``uint[n, D]`` of the dead rows after the last update.

    Raises:
        ConfigError: no token is dead.
        TrainingError: a number is no longer finite.
    """
    import torch

    from forensics.toy.corpus import build_corpus
    from forensics.toy.loop import Training, train

    corpus = build_corpus(config.corpus)
    corpus.require_dead()
    training = Training.start(config, corpus)
    for _ in train(training):
        pass
    rows = training.weights[torch.from_numpy(corpus.dead_ids)].contiguous()
    fmt = float_format(config.policy.weights)
    signed = rows.view({2: torch.int16, 4: torch.int32}[fmt.itemsize])
    return signed.numpy().view(fmt.word_dtype), fmt


HYPOTHESIS = Hypothesis(
    name="trained_toy",
    title="a toy language model's own dead rows",
    story="A small transformer was trained from N(0, sigma); the rows are those of the tokens that it never saw.",
    predicts="Holes where training moved rows to coarser cells than the noise they began with; none where it did not.",
    source="the presets of forensics.toy; founding Crucible, Thimble, Flannel",
    parameters=(
        Parameter(
            "sigma",
            "standard deviation of its tokens; the prior is a tenth to twice the config's initializer_range",
            lambda context: LogUniform(0.1 * initializer_range(context), 2 * initializer_range(context)),
        ),
        Parameter("lr", "its learning rate; toys use 1e-3", lambda context: LogUniform(3e-4, 3e-3)),
        Parameter("preset", "what is trained, a preset's name or a TOML file", lambda context: Fixed(DEFAULT)),
        Parameter("steps", "updates; 0 for the preset's own", lambda context: Fixed(0.0)),
    ),
    simulate=simulate,
    slow=True,
)
