"""How far a set of rows extends: per dimension on the lattice, along its principal directions, in shells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding
from forensics.gaps import Gap, density_break
from forensics.lattice.distances import Ordinals
from forensics.lattice.unique import UniqueRows


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """The bounding box of a set of rows on the lattice.

    Attributes:
        low, high: ``int64[dim]``, least and greatest ordinal.
        patterns: ``int64[dim]``, distinct values per dimension.
        exponents: ``int64[dim]``, raw exponent of the most populated row: where the steps are how large.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    patterns: NDArray[np.int64]
    exponents: NDArray[np.int64]

    @property
    def steps(self) -> NDArray[np.int64]:
        """Greatest less least ordinal, ``int64[dim]``; 0 on a constant dimension."""
        return self.high - self.low

    @property
    def active(self) -> NDArray[np.int64]:
        """Dimensions on which some two rows differ, widest first."""
        order = np.argsort(-self.steps, kind="stable")
        return order[self.steps[order] > 0]

    def to_dict(self, shown: int = 20) -> dict[str, Any]:
        """Counts, the histogram of extents, and the widest dimensions."""
        widths, counts = np.unique(self.steps, return_counts=True)
        return {
            "active_dims": len(self.active),
            "constant_dims": len(self.steps) - len(self.active),
            "largest_extent": int(self.steps.max()),
            "extent_histogram": {str(w): int(n) for w, n in zip(widths[:40], counts[:40], strict=True)},
            "widest": [
                {
                    "dim": int(d),
                    "steps": int(self.steps[d]),
                    "patterns": int(self.patterns[d]),
                    "exponent": int(self.exponents[d]),
                }
                for d in self.active[:shown]
            ],
        }


def measure_extent(embedding: Embedding, rows: UniqueRows, ordinals: Ordinals) -> Extent:
    """The extent of unique rows, per dimension."""
    ranked = np.sort(ordinals, axis=0)
    exponents = embedding.float_format.exponents(embedding.words[rows.representatives[0]])
    return Extent(
        ranked[0].astype(np.int64),
        ranked[-1].astype(np.int64),
        1 + (ranked[1:] != ranked[:-1]).sum(axis=0),
        exponents.astype(np.int64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Shells:
    """Unique rows by Euclidean distance from the most populated one, in value units.

    Attributes:
        distances: ``float64[n]``, from the most populated row, in the rows' order.
        medoid: index of the row with the least mean distance to the others.
        spread: root mean square distance from the unweighted centroid.
        density_break: where the tokens per row drop going outwards: the core lies under it, the sparse
            outskirts above; None where they do not.
        core_rows, core_tokens, outer_rows, outer_tokens: rows and tokens on its two sides.
        variance_shares: share of the unweighted variance along each principal direction, falling.
    """

    distances: NDArray[np.float64]
    medoid: int
    spread: float
    density_break: Gap | None
    core_rows: int
    core_tokens: int
    outer_rows: int
    outer_tokens: int
    variance_shares: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """The figures but the medoid; percentiles of the distances over unique rows."""
        percentiles = {str(p): float(np.percentile(self.distances, p)) for p in (50, 75, 90, 95, 99, 100)}
        return {
            "percentiles": percentiles,
            "spread": self.spread,
            "density_break": self.density_break.to_dict() if self.density_break else None,
            "core": {"rows": self.core_rows, "tokens": self.core_tokens},
            "outskirts": {"rows": self.outer_rows, "tokens": self.outer_tokens},
            "variance_shares": [float(s) for s in self.variance_shares[:6]],
        }


def measure_shells(embedding: Embedding, rows: UniqueRows) -> Shells:
    """Distances, medoid, density break and principal directions of a set of unique rows."""
    from scipy.spatial.distance import cdist

    values = embedding.values_of(rows.representatives).astype(np.float64)
    between = cdist(values, values)
    distances = between[0]
    # The centre is the most populated row by choice, so it says nothing about the density around it.
    gap = density_break(distances[1:], rows.populations[1:])
    gap = gap and replace(gap, below=gap.below + 1)
    core = distances <= (gap.lower if gap else distances.max())
    centred = values - values.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False) ** 2
    total = float(singular.sum())
    return Shells(
        distances=distances,
        medoid=int(between.mean(axis=1).argmin()),
        spread=float(np.sqrt((centred**2).sum(axis=1).mean())),
        density_break=gap,
        core_rows=int(core.sum()),
        core_tokens=int(rows.populations[core].sum()),
        outer_rows=int((~core).sum()),
        outer_tokens=int(rows.populations[~core].sum()),
        variance_shares=singular / total if total else np.zeros(len(singular)),
    )
