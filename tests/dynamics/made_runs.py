"""Small recordings in memory whose answers are known."""

import numpy as np

from forensics.formats import FORMATS
from forensics.recording import Channel, Recording

BF16 = FORMATS["bfloat16"]
DIM, VOCAB, DEAD = 4, 12, np.arange(6)


def drifting(steps=30, *, seed=0, dead=DEAD, config=None, speed=0.5, name="made", summaries=True, lr=1.0):
    """Dead rows that step along one direction and stop at two thirds of the run; live rows that walk at random."""
    rng = np.random.default_rng(seed)
    ids = np.arange(VOCAB)
    channels = [Channel("W", (VOCAB, DIM), "uint16", "bfloat16", token_ids=ids), Channel("loss", (), "float64")]
    if summaries:
        channels += [Channel(n, (), "float64") for n in ("grad_norm_live", "grad_norm_dead", "coherence", "angle_deg")]
    start = rng.normal(size=(VOCAB, DIM))
    live = np.setdiff1d(ids, dead)
    rows, frames = start.copy(), []
    for step in range(steps + 1):
        if step:
            if step <= 2 * steps // 3:
                rows[dead] += speed
            rows[live] += rng.normal(size=(len(live), DIM)) * 0.1
        frame = {"W": BF16.narrow(rows.astype(np.float32))}
        if step:
            frame["loss"] = np.float64(6 - 0.01 * step)
            if summaries:
                ratio = lr * 10 / step
                frame |= {"grad_norm_live": np.float64(ratio), "grad_norm_dead": np.float64(1.0)}
                frame |= {"coherence": np.float64(0.9), "angle_deg": np.float64(80.0 - step)}
        frames.append((step, frame))
    config = {"seed": seed, "optimizer": {"lr": lr}, "model": {"dim": DIM}} if config is None else config
    return Recording.from_frames(config, channels, frames, vocab_size=VOCAB, dead_ids=dead, name=name)
