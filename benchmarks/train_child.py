"""The processes of ``python -m benchmarks train``: one contender each, which waits to be told how many steps to make.

``python -m benchmarks.train_child CONTENDER PRESET [SETTING...]`` prints a line when it is ready, then reads a number
of steps a line and answers each with a line of JSON. "accuracy" and "recording" answer once.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.train_checks import accuracy, open_writer, recording
from benchmarks.train_founding import Founding, histories
from forensics.toy.config import RunConfig, override
from forensics.toy.corpus import Corpus, build_corpus
from forensics.toy.loop import Training, scored_positions, train
from forensics.toy.loss import BLOCK_BYTES, cross_entropy
from forensics.toy.presets import load_config
from forensics.toy.recorders import make_recorders

Answer = dict[str, Any]
Contender = Callable[[int], Answer]


def founding(config: RunConfig, corpus: Corpus, training: Training) -> Contender:
    """The founding loop."""
    loop = Founding(config, corpus, training)
    return lambda n: {"loss": [loop.one() for _ in range(n)]}


def copied(config: RunConfig, corpus: Corpus, training: Training) -> Contender:
    """Our loop, W and h_mean copied into memory as the founding loop does it."""
    w_history, h_history = histories(config, corpus.vocab_size)
    steps = train(training)

    def run(n: int) -> Answer:
        losses = []
        for _ in range(n):
            step = next(steps)
            w_history[step.step] = step.weights
            h_history[step.step - 1] = step.hidden.mean(dim=(0, 1)).float()
            losses.append(step.loss)
        return {"loss": losses}

    return run


def recorded(config: RunConfig, corpus: Corpus, training: Training, folder: Path) -> Contender:
    """Our loop, W recorded to the disk by the run's own recorder and writer."""
    (recorder,) = make_recorders(("W",), config=config, corpus=corpus)
    writer = open_writer(folder, config, corpus, recorder)
    writer.append(0, recorder.begin(training.weights, training.model))
    steps = train(training)

    def run(n: int) -> Answer:
        losses = []
        for _ in range(n):
            step = next(steps)
            writer.append(step.step, recorder.observe(step))
            losses.append(step.loss)
        return {"loss": losses}

    return run


def limit(training: Training, short: bool) -> Contender:
    """The three products and one exp of a step's logits alone, in blocks as `cross_entropy` has them.

    Args:
        training: whose hidden states, matrix and targets of step 1 are multiplied.
        short: z and dh round their inputs to bfloat16 as `cross_entropy` lets them; dW is float32 always.
    """
    h, w, _ = first_step(training)
    h, w = h.float(), w.float()
    n, vocab = len(h), len(w)
    rows = max(1, min(n, BLOCK_BYTES // (4 * vocab)))
    z, p = h.new_empty(rows, vocab), h.new_empty(rows, vocab)
    back, weight_gradient = torch.empty_like(h), torch.zeros_like(w)

    def run(times: int) -> Answer:
        took = np.zeros(4)
        for start in [*range(0, n, rows)] * times:
            block = h[start : start + rows]
            q, e = z[: len(block)], p[: len(block)]
            marks = [time.perf_counter()]
            with bf16_products(short):
                torch.mm(block, w.T, out=q)
            marks.append(time.perf_counter())
            torch.exp(q, out=e)
            marks.append(time.perf_counter())
            with bf16_products(short):
                torch.mm(e, w, out=back[start : start + rows])
            marks.append(time.perf_counter())
            weight_gradient.addmm_(e.T, block)
            took += np.diff([*marks, time.perf_counter()])
        return {"parts": dict(zip(("z", "exp", "dh", "dW"), (took / times).tolist(), strict=True))}

    return run


@contextmanager
def bf16_products(wanted: bool) -> Iterator[None]:
    """Float32 products of inputs rounded to bfloat16, where the processor can."""
    flags: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = flags.fp32_precision
    flags.fp32_precision = "bf16" if wanted else before
    try:
        yield
    finally:
        flags.fp32_precision = before


def loss_alone(training: Training) -> Contender:
    """`cross_entropy` on step 1's hidden states, without the network and the optimizer."""
    inputs = first_step(training)

    def run(n: int) -> Answer:
        return {"loss": [cross_entropy(*inputs).value for _ in range(n)]}

    return run


def first_step(training: Training) -> tuple[Tensor, Tensor, Tensor]:
    """Scored hidden states, output matrix and targets of step 1."""
    tokens = torch.from_numpy(training.batches.at(1))
    spec = training.config.loss
    positions, targets = scored_positions(tokens, spec.label_offset, spec.scored)
    with torch.no_grad():
        hidden = training.model.hidden(tokens).flatten(0, 1)[positions]
    return hidden, training.model.output.clone(), targets


def make(name: str, config: RunConfig, corpus: Corpus, folder: Path) -> Contender:
    """The contender of that name, ready to step."""
    training = Training.start(config, corpus)
    makers: dict[str, Callable[[], Contender]] = {
        "founding": lambda: founding(config, corpus, training),
        "copied": lambda: copied(config, corpus, training),
        "recorded": lambda: recorded(config, corpus, training, folder / "run"),
        "loss": lambda: loss_alone(training),
        "limit_as_ours": lambda: limit(training, short=True),
        "limit_float32": lambda: limit(training, short=False),
    }
    return makers[name]()


def main() -> None:
    """Makes steps when told to, until its input ends."""
    name, preset, *settings = sys.argv[1:]
    config = override(load_config(preset), settings)
    if config.threads:
        torch.set_num_threads(config.threads)
    corpus = build_corpus(config.corpus)
    if name in {"accuracy", "recording"}:
        print(json.dumps((accuracy if name == "accuracy" else recording)(config, corpus)))
        return
    with tempfile.TemporaryDirectory(prefix="forensics-benchmark-") as temporary:
        contender = make(name, config, corpus, Path(temporary))
        print("ready", flush=True)
        for line in sys.stdin:
            start = time.perf_counter()
            answer = contender(int(line))
            answer["seconds"] = (time.perf_counter() - start) / int(line)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
