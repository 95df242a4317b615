"""Two matrices row by row: what changed, by how much, and what became of the black holes."""

from forensics.diff.claim import claim
from forensics.diff.holes import HoleFate
from forensics.diff.pairing import Pairing, pair_by_id
from forensics.diff.result import MatrixDiff, diff_embeddings
from forensics.diff.rows import STATES, RowChanges
from forensics.diff.scaling import Scaling

__all__ = [
    "STATES",
    "HoleFate",
    "MatrixDiff",
    "Pairing",
    "RowChanges",
    "Scaling",
    "claim",
    "diff_embeddings",
    "pair_by_id",
]
