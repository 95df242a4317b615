"""Config, index and tokenizer of a repository on this disk, in huggingface_hub's cache, so that others find them there.

Its own download fails on the first dropped connection, waits for as long as a server drips, and holds nothing against
the digests of the listing; so the bytes come by the transport, and nothing is written that does not hold.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from forensics.checkpoint.disk import INDEXES
from forensics.errors import ForensicsError, OutputError, RemoteError, UnsafeFileError
from forensics.hub.client import HubClient
from forensics.hub.entry import write_whole
from forensics.hub.explain import offline
from forensics.hub.repository import Repository
from forensics.hub.transfer import RemoteFile, Transport

MAX_SMALL_BYTES = 256 << 20
"""No config, index or tokenizer comes near; one that does is not downloaded."""


def fetch_small_files(
    repository: Repository, client: HubClient, transport: Transport, folder: str = ""
) -> tuple[Path, list[str]]:
    """Brings the small files of a folder of the repository here.

    Returns:
        Where they are, and notes on what could not be used.

    Raises:
        RemoteError: they cannot be had, or arrive damaged twice.
        OutputError: huggingface_hub's cache cannot be written.
        UnsafeFileError: an index is too large to be one.
    """
    notes = []
    for name in repository.small_names(folder):
        size, is_index = repository.files[name].size, PurePosixPath(name).name in INDEXES
        if size is not None and size > MAX_SMALL_BYTES:
            much = f"{size:,} bytes, expected under {MAX_SMALL_BYTES:,}"
            if is_index:
                raise UnsafeFileError(f"{name}: {much}")
            notes.append(f"{name} not used: {much}")
        elif not _is_here(repository, name, client):
            if not client.offline:
                _download(repository, name, client, transport)
            elif is_index:
                raise offline(f"{repository.repo}: {name}")
            else:
                notes.append(f"{name} not used: not in huggingface_hub's cache, and offline")
    return client.snapshot(repository.repo, repository.commit) / folder, notes


def _is_here(repository: Repository, name: str, client: HubClient) -> bool:
    """Whether a file is in the cache and its bytes hold.

    Raises:
        RemoteError: they do not, and offline.
    """
    held = client.held_file(repository.repo, repository.commit, name)
    if held is None:
        return False
    try:
        holds = repository.files[name].holds(held.read_bytes())
    except OSError:
        holds = False
    if client.offline and not holds:
        raise RemoteError(f"{name}: is damaged in huggingface_hub's cache, and offline", hint="run without --offline")
    return holds


def _download(repository: Repository, name: str, client: HubClient, transport: Transport) -> None:
    listed = repository.files[name]
    url, digest = client.url(repository.repo, repository.commit, name), listed.sha256 or listed.git_oid
    if listed.size is not None and digest:  # all is known that a HEAD request would tell
        file = RemoteFile(url, name, listed.size, "", repository.commit)
    else:
        file = transport.locate(url, name)
    if file.size != listed.size if listed.size is not None else file.size > MAX_SMALL_BYTES:
        said = f"{listed.size:,} are listed" if listed.size is not None else f"expected under {MAX_SMALL_BYTES:,}"
        raise RemoteError(f"{name}: has {file.size:,} bytes, {said}", hint="run again later")
    for _ in range(2):
        raw = transport.read(file, 0, file.size)
        if listed.holds(raw):
            _write(client.snapshot(repository.repo, repository.commit) / name, raw)
            return
    raise RemoteError(f"{name}: came twice with other bytes than the Hub lists", hint="run again later")


def _write(path: Path, raw: bytes) -> None:
    # A plain file in place of a link to a blob is what huggingface_hub itself writes where there are no links.
    try:
        write_whole(path, raw)
    except OSError as error:
        if isinstance(error, ForensicsError):
            raise
        hint = "free some space, or set HF_HOME to a folder that can be written to"
        raise OutputError(
            f"{path.name}: cannot be kept in huggingface_hub's cache ({error.strerror})", hint=hint
        ) from None
