"""The report of a run's dynamics: dynamics.md, dynamics.json, series.csv, tokens.csv and figures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from forensics.dynamics.study import Study
from forensics.report.dynamics_claims import claim_of
from forensics.report.dynamics_document import dynamics_document
from forensics.report.dynamics_figures import FIGURES, draw_dynamics
from forensics.report.dynamics_tables import write_series, write_tokens_course
from forensics.report.folder import Writer, write_folder
from forensics.text import align, json_text, visible


def dynamics_json(result: Study) -> str:
    """The text of dynamics.json."""
    return json_text(result.to_dict())


def dynamics_text(result: Study) -> str:
    """The run for a terminal: a claim a question, and what sets the groups of runs apart."""
    run = result.run
    lines = [
        visible(f"{run.name}: {run.n_dead:,} dead and {run.n_live:,} live tokens, {len(run.steps):,} recorded steps"),
    ]
    for answer in run.answers:
        if answer.result is None:
            lines.append(f"{answer.section}. {answer.title}: not answered: {visible(answer.missing or '')}")
        else:
            lines.append(f"{answer.section}. {answer.title}: {claim_of(answer)}")
    if result.comparison is not None:
        compared = result.comparison
        found = [(row, cell) for row in compared.rows for cell in row.cells if cell.verdict == "differs"]
        rows = [(g.label, ", ".join(visible(name) for name in g.runs), f"{len(g.runs)}") for g in compared.groups]
        lines += ["", align([("group", "runs", "seeds"), *rows], right=(2,)), ""]
        lines.append(f"{len(found):,} of {compared.tested:,} differences that could be held against noise exceed it.")
    return "\n".join(lines)


def write_dynamics_report(result: Study, folder: str | Path) -> list[Path]:
    """Writes dynamics.md, dynamics.json, series.csv, tokens.csv and the figures into a folder.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    drawn = list(draw_dynamics(result))
    files: dict[str, bytes | Writer] = {f"{name}.png": png for name, _, _, png in drawn}
    captions = [(section, f"{name}.png", caption) for name, section, caption, _ in drawn]
    files["series.csv"] = partial(write_series, result.run)
    files["tokens.csv"] = partial(write_tokens_course, result.run)
    files["dynamics.json"] = dynamics_json(result).encode()
    files["dynamics.md"] = dynamics_document(result, captions).encode()
    return write_folder(Path(folder), files, frozenset(f"{name}.png" for name in FIGURES))
