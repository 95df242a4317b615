"""Which tokens a run follows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.errors import ConfigError
from forensics.toy.census import Corpus

_STREAM = 0x7AC
"""Keeps the draw apart from everything else that is drawn with the run's seed."""


def tracked_ids(tracked: str, corpus: Corpus, seed: int) -> NDArray[np.int64]:
    """The ids of a setting such as "all", "dead", "200" or "ids:1,2,3", ascending.

    A number N draws half of them (rounded up) among the dead tokens and half among the live; where one kind has too
    few the other fills up.

    Raises:
        ConfigError: an id outside the vocabulary, or more tokens than there are.
    """
    if tracked == "all":
        return np.arange(corpus.vocab_size)
    if tracked == "dead":
        return corpus.require_dead()
    if tracked.startswith("ids:"):
        ids = sorted({int(text) for text in tracked[4:].split(",")})
        if ids[-1] >= corpus.vocab_size:
            last = corpus.vocab_size - 1
            raise ConfigError(f"record.tracked names token {ids[-1]}, the vocabulary has ids 0 to {last}")
        return np.array(ids, np.int64)
    n, dead, live = int(tracked), corpus.dead_ids, corpus.live_ids
    if not 1 <= n <= corpus.vocab_size:
        raise ConfigError(f"record.tracked is {n}, the vocabulary has {corpus.vocab_size} tokens", hint='say "all"')
    n_dead = min(len(dead), max((n + 1) // 2, n - len(live)))
    rng = np.random.default_rng([seed, _STREAM])
    drawn = [rng.choice(dead, n_dead, replace=False), rng.choice(live, n - n_dead, replace=False)]
    return np.sort(np.concatenate(drawn))
