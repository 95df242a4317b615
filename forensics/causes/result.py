"""What was concluded about a group of equal or nearly equal rows, with the evidence it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.measures import Measure

CAUSES: Mapping[str, str] = {
    "zero": "all-zero rows",
    "mean": "mean of the others",
    "mean-noise": "mean of the others with noise",
    "collinear": "collinear with the mean",
    "padding": "padding beyond the tokenizer",
    "copied": "row copied from an ordinary token",
    "frozen": "frozen initialisation",
    "quantised": "quantisation collision",
    "unexplained": "unexplained",
}
"""Every cause, in words, in the order of precedence.

A cause that reproduces the very numbers comes first, the most specific before the general (an exact mean is also in a
cloud about it, and collinear with it). Then what only says who the tokens are: beyond the tokenizer, copies of one of
them. Then what the rows' neighbours say. Freezing says why rows were near each other; the quantiser only why the last
difference went, so it comes after.
"""

Kind = Literal["hole", "given", "found"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measured statement.

    Attributes:
        name: what was measured.
        value: the figure; None where it cannot be told.
        expected: what the cause leaves, in words.
        holds: whether it is so; None where it cannot be told, or for a figure that decides nothing.
        definition: how it was measured.
    """

    name: str
    value: int | float | str | None
    expected: str
    holds: bool | None
    definition: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether one cause holds for a group.

    Attributes:
        cause: a key of :data:`CAUSES`.
        holds: None where it cannot be told.
        evidence: what says so.
    """

    cause: str
    holds: bool | None
    evidence: tuple[Evidence, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"cause": self.cause, "holds": self.holds, "evidence": [e.to_dict() for e in self.evidence]}


@dataclass(frozen=True, slots=True, eq=False)
class ExplainedGroup:
    """A group of equal or nearly equal rows with what made it.

    Attributes:
        name: such as "hole 1" or "rows at the mean, 1".
        kind: a black hole, a group that the caller named, or one that was found about a mean.
        token_ids: ``int64[n]``, ascending.
        facts: where the ids are, what the rows are, what the tokenizer says of the tokens.
        findings: every cause but "unexplained", in the order of precedence.
    """

    name: str
    kind: Kind
    token_ids: NDArray[np.int64]
    facts: tuple[Measure, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        also = f"; also {', '.join(CAUSES[c] for c in self.also)}" if self.also else ""
        return f"{self.name} ({len(self.token_ids):,} tokens): {CAUSES[self.cause]}{also}"

    @property
    def holding(self) -> tuple[str, ...]:
        """The causes that hold, in the order of precedence."""
        return tuple(f.cause for f in self.findings if f.holds)

    @property
    def cause(self) -> str:
        """The first cause that holds, or "unexplained"."""
        return self.holding[0] if self.holding else "unexplained"

    @property
    def also(self) -> tuple[str, ...]:
        """The other causes that hold."""
        return self.holding[1:]

    @property
    def undecided(self) -> tuple[str, ...]:
        """The causes that cannot be told from what is known."""
        return tuple(f.cause for f in self.findings if f.holds is None)

    def finding(self, cause: str) -> Finding:
        """What was found on one cause.

        Raises:
            KeyError: no such cause.
        """
        return {f.cause: f for f in self.findings}[cause]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; of the findings, those that hold or cannot be told."""
        return {
            "name": self.name,
            "kind": self.kind,
            "tokens": len(self.token_ids),
            "token_ids": self.token_ids.tolist(),
            "cause": self.cause,
            "also": list(self.also),
            "undecided": list(self.undecided),
            "facts": {fact.name: fact.value for fact in self.facts},
            "findings": [f.to_dict() for f in self.findings if f.holds is not False],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Causes:
    """Every group of equal or nearly equal rows of a matrix, each with its cause.

    Attributes:
        groups: the holes by number, then the groups that the caller named, then those found about a mean. A token can
            be in more than one: in a hole, and in the cloud that the hole is part of.
        left_out: holes beyond the number that are explained, the least populated ones.
    """

    groups: tuple[ExplainedGroup, ...]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.groups)

    def __str__(self) -> str:
        return "\n".join(map(str, self.groups)) if self.groups else "no equal or nearly equal rows to explain"

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens by primary cause, each counted once for a cause, in the order of precedence."""
        by_cause = {cause: [g.token_ids for g in self.groups if g.cause == cause] for cause in CAUSES}
        return {cause: len(np.unique(np.concatenate(ids))) for cause, ids in by_cause.items() if ids}

    def of(self, token_id: int) -> tuple[ExplainedGroup, ...]:
        """The groups that hold a token."""
        return tuple(g for g in self.groups if token_id in g.token_ids)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"tokens": self.tokens, "left_out": self.left_out, "groups": [g.to_dict() for g in self.groups]}
