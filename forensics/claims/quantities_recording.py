"""Quantities of a recorded run's channels, by step and over steps."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forensics.claims.registry import LAST, OF_CHANNEL, Statistic, Which, quantity
from forensics.dynamics.course import cosines
from forensics.errors import RecordingError
from forensics.recording import Recording
from forensics.toy.recorded import RECORDS


@quantity(
    "channel",
    on="recording",
    unit=OF_CHANNEL,
    population="as {channel} is defined",
    definition="the recorded number at step {step}; of a vector its norm",
)
def _(recording: Recording, *, channel: str, step: int) -> float:
    return read_at(recording, channel, step)


@quantity(
    "channel_statistic",
    on="recording",
    unit=OF_CHANNEL,
    population="as {channel} is defined, steps {first} to {last}",
    definition="{statistic} over the recorded steps of the number; of a vector of its norm",
)
def _(recording: Recording, *, channel: str, statistic: Statistic, first: int = 0, last: int = LAST) -> float:
    return float(getattr(np, statistic)(read_values(recording, channel, first, last)[1]))


@quantity(
    "channel_tokens",
    on="recording",
    unit=OF_CHANNEL,
    population="the tokens that {channel} is recorded of",
    definition="{statistic} over the tokens at step {step}",
)
def _(
    recording: Recording, *, channel: str, step: int, statistic: Literal["mean", "min", "median", "max", "sum"]
) -> float:
    _require(recording, channel)
    ids = recording.channel(channel).token_ids
    if ids is None or recording.channel(channel).shape != (len(ids),):
        raise RecordingError(f"{channel} is not one number a token")
    return float(getattr(np, statistic)(recording.frame(channel, step).astype(np.float64)))


@quantity(
    "median_logit",
    on="recording",
    unit="nats",
    population="{which} tokens, pooled over 64 scored positions",
    definition="median of the logits at step {step}",
)
def _(recording: Recording, *, which: Which, step: int) -> float:
    name = f"logit_quantiles_{which}"
    _require(recording, name)
    quantiles = recording.frame(name, step)
    return float(quantiles[len(quantiles) // 2])  # the recorded shares lie evenly about a half


@quantity(
    "channel_ratio",
    on="recording",
    unit="ratio",
    population="as the channels are defined",
    definition="{channel} at step {step} over {over} at step {over_step}; of vectors their norms",
)
def _(recording: Recording, *, channel: str, step: int, over: str, over_step: int) -> float | None:
    below = read_at(recording, over, over_step)
    return read_at(recording, channel, step) / below if below else None


@quantity(
    "channel_peak_step",
    on="recording",
    unit="step",
    population="as {channel} is defined, steps {first} to {last}",
    definition="the first recorded step at which the number, or a vector's norm, is largest",
)
def _(recording: Recording, *, channel: str, first: int = 0, last: int = LAST) -> int:
    steps, values = read_values(recording, channel, first, last)
    return int(steps[values.argmax()])


@quantity(
    "autocorrelation",
    on="recording",
    unit="cosine",
    population="as {channel} is defined, steps {first} to {last}",
    definition="{statistic} of the cosines of the vector with that of the recorded step before",
)
def _(recording: Recording, *, channel: str, statistic: Statistic, first: int = 0, last: int = LAST) -> float | None:
    vectors = read_frames(recording, channel, first, last)[1]
    found = cosines(vectors[:-1], vectors[1:]) if vectors.ndim == 2 else np.empty(0)
    found = found[np.isfinite(found)]
    return float(getattr(np, statistic)(found)) if len(found) else None


def read_frames(
    recording: Recording, channel: str, first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The recorded steps from ``first`` to ``last`` and their frames, ``float64[steps, *shape]``.

    Raises:
        RecordingError: not recorded, of words or of more than a vector, or at no step of these.
    """
    _require(recording, channel)
    found = recording.channel(channel)
    if found.format is not None or len(found.shape) > 1:
        raise RecordingError(f"{channel} is neither a number nor a vector at each step")
    steps = recording.steps(channel)
    steps = steps[(steps >= first) & (steps <= last)]
    if not len(steps) or (last != LAST and steps[-1] < last):
        raise RecordingError(f"{channel} is not recorded at step {last if last != LAST else first:,}")
    return steps, recording.series(channel, first, last + 1).astype(np.float64)


def read_values(
    recording: Recording, channel: str, first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The same of a channel's numbers, or of the norms of its vectors, ``float64[steps]``."""
    steps, frames = read_frames(recording, channel, first, last)
    return steps, np.linalg.norm(frames, axis=1) if frames.ndim == 2 else frames


def read_at(recording: Recording, channel: str, step: int) -> float:
    """The number, or the norm of the vector, of one step."""
    return float(read_values(recording, channel, step, step)[1][0])


def _require(recording: Recording, channel: str) -> None:
    """Makes sure that a channel is there; a missing one is said as ``--record`` names it, where its name tells that."""
    if channel not in {c.name for c in recording.channels}:
        stem = channel.partition("_")[0]
        recording.require(*[name for name in (channel, stem, f"{stem}s") if name in RECORDS][:1])
    recording.channel(channel)
