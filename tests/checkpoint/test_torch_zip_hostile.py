"""Files made to harm or to lie: each ends in one ForensicsError, runs nothing, and costs little memory."""

import io
import os
import pickle
import pickletools
import random
import struct
import subprocess
import tarfile
import tracemalloc
import warnings
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.checkpoint import torch_pickle, torch_zip
from forensics.checkpoint.torch_globals import PickledTensor
from forensics.checkpoint.torch_pickle import _ACTIONS, run_pickle
from forensics.checkpoint.torch_zip import read_torch_zip
from forensics.errors import CheckpointError, ForensicsError, UnsafeFileError

DATA = bytes(range(48))


def zipped(path, data_pkl, storages=None, order=b"little", **options):
    """A zip file as torch lays it out, around any pickle."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("model/data.pkl", data_pkl)
        if order is not None:
            archive.writestr("model/byteorder", order)
        for key, stored in ({"0": DATA} if storages is None else storages).items():
            archive.writestr(f"model/data/{key}", stored)
    return path


def push(value):
    """The opcodes that push a plain value."""
    return pickle.dumps(value, 2)[2:-1]


HOOKS = push(False) + b"ccollections\nOrderedDict\n)R"


def storage(kind=b"ctorch\nFloatStorage\n", key="0", n_items=12, tag="storage"):
    return b"(" + push(tag) + kind + push(key) + push("cpu") + push(n_items) + b"tQ"


def tensor(stored=None, offset=0, shape=(4, 3), stride=(3, 1), rest=HOOKS):
    arguments = push(offset) + push(shape) + push(stride) + rest
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + (stored or storage()) + arguments + b"tR"


def program(*items):
    """A dictionary of these opcodes by names a, b, c ..."""
    pairs = b"".join(push(chr(97 + i)) + item for i, item in enumerate(items))
    return b"\x80\x02}(" + pairs + b"u."


def run(body):
    return run_pickle(body, "f.pt")


def refused(body, error=CheckpointError, match=None):
    with pytest.raises(error, match=match) as caught:
        run(body)
    assert caught.value.message.startswith("f.pt: its pickle ")
    assert caught.value.hint
    return caught.value


def test_the_hand_written_file_is_sound(tmp_path):
    """Without this the refusals below could be of the frame and not of what is wrong in it."""
    tensors = read_torch_zip(zipped(tmp_path / "f.pt", program(tensor(), tensor(offset=3, shape=(3, 3)))))
    assert tensors["a"].map().tobytes() == DATA
    assert tensors["b"].map().tobytes() == DATA[12:]


# ---- code ----


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def touch(marker):
    return f"open({str(marker)!r}, 'w').close()"


def attribute_of_a_module(marker):
    system = b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(" + push("os") + b"tR" + push("system") + b"tR"
    return b"\x80\x02" + system + push((f"touch '{marker}'",)) + b"R."


CALLS = {
    "os.system": lambda m: Call(os.system, f"touch '{m}'"),
    "os.mkdir": lambda m: Call(os.mkdir, str(m)),
    "eval": lambda m: Call(eval, touch(m)),
    "exec": lambda m: Call(exec, touch(m)),
    "subprocess": lambda m: Call(subprocess.check_call, ["touch", str(m)]),
    "map": lambda m: Call(list, Call(map, exec, [touch(m)])),
    "pickle": lambda m: Call(pickle.loads, pickle.dumps(Call(exec, touch(m)), 2)),
}


def attacks(marker, protocol):
    """Pickles that each make the marker when they are unpickled."""
    yield attribute_of_a_module(marker)
    for call in CALLS.values():
        yield pickle.dumps(call(marker), protocol)
        yield pickle.dumps({"w": torch.Size([1]), "inside": [call(marker)]}, protocol)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_is_named_and_never_run(protocol, tmp_path):
    marker, n_refused = tmp_path / "marker", 0
    for body in attacks(marker, protocol):
        with pytest.raises(UnsafeFileError, match=r"names the global '[\w.]+', which no state dict needs") as caught:
            read_torch_zip(zipped(tmp_path / "f.pt", body))
        assert "convert it to safetensors" in caught.value.hint
        assert not marker.exists()
        n_refused += 1
    assert n_refused == 1 + 2 * len(CALLS)


def test_the_same_code_does_run_in_an_ordinary_unpickler(tmp_path):
    marker = tmp_path / "marker"
    for body in attacks(marker, 2):
        pickle.loads(body)
        assert marker.exists()
        marker.rmdir() if marker.is_dir() else marker.unlink()


@pytest.mark.parametrize("dotted", [
    "torch.hub load", "torch load", "torch.utils.data DataLoader", "torch.jit load", "torch.serialization load",
    "torch._utils _import_dotted_name", "torch ops", "torch.storage _load_from_bytes", "torch.nn Module",
    "torch.package PackageImporter", "torch._dynamo.guards CheckFunctionManager", "runpy run_path",
    "importlib import_module", "builtins getattr", "__builtin__ eval", "operator attrgetter", "types FunctionType",
    "marshal loads", "ctypes CDLL", "collections namedtuple", "collections defaultdict", "argparse Namespace",
    "numpy.core.multiarray _reconstruct", "pip main", "os path.join", "collections OrderedDict.fromkeys",
    "torch FloatStorage.from_file", "torch._utils _rebuild_tensor_v2.__globals__", "torch float32.__class__",
    "torch", " ", "torch._utils  _rebuild_tensor_v2", "torch\u00a0 FloatStorage", "Torch FloatStorage",
    "forensics.checkpoint.torch_pickle run_pickle", "torch.storage UntypedStorage ", "\x1b[31m x",
])  # fmt: skip
def test_any_other_global_is_refused_by_its_name(dotted):
    module, _, name = dotted.partition(" ")
    for named in (f"c{module}\n{name}\n".encode(), push(module) + push(name) + b"\x93"):
        error = refused(b"\x80\x04" + named + b")R.", UnsafeFileError, "names the global")
        assert repr(f"{module}.{name}") in error.message
        assert "\x1b" not in error.message


@pytest.mark.parametrize("parts", [push(1) + push("x"), push("x") + b"N", b"N}", push(("os",)) + push("system")])
def test_a_global_named_by_what_is_not_text(parts):
    refused(b"\x80\x04" + parts + b"\x93.", UnsafeFileError)


@pytest.mark.parametrize("code", range(256))
def test_an_opcode_that_torch_does_not_write_is_refused(code):
    """All 256: among them INST, OBJ, NEWOBJ, the extension registry, DUP, POP, PERSID, the text opcodes."""
    opcode = bytes([code])
    body = b"\x80\x02" + push("os") + push("system") + b"(" + opcode + b"\x01" * 12 + b"os\nsystem\n)R."
    if opcode in _ACTIONS or opcode == b".":
        with pytest.raises(CheckpointError):
            run(body)
    else:
        refused(body, UnsafeFileError, "uses the opcode")


def test_the_opcodes_are_those_of_pickletools():
    """Each known opcode takes as many bytes as the standard library says."""
    known = {op.code.encode("latin-1"): op for op in pickletools.opcodes}
    assert set(_ACTIONS) < set(known)
    fixed = {code: known[code].arg.n for code in _ACTIONS if known[code].arg and known[code].arg.n >= 0}
    assert len(fixed) == 10
    for code, n_bytes in fixed.items():
        machine = torch_pickle._Machine(b"\x00" * 64)
        machine.stack, machine.memo = [None], {0: None}
        _ACTIONS[code](machine)
        assert machine.position == n_bytes, known[code].name


# ---- calls and states of the wrong kind ----


@pytest.mark.parametrize("called", [
    b"ctorch\nFloatStorage\n", b"ctorch\nfloat32\n", b"ctorch\nTensor\n", b"}", b")", b"N", b"]", push("eval"),
    push(3), tensor(), storage(),
])  # fmt: skip
def test_what_is_not_a_function_is_not_called(called):
    refused(program(called + b")R"), UnsafeFileError, "calls what is not a function")


@pytest.mark.parametrize("arguments", [b"]", b"N", b"}", push("a"), push(1)])
def test_arguments_are_a_tuple(arguments):
    refused(program(b"ccollections\nOrderedDict\n" + arguments + b"R"), UnsafeFileError)


@pytest.mark.parametrize("target", [tensor(), storage(), b")", b"N", b"]", b"ctorch\nTensor\n", push("x")])
def test_no_state_is_set_but_a_state_dicts(target):
    state = push({"__class__": 1, "shape": (1,), "__setstate__": 2})
    refused(program(target + state + b"b"), UnsafeFileError, "sets the state")


def test_a_state_changes_nothing():
    evil = push({"items": 1, "__class__": 2, "w": 3})
    assert run(b"\x80\x02ccollections\nOrderedDict\n)R(" + push("w") + tensor() + b"u" + evil + b"b.")["w"].offset == 0


def rebuilt(name, *arguments):
    return b"c" + name + b"\n(" + b"".join(arguments) + b"tR"


V2, V3 = b"torch._utils\n_rebuild_tensor_v2", b"torch._utils\n_rebuild_tensor_v3"
PARAMETER, TYPED = b"torch._utils\n_rebuild_parameter", b"torch._tensor\n_rebuild_from_type_v2"
FUNCTION, PLAIN = b"c" + V2 + b"\n", b"ctorch\nTensor\n"
INNER = b"(" + storage() + push(0) + push((4, 3)) + push((3, 1)) + HOOKS + b"t"


@pytest.mark.parametrize("call", [
    rebuilt(V2), rebuilt(V2, storage()), rebuilt(V2, push(1), push(0), push((1,)), push((1,)), HOOKS),
    rebuilt(V2, tensor(), push(0), push((1,)), push((1,)), HOOKS),
    rebuilt(V2, storage(), push(0), b"]", push((1,)), HOOKS), rebuilt(V2, storage(), push(0), push("ab"), push("cd")),
    rebuilt(V2, storage(), push(0), push((4, 3)), push((3, 1)), HOOKS, b"N" * 3),
    rebuilt(V3, storage(), push(0), push((1,)), push((1,)), HOOKS, PLAIN),
    rebuilt(PARAMETER), rebuilt(PARAMETER, b"N"), rebuilt(PARAMETER, push({"a": 1})), rebuilt(PARAMETER, storage()),
    rebuilt(TYPED), rebuilt(TYPED, FUNCTION, PLAIN), rebuilt(TYPED, FUNCTION, b"N", INNER, b"}"),
    rebuilt(TYPED, PLAIN, PLAIN, INNER, b"}"), rebuilt(TYPED, FUNCTION, b"ctorch\nFloatStorage\n", INNER, b"}"),
    rebuilt(TYPED, b"ccollections\nOrderedDict\n", PLAIN, INNER, b"}"),
    rebuilt(TYPED, b"c" + TYPED + b"\n", PLAIN, b"(" + FUNCTION + PLAIN + INNER + b"}t", b"}"),
    rebuilt(b"collections\nOrderedDict", push([("w", 1)])),
    tensor(shape=(4,)), tensor(shape=(-4, 3)), tensor(stride=(-3, 1)), tensor(offset=-1), tensor(offset=None),
    tensor(shape=(True, 3)), tensor(shape=(4.0, 3)), tensor(shape=(None, 3)), tensor(shape=((4,), 3)),
    tensor(shape=(1 << 63, 3)), tensor(stride=(1 << 1000, 1)), tensor(offset=True), tensor(offset="0"),
    tensor(shape=(1,) * 65, stride=(1,) * 65), tensor(shape=4, stride=1),
])  # fmt: skip
def test_wrong_arguments_to_a_known_function(call):
    refused(program(call), match=r"at byte \d+\)")


def test_the_sound_forms_of_those_calls_are_read():
    for call in (rebuilt(PARAMETER, tensor(), HOOKS), rebuilt(TYPED, FUNCTION, PLAIN, INNER, b"}")):
        assert isinstance(run(program(call))["a"], PickledTensor)


@pytest.mark.parametrize("identity", [
    b"NQ", push("storage") + b"Q", b")Q", b"}Q", b"]Q", push(("storage",)) + b"Q",
    push(("storage", "FloatStorage", "0", "cpu", 12)) + b"Q", storage(tag="module"), storage(kind=PLAIN),
    storage(kind=b"ccollections\nOrderedDict\n"), storage(kind=b"N"), storage(key=0), storage(key=None),
    storage(n_items=-1), storage(n_items=1 << 64), storage(n_items=True), storage(n_items="12"), storage(n_items=1.5),
    storage().replace(b"tQ", b"NtQ"), storage() + storage(n_items=6), storage() + storage(b"ctorch\nIntStorage\n"),
])  # fmt: skip
def test_a_persistent_id_that_is_no_storage(identity):
    refused(program(identity), match="storage")


# ---- bombs ----


def peak_of(action):
    tracemalloc.start()
    try:
        action()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("body", [
    b"\x80\x02Nr\xff\xff\xff\x7f.", b"\x80\x02Nr\xff\xff\xff\xff.", b"\x80\x02j\xff\xff\xff\xff.",
    b"\x80\x02X\xff\xff\xff\xffab.", b"\x80\x04B\xff\xff\xff\xffab.", b"\x80\x04\x8d" + b"\xff" * 8 + b".",
    b"\x80\x04\x8e" + b"\xff" * 7 + b"\x00.", b"\x80\x05\x96\x00\x00\x00\x00\x10\x00\x00\x00.",
    b"\x80\x02\x8b\xff\xff\xff\x7f.", b"\x80\x04\x95" + b"\xff" * 8 + b"}.", b"\x80\x02\x8a\xffab.",
    b"\x80\x02" + b"(" * 50_000 + b".", b"\x80\x02" + b"}" * 20_000 + b"a.", b"\x80\x02N" + b"\x85" * 50_000 + b"Q.",
])  # fmt: skip
def test_claims_cost_nothing(body):
    def read():
        try:
            run(body)
        except CheckpointError:
            return

    assert peak_of(read) < 6_000_000


def test_a_nested_tuple_as_a_key_is_not_hashed():
    """Hashing it would overflow the C stack and end the process; both unpicklers of the library do."""
    body = b"\x80\x02})" + b"\x85" * 200_000 + b"Ns."
    assert run(body) == {}


def test_a_nested_argument_is_not_compared_or_printed():
    deep = b")" + b"\x85" * 50_000
    refused(program(tensor(shape=1, rest=deep)))
    refused(program(deep + b"Q"))
    refused(program(deep + b")R"), UnsafeFileError)
    refused(program(rebuilt(TYPED, deep, deep, deep)))


def test_a_program_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(torch_pickle, "MAX_OPCODES", 10_000)
    assert run(b"\x80\x02N" + b"q\x00" * 9_997 + b".") is None
    refused(b"\x80\x02N" + b"q\x00" * 9_998 + b".", UnsafeFileError, "does not end within 10,000 opcodes")


def test_lists_are_not_kept():
    body = b"\x80\x02]q\x00h\x00a" + b"(" + push(1.5) * 1000 + b"e."
    run(body)
    grown = b"\x80\x02]" + (b"(" + b"K\x01" * 1000 + b"e") * 100 + b"."
    assert peak_of(lambda: run(grown)) < 1_000_000


def test_dictionaries_that_unfold_without_end(tmp_path):
    """Thirty dictionaries that each hold the one before twice: 2^30 entries in a kilobyte."""
    a, b = b"X\x01\0\0\0a", b"X\x01\0\0\0b"
    one = b"}(" + a + b"h%c" + b + b"h%c" + b"uq%c"
    body = b"\x80\x02}q\x00" + b"".join(one % (i, i, i + 1) for i in range(30)) + b"."
    assert len(body) < 1000
    with pytest.raises(UnsafeFileError, match="unfold to more than 500,000 entries"):
        read_torch_zip(zipped(tmp_path / "f.pt", body))


def test_a_dictionary_in_itself(tmp_path):
    body = b"\x80\x02}q\x05X\x01\0\0\0ah\x05s."
    with pytest.raises(UnsafeFileError, match="nested over 32 deep, or contain themselves"):
        read_torch_zip(zipped(tmp_path / "f.pt", body))


def test_as_many_dictionaries_in_each_other_as_are_allowed(tmp_path):
    def nested(depth):
        return zipped(tmp_path / "f.pt", b"\x80\x02" + (b"}" + push("a")) * depth + tensor() + b"s" * depth + b".")

    assert list(read_torch_zip(nested(32))) == [".".join("a" * 32)]
    with pytest.raises(UnsafeFileError, match="nested over 32 deep"):
        read_torch_zip(nested(33))


def test_dictionaries_nested_deeper_than_the_interpreter_recurses(tmp_path):
    body = b"\x80\x02" + b"}X\x01\0\0\0a" * 20_000 + b"N" + b"s" * 20_000 + b"."
    with pytest.raises(UnsafeFileError, match="nested over 32 deep"):
        read_torch_zip(zipped(tmp_path / "f.pt", body))


def test_long_names(tmp_path):
    with pytest.raises(UnsafeFileError, match="has a name over 500 characters"):
        read_torch_zip(zipped(tmp_path / "f.pt", b"\x80\x02}" + push("n" * 501) + tensor() + b"s."))
    deep = b"\x80\x02" + b"".join(b"}" + push("n" * 300) for _ in range(2)) + tensor() + b"ss."
    with pytest.raises(UnsafeFileError, match="has a name over 500 characters"):
        read_torch_zip(zipped(tmp_path / "f.pt", deep))
    assert read_torch_zip(zipped(tmp_path / "f.pt", b"\x80\x02}" + push("n" * 501) + b"Ns.")) == {}


def test_a_key_given_twice():
    refused(b"\x80\x02}(" + (push("w") + tensor()) * 2 + b"u.", match="gives the key 'w' twice")


@pytest.mark.parametrize("body", [
    b"", b"\x80", b"\x80\x02", b"\x80\x02}", b".", b"\x80\x02.", b"(.", b"N(.", b"\x80\x02t.", b"e.", b"u.", b"s.",
    b"a.", b"R.", b"NR.", b"b.", b"Q.", b"q\x00.", b"h\x07.", b"Nh\x00.", b"c", b"cos", b"cos\n", b"ctorch\nTensor",
    b"\xff", b"}(Nu.", b"}NNu.", b")(NNu.", b"N(NNu.", b"}Na.", b"}(Ne.", b"X\x02\0\0\0\xff\xfe.", b"\x8c\x05ab.",
    b"N\x87.", b"\x93.", b"\x90.", b"J\x00.", b"G\x00.", b"\x8a.", b"\x8a\x09\x00.", b"C\x09.", b"c\xff\n\xfe\n.",
])  # fmt: skip
def test_a_broken_program(body):
    with pytest.raises(CheckpointError, match=r"f\.pt: its pickle "):
        run(body)


# ---- tensors that lie about their storage ----


@pytest.mark.parametrize(("lie", "match"), [
    (tensor(shape=(5, 3)), "of its storage, which has 48"),
    (tensor(offset=1), "ends at byte 52"),
    (tensor(stride=(4, 1)), "ends at byte 60"),
    (tensor(shape=(1 << 40, 3), stride=(3, 1)), "of its storage"),
    (tensor(shape=(1 << 62,) * 64, stride=(1 << 62,) * 64), "of its storage"),
    (tensor(shape=(1,), stride=(1,), offset=(1 << 63) - 1), "of its storage"),
    (tensor(storage(n_items=13)), "claims a storage of 52 bytes, the file has 48"),
    (tensor(storage(n_items=11), shape=(2, 3)), "claims a storage of 44 bytes"),
    (tensor(storage(n_items=(1 << 63) - 1)), "claims a storage"),
    (tensor(storage(key="1")), "zip entry 'model/data/1' is missing"),
    (tensor(storage(key="../data.pkl")), "is missing"),
    (tensor(storage(key="/etc/passwd")), "is missing"),
    (tensor(storage(key="")), "is missing"),
])  # fmt: skip
def test_a_tensor_beyond_its_storage(lie, match, tmp_path):
    with pytest.raises(CheckpointError, match=match) as caught:
        read_torch_zip(zipped(tmp_path / "f.pt", program(lie)))
    assert len(str(caught.value)) < 400


def test_an_expanded_tensor_is_huge_in_name_only(tmp_path):
    lie = tensor(shape=(1 << 40, 3), stride=(0, 1))
    listed = read_torch_zip(zipped(tmp_path / "f.pt", program(lie)))["a"]
    assert (listed.n_bytes, listed.format) == (12, None)


def test_a_storage_may_end_in_a_part_of_an_element(tmp_path):
    """torch counts whole elements; the bytes of an untyped storage need not fill the last one."""
    assert "a" in read_torch_zip(zipped(tmp_path / "f.pt", program(tensor()), {"0": DATA + b"xyz"}))


# ---- zip files that lie ----


def damage(path, old, new, where=-1):
    """Replaces the last (or that) place of ``old`` in the file."""
    raw = path.read_bytes()
    at = raw.rindex(old) if where < 0 else raw.index(old, where)
    assert len(old) == len(new)
    path.write_bytes(raw[:at] + new + raw[at + len(old) :])


@pytest.fixture
def sound(tmp_path):
    return zipped(tmp_path / "f.pt", program(tensor()))


def directory_record(path, name):
    """Where the directory's record of an entry begins."""
    return path.read_bytes().rindex(name.encode()) - 46


def overwrite(path, at, new):
    raw = bytearray(path.read_bytes())
    raw[at : at + len(new)] = new
    path.write_bytes(raw)


def test_a_compressed_file(tmp_path):
    path = zipped(tmp_path / "f.pt", program(tensor()), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="is compressed, as"):
        read_torch_zip(path)


def test_a_compressed_bomb_costs_nothing(tmp_path):
    path = zipped(tmp_path / "f.pt", b"\x80\x02" + b"}" * (64 << 20), compression=zipfile.ZIP_DEFLATED)

    def read():
        with pytest.raises(CheckpointError, match="is compressed"):
            read_torch_zip(path)

    assert peak_of(read) < 1_000_000


@pytest.mark.parametrize("name", ["model/data.pkl", "model/data/0"])
def test_stored_in_name_but_not_in_size(name, sound):
    overwrite(sound, directory_record(sound, name) + 24, struct.pack("<I", 1 << 20))
    with pytest.raises(CheckpointError, match="is compressed"):
        read_torch_zip(sound)


@pytest.mark.parametrize("name", ["model/data.pkl", "model/data/0", "model/byteorder"])
@pytest.mark.parametrize(("field", "new", "match"), [
    (0, b"PK\x03\x05", "has no local header"), (8, b"\x08\x00", "is compressed"), (30, b"x", "has another name"),
    (26, b"\x01\x00", "has another name"), (28, b"\xff\xff", "in the directory"),
])  # fmt: skip
def test_a_local_header_that_disagrees(name, field, new, match, sound):
    overwrite(sound, sound.read_bytes().index(name.encode()) - 30 + field, new)
    if (name, field) == ("model/data.pkl", 0):
        match = "is not a zip file"
    with pytest.raises(CheckpointError, match=match):
        read_torch_zip(sound)


@pytest.mark.parametrize("offset", [1, 40, 5_000, 0xFFFFFFFE])
def test_a_directory_that_points_elsewhere(offset, sound):
    overwrite(sound, directory_record(sound, "model/data/0") + 42, struct.pack("<I", offset))
    with pytest.raises(CheckpointError, match="has no local header at byte"):
        read_torch_zip(sound)


@pytest.mark.parametrize("flag", [0x01, 0x41])
def test_encrypted(flag, sound):
    overwrite(sound, directory_record(sound, "model/data/0") + 8, bytes([flag]))
    with pytest.raises(CheckpointError, match="is encrypted"):
        read_torch_zip(sound)


def test_an_entry_given_twice(tmp_path):
    path = zipped(tmp_path / "f.pt", program(tensor()))
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("model/data/0", bytes(48))
    with pytest.raises(CheckpointError, match="zip entry 'model/data/0' is there twice"):
        read_torch_zip(path)


def test_entries_that_share_bytes(tmp_path):
    """A second storage whose local header lies inside the first one's data, as in a zip bomb."""
    inner = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 8, 8, 12, 0) + b"model/data/1" + bytes(8)
    other = tensor(storage(key="1", n_items=2), shape=(2,), stride=(1,))
    large = tensor(storage(n_items=13), shape=(13,), stride=(1,))
    path = zipped(tmp_path / "f.pt", program(large, other), {"0": inner + b"\0\0", "1": bytes(8)})
    overwrite(path, directory_record(path, "model/data/1") + 42, struct.pack("<I", path.read_bytes().index(inner)))
    with pytest.raises(UnsafeFileError, match="zip entries overlap"):
        read_torch_zip(path)


def test_bytes_before_the_archive(sound):
    sound.write_bytes(b"PK\x03\x04 something else " + sound.read_bytes())
    with pytest.raises(CheckpointError, match="something put before it"):
        read_torch_zip(sound)


@pytest.mark.parametrize(("names", "count"), [((), 0), (("a/data.pkl", "b/data.pkl"), 2), (("data.pkl",), 0)])
def test_not_one_pickle(names, count, tmp_path):
    path = tmp_path / "f.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/other", b"")
        for name in names:
            archive.writestr(name, b"\x80\x02}.")
    with pytest.raises(CheckpointError, match=f"has {count} entries named data.pkl"):
        read_torch_zip(path)


def test_a_checksum_that_does_not_hold(sound):
    damage(sound, b"FloatStorage", b"ShortStorage", where=0)
    with pytest.raises(CheckpointError, match=r"'model/data.pkl' does not match its checksum"):
        read_torch_zip(sound)


@pytest.mark.parametrize("order", [b"big", b"middle", b"", b"little" * 3])
def test_another_byte_order(order, tmp_path):
    with pytest.raises(CheckpointError):
        read_torch_zip(zipped(tmp_path / "f.pt", program(tensor()), order=order))


def test_a_file_from_before_the_byte_order_was_noted(tmp_path):
    assert read_torch_zip(zipped(tmp_path / "f.pt", program(tensor()), order=None))["a"].map().tobytes() == DATA


def test_a_pickle_too_large(sound, monkeypatch):
    monkeypatch.setattr(torch_zip, "MAX_PICKLE_BYTES", 100)
    with pytest.raises(UnsafeFileError, match="expected under 100"):
        read_torch_zip(sound)


def test_a_directory_too_large_is_not_read(tmp_path):
    """A sparse file whose end says that the 64 MB before it are the directory."""
    path, size = tmp_path / "f.pt", 64 << 20
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.seek(size)
        file.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0))

    def read():
        with pytest.raises(CheckpointError, match="without a sound directory"):
            read_torch_zip(path)

    assert peak_of(read) < 1_000_000


# ---- files of another kind ----


def test_a_file_from_before_torch_1_6(tmp_path):
    path = tmp_path / "f.pt"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"torch wrote before 1\.6") as caught:
        read_torch_zip(path)
    assert caught.value.hint == "load it once with torch and save it again, or convert it to safetensors"


def test_a_tar_file(tmp_path):
    path = tmp_path / "f.pt"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO())
    with pytest.raises(CheckpointError, match="is a tar file"):
        read_torch_zip(path)


def test_torchscript(tmp_path):
    path = tmp_path / "f.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    with pytest.raises(CheckpointError, match="is a TorchScript archive"):
        read_torch_zip(path)


@pytest.mark.parametrize(("contents", "match"), [
    (b"", "is empty"), (b"PK", "not a zip file"), (b"\x80\x02}.", "not a zip file"), (bytes(10_000), "not a zip file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"), (b"<html>", "not a zip file"),
    (b"PK\x03\x04" + bytes(100), "without a sound directory"), (b"PK\x05\x06" + bytes(18), "not a zip file"),
])  # fmt: skip
def test_other_files(contents, match, tmp_path):
    path = tmp_path / "f.pt"
    path.write_bytes(contents)
    with pytest.raises(CheckpointError, match=match) as caught:
        read_torch_zip(path)
    assert caught.value.hint


def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path, tmp_path / "absent.pt"):
        with pytest.raises(CheckpointError, match=f"^{path.name}: cannot be read"):
            read_torch_zip(path)


def test_errors_name_no_folder(tmp_path, sound):
    damage(sound, b"FloatStorage", b"ShortStorage", where=0)
    with pytest.raises(CheckpointError) as caught:
        read_torch_zip(sound)
    assert str(tmp_path) not in str(caught.value)


# ---- fuzzing: whatever the bytes, a dictionary of ranges inside the file or one error ----


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A small file by torch without checksums, so that changes to its pickle are looked at."""
    path = tmp_path_factory.mktemp("fuzz") / "model.pt"
    weight = torch.arange(12.0).reshape(4, 3)
    tagged = torch.ones(2)
    tagged.note = 1
    contents = {"model": {"a": weight, "b": weight[1:]}, "f8": weight.to(torch.float8_e5m2), "t": tagged, "n": [1, 2.5]}
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(contents, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert len(read_torch_zip(path)) == 4
    return path.read_bytes()


@pytest.fixture(scope="module")
def spans(real):
    """First and last byte of the pickle, of the directory, and of the file."""
    with zipfile.ZipFile(io.BytesIO(real)) as archive:
        entry = archive.getinfo("model/data.pkl")
        n_name, n_extra = struct.unpack_from("<HH", real, 26)
        start = 30 + n_name + n_extra
        return {"pickle": (start, start + entry.file_size), "directory": (archive.start_dir, len(real))}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "model.pt"

    def read(raw):
        path.write_bytes(raw)
        try:
            tensors = read_torch_zip(path)
        except ForensicsError as error:
            assert len(str(error)) < 1000
            return None
        for tensor in tensors.values():
            assert 0 <= tensor.offset <= tensor.offset + tensor.n_bytes <= len(raw)
            assert tensor.map().nbytes == tensor.n_bytes
        return tensors

    return read


def each_bit_turned(raw, start, stop):
    for at in range(start, stop):
        for bit in range(8):
            yield raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]


def test_every_single_bit_of_the_directory(real, spans, outcome):
    results = [outcome(raw) is None for raw in each_bit_turned(real, *spans["directory"])]
    assert len(results) > 3000
    assert 0.1 < sum(results) / len(results) < 1


def flat(node, prefix=""):
    for key, value in node.items() if isinstance(node, dict) else ():
        if isinstance(key, str) and isinstance(value, torch.Tensor):
            yield prefix + key, value
        elif isinstance(key, str):
            yield from flat(value, f"{prefix}{key}.")


def torch_reads(raw):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(flat(torch.load(io.BytesIO(raw), weights_only=True)))
    except Exception:  # noqa: BLE001 - torch raises whatever it meets
        return None


def test_every_single_bit_of_the_pickle_and_torch_sees_the_same(real, spans, outcome):
    """Where a damaged pickle can still be read by both, both read the same names, shapes and bytes."""
    n_refused = n_compared = 0
    for raw in each_bit_turned(real, *spans["pickle"]):
        tensors = outcome(raw)
        expected = None if tensors is None else torch_reads(raw)
        n_refused += tensors is None
        if expected is None:
            continue
        n_compared += 1
        assert set(tensors) == set(expected)
        for name, tensor in expected.items():
            assert tensors[name].shape == tuple(tensor.shape)
            if tensor.is_contiguous():
                first = tensor.storage_offset() * tensor.itemsize
                whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy().tobytes()
                assert tensors[name].map().tobytes() == whole[first : first + tensors[name].n_bytes]
                assert tensors[name].n_bytes == tensor.nbytes
    assert n_refused > 3000
    assert n_compared > 400


def test_every_other_byte_before_the_directory(real, spans, outcome):
    for at in range(spans["directory"][0]):
        raw = bytearray(real)
        raw[at] ^= 0xFF
        outcome(raw)


def test_every_truncation(real, outcome):
    for length in range(len(real)):
        assert outcome(real[:length]) is None, length


@pytest.mark.parametrize("part", ["pickle", "directory"])
def test_random_damage(part, real, spans, outcome):
    start, stop = spans[part]
    draw = random.Random(0)
    for _ in range(1000):
        raw = bytearray(real)
        for _ in range(draw.randint(2, 12)):
            raw[draw.randrange(start, stop)] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
        outcome(raw)


arguments = {
    b"K": 1, b"M": 2, b"J": 4, b"q": 1, b"h": 1, b"r": 4, b"j": 4, b"G": 8, b"\x80": 1, b"\x95": 8,
}  # fmt: skip
pieces = st.one_of(
    st.sampled_from(sorted(set(_ACTIONS) - set(arguments))),
    st.sampled_from(sorted(arguments)).flatmap(lambda op: st.binary(min_size=1, max_size=9).map(
        lambda raw: op + (raw * 9)[: arguments[op]])),
    st.sampled_from([tensor(), storage(), FUNCTION, PLAIN, INNER, HOOKS, b"}", b"(", b"u", b"R", b"h\x00", b"q\x00"]),
    st.one_of(st.none(), st.integers(), st.text(max_size=3), st.tuples(st.integers()), st.just({"a": 1})).map(push),
)  # fmt: skip


@settings(max_examples=600)
@given(st.lists(pieces, max_size=25))
def test_programs_of_known_opcodes(soup):
    try:
        result = run(b"\x80\x02" + b"".join(soup) + b".")
    except ForensicsError:
        return
    # Nothing but descriptions comes out: no function, class or object of anyone else's.
    assert type(result).__module__ in ("builtins", "forensics.checkpoint.torch_globals")


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_programs_of_any_bytes(raw):
    try:
        run(b"\x80\x02" + raw)
    except ForensicsError:
        return
