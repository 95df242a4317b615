"""The SOURCE parser: what a user names, opened to a Checkpoint.

========================================  =====================================================
``./path``, ``/path``, ``~/path``         a weights file or a Hugging Face folder
``pkg:MODULE[:path/inside]``              a model shipped inside an installed Python package
``synth:NAME``                            a planted checkpoint, made in memory
``org/name[@revision][:file]``            the Hub (not read by this version)
========================================  =====================================================
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from forensics.checkpoint import Checkpoint, assemble, find_in_package, read_path
from forensics.embedding import Embedding, Source
from forensics.errors import SourceError, TensorNotFoundError

_SNAPSHOT = re.compile(r"/models--(?:([^/]+)--)?([^/]+)/snapshots/([0-9a-f]{40})(?:/(.+))?$")
"""A folder or file of the Hub's cache: organisation, model, commit, and what lies inside."""

_HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?(:[\w./-]+)?")


def open_checkpoint(source: str | os.PathLike[str], *, tensor: str | None = None) -> Checkpoint:
    """Opens what a user names; matrices stay on disk, memory-mapped.

    Args:
        source: a SOURCE, or a path object.
        tensor: take this tensor alone instead of choosing E_in and E_out.

    Raises:
        SourceError: it cannot be understood, or nothing is there.
        TensorNotFoundError: no tensor, or more than one, could be the embedding.
        CheckpointError, FormatError: the files are damaged, unsafe or of an unknown kind.
    """
    if isinstance(source, str):
        kind, _, rest = source.partition(":")
        if kind == "pkg" and rest:
            path, origin = find_in_package(rest)
            return assemble(read_path(path), origin, tensor)
        if kind == "synth" and rest:
            return _open_planted(rest, tensor)
        if not source.strip():
            raise SourceError("an empty SOURCE", hint="name a file, a folder, pkg:MODULE or synth:NAME")
        if not _is_local(source) and (_HUB.fullmatch(source) or kind in ("hf", "run")):
            raise SourceError(
                f"{source}: neither a local path nor a kind of SOURCE that this version reads",
                hint="download the files and name their folder; a local path can start with ./",
            )
    path = _local_path(source)
    contents = read_path(path)
    return assemble(contents, _local_source(path), tensor)


def load_embedding(source: str | os.PathLike[str], *, role: str | None = None, tensor: str | None = None) -> Embedding:
    """One embedding matrix of a SOURCE: E_in unless another role or a tensor is named.

    Raises:
        TensorNotFoundError: the checkpoint has no matrix of that role.
        ForensicsError: as :func:`open_checkpoint`.
    """
    return open_checkpoint(source, tensor=tensor).matrix(role)


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
