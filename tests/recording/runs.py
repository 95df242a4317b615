"""A small run's frames, and the same run in memory and on disk."""

import numpy as np

from forensics.recording import Channel, Recording, RecordingWriter, open_recording

VOCAB, DIM = 300, 120
DEAD = np.arange(5, VOCAB, 3)
TRACKED = np.array([2, 5, 8, 299])
CONFIG = {"model": {"tied": True}, "initial": {"tokens": {"kind": "normal", "sigma": 0.02, "mean": 0.0}}}
MADE_OF = {"vocab_size": VOCAB, "dead_ids": DEAD}

CHANNELS = (
    Channel("W", (VOCAB, DIM), "uint16", "bfloat16", "value", "the tied matrix", np.arange(VOCAB)),
    Channel("m", (4, DIM), "float32", None, "value", "Adam's m", TRACKED),
    Channel("grad", (len(DEAD), DIM), "uint16", "bfloat16", token_ids=DEAD),
    Channel("p_live", (VOCAB - len(DEAD),), "float32", token_ids=np.setdiff1d(np.arange(VOCAB), DEAD)),
    Channel("h_mean", (DIM,), "float32"),
    Channel("loss", (), "float64", None, "nats"),
    Channel("never", (3,), "int64"),
)


def frames(steps, *, seed=0):
    """Words that drift by a few steps of either sign, as training's do; each quantity on a schedule of its own."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 16, (VOCAB, DIM)).astype(np.uint16)
    for step in range(steps):
        words = words + rng.integers(-40, 41, words.shape).astype(np.uint16)
        frame = {"W": words, "loss": np.float64(np.nan if step == 7 else step / 3)}
        if step:
            frame["h_mean"] = rng.standard_normal(DIM).astype(np.float32)
            frame["p_live"] = rng.random(VOCAB - len(DEAD)).astype(np.float32)
        if step % 3 == 0:
            frame["m"] = rng.standard_normal((4, DIM)).astype(np.float32)
            frame["grad"] = rng.integers(0, 1 << 16, (len(DEAD), DIM)).astype(np.uint16)
        yield step, {name: np.asarray(value) for name, value in frame.items()}


def in_memory(steps):
    return Recording.from_frames(CONFIG, CHANNELS, frames(steps), **MADE_OF)


def on_disk(folder, steps):
    with RecordingWriter.create(folder, CONFIG, CHANNELS, **MADE_OF) as writer:
        for step, frame in frames(steps):
            writer.append(step, frame)
    return open_recording(folder)


def same(a, b, upto=None):
    """Equal through every accessor; of ``b`` only the frames before each of ``a``'s counts are looked at."""
    assert [c.name for c in a.channels] == [c.name for c in b.channels]
    for name in (c.name for c in a.channels):
        n = len(a.steps(name)) if upto is None else len(a.steps(name)[a.steps(name) <= upto])
        np.testing.assert_array_equal(a.steps(name)[:n], b.steps(name)[:n])
        np.testing.assert_array_equal(a.series(name)[:n], b.series(name)[:n])
        if upto is None and a.channel(name).token_ids is not None and n:
            token = int(a.channel(name).token_ids[-1])
            np.testing.assert_array_equal(a.trajectory(token, name), b.trajectory(token, name)[:n])
