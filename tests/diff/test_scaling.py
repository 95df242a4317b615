"""A common factor planted and found; noise, a shift and lone rows have none."""

import numpy as np
import pytest

from forensics.diff import claim, diff_embeddings
from forensics.embedding import Embedding
from forensics.formats import FORMATS


def matrix(values, fmt="float32"):
    return Embedding(
        FORMATS[fmt].narrow(values.astype(np.float32)).view(np.uint8), FORMATS[fmt], values.shape[1], "input"
    )


@pytest.fixture
def rows():
    return np.random.default_rng(0).standard_normal((300, 128))


def scaling(a, b, fmt="float32"):
    return diff_embeddings(matrix(a, fmt), matrix(b, fmt)).scaling


@pytest.mark.parametrize(
    ("fmt", "factor"), [("float32", 0.9998), ("float32", 0.5), ("float16", 0.99), ("bfloat16", 0.97), ("bfloat16", 1.1)]
)
def test_a_planted_factor_is_found_among_trained_rows(rows, fmt, factor):
    after = rows * factor
    trained = np.arange(0, 300, 3)
    after[trained] += np.random.default_rng(1).standard_normal((100, 128))
    found = scaling(rows, after, fmt)
    assert found.factor == pytest.approx(factor, abs=3e-5 if fmt == "float32" else 1e-3)
    assert (found.rows, found.of) == (200, 300) and found.explained > 0.8


def test_nothing_is_found_in_noise(rows):
    noise = np.random.default_rng(2).standard_normal(rows.shape)
    for after in (rows + 0.01 * noise, rows + noise, noise, rows + 1, rows[::-1], rows):
        assert scaling(rows, after) is None


def test_rows_with_factors_of_their_own_share_none(rows):
    factors = np.random.default_rng(3).uniform(0.1, 5, (300, 1))
    found = scaling(rows, rows * factors)
    assert found is None or found.rows < 200


def test_one_row_is_no_common_factor(rows):
    after = rows.copy()
    after[4] *= 0.9
    assert scaling(rows, after) is None
    after[100:] += np.random.default_rng(5).standard_normal((200, 128))
    assert scaling(rows, after) is None
    after[5] *= 0.9
    assert scaling(rows, after).rows == 2


def test_few_dimensions_let_chance_find_one():
    rng = np.random.default_rng(4)
    for dim in (1, 2, 8, 16):
        assert scaling(rng.standard_normal((300, dim)), rng.standard_normal((300, dim))) is None


def test_zero_and_non_finite_rows_have_no_factor(rows):
    after = rows * 0.9
    rows[0], after[1], rows[2, 5], after[3, 5] = 0, 0, np.inf, np.nan
    found = scaling(rows, after)
    assert found.factor == pytest.approx(0.9) and found.rows == 296 and found.of == 297


def test_the_claim_says_so(rows):
    said = " ".join(claim(diff_embeddings(matrix(rows), matrix(rows * 0.75))))
    assert "300 of 300 rows that changed are 0.75 times what they were" in said and "100.0%" in said
