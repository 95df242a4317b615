"""A planted matrix: streamed, in memory, or written as a checkpoint, with the truth that was put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forensics.embedding import Embedding, Source, row_bytes
from forensics.errors import SourceError
from forensics.formats import FloatFormat, Words
from forensics.synthetic.writer import TENSOR, write_checkpoint


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """A matrix made to carry a known answer; the same parameters give the same words.

    Attributes:
        name: what was planted.
        format: number format of the stored rows.
        rows: number of token rows.
        dim: numbers in a row.
        seed: what the random parts were drawn from.
        config: contents of the checkpoint's config.json.
        truth: what was put in, with definitions; plain JSON values.
        stream: starts a new pass over the matrix, in blocks of whole rows in token order.
    """

    name: str
    format: FloatFormat
    rows: int
    dim: int
    seed: int
    config: dict[str, Any] = field(repr=False)
    truth: dict[str, Any] = field(repr=False)
    stream: Callable[[], Iterator[Words]] = field(repr=False)

    @property
    def source(self) -> Source:
        """The name, pinned by the parameters that fix every word."""
        return Source("planted", self.name, f"rows={self.rows} dim={self.dim} seed={self.seed} {self.format.name}")

    def blocks(self) -> Iterator[Words]:
        """Streams the matrix as ``uint[n, dim]`` words, n varying, in token order."""
        return self.stream()

    def embedding(self) -> Embedding:
        """The matrix in memory: rows x dim words of it."""
        stored = np.empty((self.rows, row_bytes(self.format, self.dim)), np.uint8)
        words = stored.view(self.format.word_dtype)
        start = 0
        for block in self.blocks():
            words[start : start + len(block)] = block
            start += len(block)
        return Embedding(stored, self.format, self.dim, "input", TENSOR, self.source)

    def write(self, folder: Path) -> None:
        """Writes model.safetensors, config.json and truth.json into a folder, each whole or absent.

        The folder is a Hugging Face checkpoint of a Qwen3 model without layers; it needs no more memory than
        a block. truth.json is written last, so a folder that has one is complete.

        Args:
            folder: made if it is not there; files of these names in it are replaced.

        Raises:
            OutputError: the folder or a file cannot be written.
        """
        write_checkpoint(self, folder)


def check_sizes(name: str, rows: int, dim: int, seed: int) -> None:
    """Refuses what is no size or seed at all.

    Raises:
        SourceError: rows or dim below 1, or a seed below 0.
    """
    for what, size, least in (("rows", rows, 1), ("dim", dim, 1), ("seed", seed, 0)):
        if size < least:
            raise SourceError(f"{name}: {what} is a whole number from {least}, found {size}")


def qwen3_config(rows: int, dim: int, fmt: FloatFormat) -> dict[str, Any]:
    """The config.json under which transformers loads a checkpoint of one tied matrix and one final norm.

    Args:
        rows: vocabulary size.
        dim: hidden size.
        fmt: the format of the stored numbers.
    """
    # Qwen3's own head size where it fits; without layers, heads need only divide the hidden size.
    heads = dim // 128 if dim % 128 == 0 else 1
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": rows,
        "hidden_size": dim,
        "intermediate_size": 4 * dim,
        "num_hidden_layers": 0,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        # Rotary positions take a head's numbers in pairs.
        "head_dim": dim // heads + (dim // heads) % 2,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-06,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        # torch computes no model in float8; such rows are loaded widened.
        "torch_dtype": fmt.name if fmt.bits > 8 else "bfloat16",
    }
