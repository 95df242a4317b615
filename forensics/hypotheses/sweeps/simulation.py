"""One simulation: its parameters drawn, its rows drawn, its observables measured; by number, the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from forensics.errors import HypothesisError
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Hypothesis
from forensics.hypotheses.observables import OBSERVABLES, Values, measure_cloud

GROWTH = 16
"""Times the subject's rows that are drawn at most so that as many are in holes. With as many drawn as the subject has
in holes, 5 of 12 true snowballs of 300 rows (sigma 0.004 of the median step, 200 simulations) were rejected at 0.01;
grown so, one."""

MOST_NUMBERS = 1 << 24
"""Numbers of the rows that are so drawn at most, if the subject's own are not more: 64 MB of float32."""

ENOUGH = 0.9
"""Share of the subject's rows in holes from which on a simulation has enough."""

ERROR_LENGTH = 300
"""Characters kept of what a hypothesis raised: a line to read, not a page."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What one simulation gave.

    Attributes:
        hypothesis: its name.
        index: its number, from 0: the seed, the name and the number fix every word.
        parameters: as they were drawn.
        observables: of the drawn rows; undefined ones are None. Empty if it failed.
        error: what it raised, such as "ValueError: sigma"; None if it went well.
    """

    hypothesis: str
    index: int
    parameters: dict[str, float | str]
    observables: dict[str, float | None]
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """All of it but the hypothesis's name, which a store's file has."""
        return {
            "index": self.index,
            "parameters": self.parameters,
            "observables": self.observables,
            "error": self.error,
        }


def simulate_one(hypothesis: Hypothesis, context: Context, seed: int, index: int) -> Simulation:
    """Draws parameters and rows and measures them.

    A hypothesis that raises ends this simulation alone: the error is its result. Interrupts and a full memory are
    nobody's result and go on up.

    Args:
        hypothesis: what to simulate.
        context: what it is told.
        seed: of the whole sweep.
        index: the simulation's number.
    """
    parameters: dict[str, float | str] = {}
    try:
        rng = _generator(hypothesis, seed, index)
        parameters = _parameters(hypothesis, context, rng)
        cloud = _rows(hypothesis, context, parameters, rng)
        observables = {name: _measured(name, value) for name, value in _measure(hypothesis, context, cloud).items()}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever foreign code raises
        # A user's own file can raise anything at all, and the other simulations do not depend on it.
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return Simulation(hypothesis.name, index, parameters, {}, line[:ERROR_LENGTH])
    return Simulation(hypothesis.name, index, parameters, observables)


def draw(
    hypothesis: Hypothesis,
    context: Context,
    seed: int,
    index: int = 0,
    settings: Mapping[str, float | str] | None = None,
) -> tuple[dict[str, float | str], Cloud]:
    """The parameters and the rows of one simulation.

    The generator is numpy's default over SeedSequence([seed, crc32(name), index]); parameters are drawn first, those
    that are set among them, so that setting one leaves the others as they were.

    Args:
        hypothesis: what to simulate.
        context: what it is told.
        seed: from 0.
        index: the simulation's number, from 0.
        settings: parameters to be set rather than drawn.

    Raises:
        HypothesisError: a parameter that is not a finite number or a word, or rows that are none.
    """
    rng = _generator(hypothesis, seed, index)
    parameters = {**_parameters(hypothesis, context, rng), **(settings or {})}
    return parameters, _rows(hypothesis, context, parameters, rng)


def _generator(hypothesis: Hypothesis, seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, crc32(hypothesis.name.encode()), index]))


def _parameters(hypothesis: Hypothesis, context: Context, rng: np.random.Generator) -> dict[str, float | str]:
    drawn = hypothesis.draw_parameters(context.told(hypothesis.needs_live), rng)
    return {name: _plain(name, value) for name, value in drawn.items()}


def _rows(
    hypothesis: Hypothesis, context: Context, parameters: Mapping[str, float | str], rng: np.random.Generator
) -> Cloud:
    """The rows; where only those in holes count, of so many that about the subject's number share theirs."""
    cloud = _drawn(hypothesis, context, parameters, rng)
    most = min(GROWTH * context.n_rows, context.vocab, MOST_NUMBERS // context.dim)
    while context.only_in_holes and not hypothesis.slow and len(cloud) < most:
        shared = int(cloud.populations[cloud.populations > 1].sum())
        if shared >= ENOUGH * context.n_rows:
            break
        n = min(most, len(cloud) * context.n_rows // max(shared, 1) + 1)
        cloud = _drawn(hypothesis, replace(context, n_rows=n), parameters, rng)
    return cloud


def _drawn(
    hypothesis: Hypothesis, context: Context, parameters: Mapping[str, float | str], rng: np.random.Generator
) -> Cloud:
    cloud = hypothesis.simulate(context.told(hypothesis.needs_live), parameters, rng)
    if not isinstance(cloud, Cloud) or not len(cloud):
        found = "no rows" if isinstance(cloud, Cloud) else type(cloud).__name__
        raise HypothesisError(f"{hypothesis.name}: a simulation gives a Cloud of rows, found {found}")
    return cloud


def _measure(hypothesis: Hypothesis, context: Context, cloud: Cloud) -> Values:
    """The observables of the rows that the subject's selection would take, as far as they can be compared."""
    if context.only_in_holes:
        shared = cloud.populations[cloud.pattern_of] > 1
        if not shared.any():
            # Without a hole nothing is defined but that there is none.
            return {name: 0.0 if name == "holes" else None for name, o in OBSERVABLES.items() if o.needs != "live"}
        ids = None if cloud.token_ids is None else cloud.token_ids[shared]
        words = cloud.patterns[cloud.pattern_of[shared]]
        cloud = Cloud.from_active(cloud.row, cloud.active, words, cloud.format, cloud.dim, ids)
    values = measure_cloud(cloud, context)
    if not hypothesis.other_size:
        return values
    return {name: value if _comparable(name, cloud, context) else None for name, value in values.items()}


def _comparable(name: str, cloud: Cloud, context: Context) -> bool:
    """Whether a cloud of another width, and perhaps another format, can be held against the subject's by it."""
    o = OBSERVABLES[name]
    return o.scale_free and (o.unit != "steps" or cloud.format == context.format)


def _plain(name: str, value: Any) -> float | str:
    return value if isinstance(value, str) else _finite(f"parameter {name}", value)


def _measured(name: str, value: float | None) -> float | None:
    # Rows with infinities in them have figures that are no numbers, which no distance can be taken of.
    return None if value is None else _finite(name, value)


def _finite(what: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise HypothesisError(f"{what} is {number}, expected a finite number")
    return number
