"""``forensics scan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forensics_cli.output import REPORTS, Folder, folders, note, say, stages
from forensics_cli.source import open_source, source_options

if TYPE_CHECKING:
    from forensics.checkpoint import Checkpoint
    from forensics.errors import ForensicsError
    from forensics.scanning import Scan


@click.command("scan")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--out", type=Folder(), help="The report folder; with several SOURCEs, their parent.")
@click.option("--json", "as_json", is_flag=True, help="Print scan.json instead of the table; no files without --out.")
@source_options
def command(sources: tuple[str, ...], out: Path | None, as_json: bool, quiet: bool, **reading: Any) -> None:
    """Find black holes and read the bits of a checkpoint's embedding matrices.

    Prints a short table and writes a report folder: report.md, scan.json, tokens.csv,
    artifacts.safetensors and figures.
    """
    from forensics.errors import ForensicsError
    from forensics.report import scan_json, survey_json, survey_table

    results: list[Scan] = []
    failures: list[ForensicsError] = []
    for source, folder in zip(sources, _folders(sources, out, as_json), strict=True):
        try:
            result = _scan_one(open_source(source, quiet=quiet, **reading), folder, quiet)
        except ForensicsError as error:
            if len(sources) == 1:
                raise
            # One bad SOURCE of several is reported and the others go on; the exit code still says it.
            say(f"{source}: {error.message}", error.hint)
            failures.append(error)
            continue
        results.append(result)
        if not as_json:
            click.echo(f"{result}\n")
        if folder is not None:
            note(f"report in {folder}", quiet)
    if as_json:
        click.echo(scan_json(results[0]) if len(sources) == 1 else survey_json(results), nl=False)
    elif len(sources) > 1:
        click.echo(survey_table(results))
    if failures:
        click.get_current_context().exit(failures[0].exit_code)


def _scan_one(checkpoint: Checkpoint, folder: Path | None, quiet: bool) -> Scan:
    from forensics.report import write_report
    from forensics.scanning import scan

    with stages(quiet) as progress:
        result = scan(checkpoint, progress=progress)
        if folder is not None:
            progress("report")
            write_report(result, folder)
    for remark in result.notes[len(checkpoint.notes) :]:
        note(remark, quiet)
    return result


def _folders(sources: tuple[str, ...], out: Path | None, as_json: bool) -> list[Path] | list[None]:
    """Where each report goes; None where no files were asked for."""
    if out is None and as_json:
        return [None] * len(sources)
    return [out] if out is not None and len(sources) == 1 else folders(sources, out or REPORTS)
