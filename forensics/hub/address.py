"""Names of models on the Hub: ``org/name[@revision][:file]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = r"\b[\w.-]{1,96}\b"
_ADDRESS = re.compile(
    rf"(?P<scheme>hf:(?://)?)?(?P<repo>{_NAME}(?:/{_NAME})?)(?:@(?P<revision>[^\s:@]+))?(?::(?P<file>[^\s:][^:]*))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Address:
    """A model on the Hub, as a user names it.

    Attributes:
        repo: "org/name", or the name alone of one of the Hub's first models.
        revision: a branch, tag, pull request (``refs/pr/1``) or commit; None for the main branch.
        file: a weights file in the repository, or None.
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{revision}{f':{self.file}' if self.file else ''}"


def parse_address(text: str) -> Address | None:
    """The address that a text is; None if it is none. A name without an organisation needs ``hf:`` before it."""
    found = _ADDRESS.fullmatch(text)
    if found is None or not (found["scheme"] or "/" in found["repo"]):
        return None
    if "--" in found["repo"] or ".." in found["repo"] or found["repo"].endswith(".git"):
        return None
    return Address(found["repo"], found["revision"], found["file"])
