"""What made a group of equal or nearly equal rows: the benign makers, told apart by what each leaves in the bits."""

from forensics.causes.classify import classify_causes
from forensics.causes.result import CAUSES, Causes, Evidence, ExplainedGroup, Finding

__all__ = ["CAUSES", "Causes", "Evidence", "ExplainedGroup", "Finding", "classify_causes"]
