"""Black holes: groups of tokens whose stored rows are bit-for-bit identical.

Rows that share their first bytes get a 128-bit digest (XXH3) of all their bytes; rows that share a digest are then
compared byte by byte, so a collision can slow the search down but cannot make a group. Identity is over the bits:
-0.0 and +0.0 differ, and so do two nan payloads. For a quantised matrix it is over the stored blocks; see
:func:`find_equal_values` for the rows that stand for equal numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from forensics.embedding import BLOCK_BYTES, Embedding

if TYPE_CHECKING:
    import pandas as pd

Digest = Callable[[Any], bytes]
"""Maps the bytes of a row to 16 bytes."""

Rows = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Gives the bytes that are compared, ``uint8[n, row_bytes]``, of these tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class BlackHole:
    """One group of identical rows.

    Attributes:
        id: 1 for the most populated; ties by first token id.
        token_ids: ``int64[population]``, ascending.
        is_zero: every number of the row is zero, whatever its stored bits.
    """

    id: int
    token_ids: NDArray[np.int64]
    is_zero: bool

    @property
    def population(self) -> int:
        """Number of tokens that share the row."""
        return len(self.token_ids)

    @property
    def representative(self) -> int:
        """The first token id: its row is every member's row."""
        return int(self.token_ids[0])


@dataclass(frozen=True, slots=True, eq=False)
class BlackHoles:
    """The partition of a matrix's rows by bit identity; rows that no other row equals are not holes.

    Attributes:
        n_rows: rows of the matrix.
        holes: by falling population, then first token id.
        hole_ids: ``int32[rows]``, the hole each token is in, 0 for none.
    """

    n_rows: int
    holes: tuple[BlackHole, ...]
    hole_ids: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.holes)

    def __str__(self) -> str:
        return (
            f"{len(self)} black holes: {self.n_tokens:,} of {self.n_rows:,} tokens hold {len(self):,} distinct "
            f"rows; {self.n_unique_rows:,} unique rows in all; populations {list(self.populations)}"
        )

    @property
    def n_tokens(self) -> int:
        """Tokens that share their row with another."""
        return sum(self.populations)

    @property
    def n_unique_rows(self) -> int:
        """Distinct bit patterns among all rows."""
        return self.n_rows - self.n_tokens + len(self)

    @property
    def populations(self) -> tuple[int, ...]:
        """Tokens in each hole, falling."""
        return tuple(hole.population for hole in self.holes)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """``bool[rows]``: in a hole."""
        return self.hole_ids > 0

    def to_frame(self) -> pd.DataFrame:
        """One row a hole: id, population, representative, is_zero, token_ids."""
        import pandas as pd  # 0.7 s, for notebooks only

        columns = ("id", "population", "representative", "is_zero", "token_ids")
        return pd.DataFrame([{c: getattr(h, c) for c in columns} for h in self.holes], columns=columns)


def find_black_holes(embedding: Embedding, *, digest: Digest = xxhash.xxh3_128_digest) -> BlackHoles:
    """Groups the tokens whose stored rows are identical.

    Only rows that share their first bytes with another can have an equal; these are digested whole and then
    compared. Of a trained matrix that is a few rows; where it is every row, the cost is one pass over the bytes.

    Args:
        embedding: any matrix, quantised ones included.
        digest: maps a row's bytes to 16 bytes; only for tests of what a collision does.
    """
    rows = np.asarray(embedding.rows_bytes)  # numpy.memmap makes a costlier object of every row
    suspects = _sharing_their_head(rows)
    digests = b"".join(digest(rows[token]) for token in suspects)
    groups = [
        group
        for candidates in _equal_digests(np.frombuffer(digests, np.uint64).reshape(-1, 2))
        for group in _split_by_bytes(rows.__getitem__, suspects[candidates])
    ]
    return _number(groups, embedding.n_rows, lambda token: _is_zero(embedding, token))


def find_equal_values(embedding: Embedding) -> BlackHoles:
    """Groups the tokens whose rows stand for equal numbers, whatever their stored bits.

    Differs from :func:`find_black_holes` where different blocks dequantise to the same numbers, and where
    rows differ only in the sign of a zero. A row with nan equals nothing.
    """
    pieces: list[bytes] = []
    has_nan = np.zeros(embedding.n_rows, np.bool_)
    for start, values in embedding.blocks():
        has_nan[start : start + len(values)] = np.isnan(values).any(axis=1)
        # Adding +0.0 turns -0.0 into +0.0 and changes nothing else.
        pieces.extend(map(xxhash.xxh3_128_digest, values + np.float32(0)))

    def rows_of(token_ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        return (embedding.values_of(token_ids) + np.float32(0)).view(np.uint8)

    groups = [
        group
        for candidates in _equal_digests(np.frombuffer(b"".join(pieces), np.uint64).reshape(-1, 2))
        for group in _split_by_bytes(rows_of, candidates[~has_nan[candidates]])
    ]
    return _number(groups, embedding.n_rows, lambda token: _is_zero(embedding, token))


def _is_zero(embedding: Embedding, token: int) -> bool:
    # By value: ggml's 4-bit blocks store a zero row as bits that are not zero, and -0.0 has its sign bit set.
    with np.errstate(invalid="ignore"):  # a signalling nan is a nan, and not zero
        return not embedding.values(token, token + 1).any()


def _sharing_their_head(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The tokens whose first eight stored bytes some other row has, too; all tokens where rows are shorter."""
    if rows.shape[1] < 8:
        return np.arange(len(rows))
    return _repeated(np.ascontiguousarray(rows[:, :8]).view(np.uint64).reshape(-1))


def _repeated(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where a key stands that occurs more than once."""
    ranked = np.sort(keys)
    twice = ranked[1:][ranked[1:] == ranked[:-1]]
    if not twice.size:
        return np.empty(0, np.int64)
    nearest = twice[np.minimum(np.searchsorted(twice, keys), len(twice) - 1)]
    return np.flatnonzero(nearest == keys)


def _equal_digests(digests: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Positions of each group of two or more equal digests, ``uint64[n, 2]``.

    Sorts one half alone (fast, in place of a 128-bit sort of every row) and looks closer only at the few whose half
    occurs twice.
    """
    suspects = _repeated(np.ascontiguousarray(digests[:, 0]))
    if not suspects.size:
        return []
    keys = digests[suspects]
    order = np.lexsort((suspects, keys[:, 1], keys[:, 0]))
    starts = np.flatnonzero(np.r_[True, (keys[order][1:] != keys[order][:-1]).any(axis=1)])
    groups = np.split(suspects[order], starts[1:])
    return [group for group in groups if len(group) > 1]


def _split_by_bytes(rows_of: Rows, candidates: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The groups of truly equal rows among candidates, each of two or more tokens."""
    if len(candidates) < 2:
        return []
    first = rows_of(candidates[:1])
    step = max(1, 4 * BLOCK_BYTES // first.size)
    stretches = [candidates[i : i + step] for i in range(0, len(candidates), step)]
    same = np.concatenate([(rows_of(stretch) == first).all(axis=1) for stretch in stretches])
    groups = [candidates[same]] if same.sum() > 1 else []
    # The rest only shares a digest. A cryptographic one tells them apart, so that no crafted file can make
    # every row be held against every other.
    others: dict[bytes, list[int]] = {}
    for token in candidates[~same]:
        others.setdefault(blake2b(rows_of(np.array([token])).data).digest(), []).append(int(token))
    for ids in others.values():
        groups += _split_by_bytes(rows_of, np.array(ids))
    return groups


def _number(groups: list[NDArray[Any]], n_rows: int, is_zero: Callable[[int], bool]) -> BlackHoles:
    groups = sorted(groups, key=lambda ids: (-len(ids), int(ids[0])))
    hole_ids = np.zeros(n_rows, np.int32)
    holes = []
    for number, ids in enumerate(groups, start=1):
        hole_ids[ids] = number
        holes.append(BlackHole(number, ids.astype(np.int64), is_zero(int(ids[0]))))
    return BlackHoles(n_rows, tuple(holes), hole_ids)
