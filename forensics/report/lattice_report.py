"""The report of a lattice survey: lattice.md, lattice.json and figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from forensics.lattice import BlockSurvey, LatticeSurvey
from forensics.report.folder import Writer, write_folder
from forensics.report.lattice_document import METHOD, blocks_part, lattice_claim, lattice_parts
from forensics.report.lattice_figures import FIGURES, draw_lattice
from forensics.report.markdown import code
from forensics.scanning.lattice import LatticeScan
from forensics.text import align, json_text, literal, number, visible
from forensics.vocabulary import Vocabulary

NOTHING = "No black hole has a place on the lattice: there is nothing to look around. Name a token with `--around`."


def lattice_json(result: LatticeScan) -> str:
    """The text of lattice.json."""
    return json_text(result.to_dict())


def lattice_text(result: LatticeScan) -> str:
    """The survey for a terminal: one claim a matrix."""
    lines = []
    for embedding, survey in result.surveys:
        place = visible(f"{result.checkpoint.source}: {embedding.tensor}")
        lines.append(f"{place} ({embedding.role}), {embedding.n_rows:,} x {embedding.dim:,} {embedding.format.name}")
        if survey is None:
            lines.append(NOTHING.replace("`", ""))
        elif isinstance(survey, LatticeSurvey):
            lines += [lattice_claim(survey), "", *_survey_lines(survey)]
        else:
            lines += ["", *_block_lines(survey, result.checkpoint.vocabulary)]
        lines.append("")
    return "\n".join(lines).rstrip()


def write_lattice_report(result: LatticeScan, folder: str | Path) -> list[Path]:
    """Writes lattice.md, lattice.json and the figures into a folder, beside a scan's report if one is there.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    files: dict[str, bytes | Writer] = {}
    parts = [f"# Lattice survey: {code(str(result.checkpoint.source))}"]
    for embedding, survey in result.surveys:
        tail = f"_{embedding.role}" if len(result.surveys) > 1 else ""
        parts.append(f"## {code(embedding.tensor)} ({embedding.n_rows:,} x {embedding.dim:,}, {embedding.format.name})")
        if survey is None:
            parts.append(NOTHING)
        elif isinstance(survey, LatticeSurvey):
            drawn = [(f"{name}{tail}.png", caption, png) for name, caption, png in draw_lattice(survey)]
            files.update((name, png) for name, _, png in drawn)
            captions = [(name, caption) for name, caption, _ in drawn]
            parts += lattice_parts(survey, result.checkpoint.vocabulary, captions)
        else:
            parts.append(blocks_part(survey, result.checkpoint.vocabulary, shown=40))
    if any(isinstance(survey, LatticeSurvey) for _, survey in result.surveys):
        parts += ["## Method", METHOD]
    parts.append(f"Made by {code(result.command)}. Beside this report: `lattice.json` (every figure).")
    files["lattice.json"] = lattice_json(result).encode()
    files["lattice.md"] = ("\n\n".join(part for part in parts if part) + "\n").encode()
    stale = frozenset(f"{name}{tail}.png" for name in FIGURES for tail in ("", "_input", "_output"))
    return write_folder(Path(folder), files, stale)


def _survey_lines(survey: LatticeSurvey) -> Iterator[str]:
    yield align(
        [("selection", "tokens", "unique rows"), *((p.name, f"{len(p):,}", f"{n:,}") for p, n in survey.counts)],
        right=(1, 2),
    )
    several = [c for c in survey.graph.components if len(c.nodes) > 1]
    if several:
        rows = [(f"{len(c.nodes):,}", f"{c.tokens:,}", f"{c.holes:,}", f"{c.edges:,}") for c in several[:10]]
        yield ""
        yield align([("component: rows", "tokens", "holes", "edges"), *rows], right=range(4))


def _block_lines(survey: BlockSurvey, vocabulary: Vocabulary | None) -> Iterator[str]:
    yield f"rows nearest in value to token {survey.centre}'s, {survey.n_blocks} blocks each"
    rows = [("equal blocks", "equal scales", "largest code step", "distance", "row (id)")]
    for n in survey.neighbours[:13]:
        text = vocabulary.text(n.token_id) if vocabulary else None
        name = f"{n.token_id}" if text is None else f"{literal(text, 32)} ({n.token_id})"
        blocks = (number(n.equal_blocks), number(n.equal_scales), number(n.max_code_step))
        rows.append((*blocks, number(n.distance, 4), name))
    yield align(rows, right=range(4))
