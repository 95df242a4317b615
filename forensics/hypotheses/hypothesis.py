"""What a hypothesis is: a simulator of the dead tokens' rows, with its parameters, priors and source.

A hypothesis is one module of :mod:`forensics.hypotheses.simulators` that defines ``HYPOTHESIS``, or one such file of a
user's own; the list is found, not kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forensics.errors import HypothesisError
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context, Law

Parameters = Mapping[str, float | str]

Simulate = Callable[[Context, Parameters, np.random.Generator], Cloud]
"""Draws the dead rows once: the same context, parameters and generator state give the same words."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform between two numbers."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """One number."""
        return float(rng.uniform(self.low, self.high))

    def __str__(self) -> str:
        return f"uniform {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class LogUniform:
    """Uniform in the logarithm: every decade alike."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """One number."""
        return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))

    def __str__(self) -> str:
        return f"log-uniform {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Fixed:
    """One number, or one word."""

    value: float | str

    def draw(self, rng: np.random.Generator) -> float | str:
        """That one."""
        return self.value

    def __str__(self) -> str:
        return f"{self.value}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words, each as likely."""

    values: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> str:
        """One of them."""
        return self.values[int(rng.integers(len(self.values)))]

    def __str__(self) -> str:
        return f"one of {', '.join(self.values)}"


Prior = Uniform | LogUniform | Fixed | OneOf


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a hypothesis.

    Attributes:
        name: as ``--set name=value`` has it.
        meaning: one line, with the unit.
        prior: what is believed of it before looking, for a context (a noise is judged against the format's step).
    """

    name: str
    meaning: str
    prior: Callable[[Context], Prior]


_TEXT = (str, "a text")
_FLAG = (bool, "True or False")
_KINDS: Mapping[str, tuple[Any, str]] = {
    **dict.fromkeys(("name", "title", "story", "predicts", "source"), _TEXT),
    **dict.fromkeys(("slow", "other_size"), _FLAG),
    **dict.fromkeys(("same_as", "needs_live"), ((str, type(None)), "a text or None")),
    "parameters": (tuple, "a tuple of Parameter"),
}
_HINT = "the fields are those of forensics.hypotheses.hypothesis.Hypothesis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A way in which the dead rows could have come about.

    Attributes:
        name: as ``--only`` has it.
        title: a few words.
        story: what happened, one or two sentences.
        predicts: what one should see, one sentence.
        source: the paper, notebook or derivation that it is from.
        parameters: with their priors.
        simulate: draws the rows.
        obstacle: why it cannot be simulated in a context, or None; it may need the live rows, say.
        slow: a simulation takes a second or more at 2,221 x 2,560, so that it is left out unless asked for by name.
        needs_live: "mean" or "covariance" of the live rows, which the context then holds where they were measured;
            None: its context never does, whoever else is simulated.
        other_size: its clouds have another width than the subject, so that only scale-free observables are kept.
        same_as: the hypothesis that is argued to give the same distribution, or None; the test shows whether it does.
    """

    name: str
    title: str
    story: str
    predicts: str
    source: str
    simulate: Simulate
    parameters: tuple[Parameter, ...] = ()
    obstacle: Callable[[Context], str | None] = field(default=lambda context: None)
    slow: bool = False
    needs_live: Law | None = None
    other_size: bool = False
    same_as: str | None = None

    def __post_init__(self) -> None:
        """Checks the kinds of the fields.

        Raises:
            HypothesisError: one of them is of another kind; the message names it.
        """
        for name, (kinds, said) in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) or value == "":
                raise HypothesisError(f"{name} is to be {said}, found {value!r}"[:200], hint=_HINT)
        for name in ("simulate", "obstacle"):
            if not callable(getattr(self, name)):
                raise HypothesisError(f"{name} is to be a function, found {getattr(self, name)!r}"[:200], hint=_HINT)
        for each in self.parameters:
            if not isinstance(each, Parameter) or not isinstance(each.name, str) or not callable(each.prior):
                raise HypothesisError(
                    f"parameters is to be a tuple of Parameter(name, meaning, prior), found {each!r}"[:200], hint=_HINT
                )
        if len({each.name for each in self.parameters}) < len(self.parameters):
            raise HypothesisError("parameters has two of one name", hint="each name once")

    def draw_parameters(self, context: Context, rng: np.random.Generator) -> dict[str, float | str]:
        """One value of each parameter from its prior."""
        return {p.name: p.prior(context).draw(rng) for p in self.parameters}

    def to_dict(self, context: Context) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "story": self.story,
            "predicts": self.predicts,
            "source": self.source,
            "parameters": {p.name: {"meaning": p.meaning, "prior": str(p.prior(context))} for p in self.parameters},
        }
