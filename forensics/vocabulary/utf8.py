"""What valid UTF-8 can hold, found by encoding the characters there are."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@cache
def used_bytes() -> frozenset[int]:
    """The bytes that some valid UTF-8 text holds.

    From U+0800 on, sixty-four characters in a row differ in their last byte alone, and below all its values occur.
    """
    codes = [*range(0x800), *(c for c in range(0x800, 0x110000, 64) if not 0xD800 <= c < 0xE000)]
    return frozenset(byte for code in codes for byte in chr(code).encode())


def cut(raw: bytes) -> tuple[bytes, str, bytes] | None:
    """The bytes as the end of a character, whole characters, and the start of one; None if they are not that.

    Bytes from inside one character are all in the first part.
    """
    head = 0
    while head < min(len(raw), 3) and 0x80 <= raw[head] < 0xC0:
        head += 1
    for n_tail in range(min(3, len(raw) - head) + 1):
        end = len(raw) - n_tail
        tail = raw[end:]
        if (not tail or _begins_character(tail)) and (middle := _decoded(raw[head:end])) is not None:
            return raw[:head], middle, tail
    return None


def _begins_character(tail: bytes) -> bool:
    # After the leads E0 and F0 only high bytes may follow, after ED and F4 only low ones; then any.
    nexts = (first + b"\x80" * n for first in (b"\x80", b"\xbf") for n in range(3))
    return tail[0] >= 0xC0 and any(_decoded(tail + following) is not None for following in nexts)


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def completions(raw: bytes, limit: int, avoid: frozenset[str] = frozenset()) -> list[tuple[str, int]]:
    """Valid texts that hold the bytes, no character more than they need.

    Assigned characters come first, then private and unassigned ones: they are valid text, and documents hold them.

    Args:
        raw: bytes that are not valid UTF-8 by themselves.
        limit: about this many; where there are more, they are taken at even steps.
        avoid: characters that come last, such as those that have pieces of their own.

    Returns:
        Pairs of a text and the offset of the piece in its bytes.
    """
    parts = cut(raw)
    if parts is None:
        return []
    head, middle, tail = parts
    n = max(1, int(limit**0.5)) if head and tail else limit
    firsts = _choose(_ending_in(head), avoid, n) if head else [""]
    lasts = _choose(_beginning_with(tail), avoid, n) if tail else [""]
    found = [(first + middle + last, len(first.encode()) - len(head)) for first in firsts for last in lasts]
    if head == raw:
        # The same continuation bytes may stand inside a character, with more to follow.
        around = _choose(_holding_inside(head), avoid, limit)
        found += [(character, character.encode().index(head, 1)) for character in around]
    return found


Groups = tuple[Sequence[str], Sequence[str]]
"""Characters that are assigned, and characters that are not."""

SAMPLE = 16_384
"""Code points looked at where more could be meant: a lead byte of four begins up to 262,144."""


@cache
def _beginning_with(tail: bytes) -> Groups:
    """Characters whose encoding begins with these bytes: a run of code points."""
    length = 2 if tail[0] < 0xE0 else 3 if tail[0] < 0xF0 else 4
    least = (0x80, 0x800, 0x10000)[length - 2]
    first = tail[0] & (0x7F >> length)
    for byte in tail[1:]:
        first = first << 6 | byte & 0x3F
    width = 64 ** (length - len(tail))
    return _sorted_out(range(max(first * width, least), min((first + 1) * width, 0x110000)))


@cache
def _ending_in(head: bytes) -> Groups:
    """Characters whose encoding goes on to end in these continuation bytes: every 64th code point, 4,096th, ..."""
    return _sorted_out(range(_value(head), 0x110000, 64 ** len(head)), head)


@cache
def _holding_inside(head: bytes) -> Groups:
    """Characters in whose encoding one byte follows these continuation bytes."""
    starts = range(_value(head), 0x110000 // 64, 64 ** len(head))
    return _sorted_out([start * 64 + last for start in starts for last in (0, 31)], head + b"*")


def _value(continuation: bytes) -> int:
    value = 0
    for byte in continuation:
        value = value << 6 | byte & 0x3F
    return value


def _sorted_out(codes: Sequence[int], within: bytes = b"") -> Groups:
    """The characters of the code points that are encoded in more bytes than ``within``, shorter encodings first."""
    groups: tuple[list[str], list[str]] = ([], [])
    for code in _spread(codes, SAMPLE):
        character = chr(code)
        category = unicodedata.category(character)
        if code >= 0x80 and category != "Cs" and len(character.encode()) > len(within):
            groups[category in ("Cn", "Co")].append(character)
    return groups


def _choose(groups: Groups, avoid: frozenset[str], limit: int) -> list[str]:
    last = [character for group in groups for character in group if character in avoid]
    chosen: list[str] = []
    for group in (*([c for c in group if c not in avoid] for group in groups), last):
        chosen += _spread(group, limit - len(chosen))
    return chosen


def _spread(items: Sequence[T], limit: int) -> Sequence[T]:
    return items if len(items) <= limit else [items[i * len(items) // limit] for i in range(limit)]
