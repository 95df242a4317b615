"""``forensics dynamics``."""

from __future__ import annotations

from pathlib import Path

import click

from forensics_cli.output import REPORTS, Folder, note, slug, stages


@click.command("dynamics")
@click.argument("run")
@click.option("--compare", "others", metavar="RUN", multiple=True, help="Another run to hold this one against; repeat.")
@click.option("--out", type=Folder(), help="The report folder.")
@click.option("--json", "as_json", is_flag=True, help="Print dynamics.json; no files without --out.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no notes.")
def command(run: str, others: tuple[str, ...], out: Path | None, as_json: bool, quiet: bool) -> None:
    """Say what a recorded training run shows about its dead tokens.

    RUN is a recording's folder, as `forensics train` makes it, or run:DIR. Prints the claim of each section: how the
    hidden state, the drift, the motion, the freezing, its cause and the black holes go; and writes dynamics.md,
    dynamics.json, series.csv, tokens.csv and figures into the report folder. With --compare, one table says in what the
    runs differ by more than their seeds do.
    """
    from forensics.dynamics.study import study
    from forensics.report.dynamics_report import dynamics_json, dynamics_text, write_dynamics_report

    folder = out or (None if as_json else REPORTS / slug(run))
    with stages(quiet) as progress:
        result = study(run, others, progress=progress)
        if folder is not None:
            progress("report")
            write_dynamics_report(result, folder)
    click.echo(dynamics_json(result) if as_json else f"{dynamics_text(result)}\n", nl=False)
    if folder is not None:
        note(f"report in {folder}", quiet)
