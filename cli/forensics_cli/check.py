"""``forensics check``."""

from __future__ import annotations

from typing import Any

import click

from forensics_cli.output import note, stages
from forensics_cli.source import open_source, source_options

DOES_NOT_HOLD = 1


@click.command("check")
@click.argument("source")
@click.option("--token", "texts", multiple=True, metavar="TEXT", help="The whole text of one token; can be repeated.")
@click.option("--id", "token_ids", multiple=True, type=int, metavar="N", help="A token's id; can be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
@source_options
def command(
    source: str, texts: tuple[str, ...], token_ids: tuple[int, ...], as_json: bool, quiet: bool, **reading: Any
) -> None:
    """Say whether tokens are fit for use, and why not; exit code 1 if one is not.

    A token is not if its row is dead or nearly so, under-trained, or padding, or if no text produces it. Choose
    reward, reserved or separator tokens with it, in CI too.
    """
    from forensics.report.tokens_report import check_text
    from forensics.scanning.check import check_tokens
    from forensics.text import json_text

    if not texts and not token_ids:
        raise click.UsageError("name at least one token with --token or --id")
    checkpoint = open_source(source, quiet=quiet, **reading)
    with stages(quiet) as progress:
        result = check_tokens(checkpoint, texts, token_ids, progress=progress)
    for remark in result.scan.notes[len(checkpoint.notes) :]:
        note(f"{source}: {remark}", quiet)
    click.echo(json_text(result.to_dict()) if as_json else f"{check_text(result)}\n", nl=False)
    click.get_current_context().exit(0 if result.holds else DOES_NOT_HOLD)
