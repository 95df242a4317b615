"""Which hypotheses make the same distribution: those whose simulations cannot be told apart form one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

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
        members: the classes, each its hypotheses' names in order, sorted. Two hypotheses are in one class if a chain of
            pairs that are not told apart joins them; `pairs` says so where the two themselves are.
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

    def of(self, hypothesis: str) -> int:
        """The class of a hypothesis."""
        return next(i for i, names in enumerate(self.members) if hypothesis in names)

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
    """Puts hypotheses whose simulations cannot be told apart into classes.

    Args:
        values: by hypothesis, ``float64[n, observables]``, nan where undefined.
        observables: one a column.
        same_as: by hypothesis, the one that it is argued to equal.
        alpha: the chance of telling any two equal ones apart.
        seed: of the order in which ties are broken.
    """
    rng = np.random.default_rng(seed)
    tested = {
        (a, b): two_samples(values[a][:SAMPLE], values[b][:SAMPLE], observables, rng)
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
    return Classes(_components(sorted(values), pairs), pairs, alpha)


def _holm(p_values: Mapping[tuple[str, str], float], alpha: float) -> set[tuple[str, str]]:
    """The pairs that are told apart: each p-value in turn against alpha over the number of those not yet passed."""
    apart = set()
    for i, (names, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p > alpha / (len(p_values) - i):
            break
        apart.add(names)
    return apart


def _components(names: Sequence[str], pairs: Sequence[Pair]) -> tuple[tuple[str, ...], ...]:
    group = {name: {name} for name in names}
    for pair in pairs:
        if not pair.told_apart and group[pair.first] is not group[pair.second]:
            group[pair.first] |= group[pair.second]
            for name in group[pair.second]:
                group[name] = group[pair.first]
    return tuple(sorted({tuple(sorted(members)) for members in group.values()}))
