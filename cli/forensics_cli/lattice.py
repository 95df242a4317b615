"""``forensics lattice``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from forensics_cli.output import REPORTS, Folder, note, slug, stages
from forensics_cli.source import open_source, source_options


@click.command("lattice")
@click.argument("source")
@click.option(
    "--around", metavar="hole:N|token:ID", help="The row to look around; the most populated hole if not given."
)
@click.option(
    "--select",
    "selection",
    default="exponent:5",
    show_default=True,
    help="The set to survey: holes, exponent:K, flood[:STEP], radius or component:THRESHOLD.",
)
@click.option("--out", type=Folder(), help="The report folder.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print lattice.json instead of the table; no files without --out."
)
@source_options
def command(
    source: str, around: str | None, selection: str, out: Path | None, as_json: bool, quiet: bool, **reading: Any
) -> None:
    """Look around a black hole or token on the scale of single mantissa steps.

    Prints the selections' counts and the neighbour graph's components, and writes lattice.md, lattice.json and
    figures into the report folder.
    """
    from forensics.report.lattice_report import lattice_json, lattice_text, write_lattice_report
    from forensics.scanning.lattice import scan_lattice

    checkpoint = open_source(source, quiet=quiet, **reading)
    folder = out or (None if as_json else REPORTS / slug(source))
    with stages(quiet) as progress:
        result = scan_lattice(checkpoint, selection=selection, around=around, progress=progress)
        if folder is not None:
            progress("report")
            write_lattice_report(result, folder)
    click.echo(lattice_json(result) if as_json else f"{lattice_text(result)}\n", nl=False)
    if folder is not None:
        note(f"report in {folder}", quiet)
