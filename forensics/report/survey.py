"""Several scans side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forensics.scanning import SCHEMA, Scan
from forensics.text import align, json_text, number, visible

HEADER = (
    "source",
    "role",
    "rows",
    "dim",
    "dtype",
    "holes",
    "tokens",
    "unique rows",
    "norm in-hole",
    "norm rest",
    "angle",
)


def survey_table(scans: Sequence[Scan]) -> str:
    """One line a matrix: the headline figures of every scan, for a terminal."""
    return align([HEADER, *(row for scan in scans for row in _rows(scan))], right=range(2, len(HEADER)))


def survey_json(scans: Sequence[Scan]) -> str:
    """The scans' dictionaries in one document."""
    return json_text({"schema": f"{SCHEMA}-survey", "scans": [scan.to_dict() for scan in scans]})


def _rows(scan: Scan) -> Iterator[tuple[str, ...]]:
    for result in scan.matrices:
        e, holes = result.embedding, result.holes
        _, inside, rest = result.geometry.summaries
        yield (
            visible(str(scan.checkpoint.source)),
            e.role,
            f"{e.n_rows:,}",
            f"{e.dim:,}",
            e.format.name,
            f"{len(holes):,}",
            f"{holes.n_tokens:,}",
            f"{holes.n_unique_rows:,}",
            number(inside.mean, 4),
            number(rest.mean, 4),
            number(result.geometry.centroids[0].angle_deg, 4),
        )
