"""Which hypothesis a worker is to simulate: by its name, or with the text of a user's file, wherever it runs."""

from __future__ import annotations

import hashlib
import inspect
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from forensics.errors import HypothesisError
from forensics.hypotheses import simulators
from forensics.hypotheses.discovery import load_hypothesis
from forensics.hypotheses.hypothesis import Hypothesis


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
        """SHA-256 of the source file that defines it, as hex."""
        if self.text is not None:
            return hashlib.sha256(self.text.encode()).hexdigest()
        hypothesis = self.hypothesis
        for name, module in list(sys.modules.items()):
            if name.startswith(f"{simulators.__name__}.") and getattr(module, "HYPOTHESIS", None) is hypothesis:
                return hashlib.sha256(inspect.getsource(module).encode()).hexdigest()
        raise HypothesisError(f"hypothesis {self.name!r} is of no module of {simulators.__name__}")


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
