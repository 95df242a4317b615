"""``forensics diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from forensics_cli.output import REPORTS, Folder, note, slug, stages
from forensics_cli.source import open_source, source_options


@click.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--within",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Steps of the format within which a row has moved rather than changed.",
)
@click.option(
    "--match",
    type=click.Choice(("id", "piece")),
    default="id",
    show_default=True,
    help="Hold rows of the same token id against each other, or rows of the same piece.",
)
@click.option("--role", type=click.Choice(("input", "output")), help="This matrix alone instead of all that both have.")
@click.option("--out", type=Folder(), help="The report folder.")
@click.option("--json", "as_json", is_flag=True, help="Print diff.json instead of the table; no files without --out.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if any row differs, is added or is removed.")
@source_options
def command(  # noqa: PLR0913 - one parameter an option
    a: str,
    b: str,
    within: int,
    match: Literal["id", "piece"],
    role: str | None,
    out: Path | None,
    as_json: bool,
    exit_code: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Compare checkpoint B with checkpoint A row by row: base and instruct, before and after.

    Prints how many rows changed, moved by a few steps, or joined or left a black hole, and writes diff.md,
    diff.json and rows.csv into the report folder.
    """
    from forensics.report.diff_report import diff_json, diff_text, write_diff_report
    from forensics.scanning.diff import diff_checkpoints

    first, second = (open_source(source, quiet=quiet, remarks=False, **reading) for source in (a, b))
    folder = out or (None if as_json else REPORTS / f"{slug(a)}..{slug(b)}")
    with stages(quiet) as progress:
        result = diff_checkpoints(first, second, match=match, within=within, role=role, progress=progress)
        if folder is not None:
            progress("report")
            write_diff_report(result, folder)
    for remark in result.notes:
        note(remark, quiet)
    click.echo(diff_json(result) if as_json else f"{diff_text(result)}\n", nl=False)
    if folder is not None:
        note(f"report in {folder}", quiet)
    if exit_code and result.differs:
        click.get_current_context().exit(1)
