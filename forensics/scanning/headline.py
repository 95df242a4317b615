"""The headline of a matrix's scan: the finding in one sentence, and its figures with their definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from forensics.measures import Measure

if TYPE_CHECKING:
    from forensics.scanning.result import MatrixScan


def claim(result: MatrixScan) -> str:
    """The finding in one sentence."""
    holes, e = result.holes, result.embedding
    if not len(holes):
        return f"No two of the {e.n_rows:,} stored rows are identical: no black holes."
    of = f"{holes.n_tokens:,} of {e.n_rows:,} tokens"
    n_zero = sum(hole.population for hole in holes.holes if hole.is_zero)
    zeros = f" {n_zero:,} of them are all-zero rows." if n_zero else ""
    if e.is_quantised:
        groups, rows = ("1 group", "one row") if len(holes) == 1 else (f"{len(holes):,} groups", f"{len(holes):,} rows")
        return f"{groups} of identical stored rows: {of} hold {rows} of {e.format.name} blocks.{zeros}"
    if len(holes) == 1:
        return f"1 black hole: {of} share one stored row, bit for bit.{zeros}"
    return f"{len(holes):,} black holes: {of} share {len(holes):,} stored rows, bit for bit.{zeros}"


def measures(result: MatrixScan) -> Iterator[Measure]:
    """The headline figures, each with its set, unit and definition."""
    holes, geometry = result.holes, result.geometry
    raw = geometry.centroids[0]
    _, inside, rest = geometry.summaries
    identity = "bit-identical stored " + ("blocks" if result.embedding.is_quantised else "rows")
    yield Measure("black holes", len(holes), "groups", "all", f"groups of two or more tokens with {identity}")
    yield Measure("tokens in black holes", holes.n_tokens, "tokens", "all", "sum of the holes' populations")
    yield Measure("unique rows", holes.n_unique_rows, "rows", "all", f"distinct among {holes.n_rows:,} rows")
    if result.equal_values is not None:
        n = result.equal_values.n_tokens
        yield Measure("tokens with equal values", n, "tokens", "all", "rows that dequantise to equal numbers")
    for summary in (inside, rest):
        definition = f"mean Euclidean norm of {summary.rows:,} finite rows"
        yield Measure("norm, mean", summary.mean, "value", summary.population, definition)
        yield Measure("norm, std", summary.std, "value", summary.population, "over the same rows")
    yield Measure("centroid angle", raw.angle_deg, "degrees", "in-hole to rest", "means over tokens, raw frame")
    if result.bits and result.bits.offset:
        offset = result.bits.offset
        definition = f"shift of least Wasserstein-1; {offset.distance_after_shift:.3f} of {offset.distance:.3f} remains"
        yield Measure("exponent offset", offset.shift, "exponents", "in-hole to rest", definition)
    if result.bits and result.bits.agreement:
        agreement = result.bits.agreement
        agreeing = agreement.dims - len(agreement.differing_dims)
        definition = f"of {agreement.dims:,}: dimensions on which all non-zero holes share one raw exponent"
        yield Measure("shared exponents", agreeing, "dims", "in-hole", definition)
