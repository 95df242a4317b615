"""A run on the disk: begun, stopped, killed, resumed; every word as if nothing had happened."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from forensics.errors import ConfigError, OutputError, RecordingError, TrainingError
from forensics.recording import open_recording
from forensics.toy import run as runs
from forensics.toy import saves
from forensics.toy.config import RunConfig, override

ROOT = Path(__file__).parents[2]
CONFIG = RunConfig.from_dict(
    {
        "name": "small",
        "steps": 80,
        "threads": 1,
        "checkpoint_every": 16,
        "corpus": {"kind": "synthetic", "vocab": 64, "dead": 24, "tokens": 8_000},
        "batches": {"batch": 4, "context": 12},
        "model": {"layers": 1, "dim": 8, "heads": 2, "ff": 16},
        "optimizer": {"lr": 3e-3},
        "record": {"channels": ["W", "grad", "m", "v", "loss", "h_mean", "spread", "summaries"]},
    }
)
EVERYTHING = "W,grad,m,v,loss,h_mean,spread,clusters,probe,logits,p_dead,summaries,h_full,p_dead_full,dead_grad"


def train(config, folder, **options):
    run = runs.begin(config, folder, device="cpu")
    try:
        runs.carry_on(run, **options)
    finally:
        run.close()
    return run


def contents(folder):
    recording = open_recording(folder)
    return {c.name: (recording.steps(c.name), recording.series(c.name)) for c in recording.channels}


def assert_same(a, b):
    left, right = contents(a), contents(b)
    assert left.keys() == right.keys()
    for name in left:
        assert np.array_equal(left[name][0], right[name][0]), name
        assert np.array_equal(left[name][1].view(np.uint8), right[name][1].view(np.uint8)), name
    final = [saves.load_last(folder) for folder in (a, b)]
    assert final[0][0] == final[1][0]
    for name, tensor in final[0][1]["updater"].items():
        assert tensor.equal(final[1][1]["updater"][name]), name
    assert final[0][1]["events"] == final[1][1]["events"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(CONFIG, folder)
    return folder


def test_a_recording_of_every_step(whole):
    recording = open_recording(whole)
    assert recording.steps("W").tolist() == list(range(81))
    assert recording.steps("loss").tolist() == list(range(1, 81))
    assert RunConfig.from_dict(recording.config) == CONFIG
    assert len(recording.dead_ids) == 24


def test_recorders_change_no_word(whole, tmp_path):
    train(override(CONFIG, [f"record.channels={EVERYTHING}"]), tmp_path / "all")
    train(override(CONFIG, ["record.channels=W", "record.every=20"]), tmp_path / "few")
    every, few, plain = (open_recording(f) for f in (tmp_path / "all", tmp_path / "few", whole))
    assert np.array_equal(every.series("W"), plain.series("W"))
    assert few.steps("W").tolist() == [0, 20, 40, 60, 80]
    assert np.array_equal(few.series("W"), plain.series("W")[::20])


@pytest.mark.parametrize("precision", ["bf16", "bf16-stochastic", "mixed"])
def test_stopped_and_resumed(precision, tmp_path):
    config = override(CONFIG, [f"precision={precision}", "steps=30", "checkpoint_every=7"])
    train(config, tmp_path / "whole")
    run = train(config, tmp_path / "twice", stopped=iter([False] * 17 + [True] * 99).__next__)
    assert run.step == 18
    run = runs.resume(tmp_path / "twice", device="cpu")
    assert runs.carry_on(run)
    run.close()
    assert_same(tmp_path / "whole", tmp_path / "twice")


KILLED = """
import sys, time
from forensics.toy import run as runs
from tests.toy.test_run import CONFIG
folder, resume, pause = sys.argv[1], sys.argv[2] == "resume", float(sys.argv[3])
run = runs.resume(folder, device="cpu") if resume else runs.begin(CONFIG, folder, device="cpu")
print("ready", flush=True)
runs.carry_on(run, watch=lambda step, events: time.sleep(pause))
run.close()
"""


def killed(folder, resume, after):
    """Trains in a process of its own and kills it after so many seconds of training; True if it had ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(folder), "resume" if resume else "begin", "0.01"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(after)
        child.send_signal(signal.SIGKILL)
        return child.wait() == 0


@pytest.mark.slow
def test_killed_at_twenty_random_points(whole, tmp_path):
    rng, kills, folder = random.Random(1), 0, tmp_path / "run"
    resume = False
    while kills < 20:
        if killed(folder, resume, rng.uniform(0.01, 0.5)):
            shutil.rmtree(folder)  # it ended before the kill: count another one
            resume = False
            continue
        kills, resume = kills + 1, True
    run = runs.resume(folder, device="cpu")
    runs.carry_on(run)
    run.close()
    assert_same(whole, folder)


def test_killed_twice(whole, tmp_path):
    assert not killed(tmp_path / "run", False, 0.3)
    assert not killed(tmp_path / "run", True, 0.2)
    run = runs.resume(tmp_path / "run", device="cpu")
    runs.carry_on(run)
    run.close()
    assert_same(whole, tmp_path / "run")


def test_a_damaged_checkpoint_falls_back_to_the_one_before(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    last = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    raw = bytearray(last.read_bytes())
    raw[len(raw) // 2] ^= 1
    last.write_bytes(raw)
    run = runs.resume(tmp_path / "run", device="cpu")
    assert run.step == 64
    runs.carry_on(run)
    run.close()
    assert_same(whole, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(RecordingError, match="damaged: step-00000080"):
        runs.resume(tmp_path / "run")


def test_longer(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    run = runs.resume(tmp_path / "run", device="cpu", steps=96)
    runs.carry_on(run)
    run.close()
    train(override(CONFIG, ["steps=96"]), tmp_path / "long")
    assert_same(tmp_path / "run", tmp_path / "long")
    assert open_recording(tmp_path / "run").config["steps"] == 96


def test_refused(whole, tmp_path):
    with pytest.raises(ConfigError, match="optimizer.lr was 0.003, now it is 0.1"):
        runs.resume(whole, config=override(CONFIG, ["optimizer.lr=0.1"]))
    with pytest.raises(OutputError, match="holds a recording"):
        runs.begin(CONFIG, whole)
    with pytest.raises(RecordingError):
        runs.resume(tmp_path)
    with pytest.raises(ConfigError, match="no dead tokens"):
        runs.begin(override(CONFIG, ["corpus.dead=0"]), tmp_path / "none")
    with pytest.raises(ConfigError, match="device cuda is not there"):
        runs.begin(CONFIG, tmp_path / "none", device="cuda")
    with pytest.raises(ConfigError, match="not a device"):
        runs.begin(CONFIG, tmp_path / "none", device="tpu")
    with pytest.raises(ConfigError, match="linear|follows the run"):
        train(override(CONFIG, ["schedule.kind=linear", "steps=2"]), tmp_path / "linear")
        runs.resume(tmp_path / "linear", steps=5)
    assert not (tmp_path / "none").exists()


def test_a_loss_that_is_no_number_keeps_the_steps_before(tmp_path):
    config = override(CONFIG, ["optimizer.kind=sgd", "optimizer.lr=1e30", "precision=f32", "record.channels=W,loss"])
    with pytest.raises(TrainingError, match="the loss is|not finite"):
        train(config, tmp_path / "run")
    step, _ = saves.load_last(tmp_path / "run")
    assert open_recording(tmp_path / "run").steps("loss").tolist() == list(range(1, step + 1))


def test_a_step_that_is_cut_off_is_not_saved(whole, tmp_path, monkeypatch):
    """A second Ctrl-C, or a disk that fills up, in the midst of a step."""
    run = runs.begin(CONFIG, tmp_path / "run", device="cpu")
    update = run.training.updater.step

    def cut_off(gradient, lr):
        update(gradient, lr)
        if run.training.updater.t == 21:
            raise KeyboardInterrupt

    monkeypatch.setattr(run.training.updater, "step", cut_off)
    with pytest.raises(KeyboardInterrupt):
        runs.carry_on(run)
    run.close()
    run = runs.resume(tmp_path / "run", device="cpu")
    assert run.step == 16
    runs.carry_on(run)
    run.close()
    assert_same(whole, tmp_path / "run")


def test_a_damaged_chunk_costs_the_steps_since_an_older_save(tmp_path):
    """Of a matrix that is large enough for chunks of 16 frames."""
    sizes = [
        "corpus.vocab=3000",
        "corpus.dead=1000",
        "model.dim=64",
        "steps=40",
        "checkpoint_every=10",
        "record.channels=W",
    ]
    config = override(CONFIG, sizes)
    train(config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    last = tmp_path / "run" / "W" / "c.2.0.0"
    raw = bytearray(last.read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    last.write_bytes(raw)
    run = runs.resume(tmp_path / "run", device="cpu")
    assert run.step == 30
    runs.carry_on(run)
    run.close()
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_fewer_steps_than_made_are_refused(whole):
    with pytest.raises(ConfigError, match="80 steps are made, more than the 20 asked for"):
        runs.resume(whole, steps=20)
    assert open_recording(whole).config["steps"] == 80


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    config = override(CONFIG, ["optimizer.eps=0", "initial.tokens.sigma=30", "record.channels=W,loss"])
    with pytest.raises(TrainingError, match="not finite"):
        train(config, tmp_path / "run")
    recording = open_recording(tmp_path / "run")
    assert np.isfinite(recording.embedding(int(recording.steps("W")[-1])).values()).all()
