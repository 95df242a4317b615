"""What a figure must carry to be read: the set it is over, its unit and its definition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """A named set of tokens; a figure without one is a bug.

    Attributes:
        name: such as "in-hole" or "rest".
        definition: one sentence that fixes the membership.
        token_ids: ``int64[n]``, ascending.
    """

    name: str
    definition: str
    token_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number with what it needs to be read.

    Attributes:
        name: what was measured.
        value: the number or short text; None where it is undefined.
        unit: such as "tokens", "value", "degrees", "exponents".
        population: the name of the set it is over.
        definition: how it was computed.
    """

    name: str
    value: int | float | str | None
    unit: str
    population: str
    definition: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}
