"""Under-trained candidates: the tokens that an indicator sets apart from the bulk, and the published fixed share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.undertrained.indicators import Indicators
from forensics.undertrained.passes import first_of_equals
from forensics.undertrained.separation import LEVEL, SUPPORTED_LEVEL, Separation, find_separation

Rule = Literal["separation", "percentile"]

PERCENT = 2.0
"""The published share of a vocabulary that is called a candidate, whatever it looks like."""

LISTED = 64


@dataclass(frozen=True, slots=True, eq=False)
class Flag:
    """What one indicator says.

    Attributes:
        indicator: its name.
        threshold: tokens below it are flagged (for the percentile, those at it, too); None where nothing stands apart.
        separation: the test behind it; None for the percentile, or where nothing stands apart.
        token_ids: ``int64[n]``, ascending.
    """

    indicator: str
    threshold: float | None
    separation: Separation | None
    token_ids: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """The threshold with its test, and how many."""
        return {
            "indicator": self.indicator,
            "threshold": self.threshold,
            "separation": self.separation and self.separation.to_dict(),
            "tokens": len(self.token_ids),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The tokens that look under-trained.

    Attributes:
        rule: "separation" or "percentile".
        definition: of the rule, in one sentence.
        token_ids: ``int64[n]``, by the main indicator, lowest first.
        flags: one for each indicator that the rule asks.
    """

    rule: Rule
    definition: str
    token_ids: NDArray[np.int64]
    flags: tuple[Flag, ...]

    def __len__(self) -> int:
        return len(self.token_ids)

    def indicators_of(self, token_id: int) -> tuple[str, ...]:
        """The indicators that flag a token."""
        return tuple(flag.indicator for flag in self.flags if token_id in flag.token_ids)

    def to_dict(self) -> dict[str, Any]:
        """The count, each indicator's threshold, and the first candidates with what flags them."""
        first = [int(token) for token in self.token_ids[:LISTED]]
        return {
            "rule": self.rule,
            "definition": self.definition,
            "tokens": len(self),
            "indicators": [flag.to_dict() for flag in self.flags],
            "first": [{"token_id": token, "indicators": list(self.indicators_of(token))} for token in first],
        }


def find_candidates(indicators: Indicators, holes: BlackHoles, *, rule: Rule = "separation") -> Candidates:
    """The tokens that look under-trained, by a rule.

    Args:
        indicators: of a matrix.
        holes: the same matrix's: copies of a row count once in a test.
        rule: "separation" flags what any indicator sets apart from the bulk, and zero rows, which nothing trained;
            on a healthy matrix it flags nothing. "percentile" is the published comparison: the lowest 2 % by the main
            indicator, which every matrix has.
    """
    flags = _lowest(indicators) if rule == "percentile" else _apart(indicators, holes)
    ids = np.unique(np.concatenate([flag.token_ids for flag in flags]))
    ordered = ids[np.argsort(indicators.values[indicators.main][ids], kind="stable")]
    definition = (
        f"the lowest {PERCENT:g} % by {indicators.main}"
        if rule == "percentile"
        else "tokens that an indicator sets apart from the bulk of all rows, and zero rows"
    )
    return Candidates(rule, definition, ordered, flags)


def _apart(indicators: Indicators, holes: BlackHoles) -> tuple[Flag, ...]:
    distinct = np.unique(first_of_equals(holes))
    flags = []
    for name, values in indicators.values.items():
        # A zero row's norm is a fact; the test is about the others, and so is a bias about all.
        tested = values[distinct] if name == "bias" else values[distinct[indicators.values["norm"][distinct] > 0]]
        # A reference was held to LEVEL when it was found: without one, on a healthy matrix, these are not there.
        level = LEVEL if name in ("norm", "bias") else SUPPORTED_LEVEL
        found = find_separation(tested, level=level / len(indicators.values))
        below = values < (found.threshold if found else -np.inf)
        if name == "norm":
            below |= values == 0
        flags.append(Flag(name, found.threshold if found else None, found, np.flatnonzero(below)))
    return tuple(flags)


def _lowest(indicators: Indicators) -> tuple[Flag, ...]:
    values = indicators.values[indicators.main]
    finite = values[np.isfinite(values)]
    threshold = float(np.percentile(finite, PERCENT)) if len(finite) else None
    ids = np.flatnonzero(values <= (-np.inf if threshold is None else threshold))
    return (Flag(indicators.main, threshold, None, ids),)
