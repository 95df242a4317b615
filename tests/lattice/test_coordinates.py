"""Ordinals by enumeration, displacement against them, and the locality of rows against a plain count."""

import ml_dtypes
import numpy as np
import pytest

from forensics.embedding import Embedding
from forensics.errors import FormatError
from forensics.formats import BFLOAT16, FLOAT8_E4M3FN, FLOAT8_E5M2, FLOAT16, FLOAT32, FORMATS, NAN, BlockFormat
from forensics.lattice.coordinates import (
    Locality,
    compact_ordinals,
    measure_locality,
    relative_coordinates,
    rows_with_nan,
    ulp_displacement,
)

NARROW = (BFLOAT16, FLOAT16, FLOAT8_E4M3FN, FLOAT8_E5M2)
NUMPY = {
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
    "float32": np.float32,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
SIGN = 0x8000

each_narrow = pytest.mark.parametrize("fmt", NARROW, ids=lambda f: f.name)
each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)


def words_under_test(fmt):
    """All words but nan of the narrow formats; of float32 the ends of every binade and random ones."""
    if fmt.bits < 32:
        words = np.arange(1 << fmt.bits, dtype=fmt.word_dtype)
    else:
        edges = np.arange(256, dtype=np.int64) << 23
        edges = np.concatenate([edges + d for d in (-2, -1, 0, 1, 2)])
        edges = edges[(edges >= 0) & (edges < 1 << 31)]
        random = np.random.default_rng(1).integers(0, 1 << 32, 100_000)
        words = np.unique(np.concatenate([edges, edges | 1 << 31, random])).astype(np.uint32)
    return words[fmt.classify(words) != NAN]


def as_floats(fmt, words):
    """The values by the other library."""
    return np.asarray(words.view(NUMPY[fmt.name])).astype(np.float64)


def embedding(fmt, words):
    words = np.ascontiguousarray(words, fmt.word_dtype)
    return Embedding(words.view(np.uint8), fmt, words.shape[1])


class TestCompactOrdinals:
    @each_format
    def test_equal_the_checked_ordinals(self, fmt):
        words = words_under_test(fmt)
        ranks = compact_ordinals(fmt, words)
        assert ranks.dtype == (np.int16 if fmt.bits <= 16 else np.int32)
        np.testing.assert_array_equal(ranks, fmt.ordinals(words))

    @each_format
    def test_any_shape_and_stride(self, fmt):
        words = words_under_test(fmt)
        table = words[: len(words) // 6 * 6].reshape(-1, 6)
        before = table.copy()
        np.testing.assert_array_equal(compact_ordinals(fmt, table[::-1, 1::2]), fmt.ordinals(table)[::-1, 1::2])
        np.testing.assert_array_equal(table, before)  # the stored words are never written to

    @each_format
    def test_order_of_ordinals_is_order_of_values(self, fmt):
        words = words_under_test(fmt)
        ranks, values = compact_ordinals(fmt, words).astype(np.int64), as_floats(fmt, words)
        order = np.argsort(ranks, kind="stable")
        with np.errstate(invalid="ignore"):
            rises = values[order][1:] > values[order][:-1]
        np.testing.assert_array_equal(rises, np.diff(ranks[order]) > 0)
        same = values[order][1:] == values[order][:-1]
        np.testing.assert_array_equal(same, np.diff(ranks[order]) == 0)
        assert same.sum() == 1  # the two zeros

    @each_narrow
    def test_each_value_is_one_step_from_the_last(self, fmt):
        words = words_under_test(fmt)
        ranks = compact_ordinals(fmt, words).astype(np.int64)
        order = np.argsort(as_floats(fmt, words), kind="stable")
        steps = np.diff(ranks[order])
        assert (steps == 0).sum() == 1
        assert set(steps.tolist()) == {0, 1}

    @each_format
    def test_next_after_is_one_step(self, fmt):
        words = words_under_test(fmt)
        top = fmt.words_of(np.array([fmt.largest_finite]))
        words = words[np.isfinite(as_floats(fmt, words)) & (as_floats(fmt, words) < as_floats(fmt, top))]
        numpy_type = NUMPY[fmt.name]
        with np.errstate(all="ignore"):  # reaching a subnormal is reported as underflow
            after = np.nextafter(words.view(numpy_type), top.view(numpy_type))
        after = np.ascontiguousarray(after).view(fmt.word_dtype)
        step = compact_ordinals(fmt, after).astype(np.int64) - compact_ordinals(fmt, words)
        np.testing.assert_array_equal(step, 1)
        powers = (words & ((1 << fmt.mantissa_bits) - 1)) == 0
        negative = words >> (fmt.bits - 1) == 1
        assert (powers & negative).sum() >= fmt.n_exponents - 1 - (fmt.name == "float8_e4m3fn")
        zeros = words[as_floats(fmt, words) == 0]
        assert len(zeros) == 2

    @each_format
    def test_both_zeros_are_one_point(self, fmt):
        zeros = np.array([0, 1 << (fmt.bits - 1)], fmt.word_dtype)
        assert compact_ordinals(fmt, zeros).tolist() == [0, 0]
        around = fmt.words_of(np.array([-1, 1]))
        assert compact_ordinals(fmt, around).tolist() == [-1, 1]


class TestRowsWithNan:
    @each_format
    def test_finds_them_among_all_and_among_some(self, fmt):
        nan = fmt.magnitude_mask
        words = np.zeros((6, 5), np.int64)
        words[1, 4] = nan
        words[4, 0] = nan | 1 << (fmt.bits - 1)
        words[5, 2] = fmt.largest_finite + fmt.has_infinity  # the last that is a number
        matrix = embedding(fmt, words)
        assert rows_with_nan(matrix).tolist() == [1, 4]
        assert rows_with_nan(matrix, np.array([5, 4, 0])).tolist() == [4]
        assert rows_with_nan(matrix, np.array([], np.int64)).tolist() == []
        assert rows_with_nan(matrix).dtype == np.int64

    def test_over_more_than_one_block(self):
        words = np.zeros((700, 1000), np.uint16)
        words[[3, 699], [999, 0]] = 0x7FC0
        assert rows_with_nan(embedding(BFLOAT16, words)).tolist() == [3, 699]


class TestRelativeCoordinates:
    def test_steps_from_the_reference_through_zero(self):
        words = np.array([[0x0001, 0x3F80, 0x7F80], [0x8001, 0xBF80, 0xFF80], [0x8000, 0x3F7F, 0x0000]])
        found = relative_coordinates(embedding(BFLOAT16, words), np.array([1, 0, 2]), 0)
        assert found.dtype == np.int64
        assert found.tolist() == [[-2, -2 * 0x3F80, -2 * 0x7F80], [0, 0, 0], [-1, -1, -0x7F80]]

    def test_widest_float32_difference(self):
        words = np.array([[0xFF80_0000], [0x7F80_0000]], np.uint32)
        assert relative_coordinates(embedding(FLOAT32, words), np.array([1]), 0).tolist() == [[2 * 0x7F80_0000]]

    @pytest.mark.parametrize("nan_row", [0, 1])
    def test_nan_is_refused(self, nan_row):
        words = np.zeros((2, 3), np.uint16)
        words[nan_row, 1] = 0xFFC0
        with pytest.raises(FormatError, match="nan"):
            relative_coordinates(embedding(BFLOAT16, words), np.array([1]), 0)

    def test_quantised_is_refused(self):
        matrix = Embedding(np.zeros((2, 34), np.uint8), BlockFormat("Q8_0", 8, 32, 34), 32)
        for refused in (
            lambda: relative_coordinates(matrix, np.array([1]), 0),
            lambda: rows_with_nan(matrix),
            lambda: measure_locality(matrix, np.array([1]), 0),
        ):
            with pytest.raises(FormatError, match="Q8_0 blocks"):
                refused()


FINITE = np.concatenate([np.arange(0x7F80), np.arange(0x8000, 0xFF80)]).astype(np.uint16)
"""Every finite bfloat16 word."""

BINADES = (0, 1, 2, 3, 64, 119, 127, 200, 253, 254)
STARTS = np.array([sign | e << 7 | m for sign in (0, SIGN) for e in BINADES for m in (0, 1, 2, 63, 127)], np.uint16)


def displacement_by_definition(start, end):
    """The founding definition from another library's values: difference over 2^(E - 134)."""
    exponent = np.maximum((start.astype(np.int64) >> 7) & 0xFF, 1)
    return (as_floats(BFLOAT16, end) - as_floats(BFLOAT16, start)) / np.ldexp(1.0, exponent - 134)


def steps_between(start, end):
    return BFLOAT16.ordinals(end) - BFLOAT16.ordinals(start)


def binade(words):
    return np.maximum((words.astype(np.int64) >> 7) & 0xFF, 1)


class TestUlpDisplacement:
    def test_founding_vectors(self):
        words = BFLOAT16.narrow([1.0, 0.5, 0.1, 0.01])
        expected = [7.8125e-03, 3.90625e-03, 4.8828125e-04, 6.103515625e-05]
        assert BFLOAT16.ulp(words).tolist() == expected
        assert ulp_displacement(BFLOAT16, words, words + np.uint16(1)).tolist() == [1, 1, 1, 1]
        towards_zero = ulp_displacement(BFLOAT16, words, words - np.uint16(1)).tolist()
        assert towards_zero == [-0.5, -0.5, -1, -1]  # 1 and 0.5 are powers of two

    @pytest.mark.parametrize("start", STARTS, ids=hex)
    def test_against_the_ordinal_difference_for_every_end(self, start):
        end = FINITE
        start = np.full_like(end, start)
        found = ulp_displacement(BFLOAT16, start, end)
        np.testing.assert_array_equal(found, displacement_by_definition(start, end))
        steps = steps_between(start, end)
        zero = (start[0] & 0x7FFF == 0) | (end & 0x7FFF == 0)
        same_sign = zero | ((start ^ end) < SIGN)
        up = binade(end) - binade(start)
        lowest = np.maximum(binade(end), binade(start)) == 1

        exact = (same_sign & (up == 0)) | lowest
        np.testing.assert_array_equal(found[exact], steps[exact])
        assert np.count_nonzero(exact) >= 128

        higher = same_sign & (up > 0)
        ratio = found[higher] / steps[higher]
        assert (ratio >= 1).all()
        assert (ratio < np.ldexp(1.0, up[higher])).all()
        at_the_end_of_the_binade = (up[higher] == 1) & (end[higher] & 0x7F == 0)
        np.testing.assert_array_equal(ratio == 1, at_the_end_of_the_binade)

        lower = same_sign & (up < 0)
        ratio = found[lower] / steps[lower]
        assert (ratio < 1).all()
        assert (ratio >= np.ldexp(1.0, up[lower])).all()
        one_down_from_a_power = (up[lower] == -1) & (start[lower] & 0x7F == 0)
        np.testing.assert_array_equal(ratio == np.ldexp(1.0, up[lower]), one_down_from_a_power)
        near = lower & (up >= -20)
        scaled = np.ldexp(found[near], -up[near])
        np.testing.assert_array_equal(scaled, np.round(scaled))

    def test_every_pair_of_neighbouring_binades(self):
        mantissas = np.arange(128)
        for low in range(254):
            start = (low << 7 | mantissas).astype(np.uint16)[:, None]
            end = ((low + 1) << 7 | mantissas).astype(np.uint16)[None, :]
            start, end = np.broadcast_arrays(start, end)
            steps = steps_between(start, end)
            up, down = ulp_displacement(BFLOAT16, start, end), ulp_displacement(BFLOAT16, end, start)
            if low == 0:
                np.testing.assert_array_equal(up, steps)
                np.testing.assert_array_equal(down, -steps)
                continue
            beyond = end & 0x7F  # steps of the upper binade, each two of the lower
            np.testing.assert_array_equal(up, steps + beyond)
            np.testing.assert_array_equal(down, -(steps + beyond) / 2)

    def test_across_zero_no_factor_holds(self):
        start, end = np.array([0x3F80, 0x0100, 0x0080], np.uint16), np.array([0xBF80, 0xBF80, 0x8001], np.uint16)
        ratio = ulp_displacement(BFLOAT16, start, end) / steps_between(start, end)
        assert ratio[0] == 256 / (2 * 0x3F80)
        assert ratio[1] > 1e30
        assert ratio[2] == 1  # both in the lowest binades

    def test_infinite_and_nan(self):
        start = np.array([0x3F80, 0x3F80, 0x7F80, 0x7F80, 0x7FC0, 0x3F80], np.uint16)
        end = np.array([0x7F80, 0xFF80, 0x3F80, 0x7F80, 0x3F80, 0x7FC0], np.uint16)
        found = ulp_displacement(BFLOAT16, start, end)
        np.testing.assert_array_equal(found, [np.inf, -np.inf, np.nan, np.nan, np.nan, np.nan])


def locality_by_count(fmt, words, reference):
    """One number at a time, from the definitions of the fields."""
    counts = {"same": 0, "adjacent": 0, "further": 0, "crossing": 0}
    mask, sign_bit = fmt.magnitude_mask, 1 << (fmt.bits - 1)
    for row in words.tolist():
        for word, ref in zip(row, reference.tolist(), strict=True):
            gap = abs(max((word & mask) >> fmt.mantissa_bits, 1) - max((ref & mask) >> fmt.mantissa_bits, 1))
            if word & mask and ref & mask and (word ^ ref) & sign_bit:
                counts["crossing"] += 1
            else:
                counts["same" if gap == 0 else "adjacent" if gap == 1 else "further"] += 1
    return counts


class TestLocality:
    @each_format
    @pytest.mark.parametrize("spread", [0, 1, 3, None])
    def test_shares_are_those_of_a_plain_count(self, fmt, spread):
        rng = np.random.default_rng(7)
        top = fmt.largest_finite
        width = top if spread is None else max(2, spread << fmt.mantissa_bits)
        centre = rng.integers(-top, top + 1, 33)
        centre[:6] = [0, 0, 1, -1, (1 << fmt.mantissa_bits) - 1, 1 << fmt.mantissa_bits]  # zeros and subnormals
        near = np.clip(centre + rng.integers(-width, width + 1, (40, 33)), -top, top)
        near[0] = centre
        words = fmt.words_of(near)
        words[1, ::2] = 0
        words[2, ::2] = 1 << (fmt.bits - 1)
        words[0, 1] = 1 << (fmt.bits - 1)
        found = measure_locality(embedding(fmt, words), np.arange(40), 0)
        expected = locality_by_count(fmt, words, words[0])
        assert found.pairs == 40 * 33
        shares = (found.same_binade, found.adjacent_binade, found.further, found.crossing_zero)
        assert shares == pytest.approx([n / (40 * 33) for n in expected.values()], abs=1e-15)
        assert sum(shares) == pytest.approx(1, abs=1e-12)
        assert expected["crossing"] > 0

    def test_each_kind_by_hand(self):
        # Columns: same, E=0 with E=1, zero with a negative, adjacent, two apart, crossing.
        words = np.array(
            [
                [0x3F80, 0x0001, 0x8000, 0x3F80, 0x3F80, 0x3F80],
                [0x3FFF, 0x0081, 0x8001, 0x3F00, 0x4080, 0xBF80],
            ]
        )
        found = measure_locality(embedding(BFLOAT16, words), np.array([1]), 0)
        expected = {"same_binade": 0.5, "adjacent_binade": 1 / 6, "further": 1 / 6, "crossing_zero": 1 / 6}
        assert found.to_dict() == {"pairs": 6, **expected}

    def test_signed_zeros_are_one_point(self):
        matrix = embedding(BFLOAT16, np.array([[0x0000, 0x8000], [0x8000, 0x0000], [0x0001, 0x8001]]))
        assert measure_locality(matrix, np.arange(3), 0) == Locality(6, 1.0, 0.0, 0.0, 0.0)
        assert measure_locality(matrix, np.arange(3), 1) == Locality(6, 1.0, 0.0, 0.0, 0.0)

    def test_no_rows(self):
        matrix = embedding(BFLOAT16, np.zeros((2, 3)))
        assert measure_locality(matrix, np.array([], np.int64), 0) is None

    def test_over_more_than_one_block(self):
        words = np.full((700, 1000), 0x3F80, np.uint16)
        words[350:] = 0x4000
        found = measure_locality(embedding(BFLOAT16, words), np.arange(700), 0)
        assert found == Locality(700_000, 0.5, 0.5, 0.0, 0.0)
