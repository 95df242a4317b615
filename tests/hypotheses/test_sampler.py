"""The sparse sampler against the whole matrix drawn: its law number by number, and what comes of it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from forensics.errors import HypothesisError
from forensics.formats import BFLOAT16, FLOAT16, FLOAT32, FORMATS
from forensics.hypotheses.founding import founding_context
from forensics.hypotheses.sampling import sampler
from forensics.hypotheses.sampling.anchors import anchor_values
from forensics.hypotheses.sampling.sampler import Noise, Sampler, normal_tail
from forensics.hypotheses.sampling.walk import walk
from forensics.initialisation import PointNoise, draw

SMALLEST_P = 1e-4
"""Seeds are fixed: a test of a law passes or fails for good."""

SIGMAS = (1.5e-9, 5e-9, 2e-8)
WORDS = st.integers(0, 2**16 - 1)


def finite_values(seed, fmt, dim=400):
    """Numbers whose words are any finite ones, moved a little off them; zeros of both signs among them."""
    rng = np.random.default_rng(seed)
    top = min(fmt.largest_finite, (1 << (fmt.bits - 1)) - 1)
    magnitudes = rng.integers(0, int(top * 0.9), dim, dtype=np.int64)
    words = (magnitudes | (rng.integers(0, 2, dim) << (fmt.bits - 1))).astype(fmt.word_dtype)
    values = fmt.widen(words) * (1 + rng.uniform(-1, 1, dim) * 2.0 ** -rng.integers(3, 25, dim)).astype(np.float32)
    values[:4] = (0.0, -0.0, values[4], -values[4])
    return values


def order(fmt, words):
    """Ranks that tell -0.0 from +0.0."""
    ordinals = fmt.ordinals(words)
    return np.where(words >> (fmt.bits - 1), ordinals - 1, ordinals)


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
@given(seed=st.integers(0, 2**32), exponent=st.integers(-60, 0))
def test_words_never_fall_as_the_noise_rises(fmt, arithmetic, seed, exponent):
    # What lets equal words at two ends prove that there is no other between them.
    u = finite_values(seed, fmt, 50)
    z = np.sort(np.random.default_rng(seed).standard_normal((64, 1)).astype(np.float32) * 4, axis=0)
    size = float(np.median(np.abs(u)))
    with np.errstate(over="ignore"):
        words = Noise(u, max(size, 1e-30) * 2.0**exponent, fmt, arithmetic).words(np.repeat(z, len(u), axis=1))
    finite = ((words & fmt.magnitude_mask) <= fmt.largest_finite).all(axis=0)
    assert (np.diff(order(fmt, words[:, finite]), axis=0) >= 0).all()


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
def test_one_number_s_arithmetic_is_the_one_of_draw(arithmetic):
    context, seed = founding_context(), 7
    u = anchor_values(context, "off", np.random.default_rng(0))
    theirs = draw(
        PointNoise(sigma=3e-8, noise=arithmetic), 40, context.dim, BFLOAT16, np.random.default_rng(seed), anchor=u
    )
    z = np.random.default_rng(seed).standard_normal((40, context.dim), dtype=np.float32)
    np.testing.assert_array_equal(Noise(u, 3e-8, BFLOAT16, arithmetic).words(z), theirs)


@pytest.mark.parametrize("sigma", [*SIGMAS, 1e-6])
@pytest.mark.parametrize("anchor", ["on", "off", "centroid"])
def test_dimensions_left_out_flip_at_no_noise_within_reach(sigma, anchor):
    context = founding_context()
    noise = Noise(anchor_values(context, anchor, np.random.default_rng(1)), sigma, BFLOAT16)
    drawn = Sampler(noise, context.n_rows)
    idle = np.setdiff1d(np.arange(context.dim), drawn.active)
    # 2 P(Z > reach) rows dim is the probability left out of a simulation.
    reach = stats.norm.isf(sampler.LEFT_OUT / (2 * context.n_rows * context.dim))
    for end in (-reach, reach):
        z = np.full(len(idle), end, np.float32)
        np.testing.assert_array_equal(noise.words(z, idle), drawn.row[idle])
    # Little more is drawn than can flip.
    wide = np.full(context.dim, 1.05 * reach, np.float32)
    assert (noise.words(wide) != noise.words(-wide))[drawn.active].all()


def word_law(u, sigma, fmt):
    """P(word) of b(f32(u + sigma Z)), every float32 sum enumerated: the sum is s where u + sigma Z lies between the
    midpoints around s. All differences are exact in float64; the product's rounding moves them by 2^-24 of themselves.
    """
    ends = FLOAT32.ordinals(FLOAT32.narrow(np.array([u - 9 * sigma, u + 9 * sigma], np.float32)))
    sums = FLOAT32.widen(FLOAT32.words_of(np.arange(ends[0], ends[1] + 1)))
    middles = (sums[1:].astype(float) + sums[:-1]) / 2
    below = special.ndtr((middles - float(u)) / sigma)
    chances = np.diff(np.concatenate([[0.0], below, [1.0]]))
    words, which = np.unique(fmt.narrow(sums), return_inverse=True)
    return dict(zip(words.tolist(), np.bincount(which, chances).tolist(), strict=True))


def chi_square_p(words, law):
    """Words of a dimension against their law; those expected fewer than five times are put together."""
    found = dict(zip(*(part.tolist() for part in np.unique(words, return_counts=True)), strict=True))
    assert set(found) <= set(law)
    n = len(words)
    common = [word for word, chance in law.items() if chance * n >= 5]
    rest = 1 - sum(law[word] for word in common)
    expected = [law[word] * n for word in common]
    counts = [found.get(word, 0) for word in common]
    if rest * n >= 1:
        expected.append(rest * n)
        counts.append(n - sum(counts))
    if len(expected) < 2:
        return float(stats.binom.cdf(sum(counts), n, min(1.0, law[common[0]])))
    return stats.chisquare(counts, np.array(expected) * (sum(counts) / sum(expected))).pvalue


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("anchor", ["on", "off", "centroid"])
def test_each_dimension_has_the_law_of_its_enumerated_sums(sigma, anchor):
    context = founding_context()
    u = anchor_values(context, anchor, np.random.default_rng(2))
    drawn = Sampler(Noise(u, sigma, BFLOAT16), 200_000)
    # The coarsest first: the finest numbers have millions of float32 sums.
    few = sorted(drawn.active, key=lambda d: -abs(u[d]))[:40]
    few = sorted(d for d in few if 18 * sigma / np.spacing(np.abs(u[d])) < 6_000_000)
    columns = np.searchsorted(drawn.active, few)
    words = drawn.draw(200_000, np.random.default_rng(3))[:, columns]
    p = [chi_square_p(words[:, i], word_law(u[d], sigma, BFLOAT16)) for i, d in enumerate(few)]
    assert len(p) >= min(len(drawn.active), 3)
    assert all(x > SMALLEST_P / len(p) for x in p)
    assert sum(x < 0.05 for x in p) <= stats.binom.isf(1e-4, len(p), 0.05)


@pytest.mark.parametrize(("fmt", "sigma"), [(FLOAT16, 1e-7), (FLOAT32, 1e-9)], ids=str)
def test_other_formats_have_the_same_law(fmt, sigma):
    u = (np.random.default_rng(4).standard_normal(60) * 0.007).astype(np.float32)
    drawn = Sampler(Noise(u, sigma, fmt), 20_000)
    words = drawn.draw(20_000, np.random.default_rng(5))
    p = [
        chi_square_p(words[:, i], word_law(u[d], sigma, fmt))
        for i, d in enumerate(drawn.active)
        if 18 * sigma / np.spacing(np.abs(u[d])) < 20_000
    ]
    assert len(p) > 5
    assert min(p) > SMALLEST_P / len(p)


def counts(words):
    populations = np.unique(words.view([("", words.dtype)] * words.shape[1]), return_counts=True)[1]
    return len(populations), (populations > 1).sum(), populations.max()


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("anchor", ["on", "off", "centroid"])
@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
def test_holes_are_those_of_the_matrix_drawn_in_full(sigma, anchor, arithmetic):
    context = founding_context()
    u = anchor_values(context, anchor, np.random.default_rng(6))
    # All that can flip and some that cannot: fewer dimensions to draw in full.
    keep = np.unique(np.concatenate([Sampler(Noise(u, sigma, BFLOAT16), 2221).active, np.arange(0, 2560, 40)]))
    u, rng = u[keep], np.random.default_rng(8)
    drawn = Sampler(Noise(u, sigma, BFLOAT16, arithmetic), 800)
    law = PointNoise(sigma=sigma, noise=arithmetic)
    ours, theirs = [], []
    for _ in range(25):
        words = drawn.draw(800, rng)
        ours.append(counts(words) if words.shape[1] else (1, 1, 800))
        theirs.append(counts(draw(law, 800, len(u), BFLOAT16, rng, anchor=u)))
    for a, b in zip(np.transpose(ours), np.transpose(theirs), strict=True):
        assert len(set(a) | set(b)) == 1 or stats.mannwhitneyu(a, b).pvalue > SMALLEST_P
        assert stats.ks_2samp(a, b).pvalue > SMALLEST_P


def test_the_same_state_draws_the_same_words():
    noise = Noise(founding_context().centroid, 5e-9, BFLOAT16)
    a, b = (Sampler(noise, 100).draw(100, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_noise_beyond_the_largest_number_is_refused():
    with pytest.raises(HypothesisError, match="beyond the largest number of float16"):
        Sampler(Noise(np.full(4, 60_000, np.float32), 1e3, FLOAT16), 10)


@pytest.mark.parametrize("cut", [0.5, 2.0, 3.5])
def test_a_tail_is_the_normal_law_s(cut):
    x = normal_tail(cut, 20_000, np.random.default_rng(1))
    assert len(x) == 20_000
    assert stats.kstest(x, lambda v: 1 - stats.norm.sf(v) / stats.norm.sf(cut)).pvalue > SMALLEST_P


def test_tails_are_placed_as_often_as_they_occur_and_nowhere_twice():
    rng, cells = np.random.default_rng(2), []
    for _ in range(300):
        rows, columns, z = sampler._tail_noise(50, 20, 2.0, rng)
        assert len(np.unique(rows * 20 + columns)) == len(rows) == len(z)
        assert (np.abs(z) >= 2).all()
        cells.append(np.bincount(rows * 20 + columns, minlength=1000))
        assert sampler._tail_noise(50, 0, 2.0, rng)[0].shape == (0,)
    total = np.sum(cells, axis=0)
    expected = 300 * math.erfc(2 / math.sqrt(2))
    assert abs(total.sum() - 1000 * expected) < 4 * math.sqrt(1000 * expected)
    assert stats.chisquare(total).pvalue > SMALLEST_P


@pytest.mark.parametrize("fmt", [BFLOAT16, FLOAT16, FLOAT32], ids=lambda f: f.name)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40), exponent=st.integers(-14, 2))
def test_a_walk_is_word_for_word_the_plain_loop(fmt, seed, steps, exponent):
    rng = np.random.default_rng(seed)
    n, dim = 30, int(rng.integers(1, 300))
    start = fmt.narrow((rng.standard_normal((n, dim)) * 2.0**exponent).astype(np.float32))
    start[:2] = start[2]
    shifts = [(0.9**t * rng.standard_normal(dim)).astype(np.float32) for t in range(steps)]
    words = start.copy()
    for shift in shifts:
        words = fmt.narrow(fmt.widen(words) + shift)
    np.testing.assert_array_equal(walk(start, shifts, fmt), words)
