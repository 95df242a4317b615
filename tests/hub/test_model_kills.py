"""The real command under kill -9, Ctrl-C and a second process: right bytes, and little is fetched twice."""

import json
import random
import signal

import pytest

from forensics.hub import partial
from forensics.hub.cache import TensorCache
from forensics.hub.entry import Manifest
from forensics.hub.inventory import fault, list_entries
from forensics.sources import open_checkpoint
from tests.hub.command import started, wait_for
from tests.hub.loopback import Fault, LoopbackHub, Repo
from tests.hub.models import E_IN, layers, matrix, opened, single, stored

pytestmark = pytest.mark.usefixtures("fresh_client")

WORKERS = 4
WEIGHTS = "model.safetensors"
SHARES = [round(0.01 * percent, 2) for percent in sorted(random.Random(20_261_122).sample(range(1, 100), 10))]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    single(folder, {E_IN: matrix(rows=24_000), **layers(1)})  # 3 MB
    return folder


def slow(folder, step, wait_s):
    """A Hub whose CDN sends ``step`` bytes of each range every ``wait_s`` seconds."""
    drip = Fault("drip", WEIGHTS, at="cdn", after=step, wait_s=wait_s, times=None)
    return LoopbackHub([Repo.from_folder("org/name", folder)], [drip])


def chunks(hub):
    """Ranges of the tensor that were asked for."""
    return [r.range for r in hub.asked(WEIGHTS, "cdn") if r.range][2:]


def finish(hub, place, folder, before):
    """Runs again in this process, on a good line: what the killed one began, and all that is right."""
    hub.faults.clear()
    hub.requests.clear()
    found = opened(hub.endpoint, place, hub_cache=place / "home" / "hub")
    assert stored(found) == stored(open_checkpoint(folder))
    after = [r.range for r in hub.asked(WEIGHTS, "cdn") if r.range]
    tensor = set(after) - {"bytes=0-7"}
    assert len(set(before) & tensor) <= WORKERS
    (entry,) = list_entries(TensorCache(place / "cache"))
    assert entry.state == "complete" and fault(entry) is None
    return found


@pytest.mark.parametrize("share", SHARES[::3])  # all ten at full size, below
def test_a_kill(small, tmp_path, monkeypatch, share):
    killed_at(share, small, tmp_path, monkeypatch, chunk=1 << 16, step=1 << 14, wait_s=0.008)


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
def test_a_kill_of_a_fetch_of_200_megabytes(tmp_path, monkeypatch, share):
    single(tmp_path / "model", {E_IN: matrix(rows=100_000, dim=1000)})
    killed_at(share, tmp_path / "model", tmp_path, monkeypatch, chunk=partial.CHUNK_BYTES, step=1 << 20, wait_s=0.02)


def killed_at(share, folder, place, monkeypatch, *, chunk, step, wait_s):
    monkeypatch.setattr(partial, "CHUNK_BYTES", chunk)
    size = (folder / WEIGHTS).stat().st_size
    with slow(folder, step, wait_s) as hub:
        with started(place, hub.endpoint, "scan", "org/name", "--json", chunk_bytes=chunk) as process:
            wait_for(lambda: hub.bytes_sent(WEIGHTS, "cdn") >= share * 0.9 * size or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGKILL)
            process.wait()
        finish(hub, place, folder, chunks(hub))


def test_an_interrupt(small, tmp_path, monkeypatch):
    chunk = 1 << 16
    monkeypatch.setattr(partial, "CHUNK_BYTES", chunk)
    with slow(small, 1 << 14, 0.01) as hub:
        with started(tmp_path, hub.endpoint, "scan", "org/name", "--json", chunk_bytes=chunk) as process:
            wait_for(lambda: len(chunks(hub)) > 12)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 130 and out == ""
        note, said, *hint = filter(None, err.splitlines())  # click ends the terminal's line
        assert note.startswith("note: fetching") and said == "error: interrupted" and len(hint) <= 1
        found = finish(hub, tmp_path, small, chunks(hub))
        (entry,) = list_entries(TensorCache(tmp_path / "cache"))
        assert any(note.startswith("resumed: ") for note in Manifest.read(entry.files.manifest).notes)
        assert found.notes == ()


def test_two_processes_at_once(small, tmp_path):
    chunk = 1 << 16
    with slow(small, 1 << 14, 0.01) as hub:
        arguments = (tmp_path, hub.endpoint, "scan", "org/name", "--json")
        with (
            started(*arguments, chunk_bytes=chunk) as first,
            started(*arguments, chunk_bytes=chunk) as second,
        ):
            ended = [process.communicate(timeout=60) for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), ended
        assert ended[0][0] == ended[1][0] and json.loads(ended[0][0])["matrices"]
        tensor = [r for r in chunks(hub) if int(r.rpartition("-")[2]) > 4096]
        assert len(tensor) == len(set(tensor)), "a chunk was fetched twice"
        assert sum("waiting for another process" in err for _, err in ended) == 1
