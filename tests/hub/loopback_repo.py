"""What the loopback Hub serves: repositories with commits, and the JSON that describes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

DATE = "2026-01-01T00:00:00.000Z"
LFS_SUFFIXES = {".safetensors", ".bin", ".gguf", ".pt", ".pth", ".h5"}
LFS_BYTES = 10 << 20  # the Hub keeps larger files in LFS, whatever their name


class Blob:
    """One file's bytes, in memory or on disk, with the digests that the Hub names it by."""

    def __init__(self, name: str, data: bytes | Path) -> None:
        self.name = name
        self.data = data
        self.size = data.stat().st_size if isinstance(data, Path) else len(data)
        self.is_lfs = PurePosixPath(name).suffix in LFS_SUFFIXES or self.size > LFS_BYTES

    def _hashed(self, digest: Any) -> str:
        if isinstance(self.data, Path):
            with self.data.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        else:
            digest.update(self.data)
        return str(digest.hexdigest())

    @cached_property
    def sha256(self) -> str:
        return self._hashed(hashlib.sha256())

    @cached_property
    def git_sha1(self) -> str:
        return self._hashed(hashlib.sha1(b"blob %d\0" % self.size))

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.git_sha1

    def bytes(self, start: int, stop: int) -> bytes:
        if isinstance(self.data, Path):
            with self.data.open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        return self.data[start:stop]

    def entry(self) -> dict[str, Any]:
        """The file as /tree and /paths-info list it."""
        listed: dict[str, Any] = {"type": "file", "path": self.name, "size": self.size, "oid": self.git_sha1}
        if self.is_lfs:
            listed["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return listed

    def sibling(self, *, with_blobs: bool) -> dict[str, Any]:
        """The file as /api/models lists it."""
        listed: dict[str, Any] = {"rfilename": self.name}
        if with_blobs:
            listed |= {"size": self.size, "blobId": self.git_sha1}
            if self.is_lfs:
                listed["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": 134}
        return listed


@dataclass
class Repo:
    """A model repository: commits by hash, references by name.

    Attributes:
        name: ``org/name``.
        files: what the first commit holds, path to bytes or to a file.
        gated: only ``readers`` get files, and everybody sees the listing.
        private: only ``readers`` see that it is there.
        disabled: nobody gets anything.
        readers: the tokens that may read.
        direct: files of any size come from the Hub itself, without a redirect.
    """

    name: str
    files: Mapping[str, bytes | Path]
    gated: bool = False
    private: bool = False
    disabled: bool = False
    readers: frozenset[str] = frozenset()
    direct: bool = False
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.refs["main"] = self.commit(self.files)

    @classmethod
    def from_folder(cls, name: str, folder: Path, **flags: Any) -> Repo:
        files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        return cls(name, files, **flags)

    def commit(self, files: Mapping[str, bytes | Path]) -> str:
        """A new commit, which no reference points to yet."""
        commit = hashlib.sha1(f"{self.name} {len(self.commits)}".encode()).hexdigest()
        self.commits[commit] = {name: Blob(name, data) for name, data in files.items()}
        return commit

    @property
    def main(self) -> str:
        return self.refs["main"]

    def resolve(self, revision: str) -> str | None:
        commit = self.refs.get(revision, revision)
        return commit if commit in self.commits else None

    def info(self, commit: str, query: Mapping[str, list[str]]) -> dict[str, Any]:
        """The answer to /api/models/org/name."""
        blobs = self.commits[commit].values()
        full: dict[str, Any] = {
            "_id": "0" * 24, "id": self.name, "modelId": self.name, "sha": commit,
            "lastModified": DATE, "createdAt": DATE, "private": self.private,
            "gated": "manual" if self.gated else False, "disabled": self.disabled,
            "downloads": 0, "likes": 0, "tags": [],
            "siblings": [b.sibling(with_blobs="blobs" in query) for b in blobs],
        }  # fmt: skip
        wanted = query.get("expand")
        return full if not wanted else {k: v for k, v in full.items() if k in {"_id", "id", *wanted}}

    def tree(self, commit: str, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
        """The answer to /tree: files, and folders where they are not opened or all is listed."""
        prefix = f"{folder}/" if folder else ""
        return [
            entry
            for entry in self._entries(commit)
            if entry["path"].startswith(prefix) and (recursive or "/" not in entry["path"][len(prefix) :])
        ]

    def paths(self, commit: str, wanted: list[str]) -> list[dict[str, Any]]:
        """The answer to /paths-info: whatever of the wanted paths is there."""
        return [entry for entry in self._entries(commit) if entry["path"] in wanted]

    def _entries(self, commit: str) -> Iterator[dict[str, Any]]:
        blobs = self.commits[commit]
        folders = {str(parent) for name in blobs for parent in PurePosixPath(name).parents} - {"."}
        yield from (
            {"type": "directory", "path": f, "oid": hashlib.sha1(f.encode()).hexdigest(), "size": 0}
            for f in sorted(folders)
        )
        yield from (blob.entry() for blob in blobs.values())
