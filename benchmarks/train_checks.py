"""What ``python -m benchmarks train`` checks beside speed: exact gradients, and what a recording costs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.train_founding import Founding
from forensics.recording import RecordingWriter, open_recording
from forensics.recording.layout import layout_of
from forensics.toy.config import RunConfig
from forensics.toy.corpus import Corpus
from forensics.toy.loop import Training, train
from forensics.toy.recorders import Recorder, make_recorders

Answer = dict[str, Any]

LOOKS = 20
"""Matrices and trajectories that are read back."""


def accuracy(config: RunConfig, corpus: Corpus) -> Answer:
    """The dead rows' gradients of step 1, of both loops, against float64 on all scored positions.

    The reference of each starts from the hidden states of its own forward: what differs is the arithmetic between
    the hidden states and the matrix's gradient.
    """
    training = Training.start(config, corpus)
    founding = Founding(config, corpus, training)
    dead = torch.from_numpy(corpus.dead_ids)
    hidden, _ = founding.backward(torch.from_numpy(training.batches.at(1)))
    theirs = founding.model.embedding.weight.grad
    assert theirs is not None
    reference = dead_gradients(hidden[:, :-1].flatten(0, 1), training.weights, dead)
    answer = {"founding": distance(theirs[dead], reference)}
    step = next(train(training))
    reference = dead_gradients(step.scored, step.before, dead)
    answer["ours"] = distance(step.exact_gradient[dead], reference)
    answer["handed"] = distance(step.gradient[dead], reference)
    return answer | {"positions": len(step.scored), "dead": len(dead), "same_hidden": torch.equal(hidden, step.hidden)}


def dead_gradients(hidden: Tensor, output: Tensor, dead: Tensor) -> Tensor:
    """``(1/N) sum_n p_n h_n`` of the dead rows in float64, 256 positions at a time."""
    h, w = hidden.double(), output.double()
    total = h.new_zeros(len(dead), h.shape[1])
    for start in range(0, len(h), 256):
        block = h[start : start + 256]
        total += torch.softmax(block @ w.T, dim=1)[:, dead].T @ block
    return total / len(h)


def distance(found: Tensor, reference: Tensor) -> dict[str, float]:
    """Of each row the L2 norm of the difference over the reference's: the largest, and that of all rows together."""
    difference = found.double() - reference
    rows = difference.norm(dim=1) / reference.norm(dim=1)
    return {"worst": rows.max().item(), "all": (difference.norm() / reference.norm()).item()}


def recording(config: RunConfig, corpus: Corpus) -> Answer:
    """A whole run with W recorded beside one without, in turn; then W read back and compared with what was in memory.

    They take turns by as many steps as a chunk of W holds, so that each turn writes one.
    """
    with tempfile.TemporaryDirectory(prefix="forensics-benchmark-") as temporary:
        folder = Path(temporary) / "run"
        plain, training = Training.start(config, corpus), Training.start(config, corpus)
        (recorder,) = make_recorders(("W",), config=config, corpus=corpus)
        (channel,) = recorder.channels
        turn = layout_of(channel).frames
        kept = Kept(config.steps, corpus.vocab_size)
        seconds: dict[bool, list[float]] = {False: [], True: []}
        with open_writer(folder, config, corpus, recorder) as writer:
            first = recorder.begin(training.weights, training.model)
            writer.append(0, first)
            kept.add(0, first["W"])
            lanes = {False: train(plain), True: train(training)}
            for start in range(0, config.steps, turn):
                n = min(turn, config.steps - start)
                for recorded in (True, False) if start // turn % 2 else (False, True):
                    took = 0.0
                    for _ in range(n):
                        begin = time.perf_counter()
                        step = next(lanes[recorded])
                        if recorded:
                            frame = recorder.observe(step)
                            writer.append(step.step, frame)
                        took += time.perf_counter() - begin
                        if recorded:
                            kept.add(step.step, frame["W"])
                    if n == turn and start:  # the first turn warms up, a last short one writes no whole chunk
                        seconds[recorded].append(took / n)
        if not torch.equal(plain.updater.weights, training.updater.weights):
            raise SystemExit("the run that was recorded went elsewhere")
        stored = sum(path.stat().st_size for path in (folder / "W").rglob("*") if path.is_file())
        read = read_back(folder, kept)
    raw = (config.steps + 1) * channel.frame_bytes
    return {"without": seconds[False], "with": seconds[True], "stored": stored, "raw": raw, "turn": turn, **read}


def open_writer(folder: Path, config: RunConfig, corpus: Corpus, recorder: Recorder) -> RecordingWriter:
    """A new recording of that recorder's channels."""
    return RecordingWriter.create(
        folder, config.to_dict(), recorder.channels, vocab_size=corpus.vocab_size, dead_ids=corpus.dead_ids
    )


class Kept:
    """Some matrices and some tokens' rows of a run, in memory."""

    def __init__(self, steps: int, vocab: int):
        rng = np.random.default_rng(0)
        self.steps = rng.choice(steps + 1, min(LOOKS, steps), replace=False)
        self.tokens = rng.choice(vocab, LOOKS, replace=False)
        self.frames: dict[int, np.ndarray] = {}
        self.rows: list[np.ndarray] = []

    def add(self, step: int, words: np.ndarray) -> None:
        """A step's matrix."""
        self.rows.append(words[self.tokens])
        if step in self.steps:
            self.frames[step] = words


def read_back(folder: Path, kept: Kept) -> Answer:
    """Seconds for each matrix and each trajectory, which must equal those kept."""
    found = open_recording(folder)
    took: dict[str, list[float]] = {"matrix": [], "trajectory": []}
    wanted = [("matrix", step, kept.frames[step]) for step in kept.steps.tolist()]
    rows = np.stack(kept.rows, axis=1)
    wanted += [("trajectory", token, rows[i]) for i, token in enumerate(kept.tokens.tolist())]
    for kind, at, expected in wanted:
        start = time.perf_counter()
        words = found.embedding(at).words if kind == "matrix" else found.trajectory(at)
        took[kind].append(time.perf_counter() - start)
        if not np.array_equal(words, expected):
            raise SystemExit(f"the {kind} of {at} is not what was in memory")
    return took
