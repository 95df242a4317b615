"""How far one update moved each row, on the lattice of the format it is stored in.

Two measures, as in :mod:`forensics.lattice.coordinates`: displacement over the ulp at the start (the founding
definition, signed and local) for L2 and L-infinity, and ordinal differences (exact, additive) for L1. The same as
``ulp_displacement`` and ``FloatFormat.ordinals`` give, in a tenth of the time, because it runs at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forensics.formats import FORMATS, FloatFormat

REGIMES = ("far", "several", "adjacent", "frozen")
"""far: L2 > sqrt(D); several: L-infinity > 1 and L2 <= sqrt(D); adjacent: 0 < L-infinity <= 1; frozen: no move."""


BLOCK_NUMBERS = 1 << 17
"""Numbers of a block: its temporaries stay in a core's cache and are not given back to the system each time."""


@dataclass(frozen=True, slots=True, eq=False)
class Displacement:
    """One update's moves, a figure per row.

    Attributes:
        l2: ``float64[rows]``, in ulp of the start.
        linf: ``float64[rows]``, the largest coordinate, in ulp of the start.
        l1: ``int64[rows]``, the sum of ordinal differences: steps of the format. 0: the row did not move.
        dim: numbers in a row.
    """

    l2: NDArray[np.float64]
    linf: NDArray[np.float64]
    l1: NDArray[np.int64]
    dim: int

    def moved(self, ids: NDArray[np.int64]) -> float:
        """Share of these rows that moved at all; nan for no rows."""
        return float(np.count_nonzero(self.l1[ids]) / len(ids)) if len(ids) else float("nan")

    def regimes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of these rows are in each of `REGIMES`, ``int64[4]``."""
        still = self.l1[ids] == 0
        far = ~still & (self.l2[ids] > np.sqrt(self.dim))
        several = ~still & ~far & (self.linf[ids] > 1)
        counts = [far.sum(), several.sum(), (~still & ~far & ~several).sum(), still.sum()]
        return np.array(counts, np.int64)


def measure_displacement(before: Tensor, after: Tensor) -> Displacement:
    """The displacement of every row between two matrices of one format, bfloat16 or float32."""
    before, after = before.cpu(), after.cpu()
    n_rows, dim = before.shape
    fmt = FORMATS[str(before.dtype).removeprefix("torch.")]
    l2, linf = np.zeros(n_rows), np.zeros(n_rows)
    l1 = np.zeros(n_rows, np.int64)
    rows = changed_rows(before, after)
    step = max(1, BLOCK_NUMBERS // dim)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        old, new = before[some], after[some]
        old_bits, new_bits = _bits(old), _bits(new)
        ulps = new.double().sub_(old).mul_(_per_ulp(fmt, old_bits)).abs_()
        index = some.numpy()
        l2[index] = torch.linalg.vector_norm(ulps, dim=1).numpy()
        linf[index] = ulps.amax(dim=1).numpy()
        l1[index] = _ordinals(fmt, new_bits).sub_(_ordinals(fmt, old_bits)).abs_().sum(dim=1).numpy()
    return Displacement(l2, linf, l1, dim)


def changed_rows(before: Tensor, after: Tensor) -> Tensor:
    """Indices of the rows whose stored bits differ, ``int64[n]``: a zero that changed its sign alone is among them."""
    size = before.element_size()
    wide = before.shape[1] * size % 8 == 0  # eight bytes at a time are compared four times faster than bfloat16
    kind = torch.int64 if wide else {2: torch.int16, 4: torch.int32}[size]
    return (before.contiguous().view(kind) != after.contiguous().view(kind)).any(dim=1).nonzero()[:, 0]


def _bits(values: Tensor) -> Tensor:
    """Words as int32, the sign bit in front."""
    return values.view(torch.int16 if values.element_size() == 2 else torch.int32).int()


def _per_ulp(fmt: FloatFormat, bits: Tensor) -> Tensor:
    """1 / ulp, float64: a power of two, made by writing its exponent field."""
    exponent = (bits >> fmt.mantissa_bits).bitwise_and_(fmt.n_exponents - 1).clamp_(min=1)
    # ulp = 2^(E - bias - mantissa bits); a float64 2^k has exponent field k + 1023 above 52 bits of mantissa.
    return exponent.neg_().add_(fmt.bias + fmt.mantissa_bits + 1023).long().bitwise_left_shift_(52).view(torch.float64)


def _ordinals(fmt: FloatFormat, bits: Tensor) -> Tensor:
    """The signed rank of each value; int64 only where a difference could leave int32."""
    sign = bits >> 31
    # All ones where the sign bit is set: x ^ -1 - -1 is -x.
    ranks = (bits & fmt.magnitude_mask).bitwise_xor_(sign).sub_(sign)
    return ranks if fmt.bits == 16 else ranks.long()


def quantiles(values: NDArray[Any], shares: tuple[float, ...]) -> NDArray[np.float64]:
    """Linear quantiles; nan for no values."""
    return np.quantile(values, shares) if len(values) else np.full(len(shares), np.nan)
