"""A displacement field split into translation, expansion, rotation, shear, and what no linear map explains.

Rows y_i about their centroid move by d_i = t + A y_i + r_i. The parts are least-squares projections onto nested spaces
of fields, in this order: a common t; t + a y (isotropic); plus W y, W antisymmetric (rotation); plus any A (shear: what
a symmetric traceless part adds). A part's energy is the drop of the sum of squares when its space is added, so the
energies and the remainder add up to the sum of squares of the field (Pythagoras). With S = sum y y' and M = sum y d',
the isotropic part is a = tr M / tr S; fields y and W y are orthogonal (tr S W = 0), so the rotation is fitted alone:
S X + X S = M - M' for X = W', entry by entry in the eigenbasis of S. S is not a multiple of the identity, so rotation
and symmetric maps overlap: what both explain is called rotation. Where S has not full rank, the least-norm map is
taken; the fields, and so the energies, are the same for every other.

A field of independent noise is absorbed in part: the expected share of a space is its dimension over n D (the trace of
a projection). That is a lot where n is not far above D, and it is said beside every share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PARTS = ("translation", "expansion", "rotation", "shear", "radial", "tangential")
"""The last two are the remainder ("convection"), along each row's direction from the centroid and across it."""

LINEAR = 4
"""How many of `PARTS` are fitted."""


@dataclass(frozen=True, slots=True, eq=False)
class Modes:
    """The parts of one displacement field of n rows in D dimensions.

    Attributes:
        energy: ``float64[6]``, sum of squares by `PARTS`.
        freedom: ``float64[6]``, the dimension of each part's space; for the last two, what it leaves them.
        translation: ``float64[D]``, t.
        expansion: a; 0.01 is one per cent wider.
        rotation: ``float64[D, D]``, W, acting on columns, in radians where small.
        linear: ``float64[D, D]``, A, acting on columns.
        rank: of the cloud; below D, the map is not determined across it.
        contributions: ``float64[n, 6]``, each row's part of `energy`.
    """

    energy: Floats
    freedom: Floats
    translation: Floats
    expansion: float
    rotation: Floats
    linear: Floats
    rank: int
    contributions: Floats

    @property
    def shares(self) -> Floats:
        """``float64[6]``, summing to one; nan for a field of zeros."""
        return shares_of(self.energy)

    @property
    def thermal_shares(self) -> Floats:
        """``float64[5]``, shares of the field about its mean: the parts without translation, summing to one."""
        return shares_of(self.energy[1:])

    @property
    def chance(self) -> Floats:
        """``float64[6]``, the expected shares of a field of independent noise: dimension over n D."""
        return np.asarray(self.freedom / self.freedom.sum())

    @property
    def excess(self) -> Floats:
        """``float64[4]``, shares of the fitted parts less what noise as strong as the remainder puts into them.

        (energy - dimension x remainder / dimension of the remainder) / sum of squares, as in an adjusted R squared
        (Ezekiel, "Methods of Correlation Analysis", 1930). nan where the fit leaves nothing to judge noise by.
        """
        left = self.freedom[LINEAR:].sum()
        noise = self.energy[LINEAR:].sum() / left if left > 0 else np.nan
        total = self.energy.sum()
        adjusted = self.energy[:LINEAR] - self.freedom[:LINEAR] * noise
        return np.asarray(adjusted / total if total > 0 else np.full(LINEAR, np.nan))


def shares_of(energy: Floats) -> Floats:
    """Energies ``[..., parts]`` over their sum; nan where it is zero."""
    total = energy.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(energy, total, out=np.full(energy.shape, np.nan), where=total > 0))


def fit_modes(before: NDArray[Any], after: NDArray[Any]) -> Modes:
    """Splits the displacement of rows.

    Args:
        before: ``[n, D]``, n >= 1.
        after: ``[n, D]``, the same rows later.

    Returns:
        The parts; all nan where a row is not finite, before or after.
    """
    start, end = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        return _undefined(*start.shape)
    field = end - start
    n, dim = field.shape
    y = start - start.mean(axis=0)
    translation = field.mean(axis=0)
    u = field - translation
    values, vectors = np.linalg.eigh(y.T @ y)
    # Eigenvalues of a Gram matrix are wrong by about its largest times n eps.
    values = np.where(values > values[-1] * 10 * max(n, dim) * np.finfo(np.float64).eps, values, 0.0)
    rank = int(np.count_nonzero(values))
    seen = values > 0
    m = vectors.T @ (y.T @ u) @ vectors
    m[~seen] = 0.0
    linear = np.divide(m, values[:, None], out=np.zeros_like(m), where=seen[:, None])
    sums = values[:, None] + values
    rotation = np.divide(m - m.T, sums, out=np.zeros_like(m), where=sums > 0)
    expansion = float(np.trace(m) / values.sum()) if rank else 0.0
    # By rows: y @ x is A y with A = x'.
    full, turn = vectors @ linear @ vectors.T, vectors @ rotation @ vectors.T
    rest = u - y @ full
    radii = np.einsum("nd,nd->n", y, y)
    along = np.einsum("nd,nd->n", rest, y)
    radial = np.divide(along**2, radii, out=np.zeros(n), where=radii > 0)
    contributions = np.stack(_contributions(field, u, expansion * y, y @ turn, rest, radial), axis=1)
    # In exact arithmetic no part's sum is below zero.
    energy = np.maximum(contributions.sum(axis=0), 0.0)
    return Modes(energy, _freedom(n, dim, rank), translation, expansion, turn.T, full.T, rank, contributions)


def _undefined(n: int, dim: int) -> Modes:
    nothing = np.full((dim, dim), np.nan)
    parts = np.full(len(PARTS), np.nan)
    return Modes(parts, parts, nothing[0], np.nan, nothing, nothing, 0, np.full((n, len(PARTS)), np.nan))


def chance_shares(n: int, dim: int) -> Floats:
    """The expected shares ``float64[6]`` of a field of independent noise on n rows of full rank."""
    freedom = _freedom(n, dim, min(n - 1, dim))
    return np.asarray(freedom / freedom.sum())


def _freedom(n: int, dim: int, rank: int) -> Floats:
    """Dimensions of the parts' spaces.

    The maps that are zero on the cloud's span do not count. A row's remainder has covariance (1 - h_i) I with
    leverages h_i that sum to 1 + rank, so the radial one has n - 1 - rank in all.
    """
    rotation = (dim * (dim - 1) - (dim - rank) * (dim - rank - 1)) // 2
    expansion = min(rank, 1)
    left = n - 1 - rank
    return np.array(
        [dim, expansion, rotation, rank * dim - rotation - expansion, left, (dim - 1) * left], dtype=np.float64
    )


def _contributions(
    field: Floats, u: Floats, wider: Floats, turned: Floats, rest: Floats, radial: Floats
) -> list[Floats]:
    """Each row's drop of squares as the spaces are added, and what is left, ``float64[n]`` by `PARTS`."""
    u_left = u - wider
    squares = [np.einsum("nd,nd->n", x, x) for x in (field, u, u_left, u_left - turned, rest)]
    drops = [squares[i] - squares[i + 1] for i in range(LINEAR)]
    return [*drops, radial, squares[-1] - radial]


def bootstrap_shares(contributions: Floats, *, resamples: int = 1_000, seed: int = 0) -> Floats:
    """95 % percentile intervals of the shares over resampled rows, ``float64[2, parts]``.

    The fields are kept as fitted and the rows' contributions are drawn. To first order that is the bootstrap with new
    fits: a fit minimises the sum of squares, so that its own change does not change it (envelope theorem; the
    infinitesimal jackknife of Efron, "The jackknife, the bootstrap and other resampling plans", 1982, ch. 6). Refits
    on drawn rows would be biased upwards, since a row drawn twice is fitted as if it were two.

    Args:
        contributions: ``float64[n, parts]`` of `fit_modes`, of all parts or some.
        resamples: how many draws.
        seed: of the draws.
    """
    n = len(contributions)
    rng = np.random.default_rng(seed)
    # How often each row is drawn, times its contributions: the sums of all draws in one product.
    drawn = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(resamples)])
    if not np.isfinite(contributions).all():
        return np.full((2, contributions.shape[1]), np.nan)
    # As for the energies of the fit: below zero is rounding, or a part that a draw's own fit would not have.
    shares = shares_of(np.maximum(drawn.astype(np.float64) @ contributions, 0.0))
    if np.isnan(shares).all():
        return np.full((2, contributions.shape[1]), np.nan)
    return np.asarray(np.nanquantile(shares, (0.025, 0.975), axis=0))
