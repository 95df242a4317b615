"""What a simulator is told of the subject: how many rows, in which format, and where they lie; not how they differ."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from forensics.formats import FloatFormat, TensorFormat, Words

S = TypeVar("S", bound=np.generic)

Law = Literal["mean", "covariance"]
"""How much of the live rows' law a hypothesis needs; the covariance comes with the mean."""


class _ReadOnly:
    """Holds arrays that nobody can write to, here or in another process: a simulation must not change the next."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # its subclasses are dataclasses
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, _read_only(value))

    def __reduce__(self) -> tuple[Any, ...]:
        # numpy's pickles forget that an array was read-only: made anew, it is again.
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Live(_ReadOnly):
    """The live rows' law, for hypotheses that draw from it.

    Attributes:
        mean: ``float32[dim]``.
        factor: ``float32[dim, dim]``, lower: factor @ factor.T is the rows' covariance. None where that has no Cholesky
            factor, or was not asked for.
    """

    mean: NDArray[np.float32]
    factor: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Context(_ReadOnly):
    """What a simulator is given. Its arrays are read-only.

    Attributes:
        n_rows: dead tokens.
        dim: numbers in a row.
        format: the stored format.
        anchor: ``uint[columns]``, a stored row, the one that most dead tokens hold (of several, the first; if all
            differ, the one nearest to their mean): on the lattice, in the raw frame.
        centroid: ``float32[dim]``, the mean of the dead rows in the raw frame: off the lattice where they differ.
        vocab: rows of the whole matrix.
        initializer_range: standard deviation of the config's initialisation, or None.
        live: the live rows' law, or None where it was not measured, there are none, or no one asked.
        only_in_holes: the dead were chosen because they share their rows, so that of every simulated cloud, too, only
            the rows in holes are measured, and so many rows are drawn that about n_rows are.
    """

    n_rows: int
    dim: int
    format: TensorFormat
    anchor: Words
    centroid: NDArray[np.float32]
    vocab: int
    initializer_range: float | None = None
    live: Live | None = None
    only_in_holes: bool = False

    def told(self, law: Law | None) -> Context:
        """The context with no more of the live rows' law than is asked for: all of it that a simulator may see."""
        if law == "covariance" or self.live is None:
            return self
        return self._without_law if law is None else self._without_covariance

    @cached_property
    def _without_law(self) -> Context:
        return replace(self, live=None)

    @cached_property
    def _without_covariance(self) -> Context:
        return replace(self, live=None if self.live is None else Live(self.live.mean))

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """The anchor's numbers, ``float32[dim]``."""
        rows = self.anchor[np.newaxis]
        values = self.format.widen(rows) if isinstance(self.format, FloatFormat) else self.format.dequantise(rows)
        return _read_only(np.asarray(values[0]))

    @cached_property
    def step(self) -> NDArray[np.float64]:
        """The format's spacing at the anchor, ``float64[dim]``; of a quantised format the anchor's own code steps."""
        if isinstance(self.format, FloatFormat):
            return _read_only(self.format.ulp(self.anchor))
        return _read_only(code_steps(self.values, self.format.block_values))

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


def _read_only(array: NDArray[S]) -> NDArray[S]:
    """A view that cannot be written to."""
    view = array.view()
    view.setflags(write=False)
    return view
