"""Every word of every format narrower than float32, against ml_dtypes, numpy and torch; float32 by property."""

import struct

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forensics.errors import FormatError
from forensics.formats import (
    BFLOAT16,
    FLOAT8_E4M3FN,
    FLOAT8_E5M2,
    FLOAT16,
    FLOAT32,
    FORMATS,
    INFINITE,
    NAN,
    NORMAL,
    SUBNORMAL,
    ZERO,
    BlockFormat,
    float_format,
)

NARROW = (BFLOAT16, FLOAT16, FLOAT8_E4M3FN, FLOAT8_E5M2)
NUMPY = {
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
    "float32": np.float32,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
SIGNED = {8: np.int8, 16: np.int16, 32: np.int32}
Q8_0 = BlockFormat("Q8_0", 8, 32, 34)

each_narrow = pytest.mark.parametrize("fmt", NARROW, ids=lambda f: f.name)
each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)


def all_words(fmt):
    return np.arange(1 << fmt.bits, dtype=fmt.word_dtype)


def as_numpy(fmt, words):
    return words.view(NUMPY[fmt.name])


def as_torch(fmt, words):
    return torch.from_numpy(words.view(SIGNED[fmt.bits])).view(getattr(torch, fmt.name))


def values64(fmt):
    """Every word's value by the other library, as float64."""
    with np.errstate(invalid="ignore"):  # a signalling nan is turned into a quiet one
        return as_numpy(fmt, all_words(fmt)).astype(np.float32).astype(np.float64)


def assert_same_floats(actual, expected):
    """Equal bits, but for the payload of a nan."""
    assert actual.dtype == expected.dtype == np.float32
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    np.testing.assert_array_equal(actual.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


def assert_same_words(fmt, actual, expected):
    """Equal words, but that any nan will do."""
    assert actual.dtype == fmt.word_dtype
    with np.errstate(invalid="ignore"):
        nan = np.isnan(as_numpy(fmt, expected))
        np.testing.assert_array_equal(np.isnan(as_numpy(fmt, actual)), nan)
    np.testing.assert_array_equal(actual[~nan], expected[~nan])


# What the catalogue says of itself


def test_the_catalogue_is_the_five_formats_by_name():
    assert list(FORMATS) == list(NUMPY)
    for name, fmt in FORMATS.items():
        assert float_format(name) is fmt


def test_an_unknown_format_is_refused_and_the_known_ones_are_named():
    with pytest.raises(FormatError, match=r"float64.*known: bfloat16, float16"):
        float_format("float64")


@each_format
def test_the_shape_of_a_format_is_that_of_torch_and_ml_dtypes(fmt):
    theirs, torchs = ml_dtypes.finfo(NUMPY[fmt.name]), torch.finfo(getattr(torch, fmt.name))
    assert fmt.bits == theirs.bits == torchs.bits == 8 * fmt.itemsize == 8 * fmt.word_dtype.itemsize
    assert (fmt.mantissa_bits, fmt.exponent_bits) == (theirs.nmant, theirs.iexp)
    largest = fmt.widen(np.array([fmt.largest_finite], fmt.word_dtype))[0]
    assert float(largest) == float(theirs.max) == torchs.max
    smallest_normal = np.array([1 << fmt.mantissa_bits], fmt.word_dtype)
    assert float(fmt.widen(smallest_normal)[0]) == torchs.smallest_normal
    assert fmt.n_exponents == 2**theirs.iexp


# Widening


@each_narrow
def test_every_word_widens_to_the_value_of_ml_dtypes_and_numpy(fmt):
    words = all_words(fmt)
    assert_same_floats(fmt.widen(words), as_numpy(fmt, words).astype(np.float32))


@each_narrow
def test_every_word_widens_to_the_value_of_torch(fmt):
    words = all_words(fmt)
    assert_same_floats(fmt.widen(words), as_torch(fmt, words).float().numpy())


@each_format
def test_widen_keeps_the_shape_and_takes_strided_words(fmt):
    words = np.arange(48, dtype=fmt.word_dtype).reshape(2, 4, 6)
    dense = fmt.widen(words)
    assert dense.shape == (2, 4, 6)
    np.testing.assert_array_equal(fmt.widen(words[:, ::2, ::3]), dense[:, ::2, ::3])
    assert fmt.widen(words[:0]).shape == (0, 4, 6)


def test_float32_widens_to_itself_payloads_included():
    words = np.array([0, 1 << 31, 0x3F800000, 0x7F800001, 0xFFC12345, 0xFF800000], np.uint32)
    np.testing.assert_array_equal(FLOAT32.widen(words).view(np.uint32), words)


# Splitting and joining


@each_narrow
def test_every_word_survives_split_and_join(fmt):
    words = all_words(fmt)
    joined = fmt.join(*fmt.split(words))
    assert joined.dtype == fmt.word_dtype
    np.testing.assert_array_equal(joined, words)


@each_narrow
def test_fields_are_the_words_binary_digits(fmt):
    words = all_words(fmt)
    sign, exponent, mantissa = fmt.split(words)
    for word in range(0, len(words), 7):
        digits = format(word, f"0{fmt.bits}b")
        assert sign[word] == int(digits[0])
        assert exponent[word] == int(digits[1 : 1 + fmt.exponent_bits], 2)
        assert mantissa[word] == int(digits[1 + fmt.exponent_bits :], 2)
    np.testing.assert_array_equal(fmt.exponents(words), exponent)


@given(hnp.arrays(np.uint32, 20))
def test_float32_words_survive_split_and_join(words):
    sign, exponent, mantissa = FLOAT32.split(words)
    assert sign.max() <= 1
    assert exponent.max() <= 255
    assert mantissa.max() < 1 << 23
    np.testing.assert_array_equal(FLOAT32.join(sign, exponent, mantissa), words)


@each_format
def test_a_field_that_does_not_fit_is_refused(fmt):
    fmt.join([1], [fmt.n_exponents - 1], [(1 << fmt.mantissa_bits) - 1])
    for fields in (
        ([2], [0], [0]),
        ([0], [fmt.n_exponents], [0]),
        ([0], [0], [1 << fmt.mantissa_bits]),
        ([0], [-1], [0]),
    ):
        with pytest.raises(FormatError, match=f"a {fmt.name} (sign|exponent|mantissa) is 0 to"):
            fmt.join(*fields)


@each_format
@pytest.mark.parametrize("operation", ["split", "exponents", "classify", "widen", "ulp", "ordinals"])
def test_words_of_another_dtype_are_refused(fmt, operation):
    other = np.uint8 if fmt.bits != 8 else np.uint16
    swapped = np.zeros(3, fmt.word_dtype.newbyteorder(">"))
    wrong = [np.zeros(3, other), np.zeros(3, SIGNED[fmt.bits]), np.zeros(3, np.float32), [0, 1]]
    if fmt.bits > 8:
        wrong.append(swapped)
    for words in wrong:
        with pytest.raises(FormatError, match=f"{fmt.name} words are {fmt.word_dtype.name}, found") as caught:
            getattr(fmt, operation)(words)
        expected, found = caught.value.message.split(" words are ")[1].split(", found ")
        assert expected != found


# Classes


@each_narrow
def test_every_word_has_the_class_that_the_other_libraries_predicates_give(fmt):
    words = all_words(fmt)
    x = as_numpy(fmt, words)
    tiny = float(ml_dtypes.finfo(NUMPY[fmt.name]).smallest_normal)
    size = np.abs(values64(fmt))
    with np.errstate(invalid="ignore"):
        is_nan = np.isnan(x)
    expected = np.select([is_nan, np.isinf(size), size == 0, size < tiny], [NAN, INFINITE, ZERO, SUBNORMAL], NORMAL)
    np.testing.assert_array_equal(fmt.classify(words), expected)
    if fmt.bits == 16:
        assert sorted(np.unique(expected)) == [ZERO, SUBNORMAL, NORMAL, INFINITE, NAN]


def test_e4m3fn_has_one_nan_a_sign_and_no_infinity():
    counts = np.bincount(FLOAT8_E4M3FN.classify(all_words(FLOAT8_E4M3FN)), minlength=5)
    assert counts.tolist() == [2, 14, 238, 0, 2]


@given(hnp.arrays(np.uint32, 50))
@example(np.array([0, 1 << 31, 1, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0xFFFFFFFF], np.uint32))
def test_float32_classes_are_numpys(words):
    x = words.view(np.float32)
    kinds = FLOAT32.classify(words)
    np.testing.assert_array_equal(kinds == NAN, np.isnan(x))
    np.testing.assert_array_equal(kinds == INFINITE, np.isinf(x))
    np.testing.assert_array_equal(kinds == ZERO, x == 0)
    np.testing.assert_array_equal(kinds == SUBNORMAL, (x != 0) & (np.abs(x) < np.finfo(np.float32).tiny))


# Spacing


@each_narrow
def test_ulp_of_every_word_is_the_gap_to_the_next_value_away_from_zero(fmt):
    values, ulps = values64(fmt), fmt.ulp(all_words(fmt))
    top, half = fmt.largest_finite, 1 << (fmt.bits - 1)
    np.testing.assert_array_equal(ulps[:top], np.diff(values[: top + 1]))
    # The largest finite value shares the spacing of its binade: its inner gap.
    assert ulps[top] == values[top] - values[top - 1]
    np.testing.assert_array_equal(ulps[half:], ulps[:half])
    np.testing.assert_array_equal(np.isnan(ulps), ~np.isfinite(values))


@each_narrow
def test_towards_zero_from_a_power_of_two_the_gap_is_half_an_ulp(fmt):
    words = np.arange(2 << fmt.mantissa_bits, fmt.largest_finite, 1 << fmt.mantissa_bits, dtype=fmt.word_dtype)
    assert len(words) > 3
    below = fmt.widen(words).astype(np.float64) - fmt.widen(words - fmt.word_dtype.type(1))
    np.testing.assert_array_equal(below, fmt.ulp(words) / 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, 7.8125e-03), (0.5, 3.90625e-03), (0.1, 4.8828125e-04), (0.01, 6.103515625e-05), (0.37, 1.953125e-03)],
)
def test_published_bfloat16_ulps(value, expected):
    assert BFLOAT16.ulp(BFLOAT16.narrow([value, -value])).tolist() == [expected, expected]


def test_bfloat16_ulp_is_2_to_the_e_minus_134():
    exponent = np.arange(1, 255)
    words = BFLOAT16.join(np.zeros(254, int), exponent, np.zeros(254, int))
    np.testing.assert_array_equal(BFLOAT16.ulp(words), 2.0 ** (exponent - 134))
    assert BFLOAT16.ulp(np.zeros(1, np.uint16))[0] == 2.0**-133


@given(hnp.arrays(np.uint32, 50))
@example(np.array([0, 1 << 31, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0x7F7FFFFE, 0x7F800000, 0x7FC00000], np.uint32))
def test_float32_ulps_are_numpys_spacing(words):
    finite = FLOAT32.classify(words) < INFINITE
    ulps = FLOAT32.ulp(words)
    # numpy's spacing is signed, and infinite at the top, where it would leave the format.
    inner = finite & ((words & 0x7FFFFFFF) < 0x7F7FFFFF)
    np.testing.assert_array_equal(ulps[inner], np.abs(np.spacing(words[inner].view(np.float32))))
    np.testing.assert_array_equal(np.isnan(ulps), ~finite)


# Ordinals


@each_narrow
def test_sorted_values_have_consecutive_ordinals(fmt):
    words = all_words(fmt)
    words = words[~np.isnan(values64(fmt))]
    values = values64(fmt)[words]
    ordinals = fmt.ordinals(words)
    assert ordinals.dtype == np.int64
    distinct, inverse = np.unique(values, return_inverse=True)
    rank = np.arange(len(distinct)) - np.searchsorted(distinct, 0.0)
    np.testing.assert_array_equal(ordinals, rank[inverse])
    assert (ordinals == 0).sum() == 2


@each_format
def test_both_zeros_have_ordinal_zero(fmt):
    zeros = np.array([0, 1 << (fmt.bits - 1)], fmt.word_dtype)
    assert fmt.ordinals(zeros).tolist() == [0, 0]


@each_narrow
def test_words_of_inverts_every_ordinal(fmt):
    words = all_words(fmt)
    words = words[~np.isnan(values64(fmt))]
    back = fmt.words_of(fmt.ordinals(words))
    assert back.dtype == fmt.word_dtype
    np.testing.assert_array_equal(back, np.where(words == 1 << (fmt.bits - 1), 0, words))


@each_format
def test_nan_has_no_ordinal(fmt):
    for sign in (0, 1 << (fmt.bits - 1)):
        with pytest.raises(FormatError, match=r"1 of 2 .* nan and have no ordinal"):
            fmt.ordinals(np.array([0, fmt.magnitude_mask | sign], fmt.word_dtype))
    if fmt.has_infinity:
        first_nan = np.array([fmt.largest_finite + 2], fmt.word_dtype)
        with pytest.raises(FormatError):
            fmt.ordinals(first_nan)
        assert fmt.ordinals(first_nan - 1)[0] == fmt.largest_finite + 1


@each_format
def test_words_of_refuses_ranks_that_no_value_has(fmt):
    top = fmt.largest_finite + fmt.has_infinity
    assert np.isin(np.abs(fmt.ordinals(fmt.words_of([-top, top]))), top).all()
    for rank in (top + 1, -top - 1, 2**62, -(2**63), 2**63 - 1):
        with pytest.raises(FormatError, match=f"{fmt.name} ordinals lie within"):
            fmt.words_of(np.array([0, rank], np.int64))


@each_format
def test_ordinals_of_nothing_are_nothing(fmt):
    assert fmt.ordinals(np.zeros((0, 3), fmt.word_dtype)).shape == (0, 3)
    assert fmt.words_of(np.zeros((0, 3), np.int64)).shape == (0, 3)


@given(hnp.arrays(np.float32, 50, elements=st.floats(width=32, allow_nan=False)))
@example(np.array([0.0, -0.0, 1e-45, -1e-45, 1.0, 3.4028235e38, -3.4028235e38, -np.inf], np.float32))
def test_a_step_to_the_next_float32_is_one_ordinal(x):
    x = x[x < np.inf]
    with np.errstate(over="ignore", under="ignore"):
        following = np.nextafter(x, np.float32(np.inf))
    steps = FLOAT32.ordinals(following.view(np.uint32)) - FLOAT32.ordinals(x.view(np.uint32))
    assert (steps == 1).all()
    back = FLOAT32.widen(FLOAT32.words_of(FLOAT32.ordinals(x.view(np.uint32))))
    np.testing.assert_array_equal(back, x)


# Narrowing


def narrow_cases(fmt):
    """Every value, every midpoint of two neighbours, what lies beside it, and what lies beyond the largest."""
    values = values64(fmt)
    finite = values[: fmt.largest_finite + 1]
    midpoints = (finite[1:] + finite[:-1]) / 2
    overflow = finite[-1] + (finite[-1] - finite[-2]) / 2
    far = np.array([finite[-1] * 1.5, min(finite[-1] * 2, 3.4e38), 3.4028235e38, np.inf, np.nan, 1e-45])
    with np.errstate(over="ignore"):
        points = np.concatenate([finite, midpoints, [overflow], far]).astype(np.float32)
        beside = [np.nextafter(points, np.float32(end)) for end in (-np.inf, np.inf)]
    cases = np.concatenate([points, *beside])
    signalling = np.array([0x7F800001, 0x7FFFFFFF], np.uint32).view(np.float32)
    cases = np.concatenate([cases, signalling])
    return np.concatenate([cases, -cases, fmt.widen(all_words(fmt))])


@each_narrow
def test_narrow_is_the_cast_of_ml_dtypes_and_numpy(fmt):
    cases = narrow_cases(fmt)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = cases.astype(NUMPY[fmt.name]).view(fmt.word_dtype)
    assert_same_words(fmt, fmt.narrow(cases), expected)


@each_narrow
def test_narrow_is_the_cast_of_torch(fmt):
    cases = narrow_cases(fmt)
    if not fmt.has_infinity:
        # torch's choice for overflow has changed between releases: nan once, now the largest finite value.
        cases = cases[(np.abs(cases) <= 464) | np.isnan(cases)]
    cast = torch.from_numpy(cases).to(getattr(torch, fmt.name)).view(getattr(torch, f"int{fmt.bits}"))
    assert_same_words(fmt, fmt.narrow(cases), cast.numpy().view(fmt.word_dtype))


def test_e4m3fn_overflows_to_nan_past_the_midpoint_beyond_its_largest_value():
    above = np.nextafter(np.float32(464), np.float32(465))
    words = FLOAT8_E4M3FN.narrow([448, 464, above, np.inf, -464, -above, -np.inf])
    assert words.tolist() == [0x7E, 0x7E, 0x7F, 0x7F, 0xFE, 0xFF, 0xFF]


@each_narrow
@given(words=hnp.arrays(np.uint32, 100))
def test_narrow_is_the_cast_for_any_float32(fmt, words):
    x = words.view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(NUMPY[fmt.name]).view(fmt.word_dtype)
    assert_same_words(fmt, fmt.narrow(x), expected)


@each_narrow
def test_narrow_inverts_widen_and_keeps_the_sign_of_nan(fmt):
    words = all_words(fmt)
    back = fmt.narrow(fmt.widen(words))
    nan = fmt.classify(words) == NAN
    np.testing.assert_array_equal(back[~nan], words[~nan])
    assert (fmt.classify(back[nan]) == NAN).all()


def test_float32_narrows_to_itself():
    words = np.array([0, 1 << 31, 0x3F800000, 0x7F800001, 0x7F7FFFFF], np.uint32)
    np.testing.assert_array_equal(FLOAT32.narrow(words.view(np.float32)), words)


@each_format
def test_narrow_keeps_the_shape(fmt):
    x = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 3, 4)
    assert fmt.narrow(x).shape == (2, 3, 4)
    assert fmt.narrow(x[:, :, ::2]).tolist() == fmt.narrow(x)[:, :, ::2].tolist()
    assert fmt.narrow(np.float32(1)).shape == ()
    every_bit = np.array(0xFFFFFFFF, np.uint32).view(np.float32)
    assert fmt.classify(fmt.narrow(every_bit)) == NAN
    assert fmt.narrow(x[:0]).shape == (0, 3, 4)


# Blocks


def decode_q8_0(rows):
    """Q8_0 from its description: a float16 scale, then 32 signed bytes."""
    decoded = []
    for row in rows:
        numbers = []
        for start in range(0, len(row), 34):
            scale, *integers = struct.unpack("<e32b", row[start : start + 34].tobytes())
            numbers.extend(np.float32(scale) * np.float32(i) for i in integers)
        decoded.append(numbers)
    return np.array(decoded, np.float32)


def test_q8_0_blocks_dequantise_as_their_description_says():
    rng = np.random.default_rng(8)
    rows = rng.integers(0, 256, (5, 3 * 34), dtype=np.uint8)
    scales = rng.normal(0, 0.01, (5, 3)).astype(np.float16)
    scales[0] = 0.0, -0.0, 6e-8
    for block in range(3):
        rows[:, 34 * block : 34 * block + 2] = scales[:, block, None].view(np.uint8)
    values = Q8_0.dequantise(rows)
    assert values.dtype == np.float32
    assert values.shape == (5, 96)
    np.testing.assert_array_equal(values, decode_q8_0(rows))
    assert Q8_0.dequantise(rows[:0]).shape == (0, 96)


@pytest.mark.parametrize(("dim", "expected"), [(32, 34), (64, 68), (4096, 4352)])
def test_a_row_of_blocks_is_so_many_bytes(dim, expected):
    assert Q8_0.row_bytes(dim) == expected


@pytest.mark.parametrize("dim", [1, 31, 33, 100])
def test_a_row_of_part_blocks_is_refused(dim):
    with pytest.raises(FormatError, match=f"a Q8_0 row is a multiple of 32 numbers, found {dim}"):
        Q8_0.row_bytes(dim)


def test_a_type_that_gguf_cannot_turn_into_numbers_is_refused():
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    kind = GGMLQuantizationType.Q8_K
    values, size = GGML_QUANT_SIZES[kind]
    with pytest.raises(FormatError, match="Q8_K blocks cannot be turned into numbers"):
        BlockFormat("Q8_K", int(kind), values, size).dequantise(np.zeros((1, size), np.uint8))


@pytest.mark.parametrize(("name", "code", "size"), [("Q8_0", 8, 34), ("Q4_0", 2, 18)])
def test_no_rows_dequantise_to_no_rows(name, code, size):
    assert BlockFormat(name, code, 32, size).dequantise(np.zeros((0, 2 * size), np.uint8)).shape == (0, 64)
