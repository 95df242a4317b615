"""A real model set beside training recordings: what the toy reproduces, and what it does not."""

from __future__ import annotations

from forensics.comparison.result import Comparison
from forensics.comparison.run import compare

__all__ = ["Comparison", "compare"]
