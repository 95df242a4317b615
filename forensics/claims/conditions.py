"""Conditions on what a subject is: the settings of a run, the config of a model, the size of a matrix."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Plain = str | int | float | bool

_COMPARES: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, ">": operator.gt, "<": operator.lt, "=": operator.eq
}  # fmt: skip

FACTS: Mapping[str, type] = {
    "source.kind": str,
    "matrix.rows": int,
    "matrix.dim": int,
    "matrix.dtype": str,
    "recorded.steps": int,
    "recorded.tokens": int,
    "recorded.dead": int,
}
"""What is known of every subject (recorded.*: of every run), and of which kind; any other key is a setting's."""

_OURS = frozenset(key.partition(".")[0] for key in FACTS)

_COMPARISON = re.compile(r"(>=|<=|!=|>|<|=)\s*(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        key: of a fact, such as "optimizer.lr" or "matrix.rows".
        sign: "=", "!=", ">=", "<=", ">" or "<".
        values: one of them for "=", each for "!=", one for the others.
    """

    key: str
    sign: str
    values: tuple[Plain, ...]

    def __str__(self) -> str:
        return f"{self.key} {self.sign} {' or '.join(map(str, self.values))}"

    def unmet(self, fact: Plain | None) -> str | None:
        """Why it does not hold of this fact; None if it does. What a subject does not say meets nothing but "!="."""
        if self.sign == "!=":
            holds = fact not in self.values
        elif self.sign == "=":
            holds = any(_same(fact, value) for value in self.values)
        else:
            comparable = isinstance(fact, int | float) and not isinstance(fact, bool)
            holds = comparable and _COMPARES[self.sign](fact, self.values[0])
        if holds:
            return None
        return f"needs {self}, and {'there is none' if fact is None else f'it is {fact}'}"


def parse_condition(key: str, said: Any) -> Condition:
    """The condition that a value in a file stands for: itself, any of a list, or a comparison such as ">= 100".

    Keys that begin as those of ``FACTS`` do are of these; what a run or a config may hold is anyone's.

    Raises:
        ValueError: it stands for none; the message says what was expected.
    """
    options = said if isinstance(said, list) else [said]
    if not options or not all(isinstance(option, str | int | float) for option in options):
        raise ValueError(f"expected a text, a number, true or false, or a list of these, found {said!r}")
    if "." in key and key.partition(".")[0] in _OURS and key not in FACTS:
        raise ValueError(f"there is no such key; known are {', '.join(FACTS)}, and settings of a run or config")
    match = _COMPARISON.fullmatch(said.strip()) if isinstance(said, str) else None
    sign, values = "=", tuple(options)
    if match is not None:
        sign, text = match.groups()
        value = _number(text)
        if value is None and sign not in ("=", "!="):
            raise ValueError(f"expected a number after {sign}, found {text!r}")
        values = (text if value is None else value,)
    for value in values:
        if isinstance(value, str) and value.strip()[:1] in ("", *"<>=!"):
            raise ValueError(f"expected a value, or one of {' '.join(_COMPARES)} and one value, found {said!r}")
        if key in FACTS and (isinstance(value, str) != (FACTS[key] is str) or isinstance(value, bool)):
            raise ValueError(f"expected a {'text' if FACTS[key] is str else 'number'}, found {value!r}")
    return Condition(key, sign, values)


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _same(fact: Plain | None, value: Plain) -> bool:
    """Equal, and not a number for a flag: to Python 1 is True."""
    return isinstance(fact, bool) == isinstance(value, bool) and fact == value
