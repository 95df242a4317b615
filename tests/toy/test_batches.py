"""Batches: each order against its law, the same whatever was asked before, within the stream."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import ConfigError
from forensics.toy.batches import Batches

ORDERS = [("chunks", 0), ("random", 0), ("random", 37), ("stride-1", 0)]
orders = st.sampled_from(ORDERS)


def counted(n):
    """A stream whose tokens say where they lie."""
    return np.arange(n, dtype=np.int32)


@pytest.mark.parametrize(("order", "windows"), ORDERS)
def test_a_batch_holds_windows_of_the_stream(order, windows):
    batches = Batches(counted(500) * 3, 4, 7, order, 1, windows)
    for step in (1, 2, 50, 10_000):
        batch = batches.at(step)
        assert batch.shape == (4, 7)
        assert batch.dtype == np.int64
        assert np.all(np.diff(batch) == 3)
        assert np.array_equal(batch[:, 0], batches.starts(step) * 3)


@given(orders, st.integers(1, 9), st.integers(1, 12), st.integers(0, 90), st.integers(0, 2**70), st.integers(1, 400))
def test_every_window_lies_within_the_stream(order, batch, context, more, seed, step):
    tokens = counted(batch * context + more)
    starts = Batches(tokens, batch, context, order[0], seed, order[1]).starts(step)
    assert starts.min() >= 0
    assert starts.max() + context <= tokens.size


@pytest.mark.parametrize(
    ("order", "windows", "expected"),
    [("chunks", 0, range(0, 497, 7)), ("stride-1", 0, range(494)), ("random", 37, None)],
)
def test_an_epoch_takes_each_window_at_most_once_and_all_but_the_last_few(order, windows, expected):
    batches = Batches(counted(500), 4, 7, order, 5, windows)
    steps = batches.steps_per_epoch
    epochs = [
        np.concatenate([batches.starts(step) for step in range(first, first + steps)])
        for first in (1, 1 + steps, 1 + 2 * steps)
    ]
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])
    assert all(epoch.size == batches.windows // 4 * 4 for epoch in epochs)
    if expected is None:  # a pool may hold a start twice; three epochs of 36 show all of its 37 starts
        assert batches.windows == windows
        assert len(np.unique(epochs)) <= windows
        most = np.max([np.bincount(epoch, minlength=494) for epoch in epochs], axis=0)
        assert most.sum() <= windows
    else:
        assert batches.windows == len(expected)
        for epoch in epochs:
            assert len(set(epoch)) == epoch.size
            assert set(epoch) <= set(expected)
        assert set(np.concatenate(epochs)) == set(expected)


def test_where_chunks_fit_exactly_an_epoch_is_the_stream():
    batches = Batches(counted(60), 3, 5, "chunks", 0)
    epoch = np.concatenate([batches.at(step).ravel() for step in range(1, 5)])
    assert sorted(epoch) == list(range(60))
    assert list(epoch) != list(range(60))


def test_stride_one_reaches_the_last_token():
    batches = Batches(counted(11), 1, 4, "stride-1", 0)
    assert max(batches.at(step).max() for step in range(1, 9)) == 10


def test_random_starts_are_even():
    batches = Batches(counted(29), 50, 10, "random", 3)
    times = np.bincount(np.concatenate([batches.starts(step) for step in range(1, 401)]))
    assert batches.steps_per_epoch is None
    assert times.size == 20  # every start that fits, and no other
    assert np.all(abs(times - 1_000) < 160)  # five standard deviations


@pytest.mark.parametrize(("order", "windows"), ORDERS)
def test_a_batch_depends_on_seed_and_step_alone(order, windows):
    tokens = counted(300)
    forward = Batches(tokens, 4, 7, order, 1, windows)
    batches = {step: forward.at(step) for step in range(1, 300)}
    shuffled = np.random.default_rng(0).permutation(np.arange(1, 300))
    again = Batches(tokens, 4, 7, order, 1, windows)
    assert all(np.array_equal(again.at(int(step)), batches[step]) for step in shuffled)
    assert np.array_equal(Batches(tokens, 4, 7, order, 1, windows).at(299), batches[299])
    assert not np.array_equal(Batches(tokens, 4, 7, order, 2, windows).at(299), batches[299])
    assert not np.array_equal(batches[1], batches[2])


def test_no_more_than_two_epochs_are_kept():
    batches = Batches(counted(100), 2, 5, "chunks", 0)
    for step in [*range(1, 101), 3, 50, 99]:
        batches.at(step)
        assert len(batches._shuffled) <= 2


def test_the_batches_of_a_seed_stay_what_they_were():
    """A resumed run relies on it; it fails if numpy changes how it draws."""
    found = [list(Batches(counted(40), 3, 4, order, 42, min(windows, 5)).starts(2)) for order, windows in ORDERS]
    assert found == [[28, 12, 8], [35, 18, 22], [10, 35, 8], [5, 4, 23]]


@pytest.mark.parametrize(("order", "enough"), [("chunks", 28), ("random", 7), ("stride-1", 10)])
def test_one_batch_is_the_least(order, enough):
    assert Batches(counted(enough), 4, 7, order, 0).at(1).shape == (4, 7)
    with pytest.raises(ConfigError, match=rf"has {enough - 1} tokens, .* need {enough}; take a longer text"):
        Batches(counted(enough - 1), 4, 7, order, 0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch": 0}, "batches.batch is 0, expected a whole number from 1"),
        ({"context": -1}, "batches.context is -1"),
        ({"order": "sorted"}, "batches.order is 'sorted', expected one of chunks, random, stride-1"),
        ({"seed": -1}, "batches.seed is -1"),
        ({"windows": -1}, "batches.windows is -1"),
        ({"windows": 9, "order": "chunks"}, "batches.windows is 9, expected 0: order 'chunks'"),
        ({"windows": 1}, "batches.windows is 1, expected 0, or at least one batch of 2"),
    ],
)
def test_settings_out_of_range(changed, said):
    settings = {"batch": 2, "context": 3, "order": "random", "seed": 0, "windows": 0} | changed
    with pytest.raises(ConfigError) as refused:
        Batches(counted(100), **settings)
    assert said in str(refused.value)


def test_there_is_no_step_before_the_first():
    with pytest.raises(ConfigError, match="step 0 reads no batch"):
        Batches(counted(100), 2, 3, "chunks", 0).at(0)
