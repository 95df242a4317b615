"""The process of the driven benchmark: ``python -m benchmarks.driven_child ROUNDS [--smoke]`` prints seconds."""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from forensics.formats import BFLOAT16, Words
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.driving.course import Course
from forensics.hypotheses.driving.driver import Driver
from forensics.hypotheses.driving.push import Means
from forensics.initialisation import Normal, draw
from forensics.updates import POLICIES, Rule

LR = 1e-3
VOCAB = 151_936
UPDATES = {"founding_whole": 1, "founding": 10}
ROUNDS = {"founding_whole": 1}
"""Of the whole matrix one is enough to wait for."""
Update = Callable[[Means], None]


def ours(start: Cloud, *, fused: bool = False, foreach: bool = False, scope: str = "row") -> Update:
    """The driver."""
    rule = Rule(lr=LR, fused=fused, foreach=foreach)
    driver = Driver(start, rule, POLICIES["bf16"], scope="row" if scope == "row" else "column")
    return lambda push: driver.push(push, LR)


def founding(words: Words, vocab: int) -> Update:
    """Autograd and torch.optim over a bfloat16 parameter; of rows that are not the whole vocabulary, given the rest.

    The rest's share of the softmax is a logit of its own without a gradient.
    """
    weights = nn.Parameter(torch.from_numpy(words.view(np.int16)).view(torch.bfloat16).clone())
    optimizer = torch.optim.AdamW([weights], lr=LR, weight_decay=0.0)
    rest = torch.tensor([math.log(vocab - len(words))]) if len(words) < vocab else torch.empty(0)

    def update(push: Means) -> None:
        logits = torch.from_numpy(push.hidden).bfloat16() @ weights.T
        # The last class is a live token: the rest, or of the whole matrix its last row.
        loss = -torch.log_softmax(torch.cat([logits.float(), rest]), dim=0)[-1]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return update


def tight(rows: int, dim: int) -> Cloud:
    """A float32 point plus noise of 1.5e-9, the published sigma, rounded."""
    rng = np.random.default_rng(2)
    point = rng.normal(0, 0.3709 / dim**0.5, dim)
    return Cloud.from_rows(
        BFLOAT16.narrow((point + 1.5e-9 * rng.normal(size=(rows, dim))).astype(np.float32)), BFLOAT16, dim
    )


def pushes(dim: int, feedback: bool) -> Iterator[Means]:
    """Pushes without end, the first thousand again and again."""
    course = Course(dim=dim, vocab=VOCAB, lr=LR, feedback=feedback)
    return itertools.cycle(list(course.pushes(1_000, np.random.default_rng(1))))


def main() -> None:
    """Takes turns, and prints all seconds."""
    smoke = "--smoke" in sys.argv
    rows, dim, vocab = (60, 64, 500) if smoke else (2_221, 2_560, VOCAB)
    rng = np.random.default_rng(0)
    words = draw(Normal(sigma=0.02), rows, dim, BFLOAT16, rng)
    start, near = Cloud.from_rows(words, BFLOAT16, dim), tight(rows, dim)
    updates = {
        "fused": ours(start, fused=True),
        "loop": ours(start),
        "foreach": ours(start, foreach=True),
        "fused_common": ours(start, fused=True, scope="column"),
        "loop_common": ours(start, scope="column"),
        "loop_tight": ours(near),
        "founding": founding(words, vocab),
        "founding_whole": founding(draw(Normal(sigma=0.02), vocab, dim, BFLOAT16, rng), vocab),
    }
    seconds: dict[str, list[float]] = {name: [] for name in updates}
    sources = {name: pushes(dim, not name.endswith("common")) for name in updates}
    for turn in range(int(sys.argv[1]) + 1):
        for name, update in updates.items():
            if turn > ROUNDS.get(name, turn):
                continue
            n = UPDATES.get(name, 40)
            begin = time.perf_counter()
            for push in itertools.islice(sources[name], n):
                update(push)
            if turn:  # the first warms up
                seconds[name].append((time.perf_counter() - begin) / n)
    print(json.dumps({"shape": [rows, dim], "seconds": seconds, "tight": len(near.patterns)}))


if __name__ == "__main__":
    main()
