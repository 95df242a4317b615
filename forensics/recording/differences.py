"""Words stored as zigzag differences along time: a small step is a small number, so that it compresses.

With words u_t of w bits in a chunk, u_0 is stored as it is and frame t >= 1 as z(u_t - u_(t-1) mod 2^w), where
z(d) = 2d for 0 <= d < 2^(w-1) and 2(2^w - d) - 1 above (a step down), so that the high bits of a small step are
zero whatever its direction. Exact: integers modulo 2^w.

References:
    Zigzag: Protocol Buffers, "Encoding", signed integers. That neighbouring words of one sign differ by few steps
    is the monotonicity of IEEE 754 words within a sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode(words: NDArray[Any]) -> NDArray[Any]:
    """Differences of ``uint[steps, ...]`` words of a chunk; the first frame as it is."""
    stored = np.empty_like(words)
    stored[0] = words[0]
    top = words.dtype.itemsize * 8 - 1
    # Frame by frame: two frames stay in the cache, a whole chunk would not.
    for t in range(1, len(words)):
        difference = words[t] - words[t - 1]
        np.bitwise_xor(difference << 1, -(difference >> top), out=stored[t])
    return stored


def decode(stored: NDArray[Any]) -> NDArray[Any]:
    """The words of a chunk's first frames from their differences, ``uint[steps, ...]``."""
    words = np.empty_like(stored)
    words[0] = stored[0]
    for t in range(1, len(stored)):
        np.add(words[t - 1], _difference(stored[t]), out=words[t])
    return words


def decode_last(stored: NDArray[Any]) -> NDArray[Any]:
    """The last frame of :func:`decode`, ``uint[...]``, in the memory of one frame."""
    word = np.array(stored[0])
    for zigzag in stored[1:]:
        word += _difference(zigzag)
    return word


def _difference(zigzag: NDArray[Any]) -> NDArray[Any]:
    return np.asarray((zigzag >> 1) ^ -(zigzag & 1))
