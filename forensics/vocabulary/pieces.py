"""What a tokenizer's pieces stand for: their bytes, and text that can be shown.

A tokenizer writes its pieces in one of three spellings: *byte-level* (every byte a printable character, as
in GPT-2), *sentencepiece* (a space is U+2581, a lone byte is ``<0x0A>``), or *plain*.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from forensics.vocabulary.encoder import Encoder
    from forensics.vocabulary.rules import TokenizerRules

Spelling = Literal["byte-level", "sentencepiece", "plain"]

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """A tokenizer's pieces by id.

    Attributes:
        pieces: the raw piece of each id, None for an id that no token has.
        spelling: how pieces are written.
        literal: ids of special and added tokens, whose pieces are not in the byte-level spelling.
        rules: what is needed to encode text, or None.
        no_rules: why there are none.
    """

    pieces: tuple[str | bytes | None, ...]
    spelling: Spelling
    literal: frozenset[int] = field(default_factory=frozenset)
    rules: TokenizerRules | None = None
    no_rules: str = "only pieces are known"

    def __len__(self) -> int:
        return len(self.pieces)

    def __repr__(self) -> str:
        # Not the pieces: a dataclass's own would print them all.
        return f"Vocabulary({len(self):,} pieces, {self.spelling})"

    def raw_bytes(self, token_id: int) -> bytes | None:
        """The bytes that a token puts into text; None for an id without a token."""
        if token_id >= len(self.pieces) or token_id < 0:
            return None
        piece = self.pieces[token_id]
        if piece is None or isinstance(piece, bytes):
            return piece
        if self.spelling == "byte-level" and token_id not in self.literal:
            return _byte_level(piece)
        if self.spelling == "sentencepiece":
            lone = _BYTE_PIECE.fullmatch(piece)
            if lone:
                return bytes([int(lone[1], 16)])
            piece = piece.replace("\u2581", " ")
        return _utf8(piece)

    def text(self, token_id: int) -> str | None:
        """The token's text, bytes that are not UTF-8 shown as ``<0xF5>``; None for an id without a token."""
        raw = self.raw_bytes(token_id)
        return None if raw is None else raw.decode("utf-8", errors="forensics_hex")

    def spelled(self, token_id: int) -> str | None:
        """The piece as the model writes it: raw bytes in the byte-level spelling; None for an id without a token."""
        piece = self.pieces[token_id] if 0 <= token_id < len(self.pieces) else None
        if isinstance(piece, bytes):
            return piece.decode("latin-1").translate(_letters())
        return piece

    def encoder(self) -> Encoder | None:
        """The tokenizer at work, built here (about a second for 150,000 pieces); None without rules.

        Raises:
            CheckpointError: the rules cannot be built.
        """
        from forensics.vocabulary.encoder import Encoder

        return None if self.rules is None else Encoder(self.rules, self)


def _hex_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"<0x{b:02X}>" for b in error.object[error.start : error.end]), error.end


codecs.register_error("forensics_hex", _hex_bytes)


def _byte_level(piece: str) -> bytes:
    try:
        return bytes(map(byte_level_alphabet().__getitem__, piece))
    except KeyError:
        # With a character outside the alphabet, the whole piece was put into the vocabulary as it stands.
        return _utf8(piece)


def _utf8(text: str) -> bytes:
    # JSON can hold half of a surrogate pair; its three bytes are shown as the bytes that are not UTF-8.
    return text.encode("utf-8", errors="surrogatepass")


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


@cache
def _letters() -> dict[int, str]:
    return {byte: letter for letter, byte in byte_level_alphabet().items()}
