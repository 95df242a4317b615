"""Damaged and foreign folders: one line that says where, or the very frames that were written."""

import json
import random
import re
import shutil

import numpy as np
import pytest

from forensics.errors import RecordingError
from forensics.recording import open_recording
from tests.recording.runs import in_memory, on_disk

STEPS = 36


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    on_disk(folder, STEPS)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture(scope="module")
def truth():
    return in_memory(STEPS)


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def read_all(folder):
    recording = open_recording(folder)
    for channel in recording.channels:
        for _ in recording.blocks(channel.name):
            pass
    return recording


def test_a_missing_chunk(folder):
    (folder / "W" / "c.1.0.0").unlink()
    recording = open_recording(folder)
    said = re.escape("run: channel W, chunk 1 (steps 16 to 31) is missing; copy the folder again")
    for read in (lambda: recording.frame("W", 20), lambda: recording.trajectory(5), lambda: recording.series("W")):
        with pytest.raises(RecordingError, match=said):
            read()
    recording.frame("W", 15), recording.frame("W", 32), recording.series("loss")


@pytest.mark.parametrize("at", [0.0, 0.3, 0.7, 0.999])
def test_a_damaged_chunk(folder, truth, at):
    path = folder / "W" / "c.1.0.0"
    raw = bytearray(path.read_bytes())
    raw[int(at * (len(raw) - 1))] ^= 0x10
    path.write_bytes(raw)
    recording = open_recording(folder)
    with pytest.raises(RecordingError, match=re.escape("run: channel W, chunk 1 (steps 16 to 31) is damaged (")):
        recording.series("W")
    with pytest.raises(RecordingError, match="chunk 1"):
        [recording.trajectory(token) for token in range(300)]
    np.testing.assert_array_equal(recording.series("W", 0, 16), truth.series("W", 0, 16))
    np.testing.assert_array_equal(recording.series("W", 32), truth.series("W", 32))


def test_any_damage_is_said_or_harmless(whole, folder, truth):
    """Bits flipped, bytes cut off or added, anywhere in any file."""
    rng = random.Random(0)
    paths = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    for turn in range(100):
        name = rng.choice(paths) if turn % 2 else rng.choice([p for p in paths if p.suffix == ".json"])
        raw = bytearray((whole / name).read_bytes())
        if turn % 3 == 0:
            del raw[rng.randrange(len(raw)) :]
        else:
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        (folder / name).write_bytes(raw)
        try:
            recording = read_all(folder)
            recording.trajectory(7)
        except RecordingError as error:
            assert "\n" not in str(error)
        else:
            if name.suffix != ".json":
                for channel in truth.channels:
                    np.testing.assert_array_equal(recording.series(channel.name), truth.series(channel.name))
        (folder / name).write_bytes((whole / name).read_bytes())


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        ("zarr.json", lambda d: d["attributes"].update(schema="forensics.recording/2", written_by="9.9"),
         "format forensics.recording/2, this version reads forensics.recording/1; it was written by forensics 9.9"),
        ("zarr.json", lambda d: d["attributes"].pop("schema"), "run: a Zarr folder, but not a recording"),
        ("zarr.json", lambda d: d.pop("attributes"), "run: a Zarr folder, but not a recording"),
        ("zarr.json", lambda d: d["attributes"].pop("config"), "does not say what was recorded"),
        ("zarr.json", lambda d: d["attributes"].update(channels=["../../etc"]), "a channel's name is letters"),
        ("zarr.json", lambda d: d["attributes"].update(vocab_size=7), "dead ids are distinct and below 7"),
        ("zarr.json", lambda d: d["attributes"].update(vocab_size=1 << 60), "a vocabulary of 1,152,"),
        ("frames.json", lambda d: d.pop("steps"), "frames.json holds no steps"),
        ("frames.json", lambda d: d["steps"].update(W=[[0, 1, 99]]), "W is cut short: 36 of 99 frames are there"),
        ("frames.json", lambda d: d["steps"].update(W=[[0, 1, 1 << 50]]), "do not go on"),
        ("W/zarr.json", lambda d: d["attributes"].pop("tokens"), "channel W does not say what it holds"),
        ("W/zarr.json", lambda d: d["attributes"].update(format="float32"), "uint16 does not hold float32 words"),
        ("W/zarr.json", lambda d: d["shape"].pop(), "name the rows|not whole frames|damaged"),
        ("W/zarr.json", lambda d: d.update(data_type="string"), "dtype is one of"),
        ("W/zarr.json", lambda d: d["codecs"].insert(0, {"name": "numcodecs.pickle"}),
         "W is packed with numcodecs.pickle, which no recording uses"),
        ("W/zarr.json", lambda d: d["codecs"][0]["configuration"]["codecs"].append({"name": "x"}), "packed with x"),
        ("W/zarr.json", lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[16, 100, 120]),
         "not whole frames|damaged"),
    ],
)  # fmt: skip
def test_lies(folder, path, change, said):
    edit(folder / path, change)
    with pytest.raises(RecordingError, match=said):
        read_all(folder)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("zarr.json", "run: not a recording [(]it has no zarr.json[)]; name the folder"),
        ("frames.json", "run: not a whole recording [(]it has no frames.json[)]"),
        ("W/zarr.json", "run: W is missing from the folder; copy the folder again"),
        ("token_ids/dead/zarr.json", "run: token_ids/dead is missing"),
        ("token_ids/m/zarr.json", "run: token_ids/m is missing"),
    ],
)
def test_files_that_are_missing(folder, gone, said):
    (folder / gone).unlink()
    with pytest.raises(RecordingError, match=said):
        read_all(folder)


@pytest.mark.parametrize("name", ["gone", "file", "empty"])
def test_what_is_no_folder_of_a_recording(tmp_path, name):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match=f"{name}: (no such folder|not a recording)"):
        open_recording(tmp_path / name)
