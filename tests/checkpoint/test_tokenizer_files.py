"""Tokenizer files of the tokenizers library, and of the layouts before it: every id's text, and every damage."""

import base64
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from forensics.checkpoint.gguf_metadata import vocabulary_from_gguf
from forensics.checkpoint.tokenizer_files import MAX_TOKEN_ID, find_vocabulary, from_pairs
from forensics.errors import CheckpointError
from forensics.scanning import scan
from forensics.sources import open_checkpoint
from forensics.vocabulary.pieces import byte_level_alphabet


def write_json(folder, vocab, added=(), **document):
    document |= {"model": {"vocab": vocab}, "added_tokens": list(added)}
    (folder / "tokenizer.json").write_text(json.dumps(document))


CORPUS = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox doesn't.",
    "naïve café façade Ünïcödé \U0001f600\U0001f680 日本語 русский текст  two  spaces\ttab\nline",
    "def f(x):\n    return x ** 2  # squares\n",
] * 3


@pytest.fixture
def tokenizers():
    return pytest.importorskip("tokenizers")


def byte_level(t):
    tokenizer = t.Tokenizer(t.models.BPE())
    tokenizer.pre_tokenizer = t.pre_tokenizers.Sequence(
        [t.pre_tokenizers.Digits(individual_digits=True), t.pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = t.decoders.ByteLevel()
    alphabet = t.pre_tokenizers.ByteLevel.alphabet()
    trainer = t.trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["<｜begin▁of▁text｜>"])
    tokenizer.add_tokens(["two words"])
    return tokenizer


def unigram(t):
    tokenizer = t.Tokenizer(t.models.Unigram())
    tokenizer.normalizer = t.normalizers.NFKC()
    tokenizer.pre_tokenizer = t.pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = t.decoders.Metaspace(prepend_scheme="never")
    trainer = t.trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens(["x▁y"])
    return tokenizer


def wordpiece(t):
    tokenizer = t.Tokenizer(t.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = t.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = t.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = t.decoders.WordPiece(cleanup=False)
    trainer = t.trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=["[PAD]", "[UNK]", "[CLS]"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_fallback(t):
    """As in Llama 2: characters that the vocabulary lacks fall back to bytes."""
    vocab = {"<unk>": 0, "<s>": 1} | {f"<0x{b:02X}>": b + 2 for b in range(256)}
    for piece in ["▁", "t", "h", "e", "▁t", "▁th", "▁the", "he", "é", "▁▁"]:
        vocab[piece] = len(vocab)
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("h", "e"), ("▁", "▁")]
    tokenizer = t.Tokenizer(t.models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = t.normalizers.Replace(" ", "▁")
    tokenizer.decoder = t.decoders.Sequence(
        [t.decoders.Replace("▁", " "), t.decoders.ByteFallback(), t.decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<s>", "<|im_start|>"])
    tokenizer.add_tokens([t.AddedToken("▁▁▁", normalized=False)])
    return tokenizer


KINDS = {
    "byte-level": (byte_level, "byte-level"),
    "unigram": (unigram, "sentencepiece"),
    "wordpiece": (wordpiece, "plain"),
    "byte fallback": (byte_fallback, "sentencepiece"),
}


@pytest.mark.parametrize(("make", "spelling"), KINDS.values(), ids=KINDS)
def test_every_token_reads_as_the_library_decodes_it(tokenizers, tmp_path, make, spelling):
    tokenizer = make(tokenizers)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    vocabulary = find_vocabulary(tmp_path)
    assert vocabulary.spelling == spelling
    assert len(vocabulary) == tokenizer.get_vocab_size() > 50
    n_partial = 0
    for i in range(len(vocabulary)):
        assert vocabulary.pieces[i] == tokenizer.id_to_token(i)
        theirs = tokenizer.decode([i], skip_special_tokens=False)
        raw = vocabulary.raw_bytes(i)
        assert raw.decode(errors="replace") == theirs
        if "\ufffd" in theirs:  # part of a character, which the library cannot show
            n_partial += 1
            assert "<0x" in vocabulary.text(i)
        else:
            assert vocabulary.text(i) == theirs
    assert (n_partial > 100) == (spelling == "byte-level" or make is byte_fallback)


@pytest.mark.parametrize("make", [byte_level, byte_fallback], ids=["byte-level", "byte fallback"])
def test_the_bytes_of_a_texts_tokens_are_the_texts(tokenizers, tmp_path, make):
    tokenizer = make(tokenizers)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    vocabulary = find_vocabulary(tmp_path)
    for text in CORPUS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert b"".join(vocabulary.raw_bytes(i) for i in ids).decode() == text


def test_an_added_token_is_its_text(tokenizers, tmp_path):
    """The library decodes an added token's letters as if they were bytes, and loses the accent."""
    tokenizer = byte_level(tokenizers)
    tokenizer.add_tokens(["éa"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    i = tokenizer.token_to_id("éa")
    assert tokenizer.encode("éa").ids == [i]
    assert tokenizer.decode([i]) == "\ufffda"
    assert find_vocabulary(tmp_path).text(i) == "éa"


def test_an_added_token_takes_the_id_of_a_piece(tmp_path):
    write_json(tmp_path, {"Ġa": 0, "Ġb": 1}, added=[{"id": 1, "content": "Ġc"}], decoder={"type": "ByteLevel"})
    vocabulary = find_vocabulary(tmp_path)
    assert [vocabulary.text(i) for i in range(2)] == [" a", "Ġc"]
    assert vocabulary.literal == {1}


# How the pieces are spelled


@pytest.mark.parametrize(
    ("document", "spelling"),
    [
        ({"decoder": {"type": "ByteLevel"}}, "byte-level"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, "byte-level"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split"}, {"type": "ByteLevel"}]}},
            "byte-level",
        ),
        ({"decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}]}}, "sentencepiece"),
        ({"decoder": {"type": "Metaspace"}}, "sentencepiece"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}}, "plain"),
        ({"decoder": {"type": "WordPiece"}, "pre_tokenizer": None}, "plain"),
        ({}, "plain"),
    ],
)
def test_the_spelling_is_what_the_steps_say(tmp_path, document, spelling):
    write_json(tmp_path, {"a": 0}, **document)
    assert find_vocabulary(tmp_path).spelling == spelling


@pytest.mark.parametrize("model", [{"type": "Unigram"}, {"type": "BPE", "byte_fallback": True}])
def test_the_spelling_is_what_the_model_says(tmp_path, model):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {**model, "vocab": {"a": 0}}}))
    assert find_vocabulary(tmp_path).spelling == "sentencepiece"


def test_steps_that_nest_deeply(tmp_path):
    step = {"type": "ByteLevel"}
    for _ in range(300):
        step = {"type": "Sequence", "decoders": [step]}
    write_json(tmp_path, {"Ġ": 0}, decoder=step)
    assert find_vocabulary(tmp_path).text(0) == " "


# The layouts before tokenizer.json


def test_gpt2s_two_files(tokenizers, tmp_path):
    tokenizer = byte_level(tokenizers)
    tokenizer.model.save(str(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} == {"vocab.json", "merges.txt"}
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|é|>": 500}))
    vocabulary = find_vocabulary(tmp_path)
    assert vocabulary.spelling == "byte-level"
    n = tokenizer.get_vocab_size(with_added_tokens=False)
    assert 256 < n < 450
    for i in range(n):
        assert vocabulary.raw_bytes(i).decode(errors="replace") == tokenizer.decode([i], skip_special_tokens=False)
    assert [vocabulary.text(i) for i in (450, 499, 500, 501)] == [None, None, "<|é|>", None]


def test_vocab_json_alone_is_plain(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"Ġa": 0, "▁b": 2}))
    vocabulary = find_vocabulary(tmp_path)
    assert [vocabulary.text(i) for i in range(4)] == ["Ġa", None, "▁b", None]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_vocab_txt(tmp_path, end, last):
    pieces = ["[PAD]", "##s", "", " ", "\u2028", "\x0c", "é", "<0x41>"]
    (tmp_path / "vocab.txt").write_bytes((end.join(pieces) + end * last).encode())
    vocabulary = find_vocabulary(tmp_path)
    assert [vocabulary.text(i) for i in range(len(vocabulary))] == pieces


def test_an_empty_vocab_txt(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"")
    assert len(find_vocabulary(tmp_path)) == 0


def test_tiktoken_ranks(tmp_path):
    pieces = [bytes([b]) for b in range(256)] + [b" the", "é".encode(), "日本".encode()[:4], b"\n\n"]
    lines = [f"{base64.b64encode(piece).decode()} {rank}" for rank, piece in enumerate(pieces) if rank != 7]
    (tmp_path / "qwen.tiktoken").write_text("\n".join(lines) + "\n")
    vocabulary = find_vocabulary(tmp_path)
    assert len(vocabulary) == 260
    assert [vocabulary.raw_bytes(i) for i in range(260)] == [*pieces[:7], None, *pieces[8:]]
    assert [vocabulary.text(i) for i in (65, 128, 256, 257, 258, 259)] == [
        "A",
        "<0x80>",
        " the",
        "é",
        "日<0xE6>",
        "\n\n",
    ]


def test_the_newest_layout_is_taken(tmp_path):
    assert find_vocabulary(tmp_path) is None
    layouts = {
        "x.tiktoken": ("YQ== 0", "a"),
        "vocab.txt": ("b", "b"),
        "vocab.json": ('{"c": 0}', "c"),
        "tokenizer.json": ('{"model": {"vocab": {"d": 0}}}', "d"),
    }
    for name, (content, text) in layouts.items():
        (tmp_path / name).write_text(content)
        assert find_vocabulary(tmp_path).text(0) == text


# Damage: one clear error, which the caller turns into a note


def refused(folder, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        find_vocabulary(folder)
    assert len(str(caught.value)) < 300
    return caught.value


def test_ids_may_have_holes(tmp_path):
    write_json(tmp_path, {"a": 0, "b": 5}, added=[{"id": 9, "content": "c"}])
    vocabulary = find_vocabulary(tmp_path)
    assert [vocabulary.text(i) for i in range(11)] == ["a", *[None] * 4, "b", *[None] * 3, "c", None]
    assert vocabulary.raw_bytes(3) is None


BAD_IDS = [-1, 10**12, MAX_TOKEN_ID, "0", 1.0, 1e300, None, True, [1], {"a": 1}]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_an_id_that_is_no_id(tmp_path, bad):
    match = "^tokenizer: token id .* is not a whole number below 16,777,216|not a tokenizer file as expected"
    write_json(tmp_path, {"a": 0, "b": bad})
    refused(tmp_path, match)
    write_json(tmp_path, {"a": 0}, added=[{"id": bad, "content": "x"}])
    refused(tmp_path, match)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.json").write_text(json.dumps({"a": bad}))
    refused(tmp_path, match)


@pytest.mark.parametrize("piece", [None, 5, ["a"], {}, True])
def test_a_piece_that_is_no_text(tmp_path, piece):
    write_json(tmp_path, [[piece, 0.0], ["b", 0.0]])
    refused(tmp_path, r"^tokenizer: the piece of token 0 is a \w+, not text")
    write_json(tmp_path, {"a": 0}, added=[{"id": 1, "content": piece}])
    refused(tmp_path, r"^tokenizer: the piece of token 1 is a \w+, not text")


def test_an_id_given_to_two_pieces(tmp_path):
    write_json(tmp_path, {"a": 0, "b": 1, "c": 1})
    refused(tmp_path, "^tokenizer: token id 1 is given to 'b' and 'c'")
    write_json(tmp_path, {"a": 0}, added=[{"id": 1, "content": "b"}, {"id": 1, "content": "c"}])
    refused(tmp_path, "token id 1 is given to 'b' and 'c'")
    write_json(tmp_path, {"a": 0}, added=[{"id": 1, "content": "b"}, {"id": 1, "content": "b"}])
    assert find_vocabulary(tmp_path).text(1) == "b"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"model": null}',
        '{"model": []}',
        '{"model": {}}',
        '{"model": {"vocab": null}}',
        '{"model": {"vocab": 5}}',
        '{"model": {"vocab": [5]}}',
        '{"model": {"vocab": [[]]}}',
        '{"model": {"vocab": [{}]}}',
        '{"model": {"vocab": {"a": 0, "a": 1}}}',
        '{"model": {"vocab": {}}, "added_tokens": [5]}',
        '{"model": {"vocab": {}}, "added_tokens": [{}]}',
        '{"model": {"vocab": {}}, "added_tokens": {"a": 1}}',
        '{"model": {"vocab": {}}, "added_tokens": 5}',
        '{"model": {"vocab": {}}, "decoder": {"decoders": 5}}',
        "[" * 100_000,
        '{"model": {"vocab": {"a": 1' + "0" * 5000 + "}}}",
    ],
)
def test_a_tokenizer_json_of_another_shape(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    assert "tokenizer" in str(refused(tmp_path, "tokenizer"))


def test_half_a_surrogate_pair_is_no_piece(tmp_path):
    """The library refuses it too."""
    write_json(tmp_path, {"a\ud800": 0})
    refused(tmp_path, r"^tokenizer\.json: not valid JSON .*surrogates not allowed")


@pytest.mark.parametrize(
    "content",
    [
        b"YQ==",
        b"YQ== 0 1",
        b"YQ== x",
        b"YQ== -1",
        b"YQ== 1.5",
        b"YQ== \xc2\xb2",
        b"YQ== 16777216",
        b"YQ== " + b"9" * 5000,
        b"Y 0",
        b"Y!== 0",
        b"\xff\xff 0",
        b"YQ== 0\n\nYg== 1",
        b"YQ== 0\nYg== 0",
    ],
)
def test_damaged_ranks(tmp_path, content):
    (tmp_path / "x.tiktoken").write_bytes(content)
    refused(tmp_path, "tiktoken|tokenizer")


@pytest.mark.parametrize("content", [b"a\n\xff\n", b"\xed\xa0\x80", b"\xff\xfea\0"])
def test_a_vocab_txt_that_is_not_utf8(tmp_path, content):
    (tmp_path / "vocab.txt").write_bytes(content)
    refused(tmp_path, r"^vocab\.txt: not a tokenizer file as expected \(UnicodeDecodeError")


def test_a_damaged_added_tokens_json(tmp_path):
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "added_tokens.json").write_text("[]")
    refused(tmp_path, r"^added_tokens\.json: expected a JSON object")


def test_a_file_beyond_any_tokenizer(tmp_path):
    for name in ("tokenizer.json", "vocab.txt", "x.tiktoken"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2 << 30)  # a hole: no block of it is written
        refused(tmp_path, "2,147,483,648 bytes")
        (tmp_path / name).unlink()


KEYS = ["model", "vocab", "added_tokens", "content", "id", "type", "decoder", "decoders", "a"]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(ANY_JSON)
def test_any_json_at_all(tmp_path_factory, document):
    folder = tmp_path_factory.getbasetemp() / "any-json"
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(document))
    read_any(folder)
    for field in ("vocab", "added_tokens", "decoder"):
        sound = {"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": "b"}]}
        (sound if field != "vocab" else sound["model"])[field] = document
        (folder / "tokenizer.json").write_text(json.dumps(sound))
        read_any(folder)


def read_any(folder):
    try:
        vocabulary = find_vocabulary(folder)
    except CheckpointError:
        return
    for i in range(len(vocabulary)):
        assert (vocabulary.text(i) is None) == (vocabulary.pieces[i] is None)


# Against the matrix


@pytest.mark.parametrize(("rows", "beyond"), [(3, 0), (5, 0), (9, 4)])
def test_a_tokenizer_that_is_not_of_the_matrixs_size(tmp_path, rows, beyond):
    safetensors.torch.save_file({"model.embed_tokens.weight": torch.eye(rows, 4)}, tmp_path / "model.safetensors")
    write_json(tmp_path, {letter: i for i, letter in enumerate("abcde")})
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.matrix().n_rows == rows
    assert [checkpoint.vocabulary.text(i) for i in range(rows)] == [*"abcde", *[None] * 4][:rows]
    tokenizer = scan(checkpoint).to_dict()["tokenizer"]
    assert (tokenizer["tokens"], tokenizer["rows_beyond"]) == (5, beyond)


def test_from_pairs_takes_bytes_and_text():
    vocabulary = from_pairs([(b"\xff", 0), ("a", 1)], "plain")
    assert [vocabulary.text(i) for i in range(2)] == ["<0xFF>", "a"]
    assert len(from_pairs([], "plain")) == 0


# What is needed to encode


TEXTS = [*CORPUS, "x y", "<|endoftext|>", "don't  \n\n 12345 ", "e\u0301 中文"]


def same_ids(vocabulary, tokenizer):
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    return list(vocabulary.encoder().encode(TEXTS)) == expected


@pytest.mark.parametrize("make", [kind[0] for kind in KINDS.values()], ids=KINDS)
def test_a_tokenizer_json_encodes_as_the_library_does(tokenizers, tmp_path, make):
    tokenizer = make(tokenizers)
    tokenizer.save(str(tmp_path / "plain.json"))
    tokenizer.enable_truncation(max_length=2)
    tokenizer.enable_padding(length=5)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    plain = tokenizers.Tokenizer.from_file(str(tmp_path / "plain.json"))
    assert same_ids(find_vocabulary(tmp_path), plain)


def gpt2_files(tokenizers, folder):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=380, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.model.save(str(folder))
    return tokenizer


def test_gpt2s_two_files_encode(tokenizers, tmp_path):
    tokenizer = gpt2_files(tokenizers, tmp_path)
    config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": {"content": "<|endoftext|>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    vocabulary = find_vocabulary(tmp_path)
    assert vocabulary.literal == {tokenizer.token_to_id("<|endoftext|>")}
    assert same_ids(vocabulary, tokenizer)


def test_a_class_whose_pattern_is_elsewhere_has_no_encoder(tokenizers, tmp_path):
    gpt2_files(tokenizers, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    vocabulary = find_vocabulary(tmp_path)
    assert vocabulary.encoder() is None
    assert "CLIPTokenizer" in vocabulary.no_rules
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    (tmp_path / "tokenizer_config.json").unlink()
    refused(tmp_path, r"^merges\.txt: line 2 is not a pair of pieces")
    (tmp_path / "merges.txt").unlink()
    assert "no merges.txt" in find_vocabulary(tmp_path).no_rules


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_vocab_txt_encodes_by_its_settings(tokenizers, tmp_path, lowercase):
    pieces = ["[UNK]", "[MASK]", "the", "##s", "cafe", "caf\u00e9", "T", "中", "##the"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    config = {"do_lower_case": lowercase, "unk_token": "[UNK]", "mask_token": "[MASK]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    vocabulary = find_vocabulary(tmp_path)
    assert vocabulary.literal == {0, 1}
    (ids,) = vocabulary.encoder().encode(["Caf\u00e9 caf\u00e9 T thes[MASK]中"])
    assert [pieces[i] for i in ids] == [
        *(["cafe", "cafe", "[UNK]"] if lowercase else ["[UNK]", "caf\u00e9", "T"]), "the", "##s", "[MASK]", "中",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "config", [{"do_basic_tokenize": False}, {"unk_token": "?"}, {"tokenizer_class": "OtherTokenizer"}]
)
def test_a_vocab_txt_that_is_not_berts(tmp_path, config):
    (tmp_path / "vocab.txt").write_text("[UNK]\na\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    vocabulary = find_vocabulary(tmp_path)
    assert vocabulary.encoder() is None
    assert "vocab.txt" in vocabulary.no_rules


def test_ranks_encode_where_their_pattern_is_known(tokenizers, tmp_path):
    pieces = [bytes([b]) for b in range(256)] + [b"ab", b"bc", b"abc", b" ab"]
    path = tmp_path / "x.tiktoken"
    path.write_text("\n".join(f"{base64.b64encode(piece).decode()} {rank}" for rank, piece in enumerate(pieces)))
    assert find_vocabulary(tmp_path).encoder() is None
    assert "pattern" in find_vocabulary(tmp_path).no_rules
    config = {"pat_str": r"\s?\w+|.", "added_tokens_decoder": {"260": {"content": "<|end|>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    vocabulary = find_vocabulary(tmp_path)
    assert vocabulary.literal == {260}
    (ids,) = vocabulary.encoder().encode(["abc abcab<|end|>"])
    assert [vocabulary.raw_bytes(i) for i in ids] == [b"abc", b" ", b"abc", b"ab", b"<|end|>"]


# GGUF metadata


GGUF_BYTES = [letter.encode() for letter in byte_level_alphabet()]


def gguf(model, tokens, **more):
    return {"tokenizer.ggml.model": model, "tokenizer.ggml.tokens": tokens} | {
        f"tokenizer.ggml.{key}": value for key, value in more.items()
    }


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (gguf("gpt2", GGUF_BYTES, merges=[]), "pre-tokenizer 'None'"),
        (gguf("gpt2", GGUF_BYTES, merges=[], pre="newfangled"), "pre-tokenizer 'newfangled'"),
        (gguf("gpt2", GGUF_BYTES, merges=[], pre=5), "pre-tokenizer '5'"),
        (gguf("gpt2", GGUF_BYTES, pre="gpt-2"), "not an array of pairs"),
        (gguf("gpt2", GGUF_BYTES, merges=[b"a"], pre="gpt-2"), "not an array of pairs"),
        (gguf("gpt2", GGUF_BYTES, merges=[b"\xff a"], pre="gpt-2"), "not UTF-8"),
        (gguf("gpt2", [b"\xff"], merges=[], pre="gpt-2"), "not UTF-8"),
        (gguf("bert", [b"[UNK]"]), "model 'bert'"),
        (gguf("t5", [b"a"]), "model 't5'"),
        (gguf("llama", [b"a"]), "not there for every token"),
        (gguf("llama", [b"a"], scores=np.zeros(2), token_type=np.ones(1, int)), "not there for every token"),
        (gguf("llama", [b"a", b"aa", b"aaa"], scores=np.zeros(3), token_type=np.ones(3, int)), "equal score or none"),
        (gguf("llama", [b"a", b"ab"], scores=np.zeros(2), token_type=np.ones(2, int)), "no piece itself"),
    ],
)
def test_gguf_rules_that_are_not_surely_llama_cpps(metadata, reason):
    vocabulary, _ = vocabulary_from_gguf(metadata)
    assert vocabulary.encoder() is None
    assert reason in vocabulary.no_rules


def test_gguf_byte_level(tokenizers):
    merges = [b"a b", "\u0120 ab".encode(), b"1 2"]
    tokens = [*GGUF_BYTES, *(merge.replace(b" ", b"") for merge in merges), b"<|end|>"]
    kinds = np.array([1] * (len(tokens) - 1) + [3])
    for name, digits in (("gpt-2", [258]), ("smollm", [tokens.index(b"1"), tokens.index(b"2")])):
        vocabulary, _ = vocabulary_from_gguf(gguf("gpt2", tokens, merges=merges, token_type=kinds, pre=name))
        (given,) = vocabulary.encoder().encode([" abab12<|end|>"])
        assert given == [257, 256, *digits, 259]


@pytest.mark.parametrize("prefix", [True, False])
def test_gguf_by_score(tokenizers, prefix):
    tokens = ["<unk>", "\u2581", "a", "b", "ab", "\u2581a", "<0xC3>", "<0xA9>", "<|im|>"]
    scores = np.array([0, -9, -9, -9, -2, -1, 0, 0, 0], np.float32)
    kinds = np.array([2, 1, 1, 1, 1, 1, 6, 6, 4])
    metadata = gguf("llama", [t.encode() for t in tokens], scores=scores, token_type=kinds, add_space_prefix=prefix)
    vocabulary, _ = vocabulary_from_gguf(metadata)
    (given,) = vocabulary.encoder().encode(["ab\u00e9<|im|>"])
    first = ["\u2581a", "b"] if prefix else ["ab"]
    assert [tokens[i] for i in given][: len(first) + 3] == [*first, "<0xC3>", "<0xA9>", "<|im|>"]
