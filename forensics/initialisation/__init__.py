"""Every initial distribution of an embedding matrix, in numpy.

The toy trainer, the planted checkpoints and the hypotheses draw from here, so that the same name means the same
arithmetic and the same roundings everywhere.
"""

from forensics.initialisation.distributions import (
    INITIALISATIONS,
    Ball,
    FromFile,
    Initialisation,
    Laplace,
    MeanResized,
    Normal,
    Point,
    PointNoise,
    Shell,
    Zeros,
)
from forensics.initialisation.drawing import draw

__all__ = [
    "INITIALISATIONS",
    "Ball",
    "FromFile",
    "Initialisation",
    "Laplace",
    "MeanResized",
    "Normal",
    "Point",
    "PointNoise",
    "Shell",
    "Zeros",
    "draw",
]
