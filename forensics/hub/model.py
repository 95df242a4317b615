"""A model of the Hub as a Checkpoint: of its weights, headers and the embedding's bytes are all that is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from forensics.checkpoint import Checkpoint, assemble
from forensics.checkpoint.binary_file import BinaryFile, opened
from forensics.checkpoint.checkpoint import Contents
from forensics.checkpoint.disk import Files, is_weights_name, read_file, read_files
from forensics.embedding import Source
from forensics.errors import SourceError
from forensics.hub.address import Address
from forensics.hub.cache import TensorCache
from forensics.hub.client import HubClient, HubOptions
from forensics.hub.fetch import Fetcher
from forensics.hub.repository import resolve
from forensics.hub.transfer import Transport


def open_model(address: Address, tensor: str | None = None, options: HubOptions | None = None) -> Checkpoint:
    """Opens a model of the Hub at a pinned commit; the matrices chosen are fetched, or found in the cache.

    Args:
        address: the model.
        tensor: take this tensor alone instead of choosing.
        options: how the Hub is read.

    Raises:
        RemoteError: the Hub is out of reach or refuses, or what it sends does not hold.
        SourceError: the repository holds no such file, or no weights.
        TensorNotFoundError, CheckpointError, FormatError: as for files on disk.
        OutputError: a cache cannot be written, or has no room.
    """
    options = options or HubOptions()
    client, cache = HubClient(options), TensorCache(options.cache)
    with Transport(
        endpoint=client.endpoint,
        token=False if client.offline else options.token,  # a stored login may be renewed over the network
        max_workers=options.max_workers,
        patience=options.patience,
        progress=options.watch.advance,
        say=options.watch.say,
    ) as transport:
        repository = resolve(address, client, cache)
        fetcher = Fetcher(repository, client, cache, transport)
        files = RepositoryFiles(fetcher, address.file, tensor)
        contents = _contents(files, address)
        here = {name: replace(t, local=fetcher.local) for name, t in contents.tensors.items() if fetcher.has_opened(t)}
        contents = replace(contents, tensors={**contents.tensors, **here}, notes=(*files.notes, *contents.notes))
        location = repository.repo + (f":{address.file}" if address.file else "")
        checkpoint = assemble(contents, Source("hub", location, repository.commit), tensor)
        fetcher.remember_heads()  # not before: bytes that were damaged on their way seldom get this far
        return checkpoint


class RepositoryFiles(Files):
    """The files of a repository: small ones on this disk, weights read at offsets, wherever they are.

    Attributes:
        notes: what of the small files could not be used.
    """

    is_remote = True

    def __init__(self, fetcher: Fetcher, file: str | None, tensor: str | None) -> None:
        self.where, self.asked = fetcher.repository.repo, tensor
        self.notes: list[str] = []
        self._fetcher = fetcher
        self._inside = "" if file is None else str(PurePosixPath(file).parent).removeprefix(".")

    @cached_property
    def folder(self) -> Path:  # type: ignore[override]  # fetched when it is first looked at: a GGUF file needs none
        """Where the small files lie, beside the weights as in the repository."""
        folder, notes = self._fetcher.small_files(self._inside)
        self.notes += notes
        return folder

    def has(self, name: str) -> bool:
        """Whether the repository has a file of that name."""
        return name in self._fetcher.repository.files

    def names(self) -> list[str]:
        """The files, those in folders within left out."""
        return sorted(name for name in self._fetcher.repository.files if "/" not in name)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryFile]:
        """A weights file: in huggingface_hub's cache if it is there, else over the network."""
        fetcher = self._fetcher
        held = fetcher.held(name)
        if held is None:
            yield fetcher.open(name)
            return
        with opened(held) as file:
            yield file


def _contents(files: RepositoryFiles, address: Address) -> Contents:
    if address.file is None:
        return read_files(files)
    if not files.has(address.file):
        weights = [name for name in files.names() if is_weights_name(name)]
        hint = f"it holds {', '.join(weights[:8])}" if weights else "it holds no weights file"
        raise SourceError(f"{address}: no such file in the repository", hint=hint)
    return read_file(files, address.file)
