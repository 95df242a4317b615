"""Plain text: aligned tables for a terminal, and token text made safe to show."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Letters and marks that draw nothing, so that their category does not give them away."""

_JSON_SPECIAL = '"\\'


def literal(text: str, limit: int | None = None) -> str:
    """Token text as a JSON string literal in which everything that is drawn is what it seems.

    ``json.loads`` gives the text back (unless it was cut to ``limit``; two halves of a surrogate pair come
    back as the character). The opening quote keeps a spreadsheet from taking the cell for a formula.
    """
    shown = text if limit is None or len(text) <= limit else text[: limit - 1]
    return f'"{visible(shown, escaped=_JSON_SPECIAL)}"' + ("" if shown == text else "\u2026")


def visible(text: str, *, escaped: str = "") -> str:
    """Text with every character that hides, reorders or merges written as its JSON escape.

    These are control, bidirectional, zero-width, blank, private and unassigned characters, spaces other
    than U+0020, those in ``escaped``, and a combining mark that would change what is not of the text: the
    character before it, or an escape.
    """
    shown = []
    bare = False
    for character in text:
        lost = character in escaped or _is_hidden(character)
        bare = not lost and (bare or not unicodedata.category(character).startswith("M"))
        shown.append(character if bare else _escape(character))
    return "".join(shown)


def _is_hidden(character: str) -> bool:
    if " " <= character <= "~":
        return False
    category = unicodedata.category(character)
    return category[0] == "C" or category in ("Zl", "Zp", "Zs") or bool(_BLANK.match(character))


def _escape(character: str) -> str:
    return json.dumps(character, ensure_ascii=True)[1:-1]


def json_text(document: Mapping[str, Any]) -> str:
    """A result as JSON: sorted keys, floats that read back exactly, no nan; the same document, the same text."""
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def align(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows of cells in columns two spaces apart, the columns named in ``right`` flushed right."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value: float | int | str | None, digits: int = 6) -> str:
    """A figure for people: thousands separated, floats to significant digits, a dash where undefined."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"
