"""A real model set beside training recordings: what the toy reproduces, and what it does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.checkpoint import Checkpoint
from forensics.comparison.hidden import HIDDEN
from forensics.comparison.hidden_states import sample_hidden
from forensics.comparison.mechanism import Mechanism, real_hidden, toy_hidden
from forensics.comparison.model_place import find_model
from forensics.comparison.result import Comparison, Line, Side
from forensics.comparison.runs import ToySource, group_toys, names_step, open_toys, without
from forensics.comparison.verdict import judge
from forensics.errors import ComparisonError, TensorNotFoundError
from forensics.hypotheses.observables import OBSERVABLES
from forensics.hypotheses.observables.observable import Observable
from forensics.hypotheses.subject import Subject, open_subject
from forensics.sources import open_checkpoint

if TYPE_CHECKING:
    from forensics.hub.client import HubOptions

Progress = Callable[[str], object]
"""Called with the stage under way."""

MAX_TEXT_BYTES = 64 << 20
"""Of a text file: far more than the positions that are run."""


Values = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """Values of one side, and what some of them depend on: dead tokens and dimensions; the number format."""

    values: Values
    size: tuple[int, int] | None = None
    format: str = ""


def compare(  # noqa: PLR0913 - one parameter an option of the command
    real: str | os.PathLike[str] | Checkpoint,
    toys: ToySource | Sequence[ToySource],
    *,
    dead: str = "auto",
    at: Sequence[int] = (),
    role: str | None = None,
    text: str | os.PathLike[str] | None = None,
    path: str | os.PathLike[str] | None = None,
    hub: HubOptions | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Sets a model beside training recordings: their observables, and a verdict on each.

    Args:
        real: a SOURCE, or what one opened to; it may be a run.
        toys: recordings: ``run:DIR``, ``run:DIR@STEP`` or folders.
        dead: which tokens of ``real`` are taken for dead; those of a recording are known.
        at: steps of the toys that name none; the last recorded one if empty.
        role: "input" or "output", of the matrix; if None the output matrix, where there is one: it is pushed.
        text: a file of plain text that is run through the real model, whose hidden states are then compared, too.
        path: where ``real`` lies, if it is a Checkpoint of a file or folder and a text is given.
        hub: how the Hub is read.
        progress: called with the stage under way.

    Raises:
        ComparisonError: nobody is dead in the real model, a run has no dead tokens, or a text cannot be used.
        SelectionError: no such selection of dead tokens.
        ForensicsError: a SOURCE or recording cannot be opened.
    """
    say = progress or (lambda stage: None)
    words = None if text is None else _read_text(Path(text))  # a wrong name is said before minutes are spent
    named = [toys] if isinstance(toys, str | os.PathLike) else list(toys)
    opened = open_toys(named, at)
    run = None
    if isinstance(real, str) and real.startswith("run:"):
        (run,) = open_toys([real])
        real = run.checkpoint
    elif not isinstance(real, Checkpoint):
        path, real = real, open_checkpoint(real, hub=hub)
    place = None if words is None else find_model(real, None if path is None else Path(path).expanduser(), hub)
    subject = _subject(real, dead, role, say)
    opened, notes = without(opened, subject.embedding)
    if at and any(map(names_step, named)):
        notes.append("--at does not apply to runs that name a step of their own")
    groups = group_toys(opened)
    subjects = [[_subject(toy.checkpoint, "recorded", role, say) for toy in group.toys] for group in groups]
    own, measured = _measure(subject, say), [[_measure(each, say) for each in group] for group in subjects]
    lines = _lines(OBSERVABLES.values(), "embedding", own, measured, subject.by_construction)
    hidden = None
    if words is not None and place is not None:
        sample = sample_hidden(real, place, words, subject.dead.token_ids, progress=say)
        hidden = real_hidden(sample, subject.dead, subject.live, f"{real.source}, {len(words):,} characters of text")
    elif run is not None:
        hidden = toy_hidden(run, subject)
    told = [
        tuple(toy_hidden(toy, each) for toy, each in zip(group.toys, found, strict=True))
        for group, found in zip(groups, subjects, strict=True)
    ]
    if hidden is not None:
        theirs = [[_Measured({} if each is None else each.values) for each in group] for group in told]
        lines += _lines(HIDDEN, "hidden states", _Measured(hidden.values), theirs)
    known = hidden is not None or any(each is not None for group in told for each in group)
    options = ["--dead", dead] if dead != "auto" else []
    options += [] if role is None else ["--role", role]
    options += [] if text is None else ["--text", Path(text).name]
    mechanism = Mechanism(hidden, tuple(told)) if known else None
    return Comparison(_side(subject, notes), groups, tuple(lines), mechanism, tuple(options))


def _subject(checkpoint: Checkpoint, dead: str, role: str | None, say: Progress) -> Subject:
    say(f"{checkpoint.source}: who is dead")
    subject = open_subject(checkpoint, dead=dead, role=role or _pushed(checkpoint))
    if subject.cloud is None:
        raise ComparisonError(
            f"{checkpoint.source}: nobody is dead, so there is nothing to compare ({subject.why_dead})",
            hint="choose with --dead, as in --dead reserved",
        )
    return subject


def _pushed(checkpoint: Checkpoint) -> str | None:
    """The output matrix, if there is one."""
    try:
        checkpoint.matrix("output")
    except TensorNotFoundError:
        return None
    return "output"


def _measure(subject: Subject, say: Progress) -> _Measured:
    say(f"{subject.checkpoint.source}: observables")
    e = subject.embedding
    return _Measured(subject.observables(), (len(subject.dead), e.dim), e.format.name)


def _lines(
    observables: Iterable[Observable],
    section: str,
    real: _Measured,
    toys: Sequence[Sequence[_Measured]],
    fixed: Sequence[str] = (),
) -> list[Line]:
    """A line for every observable that some side defines."""
    lines = []
    for o in observables:
        values = [[each.values.get(o.name) for each in group] for group in toys]
        own = real.values.get(o.name)
        if own is None and all(value is None for group in values for value in group):
            continue
        cells = [
            judge(o, own, found, _barred(o, real, group, fixed)) for found, group in zip(values, toys, strict=True)
        ]
        lines.append(Line(o, section, own, tuple(cells)))
    return lines


def _barred(o: Observable, real: _Measured, toys: Sequence[_Measured], fixed: Sequence[str]) -> str | None:
    """Why two sides cannot be compared by an observable; None where they can."""
    if o.name in fixed:
        return "fixed by how the real dead were chosen"
    if o.needs == "ids":
        return "a toy's dead ids lie where its settings put them"
    if o.unit == "steps" and any(toy.format != real.format for toy in toys):
        return f"a step of {real.format} is not one of {toys[0].format}"
    if o.scale_free or real.size is None or all(toy.size == real.size for toy in toys):
        return None
    return "not scale-free, and the sides differ in size"


def _read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ComparisonError: not there, too long, not UTF-8, or empty.
    """
    name, hint = str(path)[:80], "give a file of plain text in UTF-8"
    try:
        with path.expanduser().open("rb") as file:
            raw = file.read(MAX_TEXT_BYTES + 1)
        words = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ComparisonError(f"{name}: not UTF-8 (byte {error.start:,})", hint=hint) from None
    except (OSError, RuntimeError, ValueError) as error:  # a home that nobody has, a zero byte
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ComparisonError(f"{name}: cannot be read ({why})", hint=hint) from None
    if len(raw) > MAX_TEXT_BYTES:
        raise ComparisonError(f"{name}: more than {MAX_TEXT_BYTES >> 20} MB of text", hint="cut it")
    if not words.strip():
        raise ComparisonError(f"{name}: an empty text", hint=hint)
    return words


def _side(subject: Subject, notes: Sequence[str]) -> Side:
    e = subject.embedding
    return Side(
        subject.checkpoint.source,
        (e.n_rows, e.dim),
        e.format.name,
        f"{e.tensor} ({e.role})",
        subject.dead,
        subject.live,
        subject.why_dead,
        (*subject.notes, *notes),
    )
