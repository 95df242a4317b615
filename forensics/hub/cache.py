"""The cache of fetched tensors: each a safetensors file that anyone can open, proved again on every use."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from forensics.checkpoint.json_file import read_json
from forensics.checkpoint.stored import StoredTensor
from forensics.errors import CheckpointError, OutputError
from forensics.hub.entry import EntryFiles, Manifest, cache_trouble, proved, write_whole
from forensics.hub.partial import Partial
from forensics.hub.wanted import COMMIT, TensorKey, Wanted, plain, short_hash
from forensics.text import json_text

ENVIRONMENT = "FORENSICS_CACHE"
"""Names the cache folder."""

REF_SCHEMA = "forensics.ref/1"

Write = Callable[[int, memoryview], None]
"""Takes bytes of the remote file with their offset in it."""

Done = Callable[[tuple[int, int]], None]
"""Takes a range, first byte and end, of which all bytes were written."""

FetchRanges = Callable[[Sequence[tuple[int, int]], Write, Done], None]
"""Fetches ranges of a remote file, several at a time; an exception from ``Write`` or ``Done`` ends it."""


@dataclass(frozen=True, slots=True)
class CachedTensor:
    """A tensor in the cache, every byte of it read and held against its manifest.

    Attributes:
        stored: where it lies, with its own dtype and format.
        manifest: where it came from.
        notes: what was found on the way (a damaged copy, an unfinished fetch).
    """

    stored: StoredTensor
    manifest: Manifest
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the tensor's own bytes, as hex; just computed."""
        return self.manifest.sha256


class TensorCache:
    """A folder of fetched tensors.

    Attributes:
        folder: where; need not exist.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or user_folder()

    def files(self, key: TensorKey) -> EntryFiles:
        """Where the entry of a key lies, if it is there."""
        return EntryFiles(self.place(key.repo, key.commit), key.stem)

    def place(self, repo: str, commit: str) -> Path:
        """The folder of a repository's commit: of its entries, and of what else is to be remembered of it.

        ``forensics cache clear`` removes all that is in it.
        """
        return self.repo_folder(repo) / commit

    def write(self, path: Path, content: bytes) -> None:
        """Writes a file of :meth:`place` whole or not at all.

        Raises:
            OutputError: the cache folder cannot be used.
        """
        with cache_trouble(self.folder):
            write_whole(path, content)

    def repo_folder(self, repo: str) -> Path:
        """The folder of a repository's entries; nothing but a prefix makes it differ from ``org/name``."""
        return self.folder / "--".join(("models", *map(plain, repo.split("/"))))

    def find(self, key: TensorKey, *, offline: bool = False) -> CachedTensor | None:
        """The tensor, if it is here and every byte holds; a damaged one is not used, and :meth:`fetch` replaces it.

        Args:
            key: which tensor.
            offline: it cannot be fetched anew, so that damage is an error.

        Raises:
            CheckpointError: offline, and the entry is damaged.
        """
        try:
            return self._find(key)
        except CheckpointError as error:
            if offline:
                hint = "run again without --offline to fetch it anew"
                raise CheckpointError(f"the cached tensor is damaged: {error.message}", hint=hint) from error
            return None

    def _find(self, key: TensorKey) -> CachedTensor | None:
        files = self.files(key)
        with cache_trouble(self.folder):
            if not files.manifest.exists():
                return None
        manifest = proved(files)
        if manifest.wanted.key != key:
            raise CheckpointError(f"{files.manifest.name}: is the manifest of another tensor")
        return CachedTensor(manifest.wanted.stored(files.data), manifest)

    def fetch(
        self,
        wanted: Wanted,
        fetch_ranges: FetchRanges,
        *,
        waiting: Callable[[str], None] | None = None,
        notes: Sequence[str] = (),
    ) -> CachedTensor:
        """The tensor, from here or else from its source; what an unfinished fetch left is used.

        Args:
            wanted: what and from where.
            fetch_ranges: fetches the missing ranges of the remote file.
            waiting: is told once if another process is fetching the same tensor.
            notes: a live sequence of remarks on the fetch, kept in the manifest.

        Raises:
            OutputError: the cache folder cannot be used, or has no room.
            RemoteError: the bytes that came are not those asked for; and whatever ``fetch_ranges`` raises.
        """
        files, remarks = self.files(wanted.key), list[str]()
        if found := self._usable(wanted, []):
            return found
        with ExitStack() as held:
            with cache_trouble(self.folder):
                held.enter_context(files.locked(waiting=waiting))
                # Another process may have finished it meanwhile; and only under the lock may a bad one be removed.
                if found := self._usable(wanted, remarks):
                    return found
                if remarks:
                    files.remove()
                self._require_room_for(wanted)
                partial = held.enter_context(closing(Partial(files, wanted)))
            if ranges := partial.missing():
                fetch_ranges(ranges, partial.write, partial.done)
            with cache_trouble(self.folder):
                manifest = Manifest(wanted, partial.finish(), (*remarks, *partial.notes, *notes))
                files.partial.replace(files.data)
                manifest.write(files.manifest)
                files.journal.unlink()
        return CachedTensor(wanted.stored(files.data), manifest, (*remarks, *partial.notes))

    def _usable(self, wanted: Wanted, remarks: list[str]) -> CachedTensor | None:
        try:
            found = self._find(wanted.key)
        except CheckpointError as error:
            remarks.append(f"the cached tensor was damaged and is fetched anew ({error.message})")
            return None
        if found and found.manifest.wanted != wanted:
            remarks.append("the cached tensor was of a file with another ETag or layout and is fetched anew")
            return None
        return found

    def _require_room_for(self, wanted: Wanted) -> None:
        partial = self.files(wanted.key).partial
        held = partial.stat().st_blocks * 512 if partial.exists() else 0  # POSIX: blocks of 512 bytes
        self.has_room(wanted.n_bytes - held)

    def has_room(self, n_bytes: int) -> None:
        """Returns where the cache folder's disk has that many bytes free; :meth:`fetch` asks it, too.

        Raises:
            OutputError: it has not.
        """
        with cache_trouble(self.folder):
            there = next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
            free = shutil.disk_usage(there).free
        if n_bytes > free:
            raise OutputError(
                f"cache folder {self.folder}: the tensor needs {size_text(n_bytes)}, {size_text(free)} are free",
                hint=f"free some space, or set {ENVIRONMENT} to a folder on another disk",
            )

    def remember_revision(self, repo: str, revision: str, commit: str) -> None:
        """Notes which commit a branch or tag pointed to, for use without a network.

        Raises:
            OutputError: the cache folder cannot be used.
        """
        document = {"schema": REF_SCHEMA, "repo": repo, "revision": revision, "commit": commit}
        self.write(self._ref(repo, revision), json_text(document).encode())

    def commit_of(self, repo: str, revision: str) -> str | None:
        """The commit that :meth:`remember_revision` noted last; None if there is none, or its note is damaged."""
        try:
            said = read_json(self._ref(repo, revision))
        except CheckpointError:
            return None
        commit = said.pop("commit", None)
        sound = said == {"schema": REF_SCHEMA, "repo": repo, "revision": revision}
        return commit if sound and isinstance(commit, str) and COMMIT.fullmatch(commit) else None

    def _ref(self, repo: str, revision: str) -> Path:
        return self.repo_folder(repo) / "refs" / f"{plain(revision)}-{short_hash(repo, revision)}.json"


def user_folder() -> Path:
    """``FORENSICS_CACHE``, or the place for caches of the user's system.

    Raises:
        OutputError: the user has no home folder.
    """
    try:
        if given := os.environ.get(ENVIRONMENT):
            return Path(given).expanduser()
        # A relative XDG_CACHE_HOME is to be ignored (XDG Base Directory Specification 0.8).
        if (base := os.environ.get("XDG_CACHE_HOME", "")) and Path(base).is_absolute():
            return Path(base) / "forensics"
        return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "forensics"
    except RuntimeError as error:
        raise OutputError(f"no folder for the cache ({error})", hint=f"set {ENVIRONMENT} to a folder") from error


def size_text(n_bytes: int) -> str:
    """Bytes to three digits in decimal units, as disks and networks count: "778 MB"."""
    size, units = float(max(n_bytes, 0)), ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.{0 if size >= 99.95 or units[0] == 'bytes' else 1 if size >= 9.995 else 2}f} {units[0]}"
