"""Vocabularies from tokenizer files: tokenizer.json, vocab.json, vocab.txt, tiktoken ranks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from forensics.checkpoint.json_file import MAX_JSON_BYTES, read_json
from forensics.errors import CheckpointError
from forensics.vocabulary.pieces import Spelling, Vocabulary

MAX_TOKEN_ID = 1 << 24
"""Sixteen million ids; the largest vocabularies are under one million. An id beyond is a damaged file."""


def find_vocabulary(folder: Path) -> Vocabulary | None:
    """The vocabulary beside a model's weights; None if no known file is there.

    Raises:
        CheckpointError: a tokenizer file is there and is damaged.
    """
    readers: list[tuple[str, Callable[[Path], Vocabulary]]] = [
        ("tokenizer.json", _tokenizer_json),
        ("vocab.json", _vocab_json),
        ("vocab.txt", _vocab_txt),
        ("*.tiktoken", _tiktoken),
    ]
    for pattern, read in readers:
        found = sorted(folder.glob(pattern))
        if found and found[0].is_file():
            try:
                return read(found[0])
            except CheckpointError:
                raise
            # A file of another layout: a key, an entry or an attribute is not there, a text is not a number.
            except (LookupError, TypeError, AttributeError, ValueError, OSError) as error:
                what = f"{type(error).__name__}: {str(error)[:80]}"
                raise CheckpointError(f"{found[0].name}: not a tokenizer file as expected ({what})") from error
    return None


def from_pairs(
    pairs: Iterable[tuple[str | bytes, int]], spelling: Spelling, added: Iterable[tuple[str, int]] = ()
) -> Vocabulary:
    """A vocabulary from (piece, id) pairs and the literal added tokens.

    Raises:
        CheckpointError: an id that is negative, not a number, absurdly large or given to two pieces; a piece
            that is not text.
    """
    literal = _by_id(added)
    # An added token may take the id of a piece: it is the one that is used.
    by_id = _by_id(pairs) | literal
    size = max(by_id, default=-1) + 1
    return Vocabulary(tuple(by_id.get(i) for i in range(size)), spelling, frozenset(literal))


def _by_id(pairs: Iterable[tuple[str | bytes, int]]) -> dict[int, str | bytes]:
    by_id: dict[int, str | bytes] = {}
    for piece, i in pairs:
        if type(i) is not int or not 0 <= i < MAX_TOKEN_ID:
            raise CheckpointError(f"tokenizer: token id {str(i)[:40]!r} is not a whole number below {MAX_TOKEN_ID:,}")
        if not isinstance(piece, str | bytes):
            raise CheckpointError(f"tokenizer: the piece of token {i:,} is a {type(piece).__name__}, not text")
        if by_id.setdefault(i, piece) != piece:
            raise CheckpointError(f"tokenizer: token id {i:,} is given to {by_id[i]!r:.80} and {piece!r:.80}")
    return by_id


def _tokenizer_json(path: Path) -> Vocabulary:
    document = read_json(path)
    model = document["model"]
    vocab = model["vocab"]
    pairs = vocab.items() if isinstance(vocab, Mapping) else ((entry[0], i) for i, entry in enumerate(vocab))
    added = [(token["content"], token["id"]) for token in document.get("added_tokens") or ()]
    return from_pairs(pairs, _spelling(document, model), added)


def _spelling(document: Mapping[str, Any], model: Mapping[str, Any]) -> Spelling:
    """From the steps the tokenizer itself names."""
    steps = {step for part in ("pre_tokenizer", "decoder", "normalizer") for step in _step_types(document.get(part))}
    if "ByteLevel" in steps:
        return "byte-level"
    if "Metaspace" in steps or "ByteFallback" in steps or model.get("byte_fallback") or model.get("type") == "Unigram":
        return "sentencepiece"
    return "plain"


def _step_types(step: Any) -> Iterable[str]:
    waiting = [step]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, Mapping):
            yield str(inner.get("type"))
            for key in ("pretokenizers", "decoders", "normalizers"):
                waiting += inner.get(key) or ()


def _vocab_json(path: Path) -> Vocabulary:
    added_file = path.with_name("added_tokens.json")
    added = [*(read_json(added_file).items() if added_file.is_file() else ()), *_added_decoder(path.parent)]
    # A vocab.json with a merges.txt is GPT-2's layout, byte-level by its definition.
    spelling: Spelling = "byte-level" if path.with_name("merges.txt").is_file() else "plain"
    return from_pairs(read_json(path).items(), spelling, added)


def _added_decoder(folder: Path) -> Iterator[tuple[str, int]]:
    """The special tokens that a slow tokenizer's config lists by id."""
    config = folder / "tokenizer_config.json"
    listed = read_json(config).get("added_tokens_decoder") if config.is_file() else None
    for i, token in (listed or {}).items():
        if i.isdecimal():
            yield token["content"], int(i)


def _vocab_txt(path: Path) -> Vocabulary:
    lines = _bounded(path).decode("utf-8").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return Vocabulary(tuple(line.rstrip("\r") for line in lines), "plain")


def _tiktoken(path: Path) -> Vocabulary:
    pairs = []
    for number, line in enumerate(_bounded(path).splitlines(), start=1):
        fields = line.split()
        if len(fields) != 2 or not fields[1].isdigit():
            raise CheckpointError(f"{path.name}: line {number:,} is not a base64 piece and a rank")
        pairs.append((base64.b64decode(fields[0], validate=True), int(fields[1])))
    return from_pairs(pairs, "plain")


def _bounded(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path.name}: {size:,} bytes, expected under {MAX_JSON_BYTES:,}")
    return path.read_bytes()
