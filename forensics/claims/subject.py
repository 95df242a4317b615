"""What claims are checked against: a checkpoint, or a recorded run whose last (or named) step is a matrix, too."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from forensics.checkpoint import Checkpoint
from forensics.claims.conditions import Condition, Plain
from forensics.claims.matrix import MatrixSubject
from forensics.embedding import Embedding, Source
from forensics.errors import RecordingError, SourceError
from forensics.recording import Channel, Recording, open_recording
from forensics.recording.source import model_config
from forensics.recording.store import FRAMES_FILE


class Subject:
    """A checkpoint or a recording, opened part by part as claims ask.

    Args:
        opened: what is checked.
        step: of a recording: whose matrix is meant; the last recorded one if None.
        tensor: of a recording: "W" or "E", whatever role a claim is about.
    """

    def __init__(self, opened: Checkpoint | Recording, step: int | None = None, tensor: str | None = None) -> None:
        self._checkpoint = opened if isinstance(opened, Checkpoint) else None
        self._recording = opened if isinstance(opened, Recording) else None
        self._step, self._tensor = step, tensor
        self._matrices: dict[str | None, MatrixSubject] = {}

    @property
    def source(self) -> Source:
        """Where it came from."""
        if self._checkpoint is not None:
            return self._checkpoint.source
        return Source("recording", self.recording.name, None if self._step is None else str(self._step))

    @property
    def is_planted(self) -> bool:
        """A matrix that was made up, with the published structure put in."""
        return self.source.kind == "planted"

    @property
    def name(self) -> str:
        """What a file's patterns are held against: org/name, synth:NAME, run:NAME, a file's or folder's name."""
        schemes = {"package": "pkg:", "planted": "synth:", "recording": "run:"}
        location = self.source.location
        return location.partition(":")[0] if self.source.kind == "hub" else schemes.get(self.source.kind, "") + location

    @property
    def recording(self) -> Recording:
        """The run.

        Raises:
            RecordingError: it is a checkpoint.
        """
        if self._recording is None:
            raise RecordingError("needs a recording of a training run, and this is a checkpoint")
        return self._recording

    def channel(self, name: str) -> Channel | None:
        """What the run says of a channel; None of a checkpoint, or of what was not recorded."""
        channels = () if self._recording is None else self._recording.channels
        return next((channel for channel in channels if channel.name == name), None)

    def matrix(self, role: str | None = None) -> MatrixSubject:
        """The matrix of a role, "input" or "output"; E_in, or a run's W, without one.

        Raises:
            TensorNotFoundError: no such matrix.
            RecordingError: the run did not record a matrix of all tokens.
        """
        if role not in self._matrices:
            if self._checkpoint is not None:
                self._matrices[role] = MatrixSubject(self._checkpoint, self._checkpoint.matrix(role))
            else:
                embedding = self._recorded(role)
                config = model_config(self.recording, embedding)
                held = Checkpoint(embedding.source, (embedding,), None, None, config)
                self._matrices[role] = MatrixSubject(held, embedding)
        return self._matrices[role]

    def _recorded(self, role: str | None) -> Embedding:
        recording = self.recording
        name = self._tensor or ("E" if role == "input" and not recording.is_tied else "W")
        recording.require(name)
        steps = recording.steps(name)
        if not len(steps):
            raise RecordingError(f"{name} is recorded at no step yet")
        return recording.embedding(int(steps[-1]) if self._step is None else self._step, name)

    def fact(self, key: str) -> Plain | None:
        """What is known under a dotted key: of a run its settings, of a checkpoint its config, and of both their kind.

        "source.kind" is file, folder, package, planted, memory, hub or recording; "matrix.rows", "matrix.dim" and
        "matrix.dtype" are those of the matrix; of a run, "recorded.steps" is the last recorded step, "recorded.tokens"
        and "recorded.dead" how many tokens there are and how many of them never occur.
        """
        if key == "source.kind":
            return self.source.kind
        if key.startswith("matrix."):
            e = self.matrix().embedding
            facts: dict[str, Plain] = {"rows": e.n_rows, "dim": e.dim, "dtype": e.format.name}
            return facts.get(key.removeprefix("matrix."))
        if self._recording is None:
            return _lookup(self._checkpoint.config if self._checkpoint else {}, key)
        if key == "recorded.steps":
            return max(
                (int(s[-1]) for c in self._recording.channels if len(s := self._recording.steps(c.name))), default=0
            )
        counts = {"recorded.tokens": self._recording.vocab_size, "recorded.dead": len(self._recording.dead_ids)}
        return counts[key] if key in counts else _lookup(self._recording.config, key)

    def fits(self, patterns: tuple[str | tuple[Condition, ...], ...]) -> bool:
        """Whether a file is meant for it: its name is like one of the patterns, or one set of conditions holds."""
        return any(
            fnmatchcase(self.name, each)
            if isinstance(each, str)
            else all(condition.unmet(self.fact(condition.key)) is None for condition in each)
            for each in patterns
        )


def open_run_subject(source: str, tensor: str | None = None) -> Subject | None:
    """The run that a SOURCE names: run:DIR[@STEP], or a recording's folder; None if it names something else.

    Args:
        source: what a user names.
        tensor: of the run's matrices this one alone, "W" or "E".

    Raises:
        SourceError: not a folder, or not a step.
        RecordingError: no recording, no such step, or damaged.
    """
    is_run, text = source.startswith("run:"), source.removeprefix("run:")
    try:
        whole = Path(text).expanduser()
        if not is_run and not (whole / FRAMES_FILE).is_file():
            return None
        if whole.is_dir() or "@" not in text:
            return Subject(open_recording(whole), None, tensor)
        folder, _, step = text.rpartition("@")
        path = Path(folder).expanduser()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, a home that nobody has, a zero byte
        if not is_run:
            return None
        raise SourceError(f"{source[:80]}: not a path ({error})", hint="expected run:DIR or run:DIR@STEP") from error
    if not (step.isascii() and step.isdigit() and folder):
        raise SourceError(f"{source[:80]}: {step[:40]!r} is not a step", hint="expected run:DIR or run:DIR@STEP")
    found = Subject(open_recording(path), int(step[:18]), tensor)
    found.matrix()  # a step that is not there is told before anything is measured
    return found


def _lookup(config: Mapping[str, Any], key: str) -> Plain | None:
    """A setting by its dotted name; None where there is none, or it is a table."""
    found: Any = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, str | int | float | bool) else None
