"""A published observation as data: what is said of which tokens, and how exactly it was printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forensics.claims.conditions import Condition

Number = int | float
Value = Number | str | tuple[Number, ...]
"""What a quantity is: a number, a text, or several numbers in an order that its definition fixes."""

SLACK = 1e-12
"""Of a value, allowed beyond its tolerance: a tolerance of half a printed digit is itself no exact binary number."""


@dataclass(frozen=True, slots=True)
class Rival:
    """One value that was published for an observation.

    Attributes:
        name: what tells it from its rivals; "" where it has none.
        value: as published.
        tolerance: for each number of the value, the absolute difference up to which a measurement agrees, from 0.
        source: where it was published.
    """

    name: str
    value: Value
    tolerance: tuple[float, ...]
    source: str

    def holds(self, found: Value) -> bool:
        """Whether a measurement agrees: texts equal, as many numbers, each within its tolerance."""
        if isinstance(self.value, str) or isinstance(found, str):
            return self.value == found
        said, measured = numbers(self.value), numbers(found)
        return len(said) == len(measured) and all(
            abs(m - s) <= limit + SLACK * abs(s) for m, s, limit in zip(measured, said, self.tolerance, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; one tolerance where all are equal."""
        limits = sorted(set(self.tolerance))
        tolerance = (limits[0] if len(limits) == 1 else list(self.tolerance)) if limits else None
        return {"name": self.name or None, "value": plain(self.value), "tolerance": tolerance, "source": self.source}


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """An observation that can be checked.

    Attributes:
        id: unique in its file.
        statement: the observation in words.
        quantity: what to measure; see `forensics.claims.registry`.
        parameters: of the quantity.
        rivals: the published value, or several that contradict each other.
        population: the tokens it is over.
        definition: how the published figure was made, and what of the observation is checked.
        source: where it was published.
        needs: what must hold of the subject for the claim to say anything about it.
    """

    id: str
    statement: str
    quantity: str
    parameters: Mapping[str, Any]
    rivals: tuple[Rival, ...]
    population: str
    definition: str
    source: str
    needs: tuple[Condition, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        names = ("id", "statement", "quantity", "population", "definition", "source")
        return {
            **{name: getattr(self, name) for name in names},
            "parameters": dict(self.parameters),
            "claimed": [rival.to_dict() for rival in self.rivals],
            "needs": [str(condition) for condition in self.needs],
        }


def numbers(value: Number | tuple[Number, ...]) -> tuple[Number, ...]:
    """A value's numbers."""
    return value if isinstance(value, tuple) else (value,)


def plain(value: Value | None) -> Any:
    """A value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value
