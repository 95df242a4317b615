"""The compact cloud against the rows that it was made from, and its components against all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forensics.errors import HypothesisError
from forensics.formats import BFLOAT16, FLOAT16, FORMATS, BlockFormat
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.observables import components
from forensics.hypotheses.observables.components import find_components
from forensics.lattice.graph import build_graph

WORDS = arrays(np.uint16, st.tuples(st.integers(1, 12), st.integers(1, 6)), elements=st.integers(0, 3))


@given(WORDS)
def test_a_cloud_holds_its_rows(rows):
    cloud = Cloud.from_rows(rows, BFLOAT16, rows.shape[1], np.arange(len(rows)))
    assert len(cloud) == len(rows) == cloud.populations.sum()
    np.testing.assert_array_equal(cloud.rows(), rows)
    np.testing.assert_array_equal(cloud.row, rows[0])
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    assert sorted(map(tuple, cloud.distinct_rows())) == list(map(tuple, distinct))
    assert sorted(cloud.populations) == sorted(counts)
    assert cloud.active.tolist() == np.flatnonzero((rows != rows[0]).any(axis=0)).tolist()
    np.testing.assert_array_equal(cloud.distinct_values(), BFLOAT16.widen(cloud.distinct_rows()))


@given(WORDS)
def test_patterns_are_by_population_and_then_by_first_row(rows):
    cloud = Cloud.from_rows(rows, BFLOAT16, rows.shape[1])
    first = [cloud.pattern_of.tolist().index(pattern) for pattern in range(len(cloud.patterns))]
    keys = list(zip(-cloud.populations, first, strict=True))
    assert keys == sorted(keys)


@given(WORDS, st.data())
def test_a_superset_of_the_active_columns_makes_the_same_cloud(rows, data):
    dim = rows.shape[1]
    needed = np.flatnonzero((rows != rows[0]).any(axis=0))
    more = data.draw(st.sets(st.integers(0, dim - 1)))
    active = np.array(sorted({*needed.tolist(), *more}), np.int64)
    base = rows[0].copy()
    base[active] = 9  # what it says there is not used
    made = Cloud.from_active(base, active, rows[:, active], BFLOAT16, dim)
    whole = Cloud.from_rows(rows, BFLOAT16, dim)
    for name in ("row", "active", "patterns", "pattern_of"):
        np.testing.assert_array_equal(getattr(made, name), getattr(whole, name))
    assert base[active].tolist() == [9] * len(active)


def test_the_signs_of_zero_are_two_rows():
    assert len(Cloud.from_rows(np.array([[0], [0x8000], [0]], np.uint16), FLOAT16, 1).patterns) == 2


def test_quantised_rows_are_told_apart_by_their_bytes():
    q8 = BlockFormat("Q8_0", 8, 32, 34)
    rows = np.zeros((3, 68), np.uint8)
    rows[1, 2] = 1  # a code under a scale of 0: other bytes, the same numbers
    cloud = Cloud.from_rows(rows, q8, 64)
    assert cloud.populations.tolist() == [2, 1] and cloud.active.tolist() == [2]
    assert cloud.distinct_values().shape == (2, 64) and not cloud.distinct_values().any()


@pytest.mark.parametrize(
    ("rows", "dim"),
    [
        (np.zeros((0, 3), np.uint16), 3),
        (np.zeros((2, 3), np.float32), 3),
        (np.zeros((2, 3), np.uint16), 4),
        (np.zeros(3, np.uint16), 3),
    ],
)
def test_what_is_no_cloud_is_refused(rows, dim):
    with pytest.raises(HypothesisError, match="bfloat16 rows of a cloud are uint16"):
        Cloud.from_rows(rows, BFLOAT16, dim)


def test_as_many_columns_as_active_ones():
    with pytest.raises(HypothesisError, match=r"uint16\[1 or more, 1\], found uint16\[2, 2\]"):
        Cloud.from_active(np.zeros(3, np.uint16), np.array([1]), np.zeros((2, 2), np.uint16), BFLOAT16, 3)


def graph_components(ordinals):
    """By the neighbour graph: the component of every row, numbered by its first."""
    wide = ordinals.astype(np.int64)
    linf = np.abs(wide[:, None] - wide[None]).max(axis=2, initial=0)
    found = build_graph(ordinals, linf, np.ones(len(ordinals), np.int64))
    out = np.empty(len(ordinals), np.int64)
    for component in found.components:
        out[component.nodes] = component.nodes[0]
    return out


def by_first(labels):
    return np.array([labels.tolist().index(label) for label in labels])


@given(
    arrays(
        np.int16,
        st.tuples(st.integers(1, 14), st.integers(1, 5)),
        elements=st.sampled_from([-32767, -4, -2, -1, 0, 1, 2, 3, 5, 32766, 32767]),
    )
)
def test_components_are_those_of_the_neighbour_graph(ordinals):
    labels = find_components(ordinals)
    assert sorted(set(labels)) == list(range(labels.max() + 1))
    np.testing.assert_array_equal(by_first(labels), graph_components(ordinals))


def sparse(rng, n, dim):
    """Rows that leave the first one by 1 to 3 steps on a few dimensions: the pairs that bits are slowest to part."""
    out = np.zeros((n, dim), np.int32)
    at = rng.integers(dim, size=(n, 2))
    out[np.arange(n)[:, None], at] = rng.choice([-3, -2, -1, 1, 2, 3], (n, 2))
    return out


KINDS = {
    "normal, half a step": lambda rng, n, dim: np.rint(rng.normal(0, 0.5, (n, dim))).astype(np.int16),
    "normal, a third": lambda rng, n, dim: np.rint(rng.normal(0, 0.31, (n, dim))).astype(np.int16),
    "wide": lambda rng, n, dim: rng.integers(-30_000, 30_000, (n, dim)).astype(np.int16),
    "wide, 32 bits": lambda rng, n, dim: rng.integers(-(2**31) + 1, 2**31 - 1, (n, dim)).astype(np.int32),
    "a chain": lambda rng, n, dim: rng.permutation(np.arange(n))[:, None].astype(np.int32) + np.zeros((1, dim), int),
    "sparse": sparse,
    "all far on one side": lambda rng, n, dim: np.vstack([np.zeros(dim), rng.integers(50, 54, (n - 1, dim))]).astype(
        int
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "dim"), [(60, 7), (150, 70), (40, 200)])
@pytest.mark.parametrize("small", [False, True])
def test_components_of_every_kind_of_cloud(kind, n, dim, small, monkeypatch):
    if small:  # many chunks, stages and exact blocks
        monkeypatch.setattr(components, "CHUNK", 500)
        monkeypatch.setattr(components, "EXACT", 300)
    ordinals = KINDS[kind](np.random.default_rng(0), n, dim)
    np.testing.assert_array_equal(by_first(find_components(ordinals)), graph_components(ordinals))


def test_every_float_format_makes_clouds():
    for fmt in FORMATS.values():
        words = np.array([[1, 2], [1, 2], [3, 2]], fmt.word_dtype)
        assert Cloud.from_rows(words, fmt, 2).populations.tolist() == [2, 1]
