"""One entry of the cache on disk: its files, its lock, its manifest, and the proof that it holds.

An entry is ``STEM.safetensors`` and ``STEM.json``, the manifest, which is written last; while it is fetched it
is ``STEM.partial`` and ``STEM.journal``, under ``STEM.lock``.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forensics.checkpoint.json_file import read_json
from forensics.errors import CheckpointError, ForensicsError, OutputError
from forensics.hub.wanted import Wanted
from forensics.text import json_text

SCHEMA = "forensics.tensor/1"

REMARK = (
    "the bytes of one tensor were read: they cannot be checked against the file's published SHA-256;"
    " sha256 is of the tensor's own bytes"
)
"""Every manifest says so: two people compare what they scanned by this digest."""

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class EntryFiles:
    """Where an entry lies.

    Attributes:
        folder: of the repository's commit.
        stem: of the files' names; plain characters only.
    """

    folder: Path
    stem: str

    def __getitem__(self, suffix: str) -> Path:
        return self.folder / f"{self.stem}.{suffix}"

    @property
    def data(self) -> Path:
        """The finished safetensors file."""
        return self["safetensors"]

    @property
    def manifest(self) -> Path:
        """What makes the file an entry."""
        return self["json"]

    @property
    def partial(self) -> Path:
        """The file while it is fetched: it has its final size and layout."""
        return self["partial"]

    @property
    def journal(self) -> Path:
        """Which chunks of the partial file are there."""
        return self["journal"]

    def remove(self) -> None:
        """Removes the files, all but the lock, in an order that never leaves a manifest without its data."""
        self.manifest.unlink(missing_ok=True)
        for path in self.folder.glob(f"{self.stem}.*"):
            if path != self["lock"]:
                path.unlink(missing_ok=True)

    @contextmanager
    def locked(self, *, wait: bool = True, waiting: Callable[[str], None] | None = None) -> Iterator[bool]:
        """Holds the entry's lock, which dies with its process; False where it is held elsewhere and ``wait`` is.

        Args:
            wait: try until it is free.
            waiting: is told once that another process holds it.
        """
        handle = _try_lock(self["lock"])
        if handle is None and wait and waiting:
            waiting("waiting for another process that fetches the same tensor")
        while handle is None and wait:
            time.sleep(_POLL_S)
            handle = _try_lock(self["lock"])
        try:
            yield handle is not None
        finally:
            if handle is not None:
                # Removed while held: whoever opened it meanwhile sees that it is no longer the one at this path.
                with suppress(OSError):
                    self["lock"].unlink()
                os.close(handle)


def _try_lock(path: Path) -> int | None:
    try:
        import fcntl
    except ImportError:
        raise OutputError(
            "this system has no file locks of the POSIX kind, so tensors are not fetched one by one",
            hint="download the model and scan its folder",
        ) from None
    handle = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    # Held elsewhere; or its holder, or who cleared the cache, removed the file or its folder at this moment.
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        if handle >= 0:
            os.close(handle)
        raise
    if handle >= 0:
        os.close(handle)
    return None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished entry is.

    Attributes:
        wanted: the tensor and where it came from.
        sha256: of the tensor's own bytes.
        notes: what happened while it was fetched.
    """

    wanted: Wanted
    sha256: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The manifest's keys; ``checksum`` is the SHA-256 of the others' JSON."""
        body = {"schema": SCHEMA, **self.wanted.to_dict(), "sha256": self.sha256, "notes": [REMARK, *self.notes]}
        return {**body, "checksum": hashlib.sha256(json_text(body).encode()).hexdigest()}

    def write(self, path: Path) -> None:
        """Writes the manifest whole or not at all."""
        write_whole(path, json_text(self.to_dict()).encode())

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest in a file.

        Raises:
            CheckpointError: it is not, to the byte, what :meth:`write` writes.
        """
        try:
            said, raw = read_json(path), path.read_bytes()
        except OSError as error:  # cleared at this moment
            raise CheckpointError(f"{path.name}: cannot be read ({error.strerror})") from error
        notes, digest = said.get("notes"), said.get("sha256")
        if said.get("schema") != SCHEMA or not isinstance(notes, list) or not isinstance(digest, str):
            raise CheckpointError(f"{path.name}: is not a manifest of this version's cache")
        manifest = cls(Wanted.from_dict(said), digest, tuple(notes[1:]))
        try:
            same = json_text(manifest.to_dict()).encode() == raw
        except ValueError:  # a nan
            same = False
        if not same:
            raise CheckpointError(f"{path.name}: the manifest does not match its own checksum")
        return manifest


def proved(files: EntryFiles) -> Manifest:
    """The manifest of a finished entry, after every byte of the entry was read and held against it.

    Raises:
        CheckpointError: the entry does not hold, and why.
    """
    manifest = Manifest.read(files.manifest)
    header, name = manifest.wanted.header(), files.data.name
    try:
        with files.data.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != len(header) + manifest.wanted.n_bytes:
                expected = len(header) + manifest.wanted.n_bytes
                raise CheckpointError(f"{name}: {expected:,} bytes expected, found {size:,}")
            if file.read(len(header)) != header:
                raise CheckpointError(f"{name}: the header is not the one that was written")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read ({error.strerror})") from error
    if digest != manifest.sha256:
        raise CheckpointError(f"{name}: the tensor's bytes have sha256 {digest[:12]}..., not {manifest.sha256[:12]}...")
    return manifest


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside its name and renames it, so that it is whole or absent."""
    beside = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    for last in (False, True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(content)
            beside.replace(path)
            return
        except FileNotFoundError:  # the cache was cleared at this moment
            if last:
                raise
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def cache_trouble(folder: Path) -> Iterator[None]:
    """Turns what the file system refuses in the cache folder into an OutputError."""
    try:
        yield
    except ForensicsError:  # some of them are OSErrors, too
        raise
    except OSError as error:
        raise OutputError(
            f"cache folder {folder}: cannot be used ({error.strerror or error})",
            hint="free some space, or set FORENSICS_CACHE to a folder that can be written to",
        ) from error
