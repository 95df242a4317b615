"""A polite kill ends a command as Ctrl-C does: its own exit code, one line, and no worker left behind."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forensics_cli.main import _terminable
from tests.hypotheses.made_sweeps import write_file

MAIN = "from forensics_cli.main import cli; cli()"


def parents():
    """The parent of every process."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            found[int(stat.parent.name)] = int(parent)
    return found


def wait(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are read from /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_kill_ends_the_command_and_its_workers(tmp_path, workers):
    mine = write_file(tmp_path, pause=0.2, fails=0)
    source = ["hypotheses", "synth:cause-frozen", "--dead", "holes", "--only", mine]
    command = [sys.executable, "-c", MAIN, *source, "--budget", "1000", "--workers", str(workers)]
    process = subprocess.Popen(
        [*command, "--store", "store"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        store = tmp_path / "store" / "uneven.jsonl"
        assert wait(lambda: process.poll() is not None or (store.exists() and store.read_bytes().count(b"\n") > 2), 60)
        children = [child for child, parent in parents().items() if parent == process.pid]
        assert len(children) >= (2 if workers > 1 else 0)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert out == "" and err.strip().splitlines()[0] == "error: terminated" and "Traceback" not in err, err
    assert wait(lambda: not set(children) & set(parents()), 10)


def test_workers_are_ended_wherever_the_interrupt_came():
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    worker.start()
    with pytest.raises(KeyboardInterrupt), _terminable():
        raise KeyboardInterrupt
    worker.join(10)
    assert worker.exitcode == -signal.SIGTERM and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_signal_is_the_exit_code(number, code):
    kill = f"import os, forensics_cli.claims as c; c.command.callback = lambda **k: os.kill(os.getpid(), {int(number)})"
    given = [sys.executable, "-c", f"{kill}; {MAIN}", "claims", "x"]
    done = subprocess.run(given, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
