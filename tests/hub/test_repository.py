"""Listings of a repository: what a hostile one can do, and what is remembered of an honest one."""

import json

import pytest

from forensics.errors import RemoteError, SourceError, UnsafeFileError
from forensics.hub import small_files
from forensics.hub.address import Address
from forensics.hub.cache import TensorCache
from forensics.hub.client import HubClient
from forensics.hub.repository import LISTING, Listed, Repository, resolve
from forensics.hub.small_files import fetch_small_files
from forensics.hub.transfer import Transport
from tests.hub.loopback import LoopbackHub, Repo
from tests.hub.models import options

pytestmark = pytest.mark.usefixtures("alarm", "fresh_client")

FILES = {"config.json": b'{"a": 1}', "model.safetensors": b"x" * 100, "sub/config.json": b"{}"}


class Hostile(Repo):
    """Lists what ``change`` makes of an honest listing."""

    change = staticmethod(lambda listing: None)

    def info(self, commit, query):
        listing = super().info(commit, query)
        return self.change(listing) or listing


NAMED = Address("org/name")


def resolved(hub, tmp_path, hasty, address=NAMED, **more):
    client = HubClient(options(hub, tmp_path, patience=hasty, **more))
    return resolve(address, client, TensorCache(tmp_path / "cache")), client


def listing(change):
    repo = Hostile("org/name", FILES)
    repo.change = change
    return LoopbackHub([repo])


def add(**entry):
    return lambda listed: listed["siblings"].append({"rfilename": "x", **entry})


def setting(**values):
    return lambda listed: listed.update(values)


CLIMBING = ["/etc/passwd", "../x", "a/../../x", "./x", "a//b", "", "a/", "..", "a\\b", "a\nb", "a\x1b[2Jb", "a\u202eb"]


@pytest.mark.parametrize("name", [*CLIMBING, 5, None])
def test_names_that_leave_the_repository_are_not_there(tmp_path, hasty, name):
    with listing(add(rfilename=name)) as hub:
        found, _ = resolved(hub, tmp_path, hasty)
    assert set(found.files) == set(FILES)


LFS = {"size": 5, "sha256": "a" * 64, "pointerSize": 1}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"size": 7, "blobId": "b" * 40}, Listed(7, None, "b" * 40)),
        ({"size": 7, "blobId": "b" * 40, "lfs": LFS}, Listed(7, "a" * 64, None)),
        *(({"size": size}, Listed(None)) for size in (-1, "7", 1.5, True, None, [7], 1e400)),
        *(({"size": 7, "blobId": oid}, Listed(7)) for oid in ("", "xyz", 5, "B" * 40, "../" * 13, ["b"])),
        *(({"size": 7, "lfs": {**LFS, "sha256": sha}}, Listed(7)) for sha in ("", None, 7, "g" * 64, "a" * 63)),
    ],
)
def test_what_cannot_be_is_as_if_not_said(tmp_path, hasty, entry, expected):
    with listing(add(**entry)) as hub:
        found, _ = resolved(hub, tmp_path, hasty)
    assert found.files["x"] == expected


@pytest.mark.parametrize(
    "change",
    [
        setting(sha=None), setting(sha="main"), setting(sha="../" * 13), setting(sha=5), setting(sha="A" * 40),
        setting(siblings=5), setting(siblings=[5]), setting(siblings=[{}]), add(lfs={"size": 1}),
        lambda _: [1, 2], lambda _: "text", lambda _: {"id": 1},
    ],
)  # fmt: skip
def test_an_answer_that_is_no_listing(tmp_path, hasty, change):
    with listing(change) as hub, pytest.raises(RemoteError, match="is HF_ENDPOINT a Hub") as caught:
        resolved(hub, tmp_path, hasty)
    assert caught.value.exit_code == 4
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["../../etc", 5, None, "a/b/c", "org/na\x1b[2Jme", ""])
def test_a_name_that_is_none_is_not_taken_over(tmp_path, hasty, name):
    with listing(setting(id=name)) as hub:
        found, _ = resolved(hub, tmp_path, hasty)
    assert found.repo == "org/name"


def test_another_commit_than_the_one_asked_for(tmp_path, hasty):
    with listing(setting(sha="1" * 40)) as hub:
        commit = hub.repos["org/name"].main
        with pytest.raises(RemoteError, match="names no commit"):
            resolved(hub, tmp_path, hasty, Address("org/name", commit))


def test_a_hundred_thousand_files(tmp_path, hasty):
    many = [{"rfilename": f"f{i}", "size": i, "blobId": "b" * 40} for i in range(100_000)]
    with listing(lambda listed: listed["siblings"].extend(many)) as hub:
        found, _ = resolved(hub, tmp_path, hasty)
        again, _ = resolved(hub, tmp_path, hasty, Address("org/name", found.commit))
    assert len(found.files) == 100_003 and again.files == found.files and len(hub.requests) == 1


def test_a_name_that_no_model_can_have(tmp_path, hasty):
    with (
        listing(lambda _: None) as hub,
        pytest.raises(SourceError, match="not a name that a model on the Hub can have"),
    ):
        resolved(hub, tmp_path, hasty, Address("org/na--me"))


def test_a_listing_is_remembered_and_a_damaged_one_asked_for_anew(tmp_path, hasty):
    with listing(lambda _: None) as hub:
        found, _ = resolved(hub, tmp_path, hasty)
        pinned = Address("org/name", found.commit)
        (path,) = (tmp_path / "cache").rglob(LISTING)
        raw = path.read_bytes()
        for at in range(0, len(raw), 7):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
            n = len(hub.requests)
            again, _ = resolved(hub, tmp_path, hasty, pinned)
            assert again.files == found.files and len(hub.requests) == n + 1
        for damaged in (b"", b"{}", b"[]", b'{"files": 5}', raw[:-9]):
            path.write_bytes(damaged)
            with pytest.raises(RemoteError, match="not in the cache, and offline"):
                resolved(hub, tmp_path, hasty, pinned, offline=True)


def test_a_ref_of_the_hubs_cache_that_is_no_commit(tmp_path, hasty):
    with listing(lambda _: None) as hub:
        ref = tmp_path / "hub" / "models--org--name" / "refs" / "main"
        ref.parent.mkdir(parents=True)
        ref.write_text("../../elsewhere")
        (tmp_path / "hub" / "models--org--name" / "snapshots").mkdir()
        (tmp_path / "hub" / "elsewhere").mkdir()
        (tmp_path / "hub" / "elsewhere" / "model.safetensors").write_bytes(b"x")
        with pytest.raises(RemoteError, match="not in the cache, and offline"):
            resolved(hub, tmp_path, hasty, offline=True)


def test_what_a_download_of_the_model_costs():
    repository = Repository(
        "org/name",
        "0" * 40,
        {
            "model-00001-of-00002.safetensors": Listed(10),
            "model-00002-of-00002.safetensors": Listed(20),
            "sub/model-00001-of-00002.safetensors": Listed(1000),
            "pytorch_model-00001-of-00002.bin": Listed(2000),
            "a.gguf": Listed(3000),
            "b.gguf": Listed(None),
        },
    )
    costs = {name: repository.weights_bytes(name) for name in repository.files}
    assert list(costs.values()) == [30, 30, 1000, 2000, 3000, 0]


@pytest.mark.parametrize(
    ("names", "folder", "expected"),
    [
        ("config.json tokenizer.json vocab.json merges.txt README.md", "", "config.json tokenizer.json"),
        ("config.json vocab.json merges.txt x.py", "", "config.json merges.txt vocab.json"),
        ("qwen.tiktoken tokenizer_config.json", "", "qwen.tiktoken tokenizer_config.json"),
        ("model.safetensors.index.json pytorch_model.bin.index.json", "", "model.safetensors.index.json"),
        ("config.json a/config.json a/b/config.json", "a", "a/config.json"),
    ],
)
def test_which_small_files_are_fetched(names, folder, expected):
    repository = Repository("org/name", "0" * 40, {name: Listed(1) for name in names.split()})
    assert repository.small_names(folder) == expected.split()


def fetched(hub, tmp_path, hasty, repository, client):
    with Transport(endpoint=hub.endpoint, token=False, patience=hasty) as transport:
        return fetch_small_files(repository, client, transport)


def test_a_small_file_that_is_not_small(tmp_path, hasty, monkeypatch):
    for name, size in (("config.json", 10**9), ("tokenizer.json", 10**10)):
        with listing(add(rfilename=name, size=size)) as hub:
            repository, client = resolved(hub, tmp_path / name, hasty)
            _, notes = fetched(hub, tmp_path / name, hasty, repository, client)
            assert notes == [f"{name} not used: {size:,} bytes, expected under 268,435,456"]
            assert not hub.asked(name)
    index = "model.safetensors.index.json"
    with listing(add(rfilename=index, size=10**9)) as hub:
        repository, client = resolved(hub, tmp_path, hasty)
        with pytest.raises(UnsafeFileError, match=r"index.json: 1,000,000,000 bytes, expected under"):
            fetched(hub, tmp_path, hasty, repository, client)


def test_a_small_file_larger_than_listed_is_not_read(tmp_path, hasty, monkeypatch):
    monkeypatch.setattr(small_files, "MAX_SMALL_BYTES", 7)
    texts = {5: r"bytes 0-4/5, found bytes 0-4/8", None: "has 8 bytes, expected under 7"}
    for size, text in texts.items():
        with listing(lambda listed, size=size: listed["siblings"][0].update(size=size)) as hub:
            repository, client = resolved(hub, tmp_path / str(size), hasty)
            with pytest.raises(RemoteError, match=text):
                fetched(hub, tmp_path / str(size), hasty, repository, client)
            assert [r.method for r in hub.asked("config.json")] == ["GET" if size else "HEAD"]


def test_a_small_file_damaged_in_the_hubs_cache(tmp_path, hasty):
    with listing(lambda _: None) as hub:
        repository, client = resolved(hub, tmp_path, hasty)
        folder, notes = fetched(hub, tmp_path, hasty, repository, client)
        assert [r.method for r in hub.asked("config.json")] == ["GET"]  # size and digest are listed
        assert json.loads((folder / "config.json").read_text()) == {"a": 1} and notes == []
        (folder / "config.json").write_bytes(b'{"a": 2}')
        offline = HubClient(options(hub, tmp_path, offline=True))
        with pytest.raises(RemoteError, match="is damaged in huggingface_hub's cache, and offline"):
            fetched(hub, tmp_path, hasty, repository, offline)
        fetched(hub, tmp_path, hasty, repository, client)
        assert json.loads((folder / "config.json").read_text()) == {"a": 1}
