"""Real weights in: every checkpoint format comes down to named byte ranges of files."""

from forensics.checkpoint.checkpoint import Checkpoint, Contents, assemble
from forensics.checkpoint.disk import read_path
from forensics.checkpoint.package import find_in_package

__all__ = ["Checkpoint", "Contents", "assemble", "find_in_package", "read_path"]
