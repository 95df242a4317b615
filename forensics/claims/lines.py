"""Where in a TOML text a table or a key stands: the parser that comes with Python does not tell."""

from __future__ import annotations

import re

_QUOTED = re.compile(
    r"'''.*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'|#[^\n]*", re.DOTALL
)  # fmt: skip


class Lines:
    """The lines of a text whose claims are an array of tables.

    Args:
        text: the file.
        name: of the array.
    """

    def __init__(self, text: str, name: str) -> None:
        # Texts and comments may hold what looks like a table: they are emptied, their line breaks kept.
        self._lines = _QUOTED.sub(lambda found: "\n" * found[0].count("\n"), text).split("\n")
        header = re.compile(rf"\s*\[\[\s*{name}\s*\]\]")
        self._starts = [i for i, line in enumerate(self._lines) if header.match(line)]

    def of(self, table: int | None, key: str | None = None) -> int:
        """The line of a key in the table of that index (None: the head), from 1; the table's own where it is not seen.

        A key that is a table or an array of tables of its own is found by its header.
        """
        known = table is not None and table < len(self._starts)
        start = self._starts[table] if known and table is not None else 0
        later = [s for s in self._starts if s > start] if known else self._starts
        wanted = re.compile(rf"\s*(\[+[\w.\s-]*\.)?\s*{re.escape(key or '')}\s*(=|\]|\.)")
        for i in range(start, later[0] if later else len(self._lines)):
            if key is not None and wanted.match(self._lines[i]):
                return i + 1
        return start + 1
