"""Claims files: those that come with the package, and anyone's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from forensics.claims.parse import ClaimsFile, parse_claims
from forensics.claims.subject import Subject
from forensics.errors import ConfigError
from forensics.toy.tables import nearest

MAX_BYTES = 4 << 20
"""Of a file: hundreds of times what was ever published about one model."""


def read_claims(path: str | Path) -> ClaimsFile:
    """The claims of a file.

    Raises:
        ConfigError: it is not there, no TOML, or no claims file; the message names file, line and key.
    """
    place = Path(path)
    try:
        with place.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8").removeprefix("\ufeff")  # editors of Windows begin a file with it
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place.name}: not UTF-8 at byte {error.start}") from None
    except (OSError, ValueError) as error:  # a zero byte in the name
        said = (error.strerror if isinstance(error, OSError) else None) or error
        raise ConfigError(f"{place}: {said}", hint="give a TOML file, or the name of a shipped one") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{place.name}: more than {MAX_BYTES >> 20} MiB, which no claims file has")
    return parse_claims(text, place.name)


def shipped_names() -> tuple[str, ...]:
    """The files that come with the package, in alphabetical order."""
    names = (entry.name for entry in (resources.files("forensics.claims") / "files").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def shipped_claims(name: str) -> ClaimsFile:
    """A shipped file by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in shipped_names():
        raise ConfigError(f"no claims file is called {name!r}", hint=nearest(name, [*shipped_names()]))
    text = (resources.files("forensics.claims") / "files" / f"{name}.toml").read_text(encoding="utf-8")
    return parse_claims(text, f"{name}.toml")


def load_claims(name: str) -> ClaimsFile:
    """The shipped file of that name; a path (with a folder in it, or ending in .toml) is read.

    Raises:
        ConfigError: there is none, or it is wrong.
    """
    path = Path(name)
    is_name = path.suffix != ".toml" and len(path.parts) == 1 and not name.startswith(".")
    return shipped_claims(name) if is_name else read_claims(path)


def find_claims(subject: Subject) -> tuple[ClaimsFile, ...]:
    """The shipped files that are meant for a subject.

    Raises:
        ConfigError: there are none.
    """
    files = tuple(file for file in map(shipped_claims, shipped_names()) if subject.fits(file.subjects))
    if not files:
        shipped = ", ".join(shipped_names())
        raise ConfigError(
            f"{subject.name}: no shipped claims are about it", hint=f"name a file by --file; shipped: {shipped}"
        )
    return files
