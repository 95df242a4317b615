"""The toys that a model is set beside: which recordings, at which steps, and which differ in seed alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forensics.checkpoint import Checkpoint
from forensics.dynamics.compare import NOT_SETTINGS
from forensics.embedding import Embedding
from forensics.errors import ComparisonError, RecordingError, SourceError
from forensics.recording import Recording, open_recording
from forensics.recording.source import open_run
from forensics.toy.tables import flatten

ToySource = str | os.PathLike[str]
"""``run:DIR``, ``run:DIR@STEP``, or a recording's folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Toy:
    """A recording at a step.

    Attributes:
        recording: the whole of it.
        step: of the matrix.
        checkpoint: its matrix, as every analysis takes it.
    """

    recording: Recording
    step: int
    checkpoint: Checkpoint

    @property
    def seed(self) -> Any:
        """The run's seed; None where its config names none."""
        return self.recording.config.get("seed")


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Toys at one step that differ in seed alone.

    Attributes:
        label: "A", "B", ...: one letter for all steps of the same settings.
        step: of their matrices.
        toys: one a seed, in the order in which they were named.
        settings: the settings in which the compared runs differ, with this group's values.
        left_out: names of further runs of a seed that is here already.
    """

    label: str
    step: int
    toys: tuple[Toy, ...]
    settings: Mapping[str, Any]
    left_out: tuple[str, ...]

    @property
    def dim(self) -> int:
        """Numbers in a row."""
        return self.toys[0].checkpoint.matrices[0].dim

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return {
            "label": self.label,
            "step": self.step,
            "runs": [toy.recording.name for toy in self.toys],
            "seeds": [toy.seed for toy in self.toys],
            "dim": self.dim,
            "dead": [len(toy.recording.dead_ids) for toy in self.toys],
            "settings": dict(self.settings),
            "left_out": list(self.left_out),
        }


def open_toys(sources: Iterable[ToySource], at: Sequence[int] = ()) -> list[Toy]:
    """Opens recordings at the steps asked for.

    Args:
        sources: at least one; a step of its own (``@STEP``) goes before ``at``.
        at: steps of those that name none; the last recorded one of each if empty.

    Raises:
        ComparisonError: no recording is named, or one without dead tokens.
        SourceError: not a recording's name.
        RecordingError: no recording, no such step, no matrix of all tokens, or damaged.
    """
    toys = []
    for source in sources:
        folder, own = _parse(source)
        recording = open_recording(folder)
        recording.require("W")
        if not len(recording.dead_ids):
            raise ComparisonError(
                f"{recording.name}: the run has no dead tokens", hint="train one with corpus.dead above 0"
            )
        steps = recording.steps("W")
        if not len(steps):
            raise RecordingError(f"{recording.name}: no step is recorded yet")
        for step in [own] if own is not None else at or [int(steps[-1])]:
            toys.append(Toy(recording, step, open_run(f"{folder}@{step}")))
    if not toys:
        raise ComparisonError("nothing to compare with", hint="name a recording's folder, as forensics train makes it")
    return toys


def names_step(source: ToySource) -> bool:
    """Whether a recording is named with a step of its own."""
    return _parse(source)[1] is not None


def without(toys: Sequence[Toy], model: Embedding) -> tuple[list[Toy], list[str]]:
    """The toys that are not the model itself, and a remark on each that is: of one matrix, whatever its name.

    Args:
        toys: at their steps.
        model: the matrix that they are to be held against.

    Raises:
        ComparisonError: no toy is left.
    """
    others = [toy for toy in toys if not any(_same(matrix, model) for matrix in toy.checkpoint.matrices)]
    itself = [toy for toy in toys if toy not in others]
    if toys and not others:
        names = ", ".join(dict.fromkeys(str(toy.checkpoint.source) for toy in itself))
        raise ComparisonError(f"{names}: the model itself", hint="name runs of other seeds, three at least")
    return others, [f"{toy.checkpoint.source} is the model itself, bit for bit: left out of the toys" for toy in itself]


def _same(first: Embedding, second: Embedding) -> bool:
    """The same words; the digest of a large matrix is taken only where sizes and format agree."""
    sizes = [(e.n_rows, e.dim, e.format.name) for e in (first, second)]
    return sizes[0] == sizes[1] and first.sha256 == second.sha256


def group_toys(toys: Sequence[Toy]) -> tuple[Group, ...]:
    """Toys by settings, then by step, in the order in which they were named."""
    by_settings: dict[str, list[Toy]] = {}
    for toy in toys:
        by_settings.setdefault(json.dumps(_settings(toy), sort_keys=True, default=str), []).append(toy)
    tables = [_settings(members[0]) for members in by_settings.values()]
    keys = dict.fromkeys(key for table in tables for key in table)
    differing = [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]
    groups = []
    for i, (members, table) in enumerate(zip(by_settings.values(), tables, strict=True)):
        by_step: dict[int, dict[str, list[Toy]]] = {}
        for toy in members:
            by_step.setdefault(toy.step, {}).setdefault(str(toy.seed), []).append(toy)
        for step, seeds in sorted(by_step.items()):
            again = tuple(toy.recording.name for same in seeds.values() for toy in same[1:])
            own = tuple(same[0] for same in seeds.values())
            groups.append(Group(_label(i), step, own, {key: table.get(key) for key in differing}, again))
    return tuple(groups)


def _settings(toy: Toy) -> dict[str, Any]:
    return {key: value for key, value in flatten(toy.recording.config) if key not in NOT_SETTINGS}


def _label(i: int) -> str:
    letter = chr(ord("A") + i % 26)
    return letter if i < 26 else f"{_label(i // 26 - 1)}{letter}"


def _parse(source: ToySource) -> tuple[str, int | None]:
    """The folder and the step; a folder's own name may hold an @."""
    text = os.fspath(source).removeprefix("run:")
    if not text.strip():
        raise SourceError("an empty RUN", hint="name a recording's folder, as forensics train makes it")
    folder, at, step = text.rpartition("@")
    try:
        whole = not at or Path(text).expanduser().is_dir()
        path = Path(text if whole else folder).expanduser()
        path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, a home that nobody has, a zero byte
        raise SourceError(f"{text[:80]}: not a path ({error})", hint="expected run:DIR or run:DIR@STEP") from error
    if whole:
        return str(path), None
    if not (step.isascii() and step.isdigit() and folder):
        raise SourceError(f"{text[:80]}: {step[:40]!r} is not a step", hint="expected run:DIR or run:DIR@STEP")
    return str(path), int(step[:18])
