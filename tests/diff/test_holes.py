"""What becomes of planted holes, and of each of their tokens."""

import numpy as np
import pytest

from forensics.diff import diff_embeddings
from forensics.diff.holes import HOLE_CHANGES
from forensics.embedding import Embedding


def matrix(text):
    """One row a letter: tokens of one letter share a row; a dot is a row of its own."""
    rows = [[1000 + i, 1, 2] if letter == "." else [ord(letter), 3, 4] for i, letter in enumerate(text)]
    return Embedding.from_array(np.array(rows, np.float32))


def diff(a, b):
    return diff_embeddings(matrix(a), matrix(b))


CASES = {
    # A, B, fates of A's holes, fates of B's holes looking back
    "unchanged": ("aabb.", "aabb.", ["kept", "kept"], ["kept", "kept"]),
    "moved together": ("aabb.", "ccbb.", ["kept", "kept"], ["kept", "kept"]),
    "one left": ("aaabb", "aa.bb", ["kept", "kept"], ["kept", "kept"]),
    "one joined": ("aa.bb", "aaabb", ["kept", "kept"], ["kept", "kept"]),
    "merged": ("aaabb", "aaaaa", ["merged", "merged"], ["split"]),
    "split": ("aaaaa", "aaabb", ["split"], ["merged", "merged"]),
    "dissolved": ("aaa.bb", "....bb", ["dissolved", "kept"], ["kept"]),
    "new": ("....bb", "aaa.bb", ["kept"], ["dissolved", "kept"]),
    "rows gone": ("..aaa", "..aa", ["kept"], ["kept"]),
    "all but one gone": ("...aaa", "...a", ["dissolved"], []),
    "one token each": ("aa.bb.", "accbdd", ["dissolved", "dissolved"], ["dissolved", "dissolved"]),
    "swapped": ("aaabbb", "aabbba", ["split", "split"], ["split", "split"]),
    "no holes": ("...", "...", [], []),
}


@pytest.mark.parametrize("name", CASES)
def test_fates(name):
    a, b, fates, origins = CASES[name]
    found = diff(a, b)
    assert [hole.fate for hole in found.fates] == fates
    assert [hole.fate for hole in found.origins] == origins
    for hole in (*found.fates, *found.origins):
        assert hole.population == hole.alone + hole.gone + sum(n for _, n in hole.holes)


TOKENS = {
    ("aaabb.", "aa.bb."): "stays stays left stays stays outside",
    ("aa.bb.", "aaabb."): "stays stays joined stays stays outside",
    ("aaabb", "aaaaa"): "stays stays stays stays stays",
    ("aaabbb", "aabbba"): "stays stays changed stays stays changed",
    ("aaa...", "...aaa"): "left left left joined joined joined",
    ("aabb", "abab"): "changed changed changed changed",
    ("aaa", "a"): "left",
}


@pytest.mark.parametrize("pair", TOKENS, ids=" ".join)
def test_tokens(pair):
    found = [HOLE_CHANGES[code].split()[0] for code in diff(*pair).hole_changes]
    assert " ".join(found) == TOKENS[pair]


def test_where_the_tokens_of_a_hole_are():
    found = diff("aaaaaaaa..", "bbbcc.b")
    (hole,) = found.fates
    assert (hole.population, hole.fate, hole.holes, hole.alone, hole.gone) == (8, "split", ((1, 4), (2, 2)), 1, 1)
    assert hole.to_dict()["holes"] == [[1, 4], [2, 2]] and hole.unchanged == 0
    assert diff("aaa.", "aa..").fates[0].unchanged == 2
    assert found.fate_counts() == {"kept": 0, "merged": 0, "split": 1, "dissolved": 0, "new": 0}


def test_removed_and_added_rows_are_counted_by_what_they_are():
    long = np.ones((9, 4), np.float32)
    long[:6] += np.arange(6)[:, None]
    long[8] = 0
    long[6].view(np.uint32)[0] = 0x7F800001  # a signalling nan is not zero, and raises no warning
    long[7] = long[6]
    short, whole = Embedding.from_array(long[:5]), Embedding.from_array(long)
    told = diff_embeddings(whole, short).to_dict()
    assert told["removed"] == {"rows": 4, "ids": [[5, 8]], "zero": 1, "in_holes": 2}
    assert told["added"] == {"rows": 0, "ids": [], "zero": 0, "in_holes": 0}
    told = diff_embeddings(short, whole).to_dict()
    assert told["added"]["rows"] == 4 and told["added"]["zero"] == 1 and told["removed"]["rows"] == 0
