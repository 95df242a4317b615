"""The report of a diff: diff.md, diff.json and the full list of rows."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.diff import STATES, MatrixDiff, claim
from forensics.diff.holes import HOLE_CHANGES
from forensics.diff.result import EVENTS
from forensics.embedding import Embedding
from forensics.report.diff_document import METHOD, caveats, matrix_parts, state_rows, vocabulary_part
from forensics.report.folder import Writer, write_folder
from forensics.report.markdown import code
from forensics.scanning.diff import CheckpointDiff
from forensics.text import align, json_text, literal, visible
from forensics.vocabulary import Vocabulary

COLUMNS = ("id_a", "id_b", "text", "state", "steps", "distance", "hole_a", "hole_b", "hole_change", "event")


def diff_json(result: CheckpointDiff) -> str:
    """The text of diff.json."""
    return json_text(result.to_dict())


def diff_text(result: CheckpointDiff) -> str:
    """The diff for a terminal: for each matrix the claim and the number of rows in each state."""
    parts = [f"A: {visible(str(result.first.source))}\nB: {visible(str(result.second.source))}"]
    for diff in result.matrices:
        a, b = diff.first, diff.second
        head = visible(f"{a.tensor} ({diff.of}), {_shape(a)}")
        head += "" if _shape(a) == _shape(b) and a.tensor == b.tensor else visible(f" -> {b.tensor}, {_shape(b)}")
        counts = [(state, n) for state, n, _ in state_rows(diff)]
        parts.append("\n".join([head, *claim(diff), "", align([("rows", "number"), *counts], right=(1,))]))
    if result.vocabulary is not None:
        parts.append(vocabulary_part(result.vocabulary).partition("\n")[0])
    return "\n\n".join(parts)


def write_diff_report(result: CheckpointDiff, folder: str | Path) -> list[Path]:
    """Writes diff.md, diff.json and rows.csv (one for each matrix) into a folder.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    files: dict[str, bytes | Writer] = {}
    first, second = result.first.vocabulary, result.second.vocabulary
    parts = [f"# Checkpoint diff: {code(str(result.first.source))} (A) against {code(str(result.second.source))} (B)"]
    for diff in result.matrices:
        tail = f"_{diff.of}" if len(result.matrices) > 1 else ""
        files[f"rows{tail}.csv"] = partial(write_rows, diff, first, second)
        names = dict.fromkeys((diff.first.tensor, diff.second.tensor))
        shapes = dict.fromkeys((_shape(diff.first), _shape(diff.second)))
        parts.append(f"## {' and '.join(map(code, names))} ({diff.of}): {', then '.join(shapes)}")
        parts += matrix_parts(diff, first, second)
    if result.vocabulary is not None:
        parts += ["## Vocabulary", vocabulary_part(result.vocabulary)]
    parts += ["## Method", METHOD, "## Caveats", "\n".join(f"- {line}" for line in caveats(result))]
    rows = ", ".join(f"`{name}`" for name in files)
    parts.append(f"Made by {code(result.command)}. Beside this report: `diff.json` (every figure), {rows} (every row).")
    files["diff.json"] = diff_json(result).encode()
    files["diff.md"] = ("\n\n".join(part for part in parts if part) + "\n").encode()
    stale = frozenset(f"rows{tail}.csv" for tail in ("", "_input", "_output"))
    return write_folder(Path(folder), files, stale)


def write_rows(diff: MatrixDiff, first: Vocabulary | None, second: Vocabulary | None, path: Path) -> None:
    """One line a row: pairs in the order of A, then the rows removed, then those added.

    The text, a JSON literal, is B's, or A's for rows that B has not. What is undefined is empty.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_pairs(diff, _texts(second or first)))
        writer.writerows(_alone(diff, _texts(first), _texts(second)))


def _pairs(diff: MatrixDiff, text: Callable[[int], str]) -> Iterator[tuple[Any, ...]]:
    a, b, rows = diff.pairing.first, diff.pairing.second, diff.rows
    events = np.full(len(a), "", object)
    for name in EVENTS:
        chosen = getattr(rows, name)
        events[chosen] = [f"{earlier} {name}".lstrip() for earlier in events[chosen]]
    return zip(
        a.tolist(),
        b.tolist(),
        map(text, b.tolist()),
        map(STATES.__getitem__, rows.state.tolist()),
        ("" if s < 0 else s for s in rows.steps.tolist()),
        ("" if math.isnan(d) else d for d in rows.distance.tolist()),
        _holes(diff.holes[0].hole_ids[a]),
        _holes(diff.holes[1].hole_ids[b]),
        map(HOLE_CHANGES.__getitem__, diff.hole_changes.tolist()),
        events.tolist(),
        strict=True,
    )


def _alone(diff: MatrixDiff, first: Callable[[int], str], second: Callable[[int], str]) -> Iterator[tuple[Any, ...]]:
    removed, added = diff.pairing.removed, diff.pairing.added
    for i, hole in zip(removed.tolist(), _holes(diff.holes[0].hole_ids[removed]), strict=True):
        yield i, "", first(i), "removed", "", "", hole, "", "", ""
    for i, hole in zip(added.tolist(), _holes(diff.holes[1].hole_ids[added]), strict=True):
        yield "", i, second(i), "added", "", "", "", hole, "", ""


def _holes(ids: NDArray[np.int32]) -> Iterable[int | str]:
    return [h or "" for h in ids.tolist()]


def _texts(vocabulary: Vocabulary | None) -> Callable[[int], str]:
    def text(token_id: int) -> str:
        found = vocabulary.text(token_id) if vocabulary else None
        return "" if found is None else literal(found)

    return text


def _shape(embedding: Embedding) -> str:
    return f"{embedding.n_rows:,} x {embedding.dim:,} {embedding.format.name}"
