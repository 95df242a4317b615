"""``forensics hypotheses``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from forensics_cli.output import REPORTS, Folder, note, slug, stages
from forensics_cli.source import open_source, source_options


def _list(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Prints the hypotheses and ends."""
    if not wanted or ctx.resilient_parsing:
        return
    import textwrap

    from forensics.hypotheses.checkpoint import random_context
    from forensics.hypotheses.discovery import hypotheses

    context = random_context()
    for name, hypothesis in hypotheses().items():
        slow = " (slow: run only if it is named)" if hypothesis.slow else ""
        click.echo(f"{name}: {hypothesis.title}{slow}")
        for text in (hypothesis.story, f"predicts: {hypothesis.predicts}", f"source: {hypothesis.source}"):
            click.echo(textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="    "))
        for parameter in hypothesis.parameters:
            click.echo(f"    {parameter.name}: {parameter.meaning}; {parameter.prior(context)}")
    tokens = f"{context.n_rows:,} tokens of {context.dim:,} {context.format.name} numbers"
    click.echo(f"\nPriors for {tokens} around a random anchor.")
    ctx.exit()


@click.command("hypotheses")
@click.argument("source")
@click.option("--only", metavar="NAME|FILE.py", multiple=True, help="Simulate this hypothesis alone; repeat.")
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Simulations of each; of a slow one a quarter, but 125 at least.",
)
@click.option("--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes that simulate.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler whose workers simulate, as tcp://host:8786.")
@click.option(
    "--dead",
    default="auto",
    show_default=True,
    help="Who is dead: auto, all, radius, holes, exponent:K, reference, recorded, ids:FILE, or a set such as reserved.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of every simulation.")
@click.option(
    "--store", type=Folder(), help="The folder of the simulations; simulations/ in the report's if not given."
)
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="The hypotheses.")
@click.option("--out", type=Folder(), help="The report folder.")
@click.option("--json", "as_json", is_flag=True, help="Print hypotheses.json; no files without --out or --store.")
@source_options
def command(
    source: str,
    dead: str,
    store: Path | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Say which initialisations could have made the dead tokens' rows, and which could not.

    Simulates the hypotheses (--list names them; slow ones only with --only) many times, prints for each whether the
    rows of the dead tokens reject it, and writes hypotheses.md, hypotheses.json and figures into the report folder.
    Simulations are kept as they come: after a kill the same command goes on with the rest.
    """
    from forensics.hypotheses.subject import open_subject
    from forensics.hypotheses.sweeps.study import check_request, study
    from forensics.report.hypotheses_report import hypotheses_json, hypotheses_text, write_hypotheses_report

    sweep = {name: options.pop(name) for name in ("only", "budget", "workers", "scheduler", "seed")}
    check_request(sweep["only"], sweep["scheduler"])
    checkpoint = open_source(source, quiet=quiet, **options)
    folder = out or (None if as_json else REPORTS / slug(source))
    kept = store or (None if folder is None else folder / "simulations")
    with stages(quiet) as progress:
        subject = open_subject(checkpoint, dead=dead, progress=progress)
        result = study(subject, folder=kept, progress=progress, **sweep)
        if folder is not None:
            progress("report")
            write_hypotheses_report(result, folder)
    click.echo(hypotheses_json(result) if as_json else f"{hypotheses_text(result)}\n", nl=False)
    if folder is not None:
        note(f"report in {folder}", quiet)
