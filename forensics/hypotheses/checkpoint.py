"""A simulated cloud as a checkpoint folder that every verb reads, with the truth beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from forensics.errors import ForensicsError, HypothesisError
from forensics.formats import FloatFormat, Words, float_format
from forensics.hypotheses.checkpoint_blocks import write_blocks
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Fixed, Hypothesis, LogUniform, OneOf
from forensics.hypotheses.sweeps.simulation import draw
from forensics.synthetic.planted import Planted, qwen3_config
from forensics.synthetic.writer import refuse_foreign

ROWS, DIM, NORM, FORMAT = 2221, 2560, 0.3709, "bfloat16"
"""Of the dead tokens of Qwen3-4B-Instruct-2507, as published: within the radius, and the norm of their centroid."""

VOCAB = 151_936
"""Of the same model: what a hypothesis that draws a whole vocabulary draws."""

INITIALIZER_RANGE = 0.02

BLOCK_ROWS = 4096
"""Rows written at once: tens of MB at most."""


def random_context(
    *, rows: int = ROWS, dim: int = DIM, norm: float = NORM, fmt: str = FORMAT, seed: int = 0
) -> Context:
    """An anchor in a random direction, for simulators that are told of no model.

    The anchor is rounded to the format; the centroid is the same point before that, off the lattice.

    Args:
        rows: dead tokens.
        dim: numbers in a row.
        norm: of the anchor, 0 or more.
        fmt: name of a float format.
        seed: of the direction.

    Raises:
        FormatError: no such format.
        HypothesisError: no norm, or one that the format cannot hold.
    """
    number_format = float_format(fmt)
    rng = np.random.default_rng(np.random.SeedSequence([seed, crc32(b"anchor")]))
    direction = rng.standard_normal(dim)
    with np.errstate(over="ignore", invalid="ignore"):  # a norm that does not fit is refused below
        values = (direction * (norm / np.linalg.norm(direction))).astype(np.float32)
        anchor = number_format.narrow(values)
    if not math.isfinite(norm) or norm < 0 or not np.isfinite(number_format.widen(anchor)).all():
        raise HypothesisError(f"norm {norm:g}: expected a number from 0 that {fmt} holds")
    return Context(rows, dim, number_format, anchor, values, max(rows, VOCAB), INITIALIZER_RANGE)


def read_settings(hypothesis: Hypothesis, context: Context, given: Mapping[str, str]) -> dict[str, float | str]:
    """Parameters as a user writes them.

    A prior says what a sweep draws, not what can be simulated: a number beyond it is taken, but not one below 0 of a
    log-uniform prior, which is a scale.

    Args:
        hypothesis: whose parameters they are.
        context: what the priors are for.
        given: text by name.

    Raises:
        HypothesisError: no such parameter, no number where one belongs, or a scale below 0.
    """
    priors = {p.name: p.prior(context) for p in hypothesis.parameters}
    settings: dict[str, float | str] = {}
    for name, text in given.items():
        if name not in priors:
            known = ", ".join(priors) or "it has none"
            raise HypothesisError(f"{hypothesis.name}: no parameter {name!r}", hint=f"its parameters: {known}")
        prior = priors[name]
        if isinstance(prior, OneOf) or (isinstance(prior, Fixed) and isinstance(prior.value, str)):
            settings[name] = text
            continue
        settings[name] = value = _number(hypothesis.name, name, text)
        if value < 0 and (isinstance(prior, LogUniform) or name == "sigma"):
            raise HypothesisError(f"{hypothesis.name}: {name} is a number from 0, found {text}")
    return settings


def write_simulation(
    hypothesis: Hypothesis,
    context: Context,
    folder: Path,
    *,
    seed: int = 0,
    index: int = 0,
    settings: Mapping[str, float | str] | None = None,
    like: str | None = None,
) -> None:
    """Writes the dead rows that a hypothesis draws as a checkpoint of these tokens alone.

    A safetensors checkpoint with its config, or of a quantised format model.gguf; and truth.json.

    Args:
        hypothesis: what to simulate.
        context: what it is told.
        folder: made if it is not there.
        seed: from 0.
        index: which simulation of a sweep of that seed.
        settings: parameters to be set rather than drawn.
        like: the SOURCE that the context is of; None of a random anchor.

    Raises:
        HypothesisError: the hypothesis cannot be simulated so, or raises.
        OutputError: the folder holds anything but an earlier simulation, or cannot be written.
    """
    refuse_foreign(folder, None, "simulated", has="hypothesis")
    obstacle = hypothesis.obstacle(context)
    if obstacle:
        lacks = hypothesis.needs_live is not None and context.live is None
        raise HypothesisError(f"{hypothesis.name}: {obstacle}", hint="name a model with --like" if lacks else None)
    try:
        parameters, cloud = draw(hypothesis, context, seed, index, settings)
    except MemoryError:
        raise
    except ForensicsError as error:
        said = error.message.removeprefix(f"{hypothesis.name}: ")
        raise HypothesisError(f"{hypothesis.name}: {said}", hint=error.hint) from error
    except Exception as error:  # whatever foreign code raises, see simulate_one
        raise HypothesisError(f"{hypothesis.name}: {type(error).__name__}: {error}") from error
    truth = {
        "name": hypothesis.name,
        "rows": len(cloud),
        "dim": cloud.dim,
        "dtype": cloud.format.name,
        "hypothesis": hypothesis.to_dict(context),
        "parameters": parameters,
        "seed": seed,
        "index": index,
        "anchor": {
            "like": like,
            "norm": float(np.linalg.norm(context.values.astype(np.float64))),
            "words": " ".join(f"{word:0{2 * context.anchor.itemsize}x}" for word in context.anchor.tolist()),
        },
        "token_ids": None if cloud.token_ids is None else cloud.token_ids.tolist(),
        "holes": [int(n) for n in cloud.populations if n > 1],
        "distinct_rows": len(cloud.patterns),
    }
    if isinstance(cloud.format, FloatFormat):
        _planted(cloud, cloud.format, context, truth).write(folder)
    else:
        write_blocks(cloud, truth, folder)


def _planted(cloud: Cloud, fmt: FloatFormat, context: Context, truth: dict[str, Any]) -> Planted:
    n = len(cloud)
    config = qwen3_config(n, cloud.dim, fmt)
    if context.initializer_range is not None:
        config["initializer_range"] = context.initializer_range

    def stream() -> Iterator[Words]:
        for start in range(0, n, BLOCK_ROWS):
            yield replace(cloud, pattern_of=cloud.pattern_of[start : start + BLOCK_ROWS], token_ids=None).rows()

    return Planted(truth["name"], fmt, n, cloud.dim, truth["seed"], config, truth, stream)


def _number(hypothesis: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HypothesisError(f"{hypothesis}: {name} is a finite number, found {text!r}")
    return value
