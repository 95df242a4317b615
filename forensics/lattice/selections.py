"""Named sets of tokens around the black holes.

Published figures about "the structure" disagree mostly because they are over different sets; each set here
has a name, a definition and a count, and nothing is measured over an unnamed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHole, BlackHoles
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.formats import INFINITE
from forensics.gaps import Gap, largest_gap
from forensics.lattice.distances import nearest_members, row_ordinals
from forensics.lattice.unique import unique_rows
from forensics.measures import Population

PREFIX = 64

UNPLACED = np.iinfo(np.int16).max
"""The exponent distance of a row that is not finite: beyond any that a format has."""

MAX_CANDIDATES = 8_000
"""Rows that a component compares in one round: they are held as float64."""

NEAREST = 10_000
"""Distances among which the radius's gap is sought, as published: further out every vocabulary has gaps."""


def solid_holes(embedding: Embedding, holes: BlackHoles) -> list[BlackHole]:
    """The holes that distances can be measured from: finite on every dimension and not all zero."""
    finite = finite_rows(embedding, np.array([hole.representative for hole in holes.holes], dtype=np.int64))
    return [hole for hole, placed in zip(holes.holes, finite, strict=True) if placed and not hole.is_zero]


def is_finite(embedding: Embedding, token_id: int) -> bool:
    """True where a row holds neither an infinity nor a nan."""
    return bool(finite_rows(embedding, np.array([token_id]))[0])


def finite_rows(embedding: Embedding, token_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``bool[n]``: which of these tokens' rows hold neither an infinity nor a nan."""
    fmt, out = embedding.float_format, np.empty(len(token_ids), np.bool_)
    for start, stop in embedding.spans(len(token_ids)):
        out[start:stop] = (fmt.classify(embedding.words[token_ids[start:stop]]) < INFINITE).all(axis=1)
    return out


def select_holes(holes: list[BlackHole]) -> Population:
    """The tokens in these holes."""
    ids = [hole.token_ids for hole in holes]
    return Population(
        "holes",
        "tokens whose stored row is bit-identical to another's, finite and not all zero",
        np.sort(np.concatenate([*ids, np.empty(0, np.int64)]).astype(np.int64)),
    )


def exponent_distances(embedding: Embedding, reference: int) -> NDArray[np.int16]:
    """For every row the largest difference of raw exponents to a reference row's, ``int16[rows]``.

    UNPLACED for rows that are not finite.
    """
    fmt = embedding.float_format
    target = fmt.exponents(embedding.words[reference]).astype(np.int16)
    out = np.empty(embedding.n_rows, np.int16)
    for start, stop in embedding.spans():
        exponents = fmt.exponents(embedding.words[start:stop]).astype(np.int16)
        exponents -= target
        out[start:stop] = np.abs(exponents, out=exponents).max(axis=1)
    # A number that is not finite has the topmost exponent, so only rows as far as that need a closer look.
    suspects = np.flatnonzero(out >= fmt.n_exponents - 1 - target.max())
    out[suspects[~finite_rows(embedding, suspects)]] = UNPLACED
    return out


def exponent_misses(
    embedding: Embedding, reference: int, tolerances: Sequence[int], dims: Sequence[int]
) -> dict[int, list[int]]:
    """How many finite rows have at most so many dimensions whose raw exponent is out of tolerance of the reference's.

    Returns:
        For each tolerance, a count for each of ``dims``.
    """
    fmt = embedding.float_format
    target = fmt.exponents(embedding.words[reference]).astype(np.int16)
    counts = {tolerance: [0] * len(dims) for tolerance in tolerances}
    for start, stop in embedding.spans():
        words = embedding.words[start:stop]
        # A row that misses too often on a few dimensions, at the widest tolerance, need not be read further.
        head = np.abs(fmt.exponents(words[:, :PREFIX]).astype(np.int16) - target[:PREFIX])
        left = words[(head > max(tolerances)).sum(axis=1) <= max(dims)]
        left = left[(fmt.classify(left) < INFINITE).all(axis=1)]
        gaps = np.abs(fmt.exponents(left).astype(np.int16) - target)
        for tolerance in tolerances:
            misses = (gaps > tolerance).sum(axis=1)
            counts[tolerance] = [n + int((misses <= m).sum()) for n, m in zip(counts[tolerance], dims, strict=True)]
    return counts


def select_exponent(distances: NDArray[np.int16], within: int) -> Population:
    """The exponent neighbourhood of a row ("frozen smoke" about the largest hole), from its exponent distances."""
    return Population(
        f"exponent:{within}",
        f"tokens whose raw exponents are all within {within} of the centre row's",
        np.flatnonzero((distances <= within) & (distances < UNPLACED)),
    )


def flood(embedding: Embedding, holes: list[BlackHole], step: int = 1) -> tuple[Population, list[int]]:
    """The closure of the holes under L-infinity <= step on the lattice.

    Returns:
        The tokens, and how many unique rows each round added (the last is 0).
    """
    seeds = select_holes(holes).token_ids
    members = np.zeros(embedding.n_rows, np.bool_)
    members[seeds] = True
    frontier = np.array([hole.representative for hole in holes], dtype=np.int64)
    rounds = []
    while True:
        reached = nearest_members(embedding, row_ordinals(embedding, frontier), "linf", step)
        new = np.flatnonzero((reached.distance >= 0) & ~members)
        new = new[finite_rows(embedding, new)]
        frontier = unique_rows(embedding, new).representatives
        rounds.append(len(frontier))
        if not new.size:
            break
        members[new] = True
    definition = f"closure of the holes under L-infinity <= {step} on the lattice"
    return Population(f"flood:{step}", definition, np.flatnonzero(members)), rounds


def distances_to_point(embedding: Embedding, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distance of every row to a point, in value units, ``float64[rows]``; nan for rows with nan."""
    out = np.empty(embedding.n_rows)
    # One buffer for every block: to ask for fresh memory each time costs more than the arithmetic.
    buffer = np.empty((0, embedding.dim))
    for start, values in embedding.blocks():
        if len(buffer) < len(values):
            buffer = np.empty(values.shape)
        offset = buffer[: len(values)]
        with np.errstate(invalid="ignore", over="ignore"):
            np.copyto(offset, values)
            offset -= point
            np.einsum("ij,ij->i", offset, offset, out=out[start : start + len(values)])
    return np.sqrt(out)


def hole_centroid(embedding: Embedding, holes: list[BlackHole]) -> NDArray[np.float64]:
    """The mean over all tokens in these holes, ``float64[dim]``."""
    total = np.zeros(embedding.dim)
    for start, stop in embedding.spans(len(holes)):
        weights = np.array([hole.population for hole in holes[start:stop]], dtype=np.float64)
        rows = embedding.values_of(np.array([hole.representative for hole in holes[start:stop]]))
        total += weights @ rows.astype(np.float64)
    return total / sum(hole.population for hole in holes)


def select_radius(distances: NDArray[np.float64]) -> tuple[Population, Gap | None]:
    """Tokens nearer to the holes' centroid than the largest gap among the nearest 10,000 distances."""
    gap = largest_gap(distances, among=NEAREST)
    chosen = np.flatnonzero(distances < gap.threshold) if gap else np.empty(0, np.int64)
    definition = f"tokens nearer to the holes' centroid than the largest gap among the {NEAREST:,} nearest distances"
    return Population("radius", definition, chosen), gap


def select_component(embedding: Embedding, centre: int, distances: NDArray[np.float64], threshold: float) -> Population:
    """The connected component of a row in the graph of Euclidean distances below a threshold.

    Only rows within the component's own radius plus the threshold can join (triangle inequality), so few are
    ever compared.

    Args:
        embedding: the matrix.
        centre: the token that the component must hold.
        distances: of every row to that token's row.
        threshold: an edge is a distance below it, in value units.

    Raises:
        SelectionError: the threshold reaches so far that too many rows could join.
    """
    inside = unique_rows(embedding, np.flatnonzero(distances == 0))
    joined = np.zeros(embedding.n_rows, np.bool_)
    joined[inside.tokens()] = True
    frontier = embedding.values_of(inside.representatives).astype(np.float64)
    while len(frontier):
        reach = float(distances[joined].max()) + threshold
        within = np.flatnonzero((distances < reach) & ~joined)
        if len(within) > MAX_CANDIDATES:
            raise SelectionError(
                f"component:{threshold:g} would compare {len(within):,} rows, at most {MAX_CANDIDATES:,}",
                hint="choose a smaller threshold",
            )
        candidates = unique_rows(embedding, within)
        rows = embedding.values_of(candidates.representatives).astype(np.float64)
        near = np.zeros(len(rows), np.bool_)
        for point in frontier:
            offset = rows[~near] - point
            near[~near] = np.sqrt(np.einsum("ij,ij->i", offset, offset)) < threshold
        joined[candidates.tokens(near)] = True
        frontier = rows[near]
    definition = f"connected component of token {centre}'s row among rows nearer than {threshold:g} to each other"
    return Population(f"component:{threshold:g}", definition, np.flatnonzero(joined))


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What selections are made from: computed once, used by each.

    Attributes:
        embedding: a float matrix.
        holes: those with a place on the lattice.
        centre: the token whose row exponents are held against; the most populated hole's by default.
        exponents: ``int16[rows]``, largest exponent difference of each row to the centre's.
        from_centroid: ``float64[rows]``, Euclidean distance to the holes' centroid; None without holes.
    """

    embedding: Embedding
    holes: list[BlackHole]
    centre: int
    exponents: NDArray[np.int16]
    from_centroid: NDArray[np.float64] | None

    @classmethod
    def measure(cls, embedding: Embedding, holes: list[BlackHole], centre: int) -> Surroundings:
        """Two passes over the matrix."""
        away = distances_to_point(embedding, hole_centroid(embedding, holes)) if holes else None
        return cls(embedding, holes, centre, exponent_distances(embedding, centre), away)


def parse_selection(text: str) -> tuple[str, float]:
    """The kind of a selection that a user names, and its number: 1 for a bare flood, 0 where it has none.

    Raises:
        SelectionError: not holes, exponent:K, flood, flood:STEP, radius or component:THRESHOLD.
    """
    name, _, argument = text.partition(":")
    # Nine digits hold every step and exponent, and keep int() from a number of a million digits.
    whole = argument.isascii() and argument.isdecimal() and len(argument) <= 9
    if text in ("holes", "radius", "flood"):
        return name, int(text == "flood")
    if name in ("exponent", "flood") and whole:
        return name, int(argument)
    if name == "component":
        try:
            threshold = float(argument)
        except ValueError:
            threshold = np.nan
        if 0 < threshold < np.inf:
            return name, threshold
    raise SelectionError(
        f"unknown selection {text[:40]!r}", hint="known: holes, exponent:5, flood, radius, component:0.002"
    )


def select(text: str, around: Surroundings) -> Population:
    """The selection that a user names: holes, exponent:K, flood, flood:STEP, radius or component:THRESHOLD.

    Raises:
        SelectionError: not one of these, or it starts from black holes and there are none.
    """
    name, number = parse_selection(text)
    if name == "exponent":
        return select_exponent(around.exponents, int(number))
    if name == "component":
        point = around.embedding.values(around.centre, around.centre + 1)[0].astype(np.float64)
        return select_component(around.embedding, around.centre, distances_to_point(around.embedding, point), number)
    if around.from_centroid is None:
        raise SelectionError(f"selection {name!r} starts from black holes, and there are none", hint="try exponent:5")
    if name == "flood":
        return flood(around.embedding, around.holes, int(number))[0]
    return select_holes(around.holes) if name == "holes" else select_radius(around.from_centroid)[0]
