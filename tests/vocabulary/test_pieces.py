"""What pieces stand for, in each of the three spellings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.vocabulary import Vocabulary
from forensics.vocabulary.pieces import byte_level_alphabet

SPELLINGS = ("byte-level", "sentencepiece", "plain")
LETTER_OF = {byte: letter for letter, byte in byte_level_alphabet().items()}


def one(piece, spelling, literal=()):
    return Vocabulary((piece,), spelling, frozenset(literal))


def test_the_byte_level_alphabet_is_gpt2s():
    """The function of the original encoder, as published."""
    codes = [*range(ord("!"), ord("~") + 1), *range(ord("\u00a1"), ord("\u00ac") + 1), *range(ord("\u00ae"), 256)]
    characters, n = codes[:], 0
    for byte in range(256):
        if byte not in codes:
            codes.append(byte)
            characters.append(256 + n)
            n += 1
    assert byte_level_alphabet() == {chr(c): b for b, c in zip(codes, characters, strict=True)}
    assert sorted(byte_level_alphabet().values()) == list(range(256))


def test_the_alphabet_is_that_of_the_tokenizers_library():
    tokenizers = pytest.importorskip("tokenizers")
    assert set(byte_level_alphabet()) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())


@given(st.binary(max_size=40))
def test_bytes_come_back_from_the_byte_level_spelling(raw):
    vocabulary = one("".join(LETTER_OF[b] for b in raw), "byte-level")
    assert vocabulary.raw_bytes(0) == raw


@given(st.binary(max_size=40))
def test_text_shows_every_byte(raw):
    """What is UTF-8 as it is, the rest as <0xNN>: reading those back gives the bytes."""
    shown = one(raw, "plain").text(0)
    if b"<0x" not in raw:
        parts = shown.split("<0x")
        back = parts[0].encode() + b"".join(bytes([int(p[:2], 16)]) + p[3:].encode() for p in parts[1:])
        assert back == raw


@pytest.mark.parametrize("byte", range(256))
def test_a_lone_byte_in_every_spelling(byte):
    shown = chr(byte) if byte < 128 else f"<0x{byte:02X}>"
    for vocabulary in (
        one(f"<0x{byte:02X}>", "sentencepiece"),
        one(f"<0x{byte:02x}>", "sentencepiece"),
        one(LETTER_OF[byte], "byte-level"),
        one(bytes([byte]), "plain"),
    ):
        assert vocabulary.raw_bytes(0) == bytes([byte])
        assert vocabulary.text(0) == shown


@pytest.mark.parametrize(
    ("piece", "byte_level", "sentencepiece", "plain"),
    [
        ("", "", "", ""),
        ("the", "the", "the", "the"),
        ("\u0120the", " the", "\u0120the", "\u0120the"),
        ("\u2581the", "\u2581the", " the", "\u2581the"),
        ("\u2581\u2581", "\u2581\u2581", "  ", "\u2581\u2581"),
        ("\u00e9", "<0xE9>", "\u00e9", "\u00e9"),
        ("\u00c3\u00a9", "\u00e9", "\u00c3\u00a9", "\u00c3\u00a9"),
        ("\u0120\u2581", "\u0120\u2581", "\u0120 ", "\u0120\u2581"),  # not all of the alphabet: as it stands
        ("<0x41>", "<0x41>", "A", "<0x41>"),
        ("<0x4>", "<0x4>", "<0x4>", "<0x4>"),
        ("<0x41>a", "<0x41>a", "<0x41>a", "<0x41>a"),
        ("##ing", "##ing", "##ing", "##ing"),
        ("\U0001f600", "\U0001f600", "\U0001f600", "\U0001f600"),
        ("a\ud800", *["a<0xED><0xA0><0x80>"] * 3),
    ],
)
def test_a_piece_in_each_spelling(piece, byte_level, sentencepiece, plain):
    assert [one(piece, spelling).text(0) for spelling in SPELLINGS] == [byte_level, sentencepiece, plain]


def test_literal_pieces_are_not_in_the_byte_level_spelling():
    assert one("\u0120\u00e9", "byte-level", {0}).text(0) == "\u0120\u00e9"
    # A sentencepiece decoder turns the space mark of added tokens too.
    assert one("\u2581\u2581", "sentencepiece", {0}).text(0) == "  "
    assert one("\u2581", "plain", {0}).text(0) == "\u2581"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_ids_without_a_token(spelling):
    vocabulary = Vocabulary(("a", None, "c"), spelling)
    assert len(vocabulary) == 3
    for token_id in (1, 3, 10**12, -1, -3):
        assert vocabulary.raw_bytes(token_id) is None
        assert vocabulary.text(token_id) is None
    assert (vocabulary.text(0), vocabulary.text(2)) == ("a", "c")


@given(st.text(st.characters(), max_size=20), st.sampled_from(SPELLINGS), st.booleans())
def test_any_piece_has_bytes_and_text(piece, spelling, is_literal):
    vocabulary = one(piece, spelling, {0} if is_literal else ())
    assert isinstance(vocabulary.raw_bytes(0), bytes)
    vocabulary.text(0).encode()  # nothing in it is half a character
