"""The loopback Hub is a Hub to the real client: every call that the toolkit and its rivals make works against it."""

import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import HfApi, HfFileSystem, get_hf_file_metadata, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.numpy import load_file, save

from tests.hub.loopback import Fault, LoopbackHub, Repo

TENSOR = np.arange(5000, dtype=np.float32).reshape(50, 100)
FILES = {
    "config.json": b'{"model_type": "gpt2"}',
    "model.safetensors": save({"wte.weight": TENSOR}),
    "nested/folder/note.txt": b"deep",
}


@pytest.fixture(autouse=True)
def no_ambient_token(monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield
    huggingface_hub.close_session()


@pytest.fixture
def hub():
    with LoopbackHub([Repo("org/name", FILES)]) as hub:
        yield hub


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.endpoint, token=False)


def test_model_info(hub, api):
    info = api.model_info("org/name", files_metadata=True)
    assert info.sha == hub.repos["org/name"].main
    sizes = {s.rfilename: s.size for s in info.siblings}
    assert sizes == {name: len(data) for name, data in FILES.items()}
    assert info.siblings[1].lfs.sha256 == hub.repos["org/name"].commits[info.sha]["model.safetensors"].sha256
    assert api.model_info("org/name", revision=info.sha).sha == info.sha
    expanded = api.model_info("org/name", expand=["sha", "gated"])
    assert (expanded.sha, expanded.gated, expanded.siblings) == (info.sha, False, None)
    assert api.resolve_revision("org/name", cache_dir="/nonexistent-cache", local_files_only=False).resolved == info.sha


def test_listings(hub, api):
    assert api.list_repo_files("org/name") == list(FILES)
    tree = {entry.path: type(entry).__name__ for entry in api.list_repo_tree("org/name")}
    assert tree == {"nested": "RepoFolder", "config.json": "RepoFile", "model.safetensors": "RepoFile"}
    assert [e.path for e in api.list_repo_tree("org/name", "nested/folder")] == ["nested/folder/note.txt"]
    (found,) = api.get_paths_info("org/name", ["config.json", "missing"])
    assert found.size == len(FILES["config.json"])
    assert [b.name for b in api.list_repo_refs("org/name").branches] == ["main"]
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree("org/name", "no/folder"))


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_file_metadata(hub, path):
    got = get_hf_file_metadata(hub.url("org/name", path, "main"), token=False, endpoint=hub.endpoint)
    blob = hub.repos["org/name"].commits[got.commit_hash][path]
    assert (got.size, got.etag, got.xet_file_data) == (len(FILES[path]), blob.etag, None)
    assert got.location.startswith(hub.cdn if blob.is_lfs else hub.endpoint)


def test_downloads(hub, tmp_path):
    options = {"endpoint": hub.endpoint, "token": False}
    path = hf_hub_download("org/name", "model.safetensors", cache_dir=tmp_path / "one", **options)
    assert (load_file(path)["wte.weight"] == TENSOR).all()
    folder = snapshot_download("org/name", cache_dir=tmp_path / "all", **options)
    assert Path(folder, "nested/folder/note.txt").read_bytes() == b"deep"


def test_file_system_reads_a_slice(hub):
    system = HfFileSystem(endpoint=hub.endpoint, token=False, skip_instance_cache=True)
    with system.open("org/name/model.safetensors", "rb", cache_type="none") as file:
        file.seek(100)
        assert file.read(50) == FILES["model.safetensors"][100:150]
    assert sorted(p.removeprefix("org/name/") for p in system.find("org/name")) == sorted(FILES)
    (ranged,) = [r for r in hub.asked("model.safetensors", "cdn") if r.range]
    assert (ranged.range, ranged.status, ranged.sent) == ("bytes=100-149", 206, 50)


def test_transformers_loads_a_model(hub, tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=32, n_positions=8)).save_pretrained(tmp_path)
    hub.repos["org/tiny"] = Repo.from_folder("org/tiny", tmp_path)
    # transformers asks the address that was read from HF_ENDPOINT when huggingface_hub was imported
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    model = AutoModelForCausalLM.from_pretrained("org/tiny", cache_dir=tmp_path / "cache", token=False)
    assert model.get_input_embeddings().weight.shape == (32, 8)
    assert hub.bytes_sent("model.safetensors", "cdn") == (tmp_path / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("flags", "token", "error"),
    [
        ({"gated": True}, False, GatedRepoError),
        ({"gated": True}, "stranger", GatedRepoError),
        ({"private": True}, "stranger", RepositoryNotFoundError),
        ({"private": True}, False, HfHubHTTPError),  # a bare 401, which the client names only on https
        ({"disabled": True}, "reader", DisabledRepoError),
    ],
)
def test_closed_repositories(flags, token, error):
    repo = Repo("org/closed", FILES, readers=frozenset({"reader"}), **flags)
    with LoopbackHub([repo]) as hub:
        with pytest.raises(error) as caught:
            get_hf_file_metadata(hub.url("org/closed", "config.json"), token=token, endpoint=hub.endpoint)
        assert caught.value.response.status_code == {False: 401, "stranger": 403, "reader": 403}[token] or flags == {
            "private": True
        }
        if "disabled" not in flags:
            got = get_hf_file_metadata(hub.url("org/closed", "config.json"), token="reader", endpoint=hub.endpoint)
            assert got.size == len(FILES["config.json"])


def test_what_is_not_there(hub):
    api = HfApi(endpoint=hub.endpoint, token="any")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/missing")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/name", revision="missing")
    with pytest.raises(RemoteEntryNotFoundError):
        get_hf_file_metadata(hub.url("org/name", "missing.txt"), token=False)


def test_a_new_commit_moves_main_and_the_old_one_stays(hub, api):
    repo = hub.repos["org/name"]
    old, new = repo.main, repo.commit({"config.json": b"{}"})
    assert api.model_info("org/name").sha == old
    repo.refs["main"] = new
    assert api.model_info("org/name").sha == new
    assert api.list_repo_files("org/name", revision=old) == list(FILES)


def fetched(hub, address, **headers):
    """One plain request, redirects followed by hand, without the client under test."""
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def test_a_signed_address_holds_for_its_range_only(hub):
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args):
            return None

    address = hub.url("org/name", "model.safetensors")
    opener = urllib.request.build_opener(Stay)
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(urllib.request.Request(address, headers={"Range": "bytes=3-9"}))
    with closing(caught.value) as answer:
        location = answer.headers["Location"]
    assert location.startswith("http://localhost:")
    assert fetched(hub, location, Range="bytes=3-9") == FILES["model.safetensors"][3:10]
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        fetched(hub, location, Range="bytes=3-10")
    caught.value.close()
    hub.strict = False
    location = location.partition("?")[0]  # and an address without its signature is none
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        fetched(hub, location)
    caught.value.close()


def test_the_record(hub):
    address = hub.url("org/name", "model.safetensors")
    assert fetched(hub, address, Range="bytes=0-99", Authorization="Bearer x") == FILES["model.safetensors"][:100]
    asked = [(r.at, r.status, r.range, r.authorized) for r in hub.asked("model.safetensors")]
    assert asked == [("hub", 302, "bytes=0-99", True), ("cdn", 206, "bytes=0-99", True)]  # urllib carries it over
    assert hub.bytes_sent("model.safetensors", "cdn") == 100
    assert (hub.n_requests(), hub.n_requests(redirects=True)) == (1, 2)


def test_faults_strike_where_and_as_often_as_told(hub):
    hub.faults.append(Fault("status", path="*.json", at="hub", skip=1, times=2, after=503))
    address = hub.url("org/name", "config.json")
    seen = []
    for _ in range(5):
        try:
            fetched(hub, address)
        except urllib.error.HTTPError as error:
            error.close()
        seen.append(hub.requests[-1].status)
    assert seen == [200, 503, 503, 200, 200]
    with pytest.raises(ValueError, match="no fault 'sharks'"):
        Fault("sharks")


def test_files_on_disk_are_sent_as_bytes_in_memory_are(tmp_path):
    (tmp_path / "org/name").mkdir(parents=True)
    (tmp_path / "org/name/model.safetensors").write_bytes(FILES["model.safetensors"])
    with LoopbackHub([Repo.from_folder("org/name", tmp_path / "org/name")]) as hub:
        shutil.copy(tmp_path / "org/name/model.safetensors", tmp_path / "copy")
        got = fetched(hub, hub.url("org/name", "model.safetensors"), Range="bytes=7-19999")
        assert got == FILES["model.safetensors"][7:20000]


def test_closing_the_hub_ends_a_hanging_request(hub):
    hub.faults.append(Fault("hang"))
    host, port = hub.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        hub.stopping.set()
        client.settimeout(5)
        assert client.recv(1) == b""


def test_it_serves_a_folder_to_other_processes(tmp_path):
    (tmp_path / "org/name").mkdir(parents=True)
    (tmp_path / "org/name/config.json").write_bytes(FILES["config.json"])
    command = [sys.executable, "-m", "tests.hub.loopback", str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        endpoint = server.stdout.readline().strip()
        assert HfApi(endpoint=endpoint, token=False).list_repo_files("org/name") == ["config.json"]
        huggingface_hub.close_session()
        server.stdin.close()
        assert server.wait(10) == 0
