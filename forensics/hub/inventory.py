"""What the cache holds, for ``forensics cache``: listed, proved again, cleared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from forensics.errors import CheckpointError
from forensics.hub.cache import TensorCache
from forensics.hub.entry import EntryFiles, Manifest, cache_trouble, proved
from forensics.hub.partial import described, n_chunks, read_journal
from forensics.hub.wanted import COMMIT, Wanted

_FILE = re.compile(r"(.+-[0-9a-f]{32})\.(json|safetensors|partial|journal)")
"""Files of an entry; a lock alone is none."""

_BESIDE = re.compile(
    r"(.+-[0-9a-f]{32}\.(lock|head|(json|journal|head)\.[0-9-]+\.tmp)|listing\.json(\.[0-9-]+\.tmp)?)", re.ASCII
)
"""What else lies in the folder of a commit: locks, headers, the listing, and what a kill left of their writing."""

_REF = re.compile(r".+-[0-9a-f]{32}\.json(\.[0-9-]+\.tmp)?", re.ASCII)
"""Remembered branches; huggingface_hub's own have other names."""

State = Literal["complete", "partial", "damaged"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One entry as it lies on disk; its data was not read.

    Attributes:
        files: where.
        state: complete (it has a sound manifest), partial (it has a journal) or damaged.
        wanted: what it is; None where nothing sound says so.
        sha256: what a complete one's bytes are said to have.
        chunks_done: chunks that are there, as far as is said.
        n_bytes: size of its files.
    """

    files: EntryFiles
    state: State
    wanted: Wanted | None
    sha256: str | None
    chunks_done: int
    n_bytes: int

    @property
    def chunks(self) -> int | None:
        """Chunks of the tensor."""
        return n_chunks(self.wanted) if self.wanted else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; no path of this machine."""
        said = self.wanted.to_dict() if self.wanted else {}
        names = ("repo", "commit", "file", "tensor", "dtype", "shape")
        return {
            **{name: said.get(name) for name in names},
            "entry": self.files.stem,
            "state": self.state,
            "sha256": self.sha256,
            "chunks_done": self.chunks_done,
            "chunks": self.chunks,
            "n_bytes": self.n_bytes,
        }


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was removed, and what was left because another process is fetching it."""

    removed: tuple[CacheEntry, ...]
    busy: tuple[CacheEntry, ...]


def list_entries(cache: TensorCache, repo: str | None = None) -> list[CacheEntry]:
    """The entries of a cache, or of one repository, in the order of their names.

    Raises:
        OutputError: the folder cannot be read.
    """
    with cache_trouble(cache.folder):
        found = [entry for files in _all_files(cache, repo) if (entry := _look(files))]
    return [e for e in found if repo is None or e.wanted is None or e.wanted.key.repo == repo]


def fault(entry: CacheEntry) -> str | None:
    """What is wrong with a complete or damaged entry, after every byte was read; None if nothing is."""
    try:
        proved(entry.files)
    except CheckpointError as error:
        return error.message
    return None


def clear(cache: TensorCache, repo: str | None = None, *, partial_only: bool = False) -> Cleared:
    """Removes entries, of one repository or all, and what was remembered of their branches.

    Files of other names stay: the folder may be huggingface_hub's own, too.

    Args:
        cache: which.
        repo: ``org/name``; every repository if None.
        partial_only: remove unfinished fetches alone.

    Raises:
        OutputError: the folder cannot be written.
    """
    removed: list[CacheEntry] = []
    busy: list[CacheEntry] = []
    with cache_trouble(cache.folder):
        for entry in list_entries(cache, repo):
            if partial_only and entry.state != "partial":
                continue
            with entry.files.locked(wait=False) as free:
                (removed if free else busy).append(entry)
                if free:
                    entry.files.remove()
        if not partial_only:
            for folder in _repo_folders(cache, repo):
                _sweep(folder, {entry.files.folder for entry in busy})
    return Cleared(tuple(removed), tuple(busy))


def _sweep(folder: Path, busy: set[Path]) -> None:
    """Removes what was remembered of a repository, locks of killed processes, and empty folders."""
    for inside in (f for f in folder.glob("*") if f not in busy and (f.name == "refs" or COMMIT.fullmatch(f.name))):
        for path in inside.glob("*"):
            if not _remembered_in(inside, path.name):
                continue
            if path.suffix == ".lock":
                with EntryFiles(inside, path.stem).locked(wait=False):
                    pass  # letting go of a lock removes it
            else:
                path.unlink(missing_ok=True)
        with suppress(OSError):  # something was begun in it meanwhile
            inside.rmdir()
    with suppress(OSError):
        folder.rmdir()


def _remembered_in(folder: Path, name: str) -> bool:
    """Whether this tool gives a file such a name, and it is of no entry (one may be begun since the listing)."""
    return bool((_REF if folder.name == "refs" else _BESIDE).fullmatch(name))


def _repo_folders(cache: TensorCache, repo: str | None) -> list[Path]:
    if repo is not None:
        return [cache.repo_folder(repo)]
    return sorted(cache.folder.glob("models--*"))


def _all_files(cache: TensorCache, repo: str | None) -> Iterator[EntryFiles]:
    for folder in _repo_folders(cache, repo):
        for commit in sorted(f for f in folder.glob("*") if COMMIT.fullmatch(f.name)):
            stems = {match[1] for path in commit.glob("*") if (match := _FILE.fullmatch(path.name))}
            yield from (EntryFiles(commit, stem) for stem in sorted(stems))


def _look(files: EntryFiles) -> CacheEntry | None:
    size = sum(path.stat().st_size for path in (files.data, files.partial) if path.exists())
    if files.manifest.exists():
        try:
            manifest = Manifest.read(files.manifest)
        except CheckpointError:
            return CacheEntry(files, "damaged", None, None, 0, size)
        wanted = manifest.wanted
        return CacheEntry(files, "complete", wanted, manifest.sha256, n_chunks(wanted), size)
    head, hashes = read_journal(files.journal)
    if started := described(head):
        total = n_chunks(started)
        return CacheEntry(files, "partial", started, None, sum(i < total for i in hashes), size)
    return CacheEntry(files, "damaged", None, None, 0, size)
