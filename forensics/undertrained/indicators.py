"""The published indicators of under-trained tokens, streamed.

References:
    S. Land and M. Bartolo, "Fishing for Magikarp: automatically detecting under-trained tokens in large language
    models" (2024), and the tool that came with it, whose definitions are followed to the letter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.embedding import Embedding
from forensics.errors import EmbeddingError, SelectionError
from forensics.undertrained.component import Component, first_component
from forensics.undertrained.passes import (
    Moments,
    Vector,
    cosine_distance,
    mean_of,
    measure_moments,
    over_parts,
    row_squares,
)

DEFINITIONS = {
    "norm": "norm of the row",
    "cosine": "1 - cosine of the row to u, the mean of the reference rows; product of norms clipped at 1e-6",
    "cosine_centred": "the same, less the mean of all rows",
    "cosine_without_component": "the same, without the first principal component (of the centred rows; they are not)",
    "distance": "Euclidean distance of the row to u",
    "bias": "the output layer's bias for the token",
}
"""Each indicator is low for an under-trained token."""


@dataclass(frozen=True, slots=True, eq=False)
class Indicators:
    """One number a token and indicator; low means under-trained.

    Attributes:
        values: ``float64[rows]`` by name, as in DEFINITIONS; nan for rows with an infinity or a nan. Without a
            reference only what needs none; "cosine_without_component" is not there if the rows do not vary.
        main: the published choice: the norm for an input matrix, the cosine where the rows score tokens, too.
        reference_ids: ``int64[n]``, the finite ones of those given.
        left_out: rows with an infinity or a nan.
        component: the one that was found; None where it was given, or not needed.
    """

    values: dict[str, Vector]
    main: str
    reference_ids: NDArray[np.int64]
    left_out: int
    component: Component | None

    def to_dict(self) -> dict[str, Any]:
        """Each indicator's definition and spread, not its values."""
        found = self.component
        return {
            "main": self.main,
            "reference_tokens": len(self.reference_ids),
            "left_out": self.left_out,
            "component": found and {"share": found.share, "gap": found.gap, "error": found.error},
            "indicators": [
                {"name": name, "definition": DEFINITIONS[name], "low_means": "under-trained", **_spread(values)}
                for name, values in self.values.items()
            ],
        }


def measure_indicators(
    embedding: Embedding,
    reference_ids: NDArray[np.integer[Any]],
    *,
    bias: NDArray[Any] | None = None,
    component: NDArray[Any] | None = None,
) -> Indicators:
    """The indicators of every token of a matrix, in a few passes over it.

    Args:
        embedding: any matrix.
        reference_ids: tokens that are known or found to be untrained; none leaves what needs no reference.
        bias: ``float[rows]``, the output layer's, where it has one.
        component: ``float[dim]``, a first principal component to use instead of finding it.

    Raises:
        SelectionError: a reference token that the matrix does not have.
        EmbeddingError: a bias or component of another shape, or a component that is no direction.
    """
    ids = np.unique(np.asarray(reference_ids, dtype=np.int64))
    if len(ids) and not 0 <= ids[0] <= ids[-1] < embedding.n_rows:
        raise SelectionError(f"reference tokens {ids[0]:,} to {ids[-1]:,}: the matrix has {embedding.n_rows:,} rows")
    given = None if component is None else _unit(component, embedding.dim)
    extra = {} if bias is None else {"bias": _checked(bias, embedding.n_rows, "a bias is one number a row")}
    moments = measure_moments(embedding)
    ids = ids[moments.finite[ids]]
    values, found = {"norm": moments.norms}, None
    if len(ids):
        mean = mean_of(embedding, ids)
        if given is None:
            found = first_component(embedding, moments, mean - moments.mean)
        values |= _to_reference(embedding, moments, mean, found.direction if found else given)
    main = "cosine" if len(ids) and embedding.role != "input" else "norm"
    return Indicators(values | extra, main, ids, int((~moments.finite).sum()), found)


def _to_reference(embedding: Embedding, moments: Moments, u: Vector, component: Vector | None) -> dict[str, Vector]:
    """What is measured against the reference mean u; one pass."""
    u_centred = u - moments.mean
    directions = np.stack([u, u_centred, np.zeros_like(u) if component is None else component], axis=1)
    dots = np.empty((embedding.n_rows, 3))
    squares, centred_squares = np.empty((2, embedding.n_rows))

    def work(blocks: Iterator[tuple[int, Vector]]) -> None:
        for start, block in blocks:
            rows = slice(start, start + len(block))
            with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite: blanked below
                dots[rows] = block @ directions
                # Distances to u, and lengths about the mean, can be tiny: as differences of squares they would drown.
                squares[rows] = row_squares(np.subtract(block, u, out=block))
                np.add(block, u_centred, out=block)
                centred_squares[rows] = row_squares(block)

    over_parts(embedding, work)
    along, along_component = dots[:, 0], dots[:, 2]
    along_centred = dots[:, 1] - moments.mean @ u_centred
    found = {
        "cosine": cosine_distance(along, moments.norms, u),
        "cosine_centred": cosine_distance(along_centred, np.sqrt(centred_squares), u_centred),
        "distance": np.sqrt(squares),
    }
    if component is not None:
        # x - (x.p) p against u - (u.p) p: the products follow from those of x.
        u_along = float(u @ component)
        lengths = np.sqrt(np.maximum(moments.norms**2 - along_component**2, 0))
        without = along - along_component * u_along
        found["cosine_without_component"] = cosine_distance(without, lengths, u - u_along * component)
    for values in found.values():
        values[~moments.finite] = np.nan
    return {name: found[name] for name in DEFINITIONS if name in found}


def _checked(vector: NDArray[Any], length: int, what: str) -> Vector:
    array = np.asarray(vector, dtype=np.float64)
    if array.shape != (length,):
        raise EmbeddingError(f"{what}: expected [{length}], found {list(array.shape)}")
    return array


def _unit(component: NDArray[Any], dim: int) -> Vector:
    direction = _checked(component, dim, "a component is one number a dimension")
    length = float(np.linalg.norm(direction))
    if not 0 < length < np.inf:
        raise EmbeddingError(f"a component is a direction, found one of norm {length:g}")
    return direction / length


def _spread(values: Vector) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    figures = np.quantile(finite, (0, 0.02, 0.5, 1)).tolist() if len(finite) else [None] * 4
    return dict(zip(("min", "lowest_2_percent", "median", "max"), figures, strict=True)) | {"tokens": len(finite)}
