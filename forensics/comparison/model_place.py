"""Where a checkpoint's whole model lies on this disk, for transformers to load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.checkpoint import Checkpoint, find_in_package
from forensics.errors import ComparisonError

if TYPE_CHECKING:
    from forensics.hub.client import HubOptions

_EXTRA = "pip install 'embedding-forensics[models]'"

_ELSEWHERE = ("*.gguf", "*.onnx", "*.h5", "*.msgpack", "*.ot", "*.tflite", "*.mlmodel", "original/*", "onnx/*")
"""The same weights in other forms, which transformers would not read."""


@dataclass(frozen=True, slots=True)
class Place:
    """A model on this disk.

    Attributes:
        folder: with config, weights and tokenizer.
        gguf: the name of the GGUF file in it that is the model; None of a Hugging Face folder.
    """

    folder: Path
    gguf: str | None = None


def find_model(checkpoint: Checkpoint, named: Path | None, hub: HubOptions | None = None) -> Place:
    """Finds the whole model of a checkpoint; of a model on the Hub everything that transformers reads is fetched.

    Args:
        checkpoint: opened.
        named: the path that was named, of a file or folder; a Checkpoint does not keep it.
        hub: how the Hub is read.

    Raises:
        ComparisonError: no model belongs to it, or it cannot be found again.
        RemoteError: it cannot be fetched, or is not here and offline.
    """
    source = checkpoint.source
    match source.kind:
        case "package":
            return _on_disk(find_in_package(source.location)[0])
        case "hub":
            return _fetched(checkpoint, hub)
        case "file" | "folder" if named is not None:
            return _on_disk(named)
        case "file" | "folder":
            raise ComparisonError(f"{source}: the checkpoint does not say where its model lies", hint="name its path")
        case _:
            what = {"planted": "a planted matrix", "recording": "a recording"}.get(source.kind, "a matrix in memory")
            raise ComparisonError(f"{source}: {what} has no model to run a text through", hint="leave the text away")


def _on_disk(path: Path) -> Place:
    if path.is_dir():
        return Place(path)
    if path.suffix.lower() == ".gguf":
        return Place(path.parent, path.name)
    if not (path.parent / "config.json").is_file():
        raise ComparisonError(f"{path.name}: no config.json beside it, so no model", hint="name the model's folder")
    return Place(path.parent)


def _fetched(checkpoint: Checkpoint, hub: HubOptions | None) -> Place:
    """The model in huggingface_hub's own cache, where transformers looks for it, too."""
    from huggingface_hub import errors, snapshot_download

    from forensics.hub.client import HubClient, HubOptions
    from forensics.hub.explain import explain, offline

    repo, _, file = checkpoint.source.location.partition(":")
    client = HubClient(hub or HubOptions())
    is_gguf = file.lower().endswith(".gguf")
    try:
        folder = snapshot_download(
            repo,
            revision=checkpoint.source.revision,
            cache_dir=client.hub_cache,
            local_files_only=client.offline,
            token=False if client.offline else client.options.token,
            endpoint=client.endpoint,
            max_workers=client.options.max_workers,
            allow_patterns=[file] if is_gguf else None,
            ignore_patterns=None if is_gguf else list(_ELSEWHERE),
        )
    except errors.LocalEntryNotFoundError:
        raise offline(f"{repo}: the whole model") from None
    except (errors.HTTPError, errors.OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:
        raise explain(error, repo, checkpoint.source.revision, endpoint=client.endpoint) from None
    path = Path(folder)
    return _on_disk(path / file) if file else Place(path)


@contextmanager
def needing_models() -> Iterator[None]:
    """Says which extra holds a package that is not there.

    Raises:
        ComparisonError: torch, transformers, or what transformers asks for to read a GGUF file, is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "transformers"):
            raise
        message = f"a text needs {error.name}, which is not installed"
        raise ComparisonError(message, hint=_EXTRA) from None


def check_gguf() -> None:
    """Makes sure that transformers can read GGUF files.

    Raises:
        ComparisonError: accelerate, which it asks for, is missing.
    """
    from importlib.util import find_spec

    if find_spec("accelerate") is None:
        raise ComparisonError("a text through a GGUF file needs accelerate, which is not installed", hint=_EXTRA)
