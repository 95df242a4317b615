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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.geometry import cosine, in_hole_mask
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
from forensics.undertrained.proposals import (
    HOLES,
    Proposal,
    members,
    most_supported,
    propose,
    propose_one_row,
    share,
)
from forensics.undertrained.separation import Separation, find_separation

ONE_ROW = "one row is no cluster to test, and no other source meets it"


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
        weight: used over those that have a direction (finite, not zero); 0 where that is less than half.
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
        measured: from that proposal, "cosine" or "distance"; "identity" where it is one row that two sources meet in.
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
    proposals = propose(embedding, moments, first, usable) or propose_one_row(holes, usable)
    best = most_supported(proposals, usable)
    ids = members(best, usable)
    found = Reference(ids, None, None, None, None)
    if best:
        found = Reference(ids, mean_of(embedding, ids), best.source, best.measured, best.separation)
    without = _leave_out(embedding, moments, first, proposals, usable)
    uses = (
        _use(embedding, named[name], usable[name], len(np.unique(first[usable[name]])), best, found, without.get(name))
        for name in named
    )
    return replace(found, sources=tuple(uses))


def _own_sources(moments: Moments, holes: BlackHoles) -> dict[str, Population]:
    finite_hole = in_hole_mask(holes) & moments.finite
    low = find_separation(moments.norms[np.unique(first_of_equals(holes))])
    below = np.zeros(holes.n_rows, np.bool_) if low is None else moments.norms < low.threshold
    found = (
        ("zero rows", "tokens whose row is zero", moments.norms == 0),
        (HOLES, "tokens whose stored row is bit-identical to another's, finite and not zero", finite_hole),
        ("low norms", "tokens whose norm lies in a low group apart from the bulk", below),
    )
    return {name: Population(name, definition, np.flatnonzero(mask)) for name, definition, mask in found}


def _leave_out(
    embedding: Embedding,
    moments: Moments,
    first: NDArray[np.int64],
    proposals: list[Proposal],
    usable: Mapping[str, NDArray[np.int64]],
) -> dict[str, LeftOut]:
    """For each source that brought rows, the reference without it; one pass over the matrix."""
    best = most_supported(proposals, usable)
    if best is None:
        return {}
    kept = {"": members(best, usable)}
    for name in (name for name, ids in usable.items() if share(best, ids) > 0):
        rest = {other: ids for other, ids in usable.items() if other != name}
        kept[name] = members(most_supported([p for p in proposals if p.source != name], rest), rest)
    means = {name: mean_of(embedding, ids) for name, ids in kept.items() if len(ids)}
    singled_out = _singled_out(embedding, moments, first, means)
    found = {}
    for name in list(kept)[1:]:
        agreement = overlap = None
        if name in means:
            agreement = cosine(means[name], means[""])
            either = int((singled_out[name] | singled_out[""]).sum())
            overlap = int((singled_out[name] & singled_out[""]).sum()) / either if either else None
        found[name] = LeftOut(len(kept[name]), agreement, overlap)
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
    n_rows: int,
    best: Proposal | None,
    reference: Reference,
    without: LeftOut | None,
) -> SourceUse:
    weight = share(best, usable) if best else 0.0
    near = int(best.near[usable].sum()) if best else 0
    mean = mean_of(embedding, usable) if len(usable) else None
    agreement = None if mean is None or reference.mean is None else cosine(mean, reference.mean)
    if not len(source):
        note = "no such tokens"
    elif mean is None:
        note = "rows of zeros, infinities or nans have no direction"
    elif best is None:
        note = "its rows do not stand together apart from the bulk" if n_rows > 1 else ONE_ROW
    else:
        note = "" if weight else f"{near:,} of {len(usable):,} rows are where the other sources' are"
    return SourceUse(
        source.name, source.definition, len(source), near if weight else 0, weight, agreement, note, without
    )
