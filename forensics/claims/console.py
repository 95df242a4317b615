"""Checked claims for a terminal: one line a claim, and a line of counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forensics.claims.claim import Rival, Value
from forensics.text import align, number, visible

if TYPE_CHECKING:
    from forensics.claims.result import ClaimResult, Claims

SHOWN = 8
"""Numbers of a list that are written out."""

DIGITS = 7
"""As many as single-precision figures are printed with."""


def render(claims: Claims) -> str:
    """Verdict, id, what was found and what is claimed of each claim; the texts are made safe for a terminal."""
    several = len({result.file for result in claims.results}) > 1
    rows = [
        (r.verdict, visible(f"{r.file}: {r.claim.id}" if several else r.claim.id), visible(_told(r)))
        for r in claims.results
    ]
    planted = " (planted: no model's weights, only what was put in)" if claims.is_planted else ""
    counts = ", ".join(f"{n:,} {verdict}" for verdict, n in claims.counts.items())
    recorded = claims.source.kind == "recording" and claims.source.revision is not None
    step = f" @ {claims.source.revision}" if recorded else ""
    return f"{align(rows)}\n\n{visible(claims.name)}{step}{planted}: {counts}"


def _told(result: ClaimResult) -> str:
    rivals = result.claim.rivals
    if result.found is None:
        return f"claimed {' or '.join(_said(rival) for rival in rivals)}; {result.why}"
    unit = "" if isinstance(result.found, str) else result.measured["unit"].replace("_", " ")
    found = f"found {shown(result.found)} {unit}".rstrip()
    if len(rivals) == 1:
        return f"{found}, claimed {_said(rivals[0])}{_first_difference(rivals[0], result.found)}"
    holds = " and ".join(rival.name for rival in result.holds)
    others = ", ".join(_said(rival) for rival in rivals if rival not in result.holds)
    if not holds:
        return f"{found}; no rival holds, {others}"
    return f"{found}: {holds} holds" + (f", not {others}" if others else "")


def _first_difference(rival: Rival, found: Value) -> str:
    """Where two lists part, if that is beyond what is written out."""
    if not isinstance(found, tuple) or not isinstance(rival.value, tuple) or rival.holds(found):
        return ""
    pairs = zip(found, rival.value, rival.tolerance, strict=False)
    at = next((i for i, (m, s, limit) in enumerate(pairs) if abs(m - s) > limit), min(len(found), len(rival.value)))
    return f" (they part at number {at + 1} of {len(found)})"


def _said(rival: Rival) -> str:
    limits = sorted(set(rival.tolerance))
    within = f" +- {limits[-1]:.2g}" if limits and limits[-1] else ""
    named = f"{rival.name}: " if rival.name else ""
    return f"{named}{shown(rival.value)}{within}"


def shown(value: Value) -> str:
    """A value for people."""
    if not isinstance(value, tuple):
        return number(value, DIGITS)
    more = ", ..." if len(value) > SHOWN else ""
    return f"[{', '.join(number(v, DIGITS) for v in value[:SHOWN])}{more}]"
