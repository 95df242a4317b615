"""Every group of equal or nearly equal rows is given the cause that its bits, ids and tokens speak for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from forensics.black_holes import BlackHoles
from forensics.causes.case import Case, Mask, Tokens
from forensics.causes.nearness import Nearness, look_around, near_duplicates
from forensics.causes.result import Causes, ExplainedGroup, Kind
from forensics.causes.rules import judge, standard_errors
from forensics.causes.sums import Ids, RowSums, sum_rows
from forensics.embedding import Embedding
from forensics.errors import EmbeddingError
from forensics.lattice.unique import count_unique, unique_rows
from forensics.measures import Measure, Population

COMPARED = 256
"""Holes, most populated first, that are held against each other: 10 MB at 2,560 numbers a row."""

EXPLAINED = 4096
"""Holes that are explained, most populated first: half a second a thousand. Real matrices have some dozens."""

CENTRES = 32
"""Clusters of holes about which the matrix is searched for near-duplicates; each is one more product with it."""


def classify_causes(
    embedding: Embedding,
    holes: BlackHoles,
    *,
    groups: Sequence[Population] = (),
    padding: Mask | None = None,
    unreachable: Mask | None = None,
    added: Mask | None = None,
) -> Causes:
    """What made each black hole and each group of nearly equal rows.

    Two passes over the matrix, of about a read each. Besides the holes and the given groups, rows that were set to a
    mean of others (with or without noise), rows along the mean, and a zero row in no hole are found.

    Args:
        embedding: any matrix.
        holes: its groups of identical rows.
        groups: near-duplicates to explain, such as a halo.
        padding: ``bool[rows]``, ids beyond the tokenizer; None if there is no tokenizer.
        unreachable: ``bool[rows]``, tokens that no text gives; likewise.
        added: ``bool[rows]``, special tokens and those added by hand; likewise.

    Raises:
        EmbeddingError: a mask has not one entry a row, or a group a token that is not there.
    """
    _check(embedding, holes, groups, (padding, unreachable, added))
    sums = sum_rows(embedding)
    compared, labels = _clusters(sums, holes)
    centres = np.array([compared[labels == k][0] for k in range(min(CENTRES, labels.max(initial=-1) + 1))], np.int64)
    near = look_around(sums, centres)
    sizes = {k: _cluster_size(holes, compared[labels == k], near.around[k]) for k in range(len(centres))}
    cluster_of = dict(zip(compared.tolist(), labels.tolist(), strict=True))
    typical = _typical_norms(sums, holes)
    tokens = Tokens(padding, unreachable, added)

    def explain(name: str, kind: Kind, ids: Ids, cluster: int | None) -> ExplainedGroup:
        usable = ids[sums.finite[ids] & ~near.zero[ids]]
        distinct = 1 if kind == "hole" else count_unique(holes, ids)
        case = Case(ids, int(usable[0]) if usable.size else None, distinct, cluster, holes, near, tokens, typical)
        return ExplainedGroup(name, kind, ids, tuple(_facts(name, case)), judge(case))

    found = [
        explain(f"hole {h.id}", "hole", h.token_ids, sizes.get(cluster_of.get(h.representative, -1)))
        for h in holes.holes[:EXPLAINED]
    ]
    found += [explain(g.name, "given", np.unique(g.token_ids), _linked(sums, g.token_ids)) for g in groups]
    known = {g.token_ids.tobytes() for g in found}
    for name, ids in _made_groups(near, holes):
        if ids.tobytes() not in known:
            found.append(explain(name, "found", ids, None))
    return Causes(tuple(found), max(0, len(holes) - EXPLAINED))


def _check(embedding: Embedding, holes: BlackHoles, groups: Sequence[Population], masks: Sequence[Mask | None]) -> None:
    n = embedding.n_rows
    if holes.n_rows != n or any(mask is not None and mask.shape != (n,) for mask in masks):
        raise EmbeddingError(f"{embedding.tensor}: holes and masks are of {n:,} rows each, found others")
    for group in groups:
        ids = group.token_ids
        if not len(ids) or ids.min() < 0 or ids.max() >= n:
            raise EmbeddingError(f"{embedding.tensor}: group {group.name!r} is of tokens 0 to {n - 1:,}, found others")


def _clusters(sums: RowSums, holes: BlackHoles) -> tuple[Ids, Ids]:
    """The holes' first tokens, most populated first, and the number of the cluster each is in, from 0 in that order."""
    solid = [h.representative for h in holes.holes if not h.is_zero and sums.finite[h.representative]]
    compared = np.array(solid[:COMPARED], np.int64)
    return compared, _components(near_duplicates(sums, compared))


def _components(near: Mask) -> Ids:
    """The connected component of each node, numbered by first node."""
    labels = np.full(len(near), -1)
    for node in range(len(near)):
        if labels[node] >= 0:
            continue
        frontier = np.array([node])
        label = labels.max() + 1
        while frontier.size:
            labels[frontier] = label
            frontier = np.flatnonzero(near[frontier].any(axis=0) & (labels < 0))
    return labels


def _cluster_size(holes: BlackHoles, members: Ids, around: Ids) -> int:
    """Distinct rows of some holes, and of the tokens about the first of them."""
    return count_unique(holes, np.union1d(members, around))


def _linked(sums: RowSums, token_ids: Ids) -> int | None:
    """Distinct rows in the largest linked part of a given group; None where it is too large to look."""
    ids = np.unique(token_ids[sums.finite[token_ids]])
    rows = unique_rows(sums.embedding, ids).representatives
    if not 0 < len(rows) <= COMPARED:
        return None
    return int(np.bincount(_components(near_duplicates(sums, rows))).max())


def _typical_norms(sums: RowSums, holes: BlackHoles) -> tuple[float, float, float] | None:
    norms = np.sqrt(sums.squares[~holes.mask & sums.finite])
    return (float(norms.min()), float(np.median(norms)), float(norms.max())) if norms.size else None


def _made_groups(near: Nearness, holes: BlackHoles) -> Iterator[tuple[str, Ids]]:
    """The groups that the passes found by themselves."""
    lone = np.flatnonzero(near.zero & ~holes.mask)
    if lone.size:
        yield "zero rows in no hole", lone
    for number, cloud in enumerate(near.clouds, start=1):
        yield f"rows at a mean, {number}", cloud.token_ids
    if near.line is not None:
        yield "rows along the mean", near.line.token_ids


def _facts(name: str, case: Case) -> Iterator[Measure]:
    """Where the ids are, what the rows are, what the tokenizer says."""
    ids, sums = case.token_ids, case.near.sums
    after = sums.embedding.n_rows - 1 - int(ids[-1])
    for what, value, unit, definition in (
        ("first id", int(ids[0]), "id", "the lowest token id"),
        ("last id", int(ids[-1]), "id", "the highest token id"),
        ("runs of ids", int((np.diff(ids) > 1).sum()) + 1, "runs", "stretches of consecutive ids"),
        ("rows after", after, "rows", "rows of the matrix after the last id: 0 is at the tail"),
        ("distinct rows", case.distinct, "rows", "distinct stored rows of the group"),
        ("norm", case.norm, "value", "Euclidean norm of the first row that is finite and not zero"),
        (
            "distance from the mean",
            standard_errors(case.near, case.first),
            "standard errors",
            "of that row from the mean of all rows, over the norm of standard deviation / sqrt(rows)",
        ),
        ("beyond the tokenizer", case.count(case.tokens.padding), "tokens", "ids that the tokenizer does not have"),
        ("unreachable", case.count(case.tokens.unreachable), "tokens", "tokens that no text gives"),
        ("added", case.count(case.tokens.added), "tokens", "special or added tokens"),
    ):
        yield Measure(what, value, unit, name, definition)
