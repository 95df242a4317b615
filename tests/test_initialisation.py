"""The laws of the distributions by scipy, their roundings by torch and ml_dtypes, appended rows by transformers."""

import math

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from forensics.errors import ConfigError, ForensicsError
from forensics.formats import BFLOAT16, FLOAT8_E4M3FN, FLOAT16, FLOAT32, FORMATS
from forensics.initialisation import (
    INITIALISATIONS,
    Ball,
    FromFile,
    Laplace,
    MeanResized,
    Normal,
    Point,
    PointNoise,
    Shell,
    Zeros,
    distributions,
    draw,
    drawing,
)
from forensics.initialisation.resizing import append_rows, resized_law

SMALLEST_P = 1e-4
"""Seeds are fixed: a test of a law passes or fails for good."""

DRAWN = [
    Normal(sigma=0.3, mean=-2.0),
    Point(norm=3.0),
    PointNoise(sigma=1e-3),
    PointNoise(sigma=1e-3, noise="bfloat16"),
    Ball(radius=0.5),
    Shell(radius=0.5),
    Laplace(scale=0.1),
    Zeros(),
    MeanResized(new_rows=5),
]


def values(initialisation, rows, dim, seed=0, fmt=FLOAT32, anchor=None):
    return fmt.widen(draw(initialisation, rows, dim, fmt, np.random.default_rng(seed), anchor=anchor))


def unique(words):
    return len(np.unique(words, axis=0))


def vector(dim, seed=0, size=1.0):
    return (size * np.random.default_rng(seed).standard_normal(dim)).astype(np.float32)


# Laws


@pytest.mark.parametrize(
    ("initialisation", "law"),
    [
        (Normal(), stats.norm(0, 0.02)),
        (Normal(sigma=0.3, mean=-2.0), stats.norm(-2.0, 0.3)),
        (Laplace(scale=0.05), stats.laplace(0, 0.05)),
    ],
    ids=repr,
)
def test_independent_numbers_follow_their_law(initialisation, law):
    x = values(initialisation, 400, 250)
    assert stats.kstest(x.ravel(), law.cdf).pvalue > SMALLEST_P
    n = x.size
    assert abs(x.mean() - law.mean()) < 4 * law.std() / math.sqrt(n)
    # The variance of a sample variance is (kurtosis + 2) sigma^4 / n, kurtosis over the normal's.
    error = law.var() * math.sqrt((float(law.stats("k")) + 2) / n)
    assert abs(x.var(dtype=float) - law.var()) < 4 * error
    for axis in (0, 1):
        # Means along an axis spread as independent numbers do; a repeated row or column does not.
        means = x.mean(axis=axis, dtype=float)
        z = (means - law.mean()) / (law.std() / math.sqrt(x.shape[axis]))
        assert stats.kstest(z, "norm").pvalue > SMALLEST_P


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 2560])
def test_the_radius_in_a_ball_has_the_law_of_its_volume(dim):
    radii = np.linalg.norm(values(Ball(radius=0.25), 2000, dim).astype(float), axis=1)
    assert radii.max() <= 0.25 * (1 + 1e-6)
    assert stats.kstest(radii, lambda x: np.clip(x / 0.25, 0, 1) ** dim).pvalue > SMALLEST_P


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 2560])
def test_the_shell_is_thin(dim):
    radii = np.linalg.norm(values(Shell(radius=0.25), 500, dim).astype(float), axis=1)
    np.testing.assert_allclose(radii, 0.25, rtol=1e-6)


@pytest.mark.parametrize("initialisation", [Ball(), Shell()], ids=repr)
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_directions_are_uniform(initialisation, dim):
    x = values(initialisation, 4000, dim).astype(float)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    # A coordinate u of a uniform direction: (u + 1) / 2 is Beta((D - 1) / 2, (D - 1) / 2) (Muller 1959).
    law = stats.beta((dim - 1) / 2, (dim - 1) / 2)
    for axis in np.vstack([np.eye(dim), np.ones(dim) / math.sqrt(dim)]):
        assert stats.kstest((x @ axis + 1) / 2, law.cdf).pvalue > SMALLEST_P


def test_a_single_number_drawn_as_zero_still_has_a_direction():
    class Zero:
        def standard_normal(self, shape, dtype):
            return np.zeros(shape, dtype)

    np.testing.assert_array_equal(FLOAT32.widen(draw(Shell(radius=2.0), 3, 1, FLOAT32, Zero())), np.full((3, 1), 2.0))


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
def test_zeros_are_positive_zeros(fmt):
    words = draw(Zeros(), 4, 3, fmt, np.random.default_rng(0))
    assert (words.dtype, words.shape, words.any()) == (fmt.word_dtype, (4, 3), False)


# Roundings


@pytest.mark.parametrize("initialisation", DRAWN[:2] + DRAWN[2:3] + DRAWN[4:8], ids=repr)
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e5m2])
def test_a_narrow_format_holds_the_rounded_float32(initialisation, dtype):
    fmt = FORMATS[np.dtype(dtype).name]
    wide = values(initialisation, 50, 40)
    narrow = draw(initialisation, 50, 40, fmt, np.random.default_rng(0))
    np.testing.assert_array_equal(narrow, wide.astype(dtype).view(fmt.word_dtype))


def test_a_point_is_one_row_of_that_norm():
    words = draw(Point(norm=0.156989), 128, 64, BFLOAT16, np.random.default_rng(0))
    assert unique(words) == 1
    assert np.linalg.norm(BFLOAT16.widen(words[0])) == pytest.approx(0.156989, rel=2e-3)
    assert np.linalg.norm(values(Point(norm=0.156989), 1, 64)) == pytest.approx(0.156989, rel=1e-6)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_noise_in_float32_is_added_before_the_one_rounding(dtype):
    fmt, anchor = FORMATS[np.dtype(dtype).name], vector(64, size=0.1)
    z = np.random.default_rng(3).standard_normal((128, 64), dtype=np.float32)
    expected = (anchor + np.float32(1e-4) * z).astype(dtype).view(np.uint16)
    words = draw(PointNoise(sigma=1e-4), 128, 64, fmt, np.random.default_rng(3), anchor=anchor)
    np.testing.assert_array_equal(words, expected)
    assert unique(words) > 1


@pytest.mark.parametrize("sigma", [1e-5, 1e-3, 0.7])
def test_noise_in_bfloat16_is_what_torch_adds(sigma):
    anchor = vector(64, size=0.1)
    z = np.random.default_rng(3).standard_normal((128, 64), dtype=np.float32)
    expected = torch.tensor(anchor).bfloat16() + torch.tensor(z).bfloat16() * sigma
    initialisation = PointNoise(sigma=sigma, noise="bfloat16")
    words = draw(initialisation, 128, 64, BFLOAT16, np.random.default_rng(3), anchor=anchor)
    np.testing.assert_array_equal(words, expected.view(torch.uint16).numpy())
    wide = draw(initialisation, 128, 64, FLOAT32, np.random.default_rng(3), anchor=anchor)
    np.testing.assert_array_equal(wide >> 16, words)  # a wider format holds the same bfloat16 numbers
    assert not (wide & 0xFFFF).any()


def unique_of_dead(noise, seed):
    return unique(draw(PointNoise(noise=noise), 51, 64, BFLOAT16, np.random.default_rng(seed)))


def test_an_anchor_off_the_lattice_keeps_more_rows_apart():
    # Published (15.2c, 32 runs each, 51 dead rows): 42.7 +- 8.5 and 16.7 +- 14.9.
    off = [unique_of_dead("float32", seed) for seed in range(400)]
    on = [unique_of_dead("bfloat16", seed) for seed in range(400)]
    assert abs(np.mean(off) - 42.7) < 3 * 8.5 / math.sqrt(32)
    assert abs(np.mean(on) - 16.7) < 3 * 14.9 / math.sqrt(32)
    assert np.std(off) == pytest.approx(8.5, rel=0.2)
    assert np.std(on) == pytest.approx(14.9, rel=0.2)
    # The law of torch's own arithmetic from end to end, direction and noise drawn in bfloat16.
    generator = torch.Generator().manual_seed(0)
    bf16 = {"dtype": torch.bfloat16, "generator": generator}
    theirs = []
    for _ in range(400):
        direction = torch.randn(64, **bf16)
        rows = direction / direction.norm() + torch.randn(51, 64, **bf16) * 1e-5
        theirs.append(unique(rows.view(torch.uint16).numpy()))
    assert stats.ks_2samp(on, theirs).pvalue > SMALLEST_P


def test_on_the_lattice_a_row_moves_only_where_the_noise_is_half_a_step():
    anchor = BFLOAT16.widen(BFLOAT16.narrow(vector(64, size=0.125)))
    words = BFLOAT16.narrow(anchor)
    # Half the smaller of the two steps beside a number; noise of sigma 1e-5 below 512 * 64 draws stays under 5 sigma.
    half = BFLOAT16.ulp(words) / 4
    moved = (draw(PointNoise(), 512, 64, BFLOAT16, np.random.default_rng(0), anchor=anchor) != words).any(axis=0)
    assert moved.any()
    assert not moved[half > 5e-5].any()


# Anchors


@pytest.mark.parametrize("initialisation", [Normal(), Ball(), Shell(), Laplace()], ids=repr)
def test_noise_lies_around_an_anchor(initialisation):
    anchor = vector(16)
    np.testing.assert_array_equal(
        values(initialisation, 30, 16, anchor=anchor), anchor + values(initialisation, 30, 16)
    )


def test_an_anchor_is_the_point_and_draws_nothing():
    anchor, rng = vector(16), np.random.default_rng(0)
    before = rng.bit_generator.state
    words = draw(Point(norm=7.0), 3, 16, FLOAT32, rng, anchor=anchor)
    np.testing.assert_array_equal(FLOAT32.widen(words), np.tile(anchor, (3, 1)))
    assert rng.bit_generator.state == before


def test_an_anchor_is_left_as_it_was():
    anchor = vector(16)
    anchor.setflags(write=False)
    for initialisation in (Normal(), Point(), PointNoise(), PointNoise(noise="bfloat16"), Ball(), Shell(), Laplace()):
        draw(initialisation, 3, 16, BFLOAT16, np.random.default_rng(0), anchor=anchor)
    np.testing.assert_array_equal(anchor, vector(16))


@pytest.mark.parametrize(
    ("anchor", "message"),
    [
        (np.zeros(5, np.float32), r"float32\[4\], found float32\[5\]"),
        (np.zeros((1, 4), np.float32), r"found float32\[1, 4\]"),
        (np.zeros(4), r"found float64\[4\]"),
        (np.array([0, np.nan, 0, 0], np.float32), "nan"),
        (np.array([0, np.inf, 0, 0], np.float32), "infinity"),
    ],
)
def test_a_bad_anchor_is_refused(anchor, message):
    with pytest.raises(ConfigError, match=message):
        draw(Point(), 2, 4, BFLOAT16, np.random.default_rng(0), anchor=anchor)


@pytest.mark.parametrize("initialisation", [Zeros(), MeanResized(), FromFile(path="x.npy")], ids=repr)
def test_what_has_no_centre_takes_no_anchor(initialisation):
    with pytest.raises(ConfigError, match="no centre"):
        draw(initialisation, 2, 4, BFLOAT16, np.random.default_rng(0), anchor=vector(4))


# Determinism


@pytest.mark.parametrize("initialisation", DRAWN, ids=repr)
def test_one_state_gives_one_matrix_and_another_state_another(initialisation):
    words = [draw(initialisation, 60, 24, BFLOAT16, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(words[0], words[1])
    assert np.array_equal(words[0], words[2]) == isinstance(initialisation, Zeros)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(DRAWN),
    st.integers(6, 40),
    st.integers(1, 9),
    st.integers(1, 80),
    st.sampled_from([np.random.PCG64, np.random.SFC64, np.random.MT19937]),
)
def test_words_and_the_state_left_behind_do_not_depend_on_the_block(initialisation, rows, dim, block, generator):
    whole, parts = (np.random.Generator(generator(5)) for _ in range(2))
    expected = draw(initialisation, rows, dim, BFLOAT16, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "BLOCK", block)
        found = draw(initialisation, rows, dim, BFLOAT16, parts)
    np.testing.assert_array_equal(found, expected)
    assert whole.random() == parts.random()


def test_a_block_is_all_that_is_held_beside_the_words(monkeypatch):
    import tracemalloc

    rows, dim = 6000, 256
    monkeypatch.setattr(drawing, "BLOCK", 1 << 14)
    for initialisation in (Normal(), PointNoise(noise="bfloat16"), Ball(), Laplace()):
        tracemalloc.start()
        words = draw(initialisation, rows, dim, BFLOAT16, np.random.default_rng(0))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak - words.nbytes < words.nbytes / 4  # one float32 copy is twice the words


# Rows appended as transformers appends them


def transformers_rows(words, fmt, n_new, seed):
    """The rows that resize_token_embeddings(mean_resizing=True) appends to these."""
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(seed)
    rows, dim = words.shape
    config = GPT2Config(
        vocab_size=rows, n_embd=dim, n_layer=1, n_head=1, n_positions=4, bos_token_id=None, eos_token_id=None
    )
    model = GPT2Model(config).to(getattr(torch, fmt.name))
    with torch.no_grad():
        model.wte.weight.copy_(torch.tensor(fmt.widen(words)))
    model.resize_token_embeddings(rows + n_new, mean_resizing=True)
    weight = model.wte.weight.detach().float().numpy()
    np.testing.assert_array_equal(fmt.narrow(weight[:rows]), words)
    return weight[rows:]


def our_rows(words, fmt, n_new, seed, **kw):
    longer = np.zeros((len(words) + n_new, words.shape[1]), fmt.word_dtype)
    longer[: len(words)] = words
    append_rows(longer, len(words), fmt, np.random.default_rng(seed), **kw)
    np.testing.assert_array_equal(longer[: len(words)], words)
    return fmt.widen(longer[len(words) :])


def correlated_rows(rows, dim, fmt, seed=0):
    """Rows whose mean is not zero and whose covariance is not a multiple of the identity."""
    rng = np.random.default_rng(seed)
    mix = np.linalg.qr(rng.standard_normal((dim, dim)))[0] * np.geomspace(1, 0.3, dim)
    return fmt.narrow((0.02 * (rng.standard_normal((rows, dim)) @ mix + rng.standard_normal(dim))).astype(np.float32))


@pytest.mark.parametrize("rows_of", [transformers_rows, our_rows])
def test_appended_rows_have_the_old_ones_mean_and_a_billionth_of_their_covariance(rows_of):
    old, n_new, dim = correlated_rows(20, 12, FLOAT32), 4000, 12
    exact = FLOAT32.widen(old).astype(float)
    centred = exact - exact.mean(axis=0)
    factor = np.linalg.cholesky(1e-9 * centred.T @ centred / len(old))  # over 20, not 19: 5 %
    z = np.linalg.solve(factor, (rows_of(old, FLOAT32, n_new, 1) - exact.mean(axis=0)).T).T
    assert np.abs(z.mean(axis=0)).max() < 4 / math.sqrt(n_new)
    assert np.abs(np.cov(z.T) - np.eye(dim)).max() < 5 * math.sqrt(2 / n_new)
    # The scale of all numbers, known to 2.6 %, is told apart from a division by 19.
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / z.size) < 1 / 20
    assert stats.kstest(z.ravel(), "norm").pvalue > SMALLEST_P


def test_appended_rows_are_torchs_numbers_for_the_same_noise(monkeypatch):
    old, noise = correlated_rows(60, 12, BFLOAT16), vector(12 * 30).reshape(30, 12)
    monkeypatch.setattr(
        torch.distributions.multivariate_normal, "_standard_normal", lambda *_, **__: torch.tensor(noise)
    )

    class Given:
        def standard_normal(self, shape, dtype):
            return noise

    monkeypatch.setattr(np.random, "default_rng", lambda _: Given())
    theirs, ours = transformers_rows(old, BFLOAT16, 30, 0), our_rows(old, BFLOAT16, 30, 0)
    # Sums in another order: a float32 ulp may carry a number over a rounding boundary of bfloat16.
    assert (ours == theirs).mean() > 0.98
    np.testing.assert_allclose(ours, theirs, rtol=2**-7)


@pytest.mark.parametrize(("n_old", "dim"), [(1, 8), (8, 32), (20, 32), (34, 32), (64, 32)])
def test_too_few_rows_give_their_mean_as_in_transformers(n_old, dim):
    for seed in range(3):
        old = draw(Normal(), n_old, dim, FLOAT32, np.random.default_rng(seed))
        theirs, ours = transformers_rows(old, FLOAT32, 3, seed), our_rows(old, FLOAT32, 3, seed)
        assert unique(theirs) == unique(ours) == (3 if n_old > dim else 1)
        if n_old < dim:
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-9)


def test_mean_resized_is_normal_rows_with_appended_ones():
    words = draw(MeanResized(sigma=0.5, new_rows=7), 107, 8, BFLOAT16, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    old = draw(Normal(sigma=0.5), 100, 8, BFLOAT16, rng)
    np.testing.assert_array_equal(words[:100], old)
    append_rows(words, 100, BFLOAT16, rng)
    again = draw(MeanResized(sigma=0.5, new_rows=7), 107, 8, BFLOAT16, np.random.default_rng(4))
    np.testing.assert_array_equal(words, again)


def test_the_covariance_scale_is_a_setting():
    old = correlated_rows(60, 8, FLOAT32)
    mean = FLOAT32.widen(old).mean(axis=0, dtype=float)
    near, far = (our_rows(old, FLOAT32, 500, 0, scale=scale) - mean for scale in (1e-6, 1e-2))
    np.testing.assert_allclose(far, near * 100, rtol=0.01, atol=1e-4)
    assert unique(our_rows(old, FLOAT32, 5, 0, scale=0.0)) == 1


def test_no_new_rows_is_normal():
    np.testing.assert_array_equal(values(MeanResized(), 9, 4), values(Normal(), 9, 4))


@pytest.mark.parametrize("new_rows", [9, 10])
def test_new_rows_need_an_old_one(new_rows):
    with pytest.raises(ConfigError, match=f"new_rows is {new_rows} of 9 rows"):
        draw(MeanResized(new_rows=new_rows), 9, 4, BFLOAT16, np.random.default_rng(0))


@pytest.mark.parametrize("dim", [1, 2, 8])
def test_a_covariance_beyond_float32_is_none(dim):
    x = values(MeanResized(sigma=1e20, new_rows=5), 100, dim)
    assert np.isfinite(x).all()
    assert unique(x[95:]) == 1


def test_the_law_does_not_need_the_matrix_in_one_piece():
    old = correlated_rows(5000, 8, BFLOAT16)  # three tiles
    mean, factor = resized_law(old, BFLOAT16, 1e-9)
    exact = BFLOAT16.widen(old).astype(float)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(factor @ factor.T, 1e-9 * np.cov(exact.T, bias=True), rtol=1e-4, atol=1e-19)


# Files


def save(tmp_path, array):
    np.save(tmp_path / "w.npy", array)
    return FromFile(path=str(tmp_path / "w.npy"))


def read(tmp_path, array, rows, dim, fmt=BFLOAT16):
    return draw(save(tmp_path, array), rows, dim, fmt, np.random.default_rng(0))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", ">f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_of_a_file_are_rounded(tmp_path, dtype, order):
    array = np.asarray(vector(7 * 5).reshape(7, 5), dtype, order=order)
    for fmt in (BFLOAT16, FLOAT16, FLOAT32, FLOAT8_E4M3FN):
        np.testing.assert_array_equal(read(tmp_path, array, 7, 5, fmt), fmt.narrow(array.astype("<f4")))


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_words_of_a_file_are_kept(tmp_path, dtype):
    words = np.arange(12, dtype=np.uint16).reshape(3, 4) | 0x8000  # subnormals and a negative zero
    found = read(tmp_path, words.astype(dtype), 3, 4)
    np.testing.assert_array_equal(found, words)
    assert found.dtype == BFLOAT16.word_dtype


def test_a_large_file_is_read_in_blocks(tmp_path, monkeypatch):
    from forensics.initialisation import npy_file

    monkeypatch.setattr(npy_file, "BLOCK", 10)
    array = vector(21 * 4).reshape(21, 4)
    np.testing.assert_array_equal(read(tmp_path, array, 21, 4, FLOAT32), array.view(np.uint32))
    array[17, 2] = np.nan
    with pytest.raises(ConfigError, match="row 17 holds a number that is not finite in float32"):
        read(tmp_path, array, 21, 4, FLOAT32)


@pytest.mark.parametrize(
    ("array", "fmt", "message"),
    [
        (np.zeros((4, 3), np.float32), BFLOAT16, r"expected an array of \[3, 4\], found \[4, 3\]"),
        (np.zeros(12, np.float32), BFLOAT16, r"found \[12\]"),
        (np.zeros((3, 4)), BFLOAT16, "found float64"),
        (np.zeros((3, 4), np.int16), BFLOAT16, "found int16"),
        (np.zeros((3, 4), np.uint16), FLOAT16, "for a matrix of float16, found uint16"),
        (np.zeros((3, 4), np.uint8), FLOAT8_E4M3FN, "found uint8"),
        (np.full((3, 4), 1e6, np.float32), FLOAT16, "row 0 holds a number that is not finite in float16"),
        (np.full((3, 4), -np.inf, np.float32), BFLOAT16, "not finite"),
        (np.full((3, 4), 0x7F80, np.uint16), BFLOAT16, "not finite"),
        (np.full((3, 4), {}), BFLOAT16, "not a readable"),
    ],
)
def test_a_file_that_does_not_hold_the_matrix_is_refused(tmp_path, array, fmt, message):
    with pytest.raises(ConfigError, match=message) as raised:
        read(tmp_path, array, 3, 4, fmt)
    assert "w.npy" in str(raised.value)


def test_a_path_that_is_no_array_is_refused(tmp_path):
    (tmp_path / "text.npy").write_text("not an array")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.savez(tmp_path / "two.npz", a=np.zeros(2))
    whole = save(tmp_path, np.zeros((3, 4), np.float32)).path
    (tmp_path / "cut.npy").write_bytes((tmp_path / "w.npy").read_bytes()[:-4])
    assert draw(FromFile(path=whole), 3, 4, FLOAT32, np.random.default_rng(0)).shape == (3, 4)
    for name, message in (("missing.npy", "no such file"), ("", "not a readable")):
        with pytest.raises(ConfigError, match=message):
            draw(FromFile(path=str(tmp_path / name)), 3, 4, FLOAT32, np.random.default_rng(0))
    for name in ("text.npy", "empty.npy", "two.npz", "cut.npy", "\0"):
        with pytest.raises(ConfigError, match="not a readable .npy file"):
            draw(FromFile(path=str(tmp_path / name)), 3, 4, FLOAT32, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="no path is given"):
        draw(FromFile(), 3, 4, FLOAT32, np.random.default_rng(0))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 175), st.integers(0, 255)), max_size=4), st.integers(0, 176))
def test_a_damaged_file_is_refused_or_read(tmp_path_factory, changes, length):
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    np.save(path, np.ones((3, 4), np.float32))
    data = bytearray(path.read_bytes())
    for at, byte in changes:
        data[at] = byte
    path.write_bytes(data[: length or None])
    try:
        assert draw(FromFile(path=str(path)), 3, 4, FLOAT32, np.random.default_rng(0)).shape == (3, 4)
    except ConfigError as error:
        assert "damaged.npy" in str(error)


# Settings

NUMBERS = [
    (Normal, "sigma", "zero"),
    (Normal, "mean", "any"),
    (Point, "norm", "positive"),
    (PointNoise, "norm", "positive"),
    (PointNoise, "sigma", "zero"),
    (Ball, "radius", "positive"),
    (Shell, "radius", "positive"),
    (Laplace, "scale", "zero"),
    (MeanResized, "sigma", "zero"),
    (MeanResized, "covariance", "zero"),
]


@pytest.mark.parametrize(("cls", "name", "range_"), NUMBERS)
def test_a_number_is_checked_when_it_is_set(cls, name, range_):
    refused = [math.nan, math.inf, -math.inf, 1e39, 10**400, True, "1", None]
    refused += [] if range_ == "any" else [-1e-3]
    refused += [0, 0.0, 1e-60] if range_ == "positive" else []
    for value in refused:
        with pytest.raises(ConfigError, match=f"{cls.kind!r}: {name} is .*, expected a number"):
            cls(**{name: value})
    for value in (1, 0.5, np.float32(0.5), np.float64(0.5), np.int64(1)):
        assert getattr(cls(**{name: value}), name) == value
    assert range_ == "positive" or getattr(cls(**{name: 0}), name) == 0


@pytest.mark.parametrize("new_rows", [-1, 1.0, "1", True, None])
def test_new_rows_is_a_count(new_rows):
    with pytest.raises(ConfigError, match="whole number"):
        MeanResized(new_rows=new_rows)


def test_other_settings_are_checked():
    with pytest.raises(ConfigError, match="noise is 'float16', expected 'float32' or 'bfloat16'"):
        PointNoise(noise="float16")
    with pytest.raises(ConfigError, match="path is None"):
        FromFile(path=None)


def test_every_kind_is_listed():
    assert list(INITIALISATIONS) == [
        "normal",
        "point",
        "point-noise",
        "ball",
        "shell",
        "laplace",
        "zeros",
        "mean-resized",
        "file",
    ]
    for kind, cls in INITIALISATIONS.items():
        assert (cls.kind, cls().kind) == (kind, kind)
        assert cls() == cls()
        assert cls.__module__ == distributions.__name__


@pytest.mark.parametrize(("rows", "dim"), [(0, 4), (4, 0), (-1, 4)])
def test_a_matrix_has_rows_and_columns(rows, dim):
    with pytest.raises(ConfigError, match="cannot be drawn"):
        draw(Zeros(), rows, dim, BFLOAT16, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("initialisation", "fmt"),
    [
        (Normal(sigma=1e6), FLOAT16),
        (Normal(sigma=1000), FLOAT8_E4M3FN),  # it has no infinity: a nan
        (Normal(sigma=3e38), FLOAT32),
        (Normal(mean=3.4e38, sigma=0), BFLOAT16),
        (Point(norm=1e6), FLOAT16),
        (PointNoise(norm=1e6), FLOAT16),
        (PointNoise(norm=1, sigma=3e38, noise="bfloat16"), FLOAT32),
        (Ball(radius=1e7), FLOAT16),
        (Shell(radius=1e7), FLOAT16),
        (Laplace(scale=3e38), FLOAT32),
        (MeanResized(sigma=1e6, new_rows=1), FLOAT16),
        (MeanResized(sigma=1e3, new_rows=1, covariance=1e9), FLOAT16),
    ],
    ids=repr,
)
def test_numbers_beyond_the_format_are_refused(initialisation, fmt):
    with pytest.raises(ForensicsError, match=f"{initialisation.kind}.*beyond .*, the largest of {fmt.name}"):
        draw(initialisation, 20, 4, fmt, np.random.default_rng(0))
