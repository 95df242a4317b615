"""Simulations on disk: kept as they come, gone on with after a kill, never mixed with others."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.errors import ConfigError, OutputError, RecordingError
from forensics.hypotheses.sweeps.simulation import Simulation
from forensics.hypotheses.sweeps.store import Store
from forensics.hypotheses.sweeps.sweep import make_tasks, sweep
from tests.hypotheses.made_sweeps import make_reference, small_context

ROOT = Path(__file__).parents[2]
SETTINGS = {"seed": 1, "source": {"kind": "memory"}}
DIGESTS = {"a": "0a", "b": "0b"}


def made(name, index):
    error = "ValueError: third" if index % 3 == 0 else None
    return Simulation(name, index, {"sigma": 0.1 * index, "anchor": "on"}, {"holes": 1 / (index + 1), "x": None}, error)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(st.permutations(range(9)), st.integers(0, 9))
@settings(max_examples=20)
def test_any_order_gives_the_same_files(tmp_path_factory, order, cut):
    folder = tmp_path_factory.mktemp("store")
    for part in (order[:cut], order[cut:]):
        with Store(folder, SETTINGS, DIGESTS) as store:
            for index in part:
                store.add([made("a", index), made("b", index + 1)])
    in_memory = Store(None, SETTINGS, DIGESTS)
    in_memory.add(made("a", index) for index in range(9))
    with Store(folder, SETTINGS, DIGESTS) as store:
        assert store.simulations("a", 9) == in_memory.simulations("a", 9) == tuple(made("a", i) for i in range(9))
        assert store.simulations("b", 3) == (made("b", 1), made("b", 2))
        assert store.missing("b", 12) == [0, 10, 11]
    lines = (folder / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(9))
    assert sorted(files(folder)) == ["a.jsonl", "b.jsonl", "settings.json"]


def test_what_is_added_is_on_disk_at_once(tmp_path):
    with Store(tmp_path, SETTINGS, DIGESTS) as store:
        store.add([made("a", 5)])
        assert json.loads((tmp_path / "a.jsonl").read_text())["index"] == 5


@pytest.mark.parametrize("torn", [1, 20, -1])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    with Store(tmp_path, SETTINGS, DIGESTS) as store:
        store.add([made("a", 0), made("a", 1)])
    whole = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "a.jsonl").write_bytes(whole + whole.splitlines()[0][:torn])
    with Store(tmp_path, SETTINGS, DIGESTS) as store:
        assert store.missing("a", 3) == [2]
        store.add([made("a", 2)])
    with Store(tmp_path, SETTINGS, DIGESTS) as store:
        assert len(store.simulations("a", 3)) == 3


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 5000,
        b'{"index": -1, "parameters": {}, "observables": {}, "error": null}',
        b'{"index": 0, "parameters": {}, "observables": {}, "error": null}',
        b'{"index": 7, "parameters": {}, "observables": {"x": NaN}, "error": null}',
        b'{"index": 7, "parameters": {"x": []}, "observables": {}, "error": null}',
        b'{"index": 7, "parameters": {}, "observables": {"x": "1"}, "error": null}',
        b'{"index": 7, "parameters": {}, "observables": [], "error": null}',
    ],
)
def test_other_damage_is_named(tmp_path, line):
    with Store(tmp_path / "s", SETTINGS, DIGESTS) as store:
        store.add([made("a", 0), made("a", 1)])
    with (tmp_path / "s" / "a.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RecordingError, match="s/a.jsonl: line 3 is damaged"):
        Store(tmp_path / "s", SETTINGS, DIGESTS)
    (tmp_path / "s" / "a.jsonl").unlink()
    Store(tmp_path / "s", SETTINGS, DIGESTS).close()  # the lock is free again


def test_others_are_refused(tmp_path):
    with Store(tmp_path, SETTINGS, {"a": "0a"}) as store:
        store.add([made("a", 0)])
    before = files(tmp_path)
    with pytest.raises(ConfigError, match="seed was 1, now it is 2"):
        Store(tmp_path, {**SETTINGS, "seed": 2}, {"a": "0a"})
    with pytest.raises(ConfigError, match="tensor was null"):
        Store(tmp_path, {**SETTINGS, "tensor": "x"}, {"a": "0a"})
    with pytest.raises(ConfigError, match="a has been edited") as refused:
        Store(tmp_path, SETTINGS, {"a": "0c", "b": "0b"})
    assert "remove this one" in refused.value.hint and files(tmp_path) == before
    with Store(tmp_path, SETTINGS, {"b": "0b"}):  # another hypothesis is welcome, and the first stays known
        pass
    with pytest.raises(ConfigError, match="a has been edited"):
        Store(tmp_path, SETTINGS, {"a": "0c"})


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "other/1", "settings": {}, "hypotheses": {}}', "[" * 9999]
)
def test_a_folder_of_something_else(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(RecordingError, match="settings.json"):
        Store(tmp_path, SETTINGS, DIGESTS)
    (tmp_path / "settings.json").unlink()
    (tmp_path / "z.jsonl").write_text("")
    with pytest.raises(RecordingError, match=r"without settings\.json"):
        Store(tmp_path, SETTINGS, DIGESTS)


def test_two_at_once(tmp_path):
    with Store(tmp_path, SETTINGS, DIGESTS), pytest.raises(RecordingError, match="another process runs simulations"):
        Store(tmp_path, SETTINGS, DIGESTS)
    Store(tmp_path, SETTINGS, DIGESTS).close()


def test_no_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be kept here"):
        Store(tmp_path / "file" / "store", SETTINGS, DIGESTS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk(tmp_path):
    store = Store(tmp_path, SETTINGS, DIGESTS)
    store.add([made("a", 0)])
    (tmp_path / "b.jsonl").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        store.add([made("b", 0)])
    (tmp_path / "b.jsonl").unlink()
    with pytest.raises(OutputError):  # /dev/full cannot be synced either: the lock is given up all the same
        store.close()
    with Store(tmp_path, SETTINGS, DIGESTS) as again:
        assert again.missing("a", 2) == [1] and again.missing("b", 1) == [0]


KILLED = """
import sys
from pathlib import Path
from tests.hypotheses.test_store import run
folder, workers = Path(sys.argv[1]), int(sys.argv[2])
run(folder, workers, watch=lambda n: print(n, flush=True))
"""


def run(folder, workers=1, watch=lambda n: None):
    """40 simulations of a hypothesis in the folder above."""
    reference = make_reference(folder.parent, pause=0.02)
    with Store(folder, SETTINGS, {reference.name: reference.digest}) as store:
        tasks = make_tasks({reference: store.missing(reference.name, 40)}, 1)
        for n, simulations in enumerate(sweep(tasks, small_context(), workers=workers)):
            store.add(simulations)
            watch(n)


def killed(folder, workers, after):
    """Runs in a process of its own and kills it after so many batches; what had been kept by then."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", KILLED, str(folder), str(workers)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        for _ in range(after):
            assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    return (folder / "uneven.jsonl").read_bytes().count(b"\n")


def test_killed_twice_and_resumed(tmp_path):
    run(tmp_path / "whole")
    first = killed(tmp_path / "cut", 1, 3)
    second = killed(tmp_path / "cut", 1, 5)
    assert 3 <= first < second < 40
    run(tmp_path / "cut")
    ours, theirs = files(tmp_path / "cut"), files(tmp_path / "whole")
    assert ours.pop(".writing", b"") == b""  # what the killed one left of its lock
    assert ours == theirs


@pytest.mark.slow
def test_killed_at_work_of_several(tmp_path):
    run(tmp_path / "whole")
    assert killed(tmp_path / "cut", 2, 1) in (15, 25)  # one of two chunks
    run(tmp_path / "cut", 3)
    assert files(tmp_path / "cut")["uneven.jsonl"] == files(tmp_path / "whole")["uneven.jsonl"]
