"""Against the real safetensors library: what it writes is read, and what is written it reads."""

import hashlib
import json

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

from forensics.checkpoint.safetensors_file import BITS, OutgoingTensor, read_safetensors, write_safetensors
from forensics.embedding import Source
from forensics.errors import CheckpointError, FormatError
from forensics.formats import FORMATS

SOURCE = Source("file", "x.safetensors")
NUMPY = {
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
    "float32": np.float32,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}


def raw_bytes(tensor):
    """The stored bytes of a torch tensor."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def random_tensor(shape, dtype, seed=0):
    """Any bits at all."""
    generator = torch.Generator().manual_seed(seed)
    size = int(np.prod(shape)) * dtype.itemsize
    return torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator).view(dtype).reshape(shape)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.safetensors"


# Files of the real library


def test_what_torch_saves_is_read(path):
    dtypes = [torch.bfloat16, torch.float16, torch.float32, torch.float8_e4m3fn, torch.float8_e5m2]
    tensors = {f"t{i}": random_tensor((4 + i, 6), dtype, i) for i, dtype in enumerate(dtypes)}
    tensors["model.embed_tokens.weight"] = random_tensor((10, 8), torch.bfloat16, 9)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    read = read_safetensors(path)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        stored = read[name]
        fmt = FORMATS[str(tensor.dtype).removeprefix("torch.")]
        assert (stored.name, stored.shape, stored.format) == (name, tuple(tensor.shape), fmt)
        assert stored.map().tobytes() == raw_bytes(tensor)
        embedding = stored.embedding("input", SOURCE)
        assert (embedding.tensor, embedding.role, embedding.source) == (name, "input", SOURCE)
        assert embedding.sha256 == hashlib.sha256(raw_bytes(tensor)).hexdigest()
        np.testing.assert_array_equal(embedding.values(), tensor.float().numpy())


def test_tensors_of_every_kind_are_listed_whatever_they_hold(path):
    kinds = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float64, torch.complex64]
    tensors = {str(kind): torch.ones((3, 2), dtype=kind) for kind in kinds}
    tensors |= {"scalar": torch.tensor(2.5), "vector": torch.arange(5.0), "none": torch.ones((0, 4))}
    safetensors.torch.save_file(tensors, path)
    read = read_safetensors(path)
    for name, tensor in tensors.items():
        assert read[name].shape == tuple(tensor.shape)
        assert read[name].map().tobytes() == raw_bytes(tensor)
    assert str(read["vector"]) == "vector [5] F32"
    assert {str(kind): read[str(kind)].format for kind in kinds} == dict.fromkeys(map(str, kinds))


def test_what_numpy_saves_is_read(path):
    rng = np.random.default_rng(1)
    arrays = {f"a{i}": rng.normal(size=(3, 5)).astype(t) for i, t in enumerate((np.float16, np.float32, np.float64))}
    safetensors.numpy.save_file(arrays, path)
    read = read_safetensors(path)
    assert {name: read[name].map().tobytes() for name in read} == {n: a.tobytes() for n, a in arrays.items()}


def test_names_and_metadata_of_any_script_are_read(path):
    tensors = {"слой.вес 日本 🦙": torch.ones((1, 2)), "\n\"'\\": torch.zeros((1, 2)), "": torch.ones((1, 1))}
    safetensors.torch.save_file(tensors, path, metadata={"ключ": "знач 🦙"})
    assert read_safetensors(path).keys() == tensors.keys()


def test_an_empty_file_of_the_library_holds_nothing(path):
    safetensors.torch.save_file({}, path)
    assert read_safetensors(path) == {}


def test_the_known_codes_are_those_of_the_library(path):
    for code, bits in BITS.items():
        text = json.dumps({"x": {"dtype": code, "shape": [8], "data_offsets": [0, bits]}}).encode()
        whole = len(text).to_bytes(8, "little") + text + bytes(bits)
        path.write_bytes(whole)
        ((_, entry),) = safetensors.deserialize(whole)
        assert entry["dtype"] == code
        assert read_safetensors(path)["x"].n_bytes == len(entry["data"]) == bits


def test_the_rows_are_mapped_and_cannot_be_written_to(path):
    safetensors.torch.save_file({"w": random_tensor((4, 3), torch.bfloat16)}, path)
    rows = read_safetensors(path)["w"].embedding("input", SOURCE).rows_bytes
    assert not rows.flags.writeable
    assert type(rows) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        rows[0, 0] = 1


# A tensor that is no embedding


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 4), (1,) * 60])
def test_what_is_not_a_matrix_is_refused(path, shape):
    safetensors.torch.save_file({"w": torch.ones(shape)}, path)
    with pytest.raises(CheckpointError, match=r"^x.safetensors: tensor 'w' has shape \[.*an embedding is a matrix"):
        read_safetensors(path)["w"].embedding("input", SOURCE)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_an_empty_matrix_is_refused(path, shape):
    safetensors.torch.save_file({"w": torch.ones(shape)}, path)
    stored = read_safetensors(path)["w"]
    assert stored.map().tobytes() == b""
    with pytest.raises(CheckpointError, match=f"tensor 'w' is {shape[0]} x {shape[1]}; there is nothing to scan"):
        stored.embedding("input", SOURCE)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float64, torch.int64])
def test_numbers_that_are_no_embeddings_are_refused(path, dtype):
    safetensors.torch.save_file({"w": torch.ones((2, 3), dtype=dtype)}, path)
    with pytest.raises(FormatError, match="tensor 'w' is stored as .*, not as floats"):
        read_safetensors(path)["w"].embedding("input", SOURCE)


def test_a_file_that_shrank_since_its_header_was_read_is_refused(path):
    safetensors.torch.save_file({"w": torch.ones((2000, 300))}, path)
    stored = read_safetensors(path)["w"]
    with path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(CheckpointError, match="x.safetensors: tensor 'w' cannot be read"):
        stored.embedding("input", SOURCE)


# Files of our writer


def outgoing(name, array, pieces=1):
    code = {f.name: f.stored_as for f in FORMATS.values()} | {"int64": "I64", "uint8": "U8", "bool": "BOOL"}
    return OutgoingTensor(name, code[array.dtype.name], array.shape, np.array_split(array, pieces))


def some_arrays():
    rng = np.random.default_rng(6)
    arrays = {name: rng.normal(size=(7, 5)).astype(dtype) for name, dtype in NUMPY.items()}
    arrays |= {"odd": rng.integers(0, 9, (3, 1)).astype(np.uint8), "long": np.arange(4), "none": np.ones((0, 2), "f4")}
    return arrays


def test_what_is_written_the_library_reads(path):
    arrays = some_arrays()
    write_safetensors(path, [outgoing(n, a, pieces=3) for n, a in arrays.items()], {"made by": "test"})
    entries = dict(safetensors.deserialize(path.read_bytes()))
    assert entries.keys() == arrays.keys()
    for name, array in arrays.items():
        assert tuple(entries[name]["shape"]) == array.shape
        assert bytes(entries[name]["data"]) == array.tobytes()
    with safetensors.safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(arrays)
        assert file.metadata() == {"made by": "test"}
        for name in NUMPY:
            assert raw_bytes(file.get_tensor(name)) == arrays[name].tobytes()
            assert str(file.get_tensor(name).dtype) == f"torch.{name}"


def test_what_is_written_is_read_back(path):
    arrays = some_arrays()
    write_safetensors(path, [outgoing(n, a) for n, a in arrays.items()])
    read = read_safetensors(path)
    assert {n: (s.shape, s.map().tobytes()) for n, s in read.items()} == {
        n: (a.shape, a.tobytes()) for n, a in arrays.items()
    }


def test_every_tensor_is_aligned_to_its_element(path):
    write_safetensors(path, [outgoing(n, a) for n, a in some_arrays().items()])
    for stored in read_safetensors(path).values():
        assert stored.offset % max(1, BITS[stored.dtype] // 8) == 0


def test_the_same_tensors_give_the_same_bytes_in_any_order_and_any_pieces(path, tmp_path):
    arrays = some_arrays()
    write_safetensors(path, [outgoing(n, a) for n, a in arrays.items()], {"b": "2", "a": "1"})
    other = tmp_path / "y.safetensors"
    tensors = (outgoing(n, arrays[n], pieces=4) for n in reversed(arrays))
    write_safetensors(other, tensors, {"a": "1", "b": "2"})
    assert other.read_bytes() == path.read_bytes()


def test_the_layout_is_that_of_the_library(path, tmp_path):
    arrays = {"b": np.ones((2, 2), np.float32), "a": np.ones((3, 2), np.float16), "c": np.zeros((1, 4), np.float32)}
    write_safetensors(path, [outgoing(n, a) for n, a in arrays.items()])
    theirs = tmp_path / "theirs.safetensors"
    safetensors.numpy.save_file(arrays, theirs)
    assert path.read_bytes() == theirs.read_bytes()


def test_no_tensors_are_a_valid_file(path):
    write_safetensors(path, [])
    assert safetensors.deserialize(path.read_bytes()) == []
    assert read_safetensors(path) == {}


def failing_pieces():
    yield np.ones((1, 4), np.float32)
    raise RuntimeError("the source of the rows broke off")


@pytest.mark.parametrize("before", [None, b"an older file"])
def test_the_file_is_whole_or_as_it_was_when_a_piece_cannot_be_had(path, before):
    if before:
        path.write_bytes(before)
    with pytest.raises(RuntimeError, match="broke off"):
        write_safetensors(path, [OutgoingTensor("w", "F32", (2, 4), failing_pieces())])
    left = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert left == ({"x.safetensors": before} if before else {})


@pytest.mark.parametrize("rows", [1, 3])
def test_pieces_that_do_not_add_up_are_refused_and_leave_nothing(path, rows):
    with pytest.raises(CheckpointError, match=f"tensor 'w': 32 bytes expected, {16 * rows} given"):
        write_safetensors(path, [OutgoingTensor("w", "F32", (2, 4), [np.ones((rows, 4), np.float32)])])
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("names", [("w", "w"), ("__metadata__", "w")])
def test_names_that_no_file_can_hold_are_refused(path, names):
    with pytest.raises(CheckpointError, match=f"tensor name '{names[0]}'"):
        write_safetensors(path, [outgoing(n, np.ones((1, 1), np.float32)) for n in names])
    assert list(path.parent.iterdir()) == []


def test_strided_pieces_are_written_as_rows(path):
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    write_safetensors(path, [OutgoingTensor("w", "F32", (6, 4), [array.T[:3], array.T[3:]])])
    assert read_safetensors(path)["w"].map().tobytes() == np.ascontiguousarray(array.T).tobytes()
