"""Recordings in memory whose rows hop on the lattice as planned."""

import numpy as np

from forensics.formats import BFLOAT16
from forensics.recording import Channel, Recording

BASE = 0x3C90
"""The word of 0.017578125: eight steps below, and more above, lie in its binade, so that a step is one ulp."""


def hopping(moves, dead_ids, *, base=BASE, steps=None, token_ids=None):
    """A recording of W; ``moves`` are ordinal steps ``[T - 1, rows, D]``, from words ``base`` (a number or rows)."""
    moves = np.asarray(moves)
    start = np.broadcast_to(base, (1, *moves.shape[1:]))
    return recorded(BFLOAT16.words_of(np.cumsum(np.concatenate([start, moves]), axis=0)), dead_ids, steps, token_ids)


def recorded(words, dead_ids, steps=None, token_ids=None):
    """A recording of W, words ``uint16[T, rows, D]`` of bfloat16."""
    words = np.asarray(words, np.uint16)
    steps = range(len(words)) if steps is None else steps
    ids = np.arange(words.shape[1]) if token_ids is None else np.asarray(token_ids)
    channel = Channel("W", words.shape[1:], "uint16", "bfloat16", token_ids=ids)
    frames = [(step, {"W": frame}) for step, frame in zip(steps, words, strict=True)]
    return Recording.from_frames({}, [channel], frames, vocab_size=int(ids.max()) + 1, dead_ids=dead_ids)


def one_coordinate(hops, dim=4):
    """Moves ``[T - 1, rows, dim]`` of the first coordinate alone, from ``hops[T - 1, rows]``."""
    moves = np.zeros((*np.shape(hops), dim), np.int64)
    moves[..., 0] = hops
    return moves
