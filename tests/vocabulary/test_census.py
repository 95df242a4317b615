"""The census on planted vocabularies: every category and every cause told apart, and no claim that a text refutes."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.errors import SelectionError
from forensics.vocabulary import TokenizerRules, Vocabulary, reachability, take_census
from forensics.vocabulary.categories import CATEGORIES, category_of, reserved_looking
from forensics.vocabulary.census import MASKS
from forensics.vocabulary.pieces import byte_level_alphabet
from forensics.vocabulary.scripts import script_of

pytest.importorskip("tokenizers")

LETTER_OF = {byte: letter for letter, byte in byte_level_alphabet().items()}
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+"
WITH_MARKS = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+"


def spelled(raw):
    raw = raw.encode() if isinstance(raw, str) else raw
    return "".join(LETTER_OF[b] for b in raw)


def document(pieces, merges, added=(), pattern=WORDS, **model):
    vocab = {letter: i for i, letter in enumerate(LETTER_OF.values())}
    for piece in pieces:
        vocab.setdefault(spelled(piece), len(vocab))
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    ids = dict(vocab)
    for text in added:
        ids.setdefault(text, len(ids))
    tokens = [{"id": ids[text], "content": text, "special": True, **flags} for text in added]
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    pairs = [[spelled(left), spelled(right)] for left, right in merges]
    return {
        "version": "1.0",
        "added_tokens": tokens,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, step]},
        "model": {"type": "BPE", "vocab": vocab, "merges": pairs, **model},
    }


def vocabulary_of(doc, spelling="byte-level"):
    vocab = doc["model"]["vocab"]
    by_id = (
        dict(enumerate(entry[0] for entry in vocab)) if isinstance(vocab, list) else {i: p for p, i in vocab.items()}
    )
    added = {token["id"]: token["content"] for token in doc.get("added_tokens") or ()}
    size = max(by_id | added) + 1
    pieces = tuple((by_id | added).get(i) for i in range(size))
    return Vocabulary(pieces, spelling, frozenset(added), TokenizerRules("planted", json.dumps(doc).encode()))


THAI = "\u0e01\u0e48"  # a letter and its tone mark
MERGES = [
    ("b", "c"), ("a", "b"), ("ab", "c"), (" ", " "), ("\u0e01", "\u0e48"), ("e", "\u0301"), ("S", "P"), ("SP", "x"),
    (b"\xe0", b"\xb8"), (b"\xe0\xb8", b"\x81"), (b"\xe0\xb9", b"\x88"), (b"\xe0", b"\xb9"), (b"\xcc", b"\x81"),
    ("h", "i"), (" ", "hi"), (b"\x00", b"\x01"), (b"\xb8", b"\x81"), ("q", "\u0301"),
]  # fmt: skip
PIECES = [
    *("".join(pair) if isinstance(pair[0], str) else b"".join(pair) for pair in MERGES), "xyz", b"a\x80", b"\xed\xa0",
]  # fmt: skip


@pytest.fixture(scope="module")
def planted():
    vocabulary = vocabulary_of(document(PIECES, MERGES, ["SP", "<r_1>", "<r_2>", "<r_3>", "<pad>"]))
    return take_census(vocabulary, len(vocabulary) + 3)


def id_of(census, raw):
    raw = raw.encode() if isinstance(raw, str) else raw
    return next(i for i in range(len(census.vocabulary)) if census.vocabulary.raw_bytes(i) == raw)


@pytest.mark.parametrize(
    ("piece", "cause", "proved", "words"),
    [
        ("e\u0301", "normaliser", True, "the normaliser makes"),
        (THAI, "pre-tokeniser", False, "split into"),
        ("abc", "merges", True, 'merge 0 joins "b" and "c" first'),
        ("xyz", "merges", True, "no merges make it"),
        ("SPx", "added token", False, '"SP"'),
        (b"\xc0", "bytes", True, "<0xC0>"),
        (b"a\x80", "bytes", True, "in this order"),
        (b"\xed\xa0", "bytes", True, "in this order"),
    ],
)
def test_every_cause_is_told_apart(planted, piece, cause, proved, words):
    i = id_of(planted, piece)
    ground = planted.grounds[i]
    assert (ground.cause, ground.proved) == (cause, proved)
    assert words in ground.detail
    assert planted.row(i)["reachable"] == "unreachable"
    assert planted.witness(i) is None
    assert (ground.tried > 0) == (cause != "bytes")


def test_where_a_split_falls(planted):
    assert planted.grounds[id_of(planted, THAI)].where == "Lo|Mn"
    counts = [row for row in planted.to_dict()["grounds"] if row["where"] == "Lo|Mn"]
    assert counts == [{"cause": "pre-tokeniser", "where": "Lo|Mn", "script": "Thai", "proved": False, "tokens": 1}]


def test_a_pattern_with_marks_mends_the_split():
    vocabulary = vocabulary_of(document(PIECES, MERGES, pattern=WITH_MARKS))
    census = take_census(vocabulary, len(vocabulary))
    i = id_of(census, THAI)
    assert census.round_trip[i]
    assert i not in census.grounds


@pytest.mark.parametrize(
    ("piece", "witness"),
    [
        (" hi", " hi"),
        ("  ", "  "),
        (b"\xe0\xb8", None),
        (b"\xb8\x81", None),
        (b"\xf0", None),
        ("q\u0301", None),
    ],
)
def test_a_witness_holds_its_token(planted, piece, witness):
    """q with an accent has no composed form, and is split; the others are made."""
    i = id_of(planted, piece)
    found = planted.witness(i)
    if piece == "q\u0301":
        assert planted.grounds[i].where == "Ll|Mn"
        return
    assert found == (witness or found)
    (ids,) = planted.vocabulary.encoder().encode([found])
    assert i in ids


@pytest.mark.parametrize("whole_words", [True, False])
def test_a_context_that_keeps_a_word_whole(whole_words):
    doc = document(["ab"], [] if whole_words else [("a", "b")], pattern=r"ab(?=1)|[\s\S]", ignore_merges=whole_words)
    census = take_census(vocabulary_of(doc), 257)
    assert census.witness(256) == "ab1"
    assert not census.round_trip[256]
    assert census.re_encoded[256] == tuple(doc["model"]["vocab"][letter] for letter in "ab")


def test_every_witness_is_one(planted):
    encoder = planted.vocabulary.encoder()
    reachable = np.flatnonzero(planted.state == 1).tolist()
    assert len(reachable) > 240
    for i, ids in zip(reachable, encoder.encode([planted.witness(i) for i in reachable]), strict=True):
        assert i in ids
        assert planted.round_trip[i] == (ids == [i]) or planted.re_encoded.get(i) is None


def test_every_category_is_there(planted):
    vocabulary = planted.vocabulary
    expected = {
        "abc": "ordinary",
        "<pad>": "special",
        "\x00\x01": "control",
        "a": "byte",
        b"\x80": "byte",
        b"\xff": "impossible byte",
        b"\xe0\xb8": "partial",
        b"\xed\xa0": "partial",
        "  ": "whitespace",
        "\n": "byte",
    }
    for raw, category in expected.items():
        assert category_of(vocabulary, id_of(planted, raw)) == category
    assert category_of(vocabulary, len(vocabulary)) == "padding"
    assert category_of(Vocabulary(("a", None), "plain"), 1) == "no piece"
    assert set(expected.values()) | {"padding", "no piece"} == set(CATEGORIES)
    assert category_of(Vocabulary(("a", "<0x41>", "<0xFF>", "\u2581"), "sentencepiece"), 0) == "ordinary"
    assert category_of(Vocabulary(("a", "<0x41>", "<0xFF>", "\u2581"), "sentencepiece"), 1) == "byte"
    assert category_of(Vocabulary(("a", "<0x41>", "<0xFF>", "\u2581"), "sentencepiece"), 2) == "impossible byte"
    assert category_of(Vocabulary(("a", "<0x41>", "<0xFF>", "\u2581"), "sentencepiece"), 3) == "whitespace"


def test_masks(planted):
    n = len(planted.vocabulary)
    assert planted.mask("padding").nonzero()[0].tolist() == [n, n + 1, n + 2]
    assert planted.mask("impossible bytes").sum() == 13
    assert planted.mask("special").sum() == 5
    shown = {planted.vocabulary.text(i) for i in planted.mask("reserved-looking").nonzero()[0].tolist()}
    assert shown == {"<r_1>", "<r_2>", "<r_3>"}
    assert planted.mask("unreachable").sum() == planted.to_dict()["masks"]["unreachable"] >= 13 + 3 + 8
    assert planted.mask("unreachable")[n:].all()
    with pytest.raises(SelectionError, match="no set of tokens named 'dead'"):
        planted.mask("dead")


def test_the_counts_add_up(planted):
    counted = planted.to_dict()
    json.dumps(counted, allow_nan=False)
    assert sum(row["tokens"] for row in counted["counts"]) == counted["rows"] == len(planted)
    assert sum(row["tokens"] for row in counted["grounds"]) == counted["masks"]["unreachable"]
    frame = planted.to_frame()
    assert len(frame) == len(planted)
    assert frame.loc[id_of(planted, "abc"), "cause"] == "merges"
    assert frame["category"].value_counts()["padding"] == 3
    with pytest.raises(SelectionError, match="is not there"):
        planted.row(len(planted))


# No claim that a text refutes


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.tuples(st.text("ab ", min_size=1, max_size=2), st.text("ab ", min_size=1, max_size=2)), max_size=8),
    st.booleans(),
)
def test_all_short_texts_against_the_census(pairs, whole_words):
    """What is unreachable occurs in no text of up to five letters; what is reachable has a witness that holds it."""
    known = {"a", "b", " "}
    merges = []
    for left, right in pairs:
        if left in known and right in known and left + right not in known:
            merges.append((left, right))
            known.add(left + right)
    doc = document([*(a + b for a, b in merges), "abab"], merges, ignore_merges=whole_words)
    vocabulary = vocabulary_of(doc)
    census = take_census(vocabulary, len(vocabulary))
    encoder = vocabulary.encoder()
    texts = ["".join(letters) for n in range(1, 6) for letters in itertools.product("ab ", repeat=n)]
    seen = {i for ids in encoder.encode(texts) for i in ids}
    unreachable = set(np.flatnonzero(census.state == 0).tolist())
    assert not seen & unreachable
    for i in set(range(256, len(vocabulary))) - unreachable:
        (ids,) = encoder.encode([census.witness(i)])
        assert i in ids


# Other models


def bert(pieces, lowercase=True):
    vocab = {piece: i for i, piece in enumerate(pieces)}
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": vocab}
    return {
        "version": "1.0",
        "normalizer": normalizer | {"lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": model | {"max_input_chars_per_word": 100},
        "truncation": {"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {
            "strategy": {"Fixed": 4}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]",
        }
    }  # fmt: skip


def test_wordpiece():
    pieces = [
        "[UNK]",
        "a",
        "aq",
        "##q",
        "b",
        "##ing",
        "##!",
        "\u00c4",
        "a-b",
        "[unused1]",
        "[unused2]",
        "[unused3]",
        "中",
    ]
    census = take_census(vocabulary_of(bert(pieces), "plain"), len(pieces) + 1)
    causes = {pieces[i]: (g.cause, g.proved) for i, g in census.grounds.items() if i < len(pieces)}
    split = ("pre-tokeniser", True)
    assert causes == {
        "##!": split,
        "\u00c4": ("normaliser", True),
        "a-b": split,
        **dict.fromkeys(["[unused1]", "[unused2]", "[unused3]"], split),
    }
    assert census.witness(0) == "[UNK]"  # as any text that the pieces do not cover
    # b##q and a##ing; but were b no piece, the only letter before q would be taken with it.
    assert census.witness(3) == "bq"
    assert census.witness(5).endswith("ing")
    assert census.mask("reserved-looking").nonzero()[0].tolist() == [9, 10, 11]
    without_b = take_census(vocabulary_of(bert(["[UNK]", "a", "aq", "##q"]), "plain"), 4)
    assert (without_b.grounds[3].cause, without_b.grounds[3].proved) == ("segmentation", False)


def test_unigram():
    scored = [
        ["<unk>", 0.0],
        ["\u2581", -3.0],
        ["a", -4.0],
        ["b", -4.0],
        ["ab", -1.0],
        ["aba", -9.0],
        ["\u2581ab", -2.0],
    ]
    scored += [["ba", -8.0], ["\u2581b", -1.0]]
    doc = {
        "version": "1.0",
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": scored},
    }
    census = take_census(vocabulary_of(doc, "sentencepiece"), len(scored))
    row = census.row(5)
    # ab + a scores -5 against -9, in any text with the space in front -6; b + a ties with ba.
    assert (row["reachable"], row["ground"]["cause"], row["ground"]["proved"]) == ("unreachable", "segmentation", True)
    assert '" ab" (6) | "a" (2)' in row["ground"]["detail"]
    assert census.state[[2, 3, 4, 6, 8]].tolist() == [1] * 5
    assert census.witness(6) == " ab"
    assert census.round_trip[6]
    assert 5 not in census.witnesses
    assert census.state[7] == 1 or not census.grounds[7].proved


def test_byte_fallback():
    vocab = {"<unk>": 0} | {f"<0x{b:02X}>": b + 1 for b in range(256)}
    for piece in ["\u2581", "t", "h", "\u2581t", "th", "é"]:
        vocab[piece] = len(vocab)
    doc = {
        "version": "1.0",
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "model": {
            "type": "BPE", "vocab": vocab, "merges": [["\u2581", "t"], ["t", "h"]], "byte_fallback": True,
            "unk_token": "<unk>", "fuse_unk": True,
        },
    }  # fmt: skip
    census = take_census(vocabulary_of(doc, "sentencepiece"), len(vocab))
    state = {piece: int(census.state[i]) for piece, i in vocab.items()}
    assert state["\u2581t"] == state["th"] == state["é"] == state["<0x41>"] == state["<0xE0>"] == state["<0x80>"] == 1
    assert census.witness(vocab["th"]) == "ath" or census.witness(vocab["th"]).endswith("th")
    assert census.witness(vocab["\u2581t"]) == "t"
    for byte in ("<0x74>", "<0x20>"):  # t, and the space, have pieces
        assert state[byte] == 0
        assert census.grounds[vocab[byte]].proved
    assert census.grounds[vocab["<0xC0>"]].cause == "bytes"


# What is missing, damaged or another model's


def test_without_rules_only_bytes_speak():
    vocabulary = Vocabulary((b"a", b"\xff", b"a\x80", b"\xe0\xb8", None), "plain", no_rules="because")
    census = take_census(vocabulary, 6)
    assert census.state.tolist() == [-1, 0, 0, -1, 0, 0]
    assert census.notes == ("reachability is unknown: because",)
    assert census.origin is None
    assert census.witness(0) is None


def test_no_tokenizer_and_one_that_is_too_large():
    census = take_census(None, 4)
    assert census.state.tolist() == [-1] * 4
    assert census.to_dict()["notes"] == ["no tokenizer: tokens are known by id only"]
    vocabulary = vocabulary_of(document(["ab"], [("a", "b")]))
    census = take_census(vocabulary, 200)
    assert len(census) == 200
    assert "57 tokens of the tokenizer are beyond" in census.notes[0]
    assert len(take_census(vocabulary, 0)) == 0


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[",
        b'{"model": 5}',
        b'{"model": {"type": "Nope", "vocab": {}}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": [{"id": 9, "content": "x", '
        b'"single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}]}',
        b'{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false}, '
        b'"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}',
        b'{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, '
        b'"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}',
    ],
)
def test_rules_that_cannot_be_built_are_a_note(text):
    census = take_census(Vocabulary(("a",), "plain", rules=TokenizerRules("tokenizer.json", text)), 1)
    assert census.state.tolist() == [-1]
    assert census.notes[0].startswith("reachability is unknown: tokenizer.json: ")
    assert len(census.notes[0]) < 300


def test_a_piece_beyond_any_length_is_not_tried():
    long = "a" * 3_000
    vocabulary = vocabulary_of(document([long], []))
    census = take_census(vocabulary, len(vocabulary))
    assert census.row(256)["reachable"] == "unknown"


# Scripts and families


@pytest.mark.parametrize(
    ("text", "script"),
    [
        (" the", "Latin"),
        ("...a", "Latin"),
        ("\u0e01\u0e48", "Thai"),
        ("aЖ", "Latin"),
        ("Жa", "Cyrillic"),
        ("Жaa", "Latin"),
        ("\u0301", "Inherited"),
        ("123", "Common"),
        ("", "None"),
        ("\u30fc", "Common"),
        ("カー", "Katakana"),
        ("中文", "Han"),
    ],
)
def test_the_script_is_the_unicode_property(text, script):
    assert script_of(text) == script


def test_families_of_numbered_texts():
    pieces = ["v1", "v2", "v3", "<x1>", "<x2>", "<x9>", "10", "11", "12", "<y1>", "<y2>", "<y3>", "z1", "z2"]
    unreachable = np.zeros(len(pieces), bool)
    unreachable[9:] = True
    vocabulary = Vocabulary(tuple(pieces), "plain", frozenset(range(3, 9)))
    assert reserved_looking(vocabulary, unreachable).nonzero()[0].tolist() == [3, 4, 5, 9, 10, 11]
    unreachable[10] = False
    assert reserved_looking(vocabulary, unreachable).nonzero()[0].tolist() == [3, 4, 5]


def test_of_a_tokenizer_that_fails_throughout_only_some_tokens_are_searched(monkeypatch):
    monkeypatch.setattr(reachability, "SEARCHED", 3)
    pieces = {"[UNK]": 0, **{f"a b{i}": i for i in range(1, 9)}}
    document = {
        "model": {"type": "WordLevel", "vocab": pieces, "unk_token": "[UNK]"},
        "pre_tokenizer": {"type": "Whitespace"},
        "added_tokens": [],
    }
    rules = TokenizerRules("planted", json.dumps(document).encode())
    census = take_census(Vocabulary(tuple(pieces), "plain", rules=rules), 9)
    assert census.state.tolist()[1:] == [0, 0, 0, -1, -1, -1, -1, -1] and set(census.grounds) == {1, 2, 3}
    assert any("of 5 tokens" in note for note in census.notes)


def test_without_a_tokenizer_nothing_is_said_of_any_token():
    census = take_census(None, 5)
    assert not any(census.mask(name).any() for name in MASKS)
    assert census.to_dict()["counts"] == [] and (census.state == -1).all()


# Proofs and witnesses that brute force refuted once


def flat(model, normalizer=None, pre=None, added=()):
    """A document of any model; added tokens as (content, id, flags)."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    tokens = [{"id": i, "content": text, **flags, **(more or {})} for text, i, more in added]
    return {
        "version": "1.0", "normalizer": normalizer, "pre_tokenizer": pre, "added_tokens": tokens, "model": model,
    }  # fmt: skip


def wordpiece(*pieces):
    vocab = {piece: i for i, piece in enumerate(("[UNK]", *pieces))}
    mark = {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    return {"type": "WordPiece", "vocab": vocab, **mark}


def bpe(pieces, merges, **more):
    return {"type": "BPE", "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": merges, **more}


BERT_NORMALIZER = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
CONTIGUOUS = {"type": "Punctuation", "behavior": "Contiguous"}
SPLIT_SPACES = {"type": "WhitespaceSplit"}
LOWER = {"type": "Lowercase"}
LONE = ["<unk>", "a", *(f"<0x{b:02X}>" for b in range(256))]
MARK = {"continuing_subword_prefix": "##"}
FALLS_BACK = {"byte_fallback": True, "unk_token": "<unk>"}
UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -2.0], ["b", -2.0], ["b\u2581a", -1.0]]}

REFUTED = {
    "continuing": (
        flat(bpe(["<unk>", "a", "b", "##a", "##b", "##ab"], [["##a", "##b"]], unk_token="<unk>", **MARK)), "aab", 5,
    ),
    "ending": (flat(bpe(["a", "b", "b</w>", "ab</w>"], [["a", "b</w>"]], end_of_word_suffix="</w>")), "ab", 3),
    "added": (flat(wordpiece("sephora", "sep"), LOWER, added=[("sep", 2, None)]), "SEPHORA", 1),
    "other width": (flat(wordpiece("ab", "a"), {"type": "NFKC"}, added=[("a", 2, None)]), "\uff41b", 1),
    "swallowed": (
        flat(
            bpe([*"asepx", "se", "sep", "sepa", "xse"], [["s", "e"], ["se", "p"], ["sep", "a"]]),
            added=[("sep", 6, None), ("xse", 8, {"single_word": True})],
        ),
        "xsepa", 7,
    ),
    "dropped": (flat(bpe([*"abc", "ab", "abc"], [["a", "b"], ["ab", "c"]]), added=[("ab", 3, None)]), "a\u00c9bc", 4),
    "contiguous": (flat(wordpiece("a", "..", "##."), pre=CONTIGUOUS), "...", 3),
    "spaces": (
        flat(bpe(["中", " ", "a", " a", "中 a"], [[" ", "a"], ["中", " a"]]), BERT_NORMALIZER | {"lowercase": True}),
        "中a", 4,
    ),
    "byte name": (flat(bpe(LONE, [], **FALLS_BACK), added=[("<0xFF>", 257, None)]), "a<0xFF>a", 257),
    "space mark": (flat(UNIGRAM, pre=SPLIT_SPACES), "b\u2581a", 3),
    "space mark inside": (flat(wordpiece("b", "##\u2581a"), pre=SPLIT_SPACES), "b\u2581a", 2),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUTED)
def test_no_proof_and_no_witness_is_refuted(name):
    doc, text, token = REFUTED[name]
    byte_marks = name in ("byte name", "space mark", "space mark inside")
    vocabulary = vocabulary_of(doc, "sentencepiece" if byte_marks else "plain")
    census = take_census(vocabulary, len(vocabulary))
    encoder = vocabulary.encoder()
    letters = sorted({c for piece in vocabulary.pieces[:6] for c in piece if c not in "#</>[]"} | set(text))[:9]
    texts = [text, *("".join(t) for n in range(1, 5) for t in itertools.product(letters, repeat=n))]
    given = [set(ids) for ids in encoder.encode(texts)]
    assert token in given[0]
    seen = set.union(*given)
    assert not [i for i in seen if census.state[i] == 0 and census.grounds[i].proved]
    reachable = np.flatnonzero(census.state == 1).tolist()
    for i, ids in zip(reachable, encoder.encode([census.witness(i) for i in reachable]), strict=True):
        assert i in ids, (vocabulary.pieces[i], census.witness(i))
    if name in ("continuing", "ending", "added", "byte name", "space mark"):
        assert census.state[token] == 1


def test_an_added_token_is_a_proof_where_it_is_always_found():
    for normalizer, flags, proved in [
        (None, None, True),
        (LOWER, {"normalized": True}, True),
        (None, {"single_word": True}, None),
    ]:
        doc = flat(wordpiece("sephora", "sep"), normalizer, added=[("sep", 2, flags)])
        ground = take_census(vocabulary_of(doc, "plain"), 3).grounds.get(1)
        assert (ground and (ground.cause, ground.proved)) == (proved and ("added token", proved))


def test_a_mark_of_a_space_may_be_typed_so_that_no_split_at_it_is_proved():
    pieces = [["<unk>", -9.0], ["a", -2.0], ["\u2581", -2.0], ["a\u2581a", -1.0]]
    document = {
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "added_tokens": [],
    }
    rules = TokenizerRules("planted", json.dumps(document).encode())
    census = take_census(Vocabulary(tuple(piece for piece, _ in pieces), "sentencepiece", rules=rules), 4)
    (ids,) = census.vocabulary.encoder().encode(["a\u2581a"])
    assert 3 in ids
    assert census.state[3] == 1
