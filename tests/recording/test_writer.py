"""A recording while it is written: kills, readers beside it, full disks, resumed runs."""

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from forensics.errors import OutputError, RecordingError
from forensics.recording import Channel, RecordingWriter, open_recording
from forensics.recording import writer as writer_module
from tests.recording.runs import CHANNELS, CONFIG, MADE_OF, VOCAB, frames, in_memory, on_disk, same

ROOT = Path(__file__).parent.parent.parent

WRITE_ON = """
import sys
from forensics.recording import RecordingWriter, writer
from tests.recording.runs import CHANNELS, CONFIG, MADE_OF, frames
writer.PUBLISH_S = 0.05
with RecordingWriter.create(sys.argv[1], CONFIG, CHANNELS, **MADE_OF) as made:
    for step, frame in frames(int(sys.argv[2])):
        made.append(step, frame)
        if step % 25 == 20:
            made.flush()
            print(step, flush=True)
"""


def write_beside(folder, steps):
    """Another process that records; prints a step when all up to it is flushed."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.Popen(
        [sys.executable, "-c", WRITE_ON, str(folder), str(steps)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def truth():
    return in_memory(400)


def wait_for(path):
    for _ in range(2000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path.name} never came")


def test_a_reader_beside_the_writer_sees_whole_frames(tmp_path, truth):
    folder, seen = tmp_path / "run", set()
    with write_beside(folder, 200) as process:
        wait_for(folder / "frames.json")
        while process.poll() is None:
            recording = open_recording(folder)
            same(recording, truth_to(truth, recording))
            seen.add(len(recording.steps("W")))
    assert process.returncode == 0 and len(seen) > 3
    same(open_recording(folder), in_memory(200))


def truth_to(truth, recording):
    """The truth cut to as many frames of each channel as the recording holds."""
    from forensics.recording import Recording

    counts = {c.name: len(recording.steps(c.name)) for c in recording.channels}
    last = max((int(recording.steps(n)[-1]) for n, k in counts.items() if k), default=-1)
    ends = {n: int(recording.steps(n)[-1]) if k else -1 for n, k in counts.items()}

    def cut():
        for step in range(last + 1):
            yield step, {n: truth.frame(n, step) for n, end in ends.items() if step <= end and step in truth.steps(n)}

    return Recording.from_frames(CONFIG, CHANNELS, cut(), **MADE_OF)


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_costs_the_unfinished_chunk(tmp_path, truth, seed):
    folder = tmp_path / "run"
    with write_beside(folder, 400) as process:
        wait_for(folder / "frames.json")
        time.sleep(random.Random(seed).uniform(0.02, 0.6))
        process.send_signal(signal.SIGKILL)
        flushed = [int(line) for line in process.stdout]
    recording = open_recording(folder)
    same(recording, truth_to(truth, recording))
    for name in ("W", "loss", "m"):
        expected = truth.steps(name)[truth.steps(name) <= (flushed[-1] if flushed else -1)]
        assert len(recording.steps(name)) >= len(expected)
    # And it goes on, with nothing in the way.
    at = flushed[-1] if flushed else -1
    with RecordingWriter.reopen(folder, at) as writer:
        for step, frame in frames(at + 30):
            if step > at:
                writer.append(step, frame)
    same(open_recording(folder), in_memory(at + 30))


@pytest.mark.parametrize(("stop", "after"), [(40, 20), (40, 31), (40, 15), (40, 0), (33, 32), (20, 19), (10, 4)])
def test_reopened_it_is_as_if_it_had_never_stopped(tmp_path, stop, after):
    on_disk(tmp_path / "run", stop)
    with RecordingWriter.reopen(tmp_path / "run", after) as writer:
        assert open_recording(tmp_path / "run").steps("W").tolist() == list(range(after + 1))
        for step, frame in frames(50):
            if step > after:
                writer.append(step, frame)
    same(open_recording(tmp_path / "run"), in_memory(50))
    on_disk(tmp_path / "whole", 50)
    for part in ("W", "loss", "m"):
        assert files(tmp_path / "run" / part) == files(tmp_path / "whole" / part)
    assert (tmp_path / "run" / "frames.json").read_bytes() == (tmp_path / "whole" / "frames.json").read_bytes()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_not_flushed_cannot_be_resumed_from(tmp_path):
    writer = RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF)
    for step, frame in frames(36):
        writer.append(step, frame)
        if step == 20:
            writer.flush()
    writer._lock.release()  # as a kill would
    kept = open_recording(tmp_path / "run")
    assert kept.steps("W").tolist() == list(range(32)) and kept.steps("m").tolist() == list(range(0, 21, 3))
    for step in (21, 31):
        with pytest.raises(RecordingError, match=f"complete to step 20, so it cannot go on after {step}; go on from"):
            RecordingWriter.reopen(tmp_path / "run", step)
    RecordingWriter.reopen(tmp_path / "run", 20).close()


def test_what_is_dropped_is_gone(tmp_path):
    on_disk(tmp_path / "run", 40)
    RecordingWriter.reopen(tmp_path / "run", 20).close()
    same(open_recording(tmp_path / "run"), in_memory(21))
    assert set(files(tmp_path / "run" / "W")) == {"zarr.json", "c.0.0.0", "c.1.0.0"}
    assert json.loads((tmp_path / "run" / "W" / "zarr.json").read_text())["shape"][0] == 21


def test_flushing_often_changes_nothing(tmp_path):
    with RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF) as writer:
        for step, frame in frames(18):
            writer.append(step, frame)
            writer.flush()
    on_disk(tmp_path / "whole", 18)
    for name in ("W", "loss", "h_mean", "grad"):
        assert files(tmp_path / "run" / name) == files(tmp_path / "whole" / name)


def test_small_channels_are_there_after_some_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "PUBLISH_S", 0.0)
    writer = RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF)
    for step, frame in frames(5):
        writer.append(step, frame)
    beside = open_recording(tmp_path / "run")
    assert beside.steps("loss").tolist() == list(range(5)) and not len(beside.steps("W"))
    writer.close()


def test_one_writer_at_a_time(tmp_path):
    with RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF):
        for again in (lambda: RecordingWriter.reopen(tmp_path / "run", 0),
                      lambda: RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF)):  # fmt: skip
            with pytest.raises(RecordingError, match="run: another process writes this recording"):
                again()
    with pytest.raises(OutputError, match="run: holds a recording; go on with it by resuming"):
        RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF)
    assert not (tmp_path / "run" / ".writing").exists()


def test_a_folder_with_other_things(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RecordingWriter.create(tmp_path, CONFIG, CHANNELS, **MADE_OF).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    (other / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(OutputError, match="other: holds other Zarr data; choose another folder"):
        RecordingWriter.create(other, CONFIG, CHANNELS, **MADE_OF)


def test_one_that_was_cut_off_at_birth_is_made_again(tmp_path):
    RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF).close()
    (tmp_path / "run" / "frames.json").unlink()
    with pytest.raises(RecordingError, match="not a whole recording"):
        open_recording(tmp_path / "run")
    on_disk(tmp_path / "run", 3)


def test_an_error_inside_keeps_what_was_recorded(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF) as writer,
    ):
        for step, frame in frames(20):
            writer.append(step, frame)
        raise ZeroDivisionError
    same(open_recording(tmp_path / "run"), in_memory(20))


def test_a_full_disk(tmp_path):
    """No file may grow beyond 64 KiB: a chunk of W cannot be written, smaller ones can."""
    folder = tmp_path / "run"
    writer = RecordingWriter.create(folder, CONFIG, CHANNELS, **MADE_OF)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = list(frames(40))
    for step, frame in run[:20]:
        writer.append(step, frame)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(OutputError, match="run: the recording cannot be written, the file is too large; free some"):
            for step, frame in run[20:]:
                writer.append(step, frame)
        same(open_recording(folder), in_memory(20), upto=15)
        with pytest.raises(OutputError, match="too large"):
            writer.append(32, run[32][1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(folder.rglob("*.partial"))
    # There is room again: nothing was lost.
    for step, frame in run[32:]:
        writer.append(step, frame)
    writer.close()
    same(open_recording(folder), in_memory(40))


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the quota is used up"), (errno.EIO, os.strerror(errno.EIO))],
)
def test_a_file_system_that_refuses(tmp_path, monkeypatch, code, said):
    writer = RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF)
    writer.append(0, next(frames(1))[1])

    def refuse(self, target):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match=f"cannot be written, {said}"):
        writer.flush()
    monkeypatch.undo()
    writer.close()
    same(open_recording(tmp_path / "run"), in_memory(1))


def test_an_error_of_the_run_is_not_hidden_by_the_disks(tmp_path, monkeypatch):
    with (
        pytest.raises(ZeroDivisionError),
        RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF) as writer,
    ):
        writer.append(0, next(frames(1))[1])
        monkeypatch.setattr(writer, "flush", lambda: (_ for _ in ()).throw(OutputError("full")))
        raise ZeroDivisionError
    assert not (tmp_path / "run" / ".writing").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        RecordingWriter.create(tmp_path / "file" / "run", CONFIG, CHANNELS, **MADE_OF)


def test_a_large_frame_takes_a_small_chunk(tmp_path):
    """Memory while it is written is bounded in bytes, not in frames."""
    from forensics.recording.layout import layout_of

    assert layout_of(Channel("W", (3988, 2560), "uint16")).frames == 4
    assert layout_of(Channel("W", (3988, 128), "uint16")).frames == 16
    assert layout_of(Channel("loss", (), "float64")).frames == 1024
    rows = layout_of(Channel("W", (VOCAB, 2), "uint16")).rows
    assert rows is None
    with RecordingWriter.create(tmp_path / "run", {}, [Channel("x", (1, 3, 40000), "uint16")], **MADE_OF) as writer:
        for step in range(18):
            writer.append(step, {"x": np.full((1, 3, 40000), step, np.uint16)})
    assert open_recording(tmp_path / "run").frame("x", 17).max() == 17


def test_frames_of_zeros_are_written_after_a_reopen_too(tmp_path):
    """zarr leaves out chunks of zeros unless it is told not to, and forgets that when it opens an array again."""
    zeros = np.zeros((), "int64")
    with RecordingWriter.create(tmp_path / "run", {}, [Channel("n", (), "int64")], vocab_size=4, dead_ids=[1]) as made:
        for step in range(3):
            made.append(step, {"n": zeros})
    with RecordingWriter.reopen(tmp_path / "run", 1, config={"steps": 9}) as made:
        made.append(2, {"n": zeros})
        made.append(3, {"n": zeros})
    recording = open_recording(tmp_path / "run")
    assert recording.series("n").tolist() == [0] * 4
    assert recording.config == {"steps": 9}
