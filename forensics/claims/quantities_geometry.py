"""Quantities of where a matrix's rows lie: norms, centroids, angles."""

from __future__ import annotations

from typing import Literal

import numpy as np

from forensics.claims.matrix import MatrixSubject
from forensics.claims.registry import Rows, Statistic, quantity
from forensics.errors import SelectionError
from forensics.geometry import CentroidPair


@quantity(
    "norm", on="matrix", unit="value", population="{rows} rows", definition="Euclidean norms of the rows, raw frame"
)
def _(matrix: MatrixSubject, *, rows: Rows, statistic: Statistic) -> float | None:
    norms = matrix.geometry.norms[matrix.row_ids(rows)]
    norms = norms[np.isfinite(norms)]
    return float(getattr(np, statistic)(norms)) if len(norms) else None


@quantity(
    "norm_ratio",
    on="matrix",
    unit="ratio",
    population="rest over in-hole rows",
    definition="mean Euclidean norm of the rest rows over that of the in-hole rows, raw frame",
)
def _(matrix: MatrixSubject) -> float | None:
    _, inside, rest = matrix.geometry.summaries
    return rest.mean / inside.mean if rest.mean is not None and inside.mean else None


@quantity(
    "centroid_angle",
    on="matrix",
    unit="degrees",
    population="in-hole to rest, every token counted",
    definition="angle between the mean rows, raw frame",
)
def _(matrix: MatrixSubject) -> float | None:
    return _centroids(matrix).angle_deg


@quantity(
    "centroid_norm",
    on="matrix",
    unit="value",
    population="{rows} rows, every token counted",
    definition="norm of the mean row, raw frame",
)
def _(matrix: MatrixSubject, *, rows: Literal["all", "in-hole", "rest"]) -> float | None:
    pair = _centroids(matrix)
    norms = {"all": matrix.geometry.vocabulary_mean_norm, "in-hole": pair.in_hole_norm, "rest": pair.rest_norm}
    return norms[rows]


@quantity(
    "hole_angles",
    on="matrix",
    unit="degrees",
    kind="numbers",
    population="each black hole, most populated first, to the rest rows",
    definition="angle of the hole's row to the mean of the rest rows, raw frame",
)
def _(matrix: MatrixSubject) -> tuple[float, ...]:
    angles = [angle for angle in matrix.geometry.hole_angles_deg if angle is not None]
    if not angles or len(angles) < len(matrix.holes):
        raise SelectionError("there are no black holes, or one has no direction")
    return tuple(angles)


def _centroids(matrix: MatrixSubject) -> CentroidPair:
    return next(p for p in matrix.geometry.centroids if (p.weighting, p.frame) == ("tokens", "raw"))
