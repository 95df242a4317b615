"""What a diff says, in sentences: the finding first, an inference only as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from forensics.diff.rows import CHANGED

if TYPE_CHECKING:
    from forensics.diff.result import MatrixDiff


def claim(diff: MatrixDiff) -> tuple[str, ...]:
    """The finding as a few sentences; the first says how many rows differ."""
    return tuple(
        sentence for part in (_rows, _events, _unpaired, _scaling, _untouched, _holes) for sentence in part(diff)
    )


def _rows(diff: MatrixDiff) -> Iterator[str]:
    n, counts, name = len(diff.pairing), diff.counts, diff.first.format.name
    differing = int(diff.differing.sum())
    of = f"{differing:,} of {n:,} rows differ ({_percent(differing, n)})"
    if not diff.is_same_format:
        yield f"The formats differ, {name} in A and {diff.second.format.name} in B, so values are compared, not bits."
        yield f"{of}; {counts['equal values']:,} hold equal values, stored in another format."
        if rounded := counts["equal after rounding"]:
            yield f"{rounded:,} of those that differ are equal after rounding one to the other's format."
        elif diff.first.is_quantised or diff.second.is_quantised:
            yield "One is quantised: only distances of values are given."
        return
    if not differing:
        both = "" if len(diff.pairing.removed) == len(diff.pairing.added) == 0 else " that both have"
        yield f"All {n:,} rows{both} are bit-identical." if n else "No row of A has a partner in B."
        if n and not diff.differs and diff.pairing.match == "id":
            yield f"The matrices are the same bytes, SHA-256 {diff.first.sha256}."
        return
    yield f"{of}; {counts['unchanged']:,} are bit-identical."
    if equal := counts["equal values"]:
        how = "other blocks for equal numbers" if diff.first.is_quantised else "signs of zeros"
        yield f"{equal:,} of those that differ hold equal values ({how})."
    steps = diff.rows.steps[diff.rows.steps > 0]
    if len(steps):
        yield (
            f"{counts['moved']:,} moved by at most {diff.within:,} {name} step{'' if diff.within == 1 else 's'} on any "
            f"dimension; the largest step of a row that differs has median {float(np.median(steps)):,.0f}, "
            f"maximum {int(steps.max()):,}."
        )
    unranked = int(((diff.rows.state == CHANGED) & (diff.rows.steps < 0)).sum())
    if diff.has_steps and unranked:
        yield f"{unranked:,} that changed hold a nan and have no distance."


def _events(diff: MatrixDiff) -> Iterator[str]:
    rows = diff.rows
    for chosen, what in (
        (rows.became_zero, "all zero in B and were not in A"),
        (rows.was_zero, "all zero in A and are not in B"),
        (rows.became_non_finite, "holding an infinity or a nan in B and did not in A"),
        (rows.was_non_finite, "holding an infinity or a nan in A and do not in B"),
    ):
        if chosen.any():
            yield f"Rows that are {what}: {int(chosen.sum()):,}."


def _unpaired(diff: MatrixDiff) -> Iterator[str]:
    for side, ids in enumerate((diff.pairing.removed, diff.pairing.added)):
        if len(ids):
            one, other, what = ("A", "B", "removed") if side == 0 else ("B", "A", "added")
            where = f"ids {ids[0]:,} to {ids[-1]:,}" if len(ids) > 1 else f"id {ids[0]:,}"
            inside = int(diff.holes[side].mask[ids].sum())
            yield (
                f"Rows of {one} that {other} has not: {len(ids):,} {what} ({where}); of them "
                f"{diff.zero_rows[side]:,} all zero, {inside:,} in black holes of {one}."
            )


def _scaling(diff: MatrixDiff) -> Iterator[str]:
    s = diff.scaling
    if s is not None:
        yield (
            f"{s.rows:,} of {s.of:,} rows that changed are {s.factor:.6g} times what they were: this one factor "
            f"explains {s.explained:.1%} of their squared change (median), as weight decay or a rescaling would."
        )


def _untouched(diff: MatrixDiff) -> Iterator[str]:
    n = diff.counts["unchanged"]
    if not n or not diff.differing.any():
        return
    if {diff.of, diff.first.role, diff.second.role} & {"output", "tied"}:
        # The softmax gives every row of an output matrix a gradient in every step.
        why = f"the {n:,} unchanged rows were frozen or masked, or rounding lost their updates"
    else:
        why = f"no update reached the {n:,} unchanged rows (tokens its data never held), or rounding lost it"
    yield f"Inference: if B was trained from A, and without weight decay, {why}."


def _holes(diff: MatrixDiff) -> Iterator[str]:
    first, second = diff.holes
    if not len(first) and not len(second):
        yield "Neither has black holes."
        return
    n = diff.fate_counts()
    fates = ", ".join(f"{n[name]:,} {name}" for name in ("kept", "merged", "split", "dissolved") if n[name])
    whole = sum(hole.fate == "kept" and hole.unchanged == hole.population for hole in diff.fates)
    kept = f" ({whole:,} with every row bit-identical)" if n["kept"] and diff.is_same_format else ""
    those = f"of A's {len(first):,}, {fates}{kept}" if fates else "A has none"
    yield f"Black holes: {those}; B has {len(second):,}, {n['new']:,} of them new."


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %" if whole else "none to compare"
