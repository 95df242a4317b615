"""How a channel's frames lie in a folder, in words and in numbers.

A recording is a folder with a Zarr v3 group: one array ``[steps, *shape]`` a channel (in a folder of its name),
arrays of token ids under ``token_ids/``, and in the group's attributes the run's config. ``frames.json`` says
which steps the frames of each channel are of, as runs of (first step, stride, count); it is replaced, whole, after
the frames that it counts, so that what it counts is there. ``tokenizer.json`` lies beside it if the run had one.

Frames of words are stored as differences (:mod:`.differences`) within each stretch of ``frames_per_chunk`` frames
(an attribute of the array). With zarr alone::

    z = zarr.open("run/W")[:]                               # frames of one chunk: z[i*n : (i+1)*n]
    d = (z >> 1) ^ -(z & 1); d[0] = z[0]                    # uint16; the chunk's first frame is stored as it is
    words = np.cumsum(d, axis=0, dtype=z.dtype)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from forensics.recording.channel import Channel

SCHEMA = "forensics.recording/1"

ENCODING = "zigzag differences along axis 0 within each frames_per_chunk frames, the first as it is, modulo 2^bits"
"""The attribute of an array of words; "as it is" for other arrays."""

SMALL_FRAME = 1 << 16
"""Bytes of a frame from which a chunk is sharded: below, a chunk is small enough to be read whole."""

_LARGE_CHUNK = 64 << 20
_SMALL_CHUNK = 256 << 10
# Both sides of it were measured on 2,000 steps of bf16 Adam, 3,988 x 128: 32 frames store 3 % less of raw and read
# a step in twice the time; a block of half the bytes reads a step slower and a trajectory faster.
_FRAMES = 16
_BLOCK = 512 << 10


@dataclass(frozen=True, slots=True)
class Layout:
    """The chunking of one channel.

    Attributes:
        frames: in a chunk: what is held in memory while it is written, and what a kill can cost.
        rows: of a frame in an inner block, where chunks are shards; None where a chunk is one block.
    """

    frames: int
    rows: int | None

    def spans(self, n: int) -> Iterator[tuple[int, int]]:
        """The chunks' ranges of ``n`` frames."""
        for start in range(0, n, self.frames):
            yield start, min(start + self.frames, n)


def layout_of(channel: Channel) -> Layout:
    """The chunking for a channel's frames."""
    size = channel.frame_bytes
    if size < SMALL_FRAME or not channel.shape:
        return Layout(max(_FRAMES, min(_SMALL_CHUNK // size, 1024)), None)
    frames = max(4, min(_LARGE_CHUNK // size, _FRAMES))
    row_bytes = size // channel.shape[0]
    return Layout(frames, max(1, min(_BLOCK // (frames * row_bytes), channel.shape[0])))
