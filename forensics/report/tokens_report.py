"""The report of a checkpoint's tokens: tokens.md, tokens.json and one row a token in census.csv."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from forensics.report.folder import Writer, write_folder
from forensics.report.markdown import code, plain
from forensics.report.tables import cause_column
from forensics.report.tokens_document import METHOD, RULES, census_parts, matrix_parts
from forensics.scanning.check import Check
from forensics.scanning.token_claims import claims
from forensics.scanning.tokens import MatrixTokens, TokenScan
from forensics.text import align, json_text, literal, number, visible
from forensics.undertrained import Halo
from forensics.vocabulary.categories import CATEGORIES
from forensics.vocabulary.census import STATES

SHOWN = 10
"""Rows of a table on a terminal."""

CENSUS_COLUMNS = (
    "id", "text", "bytes", "category", "script", "reachable", "witness", "ground", "detail", "proved", "re_encoded",
)  # fmt: skip


def tokens_json(result: TokenScan) -> str:
    """The text of tokens.json."""
    return json_text(result.to_dict())


def tokens_text(result: TokenScan) -> str:
    """The findings for a terminal."""
    text_of = result.census.vocabulary.text
    parts = []
    for matrix in result.matrices:
        e = matrix.embedding
        place = visible(f"{result.checkpoint.source}: {e.tensor}")
        parts.append("\n".join([f"{place} ({e.role}), {e.n_rows:,} x {e.dim:,} {e.format.name}", *claims(matrix)]))
        if len(matrix.candidates):
            values = matrix.indicators.values
            rows = [("candidate (id)", *values)]
            for i in map(int, matrix.candidates.token_ids[:SHOWN]):
                rows.append((_named(text_of(i), i), *(number(float(v[i]), 4) for v in values.values())))
            more = len(matrix.candidates) - SHOWN
            parts.append(align(rows, right=range(1, len(rows[0]))) + (f"\n... and {more:,} more" if more > 0 else ""))
        if len(matrix.halo):
            parts.append(_halo_text(matrix.halo, text_of))
    return "\n\n".join(parts)


def _halo_text(halo: Halo, text_of: Callable[[int], str | None]) -> str:
    near = [t for t in halo.tokens if t.inside][:SHOWN]
    columns = [("halo (id)", *(_named(text_of(t.token_id), t.token_id) for t in near))]
    columns.append(("distance", *(number(t.distance, 4) for t in near)))
    if any(t.linf_steps is not None for t in near):  # quantised rows have no place on the lattice
        columns.append(("L-infinity, steps", *(number(t.linf_steps) for t in near)))
    more = len(halo) - len(near)
    return align(list(zip(*columns, strict=True)), right=(1, 2)) + (f"\n... and {more:,} more" if more else "")


def check_text(check: Check) -> str:
    """The verdicts for a terminal, one line a reason."""
    rows: list[tuple[str, str, str]] = []
    for verdict in check.verdicts:
        name = _named(verdict.text, verdict.token_id)
        rows += [(name, reason.fault, visible(reason.detail)) for reason in verdict.reasons] or [
            (name, "nothing found", "")
        ]
    return align(rows)


def _named(text: str | None, token_id: int) -> str:
    return str(token_id) if text is None else f"{literal(text, 32)} ({token_id})"


def write_tokens_report(result: TokenScan, folder: str | Path) -> list[Path]:
    """Writes tokens.md, tokens.json and census.csv into a folder, beside a scan's report if one is there.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    parts = [f"# Tokens: {code(str(result.checkpoint.source))}"]
    for matrix in result.matrices:
        e = matrix.embedding
        parts.append(f"## {code(e.tensor)} ({e.role}, {e.n_rows:,} x {e.dim:,}, {e.format.name})")
        parts += matrix_parts(matrix, result.census)
    parts += ["## The vocabulary", *census_parts(result.census)]
    parts += ["## Method", f"{METHOD}\n{RULES[result.rule]}"]
    if result.notes:
        parts += ["## Caveats", "\n".join(f"- {plain(note[:1].upper() + note[1:])}." for note in result.notes)]
    beside = "Beside this report: `tokens.json` (every figure), `census.csv` (one row a token)."
    parts.append(f"Made by {code(result.command)}. {beside}")
    files: dict[str, bytes | Writer] = {
        "tokens.md": ("\n\n".join(part for part in parts if part) + "\n").encode(),
        "tokens.json": tokens_json(result).encode(),
        "census.csv": partial(_write_census, result),
    }
    return write_folder(Path(folder), files)


def _write_census(result: TokenScan, path: Path) -> None:
    """One row a token: what it is, whether text gives it, and what each matrix's indicators say."""
    names = list(CENSUS_COLUMNS)
    for matrix in result.matrices:
        names += [column + _tail(result, matrix) for column in _matrix_columns(matrix)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        of_matrices = [list(zip(*_matrix_columns(m).values(), strict=True)) for m in result.matrices]
        for i, row in enumerate(_census_rows(result)):
            cells = [c for columns in of_matrices for c in (columns[i] if i < len(columns) else [""] * len(columns[0]))]
            writer.writerow([*row, *cells])


def _tail(result: TokenScan, matrix: MatrixTokens) -> str:
    return f"_{matrix.embedding.role}" if len(result.matrices) > 1 else ""


def _census_rows(result: TokenScan) -> Iterator[list[Any]]:
    census = result.census
    has_pieces = len(census.vocabulary) > 0
    for i in range(len(census)):
        raw, text, ground = census.vocabulary.raw_bytes(i), census.vocabulary.text(i), census.grounds.get(i)
        witness, again = census.witness(i), census.re_encoded.get(i)
        yield [
            i,
            "" if text is None else literal(text),
            "" if raw is None else raw.hex(),
            CATEGORIES[census.category[i]] if has_pieces else "",
            census.scripts[census.script[i]] if has_pieces else "",
            STATES[int(census.state[i])],
            "" if witness is None else literal(witness),
            ground.cause if ground else "",
            literal(ground.detail) if ground else "",
            int(ground.proved) if ground else "",
            " ".join(map(str, again)) if again is not None else "",
        ]


def _matrix_columns(matrix: MatrixTokens) -> dict[str, list[Any]]:
    """By name: indicators, candidate, reference, hole, cause."""
    n = matrix.embedding.n_rows
    columns: dict[str, list[Any]] = {}
    for name, values in matrix.indicators.values.items():
        columns[name] = ["" if np.isnan(v) else v for v in values.tolist()]
    for name, ids in (("candidate", matrix.candidates.token_ids), ("reference", matrix.reference.token_ids)):
        flags = np.zeros(n, np.int8)
        flags[ids] = 1
        columns[name] = flags.tolist()
    holes = [h or "" for h in matrix.holes.hole_ids.tolist()]
    return columns | {"hole_id": holes, "cause": cause_column(matrix.causes, n)}
