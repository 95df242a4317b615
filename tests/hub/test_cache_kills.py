"""The cache under kill -9, full disks, and several processes at once: real processes, and right bytes at the end."""

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors

from forensics.hub import partial
from forensics.hub.cache import TensorCache
from forensics.hub.inventory import list_entries
from tests.hub import planted_source
from tests.hub.planted_source import TENSOR, digest, fetcher, plant

ROOT = Path(__file__).parent.parent.parent
WORKERS = 4
CHUNK = 1 << 14
PIECE = 1 << 12
ROWS = 10_300  # 41 chunks, the last a short one; 161 pieces
N_PIECES = -(-ROWS * 64 // PIECE)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A planted file and an empty cache: what to ask for, its bytes, the two paths."""
    monkeypatch.setattr(partial, "CHUNK_BYTES", CHUNK)
    wanted, content = plant(tmp_path / "remote", rows=ROWS)
    return wanted, content, tmp_path / "remote", tmp_path / "cache"


@contextmanager
def process(remote, cache, *, delay_s=0.0005, hold_after=10**9, die_at=None, max_file_bytes=0):
    options = {
        "path": str(remote),
        "cache": str(cache),
        "workers": WORKERS,
        "chunk_bytes": CHUNK,
        "piece_bytes": PIECE,
        "delay_s": delay_s,
        "hold_after": hold_after,
        "die_at": die_at,
        "max_file_bytes": max_file_bytes,
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, planted_source.__file__, json.dumps(options)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        try:
            yield running
        finally:
            running.kill()


def read_dots(running, n):
    """Waits until a process has written so many pieces, or says something else."""
    seen = b""
    while seen.count(b".") < n and (byte := os.read(running.stdout.fileno(), 1)):
        seen += byte
    return seen


def asked(cache):
    """First bytes of the chunks that processes began to fetch, in order; the log starts anew."""
    log = Path(f"{cache}.asked")
    lines = [int(line) for line in log.read_text().split()] if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def assert_whole(cache, wanted, content):
    found = TensorCache(cache).find(wanted.key)
    assert found.sha256 == digest(content) == digest(found.stored.map())
    with safetensors.safe_open(found.stored.path, framework="numpy") as file:
        assert file.get_tensor(TENSOR).tobytes() == content


def finish_and_check(place, before):
    """Runs again, in this process: at most one chunk a worker is fetched twice, and the bytes are right."""
    wanted, content, remote, cache = place
    found = TensorCache(cache).find(wanted.key)
    assert found is None or found.sha256 == digest(content)
    spans = []
    TensorCache(cache).fetch(wanted, fetcher(remote, workers=WORKERS, asked=spans.append))
    after = [start for start, _ in spans]
    assert len(set(before) & set(after)) <= WORKERS
    assert len(set(before) | set(after)) == partial.n_chunks(wanted)
    assert_whole(cache, wanted, content)
    assert [e.state for e in list_entries(TensorCache(cache))] == ["complete"]
    if found is None:
        assert not list(cache.rglob("*.lock"))


POINTS = [1, *sorted(random.Random(20_250_101).sample(range(2, N_PIECES - 1), 8)), N_PIECES]


@pytest.mark.parametrize("n_pieces", POINTS)
def test_a_kill_costs_at_most_one_chunk_a_worker(place, n_pieces):
    _, _, remote, cache = place
    with process(remote, cache) as running:
        assert read_dots(running, n_pieces).count(b".") == n_pieces
        running.kill()
        running.wait()
    before = asked(cache)
    assert len(before) >= n_pieces // (CHUNK // PIECE)
    finish_and_check(place, before)


STEPS = ["the resumption", "the journal's line", "the renaming", "the manifest", "half a manifest", "the journal's end"]


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_two_steps(place, step):
    _, _, remote, cache = place
    with process(remote, cache, delay_s=0, die_at=step) as running:
        running.communicate()
        assert running.returncode == -signal.SIGKILL
    finish_and_check(place, asked(cache))


def test_a_kill_of_the_resumption(place):
    """Three processes one after another, each killed a third of the way: the chunks of each are kept."""
    _, _, remote, cache = place
    before = []
    for _ in range(3):
        with process(remote, cache) as running:
            read_dots(running, N_PIECES // 4)
            running.kill()
            running.wait()
        begun = asked(cache)
        assert len(set(before) & set(begun)) <= WORKERS
        before = sorted({*before, *begun})
    finish_and_check(place, before)


@pytest.mark.parametrize("n_processes", [2, 4])
def test_processes_at_once_fetch_every_chunk_once(place, n_processes):
    wanted, content, remote, cache = place
    running = [process(remote, cache, delay_s=0.003) for _ in range(n_processes)]
    outputs = []
    try:
        started = [p.__enter__() for p in running]
        outputs = [p.communicate(timeout=60) for p in started]
    finally:
        for p in running:
            p.__exit__(None, None, None)
    assert [out.split()[-1].decode() for out, _ in outputs] == [digest(content)] * n_processes
    assert sum(out.count(b".") > 0 for out, _ in outputs) == 1
    starts = asked(cache)
    assert len(starts) == len(set(starts)) == partial.n_chunks(wanted)
    assert_whole(cache, wanted, content)


def test_who_waits_takes_over_from_a_killed_process(place):
    wanted, content, remote, cache = place
    with process(remote, cache, hold_after=60) as first:
        read_dots(first, 60)
        with process(remote, cache) as second:
            said = b""
            while not said.endswith(b")") and (byte := os.read(second.stdout.fileno(), 1)):
                said += byte
            before = asked(cache)
            first.kill()
            out, _ = second.communicate(timeout=60)
    assert b"waiting for another process" in said
    assert out.split()[-1].decode() == digest(content)
    again = asked(cache)
    assert len(again) < partial.n_chunks(wanted)
    assert len(set(before) & set(again)) <= WORKERS
    assert_whole(cache, wanted, content)


@pytest.mark.parametrize("limit", [1, 1 << 12, ROWS * 64 // 2])
def test_a_full_disk_is_said_before_a_byte_is_asked_for(place, limit):
    """A file may have ``limit`` bytes: the system refuses the room as it does on a full disk."""
    _, _, remote, cache = place
    with process(remote, cache, max_file_bytes=limit) as running:
        out, err = running.communicate()
    assert running.returncode == 1 and out == b""
    assert b"OutputError" in err and b"FORENSICS_CACHE" in err
    assert asked(cache) == []
    finish_and_check(place, [])
