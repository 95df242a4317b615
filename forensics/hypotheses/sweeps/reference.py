"""Which hypothesis a worker is to simulate: by its name, or with the text of a user's file, wherever it runs."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import forensics
from forensics.errors import HypothesisError
from forensics.hypotheses.discovery import load_hypothesis
from forensics.hypotheses.hypothesis import Hypothesis

CODE = ("hypotheses", "initialisation", "toy", "updates")
"""Packages whose code decides what is drawn and measured."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A hypothesis that travels.

    Attributes:
        name: of the hypothesis.
        path: of a user's file; None of one that is shipped.
        text: of that file, as it was when the sweep began.
    """

    name: str
    path: str | None = None
    text: str | None = None

    @classmethod
    def of(cls, given: str) -> Reference:
        """From what a user names: a hypothesis, or a .py file.

        Raises:
            HypothesisError: there is no such hypothesis, or the file is none.
        """
        hypothesis = load_hypothesis(given)
        if not given.endswith(".py"):
            return cls(hypothesis.name)
        if not hypothesis.name.replace("-", "_").isidentifier():
            raise HypothesisError(
                f"{Path(given).name}: {hypothesis.name!r} is no name for a hypothesis",
                hint="letters, digits and underscores: files are called by it",
            )
        return cls(hypothesis.name, str(Path(given).resolve()), Path(given).read_text(encoding="utf-8"))

    @property
    def hypothesis(self) -> Hypothesis:
        """The hypothesis itself, loaded once a process.

        Raises:
            HypothesisError: it is not there.
        """
        return _loaded(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the user's file, as hex; of one that is shipped that of all simulators' code."""
        return code_digest() if self.text is None else hashlib.sha256(self.text.encode()).hexdigest()


@cache
def code_digest() -> str:
    """SHA-256, as hex, over the names and bytes of all modules that a simulation runs through."""
    package = Path(forensics.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(file for folder in CODE for file in (package / folder).rglob("*.py")):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


@cache
def _loaded(reference: Reference) -> Hypothesis:
    if reference.path is None or reference.text is None:
        return load_hypothesis(reference.name)
    path = Path(reference.path)
    if path.is_file() and path.read_text(encoding="utf-8") == reference.text:
        return load_hypothesis(reference.path)
    # Another machine, or a file that was edited while the sweep goes on: what was begun with is what runs.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(reference.text, encoding="utf-8")
        return load_hypothesis(str(copy))
