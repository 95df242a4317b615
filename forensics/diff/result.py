"""What two matrices differ in, as one value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles, find_black_holes
from forensics.diff.holes import HOLE_CHANGES, HoleFate, map_holes, token_changes
from forensics.diff.pairing import Pairing, pair_by_id
from forensics.diff.rows import EQUAL, STATES, UNCHANGED, RowChanges, compare_rows
from forensics.diff.scaling import Scaling, find_scaling
from forensics.embedding import Embedding, Role
from forensics.errors import EmbeddingError

LISTED = 1000
"""Tokens and holes listed in JSON under any one key; the counts beside them are of all, and rows.csv has all."""

EVENTS = ("became_zero", "was_zero", "became_non_finite", "was_non_finite")


@dataclass(frozen=True, slots=True, eq=False)
class MatrixDiff:
    """Matrix B against matrix A.

    Attributes:
        of: which matrix of its checkpoint: "input", "output", "tied" (both at once) or "unknown".
        first, second: A and B.
        within: largest L-infinity distance in steps that counts as moved rather than changed.
        pairing: which row of B is whose.
        rows: what happened to each pair.
        holes: the black holes of A and of B.
        hole_changes: ``uint8[pairs]``, index into HOLE_CHANGES.
        fates: what became of each hole of A.
        origins: the same of each hole of B, looking back: "dissolved" is a hole that is new.
        scaling: the common factor of many rows, or None.
        zero_rows: rows of all zeros among those removed from A, and among those added in B.
    """

    of: Role
    first: Embedding
    second: Embedding
    within: int
    pairing: Pairing
    rows: RowChanges
    holes: tuple[BlackHoles, BlackHoles]
    hole_changes: NDArray[np.uint8]
    fates: tuple[HoleFate, ...]
    origins: tuple[HoleFate, ...]
    scaling: Scaling | None
    zero_rows: tuple[int, int]

    @property
    def is_same_format(self) -> bool:
        """Stored bytes can be held against each other."""
        return self.first.format == self.second.format

    @property
    def has_steps(self) -> bool:
        """Both are stored in one float format, so that distances can be counted in its steps."""
        return self.is_same_format and not self.first.is_quantised

    @property
    def differing(self) -> NDArray[np.bool_]:
        """``bool[pairs]``: not bit-identical; where the formats differ, not equal in value."""
        return np.asarray(self.rows.state != (UNCHANGED if self.is_same_format else EQUAL))

    @property
    def differs(self) -> bool:
        """Some row differs, is removed or is added."""
        return bool(len(self.pairing.removed) or len(self.pairing.added) or self.differing.any())

    @property
    def counts(self) -> dict[str, int]:
        """Pairs in each of STATES, and the rows removed and added."""
        n = np.bincount(self.rows.state, minlength=len(STATES))
        pairs = {name: int(k) for name, k in zip(STATES, n, strict=True)}
        return pairs | {"removed": len(self.pairing.removed), "added": len(self.pairing.added)}

    @property
    def steps_histogram(self) -> list[tuple[int, int, int]]:
        """(lowest, highest, pairs) for 0, 1, 2, 3-4, 5-8, ... steps, over the pairs that are not bit-identical."""
        steps = self.rows.steps[(self.rows.state != UNCHANGED) & (self.rows.steps >= 0)]
        # 1, 2, 3-4, 5-8 ... are bins 1, 2, 3, 4 ...: one more than the bits of steps - 1.
        bins = Counter(0 if s == 0 else 1 + (s - 1).bit_length() for s in steps.tolist())
        bounds = {0: (0, 0), 1: (1, 1)}
        return [(*bounds.get(i, (2 ** (i - 2) + 1, 2 ** (i - 1))), bins[i]) for i in sorted(bins)]

    def token_ids(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The ids in B of some pairs, ascending."""
        return np.sort(self.pairing.second[chosen])

    def fate_counts(self) -> dict[str, int]:
        """Holes of A by fate, and under "new" those of B that no two tokens of one hole of A are in."""
        n = Counter(hole.fate for hole in self.fates)
        new = sum(hole.fate == "dissolved" for hole in self.origins)
        return {name: n[name] for name in ("kept", "merged", "split", "dissolved")} | {"new": new}

    def to_dict(self) -> dict[str, Any]:
        """One entry of ``matrices`` in diff.json."""
        return {
            "of": self.of,
            "a": self.first.to_dict(),
            "b": self.second.to_dict(),
            "within": self.within,
            "match": self.pairing.match,
            "rows": self.counts | {"differing": int(self.differing.sum())},
            "steps": [list(entry) for entry in self.steps_histogram] if self.has_steps else None,
            "distance": self._distances(),
            "scaling": self.scaling.to_dict() if self.scaling else None,
            "removed": self._unpaired(0),
            "added": self._unpaired(1),
            "events": {name: self._listed(getattr(self.rows, name)) for name in EVENTS},
            "hole_changes": {
                name: self._listed(self.hole_changes == code) for code, name in enumerate(HOLE_CHANGES) if code > 1
            },
            "holes": self.fate_counts()
            | {
                "in_a": [hole.to_dict() for hole in self.fates[:LISTED]],
                "in_b": [_origin(hole) for hole in self.origins[:LISTED]],
            },
        }

    def _distances(self) -> dict[str, float | int] | None:
        far = self.rows.distance[self.differing]
        far = far[np.isfinite(far)]
        if not len(far):
            return None
        return {"rows": len(far), "median": float(np.median(far)), "max": float(far.max())}

    def _unpaired(self, side: int) -> dict[str, Any]:
        ids, holes = (self.pairing.removed, self.pairing.added)[side], self.holes[side]
        inside = int(holes.mask[ids].sum())
        return {"rows": len(ids), "ids": _ranges(ids)[:LISTED], "zero": self.zero_rows[side], "in_holes": inside}

    def _listed(self, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        ids = self.token_ids(chosen)
        return {"tokens": len(ids), "ids": ids[:LISTED].tolist()}


def diff_embeddings(
    first: Embedding, second: Embedding, *, of: Role | None = None, pairing: Pairing | None = None, within: int = 1
) -> MatrixDiff:
    """Holds matrix B against matrix A, row by row.

    Args:
        first: A.
        second: B, of any format.
        of: which matrix of its checkpoint this is; as A's role says if None.
        pairing: which row of B is whose; by id if None.
        within: largest L-infinity distance in steps of the format that counts as moved, from 0.

    Raises:
        EmbeddingError: the rows have different numbers of dimensions.
        FormatError: blocks of a quantised format that cannot be turned into numbers.
    """
    if first.dim != second.dim:
        raise EmbeddingError(
            f"{first.tensor} has rows of {first.dim:,} numbers, {second.tensor} of {second.dim:,}: "
            "these are not the same model",
            hint="name two checkpoints of one model; with --tensor, the same tensor in both",
        )
    if pairing is None:
        pairing = pair_by_id(first.n_rows, second.n_rows)
    holes = find_black_holes(first), find_black_holes(second)
    rows = compare_rows(first, second, pairing, within)
    fates, origins = map_holes(*holes, pairing, rows.state == UNCHANGED)
    return MatrixDiff(
        of=of or first.role,
        first=first,
        second=second,
        within=within,
        pairing=pairing,
        rows=rows,
        holes=holes,
        hole_changes=token_changes(*holes, pairing),
        fates=fates,
        origins=origins,
        scaling=find_scaling(rows, first.dim),
        zero_rows=(_zero_rows(first, pairing.removed), _zero_rows(second, pairing.added)),
    )


def _origin(hole: HoleFate) -> dict[str, Any]:
    told = hole.to_dict()
    return told | {"fate": "new" if hole.fate == "dissolved" else hole.fate}


def _zero_rows(embedding: Embedding, ids: NDArray[np.int64]) -> int:
    with np.errstate(invalid="ignore"):  # a signalling nan is a nan, and not zero
        zero = [~embedding.values_of(ids[a:b]).any(axis=1) for a, b in embedding.spans(len(ids))]
    return sum(int(some.sum()) for some in zero)


def _ranges(ids: NDArray[np.int64]) -> list[list[int]]:
    """Ascending ids as [first, last] of each run."""
    if not len(ids):
        return []
    breaks = np.flatnonzero(np.diff(ids) > 1)
    return [[int(a), int(b)] for a, b in zip(ids[np.r_[0, breaks + 1]], ids[np.r_[breaks, -1]], strict=True)]
