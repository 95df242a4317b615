"""``forensics train``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forensics_cli.output import Folder, note

if TYPE_CHECKING:
    from forensics.toy.config import RunConfig
    from forensics.toy.run import Run

RUNS = Path("forensics-runs")


def _list(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Prints the presets and what they cost, and ends."""
    if not wanted or ctx.resilient_parsing:
        return
    import textwrap

    from forensics.toy.cost import describe_presets, duration, size

    for preset in describe_presets():
        cost = preset.cost
        figures = f"{cost.parameters:,} parameters, {cost.steps:,} steps, about {duration(cost.seconds_about)} here, "
        click.echo(f"{preset.name}: {figures}{size(cost.bytes_raw)} recorded ({size(cost.bytes_stored_about)} stored)")
        click.echo(textwrap.fill(preset.about, 100, initial_indent="    ", subsequent_indent="    "))
    ctx.exit()


@click.command("train")
@click.argument("preset", metavar="[PRESET|CONFIG.toml]", required=False)
@click.option("--steps", type=click.IntRange(min=1), help="Updates; the preset's own number if not given.")
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, batches and stochastic rounding.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Any setting, such as optimizer.lr=3e-4.")
@click.option("--record", metavar="NAME,...", help="What to record, such as W,grad,m,v,h_mean.")
@click.option("--out", type=Folder(), help="The run's folder; ./forensics-runs/NAME if not given.")
@click.option("--resume", type=Folder(), metavar="DIR", help="Go on with the run in this folder.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="The presets, and costs.")
@click.option("--json", "as_json", is_flag=True, help="Print what happened as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no notes.")
def command(
    preset: str | None, out: Path | None, resume: Path | None, device: str, as_json: bool, quiet: bool, **changes: Any
) -> None:
    """Train a small language model whose dead tokens are known, and record it.

    Without a name it trains `pocket`, which shows the whole story in under a minute. The folder is a recording that
    every other verb reads as run:DIR or run:DIR@STEP, and that --resume goes on with, word for word.
    """
    from forensics.text import json_text
    from forensics.toy import run as runs

    if resume is not None:
        if not preset and (changes["settings"] or changes["record"] or changes["seed"] is not None):
            raise click.UsageError(
                "--resume goes on with the run's own settings; name its preset to have others compared"
            )
        run = runs.resume(
            resume, device=device, config=_config(preset, changes) if preset else None, steps=changes["steps"]
        )
    else:
        config = _config(preset or "pocket", changes)
        run = runs.begin(config, out or RUNS / config.name, device=device)
    try:
        note(f"{run.config.name}: {run.cost}; recording in {run.folder}", quiet)
        with _interruptible() as stopped, _progress(run, quiet) as watch:
            finished = runs.carry_on(run, watch=watch, stopped=stopped)
    finally:
        run.close()
    click.echo(json_text(run.outcome.to_dict()) if as_json else f"{run.outcome}\n", nl=False)
    if not finished:
        note(f"stopped after step {run.step:,}; go on with: forensics train --resume {run.folder}", quiet)
        raise KeyboardInterrupt


def _config(preset: str, changes: dict[str, Any]) -> RunConfig:
    """The preset with what the options change; a later option wins over --set."""
    from forensics.toy.config import override
    from forensics.toy.presets import load_config

    settings = list(changes["settings"])
    settings += [f"{key}={changes[key]}" for key in ("steps", "seed") if changes[key] is not None]
    if changes["record"]:
        settings.append(f"record.channels={changes['record']}")
    return override(load_config(preset), settings)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Lets the first Ctrl-C (or a polite kill) end the run after the step under way; the second ends it at once."""
    import signal

    asked = []

    def ask(number: int, frame: Any) -> None:
        asked.append(number)
        for kind, handler in before.items():
            signal.signal(kind, handler)

    before = {kind: signal.signal(kind, ask) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def _progress(run: Run, quiet: bool) -> Iterator[Callable[[Any, Any], None] | None]:
    """A line on a terminal with loss and frozen share; nothing in a pipe."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    shown = 0.0

    with click.progressbar(length=run.config.steps, file=sys.stderr, item_show_func=str, label=run.config.name) as bar:
        bar.update(run.step)

        def watch(step: Any, events: Any) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown > 0.1 or step.step == run.config.steps:
                shown = now
                bar.update(step.step - bar.pos, f"loss {step.loss:.3f}  frozen {events.frozen_share:.0%}")

        yield watch
