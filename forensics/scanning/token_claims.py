"""What was found of a matrix's tokens, in sentences that carry their sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from forensics.causes import CAUSES, Causes

if TYPE_CHECKING:
    from forensics.black_holes import BlackHoles
    from forensics.scanning.production import Production
    from forensics.scanning.tokens import MatrixTokens


def claim_production(holes: BlackHoles, in_hole: Production) -> str:
    """How many tokens share how many rows, and how many of them no text gives."""
    if not in_hole.tokens:
        return "No two stored rows are identical."
    rows = "one row" if len(holes) == 1 else f"{len(holes):,} rows"
    shared = f"{in_hole.tokens:,} tokens share {rows}"
    if in_hole.unknown == in_hole.tokens:
        return f"{shared}; whether the tokenizer can produce them is not known."
    share = f"{100 * in_hole.unreachable / in_hole.tokens:.3g} %"
    unknown = f", and of {in_hole.unknown:,} it is not known" if in_hole.unknown else ""
    return f"{shared}; {share} of them ({in_hole.unreachable:,}) cannot be produced by the tokenizer{unknown}."


def claim_causes(causes: Causes) -> str:
    """What made the groups of equal and nearly equal rows; empty where there are none."""
    found = [f"{CAUSES[cause]} ({n:,} tokens)" for cause, n in causes.tokens.items()]
    return f"Causes: {', '.join(found)}." if found else ""


def claims(matrix: MatrixTokens) -> Iterator[str]:
    """The findings, the strongest first."""
    yield claim_production(matrix.holes, matrix.in_hole)
    n, reference = len(matrix.candidates), matrix.reference
    if matrix.candidates.rule == "percentile":
        yield f"{n:,} candidates: {matrix.candidates.definition}; every matrix has as many."
    elif n:
        yield f"{n:,} tokens look under-trained: {matrix.candidates.definition}."
    else:
        yield "No token stands apart from the bulk: none looks under-trained."
    if len(reference.token_ids):
        used = ", ".join(f"{use.name} ({use.used:,})" for use in reference.sources if use.used)
        yield f"The reference of untrained tokens has {len(reference.token_ids):,}, from {used}."
    else:
        yield "No reference of untrained tokens was found, so that indicators measured against one are left out."
    if causes := claim_causes(matrix.causes):
        yield causes
