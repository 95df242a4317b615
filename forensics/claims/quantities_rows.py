"""Quantities of a matrix's rows: how many, which are equal, their bits, and what the tokenizer makes of them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from forensics.bits import BitCensus, compare_hole_exponents, exponent_offset
from forensics.checkpoint.naming import initializer_range
from forensics.claims.matrix import MatrixSubject
from forensics.claims.registry import quantity
from forensics.errors import SelectionError

IN_HOLE = "in-hole: tokens whose stored row is bit-identical to another token's and not all zero"


@quantity(
    "shape", on="matrix", unit="rows, numbers", kind="numbers", population="all", definition="rows and numbers in a row"
)
def _(matrix: MatrixSubject) -> tuple[int, ...]:
    return (matrix.embedding.n_rows, matrix.embedding.dim)


@quantity("dtype", on="matrix", unit="", kind="text", population="all", definition="number format of the stored rows")
def _(matrix: MatrixSubject) -> str:
    return matrix.embedding.format.name


@quantity(
    "initializer_range",
    on="matrix",
    unit="value",
    population="all weights",
    definition="the standard deviation that the config says weights were drawn with",
)
def _(matrix: MatrixSubject) -> float:
    found = initializer_range(matrix.checkpoint.config)
    if found is None:
        raise SelectionError("the config names no initializer_range")
    return found


@quantity(
    "black_holes",
    on="matrix",
    unit="holes",
    population="all",
    definition="groups of two or more bit-identical stored rows",
)
def _(matrix: MatrixSubject) -> int:
    return len(matrix.holes)


@quantity(
    "black_hole_tokens", on="matrix", unit="tokens", population="all", definition="tokens that share their stored row"
)
def _(matrix: MatrixSubject) -> int:
    return matrix.holes.n_tokens


@quantity(
    "black_hole_populations",
    on="matrix",
    unit="tokens",
    kind="numbers",
    population="all",
    definition="tokens in each black hole, most populated first",
)
def _(matrix: MatrixSubject) -> tuple[int, ...]:
    return matrix.holes.populations


@quantity("unique_rows", on="matrix", unit="rows", population="all", definition="distinct bit patterns of rows")
def _(matrix: MatrixSubject) -> int:
    return matrix.holes.n_unique_rows


@quantity(
    "duplicate_rows", on="matrix", unit="rows", population="all", definition="rows less the distinct bit patterns"
)
def _(matrix: MatrixSubject) -> int:
    return matrix.holes.n_rows - matrix.holes.n_unique_rows


@quantity(
    "hole_shared_exponents",
    on="matrix",
    unit="dimensions",
    population=IN_HOLE,
    definition="dimensions on which all black holes hold one raw exponent",
)
def _(matrix: MatrixSubject) -> int:
    agreement = compare_hole_exponents(matrix.embedding, matrix.holes)
    if agreement is None:
        raise SelectionError(f"there are {len(matrix.holes)} black holes, and two are needed to share anything")
    return agreement.dims - len(agreement.differing_dims)


@quantity(
    "hole_exponent_histogram",
    on="matrix",
    unit="dimensions",
    kind="numbers",
    population="the row of hole {hole}",
    definition="dimensions by raw exponent, from the least exponent that occurs to the greatest, gaps as 0",
)
def _(matrix: MatrixSubject, *, hole: int = 1) -> tuple[int, ...]:
    exponents = _exponents(matrix, hole)
    return tuple(int(n) for n in np.bincount(exponents - exponents.min()))


@quantity(
    "hole_exponent_range",
    on="matrix",
    unit="raw exponent",
    kind="numbers",
    population="the row of hole {hole}",
    definition="least and greatest raw exponent",
)
def _(matrix: MatrixSubject, *, hole: int = 1) -> tuple[int, ...]:
    exponents = _exponents(matrix, hole)
    return (int(exponents.min()), int(exponents.max()))


@quantity(
    "hole_exponent_mean",
    on="matrix",
    unit="raw exponent",
    population="the row of hole {hole}",
    definition="mean raw exponent over the dimensions",
)
def _(matrix: MatrixSubject, *, hole: int = 1) -> float:
    return float(_exponents(matrix, hole).mean())


def _exponents(matrix: MatrixSubject, hole: int) -> np.ndarray:
    fmt = matrix.embedding.float_format
    return fmt.exponents(matrix.embedding.words[matrix.hole(hole).representative]).astype(np.int64)


@quantity(
    "exponent_mode",
    on="matrix",
    unit="raw exponent",
    population="{rows} rows",
    definition="the most frequent raw exponent over the finite non-zero elements, the lowest of equals",
)
def _(matrix: MatrixSubject, *, rows: Literal["all", "in-hole", "rest"]) -> int | None:
    return _census(matrix, rows).mode


@quantity(
    "exponent_offset",
    on="matrix",
    unit="exponents",
    population="in-hole against rest rows, every element of every row",
    definition="raw exponent of in-hole less that of rest: of the modes, of the means, or the shift of the one "
    "histogram that brings it nearest to the other (Wasserstein-1)",
)
def _(matrix: MatrixSubject, *, by: Literal["mode", "mean", "shift"]) -> float | None:
    offset = exponent_offset(_census(matrix, "in-hole"), _census(matrix, "rest"))
    return None if offset is None else {"mode": offset.by_mode, "mean": offset.by_mean, "shift": offset.shift}[by]


def _census(matrix: MatrixSubject, rows: str) -> BitCensus:
    return dict(zip(("all", "in-hole", "rest"), matrix.bits, strict=True))[rows]


@quantity(
    "tokenizer_tokens",
    on="matrix",
    unit="tokens",
    population="tokenizer",
    definition="ids that the tokenizer has a piece for",
)
def _(matrix: MatrixSubject) -> int:
    return _vocabulary_size(matrix)


@quantity(
    "padding_rows",
    on="matrix",
    unit="rows",
    population="all",
    definition="rows beyond the tokenizer's last id",
)
def _(matrix: MatrixSubject) -> int:
    return max(0, matrix.embedding.n_rows - _vocabulary_size(matrix))


@quantity(
    "unreachable_tokens",
    on="matrix",
    unit="tokens",
    population="tokens of the tokenizer",
    definition="tokens that no text gives; of partial characters the bytes are asked, not their decoded text",
)
def _(matrix: MatrixSubject) -> int:
    _vocabulary_size(matrix)
    if not matrix.census.origin:
        raise SelectionError("the tokenizer cannot be asked what it makes of a text")
    return int(matrix.census.mask("unreachable").sum())


def _vocabulary_size(matrix: MatrixSubject) -> int:
    vocabulary = matrix.checkpoint.vocabulary
    if vocabulary is None or not len(vocabulary):
        raise SelectionError("there is no tokenizer")
    return len(vocabulary)
