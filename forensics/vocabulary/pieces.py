"""What a tokenizer's pieces stand for: their bytes, and text that can be shown.

A tokenizer writes its pieces in one of three spellings: *byte-level* (every byte a printable character, as
in GPT-2), *sentencepiece* (a space is U+2581, a lone byte is ``<0x0A>``), or *plain*.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

Spelling = Literal["byte-level", "sentencepiece", "plain"]

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """A tokenizer's pieces by id.

    Attributes:
        pieces: the raw piece of each id, None for an id that no token has.
        spelling: how pieces are written.
        literal: ids whose piece is its text as it stands (special and added tokens).
    """

    pieces: tuple[str | bytes | None, ...]
    spelling: Spelling
    literal: frozenset[int] = field(default_factory=frozenset)

    def __len__(self) -> int:
        return len(self.pieces)

    def raw_bytes(self, token_id: int) -> bytes | None:
        """The bytes that a token puts into text; None for an id without a token."""
        if token_id >= len(self.pieces) or token_id < 0:
            return None
        piece = self.pieces[token_id]
        if piece is None or isinstance(piece, bytes):
            return piece
        if token_id not in self.literal:
            if self.spelling == "byte-level":
                return _byte_level(piece)
            if self.spelling == "sentencepiece":
                lone = _BYTE_PIECE.fullmatch(piece)
                return bytes([int(lone[1], 16)]) if lone else piece.replace("\u2581", " ").encode()
        return piece.encode("utf-8", errors="surrogatepass")

    def text(self, token_id: int) -> str | None:
        """The token's text, bytes that are not UTF-8 shown as ``<0xF5>``; None for an id without a token."""
        raw = self.raw_bytes(token_id)
        return None if raw is None else raw.decode("utf-8", errors="forensics_hex")


def _hex_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"<0x{b:02X}>" for b in error.object[error.start : error.end]), error.end


codecs.register_error("forensics_hex", _hex_bytes)


def _byte_level(piece: str) -> bytes:
    alphabet = byte_level_alphabet()
    out = bytearray()
    for character in piece:
        byte = alphabet.get(character)
        # A character outside the alphabet was added to the vocabulary as it stands.
        out += character.encode("utf-8", errors="surrogatepass") if byte is None else bytes([byte])
    return bytes(out)


@cache
def byte_level_alphabet() -> dict[str, int]:
    """The byte of each character of the byte-level spelling.

    Printable Latin-1 bytes stand for themselves; the others take the characters from U+0100 on, in order.

    References:
        Radford et al. 2019 (GPT-2), ``bytes_to_unicode``.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}
