"""``forensics train``."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forensics.errors import ConfigError
from forensics.text import json_text, visible
from forensics_cli.output import Folder, note, say, slug

if TYPE_CHECKING:
    from forensics.toy.config import RunConfig
    from forensics.toy.events import Events
    from forensics.toy.run import Run, Watch
    from forensics.toy.step import Step

RUNS = Path("forensics-runs")

EXTRAS = {"torch": "toy", "transformers": "models"}
"""Which extra installs a package that not every user has."""


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
    _refuse_contradictions(preset, out, resume, changes)
    with _packages():
        run = _open(preset, out, resume, device, changes)
    finished = run.finished
    try:
        if finished:
            note(f"{run.config.name}: all {run.step:,} steps are made; --steps N trains on to another step", quiet)
        else:
            finished = _train(run, quiet)
    finally:
        run.close()
    click.echo(json_text(run.outcome.to_dict()) if as_json else f"{run.outcome}\n", nl=False)
    if not finished:
        # Said here and not by the group, which knows of no run to go on with.
        again = f"go on with: forensics train --resume {shlex.quote(str(run.folder))}"
        say(f"interrupted; the run is whole to step {run.step:,} of {run.config.steps:,}", again)
        raise click.exceptions.Exit(128 + signal.SIGINT)


def _refuse_contradictions(preset: str | None, out: Path | None, resume: Path | None, changes: dict[str, Any]) -> None:
    """Options that would be passed over in silence are usage errors."""
    if changes["record"] == "":
        raise click.UsageError("--record names nothing")
    if resume is None:
        return
    if out is not None:
        raise click.UsageError("--resume goes on in the run's own folder; leave --out away")
    if preset is None and (changes["settings"] or changes["record"] or changes["seed"] is not None):
        raise click.UsageError("--resume goes on with the run's own settings; name its preset to have others compared")


@contextmanager
def _packages() -> Iterator[None]:
    """Says which extra holds a package that is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        hint = f"pip install 'embedding-forensics[{EXTRAS[error.name]}]'"
        raise ConfigError(f"this run needs {error.name}, which is not installed", hint=hint) from None


def _open(preset: str | None, out: Path | None, resume: Path | None, device: str, changes: dict[str, Any]) -> Run:
    from forensics.toy import run as runs

    if resume is not None:
        named = _config(preset, changes) if preset is not None else None
        return runs.resume(resume, device=device, config=named, steps=changes["steps"])
    config = _config("pocket" if preset is None else preset, changes)
    return runs.begin(config, out or RUNS / slug(config.name), device=device)


def _train(run: Run, quiet: bool) -> bool:
    """Whether the last step was reached."""
    from forensics.toy.run import carry_on

    note(f"{run.config.name}: {run.cost}; recording in {run.folder}", quiet)
    with _interruptible() as stopped, _progress(run, quiet) as watch:
        return carry_on(run, watch=watch, stopped=stopped)


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
    asked = []

    def ask(number: int, frame: Any) -> None:
        asked.append(number)
        for kind, handler in before.items():
            signal.signal(kind, handler)

    # What a shell has set to be ignored (a script's background job) stays ignored.
    kinds = [kind for kind in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(kind) is not signal.SIG_IGN]
    before = {kind: signal.signal(kind, ask) for kind in kinds}
    try:
        yield lambda: bool(asked)
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def _progress(run: Run, quiet: bool) -> Iterator[Watch | None]:
    """A line on a terminal with loss and frozen share; nothing in a pipe."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    shown, steps = 0.0, run.config.steps
    label = visible(run.config.name)
    with click.progressbar(length=steps, file=sys.stderr, item_show_func=lambda text: text, label=label) as bar:
        bar.update(run.step)

        def watch(step: Step, events: Events) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown > 0.1 or step.step == steps:
                shown = now
                bar.update(step.step - bar.pos, f"loss {step.loss:.3f}  frozen {events.frozen_share:.0%}")

        yield watch
