"""A simulated cloud of quantised rows as a GGUF file, with the truth beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forensics.errors import OutputError
from forensics.formats import BlockFormat
from forensics.hypotheses.cloud import Cloud

FILE = "model.gguf"

TENSOR = "token_embd.weight"
"""Where ggml's models keep their input rows."""


def write_blocks(cloud: Cloud, truth: Mapping[str, Any], folder: Path) -> None:
    """Writes model.gguf and, last, truth.json, each beside its name and then renamed.

    Args:
        cloud: of a quantised format.
        truth: plain JSON values.
        folder: made if it is not there.

    Raises:
        OutputError: the folder cannot be written.
    """
    from gguf import GGUFWriter
    from gguf.constants import GGMLQuantizationType

    fmt = cloud.format
    assert isinstance(fmt, BlockFormat)
    known, partial = folder / "truth.json", folder / f".{FILE}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known.unlink(missing_ok=True)
        writer = GGUFWriter(partial, "llama")
        writer.add_embedding_length(cloud.dim)
        rows = np.ascontiguousarray(cloud.rows()).view(np.uint8)
        writer.add_tensor(TENSOR, rows, raw_dtype=GGMLQuantizationType(fmt.code))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(folder / FILE)
        partial.write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
        partial.replace(known)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"{folder.name}: the simulated checkpoint cannot be written ({error.strerror or error})",
            hint="choose a folder that can be written to and has the room",
        ) from error
