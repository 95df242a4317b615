"""The 112 singletons: rows of their own at a known exponent distance from the largest hole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.formats import BFLOAT16, Words
from forensics.synthetic.qwen3_4b_pattern import FINE_EXPONENT, load_pattern, place_pattern, place_slots
from forensics.synthetic.qwen3_4b_published import Published

TINY_EXPONENT = 115
"""Exponents move below 2^-11, from and to: there even that changes a hole's norm by less than 1e-5."""

APART = 64
"""Least L-infinity, in steps, of a row that moved an exponent to every other dead row: half a binade, which no
published figure of the neighbour graph comes near."""


def plant_singletons(said: Published, holes: Words, rng: np.random.Generator) -> tuple[Words, NDArray[np.int64]]:
    """Rows near the holes, each distinct from every other and from the holes.

    Those that share all exponents come first and lie as the pattern says. Each of the others starts from a hole,
    moves a few small numbers by a few mantissa steps within their binades and some exponents by at most k, one
    of them by exactly k, its distance; it is drawn again if it lies near another row.

    Returns:
        ``uint16[n, dim]``, and ``int64[n]``: each row's largest absolute exponent difference to hole 1.
    """
    pattern = load_pattern()
    near = place_pattern(pattern, place_slots(said, pattern, holes[0]), holes)
    distances = np.repeat(np.arange(len(said.singletons)), said.singletons)
    n_placed = len(holes) + len(near)
    rows = np.concatenate([holes, near, np.empty((len(distances) - len(near), holes.shape[1]), holes.dtype)])
    ordinals = np.empty(rows.shape, np.int32)
    ordinals[:n_placed] = BFLOAT16.ordinals(rows[:n_placed])
    for n, distance in enumerate(distances[len(near) :], start=n_placed):
        while True:
            rows[n] = _moved(holes, int(distance), rng)
            ordinals[n] = BFLOAT16.ordinals(rows[n])
            if np.abs(ordinals[:n] - ordinals[n]).max(axis=1).min() >= APART:
                break
    return rows[len(holes) :], distances


def _moved(holes: Words, distance: int, rng: np.random.Generator) -> Words:
    """One draw of a row at that distance, from 1; it may lie near another."""
    sign, exponent, mantissa = (f.astype(np.int64) for f in BFLOAT16.split(holes[rng.integers(len(holes))]))
    fine = np.flatnonzero(exponent <= FINE_EXPONENT)
    stepped = rng.choice(fine, rng.integers(1, 7), replace=False)
    steps = rng.integers(1, 5, len(stepped)) * rng.choice((-1, 1), len(stepped))
    mantissa[stepped] = np.clip(mantissa[stepped] + steps, 0, (1 << BFLOAT16.mantissa_bits) - 1)
    moved = rng.choice(np.flatnonzero(exponent <= TINY_EXPONENT), rng.integers(1, 4), replace=False)
    by = rng.integers(1, distance + 1, len(moved))
    by[0] = distance
    up = (exponent[moved] + by <= TINY_EXPONENT) & (rng.random(len(moved)) < 0.5)
    exponent[moved] += np.where(up, by, -by)
    return BFLOAT16.join(sign, exponent, mantissa)
