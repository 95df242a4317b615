"""Corpora from files: every byte kept, foreign tokens dead, the same every time, and files that are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from forensics.errors import ConfigError
from forensics.toy import text_file
from forensics.toy.corpus import ForeignText, TextFile, build_corpus

SYLLABLES = {
    "english": "ba be bi bo da de di do ka ke ki ko la le li lo ma me na ne ra re sa se ta te ing er th sh",
    "thai": "กา กี กู เก ขา ขี คา คี งา จา จี ชา ซา ดา ดี ตา ตี ทา นา นี บา ปา ปี พา มา มี ยา รา รี ลา วา สา หา",
}


def write_text(path, language, words, seed):
    """Made-up words of a language's syllables, the first ones often: spaces and lines, or none but lines."""
    rng = np.random.default_rng(seed)
    syllables = SYLLABLES[language].split()
    lexicon = ["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(200)]
    chosen = np.minimum(rng.zipf(1.4, words) - 1, 199)
    between = rng.choice([" ", "\n"], words, p=[0.9, 0.1]) if language == "english" else rng.choice(["", "\n"], words)
    path.write_bytes("".join(lexicon[word] + gap for word, gap in zip(chosen, between, strict=True)).encode())
    return str(path)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    return {
        "text": write_text(folder / "main.txt", "english", 4_000, 1),
        "foreign": write_text(folder / "foreign.txt", "thai", 2_000, 2),
        "model_text": write_text(folder / "model.txt", "english", 3_000, 1),
    }


@pytest.fixture(scope="module")
def byte_level(texts, tmp_path_factory):
    """A byte-level BPE with all that a training stream must not get: truncation, padding, added specials."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False
    )
    tokenizer.train([texts["text"]], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=50)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


def test_bytes_are_tokens(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\n\r")
    corpus = build_corpus(TextFile(text=str(tmp_path / "a.txt")))
    assert bytes(corpus.tokens.astype(np.uint8)) == b"a\r\nb\n\r"
    assert (corpus.vocab_size, corpus.dead_ids.size, corpus.name) == (256, 252, "a.txt")
    assert corpus.tokenizer_json is None
    assert build_corpus(TextFile(text=str(tmp_path / "a.txt"), vocab=128)).dead_ids.size == 124


def test_bytes_beyond_the_vocabulary(tmp_path):
    (tmp_path / "a.txt").write_bytes("café".encode())
    with pytest.raises(ConfigError, match="a.txt: token id 195 occurs, the vocabulary has ids 0 to 127; .* least 196"):
        build_corpus(TextFile(text=str(tmp_path / "a.txt"), vocab=128))


def test_a_tokenizer_gives_back_the_text_and_nothing_else(texts, byte_level, tmp_path):
    text = "ba\r\nkale  mane\t\n\n bing é\r"
    (tmp_path / "a.txt").write_bytes(text.encode())
    corpus = build_corpus(TextFile(text=str(tmp_path / "a.txt"), tokenizer=byte_level))
    tokenizer = Tokenizer.from_str(corpus.tokenizer_json)
    assert tokenizer.decode(list(corpus.tokens), skip_special_tokens=False) == text
    assert 0 in corpus.dead_ids  # no <s> was added
    long = build_corpus(TextFile(text=texts["text"], tokenizer=byte_level))
    assert long.tokens.size > 4_000
    assert long.vocab_size == 400
    assert long.context_entropy < long.unigram_entropy
    assert any("upper bound" in note for note in long.notes)


def test_phantom_ids_are_dead(texts, byte_level):
    own = build_corpus(TextFile(text=texts["text"], tokenizer=byte_level))
    more = build_corpus(TextFile(text=texts["text"], tokenizer=byte_level, vocab=500))
    assert list(more.dead_ids) == [*own.dead_ids, *range(400, 500)]
    assert any(note.startswith("100 ids are phantom") for note in more.notes)
    assert own.sha256 != more.sha256


@pytest.mark.parametrize("size", [100, 1_000])
def test_a_long_text_is_encoded_in_pieces(texts, byte_level, monkeypatch, size):
    spec = TextFile(text=texts["text"], tokenizer=byte_level)
    whole = build_corpus(spec)
    monkeypatch.setattr(text_file, "_PIECE", size)
    cut = build_corpus(spec)
    assert np.array_equal(cut.tokens, whole.tokens)  # no token of this tokenizer spans a line end
    assert any("cut at line ends" in note for note in cut.notes)
    assert not any("cut at line ends" in note for note in whole.notes)


@pytest.mark.parametrize("text", ["", "\n", "ab\ncd", "abcdefghijkl", "\n\n\n\n\nabcdef\n\n", "abcd\n" * 9])
def test_pieces_are_the_text(text, monkeypatch):
    monkeypatch.setattr(text_file, "_PIECE", 4)
    cut = list(text_file.pieces(text))
    assert "".join(cut) == text
    assert all(piece.endswith("\n") and len(piece) >= 4 for piece in cut[:-1])


def foreign_spec(texts, **changed):
    return ForeignText(**{"text": texts["text"], "foreign": texts["foreign"], "vocab": 300} | changed)


def test_foreign_tokens_die(texts):
    corpus = build_corpus(foreign_spec(texts))
    assert corpus.vocab_size == 300
    pieces = {token: piece for piece, token in json.loads(corpus.tokenizer_json)["model"]["vocab"].items()}
    assert len(pieces) == 300
    thai = {token for token, piece in pieces.items() if any("\u0e00" <= character <= "\u0e7f" for character in piece)}
    dead = set(corpus.require_dead().tolist())
    assert len(thai) > 80
    assert thai <= dead
    assert len(dead - thai) < 60  # the special token, and what merging left behind
    assert corpus.name == "main.txt"
    assert corpus.context_entropy < corpus.unigram_entropy


def test_nothing_of_the_text_is_lost(texts):
    corpus = build_corpus(foreign_spec(texts))
    assert Tokenizer.from_str(corpus.tokenizer_json).decode(list(corpus.tokens)) == Path(texts["text"]).read_text(
        "utf-8"
    )


def test_the_model_may_read_another_text(texts):
    corpus = build_corpus(foreign_spec(texts, model_text=texts["model_text"]))
    same = build_corpus(foreign_spec(texts))
    assert corpus.tokenizer_json == same.tokenizer_json
    assert corpus.tokens.size < same.tokens.size
    assert corpus.name == "model.txt"
    both = build_corpus(foreign_spec(texts, model_text=texts["foreign"]))
    assert len(set(both.live_ids) - set(same.live_ids)) > 60


@pytest.mark.parametrize("limit", [2_799, 30])
def test_training_is_the_same_every_time(texts, limit):
    """With equally frequent characters at the limit too, where the library's own choice changes from run to run."""
    made = {build_corpus(foreign_spec(texts, limit_alphabet=limit)).sha256 for _ in range(3)}
    assert len(made) == 1


def test_ties_in_the_alphabet_are_broken_by_code(tmp_path):
    for name, text in (("a", "zyxwvutsrq" * 3 + "m" * 9), ("b", "ponlkjihgf" * 3 + "m" * 9)):
        (tmp_path / name).write_text(text)
    spec = ForeignText(text=str(tmp_path / "a"), foreign=str(tmp_path / "b"), vocab=6, limit_alphabet=5)
    vocab = json.loads(build_corpus(spec).tokenizer_json)["model"]["vocab"]
    assert vocab == {"<unk>": 0, "f": 1, "g": 2, "h": 3, "i": 4, "m": 5}


def test_what_the_alphabet_leaves_out_is_unknown(texts):
    corpus = build_corpus(foreign_spec(texts, limit_alphabet=15, vocab=100))
    assert corpus.counts[0] > 0
    assert build_corpus(foreign_spec(texts)).counts[0] == 0


def test_a_foreign_text_in_pieces(texts, monkeypatch):
    whole = build_corpus(foreign_spec(texts))
    monkeypatch.setattr(text_file, "_PIECE", 500)
    cut = build_corpus(foreign_spec(texts))
    assert (cut.sha256, cut.tokenizer_json) == (whole.sha256, whole.tokenizer_json)


@pytest.mark.parametrize("vocab", [5, 100_000])
def test_a_vocabulary_the_texts_do_not_give(texts, vocab):
    with pytest.raises(ConfigError, match=rf"corpus.vocab is {vocab}, the texts give a BPE of \d+ tokens, \d+ of them"):
        build_corpus(foreign_spec(texts, vocab=vocab))


@pytest.mark.parametrize(("name", "value"), [("vocab", 0), ("limit_alphabet", 0)])
def test_sizes_below_one(name, value):
    with pytest.raises(ConfigError, match=rf"corpus.{name} is 0"):
        ForeignText(**{name: value})


def test_a_negative_size():
    with pytest.raises(ConfigError, match="corpus.vocab is -1"):
        TextFile(vocab=-1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory); set corpus.text to a file"),
        (b"", "the file is empty"),
        (b"ab\ncd\xff\xfe", "not UTF-8 at byte 5, line 2 (0xff: invalid start byte); convert it to UTF-8"),
        (b"caf\xc3", "not UTF-8 at byte 3, line 1 (0xc3: unexpected end of data)"),
    ],
)
def test_texts_that_are_refused(content, said, texts, byte_level, tmp_path):
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    specs = [
        TextFile(text=str(path), tokenizer=byte_level),
        foreign_spec(texts, text=str(path)),
        foreign_spec(texts, foreign=str(path)),
        foreign_spec(texts, model_text=str(path)),
    ]
    for spec in specs:
        with pytest.raises(ConfigError) as refused:
            build_corpus(spec)
        assert f"{path}: {said.partition(';')[0]}" in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        build_corpus(specs[0])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("path", "said"), [("", "corpus.text names no file"), (".", "Is a directory"), ("a\0b", "null")]
)
def test_paths_that_name_no_file(path, said):
    with pytest.raises(ConfigError, match=said):
        build_corpus(TextFile(text=path))


@pytest.mark.parametrize("content", ["not json", "{}", '{"version": "1.0", "model": {"type": "BPE"}}', "[1]"])
def test_what_is_no_tokenizer(content, texts, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(
        ConfigError, match=r"tokenizer.json: the tokenizers library refuses it \(.+\); give a tokenizer"
    ):
        build_corpus(TextFile(text=texts["text"], tokenizer=str(path)))


def test_a_tokenizer_larger_than_the_vocabulary(texts, byte_level):
    with pytest.raises(
        ConfigError, match=r"corpus.vocab is 399, .*tokenizer.json has ids up to 399; take 0 or at least"
    ):
        build_corpus(TextFile(text=texts["text"], tokenizer=byte_level, vocab=399))


def test_a_text_of_which_the_tokenizer_knows_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("ก", "utf-8")
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigError, match="a.txt: the corpus is empty"):
        build_corpus(TextFile(text=str(tmp_path / "a.txt"), tokenizer=str(tmp_path / "tokenizer.json")))
