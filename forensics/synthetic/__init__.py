"""Planted checkpoints with a known truth.

``plant(name)`` gives a named one, ``plant_groups`` a random matrix with chosen groups of equal rows; both
return a :class:`Planted`, which streams its matrix, holds it in memory or writes it as a checkpoint folder.
"""

from forensics.synthetic.catalogue import PLANTED, SOURCE_ROWS, plant
from forensics.synthetic.groups import plant_groups, plant_healthy
from forensics.synthetic.planted import Planted
from forensics.synthetic.qwen3_4b import plant_qwen3_4b

__all__ = ["PLANTED", "SOURCE_ROWS", "Planted", "plant", "plant_groups", "plant_healthy", "plant_qwen3_4b"]
