"""Orders of pieces and merges that say the same: against slow encoders written from the definitions."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.vocabulary import Vocabulary
from forensics.vocabulary.merging import next_merge
from forensics.vocabulary.pieces import byte_level_alphabet
from forensics.vocabulary.rules import byte_level_rules, merges_of, sentencepiece_rules

pytest.importorskip("tokenizers")

ANYTHING = r"[\s\S]+"
LETTER_OF = {byte: letter for letter, byte in byte_level_alphabet().items()}


def ranks_vocabulary(pieces, *, whole_words=True, pattern=ANYTHING):
    """All bytes, then the pieces, their ids their ranks."""
    every = (*(bytes([b]) for b in range(256)), *pieces)
    rules = byte_level_rules("ranks", [pattern], order=range(len(every)), whole_words=whole_words)
    return Vocabulary(every, "plain", rules=rules)


def by_rank(word, ranks, whole_words=True):
    """tiktoken's definition: of neighbours whose union has a rank, the lowest, the leftmost; until there are none."""
    if whole_words and word in ranks:
        return [ranks[word]]
    parts = [word[i : i + 1] for i in range(len(word))]
    while True:
        unions = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not unions:
            return [ranks[part] for part in parts]
        _, i = min(unions)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


WORDS = st.text("abc", min_size=1, max_size=14)
PIECES = st.lists(st.text("abc", min_size=2, max_size=5), unique=True, max_size=14)


@settings(deadline=None)
@given(PIECES, st.lists(WORDS, min_size=1, max_size=20), st.booleans())
def test_ranks_encode_as_tiktoken_defines(pieces, words, whole_words):
    """In any order whatever, pieces that are never made among them."""
    vocabulary = ranks_vocabulary([p.encode() for p in pieces], whole_words=whole_words)
    ranks = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    words += pieces
    expected = [by_rank(word.encode(), ranks, whole_words) for word in words]
    assert list(vocabulary.encoder().encode(words)) == expected


@given(PIECES, WORDS)
def test_a_piece_is_always_made_by_the_same_merge(pieces, word):
    """The ground on which the order among cuts of one piece is left open: only one of them ever happens."""
    ranks = {pair: i for i, pair in enumerate(merges_of(["a", "b", "c", *pieces]))}
    order = {piece: i for i, piece in enumerate(pieces)}
    made: dict[str, set] = {}
    for text in (word, word[1:], word[::-1], word + word):
        parts = list(text)
        while unions := [(order[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in order]:
            _, i = min(unions)
            if (parts[i], parts[i + 1]) in ranks:
                made.setdefault(parts[i] + parts[i + 1], set()).add((parts[i], parts[i + 1]))
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
    assert all(len(pairs) == 1 for pairs in made.values())


def by_score(text, scores):
    """llama.cpp's definition: of neighbours whose union is a piece, the highest score, the leftmost."""
    parts = list("\u2581" + text.replace(" ", "\u2581"))
    while True:
        unions = [(-scores[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in scores]
        if not unions:
            return parts
        _, i = min(unions)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@settings(deadline=None)
@given(st.lists(st.text("ab\u2581", min_size=2, max_size=4), unique=True, max_size=12), st.text("ab ", max_size=12))
def test_scores_encode_as_llama_cpp_defines(pieces, text):
    every = ("\u2581", "a", "b", *pieces)
    vocabulary = Vocabulary(
        every, "sentencepiece", rules=sentencepiece_rules("scores", [*range(3, len(every)), 0, 1, 2], space_prefix=True)
    )
    scores = {piece: -float(i) for i, piece in enumerate(every) if len(piece) > 1}
    if text:
        (ids,) = vocabulary.encoder().encode([text])
        assert [every[i] for i in ids] == by_score(text, scores)


@given(st.binary(max_size=30))
def test_bytes_go_in_and_come_out(raw):
    text = raw.decode(errors="replace")
    vocabulary = ranks_vocabulary([b"ab", "é".encode(), "ก".encode()])
    (ids,) = vocabulary.encoder().encode([text])
    assert b"".join(vocabulary.raw_bytes(i) for i in ids) == text.encode()


def test_the_next_merge_is_the_lowest_and_leftmost():
    ranks = {("a", "b"): 1, ("b", "a"): 1, ("b", "b"): 0}
    assert next_merge(list("abab"), ranks) == (0, 1)
    assert next_merge(list("abba"), ranks) == (1, 0)
    assert next_merge(list("aa"), ranks) is None
