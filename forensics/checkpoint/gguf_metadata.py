"""GGUF metadata in the words of a Hugging Face config and tokenizer."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from forensics.vocabulary.patterns import GGUF_PRE
from forensics.vocabulary.pieces import Spelling, Vocabulary
from forensics.vocabulary.rules import TokenizerRules, byte_level_rules, sentencepiece_rules

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6
"""Some of llama.cpp's token types: three kinds of pieces that stand for their own text, and lone bytes."""

_SPELLINGS: dict[str, Spelling] = {
    "gpt2": "byte-level",
    "llama": "sentencepiece",
    "t5": "sentencepiece",
    # WordPiece as llama.cpp's converter writes it: a word's start is U+2581, a continuation has no mark.
    "bert": "sentencepiece",
}


def config_from_gguf(metadata: Mapping[str, Any], tensors: Container[str] | None = None) -> dict[str, Any]:
    """vocab_size and hidden_size as the file's own architecture keys give them, and whether E_in scores tokens, too.

    By llama.cpp's rule it does in a causal model without an output tensor; of a part's ``tensors`` (None) nothing is
    said.
    """
    architecture = str(metadata.get("general.architecture", ""))
    tokens = metadata.get("tokenizer.ggml.tokens")
    rows = metadata.get(f"{architecture}.vocab_size", len(tokens) if isinstance(tokens, list) else None)
    dim = metadata.get(f"{architecture}.embedding_length")
    causal = metadata.get(f"{architecture}.attention.causal", True) is not False
    ties = True if tensors is not None and causal and "output.weight" not in tensors else None
    found = {"model_type": architecture or None, "vocab_size": rows, "hidden_size": dim, "tie_word_embeddings": ties}
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
        literal = frozenset(int(i) for i in np.flatnonzero(np.isin(kinds, (UNKNOWN, CONTROL, USER_DEFINED))))
    spelling = _SPELLINGS.get(str(metadata.get("tokenizer.ggml.model")), "plain")
    vocabulary = Vocabulary(tuple(map(_piece, tokens)), spelling, literal)
    rules = _rules(metadata, vocabulary)
    return replace(vocabulary, **({"no_rules": rules} if isinstance(rules, str) else {"rules": rules})), ()


def _piece(raw: bytes) -> str | bytes:
    """The piece as text; as bytes where it is not UTF-8, which no spelling can explain."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _rules(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> TokenizerRules | str:
    """The rules as llama.cpp reads them from the file, or why there are none that are surely the same."""
    model = str(metadata.get("tokenizer.ggml.model"))[:40]
    if any(isinstance(piece, bytes) for piece in vocabulary.pieces):
        return "a GGUF piece is not UTF-8"
    if model == "gpt2":
        return _byte_level(metadata)
    if model == "llama":
        return _by_score(metadata, vocabulary)
    return f"encoding with a GGUF tokenizer of model {model!r} is not known here"


def _byte_level(metadata: Mapping[str, Any]) -> TokenizerRules | str:
    name, merges = metadata.get("tokenizer.ggml.pre"), metadata.get("tokenizer.ggml.merges")
    if not isinstance(name, str) or name not in GGUF_PRE:
        return f"GGUF pre-tokenizer {str(name)[:40]!r} is not known here"
    if not isinstance(merges, list) or not all(isinstance(m, bytes) and m.count(b" ") == 1 for m in merges):
        return "tokenizer.ggml.merges is not an array of pairs"
    try:
        pairs = [(left, right) for left, right in (merge.decode().split(" ") for merge in merges)]
    except UnicodeDecodeError:
        return "tokenizer.ggml.merges is not UTF-8"
    patterns, whole_words = GGUF_PRE[name]
    return byte_level_rules(f"GGUF metadata (gpt2, {name})", patterns, merges=pairs, whole_words=whole_words)


def _by_score(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> TokenizerRules | str:
    """Neighbours are joined whose union scores highest: an order of pieces, if no two scores are equal."""
    scores, kinds = metadata.get("tokenizer.ggml.scores"), metadata.get("tokenizer.ggml.token_type")
    size = len(vocabulary)
    if not (isinstance(scores, np.ndarray) and isinstance(kinds, np.ndarray) and len(scores) == len(kinds) == size):
        return "tokenizer.ggml.scores or token_type is not there for every token"
    whole = vocabulary.literal | {int(i) for i in np.flatnonzero(kinds == BYTE)}
    joined = [i for i, piece in enumerate(vocabulary.pieces) if i not in whole and len(piece or "") > 1]
    if len({float(scores[i]) for i in joined}) < len(joined) or not np.isfinite(scores).all():
        return "pieces of equal score or none, for which llama.cpp takes the leftmost, cannot be put in an order"
    single = {piece for i, piece in enumerate(vocabulary.pieces) if i not in whole}
    if not single.issuperset(chain.from_iterable(str(vocabulary.pieces[i]) for i in joined)):
        # llama.cpp joins characters that are no pieces, too; merges cannot.
        return "a character of a piece is no piece itself"
    order = sorted(joined, key=lambda i: -float(scores[i]))
    prefix = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
    # Single characters and bytes are no unions, but merges are made of them.
    rest = sorted(set(range(size)) - set(joined))
    return sentencepiece_rules("GGUF metadata (llama, by score)", [*order, *rest], space_prefix=prefix)
