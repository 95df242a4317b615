"""``forensics cache``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from forensics_cli.output import note, stages

if TYPE_CHECKING:
    from forensics.hub.inventory import CacheEntry


@click.group("cache")
def command() -> None:
    """List, verify or clear the embeddings that were fetched from the Hub.

    Each is a safetensors file in the cache folder, which FORENSICS_CACHE names.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document instead of the table.")
@click.option("--quiet", "-q", is_flag=True, help="No notes.")
def list_command(as_json: bool, quiet: bool) -> None:
    """List what is in the cache, finished and unfinished; no data is read."""
    from forensics.hub.cache import TensorCache, size_text
    from forensics.hub.inventory import list_entries
    from forensics.text import align, json_text

    cache = TensorCache()
    entries = list_entries(cache)
    total = size_text(sum(entry.n_bytes for entry in entries))
    note(f"cache folder {cache.folder}: {_counted(len(entries))}, {total}", quiet)
    if as_json:
        click.echo(json_text({"schema": "forensics.cache/1", "entries": [e.to_dict() for e in entries]}), nl=False)
    elif entries:
        heads = ("repository", "commit", "tensor", "dtype", "shape", "size", "state")
        rows = [(*_name(e), *_type(e), size_text(e.n_bytes), _state(e)) for e in entries]
        click.echo(align([heads, *rows], right=(5,)))


@command.command("verify")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document instead of the table.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def verify_command(as_json: bool, quiet: bool) -> None:
    """Read every finished tensor and hold it against its manifest; exit code 1 if one does not hold."""
    from forensics.hub.cache import TensorCache
    from forensics.hub.inventory import fault, list_entries
    from forensics.text import align, json_text, visible

    results: list[tuple[CacheEntry, str | None]] = []
    with stages(quiet) as progress:
        for entry in list_entries(TensorCache()):
            progress(" ".join(_name(entry)))
            results.append((entry, None if entry.state == "partial" else fault(entry)))
    if as_json:
        entries = [{**entry.to_dict(), "fault": found} for entry, found in results]
        click.echo(json_text({"schema": "forensics.cache-verify/1", "entries": entries}), nl=False)
    elif results:
        heads = ("repository", "commit", "tensor", "sha256", "verdict")
        verdicts = [visible(found) if found else {"complete": "holds"}.get(e.state, _state(e)) for e, found in results]
        rows = [(*_name(e), (e.sha256 or "-")[:16], v) for (e, _), v in zip(results, verdicts, strict=True)]
        click.echo(align([heads, *rows]))
    if any(found for _, found in results):
        click.get_current_context().exit(1)


@command.command("clear")
@click.argument("repo", required=False)
@click.option("--partial", is_flag=True, help="Remove unfinished fetches only.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--quiet", "-q", is_flag=True, help="No notes.")
def clear_command(repo: str | None, partial: bool, yes: bool, quiet: bool) -> None:
    """Remove what was fetched, of one repository (org/name) or all; what is being fetched is left."""
    from forensics.hub.cache import TensorCache, size_text
    from forensics.hub.inventory import clear, list_entries

    cache, repo = TensorCache(), repo and _repository(repo)
    if repo and not cache.repo_folder(repo).exists():
        note(f"nothing of {repo} is in the cache", quiet)
        return
    entries = [e for e in list_entries(cache, repo) if e.state == "partial" or not partial]
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody is there to ask: give --yes to remove entries of the cache")
        size = size_text(sum(entry.n_bytes for entry in entries))
        click.confirm(f"Remove {_counted(len(entries))}, {size}, from {cache.folder}?", abort=True, err=True)
    cleared = clear(cache, repo, partial_only=partial)
    size = size_text(sum(entry.n_bytes for entry in cleared.removed))
    note(f"{_counted(len(cleared.removed))} removed, {size}", quiet)
    for entry in cleared.busy:
        note(f"left, as it is being fetched: {' '.join(_name(entry))}", quiet)


def _repository(name: str) -> str:
    """The repository that a name is, with or without ``hf:``.

    Raises:
        SourceError: it is none, or names a part of one.
    """
    from forensics.errors import SourceError
    from forensics.hub.address import parse_address

    address = parse_address(name) or parse_address(f"hf:{name}")
    if address is None:
        raise SourceError(f"{name[:80]}: not the name of a model", hint="name a model as org/name")
    if address.revision or address.file:
        raise SourceError(f"{name[:80]}: a model is cleared whole", hint=f"name it as {address.repo}")
    return address.repo


def _counted(n: int) -> str:
    return f"{n:,} {'entry' if n == 1 else 'entries'}"


def _name(entry: CacheEntry) -> tuple[str, str, str]:
    """Repository, commit and tensor, made safe for a terminal."""
    if entry.wanted is None:
        return entry.files.folder.parent.name, entry.files.folder.name[:8], entry.files.stem
    key = entry.wanted.key
    return _short(key.repo), key.commit[:8], _short(key.tensor)


def _type(entry: CacheEntry) -> tuple[str, str]:
    if entry.wanted is None:
        return "-", "-"
    return _short(entry.wanted.dtype), _short(" x ".join(f"{n:,}" for n in entry.wanted.shape))


def _state(entry: CacheEntry) -> str:
    if entry.state != "partial":
        return entry.state
    return f"partial, {entry.chunks_done:,} of {entry.chunks or 0:,} chunks"


def _short(text: str) -> str:
    from forensics.text import visible

    return visible(text if len(text) <= 60 else f"{text[:59]}\u2026")
