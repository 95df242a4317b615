"""Why no text produces a token: the first step of the tokenizer that stands in the way, and whether that is proved."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from forensics.text import literal
from forensics.vocabulary.categories import category_of
from forensics.vocabulary.encoder import Encoder
from forensics.vocabulary.merging import lost_merge
from forensics.vocabulary.pieces import Vocabulary
from forensics.vocabulary.utf8 import cut

Cause = Literal["no piece", "bytes", "added token", "normaliser", "pre-tokeniser", "merges", "segmentation"]
"""The step that fails: there is no token; its bytes are in no valid UTF-8; an added token in its text is taken first;
the normaliser rewrites its text; the pre-tokeniser splits it; the merges never make it; other pieces are preferred."""

_LASTING = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer"})
"""Normalisers of which every part of their output is a fixed point: what one of them would change is never there."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Why a token is unreachable.

    Attributes:
        cause: the step that fails.
        detail: what it does, in one line.
        where: at a split, the general categories on both sides, such as ``"Lo|Mn"``; else empty.
        proved: true for any text whatever; false if no text was found among those tried.
        tried: how many texts were encoded.
    """

    cause: Cause
    detail: str
    where: str = ""
    proved: bool = False
    tried: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Case:
    """A token that no text was found for.

    Attributes:
        token_id: its id.
        piece: as the model spells it.
        text: the text that should give it, or the first completion of its bytes.
        start, stop: where the token's bytes are in those of the text.
        whole: the text is the token's and no more.
        continues: the piece only continues a word, and a letter that begins one is in front of it.
        assembled: the model makes the piece of its own spelling.
        ids: what the text gives.
        tried: how many texts were encoded.
    """

    token_id: int
    piece: str
    text: str
    start: int
    stop: int
    whole: bool
    continues: bool
    assembled: bool
    ids: Sequence[int]
    tried: int


def explain(case: Case, encoder: Encoder, added: Mapping[str, int], vocabulary: Vocabulary) -> Ground:
    """The ground of one case, in the order in which a tokenizer works.

    Args:
        case: the token.
        encoder: the tokenizer.
        added: ids of special and added tokens by text.
        vocabulary: the pieces, to name ids.
    """
    return (
        _interception(case, encoder, added)
        or _rewriting(case, encoder)
        or _split(case, encoder)
        or _preference(case, encoder, vocabulary)
    )


def _interception(case: Case, encoder: Encoder, added: Mapping[str, int]) -> Ground | None:
    inside = [text for text, i in added.items() if i in case.ids and i != case.token_id and text in case.text]
    if not inside or not case.whole:
        return None
    always = any(_always_taken(text, encoder) for text in inside)
    detail = f"{literal(inside[0], 60)} ({added[inside[0]]}) in it is taken first"
    return Ground("added token", detail, proved=always, tried=case.tried)


def _always_taken(text: str, encoder: Encoder) -> bool:
    """Whether an added token is found wherever its text is after the normaliser."""
    tokens = {token["content"]: token for token in encoder.document.get("added_tokens") or ()}
    flags = tokens.get(text)
    if (
        encoder.drops_letters or flags is None or flags.get("single_word", True) or " " in text
    ):  # a typed U+2581 may stand for the space
        return False
    if encoder.document.get("normalizer") and not (flags.get("normalized") and encoder.normalised(text) == text):
        return False  # other letters become its text after it was looked for
    # A match that is refused for not being a word still uses up its characters.
    return not any(token.get("single_word") and set(content) & set(text) for content, token in tokens.items())


def _rewriting(case: Case, encoder: Encoder) -> Ground | None:
    raw = case.text.encode()[case.start : case.stop]
    text = (cut(raw) or (b"", "", b""))[1]
    written = encoder.normalised(text)
    if text in written or text.replace(" ", "\u2581") in written:
        return None
    detail = f"the normaliser makes {literal(text, 60)} into {literal(written, 60)}"
    step = encoder.document.get("normalizer") or {}
    # Each pass of BertNormalizer sets more spaces around ideographs.
    lasting = step.get("type") in _LASTING and not encoder.drops_letters
    lasting = lasting and not (step.get("handle_chinese_chars") and " " in text)
    return Ground("normaliser", detail, proved=lasting, tried=case.tried)


def _split(case: Case, encoder: Encoder) -> Ground | None:
    words = encoder.words(encoder.normalised(case.text))
    joined, at, cuts = b"".join(words), 0, []
    raw = case.text.encode()
    # A prefixed space, or spaces that words are cut at and lose, shift the rest: then only the words can be shown.
    shift = joined.find(raw)
    for word in words[:-1]:
        at += len(word)
        first = case.start - case.continues
        if shift < 0 or first < at - shift < case.stop:
            cuts.append(at - shift)
    if not cuts:
        return None
    shown = " | ".join(literal(word.decode(errors="forensics_hex"), 40) for word in words[:6])
    local = encoder.splits_locally and "\u2581" not in case.piece  # which is a space in the text, but may be typed
    proved = local or (not case.assembled and encoder.kind == "BPE" and not encoder.whole_words)
    more = "; the merges would not make it either" if not case.assembled else ""
    where = _sides(raw, cuts[0]) if shift >= 0 else ""
    return Ground("pre-tokeniser", f"split into {shown}{more}", where, proved, case.tried)


def _sides(raw: bytes, at: int) -> str:
    left, right = raw[:at].decode(errors="ignore"), raw[at:].decode(errors="ignore")
    return f"{unicodedata.category(left[-1])}|{unicodedata.category(right[0])}" if left and right else ""


def _preference(case: Case, encoder: Encoder, vocabulary: Vocabulary) -> Ground:
    shown = " | ".join(f"{literal(vocabulary.text(i) or '', 40)} ({i})" for i in case.ids[:8]) or "nothing"
    if encoder.kind != "BPE":
        # In the best segmentation of any text each part is segmented best: what loses alone, loses everywhere.
        proved = encoder.kind == "Unigram" and encoder.is_worse(case.piece)
        return Ground("segmentation", f"{shown} is preferred", proved=proved, tried=case.tried)
    if category_of(vocabulary, case.token_id) == "byte" and vocabulary.spelling == "sentencepiece":
        has_own = case.whole and not encoder.marks_words and case.text.replace(" ", "\u2581") in vocabulary.pieces
        detail = f"bytes stand for characters without a piece, and here is {shown}"
        return Ground("merges", detail, proved=has_own, tried=case.tried)
    if case.assembled:
        return Ground("merges", f"in every text tried it merges on; one gives {shown}", tried=case.tried)
    return Ground(
        "merges", f"{lost_merge(case.piece, encoder)}: {shown}", proved=not encoder.whole_words, tried=case.tried
    )
