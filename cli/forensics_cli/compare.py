"""``forensics compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from forensics_cli.output import REPORTS, Folder, note, slug, stages
from forensics_cli.source import open_source, source_options


@click.command("compare")
@click.argument("source", metavar="SOURCE")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--dead", metavar="SELECTION", default="auto", show_default=True, help="SOURCE's dead tokens.")
@click.option("--at", metavar="STEP", type=click.IntRange(min=0), multiple=True, help="A step of the runs; repeat.")
@click.option("--role", type=click.Choice(("input", "output")), help="This matrix, not the output one where there is.")
@click.option("--text", type=click.Path(path_type=Path), help="Run this text through SOURCE's whole model, too.")
@click.option("--out", type=Folder(), help="The report folder.")
@click.option("--json", "as_json", is_flag=True, help="Print compare.json; no files without --out.")
@source_options
def command(  # noqa: PLR0913 - one parameter an option
    source: str,
    runs: tuple[str, ...],
    dead: str,
    at: tuple[int, ...],
    role: str | None,
    text: Path | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Set a model beside training recordings: what is reproduced, and what is not.

    RUN is a recording's folder, or run:DIR@STEP; runs that differ in seed alone are one group, and three of them give
    verdicts. SOURCE may be a run, too. Writes compare.md, compare.json, observables.csv and a figure into the report
    folder. --text asks what SOURCE's hidden states do; it loads the model and needs the extra [models].
    """
    from forensics.comparison import compare
    from forensics.report.comparison_report import comparison_json, write_comparison_report

    folder = out or (None if as_json else REPORTS / f"{slug(source)}..{slug(runs[0])}")
    with stages(quiet) as progress:
        real, hub = _open(source, quiet=quiet, **reading)
        result = compare(real, runs, dead=dead, at=at, role=role, text=text, path=source, hub=hub, progress=progress)
        if folder is not None:
            progress("report")
            write_comparison_report(result, folder)
    for remark in result.real.notes:
        note(remark, quiet)
    click.echo(comparison_json(result) if as_json else f"{result}\n", nl=False)
    if folder is not None:
        note(f"report in {folder}", quiet)


def _open(source: str, *, tensor: str | None, offline: bool, max_workers: int, quiet: bool) -> tuple[Any, Any]:
    """What is compared, and how the Hub is read for its text; a run is opened later, with its recording."""
    if source.startswith("run:"):
        if tensor is not None:
            raise click.UsageError("of a run choose the matrix with --role, not --tensor")
        return source, None
    reading: dict[str, Any] = {"tensor": tensor, "offline": offline, "max_workers": max_workers}
    checkpoint = open_source(source, quiet=quiet, remarks=False, **reading)
    if checkpoint.source.kind != "hub":
        return checkpoint, None
    from forensics.hub.client import HubOptions

    return checkpoint, HubOptions(offline=offline, max_workers=max_workers)
