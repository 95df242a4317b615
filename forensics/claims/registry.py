"""The quantities that a claim can be about: each a function that names itself, its unit, set and definition.

A quantity's parameters are the keyword-only arguments of its function; their types say what a claims file may give.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal, NewType, TypeVar, get_args, get_origin, get_type_hints

from forensics.claims.claim import Value
from forensics.errors import SelectionError
from forensics.lattice.selections import parse_selection

Kind = Literal["number", "number or never", "numbers", "text"]
Subject = Literal["matrix", "recording"]

Statistic = Literal["mean", "std", "min", "median", "max"]
"""Of numpy: a deviation is over the population (n)."""

Which = Literal["dead", "live"]

Selection = NewType("Selection", str)
"""A named set of tokens about the holes; see `forensics.lattice.selections`."""

Rows = NewType("Rows", str)
"""The rows that a figure is over: all, in-hole, rest, or hole:N."""

Share = NewType("Share", float)
"""Above 0, at most 1."""

Function = TypeVar("Function", bound=Callable[..., Any])

LAST = 10**9
"""A step beyond any run's: "to the end"."""

OF_CHANNEL = "of the channel"
"""The unit of what is in the unit of a recorded channel."""

_MODULES = ("quantities_rows", "quantities_geometry", "quantities_lattice", "quantities_recording", "quantities_motion")
_FOUND: dict[str, Quantity] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """Something that can be measured.

    Attributes:
        name: as a claims file has it.
        subject: what it is measured on; a step of a recording is a matrix, too.
        kind: what its value is.
        unit: of the value; a parameter in braces, as in "{which}", here and below stands for its value.
        population: the rows it is over.
        definition: how it is computed.
        measure: takes the subject and the parameters; None where it is undefined there.
        parameters: name to type.
        defaults: of those parameters that need not be given.
    """

    name: str
    subject: Subject
    kind: Kind
    unit: str
    population: str
    definition: str
    measure: Callable[..., Value | None]
    parameters: Mapping[str, Any]
    defaults: Mapping[str, Any]

    @property
    def usage(self) -> str:
        """What a claims file must and may say, as in "norm: rows, statistic"; what may be left out in brackets."""
        names = [f"[{name}]" if name in self.defaults else name for name in self.parameters]
        return f"{self.name}: {', '.join(names)}" if names else self.name

    def described(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Unit, population and definition of a measurement with these parameters."""
        values = {
            name: "the end" if value == LAST else value for name, value in {**self.defaults, **parameters}.items()
        }
        texts = {"unit": self.unit, "population": self.population, "definition": self.definition}
        return {key: text.format_map(values) for key, text in texts.items()}

    def checked(self, name: str, value: Any) -> Any:
        """A parameter's value.

        Raises:
            ValueError: it cannot be that; the message says what was expected.
        """
        hint = self.parameters[name]
        if get_origin(hint) is Literal and value in get_args(hint) and isinstance(value, str):
            return value
        if hint is int and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if hint is Share and isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
            return float(value)
        if hint is str and isinstance(value, str):
            return value
        if hint is Rows and isinstance(value, str) and re.fullmatch(r"all|in-hole|rest|hole:[1-9]\d{0,8}", value):
            return value
        if hint is Selection and isinstance(value, str):
            try:
                parse_selection(value)
            except SelectionError as error:
                raise ValueError(f"{error.message}; {error.hint}") from None
            return value
        raise ValueError(f"expected {_expected(hint)}, found {value!r}")


def quantity(
    name: str, *, on: Subject, unit: str, population: str, definition: str, kind: Kind = "number"
) -> Callable[[Function], Function]:
    """Registers the function below it as a quantity."""

    def register(function: Function) -> Function:
        hints = get_type_hints(function)
        given = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        parameters = {p.name: hints[p.name] for p in given}
        defaults = {p.name: p.default for p in given if p.default is not p.empty}
        _FOUND[name] = Quantity(name, on, kind, unit, population, definition, function, parameters, defaults)
        return function

    return register


@cache
def quantities() -> Mapping[str, Quantity]:
    """Every quantity by name, in alphabetical order."""
    for module in _MODULES:
        import_module(f"forensics.claims.{module}")
    return dict(sorted(_FOUND.items()))


def _expected(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    words = {int: "a whole number from 0", Share: "a share above 0, at most 1", Rows: "all, in-hole, rest or hole:N"}
    return words.get(hint, "a text")
