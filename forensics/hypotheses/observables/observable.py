"""What an observable is: one figure of a cloud of dead rows, with what it is over and how it is held against others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Needs = Literal["cloud", "config", "ids", "live"]
Transform = Literal["identity", "log", "log1p", "arcsine"]

LOG_FLOOR = 1e-9
"""Below this a ratio counts as this: a single token one step off on the finest dimension of a 2,560-dimensional
bfloat16 cloud still moves the RMS radius over the centroid's norm by more than it."""


@dataclass(frozen=True, slots=True)
class Observable:
    """A statistic that two clouds can be compared by.

    Attributes:
        name: the key.
        title: a few words.
        unit: of the figure.
        population: the set that it is over.
        definition: how it is computed, and when it is undefined (None).
        needs: "cloud" (the dead rows), "config" (the config's initializer_range, too), "ids" (the tokens' ids, too) or
            "live" (the live rows, too).
        transform: the scale on which distances are taken. "log1p" for counts and steps: 2 against 3 matters as 200
            against 300 does. "log" for ratios. "arcsine" (the arc sine of the square root) for shares: a share of n
            then has the standard error 1 / (2 sqrt(n)) wherever it lies, and 0 and 1 are finite without a floor that
            would have to know n.
        resolution: a difference on that scale that is not worth telling apart; above 0.
        scale_free: comparable between clouds of other numbers of tokens and dimensions.
        derived: follows from observables before it, so it is left out where they are compared together.

    References:
        Anscombe, "The transformation of Poisson, binomial and negative-binomial data" (1948), for the arc sine.
    """

    name: str
    title: str
    unit: str
    population: str
    definition: str
    needs: Needs = "cloud"
    transform: Transform = "identity"
    resolution: float = 0.005
    scale_free: bool = True
    derived: bool = False

    def transformed(self, value: float | None) -> float:
        """The value on the scale of ``transform``; nan where it is undefined."""
        if value is None:
            return math.nan
        if self.transform == "log":
            return math.log(max(value, LOG_FLOOR))
        if self.transform == "log1p":
            return math.log1p(value)
        return math.asin(math.sqrt(min(max(value, 0.0), 1.0))) if self.transform == "arcsine" else float(value)

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}
