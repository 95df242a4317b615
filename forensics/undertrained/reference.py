"""The reference of untrained tokens, found from the bytes.

A *source* is a set of tokens that may be untrained: zero rows, black holes and low norms are found here, what a
tokenizer says is handed in. Each makes a *proposal*: the median of every second of its distinct rows. It stands if,
measured from there, the rows that had no part in it fall into a near group and a bulk
(:func:`~forensics.undertrained.separation.find_separation`), and more of the source's other rows are in the near
group than chance would put there. Trained rows do not pass: they are as far from each other's median as from any
other row. The proposal that the sources support most, each by the share of its rows in the near group, is the
consensus; those rows are the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.geometry import in_hole_mask
from forensics.measures import Population
from forensics.undertrained.passes import (
    Moments,
    Vector,
    cosine_distance,
    first_of_equals,
    mean_of,
    measure_moments,
    products,
)
from forensics.undertrained.separation import LEVEL, SUPPORTED_LEVEL, Separation, find_separation

MAJORITY = 0.5
"""Of a source's rows: where fewer are in the near group, the source is about something else."""

MEDIAN_ROWS = 1_024
"""Rows, evenly spread over a source, that its median is taken over: a few megabytes at any dimension."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What becomes of the reference without one source.

    Attributes:
        tokens: of the reference without it.
        cosine: between the reference means with and without it; None if none is left.
        overlap: tokens that both means' cosine indicators single out, over those that either does; None if neither
            does, or no reference is left.
    """

    tokens: int
    cosine: float | None
    overlap: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SourceUse:
    """What a source of untrained tokens brought to the reference.

    Attributes:
        name, definition: of the source.
        offered: its tokens.
        used: those in the reference.
        weight: used over those that have a direction (finite, not zero); 0 where that is less than MAJORITY.
        agreement: cosine of its rows' mean with the reference mean; None without either.
        note: what stands against it, in words; empty for nothing.
        without: the reference without it; None for a source that brought nothing.
    """

    name: str
    definition: str
    offered: int
    used: int
    weight: float
    agreement: float | None
    note: str
    without: LeftOut | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return fields | {"without": self.without and self.without.to_dict()}


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The tokens whose mean row stands for "untrained".

    Attributes:
        token_ids: ``int64[n]``, ascending; none if no reference was found.
        mean: ``float64[dim]``, the mean of their rows; None if none was found.
        proposed_by: the source whose proposal is the consensus.
        measured: from that proposal, "cosine" or "distance".
    separation: of what was measured.
        sources: in the order given, what is found from the bytes first.
    """

    token_ids: NDArray[np.int64]
    mean: Vector | None
    proposed_by: str | None
    measured: str | None
    separation: Separation | None
    sources: tuple[SourceUse, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the ids left out."""
        return {
            "tokens": len(self.token_ids),
            "mean_norm": None if self.mean is None else float(np.linalg.norm(self.mean)),
            "proposed_by": self.proposed_by,
            "measured": self.measured,
            "separation": self.separation and self.separation.to_dict(),
            "sources": [source.to_dict() for source in self.sources],
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Proposal:
    """What a source's median row sets apart: ``bool[rows]``, who is near it."""

    source: str
    measured: str
    near: NDArray[np.bool_]
    separation: Separation


def find_reference(
    embedding: Embedding, holes: BlackHoles, sources: Mapping[str, Population] | None = None
) -> Reference:
    """The reference that the sources agree on, or none.

    Args:
        embedding: any matrix.
        holes: its black holes.
        sources: what a tokenizer says of its tokens, by name, such as padding rows, impossible bytes, reserved-looking
            added tokens, unreachable tokens; any may be empty or wrong.

    Raises:
        SelectionError: a source names a token that the matrix does not have.
    """
    moments, first = measure_moments(embedding), first_of_equals(holes)
    named = {**(sources or {}), **_own_sources(moments, holes)}
    for name, source in named.items():
        if len(source) and not 0 <= source.token_ids.min() <= source.token_ids.max() < embedding.n_rows:
            raise SelectionError(f"{name}: names tokens beyond the matrix's {embedding.n_rows:,} rows")
    directed = moments.finite & (moments.norms > 0)
    usable = {name: source.token_ids[directed[source.token_ids]] for name, source in named.items()}
    proposals = _propose(embedding, moments, first, usable)
    best = _most_supported(proposals, usable)
    ids = _members(best, usable)
    found = Reference(ids, None, None, None, None)
    if best:
        found = Reference(ids, mean_of(embedding, ids), best.source, best.measured, best.separation)
    without = _leave_out(embedding, moments, first, proposals, usable)
    uses = (_use(embedding, named[name], usable[name], best, found, without.get(name)) for name in named)
    return replace(found, sources=tuple(uses))


def _own_sources(moments: Moments, holes: BlackHoles) -> dict[str, Population]:
    finite_hole = in_hole_mask(holes) & moments.finite
    low = find_separation(moments.norms[np.unique(first_of_equals(holes))])
    below = np.zeros(holes.n_rows, np.bool_) if low is None else moments.norms < low.threshold
    found = (
        ("zero rows", "tokens whose row is zero", moments.norms == 0),
        ("black holes", "tokens whose stored row is bit-identical to another's, finite and not zero", finite_hole),
        ("low norms", "tokens whose norm lies in a low group apart from the bulk", below),
    )
    return {name: Population(name, definition, np.flatnonzero(mask)) for name, definition, mask in found}


def _propose(
    embedding: Embedding, moments: Moments, first: NDArray[np.int64], usable: Mapping[str, NDArray[np.int64]]
) -> list[_Proposal]:
    """The proposals that stand; one pass over the matrix."""
    own = {name: np.unique(first[ids]) for name, ids in usable.items() if len(ids)}
    if not own:
        return []
    centres = np.stack([_median_row(embedding, rows[::2]) for rows in own.values()])
    along = products(embedding, centres.T)
    distinct, proposals = first == np.arange(len(first)), []
    for centre, dots, (name, rows) in zip(centres, along.T, own.items(), strict=True):
        counted = distinct & (moments.norms > 0)
        counted[rows[::2]] = False  # of course they are near what they made
        found = []
        for measured, away in _ways(centre, dots, moments):
            apart = find_separation(away[counted], level=SUPPORTED_LEVEL)
            if apart and _is_borne_out(apart, away[rows[1::2]] < apart.threshold, int(counted.sum())):
                found.append(_Proposal(name, measured, away < apart.threshold, apart))
        proposals += sorted(found, key=lambda p: p.separation.p_value)[:1]
    return proposals


def _is_borne_out(apart: Separation, near: NDArray[np.bool_], n_rows: int) -> bool:
    """Whether most of a source's other rows are in the near group, and not by chance.

    The chance that so many of them fall into a group of that size (Chernoff's bound) and the chance of the group are
    independent if the source is any set of rows: their product is below x with a chance of x (1 - ln x) (Fisher).
    """
    chance = 1.0
    if len(near):
        share, size = float(near.mean()), apart.below / n_rows
        if share < MAJORITY or share <= size:
            return False
        divergence = share * np.log(share / size) + (1 - share) * np.log(max(1 - share, 1e-300) / (1 - size))
        chance = float(np.exp(-len(near) * divergence))
    product = max(apart.p_value * chance, 1e-300)
    return bool(product * (1 - np.log(product)) <= LEVEL / 2)


def _ways(centre: Vector, dots: Vector, moments: Moments) -> Iterator[tuple[str, Vector]]:
    """How far each row is from a proposal: by direction, as trained away from, and by place, as never moved.

    The distance, as |x|^2 - 2 x.p + |p|^2, is right to a 1e-8th of the norms, which decides on no group.
    """
    yield "cosine", cosine_distance(dots, moments.norms, centre)
    yield "distance", np.sqrt(np.maximum(moments.norms**2 - 2 * dots + centre @ centre, 0))


def _most_supported(proposals: list[_Proposal], usable: Mapping[str, NDArray[np.int64]]) -> _Proposal | None:
    """The consensus: of equals the one that more rows are near to."""

    def support(proposal: _Proposal) -> tuple[float, int]:
        return sum(_share(proposal, ids) for ids in usable.values()), len(_members(proposal, usable))

    return max(proposals, key=support, default=None)


def _share(proposal: _Proposal, ids: NDArray[np.int64]) -> float:
    share = float(proposal.near[ids].mean()) if len(ids) else 0.0
    return share if share >= MAJORITY else 0.0


def _members(proposal: _Proposal | None, usable: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """The tokens of all sources that lie in a proposal's near group."""
    near = [ids[proposal.near[ids]] for ids in usable.values() if _share(proposal, ids)] if proposal else []
    return np.unique(np.concatenate([*near, np.empty(0, np.int64)]).astype(np.int64))


def _leave_out(
    embedding: Embedding,
    moments: Moments,
    first: NDArray[np.int64],
    proposals: list[_Proposal],
    usable: Mapping[str, NDArray[np.int64]],
) -> dict[str, LeftOut]:
    """For each source that brought rows, the reference without it; one pass over the matrix."""
    best = _most_supported(proposals, usable)
    if best is None:
        return {}
    members = {"": _members(best, usable)}
    for name in (name for name, ids in usable.items() if _share(best, ids) > 0):
        rest = {other: ids for other, ids in usable.items() if other != name}
        members[name] = _members(_most_supported([p for p in proposals if p.source != name], rest), rest)
    means = {name: mean_of(embedding, ids) for name, ids in members.items() if len(ids)}
    singled_out = _singled_out(embedding, moments, first, means)
    found = {}
    for name in list(members)[1:]:
        cosine = overlap = None
        if name in means:
            cosine = _cosine(means[name], means[""])
            either = int((singled_out[name] | singled_out[""]).sum())
            overlap = int((singled_out[name] & singled_out[""]).sum()) / either if either else None
        found[name] = LeftOut(len(members[name]), cosine, overlap)
    return found


def _singled_out(
    embedding: Embedding, moments: Moments, first: NDArray[np.int64], means: Mapping[str, Vector]
) -> dict[str, NDArray[np.bool_]]:
    """Who stands apart by the cosine to each of some means."""
    along = products(embedding, np.stack(list(means.values()), axis=1))
    distinct, found = first == np.arange(len(first)), {}
    for column, (name, mean) in enumerate(means.items()):
        values = cosine_distance(along[:, column], moments.norms, mean)
        apart = find_separation(values[distinct])
        found[name] = np.zeros(len(values), np.bool_) if apart is None else values < apart.threshold
    return found


def _use(
    embedding: Embedding,
    source: Population,
    usable: NDArray[np.int64],
    best: _Proposal | None,
    reference: Reference,
    without: LeftOut | None,
) -> SourceUse:
    weight = _share(best, usable) if best else 0.0
    near = int(best.near[usable].sum()) if best else 0
    mean = mean_of(embedding, usable) if len(usable) else None
    agreement = None if mean is None or reference.mean is None else _cosine(mean, reference.mean)
    if not len(source):
        note = "no such tokens"
    elif mean is None:
        note = "rows of zeros, infinities or nans have no direction"
    elif best is None:
        note = "its rows do not stand together apart from the bulk"
    else:
        note = "" if weight else f"{near:,} of {len(usable):,} rows are where the other sources' are"
    return SourceUse(
        source.name, source.definition, len(source), near if weight else 0, weight, agreement, note, without
    )


def _median_row(embedding: Embedding, token_ids: NDArray[np.int64]) -> Vector:
    """The median of each coordinate: half of the rows may be anything."""
    chosen = token_ids[np.linspace(0, len(token_ids) - 1, min(MEDIAN_ROWS, len(token_ids))).astype(np.int64)]
    return np.asarray(np.median(embedding.values_of(chosen), axis=0), dtype=np.float64)


def _cosine(one: Vector, other: Vector) -> float | None:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths > 0 else None
