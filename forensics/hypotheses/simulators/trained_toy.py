"""The trained toy itself: a preset is trained with a seed of its own, and its dead rows at the last step are the cloud.

It has as many dead tokens as the subject, beside the preset's own live ones.
Traps: its width, vocabulary and format are the toy's, not the subject's, so that only scale-free observables are set
side by side, of steps only in one format (norms over the config's initialisation grow as 1/sqrt(D): a few nats over
|h|, against sigma sqrt(D)); its ids are placed by construction and predict nothing.
"""

from __future__ import annotations

import numpy as np

from forensics.errors import ConfigError, HypothesisError, TrainingError
from forensics.formats import FloatFormat, Words, float_format
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.driving.hypothesis import without_torch
from forensics.hypotheses.hypothesis import Fixed, Hypothesis, LogUniform, Parameter, Parameters
from forensics.hypotheses.sampling.parameters import initializer_range
from forensics.toy.config import RunConfig, override
from forensics.toy.presets import DEFAULT, load_config
from forensics.toy.synthetic_text import SyntheticText
from forensics.updates.threads import one_thread

MAX_DEAD = 2_221
"""Dead tokens of a toy at most, as many as the published cloud has: each is a row of its softmax, in every update."""


def simulate(context: Context, parameters: Parameters, rng: np.random.Generator) -> Cloud:
    """Trains a toy.

    Raises:
        HypothesisError: no such preset, it has another number of dead tokens, or its training diverges.
    """
    seed = int(rng.integers(2**31))
    try:
        config = toy_config(parameters, seed, context.n_rows)
        with one_thread():
            words, fmt = _dead_rows(config, context.n_rows)
    except (ConfigError, TrainingError) as error:
        raise HypothesisError(f"the toy cannot be trained: {error.message}", hint=error.hint) from None
    return Cloud.from_rows(words, fmt, config.model.dim)


def toy_config(parameters: Parameters, seed: int, dead: int) -> RunConfig:
    """The run that the parameters and a seed name, with ``dead`` dead tokens if its corpus is synthetic.

    Raises:
        ConfigError: there is no such preset, or a value is out of range.
    """
    config = load_config(str(parameters["preset"]))
    settings = [f"seed={seed}", f"optimizer.lr={parameters['lr']}", "initial.tokens.kind=normal"]
    settings.append(f"initial.tokens.sigma={parameters['sigma']}")
    if float(parameters["steps"]) > 0:
        settings.append(f"steps={int(float(parameters['steps']))}")
    if isinstance(config.corpus, SyntheticText):
        live = config.corpus.vocab - config.corpus.dead
        settings += [f"corpus.vocab={live + dead}", f"corpus.dead={dead}"]
    return override(config, settings)


def obstacle(context: Context) -> str | None:
    """Why no toy can stand for the subject here, or None."""
    if context.n_rows > MAX_DEAD:
        return f"{context.n_rows:,} dead tokens are more than a toy is trained with ({MAX_DEAD:,})"
    return without_torch()


def _dead_rows(config: RunConfig, n: int) -> tuple[Words, FloatFormat]:
    """Words ``uint[n, D]`` of the dead rows after the last update.

    Raises:
        HypothesisError: not ``n`` tokens are dead.
        TrainingError: a number is no longer finite.
    """
    import torch

    from forensics.toy.corpus import build_corpus
    from forensics.toy.loop import Training, train

    corpus = build_corpus(config.corpus)
    if len(corpus.dead_ids) != n:
        raise HypothesisError(
            f"the toy has {len(corpus.dead_ids):,} dead tokens, the subject {n:,}: shares of them are not compared",
            hint="name a preset of a synthetic corpus, whose dead tokens are set",
        )
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
    obstacle=obstacle,
    slow=True,
    other_size=True,
)
