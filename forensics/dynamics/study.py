"""A run's folder, and those of the runs that it is held against, to one result."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forensics.dynamics.compare import Comparison, compare
from forensics.dynamics.result import Dynamics
from forensics.dynamics.run import Progress, analyse
from forensics.errors import SourceError
from forensics.recording import Recording, open_recording
from forensics.text import visible


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """What a run shows, and how it differs from others.

    Attributes:
        runs: the run itself, then those it is held against.
        comparison: of all of them; None of a run alone.
    """

    runs: tuple[Dynamics, ...]
    comparison: Comparison | None = None

    @property
    def run(self) -> Dynamics:
        """The run itself."""
        return self.runs[0]

    @property
    def command(self) -> str:
        """What to type to have it again, with the folders' own names."""
        names = [f"run:{visible(run.name)}" for run in self.runs]
        return shlex.join(["forensics", "dynamics", names[0], *(w for name in names[1:] for w in ("--compare", name))])

    def to_dict(self) -> dict[str, Any]:
        """The content of dynamics.json."""
        compared = None if self.comparison is None else self.comparison.to_dict()
        return {**self.run.to_dict(), "compare": compared}


def study(run: str | Path, others: Sequence[str | Path] = (), *, progress: Progress | None = None) -> Study:
    """Analyses a run and those it is held against, one after the other.

    Args:
        run: a recording's folder, or run:DIR.
        others: the same of other runs.
        progress: called with the stage under way.

    Raises:
        SourceError: not a path, or a step of a run.
        RecordingError: no recording, or a damaged one.
    """
    # All are opened first: a wrong name is said before minutes are spent on the others.
    recordings = [_open(each) for each in (run, *others)]
    found = tuple(analyse(recording, progress=progress) for recording in recordings)
    return Study(found, compare(found) if others else None)


def _open(run: str | Path) -> Recording:
    text = run.removeprefix("run:") if isinstance(run, str) else str(run)
    if not text.strip():
        raise SourceError("an empty RUN", hint="name a recording's folder, as forensics train makes it")
    try:
        path = Path(text).expanduser()
        there = path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, a home that nobody has, a zero byte
        raise SourceError(f"{text[:80]}: not a path ({error})", hint="name a recording's folder") from error
    folder, at, step = text.rpartition("@")
    if not there and at and step.isdigit() and folder:
        raise SourceError(f"{text[:80]}: the whole run is read, not a step", hint=f"leave @{step[:18]} away")
    return open_recording(path)
