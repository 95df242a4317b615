"""Every question put to a recording: what is there is answered, what is missing is said, nothing breaks the rest."""

import json

import numpy as np
import pytest

from forensics.dynamics import run as runs
from forensics.dynamics.run import QUESTIONS, Question, analyse
from forensics.dynamics.study import study
from forensics.errors import RecordingError, SourceError
from forensics.recording import Channel, Recording, RecordingWriter, open_recording
from tests.dynamics.made_runs import BF16, drifting

OF_W = {"drift", "motion", "lattice", "lifecycle", "freezing", "formation"}


def missing(found):
    return {answer.key: answer.missing for answer in found.answers if answer.result is None}


def test_each_question_is_answered_or_says_what_to_record():
    found = analyse(drifting())
    lacking = missing(found)
    assert lacking.keys() == {question.key for question in QUESTIONS} - OF_W
    for key, what in (
        ("h_mean", "h_mean"),
        ("updates", "--record grad,m,v"),
        ("probe", "probe"),
        ("sharpening", "p_dead"),
    ):
        assert what in lacking[key] and "made" not in lacking[key].partition(":")[0], key
    assert "--record" in lacking["h_mean"]


def test_the_answers_are_those_of_the_analyses_alone():
    from forensics.dynamics.drift import analyse_drift
    from forensics.dynamics.freezing import analyse_freezing

    recording = drifting()
    found = analyse(recording)
    assert found["drift"].to_dict() == analyse_drift(recording).to_dict()
    assert found["freezing"].to_dict() == analyse_freezing(recording).to_dict()
    assert found["freezing"].permanent == 21
    assert found["h_mean"] is None and found["no such"] is None


def test_facts_of_the_run():
    found = analyse(drifting(steps=5))
    assert (found.vocab_size, found.n_dead, found.n_live, found.dim, found.format) == (12, 6, 6, 4, "bfloat16")
    assert found.steps.tolist() == [0, 1, 2, 3, 4, 5] and (found.n_rows, found.n_dead_rows) == (12, 6)
    steps, loss = found.recorded["loss"]
    assert steps.tolist() == [1, 2, 3, 4, 5] and loss[0] == 5.99
    assert "W" not in found.recorded


def test_the_document_is_plain_json_in_the_order_of_the_questions():
    document = json.loads(json.dumps(analyse(drifting()).to_dict(), allow_nan=False))
    assert list(document["questions"]) == [question.key for question in QUESTIONS]
    assert document["questions"]["replay"]["answered"] is False and document["questions"]["drift"]["answered"] is True


@pytest.mark.parametrize(("steps", "kept"), [(256, True), (257, False)])
def test_series_of_a_long_run_are_left_to_the_csv(steps, kept):
    channels = [Channel("h_mean", (4,), "float32")]
    frames = [(step, {"h_mean": np.ones(4, np.float32)}) for step in range(1, steps + 1)]
    found = analyse(Recording.from_frames({}, channels, frames, vocab_size=3, dead_ids=[0]))
    result = found.to_dict()["questions"]["h_mean"]["result"]
    assert ("norm" in result) is kept and result["convergence_step"] == 1


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("dead", [np.empty(0, np.int64), np.arange(1), np.arange(12)], ids=["none", "one", "all"])
def test_short_runs_and_odd_populations_do_not_break(steps, dead):
    found = analyse(drifting(steps, dead=dead))
    json.dumps(found.to_dict(), allow_nan=False)
    assert str(found)
    assert all(answer.missing for answer in found.answers if answer.result is None)
    if not len(dead):
        assert {"drift", "freezing", "lifecycle"} <= missing(found).keys()


def test_a_recording_without_steps_is_refused():
    empty = Recording.from_frames({}, [Channel("loss", (), "float64")], [], vocab_size=3, dead_ids=[0])
    with pytest.raises(RecordingError, match="no step"):
        analyse(empty)


def test_without_w_the_rest_is_answered():
    channels = [Channel("h_mean", (4,), "float32")]
    frames = [(step, {"h_mean": np.ones(4, np.float32)}) for step in range(1, 30)]
    found = analyse(Recording.from_frames({}, channels, frames, vocab_size=3, dead_ids=[0]))
    assert found["h_mean"].convergence_step == 1 and found.cloud is None and found.dim is None
    assert "W was not recorded" in missing(found)["drift"]


def test_a_pass_that_fails_on_the_way_leaves_the_others(monkeypatch):
    class Failing:
        needs = ("W",)

        def __init__(self, recording):
            pass

        def add(self, frame):
            if frame.step == 3:
                raise RecordingError("step 3 is odd", hint="record it again")
            assert frame.step < 3, "it is not asked again"

        def result(self):
            raise AssertionError("it failed")

    monkeypatch.setattr(runs, "QUESTIONS", (Question("odd", 2, "Odd", Failing), QUESTIONS[6]))
    assert QUESTIONS[6].key == "drift"
    found = analyse(drifting(steps=9))
    assert missing(found) == {"odd": "step 3 is odd; record it again"}
    assert len(found["drift"].steps) == 10


def test_progress_names_steps_and_questions():
    said = []
    analyse(drifting(steps=200), progress=said.append)
    assert said[0].startswith("made: ") and any("100 % of 201 steps" in line for line in said)
    assert len(said) <= 101 + len(QUESTIONS)


def test_the_cloud_keeps_its_plane():
    found = analyse(drifting(steps=200)).cloud
    assert found.steps[0] == 0 and found.steps[-1] == 200 and len(found.steps) == 8
    assert found.dead.shape == (8, 6, 2) and found.live.shape == (8, 6, 2)
    assert sum(found.shares) > 0.99 and found.shares[0] > found.shares[1]
    along = found.dead[:, :, 0].mean(axis=1)
    frame = drifting(steps=200).frame("W", 200)
    norm = np.linalg.norm(BF16.widen(frame)[:6].mean(axis=0))
    assert along[-1] == pytest.approx(norm, rel=1e-3)
    assert (np.diff(along) > -1e-9).all()


@pytest.fixture
def folder(tmp_path):
    """A recording on disk, of a tiny run in memory."""
    recording = drifting(steps=40, name="saved")
    place = tmp_path / "saved"
    with RecordingWriter.create(
        place, recording.config, recording.channels, vocab_size=12, dead_ids=recording.dead_ids
    ) as writer:
        for step in range(41):
            writer.append(
                step,
                {c.name: recording.frame(c.name, step) for c in recording.channels if step in recording.steps(c.name)},
            )
    return place


def test_a_folder_and_its_copy_in_memory_answer_alike(folder):
    on_disk, in_memory = study(folder).run, analyse(drifting(steps=40, name="saved"))
    assert on_disk.to_dict() == in_memory.to_dict()
    assert study(f"run:{folder}").command == "forensics dynamics run:saved"


@pytest.mark.parametrize(
    ("name", "message"),
    [("{}@3", "whole run"), ("run:{}@40", "whole run"), ("", "empty RUN"), ("run:", "empty RUN"), ("{}-x", "no such")],
)
def test_what_is_no_run_is_said(name, message, folder):
    with pytest.raises((RecordingError, SourceError), match=message):
        study(name.format(folder))
    with pytest.raises((RecordingError, SourceError), match=message):
        study(folder, [name.format(folder)])


def test_a_missing_chunk_is_said(folder):
    chunks = sorted(path for path in (folder / "W").rglob("*") if path.is_file() and path.name != "zarr.json")
    chunks[-1].unlink()
    with pytest.raises(RecordingError, match="channel W, chunk .* is missing"):
        study(folder)


def test_a_file_cut_short_is_said(folder):
    chunk = max((p for p in (folder / "W").rglob("*") if p.is_file() and p.name != "zarr.json"), key=str)
    chunk.write_bytes(chunk.read_bytes()[:-20])
    with pytest.raises(RecordingError, match="damaged"):
        study(folder)
    assert len(open_recording(folder).steps("W")) == 41
