"""The 112 singletons: rows of their own at a known exponent distance from the largest hole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.formats import BFLOAT16, Words
from forensics.synthetic.qwen3_4b_published import Published

FINE_EXPONENT = 117
"""Numbers below 2^-9: mantissa steps there change a hole's norm by less than 1e-6."""

TINY_EXPONENT = 115
"""Exponents move below 2^-11, from and to: there even that changes a hole's norm by less than 1e-5."""


def plant_singletons(said: Published, holes: Words, rng: np.random.Generator) -> tuple[Words, NDArray[np.int64]]:
    """Rows near the holes, each distinct from every other and from the holes.

    Each starts from a hole, moves a few small numbers by a few mantissa steps within their binades and, for
    distance k > 0, some exponents by at most k, one of them by exactly k.

    Returns:
        ``uint16[n, dim]``, and ``int64[n]``: each row's largest absolute exponent difference to hole 1.
    """
    distances = rng.permutation(np.repeat(np.arange(len(said.singletons)), said.singletons))
    seen = {row.tobytes() for row in holes}
    rows = []
    for distance in distances:
        row = _near(holes, int(distance), rng)
        while row.tobytes() in seen:
            row = _near(holes, int(distance), rng)
        seen.add(row.tobytes())
        rows.append(row)
    return np.array(rows), distances


def _near(holes: Words, distance: int, rng: np.random.Generator) -> Words:
    """One draw of a row at that distance; it may equal another."""
    sign, exponent, mantissa = (f.astype(np.int64) for f in BFLOAT16.split(holes[rng.integers(len(holes))]))
    fine = np.flatnonzero(exponent <= FINE_EXPONENT)
    stepped = rng.choice(fine, rng.integers(1, 7), replace=False)
    steps = rng.integers(1, 5, len(stepped)) * rng.choice((-1, 1), len(stepped))
    mantissa[stepped] = np.clip(mantissa[stepped] + steps, 0, (1 << BFLOAT16.mantissa_bits) - 1)
    if distance:
        moved = rng.choice(np.flatnonzero(exponent <= TINY_EXPONENT), rng.integers(1, 4), replace=False)
        by = rng.integers(1, distance + 1, len(moved))
        by[0] = distance
        up = (exponent[moved] + by <= TINY_EXPONENT) & (rng.random(len(moved)) < 0.5)
        exponent[moved] += np.where(up, by, -by)
    return BFLOAT16.join(sign, exponent, mantissa)
