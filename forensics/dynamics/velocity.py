"""How long a velocity is remembered: its autocorrelation at a few lags, of all rows, of their mean, and of the rest.

With v_i(t) the displacement of row i by update t, C(k) = mean over i and t of v_i(t) v_i(t + k), and rho(k) = C(k) /
C(0) over the same window (Hansen & McDonald, "Theory of Simple Liquids", ch. 7). Both times lie in the window. C splits
exactly into that of the mean velocity (bulk) and that of the deviations from it (thermal).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.course import Floats, defined

LAGS = (0, 1, 2, 3, 5, 10, 20, 50, 100)

_HELD_BYTES = 48 << 20
"""Velocities of the last 100 updates; where they are more, rows are left out evenly."""

Window = tuple[int, int]
"""Steps (a, b): the updates a + 1 to b."""


@dataclass(frozen=True, slots=True, eq=False)
class Autocorrelation:
    """Autocorrelation of velocity by window and lag; nan where a window is shorter than a lag, or nothing moved.

    Attributes:
        windows: steps (a, b).
        lags: in updates.
        total: ``float64[windows, lags]``, rho of all rows' velocities.
        thermal: ``float64[windows, lags]``, of their deviations from the mean velocity.
        bulk_share: ``float64[windows]``, the mean velocity's part of C(0).
        cosine: ``float64[windows]``, mean cosine of a row's velocity with its next one, rows at rest in either left
            out (0/0 is no memory and no lack of it).
        cosine_pairs: ``int64[windows]``, over how many pairs that is.
        n_tokens: rows that were followed.
    """

    windows: tuple[Window, ...]
    lags: tuple[int, ...]
    total: Floats
    thermal: Floats
    bulk_share: Floats
    cosine: Floats
    cosine_pairs: NDArray[np.int64]
    n_tokens: int

    def to_dict(self) -> dict[str, Any]:
        """A row a window; undefined is None."""
        rows = [
            {
                "from": window[0],
                "to": window[1],
                "total": [defined(value) for value in self.total[i]],
                "thermal": [defined(value) for value in self.thermal[i]],
                "bulk_share": defined(self.bulk_share[i]),
                "cosine_lag_1": defined(self.cosine[i]),
                "cosine_pairs": int(self.cosine_pairs[i]),
            }
            for i, window in enumerate(self.windows)
        ]
        return {"lags": list(self.lags), "tokens": self.n_tokens, "windows": rows}


class Velocities:
    """Collects the autocorrelation, an update at a time."""

    def __init__(self, windows: tuple[Window, ...], n_rows: int, dim: int) -> None:
        self._windows = windows
        stride = -(-n_rows * dim * 4 * max(LAGS) // _HELD_BYTES) if n_rows else 1
        self._rows = slice(None, None, max(1, stride))
        self._held: deque[tuple[int, NDArray[np.float32], Floats]] = deque(maxlen=max(LAGS) + 1)
        shape = (len(windows), len(LAGS))
        self._products, self._bulk, self._pairs = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
        self._cosines, self._cosine_pairs = np.zeros(len(windows)), np.zeros(len(windows), np.int64)
        self._n_tokens = len(range(n_rows)[self._rows])

    def add(self, step: int, velocity: NDArray[Any]) -> None:
        """Takes the displacement ``[n, D]`` of update ``step``."""
        v = velocity[self._rows].astype(np.float32)
        self._held.append((step, v, v.mean(axis=0, dtype=np.float64)))
        by_step = {held[0]: held for held in self._held}
        for i, lag in enumerate(LAGS):
            if step - lag not in by_step:
                continue
            inside = self._inside(step - lag, step)
            _, earlier, mean = by_step[step - lag]
            self._pairs[inside, i] += 1
            self._products[inside, i] += float(np.vdot(earlier, v)) / max(len(v), 1)
            self._bulk[inside, i] += float(mean @ self._held[-1][2])
            if lag == 1:
                self._add_cosines(inside, earlier, v)

    def _inside(self, first: int, last: int) -> list[int]:
        """Windows that hold both updates."""
        return [i for i, (a, b) in enumerate(self._windows) if a < first and last <= b]

    def _add_cosines(self, inside: list[int], earlier: NDArray[np.float32], v: NDArray[np.float32]) -> None:
        # In float64: a float32 square of a displacement of 1e-23 would be zero.
        moving = np.flatnonzero(v.any(axis=1) & earlier.any(axis=1))
        a, b = earlier[moving].astype(np.float64), v[moving].astype(np.float64)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        self._cosines[inside] += float((np.einsum("nd,nd->n", a, b) / norms).sum())
        self._cosine_pairs[inside] += len(moving)

    def result(self) -> Autocorrelation:
        """The autocorrelation."""
        c, bulk = _over(self._products, self._pairs), _over(self._bulk, self._pairs)
        thermal = c - bulk
        return Autocorrelation(
            self._windows,
            LAGS,
            _over(c, c[:, :1]),
            # What is left of equal velocities is rounding (float32 products), not warmth.
            _over(thermal, np.where(thermal[:, :1] > 1e-6 * c[:, :1], thermal[:, :1], 0.0)),
            _over(bulk, c)[:, 0],
            _over(self._cosines, self._cosine_pairs),
            self._cosine_pairs,
            self._n_tokens,
        )


def _over(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """The quotient a / b; nan where b is zero or nan."""
    b = np.broadcast_to(b, a.shape)
    return np.asarray(np.divide(a, b, out=np.full(a.shape, np.nan), where=(b != 0) & ~np.isnan(b)))
