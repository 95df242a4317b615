"""What a run records, when, and of which tokens: the settings alone, the recorders are elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from forensics.errors import ConfigError
from forensics.toy.schedule import Cadence, cadence
from forensics.toy.tables import nearest

RECORDS: Mapping[str, str] = {
    "W": "the output matrix (tied: the only one) of the tracked tokens, as stored words",
    "E": "the input matrix of an untied model, as the forward sees it",
    "grad": "the gradient of the output matrix, as handed to the optimizer",
    "m": "the optimizer's first moment, as stored words",
    "v": "the optimizer's second moment, as stored words",
    "compensation": "what rounding left over (precision bf16-kahan), as stored words",
    "loss": "mean cross entropy over the scored positions",
    "h_mean": "the mean hidden state",
    "spread": "how hidden states spread about their mean: variance along it, transverse, total; angles, norms",
    "clusters": "hidden states grouped by true and by predicted token",
    "probe": "a fixed set of sequences: hidden states, rank and log-probability of the true next token",
    "logits": "quantiles of the dead and the live tokens' logits",
    "p_dead": "mean probability of each dead token",
    "summaries": "per-step figures: gradient norms, coherence, centroids, angles, radii, moved share, ulp steps",
    "h_full": "every hidden state (large)",
    "p_dead_full": "the dead tokens' probabilities at every scored position (large)",
    "dead_grad": "the dead tokens' gradient, as words",
}
"""What ``--record`` can name; one name may own several channels."""

_IDS = re.compile(r"ids:\d+(,\d+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSpec:
    """What is recorded.

    Attributes:
        channels: names of `RECORDS`.
        every: which steps: "1", "10", or parts such as "1:100,10:" (see `forensics.toy.schedule.cadence`). Step 0, the
            state before any update, is always recorded where it exists (W and E).
        tracked: the tokens whose W, E, grad, m, v and compensation are recorded: "all", "dead", a number N (N tokens
            drawn by the run's seed, half of them dead and half live as far as there are so many), or "ids:1,2,3".

    Raises:
        ConfigError: a name is unknown or named twice, or a text cannot be read.
    """

    channels: tuple[str, ...] = ("W", "loss", "h_mean", "spread", "summaries")
    every: str = "1"
    tracked: str = "all"

    def __post_init__(self) -> None:
        for name in self.channels:
            if name not in RECORDS:
                raise ConfigError(f"nothing to record is called {name!r}", hint=nearest(name, [*RECORDS]))
        if len(set(self.channels)) < len(self.channels):
            raise ConfigError(f"channels names one twice: {', '.join(self.channels)}")
        cadence(self.every)
        if self.tracked not in ("all", "dead") and not _IDS.fullmatch(self.tracked) and not self.number:
            raise ConfigError(f"tracked is {self.tracked!r}", hint='write "all", "dead", a number, or "ids:1,2,3"')

    @property
    def cadence(self) -> Cadence:
        """Which steps are recorded."""
        return cadence(self.every)

    @property
    def number(self) -> int:
        """How many tokens are drawn; 0 where they are named otherwise."""
        return int(self.tracked) if re.fullmatch(r"\d+", self.tracked) else 0

    def count(self, vocab: int, dead: int) -> int:
        """How many tokens are tracked, of ``vocab`` of which ``dead`` never occur."""
        if self.tracked in ("all", "dead"):
            return vocab if self.tracked == "all" else dead
        return self.number or len(set(self.tracked.removeprefix("ids:").split(",")))
