"""The whole of what a recording shows: the answers in the order of the questions, and the figures of each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.cloud import Cloud
from forensics.measures import Measure
from forensics.text import align, number

SCHEMA = "forensics.dynamics/1"

LONG = 256
"""Numbers in a list above which it is a series of the run's steps, which belongs into series.csv."""


class Result(Protocol):
    """What an analysis found."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Its figures, each with population, unit and definition."""

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; undefined is None."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One question put to a recording.

    Attributes:
        key: its name, as in dynamics.json.
        section: 1 to 6.
        title: a few words.
        result: what was found; None where it could not be asked.
        missing: why not, and what to record; None where it was.
    """

    key: str
    section: int
    title: str
    result: Any | None
    missing: str | None = None

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures; none where the question was not answered."""
        return () if self.result is None else tuple(self.result.measures)

    def to_dict(self) -> dict[str, Any]:
        """What was found, or what was missing."""
        if self.result is None:
            return {"answered": False, "missing": self.missing}
        measures = [measure.to_dict() for measure in self.measures]
        return {"answered": True, "measures": measures, "result": _without_series(self.result.to_dict())}


def _without_series(table: Mapping[str, Any]) -> dict[str, Any]:
    """A result without lists of a number a step: ten thousand steps would make the document unreadable."""
    kept = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            kept[key] = _without_series(value)
        elif not (isinstance(value, list) and len(value) > LONG):
            kept[key] = value
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class Dynamics:
    """What a recording shows about dead tokens.

    Attributes:
        name: of the run.
        config: its settings.
        stored: which number format holds what, in a sentence; "" where the recording does not say.
        vocab_size, n_dead, n_live: tokens; dead ones never occur in the training stream.
        n_rows, n_dead_rows: tokens, and dead tokens, whose rows are recorded.
        dim: D; None without W.
        format: of W's words; None without W.
        steps: ``int64[n]``, the recorded steps of W.
        recorded: figures that the run itself took at each step, as (int64[n] steps, [n] numbers) by channel.
        corpus: the census of the stream; empty where the recording has none.
        answers: in the order of the sections.
        cloud: the rows in a plane, at a few steps; None where there are too few.
    """

    name: str
    config: Mapping[str, Any]
    stored: str
    vocab_size: int
    n_dead: int
    n_live: int
    n_rows: int
    n_dead_rows: int
    dim: int | None
    format: str | None
    steps: NDArray[np.int64]
    recorded: Mapping[str, tuple[NDArray[np.int64], NDArray[Any]]]
    corpus: Mapping[str, Any]
    answers: tuple[Answer, ...]
    cloud: Cloud | None

    def __getitem__(self, key: str) -> Any | None:
        """The result of a question; None where it was not answered."""
        return next((answer.result for answer in self.answers if answer.key == key), None)

    def section(self, number: int) -> tuple[Answer, ...]:
        """The answers of a section."""
        return tuple(answer for answer in self.answers if answer.section == number)

    @property
    def measures(self) -> Iterator[tuple[str, Measure]]:
        """Every figure, with the key of its question."""
        return ((answer.key, measure) for answer in self.answers for measure in answer.measures)

    def to_dict(self) -> dict[str, Any]:
        """The content of dynamics.json."""
        return {
            "schema": SCHEMA,
            "run": {
                "name": self.name,
                "config": dict(self.config),
                "stored": self.stored,
                "vocab_size": self.vocab_size,
                "dead": self.n_dead,
                "live": self.n_live,
                "recorded_rows": self.n_rows,
                "recorded_dead_rows": self.n_dead_rows,
                "dim": self.dim,
                "format": self.format,
                "first_step": int(self.steps[0]) if len(self.steps) else None,
                "last_step": int(self.steps[-1]) if len(self.steps) else None,
                "recorded_steps": len(self.steps),
                "corpus": dict(self.corpus),
            },
            "questions": {
                answer.key: {"section": answer.section, "title": answer.title, **answer.to_dict()}
                for answer in self.answers
            },
            "cloud": None if self.cloud is None else self.cloud.to_dict(),
        }

    def to_frame(self) -> Any:
        """The measures as a pandas DataFrame, one row each."""
        import pandas as pd

        return pd.DataFrame([{"question": key, **measure.to_dict()} for key, measure in self.measures])

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.n_dead:,} dead and {self.n_live:,} live tokens, {len(self.steps):,} steps"]
        for answer in self.answers:
            lines += ["", f"{answer.section}. {answer.title}"]
            if answer.result is None:
                lines.append(f"not answered: {answer.missing}")
            else:
                rows = [(m.name, m.population, number(m.value), m.unit) for m in answer.measures]
                lines.append(align(rows, right=[2]))
        return "\n".join(lines)
