"""The parts of a diff's report: claim, tables, tokens, method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from forensics.diff import MatrixDiff, claim
from forensics.diff.holes import CHANGED_HOLE, HOLE_CHANGES, JOINED, LEFT
from forensics.report.markdown import fold, plain, table, token
from forensics.scanning.diff import CheckpointDiff
from forensics.scanning.diff_vocabulary import VocabularyDiff
from forensics.text import number
from forensics.vocabulary import Vocabulary

SHOWN_TOKENS = 24
"""Tokens listed in the report for each thing that can happen; all are in rows.csv."""

SHOWN_HOLES = 40

DEFINITIONS = {
    "unchanged": "stored bytes identical",
    "equal values": "every number equal, other stored bits",
    "equal after rounding": "every number equal once one is rounded to the other's format",
    "moved": "largest step on any dimension within {within}",
    "changed": "anything else",
    "removed": "row of A that has no partner in B",
    "added": "row of B that has no partner in A",
}

METHOD = """Rows are compared as stored, then in steps (differences of ordinals, the ranks of numbers among all of
their format; L-infinity over the dimensions), then by Euclidean distance in float64. -0.0 and +0.0 are one ordinal:
rows that differ only there hold equal values, 0 steps apart. A row with a nan that is not bit-identical has changed by
an unknown number of steps. Black holes are found in each checkpoint by itself, by bit identity, and followed by their
tokens: a hole is *dissolved* if no two of its tokens share a row any more, *split* if they are in two holes or more,
*merged* if they are in one with tokens of another hole, else *kept*. A token *changed hole* if it shares its row with
none of those that it shared it with before."""


def state_rows(diff: MatrixDiff) -> list[tuple[str, str, str]]:
    """(state, rows, definition) of each state that can occur or does."""
    possible = {"unchanged", "changed", "removed", "added"} | ({"moved"} if diff.has_steps else set())
    if not diff.is_same_format:
        possible -= {"unchanged"}
    return [
        (name, f"{n:,}", DEFINITIONS[name].format(within=diff.within))
        for name, n in diff.counts.items()
        if n or name in possible
    ]


def matrix_parts(diff: MatrixDiff, first: Vocabulary | None, second: Vocabulary | None) -> Iterator[str]:
    """The report's section on one matrix, below its heading."""
    lead, *others = claim(diff)
    yield f"**{plain(lead)}**"
    yield "\n".join(f"- {plain(line)}" for line in others)
    yield table(("rows", "number", "definition"), state_rows(diff), right=(1,))
    if diff.steps_histogram:
        rows = [(_span(low, high), f"{n:,}") for low, high, n in diff.steps_histogram]
        yield table(("largest step", "rows that differ"), rows, right=(0, 1))
    yield from _fates(diff)
    for code in (JOINED, LEFT, CHANGED_HOLE):
        yield from _tokens(f"Tokens that {_verb(code)}", diff, diff.hole_changes == code, second or first)
    yield from _tokens("Rows that became zero", diff, diff.rows.became_zero, second or first)
    yield from _tokens("Rows that became non-finite", diff, diff.rows.became_non_finite, second or first)
    yield from _farthest(diff, second or first)


def vocabulary_part(told: VocabularyDiff) -> str:
    """How the tokenizers differ, in one sentence, and the first of each kind."""
    if told.is_same:
        return f"The tokenizers give all {len(told.first):,} ids the same pieces."
    counts = f"{len(told.added):,} pieces added, {len(told.removed):,} removed, {len(told.moved):,} at another id"
    said = f"Tokenizer: {counts}; {len(told.renamed):,} ids have another piece."
    shown = (
        ("Added", told.added, told.second),
        ("Removed", told.removed, told.first),
        ("Moved", told.moved, told.second),
    )
    lists = [fold(f"{what} pieces", _listed(ids, vocabulary)) for what, ids, vocabulary in shown if len(ids)]
    return "\n\n".join([said, *lists])


def caveats(result: CheckpointDiff) -> Iterator[str]:
    """What the figures cannot say."""
    yield "A row that did not change is a fact about bytes; why it did not is an inference, worded as one."
    if any(diff.first.is_quantised or diff.second.is_quantised for diff in result.matrices):
        yield "In a quantised matrix the bytes are the quantiser's: equal blocks do not prove equal weights before it."
    for note in result.notes:
        yield plain(note[:1].upper() + note[1:]) + "."


def _fates(diff: MatrixDiff) -> Iterator[str]:
    if not diff.fates and not diff.origins:
        return
    rows = []
    for hole in diff.fates[:SHOWN_HOLES]:
        where = ", ".join(f"{n:,} in {other}" for other, n in hole.holes[:4]) + (", ..." if len(hole.holes) > 4 else "")
        figures = (f"{hole.alone:,}", f"{hole.gone:,}", f"{hole.unchanged:,}")
        rows.append((f"{hole.id}", f"{hole.population:,}", hole.fate, where or "-", *figures))
    if rows:
        more = len(diff.fates) - len(rows)
        header = ("hole of A", "tokens", "fate", "tokens in holes of B", "alone in B", "no row in B", "unchanged rows")
        yield table(header, rows, right=(0, 1, 4, 5, 6)) + (f"\n\n{more:,} more holes are in rows.csv." if more else "")
    new = [hole for hole in diff.origins if hole.fate == "dissolved"]
    if new:
        listed = ", ".join(f"{hole.id} ({hole.population:,} tokens)" for hole in new[:SHOWN_HOLES])
        yield f"Holes of B that are new: {listed}" + (", ..." if len(new) > SHOWN_HOLES else "") + "."


def _verb(code: int) -> str:
    return {JOINED: "joined a hole", LEFT: "left a hole"}.get(code, HOLE_CHANGES[code])


def _tokens(title: str, diff: MatrixDiff, chosen: NDArray[np.bool_], vocabulary: Vocabulary | None) -> Iterator[str]:
    ids = diff.token_ids(chosen)
    if len(ids):
        yield fold(f"{title} ({len(ids):,})", _listed(ids, vocabulary))


def _listed(ids: NDArray[np.int64], vocabulary: Vocabulary | None) -> str:
    shown = ", ".join(token(vocabulary.text(i) if vocabulary else None, i) for i in ids[:SHOWN_TOKENS].tolist())
    return shown + (f", and {len(ids) - SHOWN_TOKENS:,} more" if len(ids) > SHOWN_TOKENS else "")


def _farthest(diff: MatrixDiff, vocabulary: Vocabulary | None) -> Iterator[str]:
    away = np.where(np.isfinite(diff.rows.distance), diff.rows.distance, -1)
    order = np.argsort(-away, kind="stable")[:SHOWN_TOKENS]
    order = order[away[order] > 0]
    if not len(order):
        return
    rows = []
    for pair in order.tolist():
        i, steps = int(diff.pairing.second[pair]), int(diff.rows.steps[pair])
        norm = diff.rows.norm[pair]
        relative = float(away[pair] / norm) if norm > 0 else None
        text = token(vocabulary.text(i) if vocabulary else None, i)
        rows.append((text, number(float(away[pair])), number(relative, 4), f"{steps:,}" if steps >= 0 else "-"))
    header: Sequence[str] = ("token (id in B)", "distance", "over the norm in A", "largest step")
    yield fold("Rows that moved furthest", table(header, rows, right=(1, 2, 3)))


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
