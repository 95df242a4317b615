"""Lattice-cell coordinates: ordinals, distances, selections, neighbour graph, extents."""

from forensics.lattice.blocks import BlockSurvey, survey_blocks
from forensics.lattice.summary import LatticeSummary, summarise_lattice
from forensics.lattice.survey import DEFAULT, LatticeSurvey, survey_lattice

__all__ = [
    "DEFAULT",
    "BlockSurvey",
    "LatticeSummary",
    "LatticeSurvey",
    "summarise_lattice",
    "survey_blocks",
    "survey_lattice",
]
