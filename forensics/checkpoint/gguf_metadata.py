"""GGUF metadata in the words of a Hugging Face config and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from forensics.vocabulary import Vocabulary
from forensics.vocabulary.pieces import Spelling

CONTROL, USER_DEFINED = 3, 4
"""llama.cpp's token types for pieces that stand for their own text."""

_SPELLINGS: dict[str, Spelling] = {
    "gpt2": "byte-level",
    "llama": "sentencepiece",
    "t5": "sentencepiece",
    # WordPiece as llama.cpp's converter writes it: a word's start is U+2581, a continuation has no mark.
    "bert": "sentencepiece",
}


def config_from_gguf(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """vocab_size and hidden_size as the file's own architecture keys give them."""
    architecture = str(metadata.get("general.architecture", ""))
    tokens = metadata.get("tokenizer.ggml.tokens")
    rows = metadata.get(f"{architecture}.vocab_size", len(tokens) if isinstance(tokens, list) else None)
    dim = metadata.get(f"{architecture}.embedding_length")
    found = {"model_type": architecture or None, "vocab_size": rows, "hidden_size": dim}
    return {key: value for key, value in found.items() if value is not None}


def vocabulary_from_gguf(metadata: Mapping[str, Any]) -> tuple[Vocabulary | None, tuple[str, ...]]:
    """The file's token pieces, and notes where there are none or they cannot be used."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is None:
        return None, ("no tokens in the GGUF metadata: tokens are known by id only",)
    if not isinstance(tokens, list) or not all(isinstance(piece, bytes) for piece in tokens):
        return None, ("tokenizer not used: tokenizer.ggml.tokens is not an array of strings",)
    kinds = metadata.get("tokenizer.ggml.token_type")
    literal: frozenset[int] = frozenset()
    if isinstance(kinds, np.ndarray) and len(kinds) == len(tokens):
        literal = frozenset(int(i) for i in np.flatnonzero(np.isin(kinds, (CONTROL, USER_DEFINED))))
    spelling = _SPELLINGS.get(str(metadata.get("tokenizer.ggml.model")), "plain")
    return Vocabulary(tuple(map(_piece, tokens)), spelling, literal), ()


def _piece(raw: bytes) -> str | bytes:
    """The piece as text; as bytes where it is not UTF-8, which no spelling can explain."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
