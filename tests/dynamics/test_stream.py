"""Every pass sees every recorded step once, in order, with what the recording holds at that step."""

import numpy as np
import pytest

from forensics.dynamics.stream import Frame, frames_of, rows_of, run_passes
from forensics.errors import RecordingError
from forensics.recording import RecordingWriter, open_recording
from tests.dynamics.made_motion import recorded

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((40, 6, 4)).astype(np.float32)


class Watch:
    def __init__(self, *needs):
        self.needs, self.seen = needs, []

    def add(self, frame: Frame):
        held = {name: frame.values(name).copy() for name in self.needs if name in frame}
        before = {name: frame.before(name) for name in self.needs}
        self.seen.append((frame.step, held, {name: last and last.step for name, last in before.items()}))


def on_disk(recording, folder):
    with RecordingWriter.create(folder, {}, recording.channels, vocab_size=6, dead_ids=recording.dead_ids) as writer:
        for step in recording.steps("W").tolist():
            names = [c.name for c in recording.channels if step in recording.steps(c.name)]
            writer.append(step, {name: recording.frame(name, step) for name in names})
    return open_recording(folder)


@pytest.mark.parametrize("disk", [False, True])
def test_each_step_once_in_order_with_what_it_holds(tmp_path, disk):
    made = recorded(ROWS, [1, 4], grad=2 * ROWS[1:], loss=np.arange(39.0))
    recording = on_disk(made, tmp_path / "run") if disk else made
    words, loss = Watch("W", "grad"), Watch("loss")
    calls = []
    run_passes(recording, [words, loss], progress=lambda done, total: calls.append((done, total)))
    assert [step for step, *_ in words.seen] == list(range(40))
    assert [step for step, *_ in loss.seen] == list(range(1, 40))  # step 0 has no loss
    assert calls == [(i, 40) for i in range(1, 41)]
    for step, held, before in words.seen:
        assert np.array_equal(held["W"], ROWS[step])
        assert ("grad" in held) == (step > 0)
        if step:
            assert np.array_equal(held["grad"], 2 * ROWS[step])
        assert before == {"W": step - 1 if step else None, "grad": step - 1 if step > 1 else None}


def test_steps_with_gaps_and_channels_of_other_steps():
    recording = recorded(ROWS[:4], [0], steps=[0, 1, 5, 9], loss=np.arange(3.0))
    watch = Watch("W", "loss")
    run_passes(recording, [watch])
    assert [(step, before["W"]) for step, _, before in watch.seen] == [(0, None), (1, 0), (5, 1), (9, 5)]


def test_frames_do_not_chain():
    frames = []
    for frame in frames_of(recorded(ROWS, [0]), ["W"]):
        last = frame.before("W")
        assert last is None or last.before("W") is None
        frames.append(frame)
    assert all(frame.before("W") is None for frame in frames)


def test_dead_and_live_rows_where_some_tokens_are_recorded():
    recording = recorded(ROWS[:2], [3, 5, 8], token_ids=[2, 3, 5, 7, 11, 13])
    rows = rows_of(recording)
    assert rows.dead_ids.tolist() == [3, 5]
    assert rows.live_ids.tolist() == [2, 7, 11, 13]
    frame = next(frames_of(recording, ["W"]))
    assert np.array_equal(frame.dead("W"), ROWS[0][[1, 2]])
    assert np.array_equal(frame.live("W"), ROWS[0][[0, 3, 4, 5]])


@pytest.mark.parametrize("fmt", ["bfloat16", "float32"])
@pytest.mark.parametrize("dim", [1, 3, 4])
def test_moved_sees_one_bit_of_one_row(fmt, dim):
    rows = np.ones((2, 5, dim), np.float32)
    rows[1, 3, dim - 1] = np.float32(1 + 2**-7)
    rows[0, 1, 0], rows[1, 1, 0] = 0.0, -0.0  # the word changes
    frames = iter(frames_of(recorded(rows, [0], fmt=fmt), ["W"]))
    assert next(frames).moved("W") is None
    assert next(frames).moved("W").tolist() == [False, True, False, True, False]


def test_shared_is_computed_once():
    frame = next(frames_of(recorded(ROWS, [0]), ["W"]))
    calls = []
    assert [frame.shared("key", lambda: calls.append(1) or 7) for _ in range(3)] == [7, 7, 7]
    assert calls == [1]


def test_missing_channels_are_named():
    with pytest.raises(RecordingError, match="grad, m were not recorded") as caught:
        run_passes(recorded(ROWS, [0]), [Watch("W"), Watch("grad", "m")])
    assert "--record grad,m" in caught.value.hint


def test_a_channel_that_is_not_by_token_has_no_dead_rows():
    recording = recorded(ROWS, [0], loss=np.arange(39.0))
    frame = next(iter(frames_of(recording, ["loss"])))
    for ask in (lambda: frame.dead("loss"), lambda: rows_of(recording, "loss")):
        with pytest.raises(RecordingError, match="not recorded by token"):
            ask()


def test_no_passes_and_no_channels():
    run_passes(recorded(ROWS, [0]), [])
