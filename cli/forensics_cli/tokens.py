"""``forensics tokens``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from forensics_cli.output import REPORTS, Folder, note, slug, stages
from forensics_cli.source import open_source, source_options


@click.command("tokens")
@click.argument("source")
@click.option(
    "--rule",
    type=click.Choice(["separation", "percentile"]),
    default="separation",
    show_default=True,
    help="How candidates are chosen: those apart from the bulk, or the published lowest 2 % for comparison.",
)
@click.option(
    "--export",
    type=click.Choice(["magikarp-unused"]),
    help="Print the reference ids as that tool's --known_unused_tokens takes them, and write no report.",
)
@click.option("--out", type=Folder(), help="The report folder.")
@click.option("--json", "as_json", is_flag=True, help="Print tokens.json instead of the table; no files without --out.")
@source_options
def command(
    source: str, rule: Any, export: str | None, out: Path | None, as_json: bool, quiet: bool, **reading: Any
) -> None:
    """Say who is dead, who is under-trained, and why.

    Takes a census of the tokenizer (which tokens no text can produce, and what stands in the way), finds a reference
    of untrained tokens from the bytes, the tokens that look like them, and what made each group of equal rows.
    """
    from forensics.report.tokens_report import tokens_json, tokens_text, write_tokens_report
    from forensics.scanning.tokens import scan_tokens

    if export and as_json:
        raise click.UsageError("--export and --json each print one document")
    checkpoint = open_source(source, quiet=quiet, **reading)
    folder = out or (None if as_json or export else REPORTS / slug(source))
    with stages(quiet) as progress:
        result = scan_tokens(checkpoint, rule=rule, progress=progress)
        if folder is not None:
            progress("report")
            write_tokens_report(result, folder)
    for remark in result.notes[len(checkpoint.notes) :]:
        note(f"{source}: {remark}", quiet)
    if export:
        # Of an untied model the published cosine is of the output rows: theirs is the reference.
        ids = result.matrices[-1].reference.token_ids.tolist()
        if not ids:
            note(f"{source}: no reference of untrained tokens was found", quiet)
        click.echo(str(ids))
    else:
        click.echo(tokens_json(result) if as_json else f"{tokens_text(result)}\n", nl=False)
    if folder is not None:
        note(f"report in {folder}", quiet)
