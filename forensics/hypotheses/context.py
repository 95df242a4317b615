"""What a simulator is told of the subject: how many rows, in which format, and where they lie; not how they differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from forensics.formats import FloatFormat, TensorFormat, Words


@dataclass(frozen=True, eq=False)
class Live:
    """The live rows' law, for hypotheses that draw from it.

    Attributes:
        mean: ``float32[dim]``.
        factor: ``float32[dim, k]``: factor @ factor.T is the rows' covariance.
    """

    mean: NDArray[np.float32]
    factor: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Context:
    """What a simulator is given.

    Attributes:
        n_rows: dead tokens.
        dim: numbers in a row.
        format: the stored format.
        anchor: ``uint[columns]``, a stored row, the one that most dead tokens hold (of several, the first; if all
            differ, the one nearest to their mean): on the lattice, in the raw frame.
        centroid: ``float32[dim]``, the mean of the dead rows in the raw frame: off the lattice where they differ.
        vocab: rows of the whole matrix.
        initializer_range: standard deviation of the config's initialisation, or None.
        live: the live rows' law, or None where it was not measured.
    """

    n_rows: int
    dim: int
    format: TensorFormat
    anchor: Words
    centroid: NDArray[np.float32]
    vocab: int
    initializer_range: float | None = None
    live: Live | None = None

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """The anchor's numbers, ``float32[dim]``."""
        rows = self.anchor[np.newaxis]
        values = self.format.widen(rows) if isinstance(self.format, FloatFormat) else self.format.dequantise(rows)
        return np.asarray(values[0])

    @cached_property
    def step(self) -> NDArray[np.float64]:
        """The format's spacing at the anchor, ``float64[dim]``; of a quantised format the anchor's own code steps."""
        if isinstance(self.format, FloatFormat):
            return self.format.ulp(self.anchor)
        return code_steps(self.values, self.format.block_values)

    @property
    def median_step(self) -> float:
        """The median of ``step`` over the dimensions: what a noise is judged against; above 0."""
        return max(float(np.median(self.step)), float(np.finfo(np.float32).tiny))


def code_steps(values: NDArray[np.float32], block: int) -> NDArray[np.float64]:
    """The least difference between a quantised row's numbers, block by block, ``float64[dim]``.

    An estimate of the scale that the block is stored with: exact for symmetric formats in which some two numbers of
    the block are one code apart.
    """
    out = np.empty(len(values))
    for start in range(0, len(values), block):
        numbers = np.unique(values[start : start + block].astype(np.float64))
        gaps = np.diff(numbers)
        out[start : start + block] = gaps.min() if len(gaps) else np.abs(numbers).max()
    return out
