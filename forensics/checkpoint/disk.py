"""Checkpoints on disk: a weights file, or a Hugging Face folder, single file or sharded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from forensics.checkpoint.binary_file import BinaryFile, opened
from forensics.checkpoint.checkpoint import Contents
from forensics.checkpoint.gguf_file import read_gguf
from forensics.checkpoint.gguf_metadata import config_from_gguf, vocabulary_from_gguf
from forensics.checkpoint.json_file import read_json
from forensics.checkpoint.naming import role_by_name
from forensics.checkpoint.safetensors_file import read_safetensors
from forensics.checkpoint.stored import StoredTensor
from forensics.checkpoint.tokenizer_files import find_vocabulary
from forensics.checkpoint.torch_zip import read_torch_zip
from forensics.errors import CheckpointError, ForensicsError, SourceError, UnsafeFileError
from forensics.vocabulary import Vocabulary

SINGLE = ("model.safetensors", "pytorch_model.bin")
"""Weights files that a folder's loader takes without asking, in order of preference."""

SHARD = re.compile(r"-\d{5}-of-(?!00001)\d{5}$")
"""The end of a shard's name: the file is a part of a checkpoint."""

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
"""Of each of these, the index that stands for it where it is cut into shards."""

WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")
"""Endings of weights files."""

NOT_WEIGHTS = ("training_args.bin", "optimizer.bin", "scheduler.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")
"""What a trainer leaves beside the weights."""


def read_path(path: Path, tensor: str | None = None) -> Contents:
    """The tensors, config and vocabulary of a file or folder.

    Args:
        path: which.
        tensor: one that is asked for by name, whatever its name tells.

    Raises:
        SourceError: nothing there, or nothing that holds weights.
        CheckpointError: what is there is damaged or unsafe.
    """
    try:
        if path.is_dir():
            return read_files(Files(path, tensor))
        if path.is_file():
            return read_file(Files(path.parent, tensor), path.name)
        if path.exists():
            raise SourceError(f"{path.name}: neither a file nor a folder", hint="name a weights file or its folder")
    except OSError as error:
        raise SourceError(f"{path.name[:80]}: cannot be read ({error.strerror or error})") from error
    raise SourceError(f"{path.name or path}: no such file or folder", hint="check the path")


class Files:
    """The files of a folder on this disk; a subclass has them elsewhere.

    Attributes:
        where: names the place in error messages.
        folder: where the config, the tokenizer's files and the index lie.
        asked: a tensor that is asked for by name, or None.
        is_remote: every read of a weights file costs a request, so that of a torch file only what may be wanted is
            listed.
    """

    is_remote = False

    def __init__(self, folder: Path, asked: str | None = None) -> None:
        self.folder, self.asked = folder, asked
        self.where = folder.name or folder.resolve().name

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.folder / name).is_file()

    def names(self) -> list[str]:
        """The files, those in folders within left out."""
        return sorted(p.name for p in self.folder.iterdir() if p.is_file())

    def open(self, name: str) -> AbstractContextManager[BinaryFile]:
        """A weights file, to be read at given offsets."""
        return opened(self.folder / name)

    def may_want(self, tensor: str) -> bool:
        """Whether a tensor is the one asked for, or named as an embedding is."""
        return tensor == self.asked or role_by_name(tensor) != "unknown"

    def tensors(self, name: str) -> dict[str, StoredTensor]:
        """The tensors of a safetensors or torch file, told by content where it is unmistakable, then by ending."""
        with self.open(name) as file:
            head, ending = file.read_at(0, 8), file.path.suffix
            if head.startswith(b"PK\x03\x04") or ending in (".bin", ".pt", ".pth"):
                return read_torch_zip(file, self.may_want if self.is_remote else None)
            if ending == ".safetensors" or file.read_at(8, 1) == b"{":
                return read_safetensors(file)
        raise CheckpointError(f"{name}: not a weights file that is known", hint=f"known: {', '.join(WEIGHTS)}")


def read_file(files: Files, name: str) -> Contents:
    """The contents of one weights file, with the config and tokenizer that lie beside it.

    Raises:
        CheckpointError: the file is damaged, unsafe or of another kind.
    """
    with files.open(name) as file:
        if name.endswith(".gguf") or file.read_at(0, 8).startswith(b"GGUF"):
            header = read_gguf(file)
            vocabulary, notes = vocabulary_from_gguf(header.metadata)
            in_parts = header.metadata.get("split.count", 0) not in (0, 1)
            config = config_from_gguf(header.metadata, None if in_parts else header.tensors)
            return Contents(name, header.tensors, config, vocabulary, notes, in_parts)
    contents = _with_neighbours(name, files.folder, files.tensors(name))
    return replace(contents, is_part=bool(SHARD.search(PurePosixPath(name).stem)))


def read_files(files: Files) -> Contents:
    """The contents of a folder: of its single weights file, or of the shards that its index names.

    Raises:
        SourceError: no weights file, or several and nothing that says which.
        CheckpointError: what is there is damaged or unsafe.
    """
    for single, index in zip(SINGLE, INDEXES, strict=True):
        if files.has(single):
            return read_file(files, single)
        if files.has(index):
            return _with_neighbours(files.where, files.folder, _read_shards(files, index))
    found = [name for name in files.names() if is_weights_name(name)]
    if len(found) == 1:
        return read_file(files, found[0])
    if found:
        listed = ", ".join(found[:8])
        raise SourceError(f"{files.where}: {len(found)} weights files and no index", hint=f"name one of them: {listed}")
    raise SourceError(f"{files.where}: holds no weights file", hint=f"expected one ending in {', '.join(WEIGHTS)}")


def is_weights_name(name: str) -> bool:
    """True for a name whose ending is a weights file's and that is not known to be something else."""
    path = PurePosixPath(name)
    return path.suffix in WEIGHTS and path.name not in NOT_WEIGHTS


def _read_shards(files: Files, index_name: str) -> dict[str, StoredTensor]:
    """The tensors of the shards that can hold an embedding: a missing other shard does not matter."""
    weight_map = read_json(files.folder / index_name).get("weight_map")
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise CheckpointError(f"{index_name}: no weight_map, so the shards are unknown")
    for name, shard in weight_map.items():
        if not isinstance(shard, str):
            kind = type(shard).__name__
            raise CheckpointError(f"{index_name}: the shard of tensor {name[:80]!r} is a {kind}, not a file name")
        check_shard_name(shard, index_name)
    telling = {name: shard for name, shard in weight_map.items() if files.may_want(name)} or weight_map
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(set(telling.values())):
        if not files.has(shard):
            wanted = next(name for name, s in telling.items() if s == shard)
            raise CheckpointError(f"{shard}: missing, and tensor {wanted!r} is in it", hint="download that shard")
        found = files.tensors(shard)
        mapped = telling if files.is_remote else weight_map  # of a remote torch file only the telling ones are listed
        for name in (n for n, s in mapped.items() if s == shard and n not in found):
            raise CheckpointError(f"{shard}: {index_name} says it holds tensor {name!r}, and it does not")
        # A shard can hold an older copy of a tensor that the index keeps elsewhere.
        tensors.update((name, tensor) for name, tensor in found.items() if weight_map.get(name) == shard)
    return tensors


def check_shard_name(shard: str, index_name: str) -> None:
    """Refuses a shard name that would leave the checkpoint's folder.

    Raises:
        UnsafeFileError: an absolute or climbing path, a backslash, a drive, characters that are not shown.
    """
    path = PurePosixPath(shard)
    climbs = path.is_absolute() or ".." in path.parts or not path.name
    if climbs or set(shard) & set("\\:") or not shard.isprintable():
        raise UnsafeFileError(
            f"{index_name}: shard name {shard[:120]!r} is not that of a file in the folder",
            hint="do not trust this checkpoint",
        )


def _with_neighbours(where: str, folder: Path, tensors: Mapping[str, StoredTensor]) -> Contents:
    """Adds the config and the tokenizer that lie beside the weights; a damaged one is a note, not an end."""
    notes: list[str] = []
    config: dict[str, Any] = {}
    vocabulary: Vocabulary | None = None
    try:
        if (folder / "config.json").is_file():
            config = read_json(folder / "config.json")
    except ForensicsError as error:
        notes.append(f"config not used: {error.message}")
    try:
        vocabulary = find_vocabulary(folder)
        if vocabulary is None:
            notes.append("no tokenizer file that is read lies beside the weights: tokens are known by id only")
    except ForensicsError as error:
        notes.append(f"tokenizer not used: {error.message}")
    return Contents(where, tensors, config, vocabulary, tuple(notes))
