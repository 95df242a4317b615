"""A planted Qwen3-4B-Instruct-2507: the published black holes, singletons and geometry among random live rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from forensics.errors import FormatError, SourceError
from forensics.formats import BFLOAT16, FLOAT32, FloatFormat, Words, float_format
from forensics.synthetic.layout import interleave
from forensics.synthetic.planted import Planted, check_sizes, qwen3_config
from forensics.synthetic.qwen3_4b_dead import plant_dead
from forensics.synthetic.qwen3_4b_live import GROUP, LiveStream, group_sizes, plan_live
from forensics.synthetic.qwen3_4b_published import Published, published
from forensics.synthetic.qwen3_4b_truth import tell_truth

NAME = "qwen3-4b"

MIN_DIM = 64
"""Below it the 20 varying dimensions' own words leave the norm no room."""

# Streams of one seed: the dead rows depend on seed and dim alone, whatever the number of rows.
DEAD_STREAM, ID_STREAM, PLAN_STREAM, LIVE_STREAM = range(4)


def plant_qwen3_4b(
    *, rows: int | None = None, dim: int | None = None, seed: int | None = None, dtype: str | None = None
) -> Planted:
    """Qwen3-4B-Instruct-2507 as published: 13 holes of 2,100 tokens, 112 singletons near them, live rows.

    Args:
        rows: number of token rows, 151,936 if None, at least 2,276.
        dim: numbers in a row, 2,560 if None, at least 64 and at most 2,560; all norms shrink with
            sqrt(dim / 2560).
        seed: from 0; 0 if None.
        dtype: "bfloat16", or "float32" for the same numbers widened; bfloat16 if None.

    Raises:
        SourceError: sizes that cannot hold the structure.
        FormatError: another format.
    """
    said = published()
    n_rows, n_dims = said.rows if rows is None else rows, said.dim if dim is None else dim
    seed = seed or 0
    check_sizes(NAME, n_rows, n_dims, seed)
    fmt = _checked_format(dtype)
    _check_room(said, n_rows, n_dims)
    dead = plant_dead(said, n_rows, n_dims, _generator(seed, DEAD_STREAM), _generator(seed, ID_STREAM))
    free = dead.placed.free_ids(n_rows)
    plan = plan_live(said, len(free), dead.singleton_values(), dead.in_hole_centroid(), _generator(seed, PLAN_STREAM))
    sizes = group_sizes(len(free))
    # Every span starts at the first live token of a group, so that each draws one whole group.
    starts = [0, *free[np.cumsum(sizes)[:-1]].tolist(), n_rows]

    def stream() -> Iterator[Words]:
        live = LiveStream(plan, dead.holes[0], _generator(seed, LIVE_STREAM))
        blocks = interleave(pairwise(starts), dead.placed, live.draw)
        return blocks if fmt is BFLOAT16 else (FLOAT32.narrow(BFLOAT16.widen(block)) for block in blocks)

    truth = tell_truth(said, dead, plan, rows=n_rows, seed=seed, fmt=fmt)
    return Planted(NAME, fmt, n_rows, n_dims, seed, qwen3_config(n_rows, n_dims, fmt), truth, stream)


def _checked_format(dtype: str | None) -> FloatFormat:
    fmt = float_format(dtype or BFLOAT16.name)
    if fmt not in (BFLOAT16, FLOAT32):
        raise FormatError(
            f"{NAME}: the planted words are bfloat16, and {fmt.name} cannot hold all of them",
            hint="choose bfloat16, or float32 for the same numbers widened",
        )
    return fmt


def _check_room(said: Published, rows: int, dim: int) -> None:
    least = said.n_dead + GROUP
    if rows < least:
        raise SourceError(
            f"{NAME}: {rows:,} rows asked, the {said.n_dead:,} dead rows and {GROUP} live ones need {least:,}"
        )
    if not MIN_DIM <= dim <= said.dim:
        raise SourceError(f"{NAME}: dim {dim:,} asked, the structure is held by {MIN_DIM} to {said.dim:,} dimensions")


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream])
