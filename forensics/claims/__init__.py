"""Published observations as data, and whether they hold of a checkpoint or a recorded run."""

from forensics.claims.check import check_claims
from forensics.claims.claim import Claim, Rival
from forensics.claims.file import find_claims, load_claims, read_claims, shipped_claims, shipped_names
from forensics.claims.parse import ClaimsFile, parse_claims
from forensics.claims.result import SCHEMA, ClaimResult, Claims
from forensics.claims.subject import Subject, open_run_subject

__all__ = [
    "SCHEMA",
    "Claim",
    "ClaimResult",
    "Claims",
    "ClaimsFile",
    "Rival",
    "Subject",
    "check_claims",
    "find_claims",
    "load_claims",
    "open_run_subject",
    "parse_claims",
    "read_claims",
    "shipped_claims",
    "shipped_names",
]
