"""A random matrix in which chosen tokens share a row, and its null: a matrix in which none do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from forensics.errors import SourceError
from forensics.formats import BFLOAT16, FloatFormat, Words, float_format
from forensics.synthetic.distinct import DistinctRows, check_room
from forensics.synthetic.layout import Placed, TokenIds, interleave
from forensics.synthetic.planted import Planted, check_sizes, qwen3_config

STD = 0.02
"""The usual initializer_range of transformer embeddings."""

BLOCK_NUMBERS = 1 << 18
"""Numbers in a streamed block: its float32 copy stays in a core's cache."""


def plant_groups(
    rows: int,
    dim: int,
    groups: Sequence[Sequence[int]],
    *,
    format: FloatFormat = BFLOAT16,
    seed: int = 0,
    zero_rows: int = 0,
    std: float = STD,
    name: str = "groups",
) -> Planted:
    """A matrix of N(0, std) rows in which the tokens of each group share one row and no others are equal.

    Args:
        rows: number of token rows.
        dim: numbers in a row.
        groups: token ids, two or more in a group, no token in two of them.
        format: number format; values are rounded to it, ties to even.
        seed: from 0.
        zero_rows: how many all-zero rows; they are the last tokens that are in no group. From two on they
            form a hole of their own.
        std: standard deviation of the values before rounding.
        name: what to call it.

    Raises:
        SourceError: groups that overlap, leave the matrix or hold fewer than two tokens; too many zero rows.
        FormatError: the format and dim cannot hold that many distinct rows.
    """
    check_sizes(name, rows, dim, seed)
    members = [_checked_group(ids, rows) for ids in groups]
    taken = np.concatenate([*members, np.empty(0, np.int64)])
    if len(np.unique(taken)) < len(taken):
        raise SourceError(f"{name}: a token is in two groups", hint="groups of equal rows cannot overlap")
    free = np.delete(np.arange(rows, dtype=np.int64), taken)
    if not 0 <= zero_rows <= len(free):
        raise SourceError(f"{name}: {zero_rows} zero rows asked, {len(free)} of {rows} tokens are in no group")
    zeros = free[len(free) - zero_rows :]
    check_room(name, max(1, len(members) + len(free) - zero_rows), dim, format, std)

    def stream() -> Iterator[Words]:
        source = DistinctRows(format, dim, std, np.random.default_rng(seed))
        shared = np.concatenate([source.draw(len(members)), np.zeros((1, dim), format.word_dtype)])
        placed = Placed.of([*members, zeros], shared)
        step = max(1, BLOCK_NUMBERS // dim)
        spans = ((start, min(start + step, rows)) for start in range(0, rows, step))
        return interleave(spans, placed, source.draw)

    truth = {
        "name": name,
        "format": format.name,
        "rows": rows,
        "dim": dim,
        "seed": seed,
        "std": std,
        "values": f"independent N(0, {std:g}) rounded to {format.name}; a row that was already drawn is redrawn",
        **_group_truth(members, zeros, rows),
    }
    return Planted(name, format, rows, dim, seed, qwen3_config(rows, dim, format), truth, stream)


def plant_healthy(
    *, rows: int | None = None, dim: int | None = None, seed: int | None = None, dtype: str | None = None
) -> Planted:
    """The null: N(0, 0.02) rows of which no two are equal.

    Args:
        rows: number of token rows, 32,000 if None.
        dim: numbers in a row, 512 if None.
        seed: from 0; 0 if None.
        dtype: name of any float format, bfloat16 if None.

    Raises:
        FormatError: an unknown format, or one that cannot hold that many distinct rows of that dim.
    """
    fmt = float_format(dtype or BFLOAT16.name)
    n_rows, n_dims = 32_000 if rows is None else rows, 512 if dim is None else dim
    return plant_groups(n_rows, n_dims, (), format=fmt, seed=seed or 0, name="healthy")


def _checked_group(ids: Sequence[int], rows: int) -> TokenIds:
    group = np.unique(np.asarray(ids, dtype=np.int64))
    if len(group) < 2 or len(group) < len(ids):
        raise SourceError(f"a group is two or more different tokens, found {list(ids)[:5]}")
    if group[0] < 0 or group[-1] >= rows:
        raise SourceError(f"token ids lie in 0 to {rows - 1}, a group holds {group[0]} to {group[-1]}")
    return group


def _group_truth(members: list[TokenIds], zeros: TokenIds, rows: int) -> dict[str, Any]:
    """The holes as a scan numbers them: by falling population, then first token."""
    found = [(ids, False) for ids in members] + ([(zeros, True)] if len(zeros) > 1 else [])
    found.sort(key=lambda hole: (-len(hole[0]), int(hole[0][0])))
    in_holes = sum(len(ids) for ids, _ in found)
    return {
        "holes": [
            {"id": i, "population": len(ids), "is_zero": is_zero, "token_ids": ids.tolist()}
            for i, (ids, is_zero) in enumerate(found, start=1)
        ],
        "zero_rows": zeros.tolist(),
        "n_holes": len(found),
        "n_hole_tokens": in_holes,
        "n_unique_rows": rows - in_holes + len(found),
    }
