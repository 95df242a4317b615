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


PLACES = frozenset({"model.safetensors", "config.json", "tokenizer.json", "truth.json"})
"""What lies in the folder of a checkpoint: what planting would replace, or lie beside as if it belonged to it."""


def refuse_foreign(folder: Path, names: frozenset[str] | None, made: str, *, has: str = "seed") -> None:
    """Refuses a folder with files that were not written here, as its truth.json tells.

    Args:
        folder: need not be there.
        names: the files that may not be somebody else's; all if None.
        made: how they would have been made, for the message.
        has: the key that the truth of such a one has, beside its name and sizes.

    Raises:
        OutputError: it holds such files, and no truth.json of ours.
    """
    try:
        found = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        # What a killed write left under its hidden name is nobody's.
        held = found & names if names is not None else {name for name in found if not name.endswith(".partial")}
        truth = json.loads((folder / "truth.json").read_bytes()) if "truth.json" in held else None
    except OSError as error:
        raise OutputError(f"{folder.name}: cannot be read ({error.strerror})", hint="choose another folder") from error
    except (ValueError, RecursionError):
        truth = None
    if held and not (isinstance(truth, dict) and {"name", "rows", "dim", has} <= truth.keys()):
        first = min(held)
        why = "truth.json is of something else" if "truth.json" in held else "there is no truth.json"
        message = f"{folder.name or folder}: holds {first}, which was not {made} here ({why})"
        raise OutputError(message, hint="choose another folder: what lies there could be lost")


def write_checkpoint(planted: Planted, folder: Path) -> None:
    """Writes model.safetensors, config.json and, last, truth.json, each beside its name and then renamed.

    Raises:
        OutputError: the folder holds another model, or it or a file cannot be written.
    """
    truth = folder / "truth.json"
    refuse_foreign(folder, PLACES, "planted")
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
