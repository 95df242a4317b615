"""BPE replayed on one piece, to name the merge after which the piece can no longer come about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from forensics.text import literal
from forensics.vocabulary.encoder import Encoder

Ranks = Mapping[tuple[str, str], int]

LONGEST = 64
"""Symbols of a piece that are searched for paths; the search takes the cube of it."""


def lost_merge(piece: str, encoder: Encoder) -> str:
    """The first merge of the replay that leaves every path to the piece, in words."""
    ranks = encoder.merge_ranks
    symbols = list(piece)
    if len(symbols) > LONGEST:
        return "the merges end elsewhere"
    if not _leads_to_one(symbols, ranks):
        return "no merges make it"
    while True:
        following = next_merge(symbols, ranks)
        if following is None:
            return "the merges end before it"
        at, rank = following
        left, right = symbols[at : at + 2]
        symbols[at : at + 2] = [left + right]
        if not _leads_to_one(symbols, ranks):
            pair = [literal(encoder.bytes_of(s).decode(errors="forensics_hex"), 40) for s in (left, right)]
            return f"merge {rank:,} joins {pair[0]} and {pair[1]} first"


def next_merge(symbols: Sequence[str], ranks: Ranks) -> tuple[int, int] | None:
    """Where the next merge is and its rank: the lowest rank, and of equal ones the leftmost."""
    found = [(ranks[pair], at) for at, pair in enumerate(pairwise(symbols)) if pair in ranks]
    if not found:
        return None
    rank, at = min(found)
    return at, rank


def _leads_to_one(symbols: Sequence[str], ranks: Ranks) -> bool:
    """Whether some order of merges, in whatever rank, makes all the symbols one (Cocke, Younger and Kasami's table)."""
    n = len(symbols)
    makes = {(i, i + 1): symbols[i] for i in range(n)}
    for width in range(2, n + 1):
        for i in range(n - width + 1):
            j = i + width
            if any(
                (i, k) in makes and (k, j) in makes and (makes[i, k], makes[k, j]) in ranks for k in range(i + 1, j)
            ):
                makes[i, j] = "".join(symbols[i:j])
    return (0, n) in makes
