"""GGUF files written by the gguf package: the same tensors, bytes, metadata and numbers as its own reader gives."""

import gguf
import ml_dtypes
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, TokenType

from forensics.checkpoint.gguf_file import read_gguf
from forensics.checkpoint.gguf_metadata import config_from_gguf
from forensics.errors import FormatError, TensorNotFoundError
from forensics.formats import BFLOAT16, FLOAT16, FLOAT32, BlockFormat
from forensics.sources import open_checkpoint

DIM = 256  # the longest block of any type
BLOCK_TYPES = [t for t, (values, _) in GGML_QUANT_SIZES.items() if values > 1]


def can(operation, *args):
    try:
        operation(*args)
    except NotImplementedError:
        return False
    return True


QUANTISED = [t for t in BLOCK_TYPES if can(gguf.quants.quantize, np.ones((1, DIM), np.float32), t)]
DEQUANTISED = [
    t for t in BLOCK_TYPES if can(gguf.quants.dequantize, np.zeros((1, DIM * GGML_QUANT_SIZES[t][1]), np.uint8), t)
]

each_quantised = pytest.mark.parametrize("kind", QUANTISED, ids=lambda t: t.name)


def write_gguf(path, tensors, describe=lambda writer: None, architecture="llama"):
    """Tensors by name: float arrays, or (uint8 rows of blocks, their type)."""
    writer = gguf.GGUFWriter(path, architecture)
    describe(writer)
    for name, tensor in tensors.items():
        array, kind = tensor if isinstance(tensor, tuple) else (tensor, None)
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def matrix(rows=12, dim=DIM, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)


def quantised(values, kind):
    return gguf.quants.quantize(values, kind), kind


def random_blocks(kind, rows=6, dim=DIM):
    values, n_bytes = GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(int(kind))
    return rng.integers(0, 256, (rows, dim // values * n_bytes), dtype=np.uint8), kind


def assert_same_as_the_package(path):
    """Tensors, offsets and bytes as gguf.GGUFReader gives them."""
    ours, theirs = read_gguf(path), gguf.GGUFReader(path)
    assert list(ours.tensors) == [t.name for t in theirs.tensors]
    for t in theirs.tensors:
        stored = ours.tensors[t.name]
        assert stored.shape == tuple(reversed(t.shape.tolist()))
        assert (stored.dtype, stored.offset, stored.n_bytes) == (t.tensor_type.name, t.data_offset, t.n_bytes)
        assert stored.map().tobytes() == t.data.tobytes()
    return ours, theirs


# Tensors


def test_every_type_that_can_be_written_is_found_where_the_package_finds_it(tmp_path):
    tensors = {
        "f32": matrix(5),
        "f16": matrix(5).astype(np.float16),
        "bf16": quantised(matrix(5), GGMLQuantizationType.BF16),
        "f64": matrix(3).astype(np.float64),
        "i8": np.arange(7, dtype=np.int8),
        "i16": np.arange(8, dtype=np.int16).reshape(2, 4),
        "i32": np.arange(24, dtype=np.int32).reshape(2, 3, 4),
        "i64": np.arange(16, dtype=np.int64).reshape(2, 2, 2, 2),
        **{t.name: random_blocks(t) for t in BLOCK_TYPES},
    }
    header, _ = assert_same_as_the_package(write_gguf(tmp_path / "all.gguf", tensors))
    assert {n: header.tensors[n].format for n in ("f32", "f16", "bf16")} == {
        "f32": FLOAT32,
        "f16": FLOAT16,
        "bf16": BFLOAT16,
    }
    assert all(header.tensors[n].format is None for n in ("f64", "i8", "i16", "i32", "i64"))
    for t in BLOCK_TYPES:
        assert header.tensors[t.name].format == BlockFormat(t.name, int(t), *GGML_QUANT_SIZES[t])


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_a_custom_alignment_moves_the_data(tmp_path, alignment):
    def describe(writer):
        writer.add_custom_alignment(alignment)

    tensors = {"token_embd.weight": matrix(3, 5), "x": matrix(1, 3), "output.weight": matrix(3, 5, seed=1)}
    header, _ = assert_same_as_the_package(write_gguf(tmp_path / "a.gguf", tensors, describe))
    assert {t.offset % alignment for t in header.tensors.values()} == {0}
    assert header.metadata["general.alignment"] == alignment


def test_a_file_without_tensors_or_metadata(tmp_path):
    path = write_gguf(tmp_path / "none.gguf", {})
    assert assert_same_as_the_package(path)[0].tensors == {}
    with pytest.raises(TensorNotFoundError, match="holds no matrix"):
        open_checkpoint(path)


def test_version_2_is_read(tmp_path):
    path = write_gguf(tmp_path / "v2.gguf", {"token_embd.weight": matrix(4)})
    raw = bytearray(path.read_bytes())
    raw[4:8] = (2).to_bytes(4, "little")
    path.write_bytes(raw)
    assert_same_as_the_package(path)


# Metadata


def test_metadata_of_every_type_is_what_was_written(tmp_path):
    scalars = {
        "uint8": 255,
        "int8": -128,
        "uint16": 65535,
        "int16": -32768,
        "uint32": 2**32 - 1,
        "int32": -(2**31),
        "float32": 0.15625,
        "uint64": 2**64 - 1,
        "int64": -(2**63),
        "float64": 1e-300,
        "bool": True,
        "string": "naïve \U0001f600 \x00 text",
    }
    arrays = {
        GGUFValueType.UINT8: [0, 255],
        GGUFValueType.INT8: [-128, 127],
        GGUFValueType.UINT16: [0, 65535],
        GGUFValueType.INT16: [-32768],
        GGUFValueType.UINT32: [0, 2**32 - 1],
        GGUFValueType.INT32: [-(2**31)],
        GGUFValueType.FLOAT32: [0.5, -2.0],
        GGUFValueType.UINT64: [2**64 - 1],
        GGUFValueType.INT64: [-(2**63)],
        GGUFValueType.FLOAT64: [1e-300],
        GGUFValueType.BOOL: [True, False, True],
        GGUFValueType.STRING: ["", "é", "\u2581the"],
    }

    def describe(writer):
        for name, value in scalars.items():
            getattr(writer, f"add_{name}")(f"s.{name}", value)
        for kind, values in arrays.items():
            writer.add_key_value(f"a.{kind.name}", values, GGUFValueType.ARRAY, sub_type=kind)

    path = write_gguf(tmp_path / "m.gguf", {"x": matrix(1, 4)}, describe)
    header, theirs = assert_same_as_the_package(path)
    for name, value in scalars.items():
        found = header.metadata[f"s.{name}"]
        assert found == value == theirs.fields[f"s.{name}"].contents()
        assert type(found) is type(value)
    for kind, values in arrays.items():
        found = header.metadata[f"a.{kind.name}"]
        if kind == GGUFValueType.STRING:
            assert found == [v.encode() for v in values]
        else:
            assert found.tolist() == values == theirs.fields[f"a.{kind.name}"].contents()
    keys = {"general.architecture", *(f"s.{n}" for n in scalars), *(f"a.{k.name}" for k in arrays)}
    assert set(header.metadata) == keys


def test_nested_arrays_keep_their_nesting(tmp_path):
    nested = [[[1, 2], [3]], [[4]]]

    def describe(writer):
        writer.add_array("nested", nested)
        writer.add_array("words", [["a", ""], ["b"]])

    header, theirs = assert_same_as_the_package(write_gguf(tmp_path / "n.gguf", {"x": matrix(1, 4)}, describe))
    assert [[inner.tolist() for inner in outer] for outer in header.metadata["nested"]] == nested
    assert header.metadata["words"] == [[b"a", b""], [b"b"]]
    assert theirs.fields["nested"].contents() == [1, 2, 3, 4]


def test_rows_and_width_come_from_the_architectures_own_keys():
    metadata = {
        "general.architecture": "gemma",
        "gemma.vocab_size": 9,
        "gemma.embedding_length": 4,
        "llama.vocab_size": 1,
        "tokenizer.ggml.tokens": [b"a"],
    }
    assert config_from_gguf(metadata) == {"model_type": "gemma", "vocab_size": 9, "hidden_size": 4}
    del metadata["gemma.vocab_size"]
    assert config_from_gguf(metadata)["vocab_size"] == 1
    assert config_from_gguf({}) == {}
    assert config_from_gguf(metadata, {"token_embd.weight"})["tie_word_embeddings"] is True
    assert "tie_word_embeddings" not in config_from_gguf(metadata, {"token_embd.weight", "output.weight"})
    encoder = {"general.architecture": "bert", "bert.attention.causal": False}
    assert "tie_word_embeddings" not in config_from_gguf(encoder, {"token_embd.weight"})


# Tokens


def tokenizer(model, pieces, kinds=None):
    def describe(writer):
        writer.add_tokenizer_model(model)
        writer.add_token_list(pieces)
        if kinds is not None:
            writer.add_token_types(kinds)

    return describe


def vocabulary_of(tmp_path, model, pieces, kinds=None):
    tensors = {"token_embd.weight": matrix(len(pieces))}
    return open_checkpoint(write_gguf(tmp_path / "t.gguf", tensors, tokenizer(model, pieces, kinds))).vocabulary


NORMAL, CONTROL, USER, BYTE = TokenType.NORMAL, TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.BYTE


def test_byte_level_tokens(tmp_path):
    pieces = ["Ġthe", "Ċ", "é", "Ã©", "<|end|>", "é", "Ġĺ", "<｜a▁b｜>", ""]
    kinds = [NORMAL, NORMAL, NORMAL, NORMAL, CONTROL, USER, NORMAL, NORMAL, NORMAL]
    vocabulary = vocabulary_of(tmp_path, "gpt2", pieces, kinds)
    shown = [" the", "\n", "<0xE9>", "é", "<|end|>", "é", " <0x98>", "<｜a▁b｜>", ""]
    assert [vocabulary.text(i) for i in range(9)] == shown
    assert vocabulary.raw_bytes(6) == b" \x98"
    assert (len(vocabulary), vocabulary.text(9), vocabulary.text(-1)) == (9, None, None)


def test_sentencepiece_tokens(tmp_path):
    pieces = ["<s>", "\u2581the", "<0x0A>", "<0xFF>", "\u2581", "Ġ", "  "]
    vocabulary = vocabulary_of(tmp_path, "llama", pieces, [CONTROL, NORMAL, BYTE, BYTE, NORMAL, NORMAL, USER])
    assert [vocabulary.text(i) for i in range(7)] == ["<s>", " the", "\n", "<0xFF>", " ", "Ġ", "  "]
    assert vocabulary.raw_bytes(3) == b"\xff"


def test_wordpiece_tokens_are_written_with_a_space_mark(tmp_path):
    vocabulary = vocabulary_of(tmp_path, "bert", ["[CLS]", "\u2581the", "ing"])
    assert [vocabulary.text(i) for i in range(3)] == ["[CLS]", " the", "ing"]


def test_tokens_of_an_unknown_spelling_are_shown_as_they_stand(tmp_path):
    vocabulary = vocabulary_of(tmp_path, "newfangled", ["\u2581the", "Ġthe"])
    assert [vocabulary.text(i) for i in range(2)] == ["\u2581the", "Ġthe"]


def test_without_token_types_every_piece_is_spelled(tmp_path):
    assert vocabulary_of(tmp_path, "gpt2", ["Ġa"]).text(0) == " a"


@pytest.mark.parametrize("model", ["gpt2", "llama", "newfangled"])
def test_a_piece_that_is_not_utf8_keeps_its_bytes(tmp_path, model):
    vocabulary = vocabulary_of(tmp_path, model, [b"\xff\x80a", b"ok"])
    assert vocabulary.raw_bytes(0) == b"\xff\x80a"
    assert vocabulary.text(0) == "<0xFF><0x80>a"
    assert vocabulary.text(1) == "ok"


def test_no_tokens_is_a_note(tmp_path):
    checkpoint = open_checkpoint(write_gguf(tmp_path / "t.gguf", {"token_embd.weight": matrix(4)}))
    assert checkpoint.vocabulary is None
    assert any("by id only" in note for note in checkpoint.notes)


def test_tokens_that_are_not_strings_are_a_note(tmp_path):
    def describe(writer):
        writer.add_array("tokenizer.ggml.tokens", [1, 2, 3, 4])

    checkpoint = open_checkpoint(write_gguf(tmp_path / "t.gguf", {"token_embd.weight": matrix(4)}, describe))
    assert checkpoint.vocabulary is None
    assert any("not an array of strings" in note for note in checkpoint.notes)


# Embeddings


def test_float_rows_are_the_words_that_were_written(tmp_path):
    values = matrix(6, 10)
    for kind, theirs in ((FLOAT32, np.float32), (FLOAT16, np.float16), (BFLOAT16, ml_dtypes.bfloat16)):
        cast = values.astype(theirs)
        tensor = (cast.view(np.uint8), GGMLQuantizationType.BF16) if kind is BFLOAT16 else cast
        path = write_gguf(tmp_path / f"{kind.name}.gguf", {"token_embd.weight": tensor})
        embedding = open_checkpoint(path).matrix()
        assert embedding.format is kind
        assert (embedding.n_rows, embedding.dim) == (6, 10)
        np.testing.assert_array_equal(embedding.words, cast.view(kind.word_dtype))
        np.testing.assert_array_equal(embedding.values(), cast.astype(np.float32))


@each_quantised
def test_quantised_rows_stand_for_the_packages_numbers(tmp_path, kind):
    blocks, _ = quantised(matrix(), kind)
    path = write_gguf(tmp_path / "q.gguf", {"token_embd.weight": (blocks, kind)})
    embedding = open_checkpoint(path).matrix("input")
    assert embedding.format == BlockFormat(kind.name, int(kind), *GGML_QUANT_SIZES[kind])
    assert (embedding.n_rows, embedding.dim, embedding.is_quantised) == (12, DIM, True)
    assert embedding.rows_bytes.tobytes() == blocks.tobytes()
    np.testing.assert_array_equal(embedding.values(), gguf.quants.dequantize(blocks, kind))
    np.testing.assert_array_equal(embedding.values(3, 5), gguf.quants.dequantize(blocks[3:5], kind))
    # Quantisation is coarse, but a wrong row, scale or order is further away than this.
    assert np.corrcoef(embedding.values().ravel(), matrix().ravel())[0, 1] > 0.65
    with pytest.raises(FormatError, match=f"{kind.name} blocks, which have no words"):
        _ = embedding.words


@pytest.mark.parametrize("kind", [t for t in DEQUANTISED if t not in QUANTISED], ids=lambda t: t.name)
def test_types_that_the_package_only_reads(tmp_path, kind):
    blocks, _ = random_blocks(kind)
    path = write_gguf(tmp_path / "q.gguf", {"token_embd.weight": (blocks, kind)})
    with np.errstate(all="ignore"):  # random scales overflow
        expected = gguf.quants.dequantize(blocks, kind)
        found = open_checkpoint(path).matrix().values()
    assert np.isfinite(expected).mean() > 0.1
    np.testing.assert_array_equal(found, expected)


def test_8_and_4_bit_blocks_by_their_definition(tmp_path):
    """ggml-common.h: a float16 scale d, then the integers q; a value is d * q, or d * (q - 8)."""
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.01, 1, (4, 2, 1)).astype(np.float16)
    q8 = rng.integers(-128, 128, (4, 2, 32), dtype=np.int8)
    q4 = rng.integers(0, 16, (4, 2, 32), dtype=np.uint8)
    eight = np.concatenate([scales.view(np.uint8), q8.view(np.uint8)], axis=2).reshape(4, 68)
    nibbles = q4[:, :, :16] | (q4[:, :, 16:] << 4)
    four = np.concatenate([scales.view(np.uint8), nibbles], axis=2).reshape(4, 36)
    tensors = {
        "token_embd.weight": (eight, GGMLQuantizationType.Q8_0),
        "output.weight": (four, GGMLQuantizationType.Q4_0),
    }
    checkpoint = open_checkpoint(write_gguf(tmp_path / "q.gguf", tensors))
    d = scales.astype(np.float32)
    np.testing.assert_array_equal(checkpoint.matrix("input").values(), (d * q8).reshape(4, 64))
    np.testing.assert_array_equal(
        checkpoint.matrix("output").values(), (d * (q4.astype(np.float32) - 8)).reshape(4, 64)
    )


def test_a_type_that_cannot_be_dequantised_opens_and_says_so(tmp_path):
    kind = next(t for t in BLOCK_TYPES if t not in DEQUANTISED)
    path = write_gguf(tmp_path / "q.gguf", {"token_embd.weight": random_blocks(kind)})
    embedding = open_checkpoint(path).matrix()
    with pytest.raises(FormatError, match=f"{kind.name} blocks cannot be turned into numbers"):
        embedding.values()


def test_integers_are_not_an_embedding(tmp_path):
    path = write_gguf(tmp_path / "i.gguf", {"token_embd.weight": np.ones((4, 32), np.int32)})
    with pytest.raises(FormatError, match="stored as I32, not as floats"):
        open_checkpoint(path)


OTHERS = {
    "output_norm.weight": np.ones(DIM, np.float32),
    "blk.0.attn_output.weight": matrix(DIM),
    "blk.0.ffn_norm.weight": np.ones(DIM, np.float32),
    "position_embd.weight": matrix(12),
    "token_types.weight": matrix(2),
    "rope_freqs.weight": np.ones(8, np.float32),
    "blk.9.nextn.embed_tokens.weight": matrix(12, seed=9),
    "blk.9.nextn.shared_head_head.weight": matrix(12, seed=8),
}


@pytest.mark.parametrize(
    ("head", "tied", "roles"),
    [
        (None, "absent", ["input"]),
        (matrix(), "identical", ["tied"]),
        (matrix(seed=5), "different", ["input", "output"]),
        (quantised(matrix(), GGMLQuantizationType.Q8_0), "different", ["input", "output"]),
    ],
    ids=["absent", "identical", "different", "other format"],
)
def test_the_head_is_held_against_the_table_by_bytes(tmp_path, head, tied, roles):
    tensors = {**OTHERS, "token_embd.weight": matrix()}
    if head is not None:
        tensors["output.weight"] = head
    checkpoint = open_checkpoint(write_gguf(tmp_path / "t.gguf", tensors, tokenizer("gpt2", list("abcdefghijkl"))))
    assert checkpoint.tied == tied
    assert [e.role for e in checkpoint.matrices] == roles
    assert checkpoint.matrix("input").tensor == "token_embd.weight"
    assert checkpoint.source.to_dict() == {"kind": "file", "location": "t.gguf", "revision": None}


def test_a_head_that_differs_in_one_bit_is_different(tmp_path):
    head = matrix()
    head.view(np.uint32)[-1, -1] ^= 1
    path = write_gguf(tmp_path / "t.gguf", {"token_embd.weight": matrix(), "output.weight": head})
    assert open_checkpoint(path).tied == "different"


def test_a_vision_projector_holds_no_token_embedding(tmp_path):
    tensors = {"v.patch_embd.weight": matrix(9), "v.position_embd.weight": matrix(9), "mm.0.weight": matrix(9)}
    with pytest.raises(TensorNotFoundError, match="no tensor is recognisably an embedding") as caught:
        open_checkpoint(write_gguf(tmp_path / "mmproj.gguf", tensors, architecture="clip"))
    assert set(caught.value.candidates) == set(tensors)


def test_a_renamed_file_is_known_by_its_content(tmp_path):
    path = write_gguf(tmp_path / "weights.bin", {"token_embd.weight": matrix()})
    assert open_checkpoint(path).matrix().n_rows == 12
