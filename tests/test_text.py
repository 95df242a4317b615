"""Token text is hostile: what is shown is what it is, and JSON gives it back."""

import json
import re
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forensics.text import align, literal, number, visible

EVERY = [chr(c) for c in range(sys.maxunicode + 1)]
ANY_TEXT = st.text(st.characters(), max_size=40)  # surrogates among them

DEFAULT_IGNORABLE = [
    *range(0x034F, 0x0350), *range(0x061C, 0x061D), *range(0x115F, 0x1161), *range(0x17B4, 0x17B6),
    *range(0x180B, 0x1810), *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070),
    *range(0x3164, 0x3165), *range(0xFE00, 0xFE10), *range(0xFEFF, 0xFF00), *range(0xFFA0, 0xFFA1),
    *range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000), 0xAD,
]  # fmt: skip
"""Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt: what a renderer may draw as nothing."""


def paired(text):
    """Text in which two halves of a surrogate pair are the character that they make, as JSON has it."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


@given(ANY_TEXT)
@example("\ud83d\ude00")
@example("\ude00\ud83d")
@example('"\\/\b\f\n\r\t\x7f\x00')
@example("\u0301e\n\u0301\u202e\u200b\ufeff\U000e0041")
def test_json_gives_the_text_back(text):
    assert json.loads(literal(text)) == paired(text)


def test_json_gives_every_character_back():
    for start in range(0, len(EVERY), 1024):
        text = "x".join(EVERY[start : start + 1024])
        assert json.loads(literal(text)) == text


HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
"""Control, format (bidirectional and zero-width among them), surrogate, private, unassigned, separators."""


def test_what_is_written_out_is_what_hides():
    ignorable = set(map(chr, DEFAULT_IGNORABLE))
    for character in EVERY:
        hides = (unicodedata.category(character) in HIDDEN and character != " ") or character in ignorable
        if hides:
            assert visible("a" + character) == "a" + json.dumps(character)[1:-1]
        elif character != "\u2800":  # the blank pattern of braille
            assert visible("a" + character) == "a" + character


@given(ANY_TEXT)
def test_nothing_that_hides_survives(text):
    for shown in (visible(text), literal(text), literal(text, 5)):
        assert not [c for c in shown if c != " " and unicodedata.category(c) in HIDDEN]
        assert not set(shown) & set(map(chr, DEFAULT_IGNORABLE))
        assert shown.isprintable()


@given(ANY_TEXT)
@example("\u0301")
@example("\n\u0301")
@example('"\u0301')
@example("\u200b\u0301\u0302")
def test_no_mark_merges_with_what_is_not_the_texts(text):
    """A combining mark stands after a character of the text, never after a quote or an escape."""
    pieces = re.findall(r"\\u[0-9a-f]{4}|\\.|[^\\]", literal(text)[1:-1])
    bare = False
    for piece in pieces:
        assert bare or not unicodedata.category(piece[0]).startswith("M")
        bare = len(piece) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", '""'),
        (" the", '" the"'),
        ("e\u0301", '"e\u0301"'),
        ("\u0301", '"\\u0301"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\n\t\x1b[2J", '"\\n\\t\\u001b[2J"'),
        ("abc\u202etxt.exe", '"abc\\u202etxt.exe"'),
        ("a\u00a0b\u3000c", '"a\\u00a0b\\u3000c"'),
        ("\u2764\ufe0f", '"\u2764\\ufe0f"'),
        ("\U0001f600", '"\U0001f600"'),
        ("\U000e0041", '"\\udb40\\udc41"'),
        ("\u65e5\u672c", '"\u65e5\u672c"'),
    ],
)
def test_literals(text, shown):
    assert literal(text) == shown


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|cmd"])
def test_a_spreadsheet_sees_no_formula(text):
    assert literal(text)[0] == '"'
    assert literal(text, 2)[0] == '"'


def test_a_limit_cuts_and_says_so():
    assert literal("abcdef", 6) == '"abcdef"'
    assert literal("abcdefg", 6) == '"abcde"\u2026'
    assert literal("\n" * 9, 3) == '"\\n\\n"\u2026'
    assert literal("ab", None) == '"ab"'


def test_visible_leaves_quotes_unless_they_are_asked_for():
    assert visible('a"b\\') == 'a"b\\'
    assert visible('a"b\\', escaped='"') == 'a\\"b\\'


# Tables


def test_columns_are_aligned_and_lines_have_no_trailing_blanks():
    rows = [("name", "n", "end"), ("a", "1,000", ""), ("longer name", "7", "x")]
    assert align(rows, right=(1,)).split("\n") == [
        "name             n  end",
        "a            1,000",
        "longer name      7  x",
    ]
    assert align([("a", "b")]) == "a  b"
    assert align([]) == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0, "0"),
        (151936, "151,936"),
        (-1234567, "-1,234,567"),
        (0.37091675, "0.370917"),
        (1e-30, "1e-30"),
        (-0.0, "-0"),
        (2.0, "2"),
        ("text", "text"),
    ],
)
def test_numbers_for_people(value, shown):
    assert number(value) == shown


def test_numpys_floats_are_floats():
    assert number(np.float64(0.25)) == "0.25"
    assert number(3.14159265, 3) == "3.14"
