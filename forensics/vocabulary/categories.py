"""What kind of thing each token is, by its bytes."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from forensics.vocabulary.pieces import Vocabulary
from forensics.vocabulary.utf8 import used_bytes

Category = Literal[
    "ordinary", "special", "control", "byte", "impossible byte", "partial", "whitespace", "padding", "no piece"
]
"""special: also added; byte: of the alphabet that pieces are built from; impossible byte: holds one that valid UTF-8
never uses; partial: holds part of a character; padding: beyond the tokenizer; no piece: an id that it skips."""

CATEGORIES: tuple[Category, ...] = get_args(Category)

_LONE_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_DIGITS = re.compile(r"\d+")


def category_of(vocabulary: Vocabulary, token_id: int) -> Category:
    """The first that fits, from what is certain to what is only the rest."""
    raw = vocabulary.raw_bytes(token_id)
    if raw is None:
        return "no piece" if 0 <= token_id < len(vocabulary) else "padding"
    if token_id in vocabulary.literal:
        return "special"
    if not used_bytes().issuperset(raw):
        return "impossible byte"
    if _is_byte(vocabulary, token_id, raw):
        return "byte"
    return _category_of_bytes(raw)


def _category_of_bytes(raw: bytes) -> Category:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "partial"
    if text.isspace():
        return "whitespace"
    is_control = text and all(unicodedata.category(c) in ("Cc", "Cf", "Zs", "Zl", "Zp") for c in text)
    return "control" if is_control else "ordinary"


def _is_byte(vocabulary: Vocabulary, token_id: int, raw: bytes) -> bool:
    piece = vocabulary.pieces[token_id]
    if vocabulary.spelling == "sentencepiece":
        return isinstance(piece, str) and _LONE_BYTE.fullmatch(piece) is not None
    return len(raw) == 1 and (isinstance(piece, bytes) or vocabulary.spelling == "byte-level")


def reserved_looking(vocabulary: Vocabulary, unreachable: NDArray[np.bool_], least: int = 3) -> NDArray[np.bool_]:
    """Tokens in a family of texts that differ in their numbers alone, and that text as such does not produce.

    A family counts if it has ``least`` members or more with something beside digits in their text, and every one of
    them is an added token or unreachable: ``[unused7]`` has siblings, and so has ``v7``, but v7 can be written.

    Args:
        vocabulary: the pieces.
        unreachable: ``bool[n]``, tokens that no text was found for.
        least: members that a family needs; two siblings may be chance, as in ``<2x>`` and ``<4x>``.

    Returns:
        ``bool[n]``.
    """
    families: defaultdict[str, list[int]] = defaultdict(list)
    for i in range(min(len(vocabulary), len(unreachable))):
        piece = vocabulary.pieces[i]
        if isinstance(piece, str) and any("0" <= c <= "9" for c in piece):
            families[_DIGITS.sub("\0", piece)].append(i)
    found = np.zeros(len(unreachable), dtype=bool)
    for template, ids in families.items():
        if len(ids) >= least and template.strip("\0"):
            found[ids] = all(unreachable[i] or i in vocabulary.literal for i in ids)
    return found
