"""Which tokens text can produce, each with the shortest text found that does: its witness.

A token is reachable if the encoding of some text holds its id. The texts tried are the token's own, then with one
character on either side, then with one on both; and where a token's bytes are not whole characters, texts of the
characters that its bytes are part of. A space that a tokenizer adds in front and the mark of a word's continuation
(``##``) are not of a token's own text. Special and added tokens are found by their names, as a tokenizer does that is
not told to take them for plain text.

For BPE one character on either side is all that is worth trying: until a piece is made, the merges inside it run as on
the piece alone (see ``merges_of``), so that context can only make the pre-tokeniser keep it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from forensics.vocabulary.categories import category_of
from forensics.vocabulary.encoder import Encoder
from forensics.vocabulary.grounds import Case, Ground, explain
from forensics.vocabulary.pieces import Vocabulary
from forensics.vocabulary.scripts import script_of
from forensics.vocabulary.utf8 import completions, cut, used_bytes

BESIDE = (" ", "a", "A", "1", ".", "\n", "'")
"""A character of each kind that pre-tokenisers tell apart: space, letters by case, digit, punctuation, newline, and
the apostrophe that English contractions turn on."""

LETTERS, LETTERS_BEFORE = 4, 60
"""Letters of a token's own script that are set beside it; more before a piece that only continues a word."""

LONGEST_TEXT = 2_000
"""Characters; longer pieces are in damaged files only, and encoding can take the square of their length."""

COMPLETIONS = (64, 4_096)
"""Texts that a token's bytes are completed to: a few for all, then for those left all that two missing bytes allow."""

SEARCHED = 16_384
"""Tokens whose own text fails that other texts are tried for, by id. Real vocabularies have one to six thousand such
tokens; one built so that all of them fail would take minutes."""

UNKNOWN, UNREACHABLE, REACHABLE = -1, 0, 1


@dataclass(frozen=True, slots=True, eq=False)
class Reachability:
    """What was found, by id.

    Attributes:
        state: REACHABLE, UNREACHABLE or UNKNOWN, of each id.
        alone: ids that their own text gives and nothing else: the round trip holds.
        witnesses: of reachable ids, where it is not what ``Vocabulary.text`` gives.
        re_encoded: what the own text gives, where it is not the id.
        grounds: of unreachable ids.
        left_out: ids beyond the SEARCHED that other texts were tried for; their state is unknown.
    """

    state: list[int]
    alone: set[int] = field(default_factory=set)
    witnesses: dict[int, str] = field(default_factory=dict)
    re_encoded: dict[int, tuple[int, ...]] = field(default_factory=dict)
    grounds: dict[int, Ground] = field(default_factory=dict)
    left_out: set[int] = field(default_factory=set)


def find_reachable(
    vocabulary: Vocabulary, encoder: Encoder | None, *, progress: Callable[[str], None] | None = None
) -> Reachability:
    """The state of every id of a vocabulary; without an encoder only what bytes alone say.

    Args:
        vocabulary: the pieces.
        encoder: the tokenizer at work.
        progress: called with the name of each stage as it starts.

    Raises:
        CheckpointError: the tokenizers library fails on a text.
    """
    found = Reachability([UNKNOWN] * len(vocabulary))
    for i in range(len(vocabulary)):
        ground = _no_text(vocabulary, i)
        if ground is not None:
            found.state[i] = UNREACHABLE
            found.grounds[i] = ground
    if encoder is not None:
        search = _Search(vocabulary, encoder, found)
        for stage in (search.round_trip, search.contexts, search.completions, search.explanations):
            if progress is not None:
                progress(f"vocabulary: {stage.__name__.replace('_', ' ')}")
            stage()
    return found


def _no_text(vocabulary: Vocabulary, token_id: int) -> Ground | None:
    """The ground of an id that has no piece, or bytes that are in no text."""
    raw = vocabulary.raw_bytes(token_id)
    if token_id in vocabulary.literal:  # found by its name, even if that is how a byte is written
        raw = (vocabulary.spelled(token_id) or "").encode(errors="surrogatepass")
    if raw is None:
        return Ground("no piece", "the tokenizer has no such token", proved=True)
    never = sorted(set(raw) - used_bytes())
    if never:
        return Ground("bytes", f"no valid UTF-8 holds the byte <0x{never[0]:02X}>", proved=True)
    if cut(raw) is None:
        return Ground("bytes", "no valid UTF-8 holds these bytes in this order", proved=True)
    return None


class _Search:
    """The search for witnesses, stage by stage; ids that a stage settles are left out of the next."""

    def __init__(self, vocabulary: Vocabulary, encoder: Encoder, found: Reachability) -> None:
        self.vocabulary, self.encoder, self.found = vocabulary, encoder, found
        self.texts = [_own_text(vocabulary, i, encoder) for i in range(len(vocabulary))]
        self.tried = [0] * len(vocabulary)
        self.assembled: dict[int, bool] = {}
        self.single = frozenset(text for text in self.texts if text is not None and len(text) == 1)

    def round_trip(self) -> None:
        own = [(i, text) for i in self._open() if (text := self.texts[i])]
        for (i, text), ids in zip(own, self._encode(own), strict=True):
            if i in ids:
                self._settle(i, text)
            if ids == [i]:
                self.found.alone.add(i)
            else:
                self.found.re_encoded[i] = tuple(ids)
        # The tokenizer may add the first space itself.
        spaced = [(i, text[1:]) for i, text in own if text[0] == " " and len(text) > 1 and i in self.found.re_encoded]
        for (i, text), ids in zip(spaced, self._encode(spaced), strict=True):
            if ids == [i]:
                self._settle(i, text)
                self.found.alone.add(i)
                del self.found.re_encoded[i]
        self.found.left_out.update(self._open()[SEARCHED:])

    def contexts(self) -> None:
        self._in_other_letters()
        self.assembled = self._assembled()
        letters: dict[str, list[str]] = {}
        for character in sorted(self.single):
            if character.isalpha():
                letters.setdefault(script_of(character), []).append(character)
        continuing = {i for i in self._open() if _continues(self.vocabulary, i, self.encoder)}
        for contexts in (_on_one_side, _on_both_sides):
            self._in_context(contexts, letters, LETTERS, set(self._open()) - continuing)
        self._in_context(_before, letters, LETTERS_BEFORE, continuing)

    def completions(self) -> None:
        for limit in COMPLETIONS:
            for i in self._open():
                if self.texts[i] is None and self.assembled[i]:
                    raw = self.vocabulary.raw_bytes(i) or b""
                    self._try((i, text) for text, _ in completions(raw, limit, self.single))

    def explanations(self) -> None:
        added = {str(self.vocabulary.pieces[i]): i for i in self.vocabulary.literal}
        for i in self._open():
            for case in self._cases(i):
                self.found.grounds[i] = explain(case, self.encoder, added, self.vocabulary)
                if self.found.grounds[i].cause != "pre-tokeniser":
                    break  # some completion of its bytes is left whole, and fails for another reason
            self.found.state[i] = UNREACHABLE

    def _cases(self, i: int) -> Iterator[Case]:
        text, raw = self.texts[i], self.vocabulary.raw_bytes(i) or b""
        piece, assembled, tried = self.vocabulary.spelled(i) or "", self.assembled[i], self.tried[i]
        if text is not None:
            given, continues = self.found.re_encoded.get(i, ()), _continues(self.vocabulary, i, self.encoder)
            shown = f"a{text}" if continues else text
            start, stop = int(continues), len(shown.encode())
            yield Case(i, piece, shown, start, stop, not continues, continues, assembled, given, tried)
            return
        completed = completions(raw, 16, self.single)
        for (other, start), ids in zip(completed, self.encoder.encode([t for t, _ in completed]), strict=True):
            yield Case(i, piece, other, start, start + len(raw), False, False, assembled, ids, tried)

    def _open(self) -> list[int]:
        left_out = self.found.left_out
        open_ids = (i for i, state in enumerate(self.found.state) if state == UNKNOWN and i not in left_out)
        return [i for i in open_ids if len(self.vocabulary.raw_bytes(i) or b"") <= LONGEST_TEXT]

    def _in_other_letters(self) -> None:
        """Texts that no added token is found in, but that come to the token's own; a typed U+2581 is no space."""
        for change in (str.upper, str.title):
            own = [(i, text, change(text)) for i in self._open() if (text := self.texts[i])]
            normalised = self.encoder.normalised
            self._try((i, other) for i, text, other in own if other != text and normalised(other) == normalised(text))
        typed = [(i, self.vocabulary.spelled(i) or "") for i in self._open()]
        self._try((i, piece) for i, piece in typed if "\u2581" in piece and piece != self.texts[i])

    def _in_context(
        self,
        contexts: Callable[[Sequence[str]], Iterator[tuple[str, str]]],
        letters: Mapping[str, list[str]],
        n_letters: int,
        among: set[int],
    ) -> None:
        # BPE never makes a piece that it does not make alone, unless it takes whole words as they are.
        hopeless = self.encoder.kind in ("BPE", "Unigram") and not self.encoder.whole_words
        around: dict[int, list[tuple[str, str]]] = {}
        for i in sorted(among):
            if self.texts[i] and (self.assembled[i] or not hopeless or i in self.vocabulary.literal):
                beside = [*BESIDE, *letters.get(script_of(self.texts[i] or ""), ())[:n_letters]]
                around[i] = list(contexts(beside))
        # One context at a time: most tokens are settled by the first few.
        for k in range(max(map(len, around.values()), default=0)):
            left = [i for i, pairs in around.items() if k < len(pairs) and self.found.state[i] == UNKNOWN]
            self._try((i, f"{around[i][k][0]}{self.texts[i]}{around[i][k][1]}") for i in left)

    def _try(self, texts: Iterable[tuple[int, str]]) -> None:
        pairs = list(texts)
        for (i, text), ids in zip(pairs, self._encode(pairs), strict=True):
            if self.found.state[i] == UNKNOWN and i in ids:
                self._settle(i, text)

    def _settle(self, i: int, witness: str) -> None:
        self.found.state[i] = REACHABLE
        if witness != self.vocabulary.text(i):
            self.found.witnesses[i] = witness

    def _encode(self, pairs: Sequence[tuple[int, str]]) -> Iterator[list[int]]:
        for i, _ in pairs:
            self.tried[i] += 1
        return self.encoder.encode([text for _, text in pairs])

    def _assembled(self) -> dict[int, bool]:
        """Whether the model makes each piece of its own spelling; taken for true where that is no test."""
        ids = self._open()
        model = self.encoder.document["model"]
        if self.encoder.kind not in ("BPE", "Unigram") or self.encoder.marks_words:
            return dict.fromkeys(ids, True)
        pieces = [self.vocabulary.spelled(i) or "" for i in ids]
        made = dict(zip(ids, self.encoder.assembled(pieces), strict=True))
        # <0x41> is not spelled with the characters of its name.
        falls_back = bool(model.get("byte_fallback"))
        return {i: ok or (falls_back and category_of(self.vocabulary, i) == "byte") for i, ok in made.items()}


def _own_text(vocabulary: Vocabulary, token_id: int, encoder: Encoder) -> str | None:
    """The text that a token stands for; None if it has none of its own, being part of a character."""
    raw, piece = vocabulary.raw_bytes(token_id), vocabulary.pieces[token_id]
    if raw is None or (isinstance(piece, str) and token_id in vocabulary.literal):
        return piece if isinstance(piece, str) else None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    if _continues(vocabulary, token_id, encoder):
        return text.removeprefix(encoder.document["model"]["continuing_subword_prefix"])
    return text.removesuffix(encoder.document["model"].get("end_of_word_suffix") or "")


def _continues(vocabulary: Vocabulary, token_id: int, encoder: Encoder) -> bool:
    """True for a piece that only continues a word."""
    mark, piece = encoder.document["model"].get("continuing_subword_prefix"), vocabulary.pieces[token_id]
    return bool(mark) and isinstance(piece, str) and piece.startswith(mark) and piece != mark


def _on_one_side(beside: Sequence[str]) -> Iterator[tuple[str, str]]:
    for character in beside:
        yield character, ""
        yield "", character


def _on_both_sides(beside: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((left, right) for left in beside for right in beside)


def _before(beside: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((character, "") for character in beside)
