"""The cache of fetched tensors: what it keeps, what it proves, and that nothing bad in it is ever used."""

import fcntl
import os
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forensics.checkpoint.safetensors_file import read_safetensors
from forensics.checkpoint.stored import StoredTensor
from forensics.embedding import Source
from forensics.errors import CheckpointError, FormatError, OutputError, RemoteError, SourceError
from forensics.formats import FLOAT16, FORMATS, BlockFormat
from forensics.hub import cache as cache_module
from forensics.hub import entry as entry_module
from forensics.hub import partial
from forensics.hub.cache import TensorCache, size_text, user_folder
from forensics.hub.inventory import clear, fault, list_entries
from forensics.hub.wanted import ALIGNMENT, TensorKey, Wanted
from tests.hub.planted_source import COMMIT, OFFSET, TENSOR, digest, fetcher, plant

Q8_0 = BlockFormat("Q8_0", 8, 32, 34)
HUB = Source("memory", "planted")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Seven chunks for the planted tensor's 2,560 bytes, the last one short."""
    monkeypatch.setattr(partial, "CHUNK_BYTES", 400)


@pytest.fixture
def cache(tmp_path):
    return TensorCache(tmp_path / "cache")


@pytest.fixture
def remote(tmp_path):
    return tmp_path / "remote"


def nothing(ranges, write, done):
    raise AssertionError("asked the network")


def parts_of(cache, wanted, suffix):
    return cache.files(wanted.key)[suffix]


def interrupted(cache, wanted, remote, after):
    """Leaves a fetch of which ``after`` chunks are there."""
    seen = []

    def stop(span):
        seen.append(span)
        if len(seen) > after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.fetch(wanted, fetcher(remote, asked=stop))


def asked_again(cache, wanted, remote):
    """The ranges that a fetch asks for, and what it gives."""
    spans = []
    return spans, cache.fetch(wanted, fetcher(remote, asked=spans.append))


@pytest.mark.parametrize("fmt", [*FORMATS.values(), Q8_0], ids=lambda f: f.name)
def test_a_fetched_tensor_is_the_one_at_the_source(cache, remote, fmt):
    dtype = fmt.name if fmt is Q8_0 else fmt.stored_as
    wanted, content = plant(remote, fmt=fmt, dtype=dtype)
    for found in (cache.fetch(wanted, fetcher(remote, workers=3, piece_bytes=64)), cache.find(wanted.key)):
        assert found.sha256 == digest(content)
        assert (found.stored.name, found.stored.shape, found.stored.dtype) == (TENSOR, (40, 32), dtype)
        ours = found.stored.embedding("input", HUB)
        assert ours.rows_bytes.tobytes() == content
        theirs = StoredTensor(TENSOR, (40, 32), dtype, fmt, remote, OFFSET, len(content)).embedding("input", HUB)
        np.testing.assert_array_equal(ours.values(), theirs.values())
    assert cache.fetch(wanted, nothing).sha256 == digest(content)


@pytest.mark.parametrize("fmt", [*FORMATS.values(), Q8_0], ids=lambda f: f.name)
def test_the_file_is_one_that_anybody_can_open(cache, remote, fmt):
    wanted, content = plant(remote, fmt=fmt, dtype="Q8_0" if fmt is Q8_0 else None)
    path = cache.fetch(wanted, fetcher(remote)).stored.path
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata, names = file.metadata(), list(file.keys())
    ((name, theirs),) = safetensors.deserialize(path.read_bytes())
    assert names == [name] == [TENSOR]
    assert bytes(theirs["data"]) == content
    assert (theirs["dtype"], theirs["shape"]) == (("U8", [40, 34]) if fmt is Q8_0 else (fmt.stored_as, [40, 32]))
    where = {"repo": "org/model", "commit": COMMIT, "file": "model-00001-of-00002.safetensors"}
    assert metadata == (where | {"format": "Q8_0", "shape": "[40, 32]"} if fmt is Q8_0 else where)
    assert read_safetensors(path)[TENSOR].offset % ALIGNMENT == 0


@pytest.mark.parametrize(
    ("dtype", "shape", "code"), [("I32", (10, 8), "I32"), ("BF16 (strided)", (4, 40), "U8"), ("F32", (), "F32")]
)
def test_a_tensor_that_is_no_embedding_is_kept_and_still_none(cache, remote, dtype, shape, code):
    remote.write_bytes(bytes(1_000))
    n_bytes = 4 * int(np.prod(shape)) if code != "U8" else 123
    tensor = StoredTensor("t", shape, dtype, None, remote, 7, n_bytes)
    wanted = Wanted.of(tensor, repo="org/model", commit=COMMIT, file="f", etag="e", file_size=1_000)
    path = cache.fetch(wanted, fetcher(remote)).stored.path
    assert read_safetensors(path)["t"].dtype == code
    with pytest.raises((CheckpointError, FormatError)):
        cache.find(wanted.key).stored.embedding("input", HUB)


def test_an_empty_tensor(cache, remote):
    wanted, _ = plant(remote, rows=0)
    assert cache.fetch(wanted, nothing).sha256 == digest(b"")
    assert cache.find(wanted.key).stored.n_bytes == 0


def test_the_manifest_says_where_the_bytes_came_from(cache, remote):
    wanted, content = plant(remote)
    said = cache.fetch(wanted, fetcher(remote), notes=["a remark"]).manifest.to_dict()
    assert said["byte_range"] == [OFFSET, OFFSET + len(content)]
    assert (said["repo"], said["commit"], said["etag"]) == ("org/model", COMMIT, "etag-1")
    assert (said["file_size"], said["shape"], said["dtype"]) == (wanted.file_size, [40, 32], "F16")
    assert said["sha256"] == digest(content)
    assert said["notes"] == [entry_module.REMARK, "a remark"]
    assert cache.find(wanted.key).manifest.to_dict() == said


def test_a_finished_entry_is_two_files(cache, remote):
    wanted, _ = plant(remote)
    path = cache.fetch(wanted, fetcher(remote)).stored.path
    assert sorted(p.name for p in path.parent.iterdir()) == [f"{path.stem}.json", path.name]
    assert path.parent == cache.folder / "models--org--model" / COMMIT


@pytest.mark.parametrize("n_there", range(8))
def test_what_was_fetched_is_not_fetched_again(cache, remote, n_there):
    wanted, content = plant(remote)
    if n_there < 7:
        interrupted(cache, wanted, remote, n_there)
        assert cache.find(wanted.key) is None
    else:
        cache.fetch(wanted, fetcher(remote))
    spans, found = asked_again(cache, wanted, remote)
    assert len(spans) == 7 - n_there
    assert found.sha256 == digest(content) == digest(found.stored.map())
    assert any(f"{n_there} of 7 chunks" in note for note in found.notes) == (0 < n_there < 7)


def test_two_hundred_megabytes_are_few_requests(monkeypatch):
    monkeypatch.undo()
    key = TensorKey("org/model", COMMIT, "f", "t")
    wanted = Wanted(key, "e", 10**9, 0, 200_000_000, (200_000_000,), "U8", None)
    assert partial.n_chunks(wanted) == 12


@pytest.mark.parametrize(
    "change",
    [{"etag": "etag-2"}, {"name": "other"}, {"file": "other"}, {"dim": 64}, {"dtype": "F16 "}, {"repo": "o/m"}],
)
def test_another_file_or_layout_is_fetched_for_itself(cache, remote, change):
    before, _ = plant(remote)
    interrupted(cache, before, remote, 5)
    wanted, content = plant(remote, seed=1, **change)
    spans, found = asked_again(cache, wanted, remote)
    assert len(spans) == partial.n_chunks(wanted)
    assert digest(found.stored.map()) == digest(content)


@pytest.mark.parametrize("change", [{"etag": "etag-2"}, {"dim": 64}])
def test_a_finished_entry_of_another_etag_is_replaced(cache, remote, change):
    cache.fetch(plant(remote)[0], fetcher(remote))
    wanted, content = plant(remote, seed=1, **change)
    found = cache.fetch(wanted, fetcher(remote))
    assert digest(found.stored.map()) == digest(content)
    assert "another ETag or layout" in found.notes[0]
    assert cache.find(wanted.key).manifest.wanted == wanted


@settings(max_examples=100)
@given(data=st.data())
def test_damage_to_a_finished_entry_is_never_used(data):
    with tempfile.TemporaryDirectory() as folder:
        cache, remote = TensorCache(Path(folder, "cache")), Path(folder, "remote")
        wanted, content = plant(remote, rows=4)
        cache.fetch(wanted, fetcher(remote))
        path = parts_of(cache, wanted, data.draw(st.sampled_from(["safetensors", "json"])))
        raw = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if kind == "flip":
            raw[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del raw[at:]
        else:
            raw.insert(at, 0)
        path.write_bytes(raw)
        assert cache.find(wanted.key) is None
        with pytest.raises(CheckpointError, match="damaged") as caught:
            cache.find(wanted.key, offline=True)
        assert "\n" not in str(caught.value) and "--offline" in caught.value.hint
        (entry,) = list_entries(cache)
        assert fault(entry)
        found = cache.fetch(wanted, fetcher(remote))
        assert digest(found.stored.map()) == found.sha256 == digest(content)
        assert "damaged" in found.notes[0]
        assert cache.find(wanted.key).sha256 == digest(content)


def test_a_damaged_entry_is_gone_before_it_is_fetched_anew(cache, remote):
    wanted, _ = plant(remote)
    path = cache.fetch(wanted, fetcher(remote)).stored.path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"2,816 bytes expected, found 2,815"):
        cache.find(wanted.key, offline=True)
    interrupted(cache, wanted, remote, 2)
    assert not path.exists()
    assert [(e.state, e.chunks_done) for e in list_entries(cache)] == [("partial", 2)]


@pytest.mark.parametrize("gone", ["safetensors", "json"])
def test_half_an_entry_is_none(cache, remote, gone):
    wanted, content = plant(remote)
    cache.fetch(wanted, fetcher(remote))
    parts_of(cache, wanted, gone).unlink()
    assert cache.find(wanted.key) is None
    assert digest(cache.fetch(wanted, fetcher(remote)).stored.map()) == digest(content)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"schema": 1}', b'{"a":' * 9_000, b'{"schema": "\xff"}'])
def test_a_manifest_of_nonsense_is_damage(cache, remote, content):
    wanted, _ = plant(remote)
    cache.fetch(wanted, fetcher(remote))
    parts_of(cache, wanted, "json").write_bytes(content)
    assert cache.find(wanted.key) is None
    assert [e.state for e in list_entries(cache)] == ["damaged"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", [[None]]),
        ("shape", 3),
        ("byte_range", [5]),
        ("byte_range", ["a", "b"]),
        ("format", {"name": "no such"}),
        ("format", {"name": "Q", "code": 1, "block_values": 0, "block_bytes": 1}),
        ("format", []),
        ("commit", "../../etc"),
        ("repo", 7),
        ("notes", "text"),
        ("tensor", True),
        ("file_size", True),
    ],
)
def test_a_manifest_with_a_sound_checksum_is_still_not_trusted(cache, remote, field, value, monkeypatch):
    wanted, _ = plant(remote)
    found = cache.fetch(wanted, fetcher(remote))
    body = {k: v for k, v in found.manifest.to_dict().items() if k != "checksum"} | {field: value}
    text = {**body, "checksum": digest(cache_module.json_text(body).encode())}
    parts_of(cache, wanted, "json").write_text(cache_module.json_text(text))
    with pytest.raises(CheckpointError):
        cache.find(wanted.key, offline=True)
    assert list_entries(cache)[0].state == "damaged"


def test_a_manifest_with_a_nan(cache, remote):
    wanted, _ = plant(remote)
    cache.fetch(wanted, fetcher(remote))
    path = parts_of(cache, wanted, "json")
    path.write_text(path.read_text().replace('"etag-1"', "NaN"))
    assert cache.find(wanted.key) is None


def test_the_manifest_of_another_tensor_does_not_pass(cache, remote):
    wanted, content = plant(remote)
    other, _ = plant(remote, name="other", seed=1)
    mine, theirs = cache.files(wanted.key), cache.fetch(other, fetcher(remote)).stored.path
    for suffix in ("json", "safetensors"):
        (theirs.with_suffix(f".{suffix}")).rename(mine[suffix])
    assert cache.find(wanted.key) is None
    plant(remote)
    assert digest(cache.fetch(wanted, fetcher(remote)).stored.map()) == digest(content)


@settings(max_examples=100)
@given(data=st.data())
def test_a_lying_journal_or_partial_file_never_gives_wrong_bytes(data):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial, "CHUNK_BYTES", 64)
        cache, remote = TensorCache(Path(folder, "cache")), Path(folder, "remote")
        wanted, content = plant(remote, rows=8)
        interrupted(cache, wanted, remote, data.draw(st.integers(0, 7)))
        path = parts_of(cache, wanted, data.draw(st.sampled_from(["journal", "partial"])))
        raw = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "grow", "swap", "gone"]))
        if kind == "flip":
            raw[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del raw[at:]
        elif kind == "grow":
            raw += data.draw(st.binary(min_size=1, max_size=700))
        elif kind == "swap":
            raw = bytearray(b"\n".join(reversed(bytes(raw).split(b"\n"))))
        path.write_bytes(raw)
        if kind == "gone":
            path.unlink()
        assert cache.find(wanted.key) is None
        found = cache.fetch(wanted, fetcher(remote, workers=2))
        assert digest(found.stored.map()) == found.sha256 == digest(content)
        assert cache.find(wanted.key).sha256 == digest(content)


def test_a_line_that_names_a_chunk_that_is_not_there_costs_one_chunk(cache, remote):
    wanted, content = plant(remote)
    interrupted(cache, wanted, remote, 3)
    with parts_of(cache, wanted, "journal").open("a") as journal:
        journal.write(f"5 {'0' * 32}\n999999 {'0' * 32}\n6 1234")
    spans, found = asked_again(cache, wanted, remote)
    assert len(spans) == 4
    assert digest(found.stored.map()) == digest(content)


def shifted(by):
    return lambda fetch: lambda ranges, write, done: fetch(ranges, lambda at, piece: write(at + by, piece), done)


def skipping(ranges, write, done):
    for start, stop in ranges:
        write(start + 10, memoryview(bytes(stop - start - 10)))
        done((start, stop))


def overlong(ranges, write, done):
    (start, stop), *_ = ranges
    write(start, memoryview(bytes(stop - start + 1)))


def short(ranges, write, done):
    for start, stop in ranges:
        write(start, memoryview(bytes(stop - start - 1)))
        done((start, stop))


def twice(ranges, write, done):
    (start, stop), *_ = ranges
    for _ in range(2):
        write(start, memoryview(bytes(stop - start)))
        done((start, stop))


@pytest.mark.parametrize("by", [-1, 1, 400, -400, -OFFSET, 10**9])
def test_bytes_that_belong_elsewhere_are_refused(cache, remote, by):
    wanted, _ = plant(remote)
    with pytest.raises(RemoteError, match="not asked for|fewer bytes came"):
        cache.fetch(wanted, shifted(by)(fetcher(remote, piece_bytes=100)))
    assert cache.find(wanted.key) is None


@pytest.mark.parametrize(
    ("fetch", "message"),
    [
        (skipping, "not asked for"),
        (overlong, "not asked for"),
        (short, "fewer bytes came"),
        (twice, "not asked for"),
        (lambda ranges, write, done: None, "7 of 7 chunks did not come"),
        (lambda ranges, write, done: done(ranges[0]), "fewer bytes came"),
    ],
)
def test_a_fetch_that_does_not_keep_its_word_is_an_error(cache, remote, fetch, message):
    wanted, _ = plant(remote)
    with pytest.raises(RemoteError, match=message):
        cache.fetch(wanted, fetch)
    assert cache.find(wanted.key) is None
    assert list_entries(cache)[0].state == "partial"


def test_a_chunk_may_start_again_from_its_first_byte(cache, remote):
    wanted, content = plant(remote)

    def twice_over(ranges, write, done):
        for start, _ in ranges:
            write(start, memoryview(b"wrong"))
        fetcher(remote, piece_bytes=64)(ranges, write, done)

    assert digest(cache.fetch(wanted, twice_over).stored.map()) == digest(content)


def test_a_thread_that_outlives_the_fetch_writes_nowhere(cache, remote):
    wanted, _ = plant(remote)
    kept = []

    def leave(ranges, write, done):
        kept.append((ranges, write, done))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.fetch(wanted, leave)
    ranges, write, done = kept[0]
    with pytest.raises(RemoteError):
        write(ranges[0][0], memoryview(b"late"))
    with pytest.raises(RemoteError):
        done(ranges[0])


def test_a_thread_that_still_writes_is_waited_for(cache, remote, monkeypatch):
    wanted, _ = plant(remote)
    begun, go_on, ended, threads = threading.Event(), threading.Event(), [], []
    write_all = partial._write_all

    def late(ranges, write, done):
        def slowly(*arguments):
            begun.set()
            assert go_on.wait(20)
            write_all(*arguments)

        def work():
            write(ranges[0][0], memoryview(b"late"))
            ended.append("written")

        monkeypatch.setattr(partial, "_write_all", slowly)
        threads.append(threading.Thread(target=work))
        threads[0].start()
        assert begun.wait(20)
        threading.Timer(0.1, go_on.set).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.fetch(wanted, late)
    threads[0].join(20)
    assert ended == ["written"]


def test_a_partial_file_that_another_program_cuts_is_an_error(cache, remote):
    wanted, _ = plant(remote)

    def cut(ranges, write, done):
        fetch = fetcher(remote)
        fetch(ranges[1:], write, done)
        fetch(ranges[:1], write, lambda span: (os.truncate(parts_of(cache, wanted, "partial"), 0), done(span)))

    with pytest.raises(OutputError, match="cut short"):
        cache.fetch(wanted, cut)
    assert cache.find(wanted.key) is None


@pytest.mark.parametrize("error", [RemoteError("gone"), ConnectionError("raw"), KeyboardInterrupt()], ids=type)
def test_the_fetch_s_own_error_comes_through(cache, remote, error):
    def fail(ranges, write, done):
        raise error

    before = threading.active_count()  # a library that another test imported may keep a thread
    with pytest.raises(type(error)) as caught:
        cache.fetch(plant(remote)[0], fail)
    assert caught.value is error
    assert threading.active_count() == before


names = st.text(max_size=300) | st.sampled_from(["..", "/", "../../x", "\\", "C:\\x", "CON", ".", "", " ", "-"])


@settings(max_examples=100)
@given(tensor=names, file=names, repo=names)
@example("x" * 10_000, "y" * 10_000, "z" * 10_000)
@example("\u202egnp.exe\x00\n\x1b[2J", "../" * 50, "../../etc/passwd")
@example("\U0001f573" * 255, "a/../b", "org/..")
def test_hostile_names_neither_climb_nor_break(tensor, file, repo):
    with tempfile.TemporaryDirectory() as folder:
        cache, remote = TensorCache(Path(folder, "cache")), Path(folder, "remote")
        wanted, content = plant(remote, rows=1, name=tensor, file=file, repo=repo)
        path = cache.fetch(wanted, fetcher(remote)).stored.path
        assert path.resolve().is_relative_to(cache.folder.resolve())
        assert all(part.isascii() and part.isprintable() and len(part) < 200 for part in path.parts)
        assert cache.find(wanted.key).sha256 == digest(content)
        with safetensors.safe_open(path, framework="numpy") as opened:
            assert list(opened.keys()) == [tensor]
        (entry,) = list_entries(cache, repo)
        assert entry.wanted == wanted
        assert len(clear(cache, repo).removed) == 1
        assert not any(cache.folder.iterdir())


@settings(max_examples=200)
@given(st.lists(st.tuples(names, names, names), min_size=2, max_size=2, unique=True))
@example([("a/b", "f", "t"), ("a/b", "g", "t")])
@example([("A/b", "f", "T"), ("a/b", "f", "t")])
@example([("a/b", "f", "t\u00e9"), ("a/b", "f", "te\u0301")])
@example([("a", "b/c", "t"), ("a", "b", "c/t")])
@example([("a--b/c", "f", "t"), ("a/b--c", "f", "t")])
def test_different_tensors_have_different_files_on_any_disk(pair):
    first, second = (TensorKey(repo, COMMIT, file, tensor).stem.casefold() for repo, file, tensor in pair)
    assert first != second


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (("org/model", "main", "f", "t"), SourceError),
        (("org/model", "../" + COMMIT, "f", "t"), SourceError),
        (("org/model", COMMIT + "\n", "f", "t"), SourceError),
        (("org/model", COMMIT, "f", "\ud800"), CheckpointError),
        (("org/model", COMMIT, "f", "__metadata__"), CheckpointError),
    ],
)
def test_keys_that_cannot_be_are_refused(key, error):
    with pytest.raises(error):
        TensorKey(*key)


@pytest.mark.parametrize(("offset", "n_bytes", "size"), [(-1, 8, 100), (96, 8, 100), (0, 9, 100), (0, -8, 100)])
def test_ranges_that_cannot_be_are_refused(offset, n_bytes, size):
    key = TensorKey("org/model", COMMIT, "f", "t")
    with pytest.raises(CheckpointError):
        Wanted(key, "e", size, offset, n_bytes, (2, 2), "F16", FLOAT16)


def test_revisions_are_remembered(cache):
    assert cache.commit_of("org/model", "main") is None
    cache.remember_revision("org/model", "main", "1" * 40)
    cache.remember_revision("org/model", "refs/pr/1", "2" * 40)
    cache.remember_revision("org/model", "main", "3" * 40)
    assert cache.commit_of("org/model", "main") == "3" * 40
    assert cache.commit_of("org/model", "refs/pr/1") == "2" * 40
    assert cache.commit_of("org/other", "main") is None
    for path in cache.folder.rglob("*.json"):
        path.write_text(path.read_text().replace("3", "../"))
    assert cache.commit_of("org/model", "main") is None
    assert cache.commit_of("org/model", "refs/pr/1") == "2" * 40


@pytest.mark.parametrize("place", ["cache", "cache/models--org--model"])
def test_a_file_where_a_folder_should_be(tmp_path, remote, place):
    wanted, _ = plant(remote)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("a file")
    cache = TensorCache(tmp_path / "cache")
    with pytest.raises(OutputError, match="cache folder") as caught:
        cache.fetch(wanted, nothing)
    assert "FORENSICS_CACHE" in caught.value.hint
    with pytest.raises(OutputError):
        cache.remember_revision("org/model", "main", COMMIT)
    assert list_entries(cache) == []


def test_what_cannot_be_written_leaves_nothing_behind(cache):
    path = cache.place("org/model", COMMIT) / "listing.json"
    path.mkdir(parents=True)
    with pytest.raises(OutputError):
        cache.write(path, b"{}")
    assert list(path.parent.iterdir()) == [path]


@contextmanager
def someone_else():
    """Root writes anywhere; this is a user who does not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        cache, remote = TensorCache(Path(folder, "cache")), Path(folder, "remote")
        wanted, content = plant(remote)
        other, _ = plant(remote, name="other")
        cache.fetch(wanted, fetcher(remote))
        places = [p for p in (cache.folder, *cache.folder.rglob("*")) if p.is_dir()]
        for place in places:
            place.chmod(0o555)
        try:
            with someone_else():
                assert cache.find(wanted.key).sha256 == digest(content)  # a reader needs no lock
                assert cache.fetch(wanted, nothing).sha256 == digest(content)
                for refused in (lambda: cache.fetch(other, nothing), lambda: clear(cache)):
                    with pytest.raises(OutputError, match="Permission denied"):
                        refused()
        finally:
            for place in places:
                place.chmod(0o755)


def test_room_is_asked_for_before_the_fetch(cache, remote):
    cache.has_room(1)
    with pytest.raises(OutputError, match=r"needs 1\.15 EB, .* are free") as caught:
        cache.has_room(1 << 60)
    assert "FORENSICS_CACHE" in caught.value.hint
    key = TensorKey("org/model", COMMIT, "f", "t")
    with pytest.raises(OutputError, match="are free"):
        cache.fetch(Wanted(key, "e", 1 << 60, 0, 1 << 60, (1 << 60,), "U8", None), nothing)
    assert not list(cache.folder.rglob("*.partial"))


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.00 kB"), (777_912_320, "778 MB"), (8_050_000_000, "8.05 GB"),
     (999_600, "1.00 MB"), (99_960, "100 kB"), (9_996, "10.0 kB"), (-5, "0 bytes")],
)  # fmt: skip
def test_sizes_are_said_to_three_digits(n_bytes, text):
    assert size_text(n_bytes) == text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FORENSICS_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"FORENSICS_CACHE": "~/c"}, "/h/c"),
        ({"FORENSICS_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/forensics"),
        ({"XDG_CACHE_HOME": "relative"}, "/h/.cache/forensics"),
        ({}, "/h/.cache/forensics"),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac keeps its caches elsewhere")
def test_the_user_s_folder(monkeypatch, environment, expected):
    for name in ("FORENSICS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/h", **environment}.items():
        monkeypatch.setenv(name, value)
    assert user_folder() == Path(expected)
    assert TensorCache().folder == Path(expected)


def test_clear_leaves_what_is_being_fetched(cache, remote):
    wanted, content = plant(remote)
    other, _ = plant(remote, name="other")
    cache.fetch(other, fetcher(remote))
    cache.write(cache.place("org/model", COMMIT) / "listing.json", b"{}")
    plant(remote)
    reached, go_on = threading.Event(), threading.Event()

    def wait():
        reached.set()
        assert go_on.wait(20)

    results = []
    fetch = fetcher(remote, before_piece=wait)
    thread = threading.Thread(target=lambda: results.append(cache.fetch(wanted, fetch)))
    thread.start()
    assert reached.wait(20)
    cleared = clear(cache)
    go_on.set()
    thread.join()
    assert [e.wanted.key.tensor for e in cleared.removed] == ["other"]
    assert [e.wanted.key.tensor for e in cleared.busy] == [TENSOR]
    assert digest(results[0].stored.map()) == digest(content)
    assert (cache.place("org/model", COMMIT) / "listing.json").exists()
    assert cache.find(other.key) is None and cache.find(wanted.key) is not None


def test_clear_removes_what_it_is_asked_to(cache, remote):
    finished, _ = plant(remote)
    begun, _ = plant(remote, name="begun")
    foreign, _ = plant(remote, repo="org/other")
    for wanted in (finished, foreign):
        cache.fetch(wanted, fetcher(remote))
    interrupted(cache, begun, remote, 2)
    for repo in ("org/model", "org/other"):
        cache.remember_revision(repo, "main", COMMIT)
    stale = cache.files(begun.key)["json.123.tmp"]
    stale.write_bytes(b"")
    cache.files(begun.key)["lock"].write_bytes(b"")  # of a killed process
    assert {(e.wanted.key.tensor, e.state, e.chunks_done, e.chunks) for e in list_entries(cache, "org/model")} == {
        (TENSOR, "complete", 7, 7),
        ("begun", "partial", 2, 7),
    }
    assert [e.wanted for e in clear(cache, partial_only=True).removed] == [begun]
    assert not stale.exists()
    assert cache.commit_of("org/model", "main") == COMMIT
    assert [e.wanted for e in clear(cache, "org/model").removed] == [finished]
    assert cache.commit_of("org/model", "main") is None
    assert cache.commit_of("org/other", "main") == COMMIT
    assert cache.find(foreign.key) is not None
    clear(cache)
    assert list(cache.folder.iterdir()) == []
    assert clear(cache).removed == () == clear(TensorCache(cache.folder / "none")).removed


def test_repositories_that_share_a_folder_are_kept_apart(cache, remote):
    first, _ = plant(remote, repo="a--b/c")
    cache.fetch(first, fetcher(remote))
    second, _ = plant(remote, repo="a/b--c")
    cache.fetch(second, fetcher(remote))
    assert cache.files(first.key).folder == cache.files(second.key).folder
    assert [e.wanted for e in clear(cache, "a/b--c").removed] == [second]
    assert cache.find(first.key) is not None


def test_a_killed_process_s_lock_holds_nobody_up(cache, remote):
    wanted, content = plant(remote)
    lock = cache.files(wanted.key)["lock"]
    lock.parent.mkdir(parents=True)
    lock.write_bytes(b"")
    said = []
    assert cache.fetch(wanted, fetcher(remote), waiting=said.append).sha256 == digest(content)
    assert said == [] and not lock.exists()


def test_a_lock_that_was_removed_as_it_was_taken_is_taken_again(cache, remote, monkeypatch):
    """Between the opening of the file and its locking, its last holder removes it."""
    files = cache.files(plant(remote)[0].key)
    flock, removed = fcntl.flock, []

    def late(handle, how):
        if not removed:
            removed.append(files["lock"].unlink())
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with files.locked(), files.locked(wait=False) as held_twice:
        assert removed and not held_twice


@pytest.mark.skipif(sys.platform != "linux", reason="the system cannot set room aside")
def test_the_room_of_the_whole_tensor_is_set_aside_first(cache, remote):
    wanted, content = plant(remote, rows=4_000)
    interrupted(cache, wanted, remote, 0)
    assert parts_of(cache, wanted, "partial").stat().st_blocks * 512 >= len(content)


def test_entries_say_what_they_are_without_a_path(cache, remote, tmp_path):
    wanted, content = plant(remote)
    cache.fetch(wanted, fetcher(remote))
    cache.write(cache.place("org/model", COMMIT) / "listing.json", b"{}")  # no entry, and no damage
    (entry,) = list_entries(cache)
    said = entry.to_dict()
    assert said["sha256"] == digest(content) and said["state"] == "complete" and said["dtype"] == "F16"
    assert said["n_bytes"] == entry.files.data.stat().st_size
    assert str(tmp_path) not in str(said)
    assert fault(entry) is None
