"""Which hypotheses make the same distribution: those whose simulations are not told apart form one class."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any
from zlib import crc32

import numpy as np

from forensics.hypotheses.judging.distance import Floats
from forensics.hypotheses.judging.two_samples import two_samples
from forensics.hypotheses.observables.observable import Observable

SAMPLE = 500
"""Simulations of each hypothesis that a pair is tested on, at most: 20 ms a pair."""

_LEAST = 20
"""Simulations of each hypothesis, below which a test says nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two hypotheses, tested for giving the same distribution of statistics.

    Attributes:
        first, second: their names, in order.
        n: simulations of each that were compared.
        same_share: share of the simulations' nearest neighbours that are of their own hypothesis.
        expected: that share if both give the same distribution.
        p_value: one-sided; not corrected for the number of pairs.
        told_apart: the test rejects, Holm's correction over all pairs applied.
        declared: one is argued to be the same as the other (`Hypothesis.same_as`).
    """

    first: str
    second: str
    n: int
    same_share: float
    expected: float
    p_value: float
    told_apart: bool
    declared: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Classes:
    """Hypotheses by what their simulations can tell.

    Attributes:
        members: the classes, each its hypotheses' names in order, sorted. No two of one class are told apart. Two of
            different classes may not be either, where a third is like both: `pairs` says so.
        pairs: all that were tested.
        alpha: the error rate over all pairs together.
    """

    members: tuple[tuple[str, ...], ...]
    pairs: tuple[Pair, ...]
    alpha: float

    @property
    def names(self) -> tuple[str, ...]:
        """One name a class: its members' names, joined by " = "."""
        return tuple(" = ".join(names) for names in self.members)

    def of(self, hypothesis: str) -> int | None:
        """The class of a hypothesis; None for one that was not fitted."""
        return next((i for i, names in enumerate(self.members) if hypothesis in names), None)

    def among(self, hypotheses: Collection[str]) -> tuple[tuple[str, ...], ...]:
        """Of each class, the members that are among some hypotheses; none for a class without any."""
        return tuple(tuple(name for name in names if name in hypotheses) for names in self.members)

    def compared(self, names: Collection[str]) -> int:
        """Simulations of each that the pairs of some hypotheses were compared by, at least; 0 without a pair."""
        return min((pair.n for pair in self.pairs if {pair.first, pair.second} <= {*names}), default=0)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "members": [list(names) for names in self.members],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "alpha": self.alpha,
        }


def find_classes(
    values: Mapping[str, Floats],
    observables: Sequence[Observable],
    *,
    same_as: Mapping[str, str] | None = None,
    alpha: float = 0.01,
    seed: int = 0,
) -> Classes:
    """Puts hypotheses whose simulations are not told apart into classes.

    Args:
        values: by hypothesis, ``float64[n, observables]``, nan where undefined.
        observables: one a column.
        same_as: by hypothesis, the one that it is argued to equal.
        alpha: the chance of telling any two equal ones apart.
        seed: of the order in which ties are broken; each pair has its own, whoever else is tested.
    """
    tested = {
        (a, b): two_samples(values[a][:SAMPLE], values[b][:SAMPLE], observables, _rng(seed, a, b))
        for a, b in combinations(sorted(values), 2)
        if min(len(values[a]), len(values[b])) >= _LEAST
    }
    apart = _holm({names: found[2] for names, found in tested.items()}, alpha)
    declared = {frozenset(pair) for pair in (same_as or {}).items()}
    pairs = tuple(
        Pair(
            *names,
            min(SAMPLE, len(values[names[0]]), len(values[names[1]])),
            *found,
            names in apart,
            frozenset(names) in declared,
        )
        for names, found in tested.items()
    )
    return Classes(_linked(sorted(values), pairs), pairs, alpha)


def _holm(p_values: Mapping[tuple[str, str], float], alpha: float) -> set[tuple[str, str]]:
    """The pairs that are told apart: each p-value in turn against alpha over the number of those not yet passed."""
    apart = set()
    for i, (names, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p > alpha / (len(p_values) - i):
            break
        apart.add(names)
    return apart


def _rng(seed: int, first: str, second: str) -> np.random.Generator:
    return np.random.default_rng([seed, crc32(first.encode()), crc32(second.encode())])


def _linked(names: Sequence[str], pairs: Sequence[Pair]) -> tuple[tuple[str, ...], ...]:
    """Complete linkage: from the largest p-value on, two groups join if no pair between them is told apart."""
    alike = {frozenset((pair.first, pair.second)) for pair in pairs if not pair.told_apart}
    group = {name: {name} for name in names}
    for pair in sorted(pairs, key=lambda pair: (-pair.p_value, pair.first, pair.second)):
        first, second = group[pair.first], group[pair.second]
        if first is not second and all(frozenset(across) in alike for across in product(first, second)):
            first |= second
            group.update(dict.fromkeys(second, first))
    return tuple(sorted({tuple(sorted(members)) for members in group.values()}))
