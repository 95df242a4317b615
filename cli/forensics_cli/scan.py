"""``forensics scan``."""

from __future__ import annotations

from pathlib import Path

import click

from forensics_cli.output import default_folder, note, slug, stages


@click.command("scan")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="The report folder; with several SOURCEs, their parent.")
@click.option("--json", "as_json", is_flag=True, help="Print scan.json instead of the table; no files without --out.")
@click.option("--tensor", metavar="NAME", help="Scan this tensor instead of choosing the embeddings.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no notes.")
def command(sources: tuple[str, ...], out: Path | None, as_json: bool, tensor: str | None, quiet: bool) -> None:
    """Find black holes and read the bits of a checkpoint's embedding matrices.

    Prints a short table and writes a report folder: report.md, scan.json, tokens.csv,
    artifacts.safetensors and figures.
    """
    from forensics.report import scan_json, survey_json, survey_table, write_report
    from forensics.scanning import scan
    from forensics.sources import open_checkpoint

    results = []
    for source in sources:
        checkpoint = open_checkpoint(source, tensor=tensor)
        for remark in checkpoint.notes:
            note(f"{source}: {remark}", quiet)
        with stages(quiet) as progress:
            result = scan(checkpoint, progress=progress)
            results.append(result)
            folder = _folder(source, out, as_json, len(sources))
            if folder is not None:
                progress("report")
                write_report(result, folder)
        if not as_json:
            click.echo(f"{result}\n")
        if folder is not None:
            note(f"report in {folder}", quiet)
    if as_json:
        click.echo(scan_json(results[0]) if len(results) == 1 else survey_json(results), nl=False)
    elif len(results) > 1:
        click.echo(survey_table(results))


def _folder(source: str, out: Path | None, as_json: bool, n_sources: int) -> Path | None:
    """Where the report of one SOURCE goes; None where no files were asked for."""
    if out is None:
        return None if as_json else default_folder(source)
    return out if n_sources == 1 else out / slug(source)
