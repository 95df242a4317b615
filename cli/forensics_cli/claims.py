"""``forensics claims``."""

from __future__ import annotations

from typing import Any

import click

from forensics_cli.output import stages
from forensics_cli.source import open_source, source_options

CONTRADICTED = 1


@click.command("claims")
@click.argument("source", required=False, metavar="SOURCE|RUN")
@click.option(
    "--file", "-f", "files", multiple=True, metavar="F", help="A claims file, or a shipped one's name; repeat."
)
@click.option("--list", "as_list", is_flag=True, help="Name the shipped files and what each is about.")
@click.option("--quantities", "as_quantities", is_flag=True, help="Name what a claims file can have measured.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@source_options
def command(
    source: str | None,
    files: tuple[str, ...],
    as_list: bool,
    as_quantities: bool,
    as_json: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Measure published observations; exit code 1 if one is contradicted.

    RUN is a recording's folder, as `forensics train` makes it, or run:DIR[@STEP]. Each claim is confirmed,
    contradicted, or not measurable here, and why. Without --file the shipped claims about the subject are checked.
    """
    from forensics.claims import (
        Subject,
        check_claims,
        find_claims,
        load_claims,
        open_run_subject,
        shipped_claims,
        shipped_names,
    )
    from forensics.claims.registry import quantities
    from forensics.text import align, json_text

    if as_list:
        click.echo(align([(name, shipped_claims(name).title) for name in shipped_names()]))
        return
    if as_quantities:
        click.echo(align([(q.subject, q.usage, q.definition) for q in quantities().values()]))
        return
    if source is None:
        raise click.UsageError("name a SOURCE or RUN, or ask for --list")
    named = [load_claims(name) for name in dict.fromkeys(files)]  # a slip is told before a model is fetched
    subject = open_run_subject(source, reading["tensor"]) or Subject(open_source(source, quiet=quiet, **reading))
    with stages(quiet) as progress:
        result = check_claims(subject, named or find_claims(subject), progress=progress)
    click.echo(json_text(result.to_dict()) if as_json else str(result), nl=not as_json)
    click.get_current_context().exit(0 if result.holds else CONTRADICTED)
