"""A remote file read at offsets gives the bytes of the file, asks for none twice, and remembers them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import RemoteError
from forensics.hub import remote_file
from forensics.hub.remote_file import RemoteBytes
from forensics.hub.transfer import RemoteFile

DATA = random.Random(0).randbytes(5000)
COMMIT = "0" * 40
URL = f"http://hub/org/name/resolve/{COMMIT}/"


class Line:
    """Stands for the transport."""

    def __init__(self):
        self.asked = []

    def read(self, file, start, stop):
        assert 0 <= start < stop <= len(DATA)
        self.asked.append((start, stop))
        return DATA[start:stop]


def remote(name):
    line = Line()
    return RemoteBytes(RemoteFile(URL + name, name, len(DATA), "etag", COMMIT), line), line


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    patch = pytest.MonkeyPatch()
    patch.setattr(remote_file, "SMALL_BLOCK_BYTES", 64)
    patch.setitem(remote_file.BLOCK_BYTES, ".gguf", 256)
    yield
    patch.undo()


reads = st.lists(st.tuples(st.integers(0, 5200), st.integers(0, 700)), max_size=12)
files = st.sampled_from(["a.safetensors", "a.bin", "a.gguf", "sub/a"])


@given(files, reads)
def test_any_reads_give_the_file(name, reads):
    file, line = remote(name)
    for offset, n_bytes in reads:
        assert file.read_at(offset, n_bytes) == DATA[offset : offset + n_bytes]
    n = len(line.asked)
    for offset, n_bytes in reads[-1:]:
        assert file.read_at(offset, n_bytes) == DATA[offset : offset + n_bytes]
    assert len(line.asked) == n
    again = RemoteBytes.recall(file.to_bytes("org/name"), file.file.url, ("org/name", COMMIT, name), None)
    assert again.is_recalled and not again.is_new and again.file == file.file
    for start, stop in line.asked:
        assert again.read_at(start, stop - start) == DATA[start:stop]


def test_safetensors_reads_are_exact_and_others_are_of_blocks():
    for name, expected in {"a.safetensors": (130, 140), "a.bin": (128, 192), "a.gguf": (0, 256)}.items():
        file, line = remote(name)
        file.read_at(130, 10)
        assert line.asked == [expected]


def test_what_is_not_held_is_not_asked_for_offline():
    file, _ = remote("a.bin")
    file.read_at(0, 10)
    again = RemoteBytes.recall(file.to_bytes("org/name"), URL + "a.bin", ("org/name", COMMIT, "a.bin"), None)
    assert again.read_at(3, 5) == DATA[3:8]
    with pytest.raises(RemoteError, match="a.bin: offline mode is on and this is not in the cache"):
        again.read_at(1000, 5)


@given(st.integers(0), st.integers(1, 255))
def test_a_damaged_memory_is_no_memory(at, change):
    file, line = remote("a.bin")
    file.read_at(100, 10)
    raw = bytearray(file.to_bytes("org/name"))
    raw[at % len(raw)] ^= change
    assert RemoteBytes.recall(bytes(raw), URL + "a.bin", ("org/name", COMMIT, "a.bin"), line) is None


@pytest.mark.parametrize("raw", [b"", b"x", b"x" * 16, b"x" * 40])
def test_what_was_never_a_memory(raw):
    assert RemoteBytes.recall(raw, URL, ("org/name", COMMIT, "a"), None) is None


def test_a_memory_of_another_file():
    file, line = remote("a.bin")
    raw, mine = file.to_bytes("org/name"), ("org/name", COMMIT, "a.bin")
    assert RemoteBytes.recall(raw, URL + "a.bin", mine, line)
    for other in (("org/name", COMMIT, "b.bin"), ("org/other", COMMIT, "a.bin"), ("org/name", "1" * 40, "a.bin")):
        assert RemoteBytes.recall(raw, URL + "a.bin", other, line) is None


def test_a_memory_holds_at_every_endpoint_and_names_none():
    file, _ = remote("a.bin")
    file.read_at(0, 10)
    raw = file.to_bytes("org/name")
    assert b"http" not in raw
    again = RemoteBytes.recall(raw, "https://mirror/a.bin", ("org/name", COMMIT, "a.bin"), None)
    assert again.file.url == "https://mirror/a.bin" and again.read_at(0, 10) == DATA[:10]
