"""The scan: every analysis of a checkpoint's embedding matrices, as one value.

``Scan.to_dict`` is the content of ``scan.json`` (schema documented in the README); nothing in it depends on
when, where or how fast it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.bits import (
    BitCensus,
    ExponentAgreement,
    ExponentOffset,
    census_bits,
    compare_hole_exponents,
    exponent_offset,
)
from forensics.black_holes import BlackHoles, find_black_holes, find_equal_values
from forensics.checkpoint.checkpoint import Checkpoint
from forensics.checkpoint.naming import text_config
from forensics.embedding import Embedding, Measure, Population
from forensics.geometry import Geometry, in_hole_mask, measure_geometry
from forensics.text import align, number, visible

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "forensics.scan/1"
"""Changes its number when a key changes its meaning or goes."""

Progress = Callable[[str], None]

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
        expected_norm: initializer_range x sqrt(dim), what a row of the config's initialisation measures; or None.
    """

    embedding: Embedding
    holes: BlackHoles
    equal_values: BlackHoles | None
    bits: Bits | None
    geometry: Geometry
    expected_norm: float | None

    @property
    def populations(self) -> tuple[Population, Population]:
        """In-hole and rest, the two sets that every figure of a scan is over."""
        inside = in_hole_mask(self.holes)
        return (
            Population("in-hole", IN_HOLE, np.flatnonzero(inside)),
            Population("rest", REST, np.flatnonzero(~inside)),
        )

    def measures(self) -> Iterator[Measure]:
        """The headline figures, each with its set, unit and definition."""
        holes, geometry = self.holes, self.geometry
        raw = geometry.centroids[0]
        _, inside, rest = geometry.summaries
        identity = "bit-identical stored " + ("blocks" if self.embedding.is_quantised else "rows")
        yield Measure("black holes", len(holes), "groups", "all", f"groups of two or more tokens with {identity}")
        yield Measure("tokens in black holes", holes.n_tokens, "tokens", "all", "sum of the holes' populations")
        yield Measure("unique rows", holes.n_unique_rows, "rows", "all", f"distinct among {holes.n_rows:,} rows")
        if self.equal_values is not None:
            n = self.equal_values.n_tokens
            yield Measure("tokens with equal values", n, "tokens", "all", "rows that dequantise to equal numbers")
        for summary in (inside, rest):
            definition = f"mean Euclidean norm of {summary.rows:,} finite rows"
            yield Measure("norm, mean", summary.mean, "value", summary.population, definition)
            yield Measure("norm, std", summary.std, "value", summary.population, "over the same rows")
        yield Measure("centroid angle", raw.angle_deg, "degrees", "in-hole to rest", "means over tokens, raw frame")
        if self.bits and self.bits.offset:
            offset = self.bits.offset
            definition = (
                f"shift of least Wasserstein-1; {offset.distance_after_shift:.3f} of {offset.distance:.3f} remains"
            )
            yield Measure("exponent offset", offset.shift, "exponents", "in-hole to rest", definition)

    def to_dict(self) -> dict[str, Any]:
        """One entry of ``matrices`` in scan.json."""
        e = self.embedding
        return {
            "role": e.role,
            "tensor": e.tensor,
            "shape": [e.n_rows, e.dim],
            "dtype": e.format.name,
            "sha256": e.sha256,
            "populations": {p.name: {"definition": p.definition, "tokens": len(p)} for p in self.populations},
            "black_holes": self._holes_dict(),
            "equal_values": _groups_dict(self.equal_values) if self.equal_values else None,
            "exponents": self.bits.to_dict() if self.bits else None,
            "norms": self._norms_dict(),
            "centroids": self._centroids_dict(),
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
    """

    checkpoint: Checkpoint
    matrices: tuple[MatrixScan, ...]

    def measures(self) -> list[tuple[str, Measure]]:
        """The headline figures of every matrix, with its role."""
        return [(m.embedding.role, measure) for m in self.matrices for measure in m.measures()]

    def to_frame(self) -> pd.DataFrame:
        """The headline figures: role, name, value, unit, population, definition."""
        import pandas as pd  # 0.7 s, for notebooks only

        return pd.DataFrame([{"role": role, **measure.to_dict()} for role, measure in self.measures()])

    def to_dict(self) -> dict[str, Any]:
        """The content of scan.json."""
        checkpoint = self.checkpoint
        vocabulary = checkpoint.vocabulary
        rows = self.matrices[0].embedding.n_rows
        return {
            "schema": SCHEMA,
            "source": checkpoint.source.to_dict(),
            "tied": checkpoint.tied,
            "tokenizer": None
            if vocabulary is None
            else {"tokens": len(vocabulary), "rows_beyond": max(0, rows - len(vocabulary))},
            "initializer_range": initializer_range(checkpoint),
            "notes": list(checkpoint.notes),
            "matrices": [m.to_dict() for m in self.matrices],
        }

    def __str__(self) -> str:
        blocks = []
        for result in self.matrices:
            e = result.embedding
            place = visible(f"{self.checkpoint.source}  {e.tensor}")
            head = f"{place} ({e.role})  {e.n_rows:,} x {e.dim:,} {e.format.name}"
            rows = [(m.name, m.population, number(m.value), m.unit) for m in result.measures()]
            blocks.append(f"{head}\n{align(rows, right=(2,))}")
        return "\n\n".join(blocks)


def scan(checkpoint: Checkpoint, *, progress: Progress | None = None) -> Scan:
    """Scans every matrix of a checkpoint.

    Args:
        checkpoint: from :func:`forensics.open_checkpoint`.
        progress: called with the name of each stage as it starts.
    """
    tell = progress or (lambda stage: None)
    sigma = initializer_range(checkpoint)
    results = []
    for embedding in checkpoint.matrices:
        # Hashing the bytes releases the interpreter: it runs beside the analysis on a second core.
        with ThreadPoolExecutor(1) as beside:
            hashing = beside.submit(lambda e=embedding: e.sha256)
            results.append(_scan_matrix(embedding, sigma, lambda s, e=embedding: tell(f"{e.tensor}: {s}")))
            tell(f"{embedding.tensor}: sha256")
            hashing.result()
    return Scan(checkpoint, tuple(results))


def _scan_matrix(embedding: Embedding, sigma: float | None, tell: Progress) -> MatrixScan:
    tell("identical rows")
    holes = find_black_holes(embedding)
    equal_values = bits = None
    if embedding.is_quantised:
        tell("equal values")
        equal_values = find_equal_values(embedding)
    else:
        tell("bits")
        everything, inside, rest = census_bits(embedding, holes)
        bits = Bits(everything, inside, rest, exponent_offset(inside, rest), compare_hole_exponents(embedding, holes))
    tell("norms and centroids")
    geometry = measure_geometry(embedding, holes)
    expected = None if sigma is None else sigma * float(np.sqrt(embedding.dim))
    return MatrixScan(embedding, holes, equal_values, bits, geometry, expected)


def initializer_range(checkpoint: Checkpoint) -> float | None:
    """The standard deviation that the config says weights were drawn with, or None."""
    value = text_config(checkpoint.config).get("initializer_range")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def _groups_dict(groups: BlackHoles) -> dict[str, Any]:
    return {
        "count": len(groups),
        "tokens": groups.n_tokens,
        "unique_rows": groups.n_unique_rows,
        "populations": list(groups.populations),
    }
