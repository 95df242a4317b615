"""Zigzag differences and runs of steps: exact, and small for small steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forensics.errors import RecordingError
from forensics.recording.differences import decode, decode_last, encode
from forensics.recording.steps import Steps, index_of

words = st.sampled_from([np.uint8, np.uint16, np.uint32]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6))
)


@given(words)
def test_the_way_back_is_exact(given):
    stored = encode(given)
    np.testing.assert_array_equal(decode(stored), given)
    for n in range(1, len(given) + 1):
        np.testing.assert_array_equal(decode_last(stored[:n]), given[n - 1])


def test_small_steps_are_small_numbers():
    start = np.array([0, 1, 65535, 0x3F80, 0xBF80], np.uint16)
    for step, code in [(0, 0), (-1, 1), (1, 2), (-2, 3), (2, 4), (-32768, 65535)]:
        stored = encode(np.stack([start, start + np.array(step).astype(np.uint16)]))
        assert set(stored[1].tolist()) == {code}


def test_the_documented_recipe_undoes_it():
    """What :mod:`forensics.recording.layout` tells a reader who has only numpy and zarr."""
    words = np.random.default_rng(0).integers(0, 1 << 16, (16, 7, 5)).astype(np.uint16)
    z = encode(words)
    d = (z >> 1) ^ -(z & 1)
    d[0] = z[0]
    np.testing.assert_array_equal(np.cumsum(d, axis=0, dtype=z.dtype), words)


@given(st.sets(st.integers(0, 400)))
def test_runs_are_the_steps(steps):
    steps = sorted(steps)
    runs = Steps.of(steps)
    assert runs.array().tolist() == steps and len(runs) == len(steps)
    assert Steps.parse(runs.runs, "x").array().tolist() == steps


def test_a_schedule_takes_few_runs():
    assert Steps.of([*range(101), *range(110, 5001, 10)]).runs == [[0, 1, 101], [110, 10, 490]]


@pytest.mark.parametrize(
    "runs",
    [None, {}, [1], [[0, 1]], [[0, 1, 1.5]], [[0, 0, 2]], [[0, 1, 0]], [[-1, 1, 2]], [[0, 1, 5], [4, 1, 1]],
     [[0, 1, 1 << 40]], [[True, 1, 1]]],
)  # fmt: skip
def test_damaged_runs(runs):
    with pytest.raises(RecordingError, match="steps"):
        Steps.parse(runs, "x")


@pytest.mark.parametrize(
    ("step", "near"), [(0, "the nearest are 3"), (4, "the nearest are 3 and 6"), (99, "the nearest are 9; ")]
)
def test_a_step_that_is_not_there(step, near):
    with pytest.raises(RecordingError, match=f"channel W: step {step} is not recorded; {near}"):
        index_of(np.array([3, 6, 9]), step, "W")
