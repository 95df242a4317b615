"""Two vocabularies held against each other: pieces added and removed, and ids that changed hands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.diff import Pairing
from forensics.diff.pairing import pair_rows
from forensics.vocabulary import Vocabulary

LISTED = 1000
"""Tokens listed in JSON under any one key."""

Key = tuple[str | bytes, int]
"""A piece, and how many ids below have the same one."""


@dataclass(frozen=True, slots=True, eq=False)
class VocabularyDiff:
    """Vocabulary B against vocabulary A.

    Attributes:
        first, second: A and B.
        removed: ``int64[n]``, ids in A of pieces that B has not.
        added: ``int64[n]``, ids in B of pieces that A has not.
        renamed: ``int64[n]``, ids that have one piece in A and another in B.
        moved: ``int64[n]``, ids in B of pieces that have another id in A.
    """

    first: Vocabulary
    second: Vocabulary
    removed: NDArray[np.int64]
    added: NDArray[np.int64]
    renamed: NDArray[np.int64]
    moved: NDArray[np.int64]

    @property
    def is_same(self) -> bool:
        """Every id has the same piece in both."""
        return not (len(self.removed) or len(self.added) or len(self.moved))

    def to_dict(self) -> dict[str, Any]:
        """The ``vocabulary`` section of diff.json."""
        told: dict[str, Any] = {"tokens_a": len(self.first), "tokens_b": len(self.second)}
        for name, vocabulary in (("removed", self.first), ("added", self.second), ("moved", self.second)):
            ids = getattr(self, name)
            shown = [[i, vocabulary.text(i)] for i in ids[:LISTED].tolist()]
            told[name] = {"tokens": len(ids), "listed": shown}
        renamed = [[i, self.first.text(i), self.second.text(i)] for i in self.renamed[:LISTED].tolist()]
        return told | {"renamed": {"tokens": len(self.renamed), "listed": renamed}}


def diff_vocabularies(first: Vocabulary, second: Vocabulary) -> VocabularyDiff:
    """Holds the pieces of two vocabularies against each other.

    Pieces are compared as they are spelled; where the two tokenizers spell differently, by the bytes they put into
    text. Of several ids with one piece, the first in A goes with the first in B, and so on.
    """
    a, b = _keys(first, second)
    removed = [i for key, i in a.items() if key not in b]
    added = [i for key, i in b.items() if key not in a]
    moved = [i for key, i in b.items() if a.get(key, i) != i]
    pieces = {i: piece for (piece, _), i in a.items()}
    renamed = [i for (piece, _), i in b.items() if pieces.get(i, piece) != piece]
    return VocabularyDiff(first, second, _ids(removed), _ids(added), _ids(renamed), _ids(moved))


def pair_by_piece(first: Vocabulary, second: Vocabulary, n_first: int, n_second: int) -> Pairing:
    """Pairs the rows of tokens with the same piece, and by id the rows without a piece in either.

    ``n_first`` and ``n_second`` are the rows of the matrices: tokens beyond them have none.
    """
    a, b = _keys(first, second)
    pairs = [(i, b[key]) for key, i in a.items() if key in b and i < n_first and b[key] < n_second]
    bare_a, bare_b = (np.setdiff1d(np.arange(n), _ids(list(k.values()))) for n, k in ((n_first, a), (n_second, b)))
    both = np.intersect1d(bare_a, bare_b)
    named = np.array(pairs, np.int64).reshape(-1, 2)
    return pair_rows(np.r_[named[:, 0], both], np.r_[named[:, 1], both], n_first, n_second)


def _keys(first: Vocabulary, second: Vocabulary) -> tuple[dict[Key, int], dict[Key, int]]:
    as_spelled = first.spelling == second.spelling
    return _by_key(first, as_spelled), _by_key(second, as_spelled)


def _by_key(vocabulary: Vocabulary, as_spelled: bool) -> dict[Key, int]:
    seen: Counter[str | bytes] = Counter()
    found: dict[Key, int] = {}
    for i in range(len(vocabulary)):
        piece = vocabulary.pieces[i] if as_spelled else vocabulary.raw_bytes(i)
        if piece is not None:
            found[piece, seen[piece]] = i
            seen[piece] += 1
    return found


def _ids(ids: list[int]) -> NDArray[np.int64]:
    return np.sort(np.array(ids, np.int64))
