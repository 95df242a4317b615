"""A repository at one commit: its files by name, as the Hub or an earlier run lists them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from forensics.checkpoint.disk import INDEXES, SHARD, is_weights_name
from forensics.checkpoint.json_file import read_json
from forensics.errors import CheckpointError, RemoteError
from forensics.hub.address import Address, parse_address
from forensics.hub.cache import TensorCache
from forensics.hub.client import HubClient
from forensics.hub.explain import CHECK_NETWORK
from forensics.text import json_text

WHOLE_TOKENIZER = "tokenizer.json"
"""Says all of a tokenizer; where it is, the others are not read."""

TOKENIZER = ("tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json", "vocab.txt", "*.tiktoken")
"""Names and patterns of files that say it in parts."""

COMMIT = re.compile(r"[0-9a-f]{40}")

LISTING = "listing.json"


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a listing.

    Attributes:
        size: in bytes; None where the Hub does not say.
        sha256: of a large file (LFS); None for others.
        git_oid: SHA-1 of the git blob of a small file; None for others.
    """

    size: int | None
    sha256: str | None = None
    git_oid: str | None = None

    def holds(self, raw: bytes) -> bool:
        """Whether these are the file's bytes, by whichever digest the listing has."""
        if self.sha256 is not None:
            return hashlib.sha256(raw).hexdigest() == self.sha256
        if self.git_oid is not None:
            return hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest() == self.git_oid
        return self.size in (None, len(raw))

    def holds_file(self, path: Path) -> bool:
        """Whether a file on this disk has the listed size and digest; it is read once, in pieces."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if self.size not in (None, size):
                    return False
                if self.sha256 is not None:
                    return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
                if self.git_oid is None:
                    return True
                blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
                return hashlib.file_digest(file, lambda: blob).hexdigest() == self.git_oid
        except OSError:
            return False


@dataclass(frozen=True, slots=True, eq=False)
class Repository:
    """A model's repository, pinned.

    Attributes:
        repo: its name as the Hub writes it, which may differ from what was asked for (moved repositories).
        commit: 40 hex digits.
        files: by path.
    """

    repo: str
    commit: str
    files: Mapping[str, Listed]

    def weights_bytes(self, name: str) -> int:
        """Bytes of a weights file and of the shards that belong to it: what a download of the model costs."""
        kind = _shards_of(name)
        return sum(f.size or 0 for path, f in self.files.items() if path == name or (kind and _shards_of(path) == kind))

    def small_names(self, folder: str) -> list[str]:
        """The files of a folder that are downloaded whole: its config, index and tokenizer."""
        start = f"{folder}/" if folder else ""
        inside = {path.removeprefix(start) for path in self.files if path.startswith(start)}
        index = next((name for name in INDEXES if name in inside), "")
        tokenizer = (WHOLE_TOKENIZER,) if WHOLE_TOKENIZER in inside else TOKENIZER
        wanted = ("config.json", index, *tokenizer)
        return sorted(start + n for n in inside if "/" not in n and any(fnmatch(n, pattern) for pattern in wanted))


def _shards_of(name: str) -> tuple[str, str] | None:
    """What the shards of one checkpoint have in common; None for a file that is none."""
    path = PurePosixPath(name)
    return (str(path.parent), path.suffix) if SHARD.search(path.stem) else None


def resolve(address: Address, client: HubClient, cache: TensorCache) -> Repository:
    """Pins the revision to a commit and lists the files at that commit.

    Raises:
        RemoteError: no such model or revision, no access, the Hub is out of reach; or offline and not known.
    """
    repo, revision = address.repo, address.revision or "main"
    commit: str | None = revision if COMMIT.fullmatch(revision) else None
    if client.offline and commit is None:
        commit = cache.commit_of(repo, revision) or client.held_commit(repo, revision)
        commit = commit if commit and COMMIT.fullmatch(commit) else None
    known = _remembered(cache, repo, commit) if commit else None
    if known is not None:
        return known
    if client.offline:
        return _held(address, commit, client)
    try:
        info = client.model_info(repo, address.revision)
    except RemoteError as error:
        before = cache.commit_of(repo, revision)
        if (error.hint or "").startswith(CHECK_NETWORK) and before and _remembered(cache, repo, before):
            raise RemoteError(error.message, hint=f"{error.hint}; --offline takes what is in the cache") from None
        raise
    if not isinstance(info.sha, str) or not COMMIT.fullmatch(info.sha) or commit not in (None, info.sha):
        raise RemoteError(f"{address}: the Hub names no commit for it", hint="is HF_ENDPOINT a Hub?")
    files = {s.rfilename: _listed(s) for s in info.siblings or () if _is_inside(s.rfilename)}
    renamed = parse_address(f"hf:{info.id}") if isinstance(info.id, str) else None
    repository = Repository(renamed.repo if renamed else repo, info.sha, files)
    for name in {repo, repository.repo}:
        _remember(cache, name, repository)
        cache.remember_revision(name, revision, info.sha)
    return repository


def _held(address: Address, commit: str | None, client: HubClient) -> Repository:
    """A repository of which huggingface_hub's cache is all that is known."""
    folder = client.snapshot(address.repo, commit) if commit else None
    paths = [p for p in folder.rglob("*") if p.is_file()] if folder else []
    if commit is None or folder is None or not any(is_weights_name(p.name) for p in paths):
        raise RemoteError(
            f"{address}: not in the cache, and offline",
            hint="open it once without --offline (and without HF_HUB_OFFLINE)",
        )
    files = {p.relative_to(folder).as_posix(): Listed(p.stat().st_size) for p in paths}
    return Repository(address.repo, commit, files)


def _is_inside(name: Any) -> bool:
    """Whether a listed name is that of a file in the repository: no other is looked at."""
    if not isinstance(name, str) or not name.isprintable() or "\\" in name:
        return False
    return not {"", ".", ".."} & set(name.split("/"))


def _listed(sibling: Any) -> Listed:
    """What the listing says of a file; what cannot be is as if it were not said."""
    size, lfs = sibling.size, sibling.lfs
    sha256, git_oid = (lfs.sha256, None) if lfs else (None, sibling.blob_id)
    return Listed(
        size if type(size) is int and size >= 0 else None,
        sha256 if isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) else None,
        git_oid if isinstance(git_oid, str) and COMMIT.fullmatch(git_oid) else None,
    )


def _remember(cache: TensorCache, name: str, repository: Repository) -> None:
    """Writes the listing down: what a commit holds never changes."""
    files = {path: [f.size, f.sha256, f.git_oid] for path, f in repository.files.items()}
    said = {"repo": repository.repo, "files": files}
    document = {**said, "checksum": _checksum(said)}
    cache.write(cache.place(name, repository.commit) / LISTING, json_text(document).encode())


def _checksum(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json_text(said).encode()).hexdigest()


def _remembered(cache: TensorCache, name: str, commit: str) -> Repository | None:
    path = cache.place(name, commit) / LISTING
    try:
        if not path.is_file():
            return None
        said = read_json(path)
        if said.pop("checksum", None) != _checksum(said):
            return None
        files = {name: Listed(size, sha256, oid) for name, (size, sha256, oid) in said["files"].items()}
        return Repository(said["repo"], commit, files)
    except (CheckpointError, OSError, LookupError, TypeError, AttributeError, ValueError):
        return None  # not as it was written: asked for anew
