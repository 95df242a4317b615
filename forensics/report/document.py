"""The scan's report.md: the claim, the table that carries it, the method, caveats, long lists folded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from forensics.lattice import BlockSurvey
from forensics.measures import Measure
from forensics.report.lattice_document import blocks_part, summary_part
from forensics.report.markdown import code, fold, plain, table, token
from forensics.report.tokens_document import cause_parts, production_parts
from forensics.scanning import MatrixScan, Scan
from forensics.scanning.token_claims import claim_share
from forensics.text import number
from forensics.vocabulary import Vocabulary

SHOWN_HOLES = 40
"""Holes listed in the report; all of them are in scan.json."""

SHOWN_TOKENS = 12
"""Tokens listed per hole; all of them are in tokens.csv."""

Figures = Sequence[tuple[str, str]]


def scan_document(scan: Scan, figures: Sequence[Figures]) -> str:
    """The report's text.

    Args:
        scan: what was found.
        figures: for each matrix, the (file name, caption) of its figures.
    """
    parts = [f"# Embedding scan: {code(str(scan.checkpoint.source))}", _tied_sentence(scan)]
    for result, drawn in zip(scan.matrices, figures, strict=True):
        parts += _matrix_parts(result, drawn, scan.checkpoint.vocabulary)
    parts += ["## Method", METHOD, "## Caveats", "\n".join(f"- {line}" for line in _caveats(scan))]
    made_by = code(scan.checkpoint.command("scan"))
    parts.append(
        f"Made by {made_by}. Beside this report: `scan.json` (every figure), `tokens.csv` (one row a token), "
        "`artifacts.safetensors` (mask, hole id per token, one row per hole)."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


METHOD = """Rows are compared as stored: those that share their first bytes by a 128-bit digest of all their bytes, then
byte by byte among equal digests.
*In-hole* is every token in a non-zero black hole, *rest* every other token; sums are accumulated in float64.
The exponent offset is the shift between the two histograms that leaves the least Wasserstein-1 distance."""


def _matrix_parts(result: MatrixScan, figures: Figures, vocabulary: Vocabulary | None) -> Iterator[str]:
    e = result.embedding
    yield f"## {code(e.tensor)} ({e.role}, {e.n_rows:,} x {e.dim:,}, {e.format.name})"
    yield f"**{result.claim}{_share(result) if result.holes.holes and vocabulary is not None else ''}**"
    yield _measures_table(result.measures())
    yield from _initialisation(result)
    if result.holes.holes:
        yield _holes_table(result, vocabulary)
        yield fold("Members of each group", _members(result, vocabulary))
        if vocabulary is not None:
            yield from production_parts(result.in_hole)
    yield from cause_parts(result.causes, vocabulary)
    yield from _exponent_parts(result)
    if result.lattice is not None:
        yield "### On the lattice"
        summary = result.lattice
        yield blocks_part(summary, vocabulary) if isinstance(summary, BlockSurvey) else summary_part(summary)
    yield "\n".join(f"![{caption}]({name})" for name, caption in figures)
    yield fold("Norms, centroids and the tensor's digest", _details(result))


def _share(result: MatrixScan) -> str:
    said = claim_share(result.in_hole, f"the {result.in_hole.tokens:,} tokens")
    return f" {said[0].upper()}{said[1:]}."


def _measures_table(measures: Sequence[Measure]) -> str:
    rows = [(m.name, m.population, number(m.value), m.unit, m.definition) for m in measures]
    return table(("figure", "over", "value", "unit", "definition"), rows, right=(2,))


def _initialisation(result: MatrixScan) -> Iterator[str]:
    if result.expected_norm is not None:
        sigma = result.expected_norm / result.embedding.dim**0.5
        yield (
            f"The config's `initializer_range` {number(sigma)} would give untouched rows a norm of about "
            f"sigma x sqrt(dim) = {number(result.expected_norm, 4)}."
        )


def _holes_table(result: MatrixScan, vocabulary: Vocabulary | None) -> str:
    rows = []
    holes = list(zip(result.holes.holes, result.geometry.hole_angles_deg, strict=True))
    for hole, angle in holes[:SHOWN_HOLES]:
        text = vocabulary.text(hole.representative) if vocabulary else None
        norm = float(result.geometry.norms[hole.representative])
        undefined = math.isnan(norm)
        kind = "zero" if hole.is_zero else ("not finite" if undefined else "")
        figures = (number(None if undefined else norm), number(angle, 4))
        rows.append((f"{hole.id}", f"{hole.population:,}", *figures, token(text, hole.representative), kind))
    header = ("hole", "tokens", "norm", "angle to rest (deg)", "first token (id)", "")
    more = "" if len(holes) <= SHOWN_HOLES else f"\n\n{len(holes) - SHOWN_HOLES:,} more are in `scan.json`."
    return table(header, rows, right=(0, 1, 2, 3)) + more


def _members(result: MatrixScan, vocabulary: Vocabulary | None) -> str:
    lines = []
    for hole in result.holes.holes[:SHOWN_HOLES]:
        ids = [int(i) for i in hole.token_ids[:SHOWN_TOKENS]]
        shown = ", ".join(token(vocabulary.text(i) if vocabulary else None, i) for i in ids)
        rest = hole.population - len(ids)
        lines.append(f"- **{hole.id}** ({hole.population:,}): {shown}" + (f", and {rest:,} more" if rest else ""))
    return "\n".join(lines)


def _exponent_parts(result: MatrixScan) -> Iterator[str]:
    bits = result.bits
    if bits is None:
        yield (
            f"Sign, exponent and mantissa: not applicable. {result.embedding.format.name} stores blocks of integers "
            "with shared scales, not floats."
        )
        return
    if bits.agreement is not None:
        a = bits.agreement
        differing = f"; they differ on {', '.join(map(str, a.differing_dims[:20]))}" if a.differing_dims else ""
        same = a.dims - len(a.differing_dims)
        yield f"The holes' rows share the raw exponent on {same:,} of {a.dims:,} dimensions{differing}."
    if bits.offset is not None:
        o = bits.offset
        yield (
            f"In-hole exponents lie {number(o.by_mean, 4)} from the rest's by mean, {o.by_mode} by mode, {o.shift} by "
            f"best shift; the Wasserstein-1 distance falls from {number(o.distance, 4)} to "
            f"{number(o.distance_after_shift, 4)} exponents after that shift (0 would be the same shape)."
        )
    n = bits.everything.unused_mantissa_bits
    if n and bits.everything.mode is not None:
        yield f"The lowest {n} mantissa bits are clear in every element, as in numbers rounded to a shorter format."


def _details(result: MatrixScan) -> str:
    norms = [
        (
            s.population,
            f"{s.rows:,}",
            f"{s.left_out:,}",
            *(number(v) for v in (s.mean, s.std, s.min, s.median, s.max)),
        )
        for s in result.geometry.summaries
    ]
    centroids = [
        (p.weighting, p.frame, *(number(v) for v in (p.in_hole_norm, p.rest_norm, p.angle_deg, p.distance)))
        for p in result.geometry.centroids
    ]
    mean = number(result.geometry.vocabulary_mean_norm)
    norm_columns = ("norms of", "finite rows", "left out", "mean", "std", "min", "median", "max")
    centroid_columns = ("centroids over", "frame", "in-hole norm", "rest norm", "angle (deg)", "distance")
    digest = f"SHA-256 of the tensor's bytes: `{result.embedding.sha256}`."
    return "\n\n".join(
        (
            table(norm_columns, norms, right=range(1, 8)),
            table(centroid_columns, centroids, right=range(2, 6)),
            f"Norm of the mean over all finite rows: {mean}. {digest}",
        )
    )


def _tied_sentence(scan: Scan) -> str:
    checkpoint = scan.checkpoint
    if checkpoint.tied == "different":
        formats = {e.format.name for e in checkpoint.matrices}
        if len(formats) > 1:
            return (
                f"Input and output matrix are stored in different formats ({', '.join(sorted(formats))}): "
                "whether they hold the same numbers cannot be told from their bytes."
            )
        return "Input and output matrix are stored and their bytes differ."
    if checkpoint.tied is None:
        alone = "One tensor was asked for by name" if checkpoint.asked else "One matrix was found"
        return f"{alone}; it was not held against another."
    return {
        "absent": "One matrix is stored: the file holds no separate output matrix.",
        "identical": "Input and output matrix are stored with identical bytes (tied).",
    }[checkpoint.tied]


def _caveats(scan: Scan) -> Iterator[str]:
    yield "Identical rows are a fact about the bytes; that a token is dead or untrained is an inference not made here."
    vocabulary = scan.checkpoint.vocabulary
    if scan.checkpoint.source.kind == "planted":
        yield "This matrix was planted: made to carry a known structure, not trained."
    for result in scan.matrices:
        e = result.embedding
        if e.is_quantised and result.equal_values is not None:
            yield (
                f"`{e.format.name}` is quantised: different weights can quantise to one stored row, so identical "
                "stored rows do not prove identical weights; and different blocks can stand for equal numbers "
                f"({result.holes.n_tokens:,} tokens share stored rows, {result.equal_values.n_tokens:,} share values)."
            )
        left_out = result.geometry.summaries[0].left_out
        if left_out:
            yield f"{left_out:,} rows hold an infinity or a nan; they have no norm and are in no centroid."
        if vocabulary is not None and e.n_rows > len(vocabulary):
            beyond = e.n_rows - len(vocabulary)
            yield f"{beyond:,} rows lie beyond the tokenizer's {len(vocabulary):,} tokens."
    if scan.checkpoint.source.kind == "hub":
        yield (
            "A tensor that was fetched alone cannot be held against its file's published SHA-256; one that lay "
            "in huggingface_hub's cache was, whole, if the Hub's listing is known. The tensors' own digests are above."
        )
    for note in scan.notes:
        yield plain(note[:1].upper() + note[1:]) + "."
