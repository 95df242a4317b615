"""The scan of a checkpoint's embedding matrices, and what it found."""

from forensics.scanning.result import SCHEMA, MatrixScan, Scan
from forensics.scanning.run import scan

__all__ = ["SCHEMA", "MatrixScan", "Scan", "scan"]
