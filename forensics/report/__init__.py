"""Values to markdown, tables, figures and files."""

from __future__ import annotations

from pathlib import Path

from forensics.report.document import scan_document
from forensics.report.figures import draw_figures
from forensics.report.folder import Writer, write_folder
from forensics.report.survey import survey_json, survey_table
from forensics.report.tables import suffix, write_artifacts, write_tokens
from forensics.scanning import Scan
from forensics.text import json_text

__all__ = ["scan_json", "survey_json", "survey_table", "write_report"]

FIGURES = ("norms", "exponents", "populations", "angles")


def scan_json(scan: Scan) -> str:
    """The text of scan.json."""
    return json_text(scan.to_dict())


def write_report(scan: Scan, folder: str | Path) -> list[Path]:
    """Writes report.md, scan.json, tokens.csv, artifacts.safetensors and the figures into a folder.

    The same scan gives the same bytes. On any failure the folder is as it was before.

    Args:
        scan: what was found.
        folder: the report folder itself, made if it is not there; an earlier report in it is replaced.

    Returns:
        The files written.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    files: dict[str, bytes | Writer] = {}
    captions = []
    for result in scan.matrices:
        drawn = [(f"{name}{suffix(scan, result)}.png", caption, png) for name, caption, png in draw_figures(result)]
        files.update((name, png) for name, _, png in drawn)
        captions.append([(name, caption) for name, caption, _ in drawn])
    files["tokens.csv"] = lambda path: write_tokens(scan, path)
    files["artifacts.safetensors"] = lambda path: write_artifacts(scan, path)
    files["scan.json"] = scan_json(scan).encode()
    files["report.md"] = scan_document(scan, captions).encode()
    stale = frozenset(f"{name}{tail}.png" for name in FIGURES for tail in ("", "_input", "_output"))
    return write_folder(Path(folder), files, stale)
