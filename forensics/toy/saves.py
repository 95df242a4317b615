"""What a run is resumed from: everything that its next step depends on, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from forensics.errors import OutputError, RecordingError

FOLDER = "checkpoints"
KEPT = 2
"""The one before the last stays, in case the disk fails on the last."""

_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{16})\.pt")


def save(run: Path, step: int, state: dict[str, Any]) -> Path:
    """Writes the state after ``step`` updates; its name carries the SHA-256 that :func:`load_last` proves.

    Args:
        run: the run's folder.
        step: updates made.
        state: tensors, numbers, strings and dicts of them.

    Raises:
        OutputError: it could not be written; the saves before are untouched.
    """
    memory = io.BytesIO()
    torch.save(state, memory)
    payload = memory.getvalue()
    digest = hashlib.sha256(payload).hexdigest()[:16]
    path = run / FOLDER / f"step-{step:08d}-{digest}.pt"
    beside = path.with_suffix(".partial")
    try:
        path.parent.mkdir(exist_ok=True)
        with beside.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        for old in _listed(run)[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path.name}: {error.strerror}", hint="free some space, then go on with --resume") from error
    return path


def load_last(run: Path) -> tuple[int, dict[str, Any]]:
    """The last save that is whole: its step and its state.

    Raises:
        RecordingError: there is none.
    """
    for step, state in whole_saves(run):
        return step, state
    damaged = [path.name for path in reversed(_listed(run))]
    detail = f"; damaged: {', '.join(damaged)}" if damaged else ""
    raise RecordingError(f"{run.name}: no checkpoint to go on from{detail}", hint="begin the run in another folder")


def whole_saves(run: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Step and state of each save that is what its name says, the last one first; damaged ones are passed over."""
    for path in reversed(_listed(run)):
        match = _NAME.fullmatch(path.name)
        with suppress(OSError, pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError):
            payload = path.read_bytes()
            if match is not None and hashlib.sha256(payload).hexdigest()[:16] == match[2]:
                # weights_only: a save can build tensors and plain values, nothing else.
                yield int(match[1]), torch.load(io.BytesIO(payload), weights_only=True)


def _listed(run: Path) -> list[Path]:
    folder = run / FOLDER
    return sorted(path for path in folder.glob("step-*.pt")) if folder.is_dir() else []
