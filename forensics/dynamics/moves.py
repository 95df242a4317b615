"""How far each row moved between two recorded steps, on the lattice of the format it is stored in.

Displacement over the ulp at the start is the founding definition: signed, and local to a binade (a coordinate near zero
gives astronomic values, a move across a binade gives halves). Ordinal differences are exact and additive. Both are as
in :mod:`forensics.lattice.coordinates`; here they are taken at every step, in blocks that stay in a core's cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.stream import Frame
from forensics.errors import RecordingError
from forensics.formats import FloatFormat, Words, float_format
from forensics.lattice.coordinates import compact_ordinals
from forensics.recording import Recording

BLOCK_NUMBERS = 1 << 16
"""Numbers of a block: three times as fast as one stretch of half a million."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """The rows whose stored bits changed, and by how much; every other row stood still.

    Attributes:
        rows: ``int64[k]``, ascending.
        value: ``float64[k]``, L2 of the displacement in value units.
        l2: ``float64[k]``, L2 in ulp of the start; not finite where a value is not.
        linf: ``float64[k]``, its largest coordinate.
        l1: ``float64[k]``, the sum of its coordinates.
        ordinals: ``int64[k]``, sum of ordinal differences: 0 where only a zero changed its sign.
        coordinates: ``int64[k]``, coordinates that moved.
        crossing: ``int64[k]``, those whose displacement in ulp is not the ordinal difference: start and end lie in
            different binades, so that ulp is a local measure there.
        dim: numbers in a row.
        n_rows: of the frame.
    """

    rows: NDArray[np.int64]
    value: Floats
    l2: Floats
    linf: Floats
    l1: Floats
    ordinals: NDArray[np.int64]
    coordinates: NDArray[np.int64]
    crossing: NDArray[np.int64]
    dim: int
    n_rows: int

    @property
    def moving(self) -> NDArray[np.bool_]:
        """``bool[k]``: a value changed; a zero's sign is none."""
        return self.ordinals > 0

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """A figure of the changed rows as one of every row, 0 where nothing changed, ``[n_rows]``."""
        out = np.zeros(self.n_rows, values.dtype)
        out[self.rows] = values
        return out


def measure_moves(fmt: FloatFormat, before: Words, after: Words, rows: NDArray[np.int64]) -> Moves:
    """The displacement of these rows between two matrices of words.

    Args:
        fmt: of the words.
        before: ``uint[rows, dim]``.
        after: the same shape.
        rows: the rows to measure, ``int64[k]``: those whose bits differ.
    """
    dim = before.shape[1]
    step = max(1, BLOCK_NUMBERS // dim)
    blocks = [rows[start : start + step] for start in range(0, len(rows), step)]
    found = [_block(fmt, before[some], after[some]) for some in blocks] or [_block(fmt, before[:0], after[:0])]
    value, l2, linf, l1, ordinals, coordinates, crossing = (np.concatenate(each) for each in zip(*found, strict=True))
    return Moves(rows, value, l2, linf, l1, ordinals, coordinates, crossing, dim, len(before))


def moves_of(frame: Frame, fmt: FloatFormat) -> Moves | None:
    """What moved in W since the recorded step before, computed once for all passes; None at the first step."""
    moved, last = frame.moved("W"), frame.before("W")
    if moved is None or last is None:
        return None
    words = last.words("W"), frame.words("W")
    return frame.shared("moves", lambda: measure_moves(fmt, *words, np.flatnonzero(moved)))


def words_format(recording: Recording) -> FloatFormat:
    """The format of W, recorded at two steps or more.

    Raises:
        RecordingError: W was not recorded, holds no words, or at one step alone.
    """
    recording.require("W")
    channel = recording.channel("W")
    if channel.format is None or len(channel.shape) != 2:
        raise RecordingError(f"{recording.name}: channel W holds no rows of words, but {channel.covers}")
    if len(recording.steps("W")) < 2:
        raise RecordingError(
            f"{recording.name}: W is recorded at one step, so no move can be seen", hint="train for more steps"
        )
    return float_format(channel.format)


@lru_cache(maxsize=8)
def _per_ulp(fmt: FloatFormat) -> Floats:
    """1 / ulp by raw exponent field: exact powers of two; subnormals share the lowest binade's."""
    exponent = np.maximum(np.arange(fmt.n_exponents), 1)
    return np.asarray(np.ldexp(1.0, fmt.bias + fmt.mantissa_bits - exponent))


def _block(fmt: FloatFormat, before: Words, after: Words) -> tuple[NDArray[Any], ...]:
    with np.errstate(invalid="ignore", over="ignore"):  # infinities and nan of a run that diverged
        moved = fmt.widen(after).astype(np.float64)
        moved -= fmt.widen(before)
        ulps = moved * _per_ulp(fmt)[fmt.exponents(before)]
        np.abs(ulps, out=ulps)
        wide = np.int32 if fmt.bits <= 16 else np.int64
        ranks = np.subtract(compact_ordinals(fmt, after), compact_ordinals(fmt, before), dtype=wide)
        np.abs(ranks, out=ranks)
        return (
            np.sqrt(np.einsum("ij,ij->i", moved, moved)),
            np.sqrt(np.einsum("ij,ij->i", ulps, ulps)),
            ulps.max(axis=1, initial=0.0),
            ulps.sum(axis=1),
            ranks.sum(axis=1, dtype=np.int64),
            np.count_nonzero(ranks, axis=1),
            np.count_nonzero(ulps != ranks, axis=1),
        )
