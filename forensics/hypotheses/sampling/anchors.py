"""The point that noise lies around: on the stored lattice, somewhere in its cell, or the dead rows' mean.

All in the raw frame. The same sigma gives other holes around other points: on the lattice half a step (a quarter below
a power of two) keeps every number from the next, while in float32 some of the numbers lie next to a boundary. The
founding notebooks' centred centroid (norm 0.166 in place of 0.371) has lower exponents and so finer cells everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.errors import HypothesisError
from forensics.formats import FloatFormat, Words
from forensics.hypotheses.context import Context

ANCHORS = ("on", "off", "centroid")

Values = NDArray[np.float32]


def anchor_values(context: Context, anchor: float | str, rng: np.random.Generator) -> Values:
    """The anchor, ``float32[dim]``.

    Args:
        context: holds the stored row and the centroid.
        anchor: "on": the stored row itself, a point of the lattice. "off": each number uniform in the cell of those
            that are stored as the row's, which is what is left unknown of a float32 vector that was rounded; of a
            quantised format the cell is the code step around the number. "centroid": the dead rows' mean as it is; it
            is on the lattice wherever they agree.
        rng: draws the place in the cell.

    Raises:
        HypothesisError: another word.
    """
    if anchor == "on":
        return context.values
    if anchor == "centroid":
        return context.centroid
    if anchor != "off":
        raise HypothesisError(f"the anchor {anchor!r} does not exist", hint=f"choose {', '.join(ANCHORS)}")
    if isinstance(context.format, FloatFormat):
        return _in_cell(context.format, context.anchor, rng)
    offsets = (rng.random(context.dim) - 0.5) * context.step
    return (context.values + offsets).astype(np.float32)


def cell(fmt: FloatFormat, words: Words) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bounds between which numbers round to each word, ``float64[dim]`` twice.

    Half-way to the neighbours; beyond the largest finite number the spacing goes on.
    """
    values = fmt.widen(words).astype(np.float64)
    magnitude = np.abs(values)
    step = fmt.ulp(words)
    mantissa = words & ((1 << fmt.mantissa_bits) - 1)
    # Below a power of two the spacing is half, but not below the least normal number; zero's cell reaches both ways.
    halved = (mantissa == 0) & (fmt.exponents(words) > 1)
    inner = magnitude - step / np.where(halved, 4, 2)
    outer = magnitude + step / 2
    negative = np.signbit(values)
    return np.where(negative, -outer, inner), np.where(negative, -inner, outer)


def _in_cell(fmt: FloatFormat, words: Words, rng: np.random.Generator) -> Values:
    low, high = cell(fmt, words)
    drawn = (low + (high - low) * rng.random(len(words))).astype(np.float32)
    # Rounding to float32 can carry a number onto the boundary, and a number beside zero has its own sign.
    astray = fmt.narrow(drawn) != words
    drawn[astray] = fmt.widen(words)[astray]
    return drawn
