"""``forensics scan org/name`` as a user runs it: a process, its environment, its exit code and its lines."""

import fcntl
import json
import os
import pty
import resource
import struct
import termios

import pytest

from forensics.sources import open_checkpoint
from tests.hub.command import run, started
from tests.hub.loopback import Fault, LoopbackHub, Repo
from tests.hub.models import E_IN, layers, matrix, shards

SECRET = "hf_secretOfThisTest"
SCAN = ("scan", "org/name", "--json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    shards(folder, [{E_IN: matrix()}, layers()])
    return folder


@pytest.fixture
def hub(folder):
    with LoopbackHub([Repo.from_folder("org/name", folder)]) as hub:
        yield hub


@pytest.fixture
def private(folder):
    with LoopbackHub([Repo.from_folder("org/name", folder, private=True, readers=frozenset({SECRET}))]) as hub:
        yield hub


def test_the_first_use(hub, folder, tmp_path):
    code, out, err = run(tmp_path, hub.endpoint, "scan", "org/name", "--out", "report")
    commit = hub.repos["org/name"].main
    assert code == 0 and f"org/name @ {commit}" in out
    whole = sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    assert f"note: fetching {E_IN}: 76.8 kB of {whole / 1e6:.2f} MB\n" in err
    document = json.loads((tmp_path / "report" / "scan.json").read_text())
    assert document["source"] == {"kind": "hub", "location": "org/name", "revision": commit}
    report = (tmp_path / "report" / "report.md").read_text()
    assert f"forensics scan org/name@{commit}" in report
    assert str(tmp_path) not in report and hub.endpoint not in report
    code, again, err = run(tmp_path, hub.endpoint, *SCAN, HF_HUB_OFFLINE="1")
    assert (code, json.loads(again), err) == (0, document, "")
    code, disk, _ = run(tmp_path, hub.endpoint, "scan", str(folder), "--json")
    assert {**json.loads(disk), "source": None} == {**document, "source": None}


@pytest.mark.parametrize("way", ["HF_TOKEN", "stored login", "none"])
def test_the_token_of_the_environment(private, tmp_path, way):
    more = {"HF_TOKEN": SECRET} if way == "HF_TOKEN" else {}
    if way == "stored login":
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "token").write_text(SECRET)
    code, out, err = run(tmp_path, private.endpoint, *SCAN, **more)
    assert SECRET not in out + err
    assert not any(SECRET.encode() in p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file())
    assert not any(r.authorized for r in private.asked(at="cdn"))
    if way == "none":
        assert code == 4 and out == ""
        assert err.startswith(
            "error: org/name: there is no such model, or it is private and you are not logged in\nhint: "
        )
    else:
        assert code == 0 and all(r.authorized for r in private.asked(at="hub") if r.status < 400)


@pytest.mark.parametrize("how", ["HF_HUB_OFFLINE", "--offline"])
def test_offline_with_nothing_here(hub, tmp_path, how):
    arguments, more = ((*SCAN, how), {}) if how == "--offline" else (SCAN, {how: "1"})
    code, out, err = run(tmp_path, hub.endpoint, *arguments, **more)
    assert (code, out, hub.requests) == (4, "", [])
    assert err.splitlines()[0] == "error: org/name: not in the cache, and offline"


def test_offline_with_the_server_gone(folder, tmp_path):
    with LoopbackHub([Repo.from_folder("org/name", folder)]) as hub:
        first = run(tmp_path, hub.endpoint, *SCAN)
    assert run(tmp_path, hub.endpoint, *SCAN, "--offline")[:2] == first[:2] == (0, first[1])
    assert run(tmp_path, "http://mirror.invalid", *SCAN, "--offline")[:2] == first[:2]


def test_nothing_is_asked_but_for_the_model(hub, tmp_path):
    assert run(tmp_path, hub.endpoint, *SCAN)[0] == 0
    assert all("org/name" in r.path or "/" not in r.path for r in hub.requests)
    assert not [r.path for r in hub.requests if "harness" in r.path]
    hub.requests.clear()
    assert run(tmp_path, hub.endpoint, *SCAN, "--offline", HF_TOKEN=SECRET)[0] == 0
    assert hub.requests == []


def test_a_password_in_the_endpoint_is_kept_nowhere(folder, tmp_path):
    with LoopbackHub([Repo.from_folder("org/name", folder, gated=True)]) as hub:
        endpoint = hub.endpoint.replace("://", "://user:SECRETpw@")
        code, out, err = run(tmp_path, endpoint, *SCAN)
        assert code == 4 and f"accept it on {hub.endpoint}/org/name" in err and "SECRETpw" not in out + err
        hub.repos["org/name"].gated = False
        code, out, err = run(tmp_path, endpoint, *SCAN)
    assert code == 0 and "SECRETpw" not in out + err
    held = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert any(p.suffix == ".head" for p in held) and not any(b"SECRETpw" in p.read_bytes() for p in held)


def test_out_of_reach(tmp_path):
    code, out, err = run(tmp_path, "http://127.0.0.1:9", *SCAN)
    assert (code, out) == (4, "")
    said, hint = err.splitlines()
    assert "org/name" in said and "the connection was refused" in said and hint.startswith("hint: ")


@pytest.mark.parametrize(
    ("source", "code", "text"),
    [
        ("org/other", 4, "there is no such model, or it is private"),
        ("org/name@v9", 4, "there is no revision v9"),
        ("org/name:missing.gguf", 3, "no such file in the repository"),
        ("org/name@main@main", 3, ""),
        ("hf:", 3, ""),
        ("https://huggingface.co/org/name", 3, "https://huggingface.co/org/name: not a model's name"),
        ("org/name/", 3, "hint: name a model as org/name"),
    ],
)
def test_what_is_not_there(hub, tmp_path, source, code, text):
    got, out, err = run(tmp_path, hub.endpoint, "scan", source, "--json")
    assert (got, out) == (code, "") and text in err
    assert err.startswith("error: ") and "Traceback" not in err


@pytest.mark.parametrize("disabled", [False, True])
def test_the_bar_is_for_a_terminal(hub, tmp_path, disabled):
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    more = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} if disabled else {}
    with started(tmp_path, hub.endpoint, *SCAN, stderr=writer, **more) as process:
        os.close(writer)
        process.communicate(timeout=60)
    shown = b""
    try:
        while piece := os.read(reader, 4096):
            shown += piece
    except OSError:  # the other side has gone
        pass
    os.close(reader)
    assert b"fetching " + E_IN.encode() in shown
    assert (b"B/s" in shown) is not disabled


def test_a_signed_address_is_never_shown(hub, tmp_path):
    hub.faults.append(Fault("status", "model-00001-of-00002.safetensors", at="cdn", after=404, times=None))
    code, out, err = run(tmp_path, hub.endpoint, *SCAN, HF_TOKEN=SECRET)
    assert (code, out) == (4, "")
    assert not any(secret in err for secret in (SECRET, "Signature", "SECRETKEY"))


def test_a_disk_that_takes_no_more(hub, tmp_path):
    """The room is claimed before the fetch: of the tensor's chunks none is asked for."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, {resource.RLIM_INFINITY}))"
    code, out, err = run(tmp_path, hub.endpoint, *SCAN, before=limit)
    assert (code, out) == (3, "")
    assert "cache folder" in err and "cannot be used (File too large)" in err and "FORENSICS_CACHE" in err
    assert hub.bytes_sent("model-00001-of-00002.safetensors", "cdn") < 1000


def test_several_sources_go_on(hub, tmp_path):
    code, out, err = run(tmp_path, hub.endpoint, "scan", "org/other", "org/name", "--json")
    assert code == 4 and "error: org/other: org/other: there is no such model" in err
    assert len(json.loads(out)["scans"]) == 1


def test_lattice_reads_the_hub_too(hub, folder, tmp_path):
    code, out, _ = run(tmp_path, hub.endpoint, "lattice", "org/name", "--json")
    assert code == 0
    assert json.loads(out)["source"]["revision"] == hub.repos["org/name"].main
    assert json.loads(out)["matrices"][0]["sha256"] == open_checkpoint(folder).matrix().sha256
