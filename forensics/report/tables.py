"""The long tables of a scan: tokens.csv and artifacts.safetensors."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from forensics.causes import Causes
from forensics.checkpoint.safetensors_file import OutgoingTensor, write_safetensors
from forensics.embedding import Embedding
from forensics.formats import FloatFormat
from forensics.scanning import MatrixScan, Scan
from forensics.text import literal
from forensics.vocabulary.categories import CATEGORIES
from forensics.vocabulary.census import STATES

TOKEN_COLUMNS = ("norm", "hole_id", "hole_population", "is_zero", "angle_deg", "cause")


def suffix(scan: Scan, result: MatrixScan) -> str:
    """What column, key and file names carry where a scan has more than one matrix."""
    return f"_{result.embedding.role}" if len(scan.matrices) > 1 else ""


def write_tokens(scan: Scan, path: Path) -> None:
    """One row a token: id, text as a JSON literal, what it is, then each matrix's norm, hole, hole angle and cause.

    Floats are written so that they read back exactly; an undefined cell is empty. ``beyond_tokenizer`` is 1
    for rows past the tokenizer's last id.
    """
    vocabulary = scan.checkpoint.vocabulary
    n_rows = max(m.embedding.n_rows for m in scan.matrices)
    columns: list[list[Any]] = [list(range(n_rows))]
    names, census = ["id", "text", "beyond_tokenizer", "category", "script", "reachable"], scan.census
    columns.append([_text(vocabulary.text(i)) for i in range(n_rows)] if vocabulary else [""] * n_rows)
    columns.append([int(i >= len(vocabulary)) if vocabulary else "" for i in range(n_rows)])
    columns.append([CATEGORIES[c] for c in census.category.tolist()] if vocabulary else [""] * n_rows)
    columns.append([census.scripts[s] for s in census.script.tolist()] if vocabulary else [""] * n_rows)
    columns.append([STATES[s] for s in census.state.tolist()] if vocabulary else [""] * n_rows)
    for result in scan.matrices:
        names += [column + suffix(scan, result) for column in TOKEN_COLUMNS]
        columns += [column + [""] * (n_rows - len(column)) for column in _token_columns(result)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


def _text(text: str | None) -> str:
    return "" if text is None else literal(text)


def _token_columns(result: MatrixScan) -> list[list[Any]]:
    """The columns of TOKEN_COLUMNS for one matrix."""
    norms = ["" if np.isnan(n) else n for n in result.geometry.norms.tolist()]
    hole_ids = result.holes.hole_ids.tolist()
    holes = result.holes.holes
    angles = result.geometry.hole_angles_deg

    def of_hole(value: Callable[[int], Any]) -> list[Any]:
        by_id = ["", *("" if value(i) is None else value(i) for i in range(len(holes)))]
        return [by_id[h] for h in hole_ids]

    return [
        norms,
        [h or "" for h in hole_ids],
        of_hole(lambda i: holes[i].population),
        of_hole(lambda i: int(holes[i].is_zero)),
        of_hole(lambda i: angles[i]),
        cause_column(result.causes, len(norms)),
    ]


def cause_column(causes: Causes, n_rows: int) -> list[str]:
    """The cause of each token's group, of the first group that it is in; empty outside of all."""
    column = [""] * n_rows
    for group in reversed(causes.groups):
        for i in group.token_ids.tolist():
            column[i] = group.cause
    return column


def write_artifacts(scan: Scan, path: Path) -> None:
    """The black-hole mask, the hole id of every token, and one stored row per hole, as safetensors.

    Rows keep their stored format; quantised rows are their raw bytes (uint8).
    """
    tensors = []
    for result in scan.matrices:
        tail = suffix(scan, result)
        holes = result.holes
        tensors.append(_outgoing("black_hole_mask" + tail, "BOOL", holes.mask))
        tensors.append(_outgoing("hole_id" + tail, "I32", holes.hole_ids))
        tensors.append(_hole_rows("hole_rows" + tail, result.embedding, [h.representative for h in holes.holes]))
    write_safetensors(path, tensors, {"schema": "forensics.artifacts/1", "source": str(scan.checkpoint.source)})


def _outgoing(name: str, code: str, array: np.ndarray[Any, Any]) -> OutgoingTensor:
    return OutgoingTensor(name, code, array.shape, [array])


def _hole_rows(name: str, embedding: Embedding, rows: list[int]) -> OutgoingTensor:
    # A block at a time: a matrix can be nothing but pairs.
    pieces = (embedding.rows_bytes[rows[start:stop]] for start, stop in embedding.spans(len(rows)))
    if isinstance(embedding.format, FloatFormat):
        return OutgoingTensor(name, embedding.format.stored_as, (len(rows), embedding.dim), pieces)
    return OutgoingTensor(name, "U8", (len(rows), embedding.row_bytes), pieces)
