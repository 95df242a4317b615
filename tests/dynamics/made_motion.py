"""Recordings in memory of rows whose motion is planted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forensics.formats import float_format
from forensics.recording import Channel, Recording


def recorded(
    rows: ArrayLike,
    dead_ids: Sequence[int],
    *,
    steps: Sequence[int] | None = None,
    fmt: str = "float32",
    token_ids: Sequence[int] | None = None,
    config: Mapping[str, Any] | None = None,
    grad: ArrayLike | None = None,
    **series: ArrayLike,
) -> Recording:
    """A recording of W ``[T, V, D]``; grad and series (float64, by name) are of steps 1 on, ``[T - 1, ...]``."""
    w = np.asarray(rows, np.float32)
    at = list(range(len(w))) if steps is None else list(steps)
    form = float_format(fmt)
    ids = np.arange(w.shape[1]) if token_ids is None else np.asarray(token_ids)

    def words(values: ArrayLike) -> NDArray[Any]:
        return form.narrow(np.asarray(values, np.float32))

    channels = [Channel("W", w.shape[1:], form.word_dtype.name, format=fmt, token_ids=ids)]
    frames: list[tuple[int, dict[str, Any]]] = [(step, {"W": words(w[i])}) for i, step in enumerate(at)]
    if grad is not None:
        channels.append(Channel("grad", w.shape[1:], form.word_dtype.name, format=fmt, token_ids=ids))
        for (_, frame), values in zip(frames[1:], np.asarray(grad), strict=True):
            frame["grad"] = words(values)
    for name, given in series.items():
        held = np.asarray(given, np.float64)
        channels.append(Channel(name, held.shape[1:], "float64"))
        for (_, frame), values in zip(frames[1:], held, strict=True):
            frame[name] = values
    vocab = max(int(ids.max()) + 1, w.shape[1])
    return Recording.from_frames(config or {}, channels, frames, vocab_size=vocab, dead_ids=dead_ids)
