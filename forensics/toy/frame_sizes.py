"""How many bytes a frame of each recorded quantity takes, before any recorder is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forensics.formats import FORMATS
from forensics.toy.config import RunConfig

if TYPE_CHECKING:
    from forensics.recording import Channel

FROM_STEP_0 = ("W", "E")
"""Channels that have a frame of the state before any update."""

STEP_0_ALONE = ("probe_unigram_rank", "probe_unigram_logp", "probe_tokens", "probe_targets")
"""Channels that have a frame of step 0 and no other."""

LEFT = {"W": 0.35, "E": 0.35, "m": 0.6, "v": 0.3, "grad": 0.8, "dead_grad": 0.8, "probe": 0.5, "probe_rank": 0.3}
"""Shares that compression leaves of bfloat16 words, on the safe side: W 0.19 to 0.28 in goldilocks and pocket (a matrix
that still moves more, a frozen one less), m 0.46 to 0.6, v 0.13, gradients 0.5 to 0.8."""

NUMBERS_LEFT = 0.8
"""Of everything else (float32 rows of W 0.72)."""

Frame = tuple[str, int, float]
"""A channel's name, bytes of one frame, and the share of them that compression leaves."""


def frame_of(channel: Channel) -> Frame:
    """What a channel says of itself."""
    return channel.name, channel.frame_bytes, _left(channel.name, channel.format)


def _left(name: str, fmt: str | None) -> float:
    return LEFT.get(name, NUMBERS_LEFT) if fmt in ("bfloat16", None) else NUMBERS_LEFT


def frames_about(config: RunConfig, vocab: int, dead: int) -> list[Frame]:
    """What the settings alone say of the recording; of small channels only the order of magnitude."""
    model, batches, policy = config.model, config.batches, config.policy
    row, tracked = model.dim, config.record.count(vocab, dead)
    word = {name: FORMATS[getattr(policy, name)].itemsize for name in ("weights", "state", "gradient", "compute")}
    scored, positions = config.scored_positions, batches.batch * batches.context
    sizes = {
        "W": tracked * row * word["weights"],
        "E": tracked * row * word["compute"],
        "grad": tracked * row * word["gradient"],
        "m": tracked * row * word["state"],
        "v": tracked * row * word["state"],
        "compensation": tracked * row * word["weights"],
        "dead_grad": dead * row * word["gradient"],
        "h_full": positions * row * word["compute"],
        "p_dead_full": scored * dead * 4,
        "p_dead": dead * 4,
        "loss": 16,
        "h_mean": 2 * row * 4,
        "spread": 100,
        "clusters": 2 * 64 * (row + 2) * 4,
        "probe": 16 * batches.context * (row + 2) * 4,
        "logits": 2 * 7 * 4,
        "summaries": 400 + 2 * row * 4,
    }
    formats = {"W": policy.weights, "E": policy.compute, "m": policy.state, "v": policy.state}
    formats |= dict.fromkeys(("grad", "dead_grad"), policy.gradient)
    return [(name, sizes[name], _left(name, formats.get(name))) for name in config.record.channels]
