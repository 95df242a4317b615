"""Recordings in memory whose updates an `Updater` took."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forensics.formats import float_format
from forensics.recording import Channel, Recording
from forensics.updates import POLICIES, Rule
from forensics.updates.step import Updater


def words_of(tensor: torch.Tensor, shape: tuple[int, ...]) -> NDArray[Any]:
    signed = {2: torch.int16, 4: torch.int32}[tensor.element_size()]
    return tensor.view(signed).numpy().view(f"u{tensor.element_size()}").reshape(shape).copy()


def trained(
    weights: Any,
    gradients: Sequence[Any],
    *,
    rule: dict[str, Any] | None = None,
    precision: str = "bf16",
    rates: Sequence[float] | None = None,
    dead: Sequence[int] = (0, 1),
    without: Sequence[str] = (),
) -> Recording:
    """A run of the given gradients ``[T][V, D]`` from weights ``[V, D]``, all of it recorded but `without`."""
    policy, made = POLICIES[precision], Rule(**(rule or {}))
    start = torch.tensor(np.asarray(weights, np.float32))
    shape = tuple(start.shape)
    coupled = [(0, *shape)] if made.kind == "coupled-adam" else []
    updater = Updater(made, policy, start.view(-1), coupled=coupled, seed=1)
    formats = {"W": policy.weights, "grad": policy.gradient}
    formats |= dict.fromkeys(made.moments, policy.state)
    if policy.rounding == "kahan":
        formats["compensation"] = policy.weights
    kept = [name for name in formats if name not in without]
    ids = np.arange(shape[0])
    channels = [
        Channel(n, shape, float_format(formats[n]).word_dtype.name, format=formats[n], token_ids=ids) for n in kept
    ]
    frames: list[tuple[int, dict[str, Any]]] = [(0, {"W": words_of(updater.weights, shape)})]
    for step, values in enumerate(gradients, 1):
        gradient = torch.tensor(np.asarray(values, np.float32)).view(-1).to(getattr(torch, policy.gradient))
        lr = made.lr if rates is None else rates[step - 1]
        updater.step(gradient, lr)
        held = {"W": updater.weights, "grad": gradient, "m": updater.m, "v": updater.v}
        held["compensation"] = updater.compensation
        frame = {name: words_of(held[name], shape) for name in kept}
        if "lr" not in without:
            frame["lr"] = np.array(lr)
        frames.append((step, frame))
    if "lr" not in without:
        channels.append(Channel("lr", (), "float64"))
    config = {"precision": precision, "optimizer": rule or {}, "steps": max(1, len(gradients))}
    return Recording.from_frames(config, channels, frames, vocab_size=shape[0], dead_ids=list(dead))


def rewritten(recording: Recording, name: str, step: int, row: int, column: int, by: int) -> Recording:
    """The same with one word of a channel changed by so many steps."""
    frames: dict[int, dict[str, Any]] = {}
    for channel in recording.channels:
        for at in recording.steps(channel.name).tolist():
            frames.setdefault(at, {})[channel.name] = recording.frame(channel.name, at)
    frames[step][name][row, column] = int(frames[step][name][row, column]) + by
    ordered = sorted(frames.items())
    config, dead = recording.config, recording.dead_ids
    return Recording.from_frames(config, recording.channels, ordered, vocab_size=recording.vocab_size, dead_ids=dead)
