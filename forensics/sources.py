"""The SOURCE parser: what a user names, opened to a Checkpoint.

========================================  ==============================================================
``./path``, ``/path``, ``~/path``         a weights file or a Hugging Face folder
``pkg:MODULE[:path/inside]``              a model shipped inside an installed Python package
``synth:NAME``                            a planted checkpoint, made in memory
``run:DIR[@STEP]``                        a training recording's matrix after an update; the last one if no step
``org/name[@revision][:file]``            a model on the Hub; ``hf:`` before it means no local folder
========================================  ==============================================================
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.checkpoint import Checkpoint, assemble, find_in_package, read_path
from forensics.embedding import Embedding, Source
from forensics.errors import SourceError, TensorNotFoundError
from forensics.hub.address import parse_address

if TYPE_CHECKING:
    from forensics.hub.client import HubOptions

_SNAPSHOT = re.compile(r"/models--(?:([^/]+)--)?([^/]+)/snapshots/([0-9a-f]{40})(?:/(.+))?$")
"""A folder or file of the Hub's cache: organisation, model, commit, and what lies inside."""


_NAME_A_MODEL = "name a model as org/name"
_EXPECTED = "expected org/name[@revision][:file], a path (./...), pkg:MODULE, run:DIR or synth:NAME"


def open_checkpoint(
    source: str | os.PathLike[str], *, tensor: str | None = None, hub: HubOptions | None = None
) -> Checkpoint:
    """Opens what a user names; matrices stay on disk, memory-mapped.

    Args:
        source: a SOURCE, or a path object.
        tensor: take this tensor alone instead of choosing E_in and E_out.
        hub: how the Hub is read.

    Raises:
        SourceError: it cannot be understood, or nothing is there.
        RemoteError: a model on the Hub cannot be reached, or may not be read.
        TensorNotFoundError: no tensor, or more than one, could be the embedding.
        CheckpointError, FormatError: the files are damaged, unsafe or of an unknown kind.
        RecordingError: a recording is none, is damaged, or holds no such step.
    """
    if isinstance(source, str):
        kind, _, rest = source.partition(":")
        if kind == "pkg" and rest:
            path, origin = find_in_package(rest)
            return assemble(read_path(path, tensor), origin, tensor)
        if kind == "synth" and rest:
            return _open_planted(rest, tensor)
        if kind == "run" and rest:
            from forensics.recording.source import open_run

            return open_run(rest, tensor)
        if not source.strip():
            raise SourceError(
                "an empty SOURCE", hint="name org/name, a file, a folder, pkg:MODULE, run:DIR or synth:NAME"
            )
        address = parse_address(source)
        if address is not None and (kind == "hf" or not _is_local(source)):
            from forensics.hub.model import open_model  # sockets and certificates, for the Hub alone

            return open_model(address, tensor, hub)
        if kind in ("hf", "run") and not _is_local(source):
            raise SourceError(f"{source[:80]}: not a kind of SOURCE that this version reads", hint=_EXPECTED)
        if (kind in ("http", "https") or source.endswith("/")) and not _is_local(source):
            raise SourceError(f"{source[:80]}: not a model's name, and not on this disk", hint=_NAME_A_MODEL)
    path = _local_path(source)
    contents = read_path(path, tensor)
    if isinstance(source, str) and parse_address(source) is not None:
        note = f"{source} is read from this disk; for the Hub's model of that name write hf:{source}"
        contents = replace(contents, notes=(note, *contents.notes))
    return assemble(contents, _local_source(path), tensor)


def load_embedding(
    source: str | os.PathLike[str],
    *,
    role: str | None = None,
    tensor: str | None = None,
    hub: HubOptions | None = None,
) -> Embedding:
    """One embedding matrix of a SOURCE: E_in unless another role or a tensor is named.

    Raises:
        TensorNotFoundError: the checkpoint has no matrix of that role.
        ForensicsError: as :func:`open_checkpoint`.
    """
    return open_checkpoint(source, tensor=tensor, hub=hub).matrix(role)


def _is_local(source: str) -> bool:
    try:
        return source.startswith(("./", "../", "/", "~")) or source in (".", "..") or Path(source).exists()
    except OSError:  # a name longer than the file system takes, a folder that may not be entered
        return False


def _local_path(source: str | os.PathLike[str]) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError as error:
        raise SourceError(f"{os.fspath(source)[:80]}: {error}", hint="write the path out") from error


def _local_source(path: Path) -> Source:
    """The last name of a path; for a snapshot in the Hub's cache, the model and its commit."""
    kind = "folder" if path.is_dir() else "file"
    # The name as given: in the Hub's cache a file is a link to one that is named by its hash.
    name = path.name if path.name not in ("", "..") else path.resolve().name
    snapshot = _SNAPSHOT.search(path.absolute().as_posix())
    revision = None
    if snapshot:
        organisation, model, revision, inside = snapshot.groups()
        name = "/".join(part for part in (organisation, model, inside) if part)
    # A name that is not UTF-8 is kept as escapes: it goes into JSON and markdown.
    return Source(kind, os.fsencode(name).decode("utf-8", errors="backslashreplace"), revision)


def _open_planted(name: str, tensor: str | None) -> Checkpoint:
    from forensics.synthetic import SOURCE_ROWS, plant

    planted = plant(name, rows=SOURCE_ROWS.get(name))
    embedding = planted.embedding()
    if tensor not in (None, embedding.tensor):
        raise TensorNotFoundError(
            f"synth:{name}: no tensor {tensor!r}",
            hint=f"it holds {embedding.tensor!r}",
            candidates=(embedding.tensor,),
        )
    return Checkpoint(embedding.source, (embedding,), "absent", None, planted.config)
