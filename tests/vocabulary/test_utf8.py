"""What valid UTF-8 can hold, against Python's own decoder over every character and every short run of bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.vocabulary.utf8 import completions, cut, used_bytes


def test_the_bytes_that_no_text_holds():
    every = {b for c in range(0x110000) if not 0xD800 <= c < 0xE000 for b in chr(c).encode()}
    assert used_bytes() == every
    assert set(range(256)) - used_bytes() == {0xC0, 0xC1, *range(0xF5, 0x100)}


def parts_of_text(n):
    """Every run of n bytes that some text of two characters around it holds, of a sample that has every lead."""
    codes = [*range(0x60, 0x100), *range(0x7E0, 0x820), *range(0xD7F0, 0xD800), *range(0xE000, 0xE010), 0xFFFF]
    codes += [0x10000, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000, 0x10FFFF, *range(0x1000, 0x10000, 64 * 61)]
    raws = [chr(c).encode() for c in codes if not 0xD800 <= c < 0xE000]
    for left, right in itertools.product(raws, raws):
        both = left + right
        yield from (both[i : i + n] for i in range(len(both) - n + 1))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_whatever_is_in_a_text_is_cut(n):
    for raw in set(parts_of_text(n)):
        head, middle, tail = cut(raw)
        assert head + middle.encode() + tail == raw


@pytest.mark.parametrize(
    "raw",
    [b"\xc0", b"\xc1\x80", b"\xe0\x80", b"\xe0\x9f", b"\xed\xa0", b"\xf0\x8f", b"\xf4\x90", b"\xf5", b"\xff",
     b"a\x80", b"\x80a\x80", b"\xe0a", b"\x80\x80\x80\x80", b"\xc3\xc3", b"\xc3\xa9\xa9", b"\xf1\x80\x80a"],
)  # fmt: skip
def test_what_is_in_no_text(raw):
    assert cut(raw) is None
    assert completions(raw, 10) == []


@given(st.binary(min_size=1, max_size=6))
def test_completions_are_valid_and_hold_the_bytes(raw):
    found = completions(raw, 20)
    assert bool(found) == (cut(raw) is not None)
    for text, start in found:
        assert text.encode()[start : start + len(raw)] == raw
        # No character more than the bytes touch.
        assert len(text[:1].encode()) > start
        assert len(text.encode()) - len(text[-1:].encode()) < start + len(raw)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), st.data())
def test_any_part_of_any_text_is_completed(text, data):
    raw = text.encode()
    start = data.draw(st.integers(0, len(raw) - 1))
    stop = data.draw(st.integers(start + 1, len(raw)))
    assert completions(raw[start:stop], 5)


def test_all_completions_of_one_missing_byte():
    texts = {text for text, _ in completions(b"\xe0\xb8", 64)}
    assert texts == {chr(c) for c in range(0xE00, 0xE40)}
    assert completions(b"\xe0\xb8", 3, frozenset("กขฃ"))[0][0] not in "กขฃ"
    assert [t for t, _ in completions(b"\xe0\xb8", 64, frozenset("ก"))][-1] == "ก"


def test_assigned_characters_come_first():
    texts = [text for text, _ in completions(b"\xef\xbc", 64)]
    assert texts[-1] == "\uff00"  # never assigned
    assert all(
        "\ue000" <= text <= "\uefff" for text, _ in completions(b"\xee", 9)
    )  # private use: there is nothing else
    assert len({text for text, _ in completions(b"\xb8", 64)}) > 60
