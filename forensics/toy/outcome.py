"""What a run came to, as one short table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forensics.measures import Measure
from forensics.text import align, number, visible

SCHEMA = "forensics.train/1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run at its last step: its events, its loss, the stream that it learnt from.

    Attributes:
        name: of the run's config.
        step: updates made.
        steps: updates wanted.
        stored: which number format holds what.
        events: as :meth:`forensics.toy.events.Events.to_dict` gives them.
        losses: of the first and of the last update, in nats; None before the first.
        census: of the corpus.
    """

    name: str
    step: int
    steps: int
    stored: str
    events: Mapping[str, Any]
    losses: tuple[float, float] | None
    census: Mapping[str, Any]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Every figure with its population and definition."""
        e, dead = self.events, "dead"
        first, last = self.losses or (None, None)
        rows = [
            (
                "liftoff",
                e["liftoff"],
                "step",
                dead,
                "first step at which the origin lies outside their bounding sphere",
            ),
            ("frozen from", e["frozen_from"], "step", dead, "first update that left more than 90 % of them unmoved"),
            (
                "frozen since",
                e["frozen_since"],
                "step",
                dead,
                "from this update to the last more than 90 % are unmoved",
            ),
            ("last motion", e["last_motion"], "step", dead, "last update that moved any of them"),
            ("first black hole", e["first_hole"], "step", dead, "first step with two bit-identical rows"),
            ("black holes", e["holes"], "groups", dead, "groups of bit-identical rows at the last step"),
            ("tokens in black holes", e["hole_tokens"], "tokens", dead, "their members at the last step"),
            ("loss, first update", first, "nats", "scored", "mean cross entropy before any update"),
            ("loss, last update", last, "nats", "scored", "mean cross entropy of the last batch"),
            ("unigram entropy", self.census["unigram_entropy"], "nats", "stream", "loss of who knows the shares alone"),
            (
                "context entropy",
                self.census["context_entropy"],
                "nats",
                "stream",
                "loss at best, given one token before",
            ),
        ]
        return tuple(Measure(*row) for row in rows)

    def to_dict(self) -> dict[str, Any]:
        """The document that ``forensics train --json`` prints; no timings and no clock."""
        first, last = self.losses or (None, None)
        return {
            "schema": SCHEMA,
            "name": self.name,
            "step": self.step,
            "steps": self.steps,
            "stored": self.stored,
            "events": dict(self.events),
            "loss": {"first": first, "last": last},
            "corpus": dict(self.census),
        }

    def to_frame(self) -> Any:
        """The measures as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([measure.to_dict() for measure in self.measures])

    def __str__(self) -> str:
        census = self.census
        tokens = f"{census['dead']:,} dead and {census['live']:,} live tokens"
        head = f"{visible(self.name)}: step {self.step:,} of {self.steps:,}; {tokens}"
        rows = [[m.name, m.population, number(m.value), m.unit] for m in self.measures]
        return f"{head}\n{self.stored}\n\n{align(rows, right=[2])}"
