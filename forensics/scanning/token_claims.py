"""What was found of a matrix's tokens, in sentences that carry their sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from forensics.causes import CAUSES, Causes
from forensics.text import number

if TYPE_CHECKING:
    from forensics.black_holes import BlackHoles
    from forensics.scanning.production import Production
    from forensics.scanning.tokens import MatrixTokens
    from forensics.undertrained import Candidates, Flag, Halo, Reference


def claim_production(holes: BlackHoles, in_hole: Production) -> str:
    """How many tokens share how many rows, and how many of them no text gives."""
    if not in_hole.tokens:
        return "No two stored rows are identical."
    rows = "one row" if len(holes) == 1 else f"{len(holes):,} rows"
    return f"{in_hole.tokens:,} tokens share {rows}; {claim_share(in_hole, 'them')}."


def claim_share(production: Production, whole: str) -> str:
    """The part of a set's tokens that no text gives; of an empty set nothing."""
    if not production.is_known:
        return f"whether the tokenizer can produce any of {whole} is not known"
    share = percent(production.unreachable, production.tokens)
    unknown = f", and of {production.unknown:,} it is not known" if production.unknown else ""
    return f"{share} of {whole} ({production.unreachable:,}) cannot be produced by the tokenizer{unknown}"


def percent(part: int, whole: int) -> str:
    """A share in three digits that is 0 % or 100 % only where it is nothing or everything."""
    shown = f"{100 * part / whole:.3g}"
    return "over 99.9 %" if shown == "100" and part < whole else f"{shown} %"


def claim_causes(causes: Causes) -> str:
    """What made the groups of equal and nearly equal rows; empty where there are none."""
    found = [f"{CAUSES[cause]} ({n:,} token{'' if n == 1 else 's'})" for cause, n in causes.tokens.items()]
    return f"Causes: {', '.join(found)}." if found else ""


def claims(matrix: MatrixTokens) -> Iterator[str]:
    """The findings, the strongest first."""
    yield claim_production(matrix.holes, matrix.in_hole)
    yield _candidates(matrix.candidates)
    if len(matrix.halo):
        yield _halo(matrix.halo)
    yield _reference(matrix.reference)
    if causes := claim_causes(matrix.causes):
        yield causes


def _candidates(candidates: Candidates) -> str:
    n = len(candidates)
    if candidates.rule == "percentile":
        return f"{n:,} candidates, {candidates.definition}: a fixed share, which every matrix has."
    if not n:
        asked = ", ".join(flag.indicator for flag in candidates.flags)
        return f"No token is set apart from the bulk by any indicator that could be measured ({asked})."
    token = "1 token looks" if n == 1 else f"{n:,} tokens look"
    by = ", ".join(_flag(flag) for flag in candidates.flags if len(flag.token_ids))
    return f"{token} under-trained, apart from the bulk by: {by}."


def _flag(flag: Flag) -> str:
    # Without a threshold the norm flags zero rows alone.
    name = "zero rows" if flag.threshold is None else flag.indicator
    return f"{name} ({len(flag.token_ids):,})"


def _halo(halo: Halo) -> str:
    lie = "1 token lies" if len(halo) == 1 else f"{len(halo):,} tokens lie"
    void = halo.void
    gap = f", before a gap in distance ({number(void.lower, 4)} to {number(void.upper, 4)})" if void else ""
    return f"{lie} near a hole or the reference without being in it{gap}."


def _reference(reference: Reference) -> str:
    n = len(reference.token_ids)
    if not n:
        return "No reference of untrained tokens was found: indicators that are measured against one are left out."
    used = [f"{use.name} ({use.used:,})" for use in reference.sources if use.used]
    overlap = "; they overlap" if sum(use.used for use in reference.sources) > n else ""
    return f"{n:,} tokens are the reference of what is untrained, from: {', '.join(used)}{overlap}."
