"""Runs described in TOML files: the presets that come with the package, and a user's own."""

from __future__ import annotations

import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from forensics.errors import ConfigError
from forensics.toy.config import RunConfig
from forensics.toy.tables import merge, nearest

DEFAULT = "pocket"


def preset_names() -> tuple[str, ...]:
    """The presets, in alphabetical order."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_config(source: str | Path) -> RunConfig:
    """The run that a preset or a TOML file describes.

    A file holds the settings of `RunConfig` in its tables; those it leaves out have their defaults. With
    ``extends = "NAME or other.toml"`` they are those of another preset or file (beside this one), save its name.

    Args:
        source: a preset's name, or the path of a file (one that ends in .toml, or has a folder in it).

    Raises:
        ConfigError: no such preset or file, it is no TOML, or a setting is wrong; the message names the file, the line
            where TOML knows it, the setting and the nearest that exists.
    """
    return _load(source, Path(), ())


def _load(source: str | Path, beside: Path, below: tuple[str, ...]) -> RunConfig:
    """`below` are the files that led here, each extending the next."""
    label, text, folder = _read(source, beside)
    identity = str((folder / label).resolve()) if folder else label
    if identity in below:
        raise ConfigError(f"{label} extends itself, by way of {' and '.join(Path(name).name for name in below)}")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{label}: not valid TOML: {error}") from None
    parent = table.pop("extends", None)
    base = RunConfig().to_dict()
    if parent is not None:
        if not isinstance(parent, str):
            raise ConfigError(f"{label}: extends: expected the name of one preset or file, found {parent!r}")
        base = _load(parent, folder or Path(), (*below, identity)).to_dict()
    named = {"name": Path(label).stem} | table
    try:
        return RunConfig.from_dict(merge(RunConfig, base, named))
    except ConfigError as error:
        raise ConfigError(f"{label}: {error.message}", hint=error.hint) from None


def _read(source: str | Path, beside: Path) -> tuple[str, str, Path | None]:
    """What to call it in messages, its text, and the folder it lies in (None: among the presets)."""
    path = Path(source)
    if isinstance(source, str) and path.suffix != ".toml" and len(path.parts) <= 1 and not source.startswith("."):
        if source not in preset_names():
            here = "; a file's name ends in .toml" if path.exists() else ""
            raise ConfigError(f"no preset is called {source!r}{here}", hint=nearest(source, [*preset_names()]))
        return f"{source}.toml", (_folder() / f"{source}.toml").read_text(encoding="utf-8"), None
    path = beside / path
    try:
        return path.name, path.read_text(encoding="utf-8"), path.parent
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="give a preset's name or the path of a TOML file") from None


def _folder() -> Traversable:
    return resources.files("forensics.toy") / "preset_files"
