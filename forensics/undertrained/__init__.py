"""Under-trained tokens: published indicators, the reference found from the bytes, candidates, the near-dead halo."""

from forensics.undertrained.candidates import Candidates, Flag, Rule, find_candidates
from forensics.undertrained.halo import Halo, HaloToken, find_halo
from forensics.undertrained.indicators import DEFINITIONS, Indicators, measure_indicators
from forensics.undertrained.reference import Reference, SourceUse, find_reference

__all__ = [
    "DEFINITIONS",
    "Candidates",
    "Flag",
    "Halo",
    "HaloToken",
    "Indicators",
    "Reference",
    "Rule",
    "SourceUse",
    "find_candidates",
    "find_halo",
    "find_reference",
    "measure_indicators",
]
