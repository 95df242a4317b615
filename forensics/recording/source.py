"""A recording's step as a SOURCE: ``run:DIR`` is its last step, ``run:DIR@STEP`` the one named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forensics.checkpoint import Checkpoint
from forensics.checkpoint.checkpoint import Tied
from forensics.checkpoint.tokenizer_files import find_vocabulary
from forensics.embedding import Embedding, Source
from forensics.errors import CheckpointError, RecordingError, SourceError, TensorNotFoundError
from forensics.recording.reader import open_recording
from forensics.recording.recording import Recording
from forensics.vocabulary import Vocabulary


def open_run(argument: str, tensor: str | None = None) -> Checkpoint:
    """The matrix of a recording's step, or the two of an untied one that recorded both.

    Args:
        argument: what follows ``run:``.
        tensor: take this channel alone, "W" or "E".

    Raises:
        SourceError: not a folder, or not a step.
        RecordingError: no recording, no such step, no matrix of all tokens in it, or damaged.
        TensorNotFoundError: no such channel.
    """
    folder, asked = _parse(argument)
    recording = open_recording(folder)
    name = tensor or "W"
    if tensor is not None and tensor not in ("W", "E"):
        raise TensorNotFoundError(f"run:{recording.name}: no matrix {tensor!r}", hint="W or E", candidates=("W", "E"))
    recording.require(name)
    steps = recording.steps(name)
    if not len(steps):
        raise RecordingError(f"run:{recording.name}: no step is recorded yet")
    step = int(steps[-1]) if asked is None else asked
    matrices, tied = _matrices(recording, name, step, alone=tensor is not None)
    vocabulary, notes = _vocabulary(folder)
    source = Source("recording", recording.name, str(step))
    config, dead = model_config(recording, matrices[0]), recording.dead_ids
    return Checkpoint(source, matrices, tied, vocabulary, config, notes, tensor, dead_ids=dead)


def _parse(argument: str) -> tuple[Path, int | None]:
    """The folder and the step; a folder's own name may hold an @."""
    folder, at, step = argument.rpartition("@")
    if not at or _path(argument).is_dir():
        return _path(argument), None
    if not (step.isascii() and step.isdigit() and folder):
        raise SourceError(f"run:{argument[:80]}: {step[:40]!r} is not a step", hint="expected run:DIR or run:DIR@STEP")
    return _path(folder), int(step[:18])


def _path(text: str) -> Path:
    try:
        path = Path(text).expanduser()
        path.is_dir()
    # A home that nobody has, a name longer than the file system takes.
    except (OSError, RuntimeError) as error:
        raise SourceError(f"run:{text[:80]}: not a path ({error})", hint="expected run:DIR or run:DIR@STEP") from error
    return path


def _matrices(recording: Recording, name: str, step: int, *, alone: bool) -> tuple[tuple[Embedding, ...], Tied | None]:
    found = recording.embedding(step, name)
    if alone or found.role == "tied":
        return (found,), "identical" if found.role == "tied" else None
    if "E" not in (channel.name for channel in recording.channels):
        return (found,), None
    first = recording.embedding(step, "E")
    if first.sha256 == found.sha256:
        same = Embedding(first.rows_bytes, first.format, first.dim, "tied", "W", first.source)
        return (same,), "identical"
    return (first, found), "different"


def _vocabulary(folder: Path) -> tuple[Vocabulary | None, tuple[str, ...]]:
    try:
        return find_vocabulary(folder), ()
    except CheckpointError as error:
        return None, (f"tokenizer not used: {error.message}",)


def model_config(recording: Recording, embedding: Embedding) -> dict[str, Any]:
    """What a model's config.json would say, as far as the run's settings tell it."""
    config: dict[str, Any] = {
        "vocab_size": recording.vocab_size,
        "hidden_size": embedding.dim,
        "tie_word_embeddings": recording.is_tied,
    }
    drawn = _table(_table(recording.config, "initial"), "tokens")
    if drawn.get("kind") == "normal" and not drawn.get("mean"):
        config["initializer_range"] = drawn.get("sigma")
    return config


def _table(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = config.get(key)
    return found if isinstance(found, Mapping) else {}
