"""A claims file's text to claims: what is wrong in it is said with its line and key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from forensics.claims.claim import Claim, Number, Rival, Value, numbers
from forensics.claims.conditions import Condition, parse_condition
from forensics.claims.lines import Lines
from forensics.claims.printed import brief, half_unit, is_finite, undecimal
from forensics.claims.registry import Kind, Quantity, quantities
from forensics.errors import ConfigError
from forensics.toy.tables import flatten, nearest

FILE_SCHEMA = "forensics.claims-file/1"

HEAD = ("schema", "title", "about", "subjects", "conditions", "claims")
TEXTS = ("id", "statement", "quantity", "population", "definition")
KEYS = (*TEXTS, "source", "value", "rivals", "tolerance", "tolerance_relative", "needs")
RIVAL_KEYS = ("name", "value", "source", "tolerance", "tolerance_relative")
ROLES = ("input", "output")


@dataclass(frozen=True, slots=True, eq=False)
class ClaimsFile:
    """Published observations about one kind of subject.

    Attributes:
        name: of the file, without its ending.
        title, about: what it holds, and how its tolerances follow from the print.
        subjects: whom it is meant for: patterns of names, and sets of conditions.
        claims: in the file's order.
    """

    name: str
    title: str
    about: str
    subjects: tuple[str | tuple[Condition, ...], ...]
    claims: tuple[Claim, ...]


def parse_claims(text: str, label: str) -> ClaimsFile:
    """The claims of a file's text; ``label`` is its name, also for messages.

    Raises:
        ConfigError: as of `read_claims`.
    """
    try:
        # Decimals keep the digits that were printed, and so how far a measurement may lie from them.
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{label}: not valid TOML: {error}") from None
    except (ValueError, RecursionError) as error:  # a number of more digits than Python takes, lists in lists
        raise ConfigError(f"{label}: not TOML that can be read: {error}") from None
    return _Parser(label, Lines(text, "claims")).file(document)


class _Parser:
    """Reads a document, and says where what is wrong stands."""

    def __init__(self, label: str, lines: Lines) -> None:
        self._label, self._lines = label, lines
        self._table: int | None = None
        self._named: dict[str, tuple[Condition, ...]] = {}

    def fail(self, key: str, message: str, hint: str | None = None) -> ConfigError:
        first, _, rest = key.partition(".")
        # A mistake in one of the head's named conditions stands under its own header.
        named = rest.partition(".")[0] if first == "conditions" else ""
        line = self._lines.of(self._table, named or first.partition("[")[0])
        return ConfigError(f"{self._label}, line {line}: {key}: {message}", hint=hint)

    def file(self, document: Mapping[str, Any]) -> ClaimsFile:
        self.known(document, HEAD)
        title, about = self.text(document, "title"), self.text(document, "about")
        if self.text(document, "schema") != FILE_SCHEMA:
            raise self.fail("schema", f"expected {FILE_SCHEMA!r}, found {document['schema']!r}")
        subjects = document.get("subjects", [])
        if not isinstance(subjects, list):
            raise self.fail("subjects", f"expected a list of names and conditions, found {brief(subjects)}")
        meant = tuple(s if isinstance(s, str) else self.conditions("subjects", s) for s in subjects)
        named = document.get("conditions", {})
        if not isinstance(named, dict):
            raise self.fail("conditions", f"expected [conditions.NAME] tables, found {brief(named)}")
        self._named = {name: self.conditions(f"conditions.{name}", table) for name, table in named.items()}
        tables = document.get("claims")
        if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
            raise self.fail("claims", f"expected [[claims]] tables, found {brief(tables)}")
        claims: dict[str, Claim] = {}
        for self._table, table in enumerate(tables):
            claim = self.claim(table)
            if claim.id in claims:
                raise self.fail("id", f"another claim is called {claim.id!r}", "ids are unique in a file")
            claims[claim.id] = claim
        return ClaimsFile(self._label.removesuffix(".toml"), title, about, meant, tuple(claims.values()))

    def claim(self, table: Mapping[str, Any]) -> Claim:
        name = self.text(table, "quantity")
        quantity = quantities().get(name)
        if quantity is None:
            raise self.fail("quantity", f"nothing to measure is called {name!r}", nearest(name, [*quantities()]))
        role = ("role",) if quantity.subject == "matrix" else ()
        self.known(table, (*KEYS, *quantity.parameters, *role))
        texts = {key: self.text(table, key) for key in TEXTS}
        rivals = self.rivals(table, quantity)
        needs = self.needs(table.get("needs", {}))
        source = self.text(table, "source") if "source" in table else "; ".join(r.source for r in rivals)
        return Claim(**texts, source=source, parameters=self.parameters(table, quantity), rivals=rivals, needs=needs)

    def known(self, table: Mapping[str, Any], names: Sequence[str], inside: str = "") -> None:
        for key in table:
            if key not in names:
                raise self.fail(
                    inside or key, f"{f'{key}: ' if inside else ''}there is no such key", nearest(key, [*names])
                )

    def text(self, table: Mapping[str, Any], key: str) -> str:
        value = table.get(key)
        if value is None:
            raise self.fail(key, "is missing")
        if not isinstance(value, str) or not value.strip():
            raise self.fail(key, f"expected a text, found {brief(value)}")
        return value

    def parameters(self, table: Mapping[str, Any], quantity: Quantity) -> dict[str, Any]:
        found = {}
        for name in quantity.parameters:
            if name in table:
                value = float(table[name]) if isinstance(table[name], Decimal) else table[name]
                try:
                    found[name] = quantity.checked(name, value)
                except ValueError as error:
                    raise self.fail(name, str(error)) from None
            elif name not in quantity.defaults:
                raise self.fail(name, f"is missing: {quantity.name} needs {', '.join(quantity.parameters)}")
        if "role" in table:
            if table["role"] not in ROLES:
                raise self.fail("role", f"expected input or output, found {brief(table['role'])}")
            found["role"] = table["role"]
        return found

    def needs(self, said: Any) -> tuple[Condition, ...]:
        """A table of conditions, the name of one in the head, or a list of these."""
        if isinstance(said, list):
            return tuple(condition for each in said for condition in self.needs(each))
        if not isinstance(said, str):
            return self.conditions("needs", said)
        if said not in self._named:
            names = ", ".join(self._named)
            hint = f"defined are {names}" if names else "the file defines none: [conditions.NAME] does, or give a table"
            raise self.fail("needs", f"no conditions are called {said!r}", hint)
        return self._named[said]

    def conditions(self, key: str, said: Any) -> tuple[Condition, ...]:
        if not isinstance(said, dict):
            raise self.fail(key, f'expected conditions such as {{ steps = ">= 100" }}, found {brief(said)}')
        found = []
        for name, value in flatten(said):
            try:
                found.append(parse_condition(name, undecimal(value)))
            except ValueError as error:
                raise self.fail(f"{key}.{name}", str(error)) from None
        return tuple(found)

    def rivals(self, table: Mapping[str, Any], quantity: Quantity) -> tuple[Rival, ...]:
        if ("value" in table) == ("rivals" in table):
            raise self.fail("value", "expected either value or rivals" + (", found both" if "value" in table else ""))
        if "value" in table:
            self.text(table, "source")
            return (self.rival("", "", table, table, quantity),)
        given = table["rivals"]
        if not isinstance(given, list) or len(given) < 2 or not all(isinstance(each, dict) for each in given):
            raise self.fail("rivals", f"expected two or more tables with name and value, found {brief(given)}")
        rivals: list[Rival] = []
        for i, each in enumerate(given):
            inside = f"rivals[{i}]"
            self.known(each, RIVAL_KEYS, inside)
            name = each.get("name")
            if not isinstance(name, str) or not name.strip():
                raise self.fail(
                    inside, "name: " + ("is missing" if name is None else f"expected a text, found {brief(name)}")
                )
            if name in {rival.name for rival in rivals}:
                raise self.fail(inside, f"name: another rival is called {name!r}")
            if "value" not in each:
                raise self.fail(inside, "value: is missing")
            rivals.append(self.rival(inside, name, each, table, quantity))
        return tuple(rivals)

    def rival(
        self, inside: str, name: str, own: Mapping[str, Any], table: Mapping[str, Any], quantity: Quantity
    ) -> Rival:
        source = own.get("source", table.get("source"))
        if not isinstance(source, str) or not source.strip():
            raise self.fail(inside or "source", f"source: expected a text, found {brief(source)}")
        value = self.value(f"{inside}.value" if inside else "value", own["value"], quantity.kind)
        is_own = "tolerance" in own or "tolerance_relative" in own
        allowed = self.tolerance(inside if is_own else "", own["value"], value, own if is_own else table)
        return Rival(name, value, allowed, source)

    def value(self, key: str, said: Any, kind: Kind) -> Value:
        if isinstance(said, str) and (kind == "text" or (kind == "number or never" and said == "never")):
            return said
        if kind == "numbers" and isinstance(said, list) and said:
            return tuple(self.number(key, each) for each in said)
        if kind in ("number", "number or never"):
            return self.number(key, said)
        expected = {"text": "a text", "numbers": "a list of numbers"}[kind]
        raise self.fail(key, f"expected {expected}, found {brief(said)}")

    def number(self, key: str, said: Any) -> Number:
        number = undecimal(said)
        if isinstance(number, bool) or not isinstance(number, int | float) or not is_finite(number):
            raise self.fail(key, f"expected a finite number, found {brief(said)}")
        return number

    def tolerance(self, inside: str, printed: Any, value: Value, said: Mapping[str, Any]) -> tuple[float, ...]:
        """What is allowed of each number: as said, or half a unit in the last digit that was printed."""
        given = [key for key in ("tolerance", "tolerance_relative") if key in said]
        if len(given) > 1:
            raise self.fail(inside or "tolerance", "expected an absolute or a relative one, found both")
        if isinstance(value, str):
            return ()
        if not given:
            return tuple(half_unit(each) for each in (printed if isinstance(printed, list) else [printed]))
        key = f"{inside}.{given[0]}" if inside else given[0]
        limit = self.number(key, said[given[0]])
        if limit < 0:
            raise self.fail(key, f"expected a number from 0, found {limit}")
        return tuple(float(limit) * (abs(v) if given[0] == "tolerance_relative" else 1.0) for v in numbers(value))
