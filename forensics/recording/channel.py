"""One recorded quantity: the shape and number type of its frames, its unit, its definition, its tokens."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forensics.errors import RecordingError
from forensics.formats import float_format

DTYPES = ("uint8", "uint16", "uint32", "int32", "int64", "float32", "float64")
"""Number types that a frame may be stored in; words are unsigned."""

# A channel is a folder: the name must mean the same on every file system.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """One recorded quantity.

    Attributes:
        name: letters, digits and underscores.
        shape: of one frame; () for a single number.
        dtype: the numpy name of what is stored, one of :data:`DTYPES`.
        format: the number format whose words are stored, such as "bfloat16"; None where numbers are stored.
        unit: of the numbers, such as "nats" or "ulp".
        definition: the set, the frame and the formula, in a sentence.
        token_ids: ``int64[n]``, ascending, where axis 0 of a frame runs over these tokens; else None.

    Raises:
        RecordingError: a field that is none of these, or that contradicts another.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    format: str | None = None
    unit: str = ""
    definition: str = ""
    token_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise RecordingError(f"a channel's name is letters, digits and _, found {self.name[:40]!r}")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if any(n < 1 for n in self.shape):
            raise RecordingError(f"channel {self.name}: a frame of shape {list(self.shape)} holds nothing")
        if self.dtype not in DTYPES:
            raise RecordingError(f"channel {self.name}: dtype is one of {', '.join(DTYPES)}, found {self.dtype!r}")
        if self.format is not None and float_format(self.format).word_dtype != np.dtype(self.dtype):
            raise RecordingError(f"channel {self.name}: {self.dtype} does not hold {self.format} words")
        if self.token_ids is not None:
            object.__setattr__(self, "token_ids", self._checked_ids(np.asarray(self.token_ids)))

    def __repr__(self) -> str:
        return f"Channel({self.name!r}, {list(self.shape)} {self.format or self.dtype})"

    def _checked_ids(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer) or ids.shape != self.shape[:1]:
            found = f"{ids.dtype}{list(ids.shape)}"
            raise RecordingError(f"channel {self.name}: token_ids name the rows of {list(self.shape)}, found {found}")
        if len(ids) and (ids[0] < 0 or np.any(ids[1:] <= ids[:-1])):
            raise RecordingError(f"channel {self.name}: token_ids do not ascend from 0 on")
        return ids.astype(np.int64)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame before compression."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    @property
    def covers(self) -> str:
        """The axes of a frame, for messages."""
        return f"{list(self.shape)} {self.dtype}"

    def row(self, token_id: int) -> int:
        """Where in a frame a token's numbers lie.

        Raises:
            RecordingError: the channel is not by token, or this token is not recorded.
        """
        if self.token_ids is None:
            raise RecordingError(f"channel {self.name} is not recorded by token, so it has no trajectory of one")
        at = int(np.searchsorted(self.token_ids, token_id))
        if at == len(self.token_ids) or self.token_ids[at] != token_id:
            near = ", ".join(f"{i}" for i in self.token_ids[max(0, at - 2) : at + 2])
            raise RecordingError(
                f"channel {self.name}: token {token_id} is not among the {len(self.token_ids):,} recorded tokens",
                hint=f"the nearest recorded ids are {near}",
            )
        return at

    def checked(self, frame: ArrayLike) -> NDArray[Any]:
        """A frame as an array.

        Raises:
            RecordingError: of another shape or dtype.
        """
        array = np.asarray(frame)
        if array.shape != self.shape or array.dtype != np.dtype(self.dtype):
            found = f"{list(array.shape)} {array.dtype}"
            raise RecordingError(f"channel {self.name}: a frame is {self.covers}, found {found}")
        return array

    def values(self, frames: NDArray[Any]) -> NDArray[Any]:
        """What stored frames mean as numbers: words widened exactly to float32, anything else as it is."""
        return frames if self.format is None else float_format(self.format).widen(frames)


def by_name(channels: Iterable[Channel]) -> dict[str, Channel]:
    """Channels by name.

    Raises:
        RecordingError: two have one name, or differ only in case (one folder, on some file systems).
    """
    found: dict[str, Channel] = {}
    for channel in channels:
        if channel.name.lower() in (name.lower() for name in found):
            raise RecordingError(f"channel {channel.name} is given twice (upper and lower case are one folder)")
        found[channel.name] = channel
    return found


def unknown(name: str, known: Iterable[str]) -> RecordingError:
    """The error for a channel that was not recorded, with the name that may be meant."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"it holds {', '.join(names) or 'no channel'}"
    return RecordingError(f"no channel {name[:40]!r} in this recording", hint=hint)
