"""What a check of claims found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from forensics.claims import console
from forensics.claims.claim import Claim, Rival, Value, plain
from forensics.embedding import Source

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "forensics.claims/1"
"""Changes its number when a key changes its meaning or goes."""

Verdict = Literal["confirmed", "contradicted", "not measurable here"]
VERDICTS: tuple[Verdict, ...] = ("confirmed", "contradicted", "not measurable here")


@dataclass(frozen=True, slots=True, eq=False)
class ClaimResult:
    """One claim, checked.

    Attributes:
        file: the name of the file that it is in.
        claim: what was said.
        measured: unit, population and definition of what was measured.
        verdict: "confirmed" where the found value agrees with the published one, or with one of several rivals.
        found: what was measured; None where it was not.
        why: why it cannot be measured here; None where it was.
        holds: the published values that it agrees with.
    """

    file: str
    claim: Claim
    measured: Mapping[str, str]
    verdict: Verdict
    found: Value | None
    why: str | None
    holds: tuple[Rival, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        said = self.claim.to_dict()
        for rival, shown in zip(self.claim.rivals, said["claimed"], strict=True):
            shown["holds"] = None if self.found is None else rival in self.holds
        return {
            **said,
            "file": self.file,
            "verdict": self.verdict,
            "found": plain(self.found),
            "why": self.why,
            "measured": dict(self.measured),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """All claims of one or more files against one subject.

    Attributes:
        source: the subject.
        name: of the subject, as files' patterns see it.
        is_planted: whether it is a matrix that was made up.
        results: in the files' order.
    """

    source: Source
    name: str
    is_planted: bool
    results: tuple[ClaimResult, ...]

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """Claims by verdict."""
        found = Counter(result.verdict for result in self.results)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def holds(self) -> bool:
        """No claim is contradicted."""
        return not self.counts["contradicted"]

    def to_frame(self) -> pd.DataFrame:
        """One row a claim: file, id, verdict, found, claimed, holds, unit, why, statement."""
        import pandas as pd  # 0.7 s, for notebooks only

        rows = [
            {
                "file": r.file,
                "id": r.claim.id,
                "verdict": r.verdict,
                "found": plain(r.found),
                "claimed": [plain(rival.value) for rival in r.claim.rivals],
                "holds": [rival.name for rival in r.holds],
                "unit": r.measured["unit"],
                "why": r.why,
                "statement": r.claim.statement,
            }
            for r in self.results
        ]
        return pd.DataFrame(rows, dtype=object)

    def to_dict(self) -> dict[str, Any]:
        """The whole as plain values."""
        return {
            "schema": SCHEMA,
            "source": self.source.to_dict(),
            "planted": self.is_planted,
            "holds": self.holds,
            "counts": dict(self.counts),
            "claims": [result.to_dict() for result in self.results],
        }

    def __str__(self) -> str:
        return console.render(self)
