"""The report of a test of hypotheses: hypotheses.md, hypotheses.json, simulations.csv and figures."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from forensics.hypotheses.observables import OBSERVABLES
from forensics.hypotheses.sweeps.study import HypothesesStudy
from forensics.report.folder import Writer, write_folder
from forensics.report.hypotheses_document import PLANTED, hypotheses_document, is_planted, opening
from forensics.report.hypotheses_figures import FIGURES, Curves, draw_hypotheses
from forensics.text import json_text, literal, visible

SIMULATIONS = "simulations.csv"


def hypotheses_json(result: HypothesesStudy) -> str:
    """The text of hypotheses.json."""
    return json_text(result.to_dict())


def hypotheses_text(result: HypothesesStudy) -> str:
    """The test for a terminal: who is dead, the claim, and a verdict a hypothesis."""
    subject = result.subject
    place = f"{subject.checkpoint.source}: {subject.embedding.tensor} ({subject.embedding.role})"
    lines = [visible(place)]
    if result.judgement is None:
        lines.append(visible(opening(result)))
    else:
        lines += [f"dead: {visible(subject.why_dead)}", *map(visible, str(result.judgement).split("\n"))]
        lines += [f"not simulated: {name} ({visible(why)})" for name, why in sorted(result.settings.left_out.items())]
    return "\n".join([*lines, *([PLANTED] if is_planted(subject) else [])])


def write_hypotheses_report(result: HypothesesStudy, folder: str | Path, *, curves: Curves | None = None) -> list[Path]:
    """Writes hypotheses.md, hypotheses.json, simulations.csv and the figures into a folder.

    Args:
        result: of a study.
        folder: made if it is not there.
        curves: of noise around this subject's points, for a figure beside what is observed.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    drawn = list(draw_hypotheses(result, curves))
    files: dict[str, bytes | Writer] = {f"{name}.png": png for name, _, png in drawn}
    captions = [(f"{name}.png", caption) for name, caption, _ in drawn]
    beside = ["`hypotheses.json` (every figure)"]
    if result.judgement is not None:
        files[SIMULATIONS] = partial(write_simulations, result)
        beside.append(f"`{SIMULATIONS}` (one row a simulation)")
    files["hypotheses.json"] = hypotheses_json(result).encode()
    files["hypotheses.md"] = hypotheses_document(result, captions, beside).encode()
    return write_folder(Path(folder), files, frozenset([SIMULATIONS, *(f"{name}.png" for name in FIGURES)]))


def write_simulations(result: HypothesesStudy, path: Path) -> None:
    """One row a simulation: hypothesis, index, error (a JSON literal), parameters, observables.

    Floats are written so that they read back exactly; what is undefined, or no parameter of the hypothesis, is empty.
    """
    simulations = result.simulations or {}
    every = [s for name in sorted(simulations) for s in simulations[name]]
    parameters = sorted({name for s in every for name in s.parameters})
    observables = [name for name in OBSERVABLES if any(name in s.observables for s in every)]

    def rows() -> Iterator[list[str | int | float]]:
        for s in every:
            row: list[str | int | float | None] = [s.hypothesis, s.index, None if s.error is None else literal(s.error)]
            drawn = (s.parameters.get(name) for name in parameters)
            row += [visible(value) if isinstance(value, str) else value for value in drawn]
            row += [s.observables.get(name) for name in observables]
            yield ["" if value is None else value for value in row]

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = ["hypothesis", "index", "error", *(f"parameter_{name}" for name in parameters), *observables]
        writer.writerow(header)
        writer.writerows(rows())
