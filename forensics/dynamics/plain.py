"""Numbers as JSON can hold them, and what a question needs as --record names it."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from forensics.recording import Recording


def number(value: Any) -> float | None:
    """A finite number, or None."""
    found = float(value)
    return found if math.isfinite(found) else None


def listed(values: NDArray[Any]) -> list[float | None]:
    """A series as a list of them."""
    return [number(value) for value in values]


def require_record(recording: Recording, record: str, *channels: str) -> None:
    """Makes sure that the channels of one ``--record`` name are there.

    Raises:
        RecordingError: some are not; it names what to record, which is not the channel's own name.
    """
    if {*channels} - {channel.name for channel in recording.channels}:
        recording.require(record)
        recording.require(*channels)
