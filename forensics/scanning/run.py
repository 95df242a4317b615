"""The scan: every analysis of every matrix, composed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from forensics.bits import census_bits, compare_hole_exponents, exponent_offset
from forensics.black_holes import find_black_holes, find_equal_values
from forensics.checkpoint import Checkpoint
from forensics.checkpoint.naming import initializer_range
from forensics.embedding import Embedding
from forensics.geometry import measure_geometry
from forensics.lattice import summarise_lattice, survey_blocks
from forensics.scanning.production import explain_groups, in_holes, measure_production
from forensics.scanning.result import Bits, MatrixScan, Progress, Scan
from forensics.vocabulary import Census, take_census


def scan(checkpoint: Checkpoint | Embedding, *, progress: Progress | None = None) -> Scan:
    """Scans every matrix of a checkpoint.

    Args:
        checkpoint: from :func:`forensics.open_checkpoint`; or one embedding, for a matrix in memory.
        progress: called with the name of each stage as it starts.
    """
    if isinstance(checkpoint, Embedding):
        checkpoint = Checkpoint(checkpoint.source, (checkpoint,), None)
    sigma = initializer_range(checkpoint.config)
    if progress is not None:
        progress("tokenizer")
    census = take_census(checkpoint.vocabulary, max(e.n_rows for e in checkpoint.matrices), progress=progress)
    results = []
    for embedding in checkpoint.matrices:

        def tell(stage: str, tensor: str = embedding.tensor) -> None:
            if progress is not None:
                progress(f"{tensor}: {stage}")

        # Hashing the bytes releases the interpreter: it runs beside the analysis on a second core.
        with ThreadPoolExecutor(1) as beside:
            hashing = beside.submit(getattr, embedding, "sha256")
            results.append(_scan_matrix(embedding, census, sigma, tell))
            tell("sha256")
            hashing.result()
    return Scan(checkpoint, tuple(results), census, sigma)


def _scan_matrix(embedding: Embedding, census: Census, sigma: float | None, tell: Progress) -> MatrixScan:
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
    lattice = None
    if len(holes):
        tell("lattice")
        lattice = survey_blocks(embedding, holes) if embedding.is_quantised else summarise_lattice(embedding, holes)
    tell("causes")
    in_hole, causes = measure_production(census, in_holes(holes)), explain_groups(embedding, holes, census)
    return MatrixScan(embedding, holes, equal_values, bits, geometry, lattice, in_hole, causes, expected)
