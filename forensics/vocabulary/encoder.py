"""A tokenizer at work: text to ids, and each step on its own, so that a failure can be laid to one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from forensics.errors import CheckpointError
from forensics.vocabulary.pieces import Vocabulary, byte_level_alphabet
from forensics.vocabulary.rules import TokenizerRules, complete_document

BATCH = 16_384
"""Texts encoded at a time: the library keeps about a kilobyte of each until its batch is done."""


_LOCAL = frozenset({"BertPreTokenizer", "Punctuation", "WhitespaceSplit"})
"""Pre-tokenisers that split around every character of a kind, whatever else is there."""


class Encoder:
    """Encodes text as a tokenizer does, special tokens found in the text included and none added around it.

    Attributes:
        origin: where the rules came from, in words.
        document: the tokenizer as a tokenizer.json.
        kind: the model: "BPE", "WordPiece", "Unigram" or "WordLevel".
    """

    __slots__ = ("_alphabet", "_ranks", "_tokenizer", "document", "kind", "origin")

    def __init__(self, rules: TokenizerRules, vocabulary: Vocabulary) -> None:
        """Builds the tokenizer.

        Raises:
            CheckpointError: the library refuses the rules, or gives other ids than they say.
        """
        from tokenizers import Tokenizer

        self.origin = rules.origin
        self._alphabet: Mapping[str, int] | None = None
        self._ranks: dict[tuple[str, str], int] | None = None
        with _refusals(rules.origin):
            self.document: Mapping[str, Any] = complete_document(rules, vocabulary)
            self._tokenizer = Tokenizer.from_str(json.dumps(self.document))
            if "ByteLevel" in json.dumps(self.document.get("pre_tokenizer")):
                self._alphabet = byte_level_alphabet()
            self.kind = type(self._tokenizer.model).__name__
            for token in self.document.get("added_tokens") or ():
                given = self._tokenizer.token_to_id(token["content"])
                if given != token["id"]:
                    # The library numbers added tokens itself where their ids do not follow the vocabulary's.
                    raise CheckpointError(
                        f"{rules.origin}: added token {token['content'][:40]!r} would get id {given}, not {token['id']}"
                    )

    @property
    def whole_words(self) -> bool:
        """True if a word that is a piece is taken without merging."""
        return bool(self.document["model"].get("ignore_merges"))

    @property
    def marks_words(self) -> bool:
        """True if pieces hold a mark of a word's end or continuation, so that their spelling is not their text."""
        model = self.document["model"]
        return bool(model.get("end_of_word_suffix") or model.get("continuing_subword_prefix"))

    @property
    def drops_letters(self) -> bool:
        """True if BPE leaves out what it does not know, so that letters apart in the text may be merged."""
        model = self.document["model"]
        if self.kind != "BPE" or model.get("unk_token") or model.get("byte_fallback"):
            return False
        return self._alphabet is None or not self._alphabet.keys() <= model["vocab"].keys()

    @property
    def merge_ranks(self) -> Mapping[tuple[str, str], int]:
        """The place of each pair in the order of merges; empty for a model that does not merge."""
        if self._ranks is None:
            # A merge is written as a pair, or in older files as two pieces with a space between.
            merges = self.document["model"].get("merges") or ()
            pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in merges)
            self._ranks = {(left, right): rank for rank, (left, right) in enumerate(pairs)}
        return self._ranks

    def encode(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The ids of each text.

        Raises:
            CheckpointError: the library fails on a text.
        """
        for start in range(0, len(texts), BATCH):
            with _refusals(self.origin):
                batch = self._tokenizer.encode_batch_fast(list(texts[start : start + BATCH]), add_special_tokens=False)
                ids = [encoding.ids for encoding in batch]
            yield from ids

    def normalised(self, text: str) -> str:
        """The text after the normaliser."""
        with _refusals(self.origin):
            step = self._tokenizer.normalizer
            return str(step.normalize_str(text)) if step else text

    @property
    def splits_locally(self) -> bool:
        """True if where the pre-tokeniser splits depends on nothing but the characters on both sides."""
        step = self.document.get("pre_tokenizer") or {}
        steps = step.get("pretokenizers") or [step]
        # The other behaviours join characters of the kind, or leave them with a neighbour.
        alone = all(inner.get("behavior", "Isolated") in ("Isolated", "Removed") for inner in steps)
        return alone and {inner.get("type") for inner in steps} <= _LOCAL

    def words(self, text: str) -> list[bytes]:
        """The words that the pre-tokeniser makes of a normalised text."""
        with _refusals(self.origin):
            step = self._tokenizer.pre_tokenizer
            words = [word for word, _ in step.pre_tokenize_str(text)] if step else [text]
        return [self.bytes_of(word) for word in words]

    def bytes_of(self, spelled: str) -> bytes:
        """The bytes of a word or piece as the model writes it; a space mark of sentencepiece is a space."""
        if self._alphabet is not None and all(letter in self._alphabet for letter in spelled):
            return bytes(self._alphabet[letter] for letter in spelled)
        return spelled.replace("\u2581", " ").encode("utf-8", errors="surrogatepass")

    def assembled(self, pieces: Sequence[str]) -> list[bool]:
        """Whether the model alone, given just a piece's spelling as one word, makes that piece of it.

        BPE: by merging, even where whole words are taken without.
        """
        model = self._tokenizer.model
        whole_words = self.whole_words
        with _refusals(self.origin):
            if whole_words:
                model.ignore_merges = False
            made = [[token.value for token in model.tokenize(piece)] == [piece] for piece in pieces]
            if whole_words:
                model.ignore_merges = True
        return made

    def is_worse(self, piece: str) -> bool:
        """Whether a Unigram model has a segmentation of a piece's spelling with a higher score than the piece's own."""
        scores = self.document["model"]["vocab"]
        with _refusals(self.origin):
            tokens = self._tokenizer.model.tokenize(piece)
            own = self._tokenizer.model.token_to_id(piece)
            # Scores are log-probabilities of a few units; sums that differ by rounding are ties.
            return own is not None and sum(scores[t.id][1] for t in tokens) > scores[own][1] + 1e-9


@contextmanager
def _refusals(origin: str) -> Iterator[None]:
    """Turns what the library throws into one error; it has no class of its own, and a panic is not an Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, CheckpointError):
        raise
    except BaseException as error:
        what = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{origin}: the tokenizers library refuses it ({what})") from error
