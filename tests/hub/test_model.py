"""A model of the Hub opens to what its files on disk open to, and costs the embedding's bytes."""

import json
import re
from functools import partial as bind
from pathlib import Path

import pytest
import torch
from huggingface_hub import hf_hub_download, snapshot_download

import forensics
from forensics.checkpoint.binary_file import AHEAD_BYTES
from forensics.errors import (
    CheckpointError,
    FormatError,
    RemoteError,
    SourceError,
    TensorNotFoundError,
    UnsafeFileError,
)
from forensics.hub import partial, remote_file
from forensics.hub.cache import TensorCache
from forensics.hub.client import Watch
from forensics.hub.inventory import list_entries
from forensics.sources import open_checkpoint
from tests.hub.loopback import Fault, LoopbackHub, Repo
from tests.hub.models import (
    DIM,
    E_IN,
    E_OUT,
    ROWS,
    Listener,
    beside,
    gguf_file,
    layers,
    matrix,
    opened,
    serve,
    shards,
    single,
    stored,
    torch_single,
)

pytestmark = pytest.mark.usefixtures("alarm", "fresh_client")

N = ROWS * DIM * 2
WEIGHTS = "model.safetensors"
SAME = {"shared.weight": matrix(), "encoder.embed_tokens.weight": matrix(), "decoder.embed_tokens.weight": matrix()}


def nested(folder):
    single(folder, {E_IN: matrix(seed=5)}, tokens=3)
    single(folder / "sub", {E_IN: matrix()})


def gguf_alone(folder):
    beside(folder)
    gguf_file(folder / "model-q8_0.gguf")


def gguf_among(folder):
    gguf_alone(folder)
    gguf_file(folder / "other.gguf", n_tokens=50)


# How the folder is written, what is asked for, bytes of the matrices, and the weights files that must not be touched.
LAYOUTS = {
    "single": (bind(single, tensors={E_IN: matrix(), **layers()}), "", N, ""),
    "redundant head": (bind(single, tensors={E_IN: matrix(), E_OUT: matrix(), **layers()}), "", 2 * N, ""),
    "untied": (bind(single, tensors={E_IN: matrix(), E_OUT: matrix(seed=1), **layers()}), "", 2 * N, ""),
    "sharded, tied": (bind(shards, parts=[{E_IN: matrix()}, layers()]), "", N, "model-00002-of-00002.safetensors"),
    "sharded, untied": (
        bind(shards, parts=[{E_IN: matrix()}, layers(), {E_OUT: matrix(seed=1)}]),
        "",
        2 * N,
        "model-00002-of-00003.safetensors",
    ),
    "float8": (bind(single, tensors={E_IN: matrix(torch.float8_e4m3fn), **layers()}), "", N // 2, ""),
    "float16": (bind(single, tensors={E_IN: matrix(torch.float16), **layers()}), "", N, ""),
    "float32": (bind(single, tensors={E_IN: matrix(torch.float32), **layers()}), "", 2 * N, ""),
    "shared tables": (bind(single, tensors={**SAME, **layers()}), "", 3 * N, ""),
    "other names": (
        bind(single, tensors={"gpt_neox.embed_in.weight": matrix(), "embed_out.weight": matrix(seed=1)}),
        "",
        2 * N,
        "",
    ),
    "nested": (nested, ":sub/model.safetensors", N, "model.safetensors"),
    "torch": (torch_single, "", N, ""),
    "torch shards": (
        bind(shards, parts=[{E_IN: matrix()}, layers()], torch_zip=True),
        "",
        N,
        "pytorch_model-00002-of-00002.bin",
    ),
    "gguf alone": (gguf_alone, "", ROWS * DIM // 32 * 34, ""),
    "gguf among others": (gguf_among, ":model-q8_0.gguf", ROWS * DIM // 32 * 34, "other.gguf"),
}


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    write, asked, n_bytes, untouched = LAYOUTS[request.param]
    write(tmp_path / "model")
    return tmp_path / "model", asked, n_bytes, untouched


def figures(checkpoint):
    """All that a scan says, the source aside."""
    found = forensics.scan(checkpoint).to_dict()
    found.pop("source")
    return found


def test_it_is_what_its_files_are(layout, tmp_path, monkeypatch):
    folder, asked, n_bytes, untouched = layout
    monkeypatch.setattr(remote_file, "SMALL_BLOCK_BYTES", 1 << 10)
    monkeypatch.setitem(remote_file.BLOCK_BYTES, ".gguf", 1 << 13)  # smaller than the header
    with serve(folder) as hub:
        commit = hub.repos["org/name"].main
        found = opened(hub, tmp_path, f"org/name{asked}")
        there = open_checkpoint(folder / asked.removeprefix(":") if asked else folder)
        assert found.source.to_dict() == {"kind": "hub", "location": f"org/name{asked}", "revision": commit}
        assert stored(found) == stored(there)
        assert figures(found) == figures(there)
        assert not untouched or not hub.asked(untouched)
        heads = {
            r.path
            for r in hub.asked(at="hub")
            if r.method == "HEAD" and r.path.endswith((".safetensors", ".bin", ".gguf"))
        }
        if all(name.endswith(".safetensors") for name in heads):
            exact = sum(8 + int.from_bytes((folder / name).read_bytes()[:8], "little") for name in heads)
            assert hub.bytes_sent(at="cdn") == n_bytes + exact
        else:
            assert n_bytes <= hub.bytes_sent(at="cdn") <= n_bytes + (AHEAD_BYTES if ".gguf" in str(heads) else 40 << 10)
        assert "model.safetensors.index.json" not in heads
        again_costs_nothing(hub, tmp_path, asked, commit, stored(there))
    offline = opened(hub, tmp_path, f"org/name{asked}", offline=True)  # the server is gone
    assert stored(offline) == stored(there) and offline.source == found.source


def again_costs_nothing(hub, tmp_path, asked, commit, expected):
    hub.requests.clear()
    assert stored(opened(hub, tmp_path, f"org/name{asked}")) == expected
    assert [(r.method, r.path) for r in hub.requests] == [("GET", "/api/models/org/name")]
    assert stored(opened(hub, tmp_path, f"org/name@{commit}{asked}")) == expected
    assert len(hub.requests) == 1


def test_a_safetensors_file_costs_two_reads_and_its_tensor(tmp_path):
    shards(tmp_path / "model", [{E_IN: matrix()}, layers(), {E_OUT: matrix(seed=1)}])
    with serve(tmp_path / "model") as hub:
        opened(hub, tmp_path)
        for name in ("model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"):
            length = int.from_bytes((tmp_path / "model" / name).read_bytes()[:8], "little")
            end = 8 + length
            expected = ["bytes=0-7", f"bytes=8-{end - 1}", f"bytes={end}-{end + N - 1}"]
            assert [r.range for r in hub.asked(name, "cdn")] == expected


def test_a_gguf_header_larger_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setitem(remote_file.BLOCK_BYTES, ".gguf", 1 << 16)
    gguf_file(tmp_path / "model" / "model.gguf", n_tokens=20_000)
    n_bytes = 20_000 * DIM // 32 * 34
    with serve(tmp_path / "model") as hub:
        found = opened(hub, tmp_path)
        assert stored(found) == stored(open_checkpoint(tmp_path / "model"))
        assert len(found.vocabulary) == 20_000
        ranges = [r for r in hub.asked("model.gguf", "cdn") if r.range]
        header_bytes = sum(r.sent for r in ranges[:-1])
        assert len(ranges) > 4 and ranges[-1].sent == n_bytes
        assert header_bytes < (tmp_path / "model" / "model.gguf").stat().st_size - 2 * n_bytes + 2 * AHEAD_BYTES


@pytest.mark.parametrize("chunk", [1 << 14, 1 << 20])
def test_requests_of_a_tensor_in_chunks(tmp_path, monkeypatch, chunk):
    """As 200 MB in chunks of 16 MiB: twelve ranges and a remainder. Everything a scan asks for is counted."""
    monkeypatch.setattr(partial, "CHUNK_BYTES", chunk)
    rows = 12 * chunk // 128 + 3
    shards(tmp_path / "model", [{E_IN: matrix(rows=rows)}, layers()])
    with serve(tmp_path / "model") as hub:
        opened(hub, tmp_path)
        assert hub.n_requests() <= 25
        assert hub.bytes_sent("model-00001-of-00002.safetensors", "cdn") <= 1.01 * rows * 128


def test_a_tensor_that_is_asked_for(tmp_path):
    single(tmp_path / "model", {E_IN: matrix(), **layers()})
    with serve(tmp_path / "model") as hub:
        found = opened(hub, tmp_path, tensor="model.layers.1.mlp.up_proj.weight")
        assert stored(found) == [layers()["model.layers.1.mlp.up_proj.weight"].view(torch.uint8).numpy().tobytes()]
        assert found.tied is None
        assert found.command("scan").endswith(
            f"org/name@{found.source.revision} --tensor model.layers.1.mlp.up_proj.weight"
        )
        with pytest.raises(TensorNotFoundError, match="no tensor 'nothing'"):
            opened(hub, tmp_path, tensor="nothing")


REVISIONS = ["main", "v1.0", "refs/pr/1", "a-branch/of-two-parts", "commit"]


@pytest.mark.parametrize("revision", REVISIONS)
def test_revisions(tmp_path, revision):
    single(tmp_path / "old", {E_IN: matrix(seed=1)})
    single(tmp_path / "new", {E_IN: matrix(seed=2)})
    with serve(tmp_path / "old") as hub:
        repo = hub.repos["org/name"]
        commit = repo.commit({p.name: p for p in (tmp_path / "new").iterdir()})
        repo.refs[revision] = commit
        name = commit if revision == "commit" else revision
        found = opened(hub, tmp_path, f"org/name@{name}")
        assert found.source.revision == commit
        assert found.source.argument == f"org/name@{commit}"
        assert stored(found) == stored(open_checkpoint(tmp_path / "new"))
        assert found.command("scan") == f"forensics scan org/name@{commit}"
        (entry,) = list_entries(TensorCache(tmp_path / "cache"))
        assert entry.wanted.key.commit == commit
        assert opened(hub, tmp_path, f"org/name@{name}", offline=True).source.revision == commit


@pytest.mark.parametrize(
    ("path", "method"), [(p, "GET") for p in ("config.json", "tokenizer.json", WEIGHTS)] + [(WEIGHTS, "HEAD")]
)
def test_main_that_moves_between_two_requests(tmp_path, path, method):
    single(tmp_path / "old", {E_IN: matrix(seed=1)})
    single(tmp_path / "new", {E_IN: matrix(seed=2)}, tokens=5)
    with serve(tmp_path / "old") as hub:
        commit = hub.repos["org/name"].main
        later = hub.repos["org/name"].commit({p.name: p for p in (tmp_path / "new").iterdir()})
        hub.faults.append(Fault("move", path, at="hub", method=method, value=later))
        found = opened(hub, tmp_path)
        assert hub.repos["org/name"].main == later
        assert found.source.revision == commit
        assert stored(found) == stored(open_checkpoint(tmp_path / "old"))
        assert len(found.vocabulary) == ROWS - 7
        assert opened(hub, tmp_path).source.revision == later


@pytest.mark.parametrize("asked", ["old-org/old-name", "ORG/Name"])
def test_a_repository_under_another_name(tmp_path, asked):
    single(tmp_path / "model", {E_IN: matrix()})
    with serve(tmp_path / "model") as hub:
        hub.moved[asked] = "org/name"
        found = opened(hub, tmp_path, asked)
        assert found.source.location == "org/name"
        n = len(hub.requests)
        assert opened(hub, tmp_path, "org/name@" + found.source.revision).source == found.source
        assert opened(hub, tmp_path, f"{asked}@{found.source.revision}").source == found.source
        assert opened(hub, tmp_path, asked, offline=True).source == found.source
        assert len(hub.requests) == n


@pytest.mark.parametrize("whole", [True, False])
def test_what_huggingface_hub_downloaded_is_used_from_there(tmp_path, whole):
    shards(tmp_path / "model", [{E_IN: matrix()}, layers(), {E_OUT: matrix(seed=1)}])
    with serve(tmp_path / "model") as hub:
        known = {"cache_dir": tmp_path / "hub", "endpoint": hub.endpoint, "token": False}
        if whole:
            snapshot_download("org/name", **known)
        else:
            hf_hub_download("org/name", "model-00001-of-00003.safetensors", **known)
        hub.requests.clear()
        found = opened(hub, tmp_path)
        there = open_checkpoint(tmp_path / "model")
        assert stored(found) == stored(there) and figures(found) == figures(there)
        assert not hub.asked("model-00001-of-00003.safetensors")
        assert len(list_entries(TensorCache(tmp_path / "cache"))) == (0 if whole else 1)
        if whole:
            assert [r.path for r in hub.requests] == ["/api/models/org/name"]
            hub.requests.clear()
            offline = opened(hub, tmp_path / ".." / tmp_path.name, offline=True)
            assert stored(offline) == stored(there) and not hub.requests
    if whole:  # with nothing of our own
        alone = forensics.open_checkpoint("org/name", hub=_offline_hub_cache(tmp_path))
        assert stored(alone) == stored(there)


def _offline_hub_cache(tmp_path):
    from forensics.hub.client import HubOptions

    return HubOptions(offline=True, cache=tmp_path / "empty", hub_cache=tmp_path / "hub")


def test_offline_without_a_fetch(tmp_path):
    single(tmp_path / "model", {E_IN: matrix(), **layers()})
    with serve(tmp_path / "model") as hub:
        with pytest.raises(RemoteError, match="org/name: not in the cache, and offline; open it once without"):
            opened(hub, tmp_path, offline=True)
        hf_hub_download("org/name", "config.json", cache_dir=tmp_path / "hub", endpoint=hub.endpoint, token=False)
        with pytest.raises(RemoteError, match="org/name: not in the cache, and offline"):
            opened(hub, tmp_path, offline=True)
        opened(hub, tmp_path)
        hub.requests.clear()
        with pytest.raises(RemoteError, match="offline mode is on and this is not in the cache"):
            opened(hub, tmp_path, tensor="model.layers.1.mlp.up_proj.weight", offline=True)
        assert not hub.requests


def test_offline_a_torch_file_is_not_read_further(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_file, "SMALL_BLOCK_BYTES", 64)
    torch_single(tmp_path / "model")
    with serve(tmp_path / "model") as hub:
        first = opened(hub, tmp_path)
        hub.requests.clear()
        assert stored(opened(hub, tmp_path, offline=True)) == stored(first)
        name = "model.layers.1.mlp.up_proj.weight"  # its place in the file was not looked up
        with pytest.raises(RemoteError, match="offline mode is on and this is not in the cache"):
            opened(hub, tmp_path, tensor=name, offline=True)
        assert not hub.requests
        expected = stored(open_checkpoint(tmp_path / "model", tensor=name))
        assert stored(opened(hub, tmp_path, tensor=name)) == expected
        assert stored(opened(hub, tmp_path, tensor=name, offline=True)) == expected


class Seen(Watch):
    def __init__(self):
        self.begun, self.came, self.ended, self.said = [], 0, 0, []

    def begin(self, *announced):
        self.begun.append(announced)

    def advance(self, n_bytes):
        self.came += n_bytes

    def end(self):
        self.ended += 1

    def say(self, text):
        self.said.append(text)


def test_the_total_is_announced_before_the_fetch(tmp_path):
    shards(tmp_path / "model", [{E_IN: matrix()}, layers(), {E_OUT: matrix(seed=1)}])
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(bytes(10**7))  # another copy of the model
    sizes = [p.stat().st_size for p in (tmp_path / "model").glob("*.safetensors")]
    seen = Seen()
    with serve(tmp_path / "model") as hub:
        opened(hub, tmp_path, watch=seen)
    assert seen.begun == [(E_IN, N, 0, sum(sizes)), (E_OUT, N, 0, sum(sizes))]
    assert seen.ended == 2
    assert seen.came >= 2 * N


def test_a_disk_without_room_is_known_before_the_fetch(tmp_path, monkeypatch):
    import shutil

    single(tmp_path / "model", {E_IN: matrix(), **layers()})
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda at: real(at)._replace(free=1000 if "cache" in str(at) else 10**9))
    with serve(tmp_path / "model") as hub:
        with pytest.raises(forensics.errors.OutputError, match="the tensor needs 76.8 kB, 1.00 kB are free"):
            opened(hub, tmp_path)
        assert hub.bytes_sent(at="cdn") < 2000


def test_a_model_that_cannot_be_scanned(tmp_path):
    cases = {
        "nothing": ({"README.md": b"x", "config.json": b"{}"}, SourceError, "org/name: holds no weights file"),
        "no-embedding": (None, TensorNotFoundError, "could be the embedding"),
        "packed": (None, FormatError, "is stored as I8"),
    }
    single(tmp_path / "a", layers())
    single(tmp_path / "b", {E_IN: torch.zeros(ROWS, DIM, dtype=torch.int8)})
    repos = [
        Repo("org/nothing", cases["nothing"][0]),
        Repo.from_folder("org/no-embedding", tmp_path / "a"),
        Repo.from_folder("org/packed", tmp_path / "b"),
        Repo("org/two", {"a.gguf": b"GGUF", "b.gguf": b"GGUF"}),
    ]
    with LoopbackHub(repos) as hub:
        for name, (_, kind, text) in cases.items():
            with pytest.raises(kind, match=text.replace("org/name", f"org/{name}")) as caught:
                opened(hub, tmp_path, f"org/{name}")
            assert caught.value.exit_code == 3
        with pytest.raises(SourceError, match="2 weights files and no index; name one of them: a.gguf, b.gguf"):
            opened(hub, tmp_path, "org/two")
        with pytest.raises(SourceError, match="org/two:c.gguf: no such file in the repository; it holds a.gguf"):
            opened(hub, tmp_path, "org/two:c.gguf")


GATED = {"gated": True, "readers": frozenset({"hf_reader"})}


@pytest.mark.parametrize(
    ("flags", "asked", "text"),
    [
        (GATED, "org/name", "org/name.*its licence must be accepted.*accept it on http.*/org/name, then run `hf auth"),
        (
            {"private": True},
            "org/name",
            "there is no such model, or (it is private and you are not logged in|your token may not see it)",
        ),
        ({"disabled": True}, "org/name", "the Hub has disabled access to it"),
        ({}, "org/other", "there is no such model, or (it is private|your token)"),
        ({}, "org/name@v9", "there is no revision v9"),
        ({}, "org/name@" + "0" * 40, "there is no revision 0000"),
    ],
)
@pytest.mark.parametrize("token", [False, "hf_stranger"])
def test_refusals(tmp_path, flags, asked, text, token):
    single(tmp_path / "model", {E_IN: matrix()})
    with serve(tmp_path / "model", **flags) as hub:
        with pytest.raises(RemoteError, match=text) as caught:
            opened(hub, tmp_path, asked, token=token)
        assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
        if flags is GATED:
            assert len(opened(hub, tmp_path, asked, token="hf_reader").matrices) == 1


def test_hostile_contents(tmp_path):
    climbing = {"weight_map": {E_IN: "../../../../etc/passwd"}}
    huge = (10**11).to_bytes(8, "little") + b"{}"
    lying = json.dumps({E_IN: {"dtype": "BF16", "shape": [10**9, 10**2], "data_offsets": [0, 2 * 10**11]}}).encode()
    repos = [
        Repo("org/climbing", {"model.safetensors.index.json": json.dumps(climbing).encode()}),
        Repo("org/huge", {"model.safetensors": huge}),
        Repo("org/lying", {"model.safetensors": len(lying).to_bytes(8, "little") + lying}),
        Repo("org/deep", {"model.safetensors.index.json": b"[" * 200_000}),
        Repo(
            "org/lost", {"model.safetensors.index.json": json.dumps({"weight_map": {E_IN: "x.safetensors"}}).encode()}
        ),
    ]
    texts = {
        "climbing": (UnsafeFileError, "is not that of a file in the folder"),
        "huge": (CheckpointError, "header claims 100,000,000,000 bytes"),
        "lying": (CheckpointError, "larger than the file"),
        "deep": (CheckpointError, "nested too deeply"),
        "lost": (CheckpointError, "x.safetensors: missing"),
    }
    with LoopbackHub(repos) as hub:
        for name, (kind, text) in texts.items():
            with pytest.raises(kind, match=text) as caught:
                opened(hub, tmp_path, f"org/{name}")
            assert caught.value.exit_code == 3
        assert hub.bytes_sent(at="cdn") < 1000


def test_a_config_of_too_deep_a_nesting_is_passed_over(tmp_path):
    single(tmp_path / "model", {E_IN: matrix()})
    (tmp_path / "model" / "config.json").write_bytes(b"[" * 200_000)
    with serve(tmp_path / "model") as hub:
        found = opened(hub, tmp_path)
    assert found.config == {}
    assert any(re.match(r"config not used: .*nested too deeply", note) for note in found.notes)


def test_a_whole_file_of_the_hubs_cache_is_held_against_the_listing(tmp_path):
    single(tmp_path / "model", {E_IN: matrix(), **layers()})
    right = stored(open_checkpoint(tmp_path / "model"))
    with serve(tmp_path / "model") as hub:
        known = {"cache_dir": tmp_path / "hub", "endpoint": hub.endpoint, "token": False}
        path = Path(hf_hub_download("org/name", "model.safetensors", **known)).resolve()
        raw, said = path.read_bytes(), Listener()
        assert stored(opened(hub, tmp_path / "none", hub_cache=tmp_path / "hub", watch=said)) == right
        assert said.said == [] and not list((tmp_path / "none").rglob("*.safetensors"))
        for i, damaged in enumerate((raw[:-1] + bytes([raw[-1] ^ 1]), raw[:-1])):
            path.write_bytes(damaged)
            said = Listener()
            found = opened(hub, tmp_path / str(i), hub_cache=tmp_path / "hub", watch=said)
            assert stored(found) == right and found.notes == ()
            assert said.said == ["model.safetensors in huggingface_hub's cache is not as listed: not used"]


def test_a_token_that_cannot_be_sent_is_known_before_anything_is_asked(tmp_path):
    single(tmp_path / "model", {E_IN: matrix()})
    with serve(tmp_path / "model") as hub:
        with pytest.raises(RemoteError, match="the token holds a character that no token has"):
            opened(hub, tmp_path, token="hf_\u00e9")
        assert hub.requests == []


def test_out_of_reach_and_yet_in_the_cache(tmp_path, hasty):
    single(tmp_path / "model", {E_IN: matrix()})
    with serve(tmp_path / "model") as hub:
        opened(hub, tmp_path)
    with pytest.raises(RemoteError, match="--offline takes what is in the cache"):
        opened(hub, tmp_path, patience=hasty)
    with pytest.raises(RemoteError) as caught:
        opened(hub, tmp_path / "other", patience=hasty)
    assert "--offline" not in str(caught.value)
