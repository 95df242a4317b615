"""Clouds of drawn rows in a subject's stored format, quantised formats included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forensics.errors import HypothesisError
from forensics.formats import BFLOAT16, BlockFormat, FloatFormat, TensorFormat, Words
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.sampling.sampler import Noise, Sampler

Values = NDArray[np.float32]

NOTHING = 1e-30
"""Numbers taken as zero in a quantised block."""


def drawn_format(fmt: TensorFormat) -> FloatFormat:
    """The format that rows are made in: a quantised file is made from bfloat16 rows."""
    return fmt if isinstance(fmt, FloatFormat) else BFLOAT16


def noisy_cloud(
    context: Context, centre: Values, sigma: float, rng: np.random.Generator, *, arithmetic: str = "float32"
) -> Cloud:
    """The dead rows as a point plus normal noise of their own.

    Args:
        context: rows, width and stored format.
        centre: ``float32[dim]``.
        sigma: standard deviation of the noise.
        rng: the generator, which is advanced.
        arithmetic: see :class:`forensics.hypotheses.sampling.sampler.Noise`.

    Raises:
        HypothesisError: numbers beyond the format's largest, or a quantised format that cannot be written.
    """
    sampler = Sampler(Noise(centre, sigma, drawn_format(context.format), arithmetic), context.n_rows)
    return cloud_on(context, sampler.row, sampler.active, sampler.draw(context.n_rows, rng))


def cloud_on(
    context: Context, row: Words, active: NDArray[np.int64], words: Words, token_ids: NDArray[np.int64] | None = None
) -> Cloud:
    """The cloud of rows that equal ``row`` but on ``active``, words of the drawn format, stored as the subject is."""
    fmt = drawn_format(context.format)
    return stored(context, Cloud.from_active(row, active, words, fmt, context.dim, token_ids))


def one_row(context: Context, row: Words, token_ids: NDArray[np.int64] | None = None) -> Cloud:
    """The cloud of one row of the drawn format that every dead token holds."""
    nothing = np.empty((context.n_rows, 0), row.dtype)
    return cloud_on(context, row, np.empty(0, np.int64), nothing, token_ids)


def cloud_of(context: Context, rows: Words, token_ids: NDArray[np.int64] | None = None) -> Cloud:
    """The cloud of rows of the drawn format's words, ``uint[n, dim]``, stored as the subject is."""
    return stored(context, Cloud.from_rows(rows, drawn_format(context.format), context.dim, token_ids))


def stored(context: Context, cloud: Cloud) -> Cloud:
    """The cloud in the subject's format: as it is, or quantised.

    Raises:
        HypothesisError: the gguf package cannot write that format.
    """
    fmt = context.format
    if isinstance(fmt, FloatFormat):
        return cloud
    blocks = quantised(cloud.distinct_values(), fmt)
    return Cloud.from_rows(blocks[cloud.pattern_of], fmt, cloud.dim, cloud.token_ids)


def quantised(values: Values, fmt: BlockFormat) -> NDArray[np.uint8]:
    """The stored blocks of rows, ``uint8[rows, row_bytes]``, as llama.cpp's converter writes them.

    Raises:
        HypothesisError: the gguf package cannot write that format.
    """
    from gguf.constants import GGMLQuantizationType  # 0.2 s, for quantised files only
    from gguf.quants import quantize

    # Below it float16 scales are zero, and 1 / scale would overflow in float32, which leaves the codes undefined.
    values = np.where(np.abs(values) < NOTHING, np.float32(0), values)
    try:
        return np.asarray(quantize(values, GGMLQuantizationType(fmt.code)), np.uint8)
    except NotImplementedError as error:
        raise HypothesisError(
            f"rows cannot be simulated in {fmt.name}: the installed gguf package cannot write it",
            hint="take the checkpoint in its float format, or in Q8_0",
        ) from error


def unwritable(context: Context) -> str | None:
    """Why rows cannot be stored in the subject's format, or None: an obstacle of every hypothesis."""
    if isinstance(context.format, FloatFormat):
        return None
    try:
        quantised(np.zeros((1, context.format.block_values), np.float32), context.format)
    except HypothesisError as error:
        return error.message
    return None


def with_live(context: Context) -> str | None:
    """Why the live rows' law cannot be drawn from, or None."""
    return "the live rows' mean and covariance were not measured" if context.live is None else unwritable(context)
