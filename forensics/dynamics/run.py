"""Puts every question to a recording and reads it once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forensics.dynamics.alignment import AlignmentPass
from forensics.dynamics.bootstrap import analyse_bootstrap
from forensics.dynamics.cloud import Cloud, draw_cloud
from forensics.dynamics.context import analyse_clusters, analyse_probe
from forensics.dynamics.direction import Unigram, analyse_direction, known_unigram
from forensics.dynamics.diversification import analyse_spread
from forensics.dynamics.drift import DriftPass
from forensics.dynamics.formation import FormationPass
from forensics.dynamics.freezing import FreezingPass
from forensics.dynamics.hidden import analyse_mean
from forensics.dynamics.lattice_motion import LatticeMotionPass
from forensics.dynamics.lifecycle import LifecyclePass
from forensics.dynamics.motion import MotionPass
from forensics.dynamics.rates import analyse_rates
from forensics.dynamics.replay import ReplayPass
from forensics.dynamics.result import Answer, Dynamics
from forensics.dynamics.sharpening import SharpeningPass
from forensics.dynamics.stream import Frame, rows_of, run_passes
from forensics.dynamics.update_account import UpdatePass
from forensics.errors import ConfigError, RecordingError
from forensics.recording import Recording

Progress = Callable[[str], object]
"""Called with the stage under way."""


UNASKABLE = (RecordingError, ConfigError)
"""What ends one question and not the others: a channel that is missing, settings that this version does not read."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and who answers it.

    Attributes:
        key: its name, as in dynamics.json.
        section: 1 to 6.
        title: a few words.
        open: makes the pass over a recording; raises RecordingError where a channel is missing.
    """

    key: str
    section: int
    title: str
    open: Callable[[Recording], Any]


@dataclass(slots=True, eq=False)
class _Whole:
    """An analysis that reads its small channels whole, as a pass that needs no frames."""

    recording: Recording
    found: Callable[[Recording], Any]
    needs: tuple[str, ...] = ()

    def add(self, frame: Frame) -> None:
        """Is never shown a step."""

    def result(self) -> Any:
        """What was found."""
        return self.found(self.recording)


def _whole_of(found: Callable[[Recording], Any]) -> Callable[[Recording], Any]:
    return lambda recording: _Whole(recording, found)


def _with_shares(found: Callable[[Recording, Unigram | None], Any]) -> Callable[[Recording], Any]:
    """Of an analysis against the corpus's shares: those of a synthetic corpus are drawn again, hence exact."""
    return _whole_of(lambda recording: found(recording, known_unigram(recording, rebuild=True)))


QUESTIONS = (
    Question("h_mean", 1, "Course of h_mean", _whole_of(analyse_mean)),
    Question("direction", 1, "What h_mean points at", _with_shares(analyse_direction)),
    Question("spread", 1, "Spread of h, and diversification", _whole_of(analyse_spread)),
    Question("clusters", 1, "Clustering of h by token", _whole_of(analyse_clusters)),
    Question("probe", 1, "Does h know its context?", _whole_of(analyse_probe)),
    Question("bootstrap", 1, "Bootstrap amplification", _with_shares(analyse_bootstrap)),
    Question("drift", 2, "Drift of the cloud as a whole", DriftPass),
    Question("alignment", 2, "Push and step against h_mean", AlignmentPass),
    Question("motion", 3, "Kinds of motion", MotionPass),
    Question("lattice", 4, "Regimes of motion on the lattice", LatticeMotionPass),
    Question("lifecycle", 4, "Lifecycle of each token", LifecyclePass),
    Question("freezing", 4, "Freezing, by each definition", FreezingPass),
    Question("updates", 5, "What each update meant, and what rounding left of it", UpdatePass),
    Question("replay", 5, "Replay of every update, word for word", ReplayPass),
    Question("sharpening", 5, "Dead gradient and dead probability", SharpeningPass),
    Question("rates", 5, "Do all rates fall together?", _whole_of(analyse_rates)),
    Question("formation", 6, "Black holes at every step", FormationPass),
)
"""In the order of the sections."""


@dataclass(slots=True, eq=False)
class _Guarded:
    """A pass that may find its question unanswerable while it reads; the others go on."""

    inner: Any
    failed: RecordingError | ConfigError | None = field(default=None)

    @property
    def needs(self) -> tuple[str, ...]:
        """The channels that it reads."""
        return tuple(self.inner.needs)

    def add(self, frame: Frame) -> None:
        """Takes a step."""
        if self.failed is None:
            try:
                self.inner.add(frame)
            except UNASKABLE as error:
                self.failed = error

    def result(self) -> Any:
        """What was found."""
        if self.failed is not None:
            raise self.failed
        return self.inner.result()


@np.errstate(over="ignore", invalid="ignore")  # of a run that diverged: what comes of it is nan, hence None
def analyse(recording: Recording, *, progress: Progress | None = None) -> Dynamics:
    """Asks a recording everything.

    A question whose channels were not recorded is not answered, and says what to record.

    Args:
        recording: of a run.
        progress: called with the stage under way.

    Raises:
        RecordingError: the recording holds no step, or its bytes are damaged.
    """
    if not any(len(recording.steps(channel.name)) for channel in recording.channels):
        raise RecordingError(f"{recording.name}: no step is recorded yet")
    passes: dict[str, _Guarded] = {}
    answers: dict[str, Answer] = {}
    for question in QUESTIONS:
        try:
            opened = _Guarded(question.open(recording))
            recording.require(*opened.needs)
            passes[question.key] = opened
        except UNASKABLE as error:
            answers[question.key] = _unanswered(question, recording, error)
    _stream(recording, list(passes.values()), progress)
    for question in QUESTIONS:
        if question.key in passes:
            if progress is not None:
                progress(f"{recording.name}: {question.title}")
            try:
                result = passes.pop(question.key).result()
                answers[question.key] = Answer(question.key, question.section, question.title, result)
            except UNASKABLE as error:
                answers[question.key] = _unanswered(question, recording, error)
    return _whole(recording, tuple(answers[question.key] for question in QUESTIONS))


def _stream(recording: Recording, passes: list[_Guarded], progress: Progress | None) -> None:
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        if progress is not None and 100 * done // total > shown:
            shown = 100 * done // total
            progress(f"{recording.name}: {shown} % of {total:,} steps")

    run_passes(recording, passes, progress=show)


def _unanswered(question: Question, recording: Recording, error: RecordingError | ConfigError) -> Answer:
    message = error.message.removeprefix(f"{recording.name}: ")
    said = message if error.hint is None else f"{message}; {error.hint}"
    return Answer(question.key, question.section, question.title, None, said)


def _whole(recording: Recording, answers: tuple[Answer, ...]) -> Dynamics:
    channels = {channel.name: channel for channel in recording.channels}
    weights = channels.get("W")
    numbers = [name for name, channel in channels.items() if channel.shape == () and channel.format is None]
    n_rows = n_dead_rows = 0
    if weights is not None and weights.token_ids is not None:
        rows = rows_of(recording)
        n_rows, n_dead_rows = len(rows.token_ids), len(rows.dead)
    if weights is not None and len(weights.shape) == 2:
        dim = weights.shape[1]
    else:
        dim = recording.config.get("model", {}).get("dim")
    return Dynamics(
        name=recording.name,
        config=recording.config,
        stored=str(recording.extra.get("stored", "")),
        vocab_size=recording.vocab_size,
        n_dead=len(recording.dead_ids),
        n_live=recording.vocab_size - len(recording.dead_ids),
        n_rows=n_rows,
        n_dead_rows=n_dead_rows,
        dim=dim,
        format=None if weights is None else weights.format,
        steps=np.empty(0, np.int64) if weights is None else recording.steps("W"),
        recorded={name: (recording.steps(name), recording.series(name)) for name in numbers},
        corpus=dict(recording.extra.get("corpus", {})),
        answers=answers,
        cloud=_cloud(recording),
    )


def _cloud(recording: Recording) -> Cloud | None:
    try:
        return draw_cloud(recording)
    except RecordingError:
        return None  # too few rows to draw; that they could not be read, the questions said
