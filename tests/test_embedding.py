"""The meeting point: whatever goes in, its bits come out."""

import hashlib

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forensics.embedding import Embedding, Source
from forensics.errors import EmbeddingError, FormatError
from forensics.formats import BFLOAT16, FLOAT32, FORMATS, BlockFormat
from forensics.measures import Measure, Population

NUMPY = {
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
    "float32": np.float32,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
SIGNED = {8: torch.int8, 16: torch.int16, 32: torch.int32}
Q8_0 = BlockFormat("Q8_0", 8, 32, 34)

each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)


def random_words(fmt, rows=7, dim=5, seed=0):
    """Any bits at all, so nan, infinities and both zeros among them."""
    words = np.random.default_rng(seed).integers(0, 1 << fmt.bits, (rows, dim), dtype=np.uint64)
    words[0, 0], words[0, 1], words[0, 2] = 1 << (fmt.bits - 1), fmt.magnitude_mask, 0
    return words.astype(fmt.word_dtype)


def as_torch(fmt, words):
    signed = torch.from_numpy(words.view(f"i{fmt.itemsize}"))
    return signed.view(getattr(torch, fmt.name))


def assert_holds(embedding, fmt, words):
    """The embedding is exactly these words."""
    assert embedding.format is fmt
    assert (embedding.n_rows, embedding.dim) == words.shape
    assert embedding.row_bytes == words.shape[1] * fmt.itemsize
    assert embedding.n_bytes == words.nbytes
    np.testing.assert_array_equal(embedding.words, words)
    assert embedding.rows_bytes.tobytes() == words.tobytes()
    assert embedding.sha256 == hashlib.sha256(words.tobytes()).hexdigest()
    np.testing.assert_array_equal(embedding.values(), fmt.widen(words))
    assert not embedding.is_quantised
    assert embedding.float_format is fmt


# From arrays and tensors


@each_format
def test_a_numpy_or_ml_dtypes_matrix(fmt):
    words = random_words(fmt)
    assert_holds(Embedding.from_array(words.view(NUMPY[fmt.name])), fmt, words)


@each_format
def test_a_torch_matrix(fmt):
    words = random_words(fmt)
    assert_holds(Embedding.from_array(as_torch(fmt, words)), fmt, words)


@pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if f.bits > 8], ids=lambda f: f.name)
def test_a_torch_parameter_that_requires_a_gradient(fmt):
    words = random_words(fmt)
    assert_holds(Embedding.from_array(torch.nn.Parameter(as_torch(fmt, words))), fmt, words)


def test_a_subclass_of_a_torch_tensor_defined_elsewhere():
    class Wrapped(torch.Tensor):
        pass

    words = random_words(BFLOAT16)
    tensor = as_torch(BFLOAT16, words).as_subclass(Wrapped)
    assert type(tensor).__module__ != "torch"
    assert_holds(Embedding.from_array(tensor), BFLOAT16, words)


@each_format
def test_strided_reversed_and_transposed_matrices(fmt):
    words = random_words(fmt, 8, 6)
    array = words.view(NUMPY[fmt.name])
    for cut in (np.s_[::2], np.s_[:, ::3], np.s_[::-1], np.s_[1:5, 2:4]):
        assert_holds(Embedding.from_array(array[cut]), fmt, words[cut])
    assert_holds(Embedding.from_array(array.T), fmt, np.ascontiguousarray(words.T))
    tensor = as_torch(fmt, words)
    for cut in (np.s_[::2], np.s_[:, ::3], np.s_[1:5, 2:4]):
        assert_holds(Embedding.from_array(tensor[cut]), fmt, words[cut])
    assert_holds(Embedding.from_array(tensor.T), fmt, np.ascontiguousarray(words.T))


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_big_endian_numbers_are_turned_round(name):
    fmt = FORMATS[name]
    words = random_words(fmt)
    big = words.astype(fmt.word_dtype.newbyteorder(">")).view(np.dtype(NUMPY[name]).newbyteorder(">"))
    assert big.tobytes() != words.tobytes()
    assert_holds(Embedding.from_array(big), fmt, words)


def test_a_memory_mapped_matrix(tmp_path):
    words = random_words(FLOAT32, 30, 8)
    (tmp_path / "m").write_bytes(words.tobytes())
    mapped = np.memmap(tmp_path / "m", np.float32, mode="r", shape=(30, 8))
    assert_holds(Embedding.from_array(mapped), FLOAT32, words)


def test_what_was_said_about_the_matrix_is_kept():
    source = Source("planted", "healthy", "7")
    embedding = Embedding.from_array(np.ones((2, 3), np.float32), role="output", tensor="w", source=source)
    assert (embedding.role, embedding.tensor, embedding.source) == ("output", "w", source)
    assert str(source) == "synth:healthy @ 7"
    assert source.to_dict() == {"kind": "planted", "location": "healthy", "revision": "7"}
    assert repr(embedding) == "Embedding('w', 2 x 3 float32, output)"
    plain = Embedding.from_array(np.ones((2, 3), np.float32))
    assert (plain.role, str(plain.source), plain.source.kind) == ("unknown", "array", "memory")


@pytest.mark.parametrize(
    ("array", "type_name"),
    [
        (np.ones((2, 3)), "float64"),
        ([[1.0, 2.0]], "float64"),
        (np.ones((2, 3), np.int64), "int64"),
        (np.ones((2, 3), np.uint16), "uint16"),
        (np.ones((2, 3), bool), "bool"),
        (np.ones((2, 3), np.complex64), "complex64"),
        (np.array([["a"]], dtype=object), "object"),
        (np.ones((2, 3), ml_dtypes.float8_e4m3fnuz), "float8_e4m3fnuz"),
        (np.ones((2, 3), ml_dtypes.int4), "int4"),
        (torch.ones((2, 3), dtype=torch.float64), "float64"),
        (torch.ones((2, 3), dtype=torch.int16), "int16"),
        (torch.ones((2, 3), dtype=torch.uint8), "uint8"),
        (torch.nn.Embedding(2, 3), "object"),
        ("a matrix", "str"),
        (None, "object"),
    ],
    ids=lambda x: x if isinstance(x, str) else type(x).__module__,
)
def test_numbers_of_another_type_are_refused(array, type_name):
    with pytest.raises(FormatError, match=rf"w: {type_name}.* are not a stored embedding format.*known: bfloat16"):
        Embedding.from_array(array, tensor="w")


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 4)])
@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_what_is_not_a_matrix_is_refused(make, shape):
    dtype = np.float32 if make is np.ones else torch.bfloat16
    with pytest.raises(EmbeddingError, match=r"w: expected a matrix \[rows, dim\], found shape"):
        Embedding.from_array(make(shape, dtype=dtype), tensor="w")


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_an_empty_matrix_is_refused(make, shape):
    dtype = np.float16 if make is np.ones else torch.bfloat16
    with pytest.raises(EmbeddingError, match=rf"w: expected rows of numbers, found {shape[0]} rows of {shape[1]}"):
        Embedding.from_array(make(shape, dtype=dtype), tensor="w")


def test_a_tensor_without_data_is_refused():
    with pytest.raises(EmbeddingError, match=r"w: .*meta"):
        Embedding.from_array(torch.ones((2, 3), device="meta"), tensor="w")


# From models


class Tiny(torch.nn.Module):
    """What from_model asks of a transformers model."""

    def __init__(self, *, head=True):
        super().__init__()
        torch.manual_seed(1)
        self.inside = torch.nn.Embedding(11, 4, dtype=torch.bfloat16)
        self.outside = torch.nn.Linear(4, 11, bias=False) if head else None

    def get_input_embeddings(self):
        return self.inside

    def get_output_embeddings(self):
        return self.outside


def test_both_matrices_of_a_model():
    model = Tiny()
    read = Embedding.from_model(model)
    assert_holds(read, BFLOAT16, model.inside.weight.detach().view(torch.int16).numpy().view(np.uint16))
    assert (read.role, read.tensor, str(read.source)) == ("input", "input_embeddings.weight", "Tiny")
    read = Embedding.from_model(model, role="output")
    assert_holds(read, FLOAT32, model.outside.weight.detach().numpy().view(np.uint32))
    assert (read.role, read.tensor) == ("output", "output_embeddings.weight")


def test_a_model_without_an_output_matrix_is_refused():
    with pytest.raises(EmbeddingError, match="Tiny has no output embedding matrix"):
        Embedding.from_model(Tiny(head=False), role="output")


def test_a_layer_without_a_weight_is_refused():
    model = Tiny()
    model.inside = torch.nn.Identity()
    with pytest.raises(EmbeddingError, match="Tiny has no input embedding matrix"):
        Embedding.from_model(model)


# The constructor's own checks


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (np.zeros((2, 6), np.int8), r"rows are uint8\[rows, row_bytes\], found int8\[2, 6\]"),
        (np.zeros(12, np.uint8), r"rows are uint8\[rows, row_bytes\], found uint8\[12\]"),
        (np.zeros((2, 12), np.uint8)[:, ::2], "not one contiguous stretch"),
        (np.zeros((2, 7), np.uint8), "a row of 3 bfloat16 numbers is 6 bytes, found 7"),
        (np.zeros((0, 6), np.uint8), "found 0 rows of 3"),
    ],
)
def test_bytes_that_are_not_rows_are_refused(rows, complaint):
    with pytest.raises(EmbeddingError, match=complaint):
        Embedding(rows, BFLOAT16, 3, tensor="w")


def test_a_dimension_of_nothing_is_refused():
    with pytest.raises(EmbeddingError, match="found 2 rows of 0"):
        Embedding(np.zeros((2, 0), np.uint8), BFLOAT16, 0)


# Values and blocks


def test_parts_of_the_matrix():
    words = random_words(BFLOAT16, 9, 4)
    embedding = Embedding.from_array(words.view(ml_dtypes.bfloat16))
    whole = BFLOAT16.widen(words)
    np.testing.assert_array_equal(embedding.values(2, 5), whole[2:5])
    np.testing.assert_array_equal(embedding.values(7), whole[7:])
    ids = np.array([8, 0, 8, 3])
    np.testing.assert_array_equal(embedding.values_of(ids), whole[ids])
    assert embedding.values_of(ids[:0]).shape == (0, 4)


@given(rows=st.integers(1, 60), dim=st.integers(1, 9), block=st.integers(1, 200))
def test_spans_cover_the_rows_once_and_in_order(rows, dim, block):
    embedding = Embedding.from_array(np.zeros((rows, dim), np.float16))
    spans = list(embedding.spans(block_bytes=block))
    assert [i for start, stop in spans for i in range(start, stop)] == list(range(rows))
    widest = max(stop - start for start, stop in spans)
    assert widest == 1 or widest * embedding.row_bytes <= block


def test_blocks_cover_a_matrix_of_more_than_one_block():
    words = np.random.default_rng(3).integers(0, 0x7F00, (1300, 1024)).astype(np.uint16)
    embedding = Embedding.from_array(words.view(ml_dtypes.bfloat16))
    blocks = list(embedding.blocks())
    assert len(blocks) > 2
    assert [start for start, _ in blocks] == np.cumsum([0, *(len(b) for _, b in blocks[:-1])]).tolist()
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), BFLOAT16.widen(words))
    assert embedding.sha256 == hashlib.sha256(words.tobytes()).hexdigest()


def test_a_row_wider_than_a_block_is_a_block_of_its_own():
    embedding = Embedding.from_array(np.zeros((3, 40), np.float32))
    assert list(embedding.spans(block_bytes=16)) == [(0, 1), (1, 2), (2, 3)]


# Quantised matrices


def test_a_quantised_matrix_has_values_and_no_words():
    rows = np.random.default_rng(5).integers(0, 256, (4, 2 * 34), dtype=np.uint8)
    rows[:, [1, 35]] = 0x20  # a small positive scale
    embedding = Embedding(rows, Q8_0, 64, tensor="q")
    assert embedding.is_quantised
    np.testing.assert_array_equal(embedding.values(), Q8_0.dequantise(rows))
    np.testing.assert_array_equal(embedding.values(1, 3), embedding.values()[1:3])
    np.testing.assert_array_equal(embedding.values_of(np.array([3, 1])), embedding.values()[[3, 1]])
    assert embedding.sha256 == hashlib.sha256(rows.tobytes()).hexdigest()
    for attribute in ("words", "float_format"):
        with pytest.raises(FormatError, match="q is stored as Q8_0 blocks, which have no words"):
            getattr(embedding, attribute)


# The small types beside it


def test_a_measure_and_a_population_carry_what_they_need():
    measure = Measure("norm", 1.5, "value", "rest", "mean Euclidean norm")
    assert measure.to_dict() == {
        "name": "norm",
        "value": 1.5,
        "unit": "value",
        "population": "rest",
        "definition": "mean Euclidean norm",
    }
    assert len(Population("rest", "not in a hole", np.array([1, 4, 5]))) == 3


@pytest.mark.parametrize(
    ("location", "shown", "argument"),
    [
        ("org/name", "org/name @ abc", "org/name@abc"),
        ("org/name:f.gguf", "org/name:f.gguf @ abc", "org/name@abc:f.gguf"),
        ("gpt2", "gpt2 @ abc", "hf:gpt2@abc"),
    ],
)
def test_a_model_of_the_hub_is_named_with_its_commit(location, shown, argument):
    source = Source("hub", location, "abc")
    assert (str(source), source.argument) == (shown, argument)
