"""What a run costs before it is run: bytes counted exactly, time roughly.

Bytes are those of every recorded frame. Time is of the training alone (recorders come on top): a count of operations
over the rate at which this machine multiplies matrices just now; another program at work, or a GPU, makes it another.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import ConfigError, OutputError
from forensics.formats import FORMATS
from forensics.toy.config import ModelSpec, RunConfig
from forensics.toy.frame_sizes import FROM_STEP_0, STEP_0_ALONE, frame_of, frames_about
from forensics.toy.presets import load_config, preset_names

if TYPE_CHECKING:
    from forensics.recording import Channel

SAVES = 3
"""Checkpoints on the disk at once: two are kept while the next is written."""

SLOWER, STEP_SECONDS, LAYER_SECONDS = 1.2, 5e-3, 2.5e-3
"""A step takes so many times its products' time at the probed rate (softmax, attention, narrow matrices), and besides
so much for itself and for each layer. Measured on two cores with pocket, goldilocks, goldilocks-lean, marble-1,
flannel-7 and crucible-3."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run takes.

    Attributes:
        parameters: of the model.
        steps: updates.
        bytes_raw: of all recorded frames, exact where the channels are given.
        bytes_stored_about: of the compressed recording.
        bytes_saves: of the checkpoints that lie on the disk at once.
        flops_per_step: operations of one update's matrix products, forward and backward.
        seconds_about: of the whole run on this machine's processor.
    """

    parameters: int
    steps: int
    bytes_raw: int
    bytes_stored_about: int
    bytes_saves: int
    flops_per_step: int
    seconds_about: float

    @property
    def bytes_needed(self) -> int:
        """What the disk should have free."""
        return self.bytes_stored_about + self.bytes_saves

    def to_dict(self) -> dict[str, Any]:
        """The figures, by name."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{size(self.bytes_raw)}, {duration(self.seconds_about)}"


@dataclass(frozen=True, slots=True)
class PresetSummary:
    """A preset and what it costs here."""

    name: str
    about: str
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"name": self.name, "about": self.about, "cost": self.cost.to_dict()}


def parameters(model: ModelSpec, context: int, vocab: int) -> int:
    """Trained numbers of a model: token rows, positions, layers and final norm.

    A layer of torch's nn.TransformerEncoderLayer, and of transformers' GPT-2 alike, has with width D and feed-forward
    width F: 3D·D + 3D (query, key, value), D·D + D (their output), D·F + F and F·D + D (feed-forward) and twice 2D
    (layer norms).
    """
    d, f = model.dim, model.ff
    layer = 3 * d * d + 3 * d + d * d + d + d * f + f + f * d + d + 4 * d
    norm = {"layernorm": 2 * d, "rmsnorm": d, "none": 0}[model.final_norm]
    return vocab * d * (1 if model.tied else 2) + context * d + model.layers * layer + norm


def flops(config: RunConfig, vocab: int) -> int:
    """Operations of one update's matrix products, a product and a sum counted as two.

    Per token and layer forward: 2·(4D² + 2DF) in the weights and 4TD in attention (all T positions are multiplied, the
    mask hides half); 2ND·V for the logits of N scored positions. Backward takes twice the forward: Kaplan et al. 2020
    (arXiv 2001.08361), section 2.1.
    """
    model, batches = config.model, config.batches
    d, length = model.dim, batches.context
    body = model.layers * (2 * (4 * d * d + 2 * d * model.ff) + 4 * length * d)
    return 3 * (batches.batch * length * body + 2 * config.scored_positions * d * vocab)


def estimate(
    config: RunConfig,
    channels: Sequence[Channel] | None = None,
    *,
    vocab: int | None = None,
    dead: int | None = None,
    rate: float | None = None,
) -> Cost:
    """What a run will cost.

    Args:
        config: the run.
        channels: what will be recorded; None takes the sizes that the settings imply (exact for words of matrices).
        vocab: rows of the token matrices; None takes the corpus settings' own.
        dead: tokens that never occur; likewise (all, where the settings do not say).
        rate: operations a second; None measures this machine, in about 0.1 s.

    Raises:
        ConfigError: the size of the vocabulary is in no setting: a text has it once it is read.
    """
    vocab = vocab or getattr(config.corpus, "vocab", 0)
    if not vocab:
        raise ConfigError("the corpus settings do not say how large the vocabulary is", hint="read the corpus first")
    dead = getattr(config.corpus, "dead", vocab) if dead is None else dead
    frames = config.record.cadence.count(config.steps)
    raw = stored = 0
    for name, frame, share in frames_about(config, vocab, dead) if channels is None else map(frame_of, channels):
        total = frame * (1 if name in STEP_0_ALONE else frames + (name in FROM_STEP_0))
        raw += total
        stored += round(share * total)
    trained = parameters(config.model, config.batches.context, vocab)
    operations = flops(config, vocab)
    return Cost(
        parameters=trained,
        steps=config.steps,
        bytes_raw=raw,
        bytes_stored_about=stored,
        bytes_saves=SAVES * trained * _state_bytes(config),
        flops_per_step=operations,
        seconds_about=config.steps * _step_seconds(config, operations, rate or probe_rate()),
    )


def describe_presets() -> tuple[PresetSummary, ...]:
    """Every preset with what it is and what it costs on this machine."""
    rate = probe_rate()
    configs = [(name, load_config(name)) for name in preset_names()]
    return tuple(PresetSummary(name, config.about, estimate(config, rate=rate)) for name, config in configs)


def check_disk(path: str | Path, cost: Cost) -> None:
    """Refuses a run that its disk cannot hold.

    Args:
        path: the run's folder; it need not be there yet.
        cost: what the run takes.

    Raises:
        OutputError: less is free than the compressed recording and the checkpoints will take.
    """
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < cost.bytes_needed:
        raise OutputError(
            f"{path}: the run needs about {size(cost.bytes_needed)}, the disk has {size(free)} free",
            hint="record less (--record, --set record.every=10, --set record.tracked=dead) or write to another disk",
        )


def size(n_bytes: int) -> str:
    """Bytes for people, in powers of ten: "0.64 GB"."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= scale / 10:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """A time for people: "12 min"."""
    for unit, scale in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 1.5 * scale:
            return f"{seconds / scale:.2g} {unit}"
    return f"{seconds:.2g} s"


def _state_bytes(config: RunConfig) -> int:
    """Bytes that a checkpoint keeps of each trained number: its word, its moments, its compensation."""
    weight, state = FORMATS[config.policy.weights].itemsize, FORMATS[config.policy.state].itemsize
    second = weight if config.policy.rounding == "kahan" else 0
    return weight + second + state * len(config.optimizer.moments)


def _step_seconds(config: RunConfig, operations: int, rate: float) -> float:
    """Measured on two cores, recording nothing: see the constants."""
    return SLOWER * operations / rate + STEP_SECONDS + LAYER_SECONDS * config.model.layers


def probe_rate() -> float:
    """Operations a second of this machine's cores in float32 matrix products of middling size; about 0.1 s.

    One core's best of many, times their number: where other programs are at work, threads that wait for one another
    would measure their waiting.
    """
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((512, 512), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    best, end = float("inf"), time.perf_counter() + 0.1
    with threadpool_limits(1):
        while time.perf_counter() < end:
            start = time.perf_counter()
            np.matmul(a, b, out=out)
            best = min(best, time.perf_counter() - start)
    return 2 * 512**3 / best * (os.cpu_count() or 1)
