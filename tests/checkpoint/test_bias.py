"""The output layer's bias: the one vector with a number a token, from any format, and nothing else."""

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from forensics.sources import open_checkpoint

ROWS, DIM = 60, 8
BIAS = np.linspace(-2, 2, ROWS, dtype=np.float32)


def opened(folder, named=None, **tensors):
    rows = np.random.default_rng(0).normal(0, 1, (ROWS, DIM)).astype(np.float32)
    folder.mkdir()
    save_file({"wte.weight": rows} | (named or {}) | tensors, folder / "model.safetensors")
    return open_checkpoint(str(folder))


@pytest.mark.parametrize("name", ["lm_head.bias", "cls.predictions.bias", "LM_HEAD.BIAS"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_it_is_read_exactly(tmp_path, name, dtype):
    found = opened(tmp_path / "m", {name: BIAS.astype(dtype)}).output_bias
    assert found.dtype == np.float32 and found.shape == (ROWS,)
    np.testing.assert_array_equal(found, BIAS.astype(dtype).astype(np.float32))


def test_a_row_vector_is_one_too(tmp_path):
    np.testing.assert_array_equal(opened(tmp_path / "m", {"lm_head.bias": BIAS[None]}).output_bias, BIAS)


def test_other_layers_are_not_as_wide(tmp_path):
    """A layer's bias has a number a hidden unit; a vector of the right length that is no bias is none either."""
    layers = {"h.0.attn.bias": BIAS[:DIM], "ln_f.weight": BIAS, "lm_head.bias": BIAS}
    np.testing.assert_array_equal(opened(tmp_path / "one", layers).output_bias, BIAS)
    del layers["lm_head.bias"]
    assert opened(tmp_path / "two", layers).output_bias is None


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"lm_head.bias": BIAS[1:]},
        {"lm_head.bias": BIAS.astype(np.int64)},
        {"lm_head.bias": BIAS[:, None]},
        {"lm_head.bias": BIAS, "other.bias": BIAS},  # which of the two cannot be told
    ],
    ids=["none", "short", "integers", "column", "two"],
)
def test_what_is_no_bias_is_none(tmp_path, named):
    assert opened(tmp_path / "m", named).output_bias is None


def test_of_two_matrices_it_has_the_length_of_the_second(tmp_path):
    head = np.random.default_rng(1).normal(0, 1, (ROWS - 4, DIM)).astype(np.float32)
    found = opened(tmp_path / "one", {"lm_head.weight": head, "lm_head.bias": BIAS[4:]})
    assert [e.n_rows for e in found.matrices] == [ROWS, ROWS - 4]
    np.testing.assert_array_equal(found.output_bias, BIAS[4:])
    assert opened(tmp_path / "two", {"lm_head.weight": head, "lm_head.bias": BIAS}).output_bias is None


def test_a_tensor_asked_for_by_name_comes_without(tmp_path):
    opened(tmp_path / "m", {"lm_head.bias": BIAS})
    assert open_checkpoint(str(tmp_path / "m"), tensor="wte.weight").output_bias is None


def test_an_infinity_in_it_is_kept(tmp_path):
    odd = BIAS.copy()
    odd[[3, 4]] = np.inf, np.nan
    np.testing.assert_array_equal(opened(tmp_path / "m", {"lm_head.bias": odd}).output_bias, odd)
