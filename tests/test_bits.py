"""The census against brute force over other libraries' predicates; the offset against scipy and brute force."""

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from forensics.bits import BitCensus, census_bits, compare_hole_exponents, exponent_offset
from forensics.black_holes import find_black_holes
from forensics.embedding import Embedding
from forensics.errors import FormatError
from forensics.formats import BFLOAT16, CLASSES, FLOAT8_E4M3FN, FLOAT16, FLOAT32, FORMATS, BlockFormat

NUMPY = {
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
    "float32": np.float32,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
Q8_0 = BlockFormat("Q8_0", 8, 32, 34)

each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)


def embed(fmt, words):
    words = np.ascontiguousarray(words, fmt.word_dtype)
    return Embedding(words.view(np.uint8), fmt, words.shape[1])


def census(fmt, words):
    """The three censuses, with the holes found from the same words."""
    embedding = embed(fmt, words)
    return census_bits(embedding, find_black_holes(embedding))


def special_words(fmt):
    """Both signs of zero, the subnormals' ends, one, the largest, infinity or the top word, and nans."""
    one = fmt.bias << fmt.mantissa_bits
    normal = 1 << fmt.mantissa_bits
    chosen = [0, 1, normal - 1, normal, one, fmt.largest_finite, fmt.largest_finite + 1, fmt.magnitude_mask]
    chosen = np.array(chosen, np.uint64)
    return np.concatenate([chosen, chosen | np.uint64(1 << (fmt.bits - 1))]).astype(fmt.word_dtype)


def random_words(fmt, rows, dim, seed):
    words = np.random.default_rng(seed).integers(0, 1 << fmt.bits, (rows, dim), dtype=np.uint64)
    return words.astype(fmt.word_dtype)


def brute(fmt, words):
    """Counts from the values that another library gives, and from the bytes' binary digits."""
    with np.errstate(invalid="ignore"):
        x = words.reshape(-1).view(NUMPY[fmt.name]).astype(np.float64)
    tiny = float(ml_dtypes.finfo(NUMPY[fmt.name]).smallest_normal)
    finite = np.isfinite(x)
    zero, subnormal = x == 0, (np.abs(x) < tiny) & (x != 0)
    classes = [zero, subnormal, finite & (np.abs(x) >= tiny), np.isinf(x), np.isnan(x)]
    # frexp gives x = m 2^e with m in [0.5, 1): a normal number's raw exponent is e - 1 + bias.
    _, power = np.frexp(x[finite & ~zero])
    raw = np.where(subnormal[finite & ~zero], 0, power - 1 + fmt.bias)
    digits = np.unpackbits(words.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little")
    sign = int(digits[:, -1].sum())
    return {
        "classes": [int(c.sum()) for c in classes],
        "signs": [len(x) - sign, sign],
        "exponents": np.bincount(raw.astype(int), minlength=fmt.n_exponents).tolist(),
        "mantissa_ones": digits[:, : fmt.mantissa_bits].sum(axis=0, dtype=int).tolist(),
    }


def counts_of(census):
    return {name: getattr(census, name).tolist() for name in ("classes", "signs", "exponents", "mantissa_ones")}


# The census


@each_format
def test_the_census_of_random_and_special_words_with_holes(fmt):
    words = random_words(fmt, 60, 16, 1)
    words[40] = special_words(fmt)
    words[[3, 9, 27]] = words[3]
    words[[5, 6]] = words[40]  # a hole with nan, infinity, zeros: every class
    words[[10, 11, 12, 13]] = 0  # a zero hole: not in-hole
    words[[20, 21]] = 1 << (fmt.bits - 1)  # of minus zeros: a zero hole, too
    everything, inside, rest = census(fmt, words)
    in_hole = [3, 9, 27, 5, 6, 40]
    assert counts_of(everything) == brute(fmt, words)
    assert counts_of(inside) == brute(fmt, words[in_hole])
    assert counts_of(rest) == brute(fmt, np.delete(words, in_hole, axis=0))
    assert [c.population for c in (everything, inside, rest)] == ["all", "in-hole", "rest"]
    assert [c.n_elements for c in (everything, inside, rest)] == [960, 96, 864]
    assert all(type(n) is int for n in everything.to_dict()["mantissa_ones"])


@pytest.mark.parametrize("fmt", [f for f in FORMATS.values() if f.bits <= 16], ids=lambda f: f.name)
def test_the_census_of_every_word(fmt):
    words = np.arange(1 << fmt.bits, dtype=fmt.word_dtype).reshape(-1, 16)
    everything, inside, rest = census(fmt, words)
    assert counts_of(everything) == brute(fmt, words) == counts_of(rest)
    assert inside.n_elements == 0
    half = 1 << (fmt.bits - 1)
    assert everything.signs.tolist() == [half, half]
    assert set(everything.mantissa_ones) == {half}


def test_the_census_of_a_matrix_of_more_than_one_block():
    words = random_words(BFLOAT16, 1500, 512, 6)
    words[100:130] = words[7]
    everything, inside, rest = census(BFLOAT16, words)
    members = [7, *range(100, 130)]
    assert counts_of(everything) == brute(BFLOAT16, words)
    assert counts_of(inside) == brute(BFLOAT16, words[members])
    assert counts_of(rest) == brute(BFLOAT16, np.delete(words, members, axis=0))


@each_format
@settings(max_examples=40)
@given(data=st.data())
def test_any_small_matrix(fmt, data):
    few = st.sampled_from(special_words(fmt).tolist())
    rows, dim = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 3))
    numbers = data.draw(st.lists(few, min_size=rows * dim, max_size=rows * dim))
    words = np.array(numbers, np.uint64).astype(fmt.word_dtype).reshape(rows, dim)
    everything, inside, rest = census(fmt, words)
    found = find_black_holes(embed(fmt, words))
    in_hole = np.concatenate([[], *(h.token_ids for h in found.holes if not h.is_zero)]).astype(int)
    assert counts_of(everything) == brute(fmt, words)
    assert counts_of(inside) == brute(fmt, words[in_hole])
    assert counts_of(rest) == brute(fmt, np.delete(words, in_hole, axis=0))


@each_format
def test_rest_and_in_hole_add_up_to_all(fmt):
    words = random_words(fmt, 30, 8, 2)
    words[[1, 2]], words[[4, 5, 6]] = words[1], 0
    everything, inside, rest = (counts_of(c) for c in census(fmt, words))
    for name, total in everything.items():
        assert (np.array(inside[name]) + rest[name]).tolist() == total


def test_mode_and_mean_are_over_finite_numbers_that_are_not_zero():
    one, half, nan = 0x3F80, 0x3F00, 0x7FC0
    everything, *_ = census(BFLOAT16, [[one, one, half, 0, nan, 0x7F80, 0x8000, 1]])
    assert everything.mode == 127
    assert everything.mean == (127 + 127 + 126 + 0) / 4
    assert everything.to_dict()["histogram"] == {"0": 1, "126": 1, "127": 2}


def test_the_lowest_of_equally_frequent_exponents_is_the_mode():
    assert census(BFLOAT16, [[0x4000, 0x3F00, 0x3F80]])[0].mode == 126


def test_nothing_finite_has_no_mode_and_no_mean():
    everything, inside, _ = census(FLOAT16, [[0, 0x8000, 0x7C00, 0x7E00]])
    assert (everything.mode, everything.mean) == (None, None)
    assert (inside.mode, inside.mean, inside.n_elements) == (None, None, 0)


def test_the_dictionary_is_plain_and_names_the_classes():
    result = census(FLOAT8_E4M3FN, [[0x00, 0x81, 0x38, 0x7F]])[0].to_dict()
    assert result["elements"] == 4
    assert result["classes"] == dict(zip(CLASSES, [1, 1, 1, 0, 1], strict=True))
    assert result["signs"] == {"positive": 3, "negative": 1}
    assert result["mantissa_ones"] == [2, 1, 1]
    assert result["mode"] == 0
    assert result["mean"] == 3.5


def test_a_quantised_matrix_has_no_bits_to_count():
    embedding = Embedding(np.zeros((2, 34), np.uint8), Q8_0, 32)
    holes = find_black_holes(embedding)
    with pytest.raises(FormatError, match="no words"):
        census_bits(embedding, holes)


# Unused mantissa bits


def test_bfloat16_numbers_kept_as_float32_leave_16_bits_unused():
    words = random_words(BFLOAT16, 20, 8, 3).astype(np.uint32) << 16
    everything, _, rest = census(FLOAT32, words)
    assert everything.unused_mantissa_bits == rest.unused_mantissa_bits == 16
    words[7, 3] |= 1 << 5
    assert census(FLOAT32, words)[0].unused_mantissa_bits == 5


@pytest.mark.parametrize("bit", range(23))
def test_the_lowest_bit_set_anywhere_ends_the_unused_ones(bit):
    words = np.full((4, 4), 0x3F800000, np.uint32)
    words[2, 1] |= 1 << bit
    assert census(FLOAT32, words)[0].unused_mantissa_bits == bit


@each_format
def test_powers_of_two_use_no_mantissa_bit(fmt):
    words = (np.arange(1, 9).reshape(2, 4) << fmt.mantissa_bits).astype(fmt.word_dtype)
    assert census(fmt, words)[0].unused_mantissa_bits == fmt.mantissa_bits


# The offset between two histograms


def of_histogram(counts, fmt=BFLOAT16):
    """A census that has this histogram of exponents and nothing else."""
    exponents = np.zeros(fmt.n_exponents, np.int64)
    exponents[: len(counts)] = counts
    nothing = np.zeros(5, np.int64)
    return BitCensus("some", fmt, nothing, nothing[:2], exponents, np.zeros(fmt.mantissa_bits, np.int64))


def w1(first, second, shift=0.0):
    bins = np.arange(len(first))
    return wasserstein_distance(bins, bins + shift, first, second)


histograms = st.lists(st.integers(0, 40), min_size=12, max_size=12).filter(any)


@given(histograms, histograms)
@example([1] + [0] * 11, [0] * 11 + [10**6])
@example([3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3])
def test_the_offset_is_the_best_shift_of_all(first, second):
    offset = exponent_offset(of_histogram(first), of_histogram(second))
    assert offset.distance == pytest.approx(w1(first, second), abs=1e-9)
    assert offset.distance_after_shift == pytest.approx(w1(first, second, offset.shift), abs=1e-9)
    for shift in np.arange(-14, 14.01, 0.25):  # fractional shifts too: none does better than the integer
        assert offset.distance_after_shift <= w1(first, second, shift) + 1e-9
    assert offset.by_mode == int(np.argmax(first)) - int(np.argmax(second))
    bins = np.arange(12)
    means = np.average(bins, weights=first) - np.average(bins, weights=second)
    assert offset.by_mean == pytest.approx(means, abs=1e-12)


@given(histograms, st.integers(0, 200), st.integers(0, 200), st.integers(1, 7), st.integers(1, 7))
def test_the_same_shape_shifted_leaves_exactly_nothing(shape, at, to, copies, others):
    first, second = np.zeros(256, np.int64), np.zeros(256, np.int64)
    first[to : to + 12] = np.array(shape) * copies
    second[at : at + 12] = np.array(shape) * others
    offset = exponent_offset(of_histogram(first), of_histogram(second))
    assert offset.distance_after_shift == 0
    assert offset.shift == to - at
    assert offset.distance == pytest.approx(abs(to - at))
    assert offset.by_mode == to - at
    assert offset.to_dict()["shift"] == to - at


def test_counts_beyond_the_integers_of_a_float_stay_exact():
    shape = np.array([3, 5, 7, 11]) * 10**9 + 1
    offset = exponent_offset(of_histogram(np.r_[np.zeros(9, int), shape]), of_histogram(shape * 7))
    assert (offset.shift, offset.distance_after_shift) == (9, 0)
    assert offset.distance == pytest.approx(9)


def test_dead_rows_at_a_256th_of_the_size_lie_8_exponents_lower():
    rng = np.random.default_rng(12)
    live = rng.normal(0, 1, (40, 64)).astype(ml_dtypes.bfloat16)
    dead = (live[:20].astype(np.float32) / 256).astype(ml_dtypes.bfloat16)
    words = np.concatenate([np.repeat(dead, 2, axis=0), live[:20]]).view(np.uint16)
    _, inside, rest = census(BFLOAT16, words)
    offset = exponent_offset(inside, rest)
    assert (offset.shift, offset.by_mode, offset.distance_after_shift) == (-8, -8, 0)


def test_no_offset_where_a_population_has_no_numbers():
    some, none = of_histogram([0, 3]), of_histogram([0])
    assert exponent_offset(some, none) is None
    assert exponent_offset(none, some) is None
    assert exponent_offset(none, none) is None


# Exponents of the holes against each other


def agreement_by_pairs(fmt, words, holes):
    """Dimensions on which any two holes' representatives differ, over all pairs."""
    rows = [fmt.split(words[h.representative])[1] for h in holes.holes if not h.is_zero]
    differing = {int(d) for a, b in itertools.combinations(rows, 2) for d in np.flatnonzero(a != b)}
    return sorted(differing)


def agreement_by_variance(fmt, words, holes):
    """Dimensions on which the exponent's variance over the holes is not zero."""
    rows = [fmt.split(words[h.representative])[1].astype(float) for h in holes.holes if not h.is_zero]
    return np.flatnonzero(np.var(rows, axis=0) > 0).tolist()


@each_format
@pytest.mark.parametrize("seed", range(4))
def test_agreement_is_that_of_all_pairs_and_of_zero_variance(fmt, seed):
    rng = np.random.default_rng(seed)
    exponent = rng.integers(1, fmt.n_exponents - 1, 24)
    exponents = np.repeat(exponent[None], 5, axis=0)
    for hole, dim in zip(rng.integers(0, 5, seed), rng.integers(0, 24, seed), strict=True):
        exponents[hole, dim] ^= 1
    mantissas = rng.integers(0, 1 << fmt.mantissa_bits, (5, 24))
    mantissas[:, 0] = np.arange(5) % (1 << fmt.mantissa_bits)
    signs = rng.integers(0, 2, (5, 24))
    words = np.repeat(fmt.join(signs, exponents, mantissas), 2, axis=0)
    words = np.concatenate([words, np.zeros((3, 24), fmt.word_dtype)])  # a zero hole has no say
    embedding = embed(fmt, words)
    holes = find_black_holes(embedding)
    assert len(holes) == 6
    agreement = compare_hole_exponents(embedding, holes)
    expected = agreement_by_pairs(fmt, words, holes)
    assert list(agreement.differing_dims) == expected == agreement_by_variance(fmt, words, holes)
    assert (len(expected) > 0) == (seed > 0)
    assert agreement.shared_by_all == (not expected)
    assert agreement.to_dict() == {
        "dims": 24,
        "agreeing_dims": 24 - len(expected),
        "all": not expected,
        "differing_dims": expected,
    }


def test_one_hole_beside_a_zero_hole_agrees_with_nothing():
    words = np.array([[1], [1], [0], [0], [7]], np.uint16)
    embedding = embed(BFLOAT16, words)
    assert compare_hole_exponents(embedding, find_black_holes(embedding)) is None
    words = np.arange(4, dtype=np.uint16)[:, None]
    embedding = embed(BFLOAT16, words)
    assert compare_hole_exponents(embedding, find_black_holes(embedding)) is None


def test_the_exponents_of_a_quantised_matrix_are_not_compared():
    for numbers in ([0, 1, 2, 3], [1, 1, 2, 2]):
        embedding = Embedding(np.repeat(np.array(numbers, np.uint8)[:, None], 34, axis=1), Q8_0, 32)
        holes = find_black_holes(embedding)
        with pytest.raises(FormatError, match="no words"):
            compare_hole_exponents(embedding, holes)
