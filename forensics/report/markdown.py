"""Markdown from values; token text comes out inert."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from forensics.text import literal, visible


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """A GitHub-flavoured table; the columns in ``right`` are flushed right. Cells must already be safe."""
    rule = ["---:" if i in right else "---" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def fold(summary: str, body: str) -> str:
    """A part that is closed until it is clicked."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def code(text: str) -> str:
    """Any text as a code span: no markup in it takes effect, in a table cell either."""
    text = visible(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    padded = f" {text} " if text.startswith("`") or text.endswith("`") else text
    return f"{fence}{padded}{fence}".replace("|", "\\|")


def plain(text: str) -> str:
    """Any text as prose: what would be markup is escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|!&~$])", r"\\\1", visible(text))


def token(text: str | None, token_id: int, limit: int = 40) -> str:
    """A token for a report: its text as a literal in a code span, and its id."""
    return f"{token_id}" if text is None else f"{code(literal(text, limit))} ({token_id})"
