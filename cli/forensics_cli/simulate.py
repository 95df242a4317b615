"""``forensics simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forensics_cli.output import Folder, note, stages
from forensics_cli.source import open_source, source_options

if TYPE_CHECKING:
    from forensics.hypotheses.context import Context
    from forensics.hypotheses.hypothesis import Hypothesis


@click.command("simulate")
@click.argument("hypothesis", metavar="HYPOTHESIS")
@click.option("--like", metavar="SOURCE", help="Simulate this model's dead tokens: as many, around the same row.")
@click.option("--dead", metavar="SELECTION", help="With --like: who is dead there; auto if not given.")
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="A parameter; else drawn from its prior.")
@click.option("--rows", type=click.IntRange(min=1), help="Dead tokens; 2,221 if not given.")
@click.option("--dim", type=click.IntRange(min=1), help="Numbers in a row; 2,560 if not given.")
@click.option("--norm", type=float, help="Of the anchor, in a random direction; 0.3709 if not given.")
@click.option("--format", "fmt", metavar="FORMAT", help="bfloat16 (if not given), float16, float32, float8_e4m3fn ...")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of anchor, parameters and rows."
)
@click.option("--index", type=click.IntRange(min=0), default=0, show_default=True, help="Which simulation of a sweep.")
@click.option("--out", type=Folder(), required=True, help="The folder of the checkpoint.")
@source_options
def command(
    hypothesis: str, like: str | None, settings: tuple[str, ...], seed: int, index: int, out: Path, **options: Any
) -> None:
    """Draw dead tokens' rows from a hypothesis and write them as a checkpoint (truth.json beside the weights).

    HYPOTHESIS is a name (forensics hypotheses --list) or a .py file that defines one. Every other verb reads the
    folder. With --like SOURCE, --seed and --index it is the very simulation of that number in `forensics hypotheses`.
    """
    from forensics.hypotheses.checkpoint import read_settings, write_simulation
    from forensics.hypotheses.discovery import load_hypothesis

    if like is None and options["dead"] is not None:
        raise click.UsageError("--dead chooses among the tokens of --like SOURCE: name one")
    found = load_hypothesis(hypothesis)
    given = _pairs(settings)
    context = _random(seed, options) if like is None else _like(like, found, options)
    values = read_settings(found, context, given)
    write_simulation(found, context, out, seed=seed, index=index, settings=values, like=like)
    note(f"simulated checkpoint in {out}", options["quiet"])


SIZES = ("rows", "dim", "norm", "fmt")


def _random(seed: int, options: dict[str, Any]) -> Context:
    from forensics.hypotheses.checkpoint import random_context

    return random_context(seed=seed, **{name: options[name] for name in SIZES if options[name] is not None})


def _like(source: str, hypothesis: Hypothesis, options: dict[str, Any]) -> Context:
    """What the simulators are told of a model; the live rows' law only for a hypothesis that asks for it."""
    from forensics.hypotheses.subject import open_subject

    if any(options[name] is not None for name in SIZES):
        raise click.UsageError("--like says how many rows, where and in which format; leave --rows, --dim, ... away")
    reading = {name: options[name] for name in ("tensor", "offline", "max_workers", "quiet")}
    checkpoint = open_source(source, **reading)
    with stages(options["quiet"]) as progress:
        subject = open_subject(checkpoint, dead=options["dead"] or "auto", progress=progress)
        return subject.context(law=hypothesis.needs_live)


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in settings if "=" in text.lstrip("="))
    if len(pairs) != len(settings):
        raise click.UsageError("--set takes NAME=VALUE, each name once")
    return pairs
