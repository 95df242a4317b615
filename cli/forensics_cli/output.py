"""Where results go: data to stdout, progress and notes to stderr, reports to folders."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from forensics.text import visible

REPORTS = Path("forensics-reports")


def default_folder(source: str) -> Path:
    """The report folder of a SOURCE when none is named: its last names, safe for any file system."""
    return REPORTS / slug(source)


def slug(source: str) -> str:
    """A SOURCE as a folder name: the scheme and the last two parts."""
    parts = [part for part in re.split(r"[/\\]", source.strip()) if part not in ("", ".", "..", "~")]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "--".join(parts[-2:])).strip("-.") or "report"


@contextmanager
def stages(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function that shows the stage under way on a terminal, and nothing in a pipe."""
    if quiet or not sys.stderr.isatty():
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
