"""What becomes of black holes from one partition of the rows to the next, and the descent of those at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """How two partitions of the same rows differ.

    A pair is a hole before and a hole after that share rows.

    Attributes:
        before: ``int64[pairs]``, numbers of holes before; 0: rows that were in none.
        after: ``int64[pairs]``, numbers of holes after; 0: rows that are in none.
        rows: ``int64[pairs]``, rows that went that way.
        n_before: number of holes before.
        n_after: number of holes after.
    """

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    rows: NDArray[np.int64]
    n_before: int
    n_after: int

    @classmethod
    def between(cls, before: Ids, after: Ids) -> Step:
        """Counts the ways between two partitions, ``int32[rows]`` each: hole numbers from 1, 0 for none."""
        width = int(after.max(initial=0)) + 1
        ways, rows = np.unique(before.astype(np.int64) * width + after, return_counts=True)
        ways, rows = ways[ways > 0], rows[ways > 0]
        return cls(ways // width, ways % width, rows, int(before.max(initial=0)), width - 1)

    @property
    def parents(self) -> NDArray[np.int64]:
        """``int64[n_after + 1]``, from how many holes the rows of each hole came."""
        both = (self.before > 0) & (self.after > 0)
        return np.bincount(self.after[both], minlength=self.n_after + 1)

    @property
    def children(self) -> NDArray[np.int64]:
        """``int64[n_before + 1]``, into how many holes the rows of each hole went."""
        both = (self.before > 0) & (self.after > 0)
        return np.bincount(self.before[both], minlength=self.n_before + 1)

    @property
    def counts(self) -> dict[str, int]:
        """Births, deaths, merges, splits; holes each."""
        parents, children = self.parents[1:], self.children[1:]
        return {
            "births": int((parents == 0).sum()),
            "deaths": int((children == 0).sum()),
            "merges": int((parents > 1).sum()),
            "splits": int((children > 1).sum()),
        }

    def heirs(self) -> dict[int, int]:
        """The hole after that is each hole before: the two have most of each other's rows; ties by the lower number."""
        both = np.flatnonzero((self.before > 0) & (self.after > 0))
        by_parent = both[np.lexsort((self.after[both], -self.rows[both], self.before[both]))]
        by_child = both[np.lexsort((self.before[both], -self.rows[both], self.after[both]))]
        largest = by_parent[np.unique(self.before[by_parent], return_index=True)[1]]
        main = by_child[np.unique(self.after[by_child], return_index=True)[1]]
        kept = np.intersect1d(largest, main, assume_unique=True)
        return dict(zip(self.before[kept].tolist(), self.after[kept].tolist(), strict=True))


@dataclass(slots=True)
class Lineage:
    """One hole through time.

    Attributes:
        id: by order of birth.
        born: the recorded step at which it is first seen.
        how: "initial", "birth" (its rows were in no hole) or "split".
        parent: the lineage that it split from, or None.
        oldest: when the oldest of all holes that went into it was first seen.
        merges: how many others it took in.
        splits: how many holes left it.
        peak: most tokens that it ever held.
        tokens: tokens that it holds now.
    """

    id: int
    born: int
    how: str
    parent: int | None
    oldest: int
    merges: int = 0
    splits: int = 0
    peak: int = 0
    tokens: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Event:
    """A merge or a split.

    Attributes:
        step: the recorded step at which it is first seen.
        kind: "merge" or "split".
        lineage: which hole goes on.
        others: the lineages that were taken in, or those that left.
    """

    step: int
    kind: str
    lineage: int
    others: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {"step": self.step, "kind": self.kind, "lineage": self.lineage, "others": list(self.others)}


@dataclass(slots=True, eq=False)
class Descent:
    """Follows holes from partition to partition.

    Attributes:
        now: lineages by the number that the present partition gives their hole.
    """

    now: dict[int, Lineage] = field(default_factory=dict)
    _born: int = 0

    def begin(self, step: int, holes: BlackHoles) -> None:
        """Takes the first partition."""
        self.now = {hole.id: self._new(step, "initial", None, hole.population) for hole in holes.holes}

    def follow(self, step: int, change: Step, holes: BlackHoles) -> Iterator[Event]:
        """Takes the next partition, and says which holes merged and split."""
        heirs, last = change.heirs(), self.now
        self.now = {after: last[before] for before, after in heirs.items()}
        both = (change.before > 0) & (change.after > 0)
        sources: dict[int, list[int]] = {}
        for i in np.flatnonzero(both)[np.lexsort((change.before[both], -change.rows[both]))]:
            sources.setdefault(int(change.after[i]), []).append(int(change.before[i]))
        for hole in holes.holes:
            if hole.id not in self.now:
                parent = last[sources[hole.id][0]] if hole.id in sources else None
                how = "birth" if parent is None else "split"
                self.now[hole.id] = self._new(step, how, parent, hole.population)
        for hole in holes.holes:
            self.now[hole.id].tokens = hole.population
            self.now[hole.id].peak = max(self.now[hole.id].peak, hole.population)
        yield from self._merges(step, change, last, sources)
        yield from self._splits(step, change, last, heirs)

    def _merges(
        self, step: int, change: Step, last: dict[int, Lineage], sources: dict[int, list[int]]
    ) -> Iterator[Event]:
        for after in np.flatnonzero(change.parents > 1).tolist():
            into = self.now[after]
            others = tuple(last[before].id for before in sources[after] if last[before] is not into)
            into.merges += len(others)
            into.oldest = min(into.oldest, *(last[before].oldest for before in sources[after]))
            yield Event(step, "merge", into.id, others)

    def _splits(self, step: int, change: Step, last: dict[int, Lineage], heirs: dict[int, int]) -> Iterator[Event]:
        for before in np.flatnonzero(change.children > 1).tolist():
            went = change.after[(change.before == before) & (change.after > 0)].tolist()
            source = last[before]
            others = tuple(self.now[after].id for after in went if after != heirs.get(before))
            source.splits += len(others)
            yield Event(step, "split", source.id, others)

    def _new(self, step: int, how: str, parent: Lineage | None, tokens: int) -> Lineage:
        oldest = step if parent is None else parent.oldest
        made = Lineage(self._born, step, how, None if parent is None else parent.id, oldest, peak=tokens, tokens=tokens)
        self._born += 1
        return made
