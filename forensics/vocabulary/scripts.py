"""The Unicode script of a piece of text."""

from __future__ import annotations

from collections import Counter
from functools import cache

SHARED = ("Common", "Inherited", "Unknown")
"""What many scripts use, or none; a character of a script outweighs any number of these."""


def script_of(text: str) -> str:
    """The script that most characters have, the first of equals; "Common" and its like only if nothing else is there.

    References:
        Unicode Standard Annex 24, the Script property, by its long name.
    """
    counts = Counter(map(_script, text))
    own = {script: n for script, n in counts.items() if script not in SHARED}
    return max(own or counts, key=counts.__getitem__, default="None")


@cache
def _script(character: str) -> str:
    from fontTools import unicodedata

    return str(unicodedata.script_name(unicodedata.script(character)))
