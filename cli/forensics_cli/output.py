"""Where results go: data to stdout, progress and notes to stderr, reports to folders."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from forensics.text import visible

REPORTS = Path("forensics-reports")


class Folder(click.Path):
    """A folder that a report goes into; an empty name, which a shell variable can leave, is not this folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """The path, refused if it is empty."""
        if not os.fspath(value):
            self.fail("an empty name is not a folder", param, ctx)
        return super().convert(value, param, ctx)


def slug(source: str) -> str:
    """A SOURCE as a folder name: the scheme and the last two parts."""
    parts = [part for part in re.split(r"[/\\]", source.strip()) if part not in ("", ".", "..", "~")]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "--".join(parts[-2:])).strip("-.") or "report"


def folders(sources: Sequence[str], parent: Path) -> list[Path]:
    """A folder under ``parent`` for each of several SOURCEs; those of one slug are numbered."""
    taken: list[Path] = []
    for source in sources:
        names = (slug(source) + (f"-{i}" if i > 1 else "") for i in itertools.count(1))
        taken.append(next(folder for name in names if (folder := parent / name) not in taken))
    return taken


@contextmanager
def stages(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function that shows the stage under way on a terminal, and nothing in a pipe."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda stage: None
        return

    def show(stage: str) -> None:
        click.echo(f"\r\x1b[2K{visible(stage)} ...", err=True, nl=False)

    try:
        yield show
    finally:
        click.echo("\r\x1b[2K", err=True, nl=False)


def note(text: str, quiet: bool = False) -> None:
    """A remark on stderr."""
    if not quiet:
        click.echo(f"note: {visible(text)}", err=True)


def say(message: str, hint: str | None) -> None:
    """An error on stderr: one line, and one for the hint."""
    click.echo(f"error: {visible(message)}", err=True)
    if hint:
        click.echo(f"hint: {visible(hint)}", err=True)
