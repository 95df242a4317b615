"""Writes a planted matrix as a Hugging Face checkpoint folder, streaming it to disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.checkpoint.safetensors_file import OutgoingTensor, write_safetensors
from forensics.errors import OutputError

if TYPE_CHECKING:
    from forensics.synthetic.planted import Planted

TENSOR = "model.embed_tokens.weight"
"""Where transformers' Qwen3 keeps its input rows, and with tied embeddings its output rows."""

NORM = "model.norm.weight"


def write_checkpoint(planted: Planted, folder: Path) -> None:
    """Writes model.safetensors, config.json and, last, truth.json, each beside its name and then renamed.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    truth = folder / "truth.json"
    if (folder / "model.safetensors").exists() and not truth.exists():
        raise OutputError(
            f"{folder.name}: holds a model.safetensors that was not planted (there is no truth.json)",
            hint="choose another folder: planting would replace it",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The truth of an earlier matrix must not lie beside this one if the writing stops midway.
        truth.unlink(missing_ok=True)
        write_safetensors(folder / "model.safetensors", _tensors(planted), {"format": "pt"})
        _write_json(folder / "config.json", planted.config)
        _write_json(truth, planted.truth)
    except OSError as error:
        raise OutputError(
            f"{folder.name}: planted checkpoint {planted.name!r} cannot be written ({error.strerror})",
            hint="choose a folder that can be written to and has the room",
        ) from error


def _tensors(planted: Planted) -> list[OutgoingTensor]:
    code = planted.format.stored_as
    ones = planted.format.narrow(np.ones(planted.dim, np.float32))
    return [
        OutgoingTensor(TENSOR, code, (planted.rows, planted.dim), planted.blocks()),
        OutgoingTensor(NORM, code, (planted.dim,), [ones]),
    ]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
