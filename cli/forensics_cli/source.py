"""What every verb that opens a SOURCE offers: how the Hub is read, and what is shown of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from forensics_cli.output import note

if TYPE_CHECKING:
    from forensics.checkpoint import Checkpoint

Command = TypeVar("Command", bound=Callable[..., Any])


def source_options(command: Command) -> Command:
    """Adds ``--tensor``, ``--offline``, ``--max-workers`` and ``--quiet``, which arrive by these names."""
    options = [
        click.option("--tensor", metavar="NAME", help="Take this tensor instead of choosing the embeddings."),
        click.option("--offline", is_flag=True, help="Of models on the Hub use only what was fetched before."),
        click.option(
            "--max-workers",
            type=click.IntRange(1, 64),
            default=4,
            show_default=True,
            help="Ranges of a remote file in flight.",
        ),
        click.option("--quiet", "-q", is_flag=True, help="No progress and no notes."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def open_source(
    source: str, *, tensor: str | None, offline: bool, max_workers: int, quiet: bool, remarks: bool = True
) -> Checkpoint:
    """Opens a SOURCE; what it costs and, unless the caller does, what is to be known of it is said on stderr."""
    from forensics.hub.address import parse_address
    from forensics.sources import open_checkpoint

    hub = None
    if parse_address(source) is not None:
        from forensics.hub.client import HubOptions  # sockets and certificates, for the Hub alone

        hub = HubOptions(offline=offline, max_workers=max_workers, watch=_watch(quiet))
    checkpoint = open_checkpoint(source, tensor=tensor, hub=hub)
    for remark in checkpoint.notes:
        note(f"{source}: {remark}", quiet or not remarks)
    return checkpoint


def _watch(quiet: bool) -> Any:
    """Announces a fetch and shows its bytes and rate: the bar on a terminal alone, as the Hub's own bars are set."""
    from forensics.hub.cache import size_text
    from forensics.hub.client import Watch

    class Bar(Watch):
        bar: Any = None

        def begin(self, name: str, n_bytes: int, held: int, of_bytes: int) -> None:
            whole = f" of {size_text(of_bytes)}" if of_bytes > n_bytes else ""
            resumed = f", {size_text(held)} are here already" if held else ""
            note(f"fetching {name}: {size_text(n_bytes)}{whole}{resumed}", quiet)
            if quiet or sys.stderr is None or not sys.stderr.isatty():
                return
            from huggingface_hub.utils import tqdm

            from forensics.text import visible

            self.bar = tqdm(
                total=n_bytes, initial=held, unit="B", unit_scale=True, leave=False, desc=visible(name)[-40:]
            )  # type: ignore[no-untyped-call]

        def advance(self, n_bytes: int) -> None:
            if self.bar is not None:
                self.bar.update(n_bytes)

        def end(self) -> None:
            if self.bar is not None:
                self.bar.close()
                self.bar = None

        def say(self, text: str) -> None:
            note(text, quiet)

    return Bar()
