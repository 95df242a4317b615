"""The ``forensics`` command."""

from __future__ import annotations

import importlib
import io
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

import forensics
from forensics.errors import ForensicsError
from forensics_cli.output import say

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

VERBS = {
    "scan": "Find black holes and read the bits of a checkpoint's embedding matrices.",
    "lattice": "Look around a black hole or token on the scale of single mantissa steps.",
    "tokens": "Say who is dead, who is under-trained, and why.",
    "check": "Say whether tokens are fit for use; exit code 1 if one is not.",
    "diff": "Compare two checkpoints row by row: what changed, moved, joined or left a hole.",
    "train": "Train a small language model whose dead tokens are known, and record it.",
    "dynamics": "Say what a recording shows: drift, motion, freezing, and how black holes form.",
    "hypotheses": "Say which initialisations could have made the dead tokens' rows, and which could not.",
    "simulate": "Draw dead tokens' rows from a hypothesis and write them as a checkpoint.",
    "compare": "Set a model beside training recordings: what is reproduced, and what is not.",
    "claims": "Check published observations; exit code 1 if one is contradicted.",
    "cache": "List, verify or clear the embeddings fetched from the Hub.",
    "synth": "Write a planted checkpoint with a known truth.",
}


class Terminated(KeyboardInterrupt):
    """A polite kill: it ends a command as Ctrl-C does."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Lets SIGTERM end the command as Ctrl-C does, its worker processes with it, which a kill of one does not reach."""

    def end(number: int, frame: Any) -> None:
        raise Terminated

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        # A kill does not reach workers; they would finish their task, and wait for minutes for another.
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Verbs(click.Group):
    """Loads a verb's module when it is run, and turns errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of a session."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command; unknown verbs are click's to report."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"forensics_cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command line; deliberate errors become one line on stderr and their exit code."""
        for stream in (sys.stdout, sys.stderr):
            # A token or path that the terminal's encoding lacks is shown escaped rather than ending the run.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            # Not standalone, a command that exits by its context gives its code back.
            with _terminable():
                code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except SystemExit as end:
            # click's own answer to a reader of stdout that has gone (as with `| head`) is 1; nothing failed here.
            sys.exit(0 if end.code == 1 else end.code)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except ForensicsError as error:
            say(error.message, error.hint)
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort) as error:
            by_kill = isinstance(error.__cause__ or error, Terminated)  # click's Abort stands for what it caught
            word = "terminated" if by_kill else "interrupted"
            say(word, "no report was written or changed by the unfinished step")
            sys.exit(TERMINATED if by_kill else INTERRUPTED)
        except MemoryError:
            say("not enough memory", "choose a smaller size")
            sys.exit(ForensicsError.exit_code)
        except OSError as error:
            # What the library reads and writes is reported there: this is stdout, on a full disk say.
            say(f"cannot write the result ({error.strerror or error})", None)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter fails over it again as it ends
            sys.exit(ForensicsError.exit_code)
        sys.exit(code)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(forensics.__version__, prog_name="forensics")
def cli() -> None:
    """Pretrained-model embedding forensics.

    Reads the bits of a language model's embedding matrices and says what they reveal about training.
    A SOURCE is a model on the Hugging Face Hub (org/name[@revision][:file]), a weights file, a folder,
    pkg:MODULE (a model shipped inside an installed Python package) or synth:NAME (a planted checkpoint).
    """
