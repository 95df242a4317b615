"""Vocabularies from tokenizer files: tokenizer.json, vocab.json, vocab.txt, tiktoken ranks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from forensics.checkpoint.json_file import MAX_JSON_BYTES, parse_json, read_json
from forensics.errors import CheckpointError
from forensics.vocabulary.patterns import GPT2, ONE_DIGIT
from forensics.vocabulary.pieces import Spelling, Vocabulary
from forensics.vocabulary.rules import TokenizerRules, byte_level_rules, wordpiece_rules

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
    pairs: Iterable[tuple[str | bytes, int]],
    spelling: Spelling,
    added: Iterable[tuple[str, int]] = (),
    rules: TokenizerRules | None = None,
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
    return Vocabulary(tuple(by_id.get(i) for i in range(size)), spelling, frozenset(literal), rules)


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
    raw = _bounded(path)
    document = parse_json(raw, path.name)
    model = document["model"]
    vocab = model["vocab"]
    pairs = vocab.items() if isinstance(vocab, Mapping) else ((entry[0], i) for i, entry in enumerate(vocab))
    added = [(token["content"], token["id"]) for token in document.get("added_tokens") or ()]
    return from_pairs(pairs, _spelling(document, model), added, TokenizerRules(path.name, raw))


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
    pairs = read_json(path)
    merges_file = path.with_name("merges.txt")
    if not merges_file.is_file():
        return replace(from_pairs(pairs.items(), "plain", added), no_rules="vocab.json has no merges.txt beside it")
    # A vocab.json with a merges.txt is GPT-2's layout, byte-level by its definition.
    vocabulary = _with_named(from_pairs(pairs.items(), "byte-level", added), path.parent, pairs)
    name = str(_config(path.parent).get("tokenizer_class") or "GPT2Tokenizer").removesuffix("Fast")
    if name not in _CLASSES:
        return replace(vocabulary, no_rules=f"how a {name[:40]} splits words is not in its vocab.json and merges.txt")
    pattern, normal_form = _CLASSES[name]
    merges = list(_merges(merges_file))
    rules = byte_level_rules("vocab.json and merges.txt", [pattern], merges=merges, normalizer=normal_form)
    return replace(vocabulary, rules=rules)


_CLASSES: dict[str, tuple[str, str | None]] = {
    "GPT2Tokenizer": (GPT2, None),
    "RobertaTokenizer": (GPT2, None),
    "BartTokenizer": (GPT2, None),
    "Qwen2Tokenizer": (ONE_DIGIT, "NFC"),
}
"""Pattern and normal form of the layout's published classes: they are in the classes' code, not in the files."""

_WORDPIECE = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer")
"""Classes that use a vocab.txt as BERT does."""


def _merges(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_bounded(path).decode("utf-8").split("\n"), start=1):
        pair = line.rstrip("\r").split(" ")
        if line.startswith("#version") or pair == [""]:
            continue
        if len(pair) != 2:
            raise CheckpointError(f"{path.name}: line {number:,} is not a pair of pieces")
        yield pair[0], pair[1]


def _config(folder: Path) -> dict[str, Any]:
    config = folder / "tokenizer_config.json"
    return read_json(config) if config.is_file() else {}


def _added_decoder(folder: Path) -> Iterator[tuple[str, int]]:
    """The special tokens that a slow tokenizer's config lists by id."""
    for i, token in (_config(folder).get("added_tokens_decoder") or {}).items():
        if i.isdecimal():
            yield token["content"], int(i)


def _with_named(vocabulary: Vocabulary, folder: Path, ids: Mapping[str, int]) -> Vocabulary:
    """Counts pieces among the special tokens that the config names as such (``"pad_token": "[PAD]"``)."""
    special_map = folder / "special_tokens_map.json"
    named = _config(folder) | (read_json(special_map) if special_map.is_file() else {})
    tokens = [token for key, token in named.items() if key.endswith("_token")]
    listed = named.get("additional_special_tokens")
    tokens += listed if isinstance(listed, list) else []
    texts = (token.get("content") if isinstance(token, Mapping) else token for token in tokens)
    special = {ids[text] for text in texts if isinstance(text, str) and text in ids}
    return replace(vocabulary, literal=vocabulary.literal | special)


def _vocab_txt(path: Path) -> Vocabulary:
    lines = _bounded(path).decode("utf-8").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    pieces = tuple(line.rstrip("\r") for line in lines)
    ids = {piece: i for i, piece in enumerate(pieces)}
    vocabulary = _with_named(Vocabulary(pieces, "plain"), path.parent, ids)
    config = _config(path.parent)
    name = str(config.get("tokenizer_class") or _WORDPIECE[0]).removesuffix("Fast")
    unknown = config.get("unk_token") or "[UNK]"
    unknown = unknown.get("content") if isinstance(unknown, Mapping) else unknown
    if name not in _WORDPIECE or config.get("do_basic_tokenize") is False or unknown not in ids:
        return replace(vocabulary, no_rules="vocab.txt is not used as BERT's WordPiece uses it")
    lowercase, accents = config.get("do_lower_case", True), config.get("strip_accents")
    rules = wordpiece_rules(
        path.name,
        unknown=unknown,
        lowercase=lowercase is not False,
        strip_accents=accents if isinstance(accents, bool) else None,
        split_chinese=config.get("tokenize_chinese_chars", True) is not False,
    )
    return replace(vocabulary, rules=rules)


def _tiktoken(path: Path) -> Vocabulary:
    pattern = next((p for key in ("pat_str", "pattern") if isinstance(p := _config(path.parent).get(key), str)), None)
    return read_ranks(path, pattern, added=_added_decoder(path.parent))


def read_ranks(
    path: Path, pattern: str | None = None, *, added: Iterable[tuple[str, int]] = (), normalizer: str | None = None
) -> Vocabulary:
    """The vocabulary of a file of tiktoken ranks: a base64 piece and its rank a line.

    Args:
        path: the file.
        pattern: the pre-tokeniser's regular expression, which is not in the file; without it there is no encoder.
        added: special tokens, (text, id).
        normalizer: a normal form such as "NFC", where text is brought to it first.

    Raises:
        CheckpointError: a line that is not a piece and a rank, or ids that collide.
        OSError: the file cannot be read.
    """
    pairs = []
    for number, line in enumerate(_bounded(path).splitlines(), start=1):
        fields = line.split()
        if len(fields) != 2 or not fields[1].isdigit():
            raise CheckpointError(f"{path.name}: line {number:,} is not a base64 piece and a rank")
        pairs.append((base64.b64decode(fields[0], validate=True), int(fields[1])))
    vocabulary = from_pairs(pairs, "plain", added)
    if pattern is None:
        return replace(vocabulary, no_rules=f"{path.name} holds ranks without their pre-tokeniser's pattern")
    order = sorted(rank for _, rank in pairs)
    rules = byte_level_rules(path.name, [pattern], order=order, whole_words=True, normalizer=normalizer)
    return replace(vocabulary, rules=rules)


def _bounded(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path.name}: {size:,} bytes, expected under {MAX_JSON_BYTES:,}")
    return path.read_bytes()
