"""The report of a comparison: compare.md, compare.json, observables.csv and the figure."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from forensics.comparison import Comparison
from forensics.comparison.result import COLUMNS
from forensics.report.comparison_document import comparison_document
from forensics.report.comparison_figures import draw_comparison
from forensics.report.folder import Writer, write_folder
from forensics.text import json_text

FIGURES = ("observables.png", "hidden.png")


def comparison_json(result: Comparison) -> str:
    """The text of compare.json."""
    return json_text(result.to_dict())


def write_comparison_report(result: Comparison, folder: str | Path) -> list[Path]:
    """Writes compare.md, compare.json, observables.csv and the figures into a folder.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    drawn = list(draw_comparison(result))
    files: dict[str, bytes | Writer] = {name: png for name, _, png in drawn}
    files["observables.csv"] = partial(write_observables, result)
    files["compare.json"] = comparison_json(result).encode()
    files["compare.md"] = comparison_document(result, [(name, caption) for name, caption, _ in drawn]).encode()
    return write_folder(Path(folder), files, frozenset(FIGURES))


def write_observables(result: Comparison, path: Path) -> None:
    """One line an observable and group of toys; what is undefined is empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(["" if value is None else value for value in row] for row in result.rows())
