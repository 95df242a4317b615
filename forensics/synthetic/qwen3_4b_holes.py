"""The rows of the 13 black holes: the published words where they are known, the rest fitted to the figures."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from forensics.formats import BFLOAT16, Words
from forensics.synthetic.qwen3_4b_published import Published

ONE = 1 << BFLOAT16.mantissa_bits
"""Mantissa steps in a binade."""


def plant_holes(said: Published, dim: int, rng: np.random.Generator) -> Words:
    """The holes' rows, ``uint16[13, dim]``, in the published order.

    They differ on the varying dimensions alone and share every exponent. Hole 1 has the published exponent
    histogram (by its quantiles, at fewer dimensions), share of positive numbers and norm.
    """
    positions = said.varying_positions(dim)
    words, exponents = _known(said, dim, positions)
    free = words == 0
    exponents[exponents == 0] = _remaining_exponents(said, exponents, rng)
    signs = _signs(words, free, round(said.positive_share * dim), rng)
    fixed_square = float((BFLOAT16.widen(words).astype(np.float64) ** 2).sum())
    target = (said.hole_norm * said.scale(dim)) ** 2 - fixed_square
    mantissas = _fit_mantissas(exponents[free], target, rng.random(int(free.sum())))
    words[free] = BFLOAT16.join(signs[free], exponents[free], mantissas)
    holes = np.tile(words, (len(said.words), 1))
    holes[:, positions] = said.words
    return holes


def _known(said: Published, dim: int, positions: NDArray[np.int64]) -> tuple[Words, NDArray[np.int64]]:
    """Hole 1's published words and raw exponents, 0 where there is none."""
    words = np.zeros(dim, BFLOAT16.word_dtype)
    words[positions] = said.words[0]
    if dim == said.dim:
        # With fewer dimensions these large numbers would leave no room for others under a smaller norm.
        words[list(said.words_at)] = list(said.words_at.values())
    exponents = BFLOAT16.exponents(words).astype(np.int64)
    if dim == said.dim:
        exponents[list(said.exponents_at)] = list(said.exponents_at.values())
    return words, exponents


def _remaining_exponents(said: Published, known: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Exponents for the dimensions that have none yet (0), shuffled: quantiles of the histogram's remainder."""
    left = Counter(said.exponents.tolist()) - Counter(known[known > 0].tolist())
    remainder = np.array(sorted(left.elements()), dtype=np.int64)
    n = int((known == 0).sum())
    quantiles = ((np.arange(n) + 0.5) * len(remainder) / n).astype(np.int64)
    return rng.permutation(remainder[quantiles])


def _signs(words: Words, free: NDArray[np.bool_], n_positive: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sign bits with exactly ``n_positive`` clear, the known words' among them."""
    signs = BFLOAT16.split(words)[0].astype(np.int64)
    n_free, known_positive = int(free.sum()), int((signs[~free] == 0).sum())
    drawn = np.ones(n_free, np.int64)
    drawn[: n_positive - known_positive] = 0
    signs[free] = rng.permutation(drawn)
    return signs


def _fit_mantissas(exponents: NDArray[np.int64], target: float, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Mantissas that bring the sum of squares to ``target``: uniforms to a power, then single steps.

    The sum falls as the power grows, so the power is found by bisection; what remains is less than a few
    steps and is worked off by the step, of all dimensions', that leaves the least.
    """
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        if _square(exponents, _mantissas(uniforms, middle)) > target:
            low = middle
        else:
            high = middle
    mantissas = _mantissas(uniforms, high)
    while True:
        missing = target - _square(exponents, mantissas)
        change, dim, step = min(
            (abs(missing - gain[d]), d, step)
            for step in (1, -1)
            for gain in [_gains(exponents, mantissas, step)]
            for d in [int(np.argmin(np.abs(missing - gain)))]
        )
        if change >= abs(missing):
            return mantissas
        mantissas[dim] += step


def _mantissas(uniforms: NDArray[np.float64], log2_power: float) -> NDArray[np.int64]:
    return np.floor(ONE * uniforms ** float(2.0**log2_power)).astype(np.int64)


def _square(exponents: NDArray[np.int64], mantissas: NDArray[np.int64]) -> float:
    return float((np.ldexp(1 + mantissas / ONE, exponents - BFLOAT16.bias) ** 2).sum())


def _gains(exponents: NDArray[np.int64], mantissas: NDArray[np.int64], step: int) -> NDArray[np.float64]:
    """What one step of each mantissa adds to the sum of squares; infinite where it would leave the binade."""
    before, after = 1 + mantissas / ONE, 1 + (mantissas + step) / ONE
    gains = np.ldexp(after**2 - before**2, 2 * (exponents - BFLOAT16.bias))
    return np.where((mantissas + step < 0) | (mantissas + step >= ONE), np.inf, gains)
