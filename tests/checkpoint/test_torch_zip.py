"""Files that torch.save writes: what is read back is what torch holds, and the storages stay on disk."""

import io
import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from forensics.checkpoint.torch_globals import GLOBALS, ITEMSIZE
from forensics.checkpoint.torch_zip import read_torch_zip
from forensics.embedding import Source
from forensics.errors import CheckpointError, FormatError
from forensics.formats import FORMATS

SOURCE = Source("file", "model.pt")


@pytest.fixture
def saved(tmp_path):
    def save(contents, **options):
        path = tmp_path / "model.pt"
        torch.save(contents, path, **options)
        return read_torch_zip(path)

    return save


def raw_bytes(tensor):
    """The bytes of a tensor's elements in row-major order, by torch alone."""
    fresh = tensor.detach().clone(memory_format=torch.contiguous_format).untyped_storage()
    return torch.empty(0, dtype=torch.uint8).set_(fresh).numpy().tobytes()


def random_tensor(name, *shape, seed=0):
    """Any bits at all; a bool holds 0 or 1."""
    dtype = getattr(torch, name)
    n_bytes = int(np.prod(shape, dtype=int)) * dtype.itemsize
    stored = np.random.default_rng(seed).integers(0, 2 if name == "bool" else 256, n_bytes, dtype=np.uint8)
    return torch.empty(0, dtype=dtype).set_(torch.from_numpy(stored).untyped_storage()).reshape(shape)


def flat(node, prefix=""):
    """The reference for names: what a person would write."""
    for key, value in node.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, torch.Tensor):
            yield prefix + key, value
        elif isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")


def assert_holds(tensors, contents):
    expected = dict(flat(contents))
    assert list(tensors) == list(expected)
    for name, tensor in expected.items():
        assert tensors[name].shape == tuple(tensor.shape)
        assert tensors[name].map().tobytes() == raw_bytes(tensor), name


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
def test_the_words_of_every_float_format_come_back(fmt, saved):
    weight = random_tensor(fmt.name, 7, 5)
    [(name, tensor)] = saved({"embed.weight": weight}).items()
    assert (name, tensor.dtype, tensor.format, tensor.shape) == ("embed.weight", fmt.stored_as, fmt, (7, 5))
    embedding = tensor.embedding("input", SOURCE)
    assert embedding.words.tobytes() == raw_bytes(weight)
    np.testing.assert_array_equal(embedding.values(), weight.float().numpy())


@pytest.mark.parametrize("name", ITEMSIZE)
def test_every_other_number_type_is_listed_by_its_torch_name(name, saved):
    contents = {"x": random_tensor(name, 3, 4)}
    tensors = saved(contents)
    assert_holds(tensors, contents)
    assert ITEMSIZE[name] == getattr(torch, name).itemsize
    assert tensors["x"].dtype == (FORMATS[name].stored_as if name in FORMATS else name)
    assert tensors["x"].format == FORMATS.get(name)


def test_nothing_is_let_through_that_torch_itself_refuses():
    from torch._weights_only_unpickler import _get_allowed_globals

    torch_knows = set(_get_allowed_globals())
    ours = {name.replace(" ", ".").replace("__builtin__", "builtins") for name in GLOBALS}
    assert len(ours) > 30
    assert ours <= torch_knows


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 11, bias=False)
        self.register_buffer("mask", torch.ones(3, dtype=torch.bool))


def test_a_state_dict(saved):
    contents = Small().state_dict()
    tensors = saved(contents)
    assert_holds(tensors, contents)
    assert {"embed.weight", "head.weight", "mask", "norm.num_batches_tracked"} <= set(tensors)


def test_parameters_buffers_and_tensors_with_attributes(saved):
    tagged, parameter = torch.ones(2, 3), nn.Parameter(torch.full((2, 2), 5.0))
    tagged.note, parameter.note = "a", {"b": [1]}
    contents = {"plain": nn.Parameter(torch.eye(3)), "p": parameter, "t": tagged, "b": nn.Buffer(torch.ones(4))}
    contents["f8"] = nn.Parameter(torch.ones(2, 2).to(torch.float8_e5m2), requires_grad=False)
    assert_holds(saved(contents), contents)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "module"])
def test_a_wrapping_key_is_kept_as_prefix(wrapper, saved):
    contents = {wrapper: Small().state_dict(), "epoch": 3}
    tensors = saved(contents)
    assert_holds(tensors, contents)
    assert f"{wrapper}.embed.weight" in tensors


def test_a_training_checkpoint(saved):
    model = Small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.head(model.embed(torch.tensor([1, 2]))).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 20])
    contents = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "step": 3, "big": 1 << 90, "negative": -70_000, "loss": 0.25, "best": None, "done": False, "name": "tiny",
        "history": [1, 2.5, "x", None, (1, 2), [torch.ones(2)], {"y": torch.ones(2)}],
        "shape": torch.Size([2, 3]), "device": torch.device("cpu"), "dtype": torch.bfloat16, "layout": torch.strided,
        "tokens": {1, 2}, "raw": b"abc", "rng": torch.get_rng_state(), 7: torch.ones(3), (1, 2): torch.ones(2),
        "storage": torch.ones(3).untyped_storage(),
    }  # fmt: skip
    tensors = saved(contents)
    assert_holds(tensors, contents)
    assert "rng" in tensors
    # Moments lie under whole numbers and are no state dict; tensors in lists have no name.
    assert all(name.startswith("model.") or name == "rng" for name in tensors)


def test_a_bare_tensor_is_named_tensor(saved):
    assert saved(torch.arange(6.0).reshape(2, 3))["tensor"].map().view(np.float32).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("contents", [{}, [], [torch.ones(2)], 5, None, "text"], ids=repr)
def test_a_file_without_named_tensors_is_empty(contents, saved):
    assert saved(contents) == {}


def test_tied_weights_are_one_byte_range(saved):
    model = Small()
    model.head.weight = model.embed.weight
    tensors = saved(model.state_dict())
    one, other = tensors["embed.weight"], tensors["head.weight"]
    assert (one.offset, one.n_bytes) == (other.offset, other.n_bytes)
    assert one.map().tobytes() == raw_bytes(model.embed.weight)


def test_rows_of_a_larger_storage_begin_at_their_offset(saved):
    whole = random_tensor("bfloat16", 10, 4)
    contents = {"whole": whole, "some": whole[3:7], "last": whole[9], "none": whole[10:]}
    tensors = saved(contents)
    assert_holds(tensors, contents)
    assert tensors["some"].offset == tensors["whole"].offset + 3 * 4 * 2


def test_an_empty_view_may_begin_beyond_its_storage(saved):
    view = torch.ones(2, 3)[2:, 3:]
    assert view.storage_offset() == 9
    assert saved({"w": view})["w"].map().nbytes == 0


def test_a_storage_seen_as_two_types(saved):
    whole = random_tensor("float8_e4m3fn", 4, 4)
    contents = {"as f8": whole, "as bytes": whole.view(torch.uint8), "as e5m2": whole.view(torch.float8_e5m2)}
    tensors = saved(contents)
    assert_holds(tensors, contents)
    assert len({tensor.offset for tensor in tensors.values()}) == 1


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.t(),
        lambda x: x[:, :2],
        lambda x: x[::2],
        lambda x: x[:, 0],
        lambda x: x[:1].expand(5, 4),
        lambda x: x.permute(1, 0)[1:3],
    ],
)
def test_a_view_out_of_order_is_listed_but_no_embedding(view, saved):
    base = random_tensor("bfloat16", 6, 4)
    viewed = view(base)
    assert not viewed.is_contiguous()
    tensor = saved({"w": viewed})["w"]
    assert (tensor.shape, tensor.dtype, tensor.format) == (tuple(viewed.shape), "BF16 (strided)", None)
    assert tensor.n_bytes <= base.nbytes
    if len(tensor.shape) == 2:
        with pytest.raises(FormatError, match=r"is stored as BF16 \(strided\)"):
            tensor.embedding("input", SOURCE)


@pytest.mark.parametrize(("shape", "stride"), [
    ((1, 4), (99, 1)), ((4, 1), (1, 99)), ((1, 1), (0, 7)), ((), ()), ((0, 4), (1, 9)), ((4, 0), (5, 5)), ((4,), (1,)),
])  # fmt: skip
def test_strides_of_single_and_absent_elements_say_nothing(shape, stride, saved):
    tensor = torch.as_strided(random_tensor("float16", 400), shape, stride, 2)
    assert tensor.is_contiguous()
    contents = {"w": tensor}
    tensors = saved(contents)
    assert_holds(tensors, contents)
    assert tensors["w"].dtype == "F16"


@pytest.mark.parametrize("lazy", [lambda x: x.conj(), lambda x: x.conj().imag])
def test_values_that_are_not_the_stored_ones_are_not_read(lazy, saved):
    tensor = saved({"w": lazy(torch.ones(3, 1, dtype=torch.complex64))})["w"]
    assert tensor.format is None
    assert tensor.dtype.endswith("(negated or conjugated)")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_that_torch_can_be_asked_for(protocol, saved):
    contents = {"model": Small().state_dict(), "f8": random_tensor("float8_e5m2", 3, 3), "bytes": b"x", "set": {1}}
    assert_holds(saved(contents, pickle_protocol=protocol), contents)


def test_a_long_name_and_many_tensors(saved):
    # More than 256 objects, and a text past 255 bytes, take the wider opcodes.
    contents = {f"layers.{i}.weight": torch.full((2,), float(i)) for i in range(300)} | {"n" * 400: torch.ones(1)}
    for protocol in (2, 4):
        assert_holds(saved(contents, pickle_protocol=protocol), contents)


def test_the_file_may_come_from_a_stream_or_have_any_name(tmp_path):
    stream = io.BytesIO()
    torch.save({"w": torch.ones(2)}, stream)
    for name in ("pytorch_model.bin", "día 中.pth", "no suffix"):
        (tmp_path / name).write_bytes(stream.getvalue())
        assert read_torch_zip(tmp_path / name)["w"].map().view(np.float32).tolist() == [1, 1]
        torch.save({"w": torch.zeros(2)}, tmp_path / name)
        assert read_torch_zip(tmp_path / name)["w"].map().view(np.float32).tolist() == [0, 0]


def test_without_checksums(saved):
    torch.serialization.set_crc32_options(False)
    try:
        assert_holds(saved({"w": torch.ones(2)}), {"w": torch.ones(2)})
    finally:
        torch.serialization.set_crc32_options(True)


def test_with_another_alignment(saved):
    config = torch.utils.serialization.config.save
    before, config.storage_alignment = config.storage_alignment, 4096
    try:
        contents = {"a": torch.ones(2), "b": torch.ones(3)}
        tensors = saved(contents)
    finally:
        config.storage_alignment = before
    assert_holds(tensors, contents)
    assert {tensor.offset % 4096 for tensor in tensors.values()} == {0}


def bytes_read():
    counters = Path("/proc/self/io")
    if not counters.exists():
        pytest.skip("this system does not count what a process reads")
    return int(dict(line.split(": ") for line in counters.read_text().splitlines())["rchar"])


def test_opening_a_large_file_reads_only_its_description(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({f"layers.{i}": torch.zeros(25 << 20, dtype=torch.bfloat16) for i in range(4)}, path)
    try:
        assert path.stat().st_size > 200 << 20
        tracemalloc.start()
        before = bytes_read()
        tensors = read_torch_zip(path)
        mapped = [tensor.map() for tensor in tensors.values()]
        read, (_, peak) = bytes_read() - before, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(m.nbytes for m in mapped) == 200 << 20
        assert read < 20_000
        assert peak < 1_000_000
    finally:
        path.unlink()


names = st.text(st.characters(codec="utf-8", exclude_characters="."), max_size=6)
leaves = st.one_of(
    st.none(), st.integers(), st.floats(), names, st.lists(st.integers(), max_size=3),
    st.tuples(st.sampled_from(sorted(ITEMSIZE)), st.lists(st.integers(0, 3), max_size=3)).map(
        lambda t: random_tensor(t[0], *t[1])
    ),
)  # fmt: skip
nested = st.recursive(
    leaves, lambda inner: st.dictionaries(st.one_of(names, st.integers(0, 3)), inner, max_size=4), max_leaves=12
)


@settings(max_examples=100)
@given(st.dictionaries(names, nested, max_size=5))
def test_any_nest_of_dictionaries_reads_as_torch_wrote_it(tmp_path_factory, contents):
    path = tmp_path_factory.getbasetemp() / "nested.pt"
    torch.save(contents, path)
    assert_holds(read_torch_zip(path), contents)


def test_two_paths_to_one_name_are_refused(saved):
    with pytest.raises(CheckpointError, match=r"tensor 'a\.b' is named twice"):
        saved({"a": {"b": torch.ones(1)}, "a.b": torch.ones(1)})


def test_ranges_of_different_storages_are_apart(saved):
    tensors = saved({f"t{i}": torch.ones(i) for i in range(1, 40)})
    ranges = sorted((tensor.offset, tensor.offset + tensor.n_bytes) for tensor in tensors.values())
    assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(ranges))
