"""The weights files of one repository: headers read over the network, tensors fetched into the cache when needed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from forensics.checkpoint.binary_file import BinaryFile
from forensics.checkpoint.stored import StoredTensor
from forensics.errors import RemoteError
from forensics.hub.cache import CachedTensor, Done, TensorCache, Write
from forensics.hub.client import HubClient
from forensics.hub.explain import offline
from forensics.hub.remote_file import RemoteBytes
from forensics.hub.repository import Repository
from forensics.hub.small_files import fetch_small_files
from forensics.hub.transfer import RemoteFile, Transport
from forensics.hub.wanted import TensorKey, Wanted, plain, short_hash


class Fetcher:
    """Opens the weights files of a repository and brings their tensors here.

    Attributes:
        repository: what is read.
        client: huggingface_hub's side, which may hold whole files already; its watch is told how the bytes come.
    """

    def __init__(self, repository: Repository, client: HubClient, cache: TensorCache, transport: Transport) -> None:
        self.repository, self.client = repository, client
        self._cache, self._transport = cache, transport
        self._opened: dict[str, RemoteBytes] = {}
        self._held: dict[str, Path | None] = {}
        self._here: dict[StoredTensor, StoredTensor] = {}

    def held(self, name: str) -> Path | None:
        """A weights file in huggingface_hub's cache, every byte of it held against the listing; None if it is not."""
        if name not in self._held:
            path = self.client.held_file(self.repository.repo, self.repository.commit, name)
            if path is not None and not self.repository.files[name].holds_file(path):
                self.client.options.watch.say(f"{name} in huggingface_hub's cache is not as listed: not used")
                path = None
            self._held[name] = path
        return self._held[name]

    def open(self, name: str) -> BinaryFile:
        """A weights file, whose header an earlier run may have read.

        Raises:
            RemoteError: it is out of reach.
        """
        if name not in self._opened:
            self._opened[name] = self._recall(name) or RemoteBytes(self._locate(name), self._transport)
        return self._opened[name]

    def small_files(self, folder: str) -> tuple[Path, list[str]]:
        """Config, index and tokenizer of a folder of the repository on this disk; see ``fetch_small_files``."""
        return fetch_small_files(self.repository, self.client, self._transport, folder)

    def has_opened(self, tensor: StoredTensor) -> bool:
        """Whether a tensor is one of a file that was opened here, and so is not on this disk."""
        return tensor.path.as_posix() in self._opened

    def _url(self, name: str) -> str:
        return self.client.url(self.repository.repo, self.repository.commit, name)

    def _locate(self, name: str) -> RemoteFile:
        if self.client.offline:
            raise offline(f"{self.repository.repo}: {name}")
        return self._transport.locate(self._url(name), name)

    def _head(self, name: str) -> Path:
        """Where the header of a weights file is remembered."""
        folder = self._cache.place(self.repository.repo, self.repository.commit)
        return folder / f"{plain(name)}-{short_hash(name)}.head"

    def _recall(self, name: str) -> RemoteBytes | None:
        with suppress(OSError):
            remembered = self._head(name).read_bytes()
            transport = None if self.client.offline else self._transport
            file = (self.repository.repo, self.repository.commit, name)
            return RemoteBytes.recall(remembered, self._url(name), file, transport)
        return None

    def remember_heads(self) -> None:
        """Writes down what was read of the weights files, for the next run."""
        for name, file in self._opened.items():
            if file.is_new:
                self._cache.write(self._head(name), file.to_bytes(self.repository.repo))

    def local(self, tensor: StoredTensor) -> StoredTensor:
        """The tensor on this disk, every byte of it just held against its digest.

        Raises:
            RemoteError: it cannot be fetched, or has changed since its header was read.
            OutputError: the cache cannot be written, or has no room.
        """
        if tensor not in self._here:
            found = self._bring(tensor)
            self._here[tensor] = replace(found.stored, sha256=found.sha256)
        return self._here[tensor]

    def _bring(self, tensor: StoredTensor) -> CachedTensor:
        name = tensor.path.as_posix()
        key = TensorKey(self.repository.repo, self.repository.commit, name, tensor.name)
        found = self._cache.find(key, offline=self.client.offline)
        if found is None:
            found = self._fetch(tensor, self._unchanged(name))
            # Not notes of the checkpoint: the same bytes, however they came, are to give the same results.
            for note in found.manifest.notes:
                self.client.options.watch.say(f"{tensor.name}: {note}")
        return found

    def _unchanged(self, name: str) -> RemoteFile:
        """The file as it is now, if it is still the one whose header was read."""
        opened = self._opened[name]
        now = self._locate(name) if opened.is_recalled else opened.file
        if now != opened.file:
            self._head(name).unlink(missing_ok=True)
            raise RemoteError(f"{name}: is no longer the file whose header was read", hint="run again")
        return now

    def _fetch(self, tensor: StoredTensor, file: RemoteFile) -> CachedTensor:
        repo, commit, watch = self.repository.repo, self.repository.commit, self.client.options.watch
        wanted = Wanted.of(tensor, repo=repo, commit=commit, file=file.name, etag=file.etag, file_size=file.size)

        def fetch(ranges: Sequence[tuple[int, int]], write: Write, done: Done) -> None:
            held = wanted.n_bytes - sum(stop - start for start, stop in ranges)
            watch.begin(tensor.name, wanted.n_bytes, held, self.repository.weights_bytes(file.name))
            try:
                self._transport.fetch_all(file, ranges, write, done)
            finally:
                watch.end()

        return self._cache.fetch(wanted, fetch, waiting=watch.say, notes=self._transport.notes)
