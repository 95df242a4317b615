"""Finds the hypotheses: the modules of the simulators' package, and files of a user's own."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from forensics.errors import HypothesisError
from forensics.hypotheses import simulators
from forensics.hypotheses.hypothesis import Hypothesis

HINT = "a hypothesis's file defines HYPOTHESIS = Hypothesis(...)"


def hypotheses() -> dict[str, Hypothesis]:
    """Every hypothesis of the package by its name, sorted.

    Raises:
        HypothesisError: a module that cannot be imported or defines no hypothesis, or two of one name.
    """
    found: dict[str, tuple[Hypothesis, str]] = {}
    for module in sorted(pkgutil.iter_modules(simulators.__path__), key=lambda m: m.name):
        hypothesis = _imported(f"{simulators.__name__}.{module.name}", module.name)
        if hypothesis.name in found:
            other = found[hypothesis.name][1]
            raise HypothesisError(f"hypothesis {hypothesis.name!r} is defined in {other} and in {module.name}")
        found[hypothesis.name] = hypothesis, module.name
    return {name: found[name][0] for name in sorted(found)}


def load_hypothesis(reference: str) -> Hypothesis:
    """The hypothesis of that name, or of a Python file.

    Args:
        reference: a name (with - or _), or the path of a .py file that defines ``HYPOTHESIS``.

    Raises:
        HypothesisError: there is none of that name, the file is not one, or it takes the name of a shipped one.
    """
    if reference.endswith(".py"):
        return _from_file(Path(reference))
    known = hypotheses()
    name = reference.replace("-", "_")
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=len(known), cutoff=0.6)
    names = [*near, *(n for n in known if n not in near)]
    raise HypothesisError(
        f"hypothesis {reference!r} does not exist",
        hint=f"choose {', '.join(names)}, or name a .py file that defines HYPOTHESIS",
    )


def _imported(module: str, name: str) -> Hypothesis:
    try:
        return _defined(importlib.import_module(module), name)
    except HypothesisError:
        raise
    except (Exception, SystemExit) as error:  # whatever a hypothesis's own code raises
        raise _broken(name, error) from error


def _from_file(path: Path) -> Hypothesis:
    """Runs the file as a module of its own name, so that two files of one name do not meet."""
    if not path.is_file():
        raise HypothesisError(f"{path.name}: no such file", hint=HINT)
    name = f"forensics_hypothesis_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
        found = _defined(module, path.name)
        _refuse_shipped(found.name, path.name)
        return found
    except HypothesisError as error:
        del sys.modules[name]
        if error.message.startswith(path.name):
            raise
        raise HypothesisError(f"{path.name}: {error.message}", hint=error.hint) from error
    except (Exception, SystemExit) as error:  # whatever a user's own file raises
        del sys.modules[name]
        raise _broken(path.name, error) from error


def _refuse_shipped(name: str, file: str) -> None:
    """A name stands for one hypothesis; modules of the package are called as theirs is."""
    own = name.replace("-", "_")
    if own in {module.name for module in pkgutil.iter_modules(simulators.__path__)}:
        raise HypothesisError(
            f"{file}: its hypothesis {name!r} has the name of {simulators.__name__}.{own}",
            hint="give it a name of its own",
        )


def _defined(module: ModuleType, name: str) -> Hypothesis:
    hypothesis = getattr(module, "HYPOTHESIS", None)
    if isinstance(hypothesis, Hypothesis):
        return hypothesis
    found = "nothing of that name" if hypothesis is None else f"a {type(hypothesis).__name__}"
    raise HypothesisError(f"{name}: HYPOTHESIS is to be a Hypothesis, found {found}", hint=HINT)


def _broken(name: str, error: BaseException) -> HypothesisError:
    return HypothesisError(f"{name}: cannot be imported: {type(error).__name__}: {error}", hint=HINT)
