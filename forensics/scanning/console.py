"""A scan for a terminal: the claim, the headline figures, the holes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from forensics.text import align, literal, number, visible

if TYPE_CHECKING:
    from forensics.scanning.result import MatrixScan, Scan

SHOWN_HOLES = 13
SHOWN_TOKENS = 4


def render(scan: Scan) -> str:
    """Every matrix in turn; token text is made safe for a terminal."""
    return "\n\n".join("\n".join(_matrix(scan, result)) for result in scan.matrices)


def _matrix(scan: Scan, result: MatrixScan) -> Iterator[str]:
    e = result.embedding
    place = visible(f"{scan.checkpoint.source}: {e.tensor}")
    yield f"{place} ({e.role}), {e.n_rows:,} x {e.dim:,} {e.format.name}"
    yield result.claim
    yield ""
    yield align([(m.name, m.population, number(m.value), m.unit) for m in result.measures()], right=(2,))
    if result.holes.holes:
        yield ""
        yield _holes(scan, result)


def _holes(scan: Scan, result: MatrixScan) -> str:
    rows = [("hole", "tokens", "norm", "angle", "members (id)")]
    holes = list(zip(result.holes.holes, result.geometry.hole_angles_deg, strict=True))
    for hole, angle in holes[:SHOWN_HOLES]:
        norm = number(float(result.geometry.norms[hole.representative]))
        members = ", ".join(_token(scan, int(i)) for i in hole.token_ids[:SHOWN_TOKENS])
        more = ", ..." if hole.population > SHOWN_TOKENS else ""
        rows.append((str(hole.id), f"{hole.population:,}", norm, number(angle, 4), members + more))
    shown = align(rows, right=(0, 1, 2, 3))
    return shown if len(holes) <= SHOWN_HOLES else f"{shown}\n... and {len(holes) - SHOWN_HOLES:,} more holes"


def _token(scan: Scan, token_id: int) -> str:
    vocabulary = scan.checkpoint.vocabulary
    text = vocabulary.text(token_id) if vocabulary else None
    return str(token_id) if text is None else f"{literal(text, 24)} ({token_id})"
