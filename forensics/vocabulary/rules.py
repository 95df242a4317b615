"""What is needed to encode text, kept as data until it is asked for.

Every tokenizer is brought into one form, that of ``tokenizer.json``; layouts that give an order of pieces instead of
merges (tiktoken's ranks, sentencepiece's scores) get the merges that say the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forensics.errors import CheckpointError
from forensics.vocabulary.pieces import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class TokenizerRules:
    """How a tokenizer's pieces are used on text.

    Attributes:
        origin: where the rules came from, in words.
        document: a whole tokenizer.json as it stands; or one in parts, whose vocabulary, merges and added tokens are
            still to be filled in from the pieces.
        order: ids of pieces, the one that merges make first at the front, where an order stands for the merges.
    """

    origin: str
    document: bytes | Mapping[str, Any]
    order: Sequence[int] | None = None


def byte_level_rules(
    origin: str,
    patterns: Sequence[str],
    *,
    merges: Sequence[tuple[str, str]] | None = None,
    order: Sequence[int] | None = None,
    whole_words: bool = False,
    normalizer: str | None = None,
) -> TokenizerRules:
    """Byte-level BPE: text is cut at each pattern's matches in turn, then bytes are merged.

    Args:
        origin: where the rules came from, in words.
        patterns: regular expressions; what matches and what lies between are the words.
        merges: pairs of pieces in the byte-level spelling, the first merged first.
        order: ids by rank, instead of merges.
        whole_words: a word that is a piece is taken without merging (tiktoken does; so does "ignore_merges").
        normalizer: a normal form such as "NFC".
    """
    cuts: list[dict[str, Any]] = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in patterns
    ]
    cuts.append({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False})
    model: dict[str, Any] = {"type": "BPE", "ignore_merges": whole_words, "merges": merges or []}
    document = {
        "model": model,
        "normalizer": {"type": normalizer} if normalizer else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cuts},
    }
    return TokenizerRules(origin, document, order)


def sentencepiece_rules(origin: str, order: Sequence[int], *, space_prefix: bool) -> TokenizerRules:
    """Sentencepiece BPE: characters are merged by score, and those without a piece become bytes.

    Args:
        origin: where the rules came from, in words.
        order: ids by falling score.
        space_prefix: text gets a space at its front.
    """
    steps: list[dict[str, Any]] = [{"type": "Prepend", "prepend": "\u2581"}] if space_prefix else []
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"})
    model = {"type": "BPE", "byte_fallback": True, "merges": []}
    return TokenizerRules(origin, {"model": model, "normalizer": {"type": "Sequence", "normalizers": steps}}, order)


def wordpiece_rules(
    origin: str, *, unknown: str, lowercase: bool, strip_accents: bool | None, split_chinese: bool
) -> TokenizerRules:
    """BERT's WordPiece: words are cut from the left into the longest pieces, later ones marked ``##``."""
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": split_chinese,
        "strip_accents": strip_accents,
        "lowercase": lowercase,
    }
    model = {
        "type": "WordPiece",
        "unk_token": unknown,
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }
    document = {"model": model, "normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"}}
    return TokenizerRules(origin, document)


def complete_document(rules: TokenizerRules, vocabulary: Vocabulary) -> dict[str, Any]:
    """The tokenizer.json that the rules and the pieces make together.

    What belongs to training or batches and not to the tokenizer is left out: padding, truncation, dropout, and the
    marks put around a text.

    Raises:
        CheckpointError: the document is not one.
    """
    if isinstance(rules.document, bytes):
        document = json.loads(rules.document)
        model = dict(document["model"])
    else:
        document, model = dict(rules.document), dict(rules.document["model"])
        spelled = _spelled(vocabulary)
        model["vocab"] = spelled | {str(vocabulary.pieces[i]): i for i in vocabulary.literal}
        if rules.order is not None:
            ids = {i: piece for piece, i in spelled.items()}
            model["merges"] = list(merges_of(ids[i] for i in rules.order if i in ids))
        document["added_tokens"] = [_added(str(vocabulary.pieces[i]), i) for i in sorted(vocabulary.literal)]
        if len(model["vocab"]) > len(vocabulary):
            raise CheckpointError(f"{rules.origin}: a piece is there twice")
    if "dropout" in model:
        model["dropout"] = None
    left_out = {"truncation": None, "padding": None, "post_processor": None}
    return {"version": "1.0", **document, "model": model, **left_out}


def merges_of(ordered: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Merges that do to text what an order of pieces does: every cut of a piece into two pieces, in that order.

    BPE by rank joins the neighbours whose union ranks first. When it makes a piece, nothing has yet crossed the
    piece's ends, so that inside them it ran as on the piece alone: only the last pair of that run ever makes the piece,
    the other cuts never meet, and their order does not matter.

    References:
        The run of BPE by rank: tiktoken's ``byte_pair_merge``. A proof of the same kind: Berglund and van der Merwe,
        "Formalizing BPE tokenization" (2023).
    """
    pieces = list(dict.fromkeys(ordered))
    known = set(pieces)
    for piece in pieces:
        for k in range(1, len(piece)):
            if piece[:k] in known and piece[k:] in known:
                yield piece[:k], piece[k:]


def _spelled(vocabulary: Vocabulary) -> dict[str, int]:
    """Ids by piece as the model writes it; of two ids with one piece the last counts."""
    ids = (i for i in range(len(vocabulary)) if i not in vocabulary.literal)
    return {piece: i for i in ids if (piece := vocabulary.spelled(i)) is not None}


def _added(content: str, token_id: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, "special": True, **flags}
