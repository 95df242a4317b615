"""The accessors, which are the same in memory and on disk."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from forensics.errors import OutputError, RecordingError
from forensics.formats import BFLOAT16
from forensics.recording import Channel, Recording, RecordingWriter, open_recording
from tests.recording.runs import CHANNELS, CONFIG, DEAD, DIM, MADE_OF, VOCAB, frames, in_memory, on_disk, same

STEPS = 39


@pytest.fixture(scope="module", params=["memory", "disk"])
def recording(request, tmp_path_factory):
    return in_memory(STEPS) if request.param == "memory" else on_disk(tmp_path_factory.mktemp("r") / "run", STEPS)


@pytest.fixture(scope="module")
def truth():
    return list(frames(STEPS))


def test_what_it_is_of(recording):
    assert recording.vocab_size == VOCAB and recording.config == CONFIG
    np.testing.assert_array_equal(recording.dead_ids, DEAD)
    np.testing.assert_array_equal(np.sort(np.r_[recording.live_ids, DEAD]), np.arange(VOCAB))
    for given, found in zip(CHANNELS, recording.channels, strict=True):
        for field in ("name", "shape", "dtype", "format", "unit", "definition"):
            assert getattr(given, field) == getattr(found, field)
        np.testing.assert_array_equal(given.token_ids, found.token_ids)


def test_every_frame(recording, truth):
    for name in (c.name for c in CHANNELS):
        expected = [(step, frame[name]) for step, frame in truth if name in frame]
        assert recording.steps(name).tolist() == [step for step, _ in expected]
        for step, frame in reversed(expected):
            found = recording.frame(name, step)
            assert found.dtype == frame.dtype
            np.testing.assert_array_equal(found, frame)


def test_trajectories(recording, truth):
    for token in (0, 131, VOCAB - 1):
        np.testing.assert_array_equal(recording.trajectory(token), np.stack([f["W"][token] for _, f in truth]))
    for name, row in [("m", 2), ("grad", 1)]:
        expected = np.stack([f[name][row] for _, f in truth if name in f])
        np.testing.assert_array_equal(recording.trajectory(8, name), expected)
    assert recording.trajectory(0, "p_live").shape == (STEPS - 1,)


def test_series_are_by_step(recording):
    np.testing.assert_array_equal(recording.series("loss", 5, 9), [5 / 3, 2, np.nan, 8 / 3])
    assert recording.series("h_mean", 0, 3).shape == (2, DIM) and recording.series("h_mean", 9, 2).shape == (0, DIM)
    np.testing.assert_array_equal(recording.series("W", 15, 18)[1], recording.frame("W", 16))
    assert recording.series("never").shape == (0, 3) and recording.series("never").dtype == np.int64


def test_blocks_cover_all(recording):
    for name in ("W", "loss", "grad", "never"):
        parts = list(recording.blocks(name))
        steps = np.concatenate([s for s, _ in parts]) if parts else []
        np.testing.assert_array_equal(steps, recording.steps(name))
        if parts:
            np.testing.assert_array_equal(np.concatenate([f for _, f in parts]), recording.series(name))
    assert len(next(recording.blocks("W"))[0]) == 16


def test_what_it_hands_out_is_the_callers(recording):
    whole = recording
    for read in (
        lambda: whole.frame("W", 20),
        lambda: whole.series("W", 20, 21),
        lambda: whole.frame("m", 3),
        lambda: whole.trajectory(3),
    ):
        before = read()
        read()[:] = 0
        np.testing.assert_array_equal(read(), before)


def test_an_embedding(recording, truth):
    embedding = recording.embedding(20)
    np.testing.assert_array_equal(embedding.words, truth[20][1]["W"])
    assert (embedding.role, embedding.tensor, embedding.format) == ("tied", "W", BFLOAT16)
    assert embedding.source.kind == "recording" and embedding.source.revision == "20"
    assert str(embedding.source) == f"run:{recording.name} @ 20"
    assert embedding.source.argument == f"run:{recording.name}@20"


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda r: r.frame("los", 1), "no channel 'los' in this recording; did you mean loss?"),
        (lambda r: r.steps("zzz"), "no channel 'zzz' in this recording; it holds W, m, grad"),
        (lambda r: r.require("W", "v"), "v was not recorded; train again with --record v"),
        (lambda r: r.require("q", "v"), "q, v were not recorded; train again with --record q,v"),
        (lambda r: r.frame("m", 4), "channel m: step 4 is not recorded; the nearest are 3 and 6; it holds 13 steps"),
        (lambda r: r.frame("W", STEPS), f"the nearest are {STEPS - 1}; it holds {STEPS} steps"),
        (lambda r: r.frame("never", 0), "channel never: no frame is recorded yet"),
        (
            lambda r: r.trajectory(3, "m"),
            "token 3 is not among the 4 recorded tokens; the nearest recorded ids are 2, 5",
        ),
        (lambda r: r.trajectory(VOCAB), "token 300 is not among the 300 recorded tokens"),
        (lambda r: r.trajectory(-1), "token -1 is not among"),
        (lambda r: r.trajectory(1, "loss"), "channel loss is not recorded by token"),
        (lambda r: r.embedding(0, "m"), "channel m holds no matrix of words, but [4, 120] float32"),
        (lambda r: r.embedding(0, "grad"), "channel grad holds 99 of 300 tokens, not a matrix"),
    ],
)
def test_what_it_has_not(recording, ask, said):
    with pytest.raises(RecordingError, match=re.escape(said)):
        ask(recording)


def test_values_are_the_words_meaning(recording):
    words = recording.frame("grad", 0)
    np.testing.assert_array_equal(recording.channel("grad").values(words), BFLOAT16.widen(words))
    assert recording.channel("m").values(recording.frame("m", 0)).dtype == np.float32


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "../x"}, "letters, digits"),
        ({"name": ""}, "letters, digits"),
        ({"shape": (0,)}, "holds nothing"),
        ({"dtype": "object"}, "dtype is one of"),
        ({"dtype": "float32", "format": "bfloat16"}, "float32 does not hold bfloat16 words"),
        ({"token_ids": np.array([1])}, "name the rows of [2]"),
        ({"token_ids": np.array([2, 1])}, "do not ascend"),
        ({"token_ids": np.array([-1, 1])}, "do not ascend"),
        ({"token_ids": np.array([0.0, 1.0])}, "name the rows of [2], found float64[2]"),
    ],
)
def test_a_channel_that_is_none(fields, said):
    with pytest.raises(RecordingError, match=re.escape(said)):
        Channel(**({"name": "x", "shape": (2,), "dtype": "uint16"} | fields))


@pytest.mark.parametrize(
    ("channels", "made_of", "said"),
    [
        ([Channel("a", (), "int64"), Channel("A", (), "int64")], {}, "channel A is given twice"),
        ([], {"dead_ids": [1, 1]}, "dead ids are distinct"),
        ([], {"dead_ids": [VOCAB]}, "dead ids are distinct and below 300"),
        ([Channel("a", (1,), "int64", token_ids=np.array([VOCAB]))], {}, "token 300 is beyond the 300"),
        ([], {"config": {"a": np.nan}}, "config: JSON cannot hold it"),
        ([], {"extra": {"a": object()}}, "extra: JSON cannot hold it"),
    ],
)
def test_a_recording_that_cannot_be_made(tmp_path, channels, made_of, said):
    with pytest.raises(RecordingError, match=said):
        RecordingWriter.create(tmp_path / "run", **({"config": {}, "channels": channels} | MADE_OF | made_of))
    with pytest.raises(RecordingError):
        open_recording(tmp_path / "run")


def test_frames_that_do_not_fit(tmp_path):
    loss = np.float64(1)
    writer = RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF)
    writer.append(3, {"loss": loss})
    for step, frame, said in [
        (4, {"los": loss}, "did you mean loss"),
        (4, {"loss": np.float32(1)}, r"channel loss: a frame is \[\] float64, found \[\] float32"),
        (4, {"m": np.zeros((3, DIM), np.float32)}, r"found \[3, 120\] float32"),
        (3, {"loss": loss}, "the next step is 4 or later, found 3"),
        (2, {"h_mean": np.zeros(DIM, np.float32)}, "step 2 comes after step 3"),
        (4, {"loss": loss, "h_mean": np.zeros(2)}, "channel h_mean"),
    ]:
        with pytest.raises(RecordingError, match=said):
            writer.append(step, frame)
    with pytest.raises(RecordingError, match="the next step is 0 or later"):
        Recording.from_frames(CONFIG, CHANNELS, [(-1, {"loss": loss})], **MADE_OF)
    writer.append(4, {"loss": loss})
    writer.close()
    writer.close()
    assert open_recording(tmp_path / "run").steps("loss").tolist() == [3, 4]
    with pytest.raises(OutputError, match="was closed"):
        writer.append(5, {"loss": loss})


def test_frames_are_copied(tmp_path):
    words = np.zeros((VOCAB, DIM), np.uint16)
    with RecordingWriter.create(tmp_path / "run", CONFIG, CHANNELS, **MADE_OF) as writer:
        for step in range(3):
            words += 1
            writer.append(step, {"W": words})
    assert open_recording(tmp_path / "run").trajectory(0)[:, 0].tolist() == [1, 2, 3]


def test_many_chunks_of_a_small_channel(tmp_path):
    with RecordingWriter.create(tmp_path / "run", {}, CHANNELS, **MADE_OF) as writer:
        for step in range(2500):
            writer.append(step, {"loss": np.float64(step)})
    recording = open_recording(tmp_path / "run")
    np.testing.assert_array_equal(recording.series("loss"), np.arange(2500.0))
    assert len(list((tmp_path / "run" / "loss").glob("c.*"))) == 3


def test_a_stranger_reads_it_with_zarr_alone(tmp_path):
    import zarr

    words = on_disk(tmp_path / "run", STEPS).series("W")
    array = zarr.open_group(str(tmp_path / "run"), mode="r")["W"]
    assert array.shape == words.shape and array.attrs["format"] == "bfloat16"
    assert "zigzag" in array.attrs["encoding"]
    n, found = array.attrs["frames_per_chunk"], []
    for start in range(0, len(words), n):
        z = array[start : start + n]
        d = (z >> 1) ^ -(z & 1)
        d[0] = z[0]
        found.append(np.cumsum(d, axis=0, dtype=z.dtype))
    np.testing.assert_array_equal(np.concatenate(found), words)
    assert json.loads((tmp_path / "run" / "frames.json").read_text())["steps"]["m"] == [[0, 3, 13]]


def test_reading_leaves_no_trace(tmp_path):
    folder = tmp_path / "run"
    on_disk(folder, 20)
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    recording = open_recording(folder)
    recording.frame("W", 17), recording.trajectory(4), list(recording.blocks("m"))
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before
    assert not list(folder.rglob(".*"))


def test_it_compresses_what_hardly_moves(tmp_path):
    folder = tmp_path / "run"
    on_disk(folder, 48)
    stored = sum(path.stat().st_size for path in (folder / "W").iterdir())
    assert stored < 0.6 * 48 * VOCAB * DIM * 2  # steps of +-40 hold 6.3 of 16 bits


def test_memory_and_disk_are_the_same(tmp_path):
    same(on_disk(tmp_path / "run", 33), in_memory(33))


def test_zarr_is_loaded_for_recordings_only(tmp_path):
    on_disk(tmp_path / "run", 2)
    code = (
        "import sys, forensics, forensics.sources;"
        "from forensics.recording import open_recording; assert 'zarr' not in sys.modules;"
        f"open_recording({str(tmp_path / 'run')!r}).frame('W', 0); assert 'zarr' in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    root = Path(__file__).parent.parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(root), "PATH": ""})
