"""GGUF files that are cut short, damaged or lie: one clear error each, soon, and within little memory."""

import struct
import tracemalloc

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.checkpoint import Checkpoint
from forensics.checkpoint.gguf_file import MAX_HEADER_BYTES, SCALARS, read_gguf
from forensics.errors import CheckpointError, ForensicsError
from forensics.sources import open_checkpoint

STRING, ARRAY, UINT32 = 8, 9, 4
F32, Q8_0 = 0, 8


# A GGUF file by hand, field by field


def string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def entry(key, kind, value):
    return string(key) + struct.pack("<I", kind) + value


def array(kind, length, body=b""):
    return struct.pack("<IQ", kind, length) + body


def tensor(name, sizes=(4, 3), kind=F32, offset=0):
    return string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def header(entries=(), tensors=(), version=3, n_tensors=None, n_entries=None):
    counts = (len(tensors) if n_tensors is None else n_tensors, len(entries) if n_entries is None else n_entries)
    return b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(entries) + b"".join(tensors)


def whole(entries=(), tensors=(), data=bytes(256), alignment=32):
    raw = header(entries, tensors)
    return raw + bytes(-len(raw) % alignment) + data


@pytest.fixture
def read(tmp_path):
    def read_bytes(raw):
        path = tmp_path / "hostile.gguf"
        path.write_bytes(raw)
        return read_gguf(path)

    return read_bytes


@pytest.fixture
def refused(read):
    """The message of the refusal; reading up to it took no more memory than the file."""

    def refuse(raw, match):
        tracemalloc.start()
        try:
            with pytest.raises(CheckpointError, match=match) as caught:
                read(raw)
            assert tracemalloc.get_traced_memory()[1] < 200_000 + 20 * len(raw)
        finally:
            tracemalloc.stop()
        assert str(caught.value).startswith("hostile.gguf: ")
        assert len(str(caught.value)) < 400
        return caught.value

    return refuse


EMBEDDING = tensor("token_embd.weight")


def test_the_hand_made_file_is_sound(tmp_path, read):
    raw = whole([entry("general.alignment", UINT32, struct.pack("<I", 64))], [EMBEDDING], alignment=64)
    found = read(raw)
    theirs = gguf.GGUFReader(tmp_path / "hostile.gguf")
    assert found.tensors["token_embd.weight"].shape == (3, 4)
    assert found.tensors["token_embd.weight"].offset == theirs.tensors[0].data_offset


# Not a GGUF file


@pytest.mark.parametrize("raw", [b"", b"G", b"GGUF", b"GGUF" + bytes(19)])
def test_too_short(refused, raw):
    refused(raw, f"is {len(raw)} bytes long, too short")


def test_another_file(refused):
    refused(b"GGML" + bytes(60), "does not start with 'GGUF'")


@pytest.mark.parametrize("version", [0, 1, 4, 3 << 24, 2**32 - 1])
def test_another_version(refused, version):
    refused(header(version=version) + bytes(32), "GGUF version .* is not read, expected 2 or 3")


def test_a_big_endian_file_is_not_taken_for_a_little_endian_one(tmp_path):
    path = tmp_path / "big.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_tensor("token_embd.weight", np.ones((3, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=r"version 50,331,648.*big-endian"):
        open_checkpoint(path)


@pytest.mark.parametrize("raw", [b"", b"GGML" + bytes(60)])
def test_a_gguf_ending_is_held_to_it(tmp_path, raw):
    path = tmp_path / "x.gguf"
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="GGUF"):
        open_checkpoint(path)


# Cut short


def real_file(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(6)
    writer.add_embedding_length(32)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["Ġa", "b", "é", "Ċ", "<|x|>", "f"])
    writer.add_token_types([1, 1, 1, 1, 3, 6])
    writer.add_array("nested", [[1, 2], [3]])
    writer.add_float64("x", 0.5)
    values = np.random.default_rng(0).standard_normal((6, 32), dtype=np.float32)
    writer.add_tensor("token_embd.weight", values)
    q8 = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output.weight", q8, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    raw = path.read_bytes()
    head = read_gguf(path)
    return raw, min(t.offset for t in head.tensors.values()), max(t.offset + t.n_bytes for t in head.tensors.values())


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A file by the real writer: its bytes, where its data starts and where it ends."""
    return real_file(tmp_path_factory.mktemp("gguf") / "sample.gguf")


def test_every_cut_is_noticed(read, sample):
    raw, _, end = sample
    for length in range(end):
        with pytest.raises(CheckpointError):
            read(raw[:length])
    # What follows the last tensor is padding.
    assert set(read(raw[:end]).tensors) == {"token_embd.weight", "output.weight"}


# Counts and lengths that lie


@pytest.mark.parametrize("count", [3, 1000, 2**40, 2**60, 2**63, 2**64 - 1])
def test_absurd_counts_are_refused_before_anything_is_read(refused, count):
    refused(header(n_tensors=count) + bytes(32), "claims .* tensors and 0 metadata entries")
    refused(header(n_entries=count) + bytes(32), "claims 0 tensors and .* metadata entries")


@pytest.mark.parametrize("length", [300, 2**31, 2**40, 2**63, 2**64 - 1])
def test_absurd_strings_are_refused(refused, length):
    claim = struct.pack("<Q", length)
    refused(header([claim + bytes(64)]), "more bytes at byte")
    refused(header([entry("k", STRING, claim + bytes(64))]), "more bytes at byte")
    refused(header([entry("k", ARRAY, array(STRING, 1, claim + bytes(64)))]), "more bytes at byte")
    refused(header(tensors=[claim + bytes(64)]), "more bytes at byte")


@pytest.mark.parametrize("length", [300, 2**31, 2**40, 2**61, 2**63, 2**64 - 1])
@pytest.mark.parametrize("kind", [*SCALARS, STRING, ARRAY])
def test_absurd_arrays_are_refused_before_they_are_made(refused, kind, length):
    what = "bytes" if kind in SCALARS else "an array of"
    raw = header([entry("k", ARRAY, array(kind, length, bytes(64)))])
    refused(raw, rf"claims .*{what}.* at byte \d+, the file has \d+ bytes")


def test_the_header_of_a_large_file_is_bounded_too(tmp_path):
    path = tmp_path / "sparse.gguf"
    claim = entry("k", ARRAY, array(0, MAX_HEADER_BYTES))
    path.write_bytes(header([claim]))
    with path.open("r+b") as file:
        file.truncate(4 * MAX_HEADER_BYTES)  # a hole: no block of it is written
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="a header has at most 134,217,728 bytes"):
            read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [13, 99, 2**32 - 1])
def test_unknown_metadata_types(refused, kind):
    refused(header([entry("k", kind, bytes(64))]), "unknown metadata type")
    refused(header([entry("k", ARRAY, array(kind, 1, bytes(64)))]), "unknown array type")


@pytest.mark.parametrize("depth", [9, 1000, 50_000])
def test_arrays_may_not_nest_without_end(refused, depth):
    refused(header([entry("k", ARRAY, array(ARRAY, 1) * depth + array(0, 1, b"x"))]), "nested more than 8 deep")


def test_empty_arrays_and_strings_are_nothing_special(read):
    entries = [entry(f"a{i}", ARRAY, array(kind, 0)) for i, kind in enumerate((0, STRING, ARRAY))]
    metadata = read(whole([*entries, entry("", STRING, string(""))])).metadata
    assert [len(metadata[key]) for key in ("a0", "a1", "a2", "")] == [0, 0, 0, 0]


def test_a_key_given_twice(refused):
    twice = entry("k", UINT32, struct.pack("<I", 1))
    refused(header([twice, twice]) + bytes(64), "metadata key 'k' is given twice")


def test_keys_and_names_that_are_not_utf8_are_told_apart(read):
    entries = [entry(b"\xff", UINT32, bytes(4)), entry(b"\xfe", UINT32, bytes(4))]
    assert list(read(whole(entries)).metadata) == ["\\xff", "\\xfe"]


# Tensors that cannot be


def test_a_tensor_given_twice(refused):
    refused(whole(tensors=[EMBEDDING, tensor("token_embd.weight", offset=64)]), "'token_embd.weight' is given twice")


def test_tensors_that_overlap(refused):
    refused(whole(tensors=[tensor("a"), tensor("b")]), "'b' overlaps the tensor before it")
    refused(whole(tensors=[tensor("b", offset=32), tensor("a")]), "'b' overlaps the tensor before it")
    refused(whole(tensors=[tensor("a"), tensor("empty", (0,), offset=32)]), "'empty' overlaps")


@pytest.mark.parametrize("offset", [1, 31, 33])
def test_a_tensor_that_is_not_aligned(refused, offset):
    refused(whole(tensors=[tensor("a", offset=offset)]), f"'a' starts at {offset}, not a multiple of 32")


@pytest.mark.parametrize("offset", [224, 2**40, 2**63, 2**64 - 32])
def test_a_tensor_beyond_the_end(refused, offset):
    refused(whole(tensors=[tensor("a", offset=offset)]), "'a' ends at byte .*, the file has")


def test_five_dimensions(refused):
    refused(whole(tensors=[tensor("a", (1, 1, 1, 1, 1))]), "claims 5 dimensions, at most 4")
    refused(header(tensors=[string("a") + struct.pack("<I", 2**32 - 1) + bytes(64)]), "claims 4,294,967,295 dimensions")


@pytest.mark.parametrize(
    "sizes", [(2**63, 2**63), (2**64 - 1,) * 4, (4, 2**62), (2**32, 2**32), (2**33, 2**31), (2**63,)]
)
def test_sizes_that_would_overflow(refused, sizes):
    """Among them products that are 0 or small modulo 2**64."""
    refused(whole(tensors=[tensor("a", sizes)]), "'a' ends at byte .*, the file has")


@pytest.mark.parametrize("sizes", [(0, 3), (4, 0), (0, 0)])
def test_an_empty_matrix_is_no_embedding(tmp_path, sizes):
    path = tmp_path / "x.gguf"
    path.write_bytes(whole(tensors=[tensor("token_embd.weight", sizes)]))
    with pytest.raises(CheckpointError, match=f"is {sizes[1]} x {sizes[0]}.*nothing to scan"):
        open_checkpoint(path)


def test_a_number_is_read_and_is_no_matrix(read):
    assert read(whole(tensors=[tensor("a", ())])).tensors["a"].n_bytes == 4


@pytest.mark.parametrize("kind", [4, 5, 31, 36, 1000, 2**32 - 1])
def test_unknown_and_removed_tensor_types(refused, kind):
    refused(whole(tensors=[tensor("a", (32, 2), kind)]), f"'a' has unknown ggml type {kind}")


@pytest.mark.parametrize("dim", [1, 31, 33, 2**63 + 1])
def test_rows_that_are_not_whole_blocks(refused, dim):
    refused(whole(tensors=[tensor("a", (dim, 32), Q8_0)]), "rows of .* are not whole Q8_0 blocks of 32")


def alignment_of(value, kind=UINT32):
    return [entry("general.alignment", kind, value)]


@pytest.mark.parametrize("alignment", [0, 1, 3, 4, 7, 24, 33, 2**32 - 1])
def test_an_alignment_that_is_not_a_power_of_two(refused, alignment):
    raw = whole(alignment_of(struct.pack("<I", alignment)), [EMBEDDING])
    refused(raw, f"general.alignment {alignment} is not a power of two from 8")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (STRING, string("32")),
        (6, struct.pack("<f", 32)),
        (7, b"\1"),
        (11, struct.pack("<q", -32)),
        (ARRAY, array(UINT32, 1, struct.pack("<I", 32))),
        (ARRAY, array(STRING, 1, string("32" * 60))),
    ],
)
def test_an_alignment_of_another_type(refused, kind, value):
    refused(whole(alignment_of(value, kind), [EMBEDDING]), "general.alignment .* is not a power of two")


def test_an_alignment_beyond_the_file(refused):
    refused(whole(alignment_of(struct.pack("<Q", 2**40), 10), [EMBEDDING]), "'token_embd.weight' ends at byte 1,099,5")


def test_messages_do_not_carry_control_characters(refused):
    evil = "\x1b[2J\u202e" + "x" * 5000
    for raw in (
        whole(tensors=[tensor(evil), tensor(evil, offset=64)]),
        whole(tensors=[tensor(evil, kind=99)]),
        header([entry(evil, UINT32, bytes(4))] * 2) + bytes(64),
        whole(alignment_of(string(evil), STRING)),
    ):
        assert str(refused(raw, "is given twice|unknown ggml type|power of two")).isprintable()


# Metadata that lies about the vocabulary


@pytest.mark.parametrize(
    "value",
    [
        (STRING, string("many")),
        (6, struct.pack("<f", float("nan"))),
        (11, struct.pack("<q", -3)),
        (10, struct.pack("<Q", 2**64 - 1)),
        (ARRAY, array(UINT32, 2, bytes(8))),
        (7, b"\1"),
    ],
)
def test_a_config_that_lies_does_not_stop_the_scan(tmp_path, value):
    entries = [entry("general.architecture", STRING, string("llama"))]
    entries += [entry(f"llama.{key}", *value) for key in ("vocab_size", "embedding_length")]
    path = tmp_path / "x.gguf"
    path.write_bytes(whole(entries, [EMBEDDING]))
    assert open_checkpoint(path).matrix().n_rows == 3


def test_an_architecture_that_is_no_name(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(whole([entry("general.architecture", ARRAY, array(ARRAY, 1, array(UINT32, 0)))], [EMBEDDING]))
    assert open_checkpoint(path).matrix().n_rows == 3


@pytest.mark.parametrize(
    "kinds",
    [
        (ARRAY, array(5, 1, struct.pack("<i", 3))),
        (ARRAY, array(STRING, 2, string("a") * 2)),
        (ARRAY, array(6, 2, struct.pack("<ff", float("nan"), 3))),
        (STRING, string("normal")),
    ],
    ids=["too few", "strings", "floats", "a string"],
)
def test_token_types_that_do_not_fit_are_not_used(tmp_path, kinds):
    tokens = entry("tokenizer.ggml.tokens", ARRAY, array(STRING, 2, string("Ġa") * 2))
    model = entry("tokenizer.ggml.model", STRING, string("gpt2"))
    path = tmp_path / "x.gguf"
    path.write_bytes(whole([tokens, model, entry("tokenizer.ggml.token_type", *kinds)], [EMBEDDING]))
    assert open_checkpoint(path).vocabulary.text(0) == " a"


# Any damage at all


@pytest.fixture(scope="module")
def survive(tmp_path_factory):
    """Opens damaged bytes to the end; whatever is wrong must be a deliberate error."""
    path = tmp_path_factory.mktemp("fuzz") / "damaged.gguf"

    def open_bytes(raw):
        path.unlink(missing_ok=True)  # an earlier file may still be mapped
        path.write_bytes(raw)
        try:
            checkpoint = open_checkpoint(path)
        except ForensicsError:
            return False
        assert isinstance(checkpoint, Checkpoint)
        for embedding in checkpoint.matrices:
            with np.errstate(all="ignore"):  # damaged scales overflow
                embedding.values()
        if checkpoint.vocabulary is not None:
            assert all(checkpoint.vocabulary.text(i) is not None for i in range(len(checkpoint.vocabulary)))
        return True

    return open_bytes


def test_every_byte_of_the_header_damaged_in_turn(survive, sample):
    raw, data_start, _ = sample
    opened = 0
    for position in range(data_start):
        for damage in (0x01, 0x80, 0xFF):
            opened += survive(raw[:position] + bytes([raw[position] ^ damage]) + raw[position + 1 :])
    # Most of a header is text, where another letter is no damage; but not all of it.
    assert 0.2 < opened / (3 * data_start) < 0.9


@st.composite
def edits(draw):
    kind = draw(st.sampled_from(["set", "insert", "delete", "copy", "count"]))
    return kind, draw(st.floats(0, 1, exclude_max=True)), draw(st.binary(min_size=1, max_size=12))


LIES = [struct.pack("<Q", n) for n in (0, 1, 255, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)]


def apply(raw, stop, edit):
    kind, where, body = edit
    at = int(where * stop)
    if kind == "insert":
        return raw[:at] + body + raw[at:]
    if kind == "delete":
        return raw[:at] + raw[at + len(body) :]
    if kind == "copy":
        return raw[:at] + raw[body[0] : body[0] + 40] + raw[at:]
    if kind == "count":
        body = LIES[body[0] % len(LIES)]
    return raw[:at] + body + raw[at + len(body) :]


@settings(max_examples=2000)
@given(st.lists(edits(), min_size=1, max_size=4))
def test_any_edits_of_the_header(survive, sample, changes):
    raw, data_start, _ = sample
    for change in changes:
        raw = apply(raw, data_start, change)
    survive(raw)


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_any_bytes_after_the_magic(survive, body):
    survive(b"GGUF\x03\0\0\0" + body)
