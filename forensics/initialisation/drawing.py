"""Words drawn from a distribution, in blocks of rows, so that little is held beside them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forensics.errors import ConfigError
from forensics.formats import BFLOAT16, FloatFormat, Words
from forensics.initialisation.distributions import (
    Ball,
    FromFile,
    Initialisation,
    Laplace,
    MeanResized,
    Normal,
    Point,
    PointNoise,
    Shell,
    Zeros,
)
from forensics.initialisation.npy_file import read_words
from forensics.initialisation.resizing import append_rows
from forensics.initialisation.rounding import narrowed

Values = NDArray[np.float32]
Noise = Normal | PointNoise | Ball | Shell | Laplace

BLOCK = 1 << 18
"""Numbers in a block: 1 MB of float32 stays in a core's cache from the noise to the rounding."""


def draw(
    initialisation: Initialisation,
    rows: int,
    dim: int,
    fmt: FloatFormat,
    rng: np.random.Generator,
    *,
    anchor: NDArray[np.float32] | None = None,
) -> Words:
    """The words of a matrix drawn from a distribution.

    The same generator state gives the same words, whatever the block size. One state drawn into two formats gives the
    same float32 values before the rounding (but for mean-resized, whose last rows follow the stored ones).

    Args:
        initialisation: the distribution; its class has the formula.
        rows: number of rows, 1 or more.
        dim: numbers in a row, 1 or more.
        fmt: the stored format.
        rng: the generator, which is advanced: by a point's direction if no anchor is given, by a ball's radii, then by
            the noise, row after row.
        anchor: float32[dim], taken as it is. For point and point-noise it is the point, in place of a random direction
            times ``norm``; normal, ball, shell and Laplace noise is added to it in float32.

    Returns:
        ``uint[rows, dim]``, all of finite numbers.

    Raises:
        ConfigError: a matrix without rows or columns, as many new rows as rows, an anchor of another length or for a
            distribution without a centre, numbers beyond the format's largest, a file that does not hold the matrix.
    """
    if rows < 1 or dim < 1:
        raise ConfigError(f"a matrix of {rows} x {dim} cannot be drawn", hint="rows and dim are 1 or more")
    centre = None if anchor is None else _checked_anchor(anchor, dim, initialisation)
    if isinstance(initialisation, FromFile):
        return read_words(initialisation.path, rows, dim, fmt)
    words = np.zeros((rows, dim), fmt.word_dtype)
    match initialisation:
        case Zeros():
            pass
        case MeanResized():
            n_old = _old_rows(initialisation, rows)
            _fill(words[:n_old], Normal(sigma=initialisation.sigma), fmt, rng, None, initialisation.kind)
            append_rows(words, n_old, fmt, rng, scale=initialisation.covariance)
        case Point():
            row = _point(initialisation.norm, dim, rng) if centre is None else centre
            words[:] = narrowed(row, fmt, initialisation.kind)
        case PointNoise():
            centre = _point(initialisation.norm, dim, rng) if centre is None else centre
            _fill(words, initialisation, fmt, rng, centre, initialisation.kind)
        case _:
            _fill(words, initialisation, fmt, rng, centre, initialisation.kind)
    return words


def _fill(
    words: Words, noise: Noise, fmt: FloatFormat, rng: np.random.Generator, centre: Values | None, kind: str
) -> None:
    start = 0
    with np.errstate(over="ignore", invalid="ignore"):  # seen in the words
        for values in _noisy_rows(noise, len(words), words.shape[1], rng, centre):
            words[start : start + len(values)] = narrowed(values, fmt, kind)
            start += len(values)


def _noisy_rows(noise: Noise, rows: int, dim: int, rng: np.random.Generator, centre: Values | None) -> Iterator[Values]:
    """The float32 values of all rows, block by block."""
    radii = _radii(noise, rows, dim, rng)
    step = max(1, BLOCK // dim)
    for start in range(0, rows, step):
        shape = (min(step, rows - start), dim)
        if isinstance(noise, Laplace):
            values = rng.laplace(0.0, noise.scale, shape).astype(np.float32)
        else:
            values = rng.standard_normal(shape, dtype=np.float32)
        match noise:
            case Normal():
                values *= np.float32(noise.sigma)
                if noise.mean:
                    values += np.float32(noise.mean)
            case PointNoise(noise="bfloat16"):
                scaled = _in_bfloat16(_in_bfloat16(values) * np.float32(noise.sigma))
                yield _in_bfloat16(_in_bfloat16(np.asarray(centre)) + scaled)
                continue
            case PointNoise():
                values *= np.float32(noise.sigma)
            case Ball() | Shell():
                _scale_rows(values, radii[start : start + step])
        if centre is not None:
            values += centre
        yield values


def _radii(noise: Noise, rows: int, dim: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Each row's distance from the centre, where the distribution has one."""
    if isinstance(noise, Ball):
        return np.asarray(noise.radius * rng.random(rows) ** (1 / dim))
    return np.full(rows, noise.radius) if isinstance(noise, Shell) else np.empty(0)


def _scale_rows(z: Values, lengths: NDArray[np.float64]) -> None:
    """Gives each row of normal noise, whose direction is uniform, a length (Muller 1959)."""
    norms = np.sqrt(np.einsum("ij,ij->i", z, z, dtype=np.float64))
    empty = norms == 0  # a row of one number may be drawn as zero, which has no direction
    z[empty, 0] = norms[empty] = 1
    z *= (lengths / norms).astype(np.float32)[:, np.newaxis]


def _point(norm: float, dim: int, rng: np.random.Generator) -> Values:
    z: Values = rng.standard_normal((1, dim), dtype=np.float32)
    _scale_rows(z, np.array([norm]))
    return z.reshape(dim)


def _in_bfloat16(values: Values) -> Values:
    # A float32 sum or product of two bfloat16 numbers, rounded again, is theirs rounded once: 24 >= 2 * 8 + 2 bits
    # (Figueroa 1995, "When is double rounding innocuous?").
    return BFLOAT16.widen(BFLOAT16.narrow(values))


def _checked_anchor(anchor: NDArray[np.float32], dim: int, initialisation: Initialisation) -> Values:
    if isinstance(initialisation, Zeros | FromFile | MeanResized):
        raise ConfigError(f"initialisation {initialisation.kind!r} has no centre that an anchor could be")
    values = np.asarray(anchor)
    if values.shape != (dim,) or values.dtype != np.float32:
        raise ConfigError(f"an anchor is float32[{dim}], found {values.dtype}{list(values.shape)}")
    if not np.isfinite(values).all():
        raise ConfigError("an anchor holds finite numbers, found nan or infinity")
    return values


def _old_rows(law: MeanResized, rows: int) -> int:
    if law.new_rows >= rows:
        raise ConfigError(
            f"initialisation {law.kind!r}: new_rows is {law.new_rows} of {rows} rows", hint="keep an old row at least"
        )
    return rows - law.new_rows
