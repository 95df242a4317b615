"""What a scan found: every analysis of a checkpoint's embedding matrices, as one value.

``Scan.to_dict`` is the content of ``scan.json`` (schema documented in the README); nothing in it depends on
when, where or how fast it was made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.bits import BitCensus, ExponentAgreement, ExponentOffset
from forensics.black_holes import BlackHoles
from forensics.causes import Causes
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding
from forensics.geometry import Geometry, in_hole_mask
from forensics.lattice import BlockSurvey, LatticeSummary
from forensics.measures import Measure, Population
from forensics.scanning import console, headline
from forensics.scanning.production import Production, all_notes, causes_dict
from forensics.vocabulary import Census

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "forensics.scan/1"
"""Changes its number when a key changes its meaning or goes."""

Progress = Callable[[str], None]
"""Is told the name of each stage as it starts."""

IN_HOLE = "tokens whose stored row is bit-identical to another token's and not all zero"
REST = "all other tokens"


@dataclass(frozen=True, slots=True, eq=False)
class Bits:
    """The bit anatomy of a float matrix.

    Attributes:
        everything, in_hole, rest: censuses of the three sets of rows.
        offset: exponents of in-hole less those of rest; None where either is empty.
        agreement: whether all holes share their exponents; None with fewer than two non-zero holes.
    """

    everything: BitCensus
    in_hole: BitCensus
    rest: BitCensus
    offset: ExponentOffset | None
    agreement: ExponentAgreement | None

    def to_dict(self) -> dict[str, Any]:
        """The ``exponents`` section of scan.json."""
        return {
            "populations": {c.population: c.to_dict() for c in (self.everything, self.in_hole, self.rest)},
            "offset_in_hole_to_rest": self.offset.to_dict() if self.offset else None,
            "holes_share_exponents": self.agreement.to_dict() if self.agreement else None,
        }


@dataclass(frozen=True, slots=True, eq=False)
class MatrixScan:
    """What was found in one matrix.

    Attributes:
        embedding: the matrix.
        holes: groups of bit-identical stored rows.
        equal_values: groups of rows that stand for equal numbers; None for float formats.
        bits: None for a quantised matrix, which has no words.
        geometry: norms, centroids, angles.
        lattice: what lies around the largest hole, in steps of the format or block by block; None where no hole
            has a place on the lattice.
        in_hole: the tokens of its holes, by what the tokenizer can produce.
        causes: what made each group of equal or nearly equal rows.
        expected_norm: initializer_range x sqrt(dim), what a row of the config's initialisation measures; or None.
    """

    embedding: Embedding
    holes: BlackHoles
    equal_values: BlackHoles | None
    bits: Bits | None
    geometry: Geometry
    lattice: LatticeSummary | BlockSurvey | None
    in_hole: Production
    causes: Causes
    expected_norm: float | None

    @property
    def populations(self) -> tuple[Population, Population]:
        """In-hole and rest, the two sets that every figure of a scan is over."""
        inside = in_hole_mask(self.holes)
        return (
            Population("in-hole", IN_HOLE, np.flatnonzero(inside)),
            Population("rest", REST, np.flatnonzero(~inside)),
        )

    def measures(self) -> list[Measure]:
        """The headline figures, each with its set, unit and definition."""
        return list(headline.measures(self))

    @property
    def claim(self) -> str:
        """The finding in one sentence."""
        return headline.claim(self)

    def to_dict(self) -> dict[str, Any]:
        """One entry of ``matrices`` in scan.json."""
        return {
            **self.embedding.to_dict(),
            "populations": {p.name: {"definition": p.definition, "tokens": len(p)} for p in self.populations},
            "black_holes": self._holes_dict(),
            "equal_values": _groups_dict(self.equal_values) if self.equal_values else None,
            "exponents": self.bits.to_dict() if self.bits else None,
            "norms": self._norms_dict(),
            "centroids": self._centroids_dict(),
            "lattice": self.lattice.to_dict() if self.lattice else None,
            "tokens": self.in_hole.to_dict(),
            "causes": causes_dict(self.causes),
        }

    def _holes_dict(self) -> dict[str, Any]:
        listed = []
        for hole, angle in zip(self.holes.holes, self.geometry.hole_angles_deg, strict=True):
            norm = float(self.geometry.norms[hole.representative])
            listed.append(
                {
                    "id": hole.id,
                    "population": hole.population,
                    "token_ids": hole.token_ids.tolist(),
                    "norm": norm if np.isfinite(norm) else None,
                    "angle_deg": angle,
                    "is_zero": hole.is_zero,
                }
            )
        identity = "stored blocks" if self.embedding.is_quantised else "stored rows"
        return {"identity": identity, **_groups_dict(self.holes), "holes": listed}

    def _norms_dict(self) -> dict[str, Any]:
        figures = {s.population: s.to_dict() for s in self.geometry.summaries}
        return {**figures, "expected_at_initialisation": self.expected_norm}

    def _centroids_dict(self) -> dict[str, Any]:
        weightings: dict[str, dict[str, Any]] = {}
        for pair in self.geometry.centroids:
            weightings.setdefault(pair.weighting, {})[pair.frame] = pair.to_dict()
        return {"vocabulary_mean_norm": self.geometry.vocabulary_mean_norm, **weightings}


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """The scan of a checkpoint.

    Attributes:
        checkpoint: what was opened.
        matrices: one result a matrix.
        census: what each token is, and whether text can produce it.
        initializer_range: the standard deviation that the config says weights were drawn with, or None.
    """

    checkpoint: Checkpoint
    matrices: tuple[MatrixScan, ...]
    census: Census
    initializer_range: float | None = None

    def measures(self) -> list[tuple[str, Measure]]:
        """The headline figures of every matrix, with its role."""
        return [(m.embedding.role, measure) for m in self.matrices for measure in m.measures()]

    @property
    def notes(self) -> list[str]:
        """What a reader of the results must know."""
        return all_notes(self.checkpoint, self.census)

    def to_frame(self) -> pd.DataFrame:
        """The headline figures: role, name, value, unit, population, definition."""
        import pandas as pd  # 0.7 s, for notebooks only

        return pd.DataFrame([{"role": role, **m.to_dict()} for role, m in self.measures()], dtype=object)

    def to_dict(self) -> dict[str, Any]:
        """The content of scan.json."""
        checkpoint = self.checkpoint
        return {
            "schema": SCHEMA,
            "source": checkpoint.source.to_dict(),
            "tied": checkpoint.tied,
            "tokenizer": self._tokenizer_dict(),
            "initializer_range": self.initializer_range,
            "notes": self.notes,
            "matrices": [m.to_dict() for m in self.matrices],
        }

    def _tokenizer_dict(self) -> dict[str, Any] | None:
        census, vocabulary = self.census, self.checkpoint.vocabulary
        if vocabulary is None:
            return None
        beyond = max(0, self.matrices[0].embedding.n_rows - len(vocabulary))
        unreachable = int(census.mask("unreachable").sum()) if census.origin else None
        return {"tokens": len(vocabulary), "rows_beyond": beyond, "encoder": census.origin, "unreachable": unreachable}

    def __str__(self) -> str:
        return console.render(self)


def _groups_dict(groups: BlackHoles) -> dict[str, Any]:
    return {
        "count": len(groups),
        "tokens": groups.n_tokens,
        "unique_rows": groups.n_unique_rows,
        "populations": list(groups.populations),
    }
