"""Distances against a plain oracle over int64 ordinals: every metric, every format, every way through the search."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forensics.embedding import Embedding
from forensics.errors import FormatError
from forensics.formats import BFLOAT16, FLOAT8_E4M3FN, FLOAT32, FORMATS, NAN, BlockFormat
from forensics.lattice import distances
from forensics.lattice.coordinates import compact_ordinals
from forensics.lattice.distances import (
    hamming_bits,
    nearest_members,
    pairwise_distances,
    pairwise_value_distances,
    row_ordinals,
)

METRICS = ("l0", "l1", "l2", "linf")
BOUNDS = (None, 0, 1, 7, 1000, 10**6)
ROOT = Path(__file__).resolve().parents[2]

each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
each_metric = pytest.mark.parametrize("metric", METRICS)


def largest_rank(fmt):
    return fmt.largest_finite + fmt.has_infinity


def embedding(fmt, words):
    words = np.ascontiguousarray(words, fmt.word_dtype)
    return Embedding(words.view(np.uint8), fmt, words.shape[1])


def oracle(first, second, metric):
    """The distance of two sets of int64 ranks, by definition; exact integers but for l2."""
    gap = np.abs(first[:, None, :].astype(np.int64) - second[None].astype(np.int64))
    if metric == "l0":
        return (gap != 0).sum(axis=2)
    if metric == "l1":
        return gap.sum(axis=2)
    if metric == "linf":
        return gap.max(axis=2)
    return np.sqrt((gap.astype(np.float64) ** 2).sum(axis=2))


def assert_same(found, expected, metric):
    assert found.dtype == (np.float64 if metric == "l2" else np.int64)
    if metric == "l2":
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=0)
    else:
        np.testing.assert_array_equal(found, expected)


def ranks_of(fmt, shape):
    """Ranks with the ends of the range, zero and its neighbours drawn often."""
    top = largest_rank(fmt)
    special = st.sampled_from([-top, -top + 1, -1, 0, 1, top - 1, top, 1 << fmt.mantissa_bits])
    return hnp.arrays(np.int64, shape, elements=special | st.integers(-top, top), fill=st.nothing())


@st.composite
def two_sets(draw):
    fmt = draw(st.sampled_from(list(FORMATS.values())))
    dim = draw(st.integers(1, 7))
    first = draw(ranks_of(fmt, (draw(st.integers(1, 5)), dim)))
    second = draw(ranks_of(fmt, (draw(st.integers(1, 5)), dim)))
    return fmt, first, second


def stored(fmt, ranks):
    """Words of ranks, with -0.0 for every other zero."""
    words = fmt.words_of(ranks)
    zeros = np.flatnonzero(words == 0)
    words.reshape(-1)[zeros[::2]] = 1 << (fmt.bits - 1)
    return words


class TestPairwise:
    @each_metric
    @given(two_sets())
    @example((BFLOAT16, np.array([[0x7F80, -0x7F80]]), np.array([[-0x7F80, 0x7F80]])))
    @example((FLOAT32, np.array([[0x7F80_0000] * 3]), np.array([[-0x7F80_0000] * 3])))
    @settings(max_examples=60)
    def test_against_the_definition(self, metric, drawn):
        fmt, first, second = drawn
        a, b = compact_ordinals(fmt, stored(fmt, first)), compact_ordinals(fmt, stored(fmt, second))
        assert_same(pairwise_distances(a, b, metric), oracle(first, second, metric), metric)

    def test_the_widest_differences(self):
        ends = np.array([[0xFF80], [0x7F80]], np.uint16)
        a = compact_ordinals(BFLOAT16, ends)
        assert pairwise_distances(a[:1], a[1:], "linf").tolist() == [[65_280]]
        ends = np.array([[0xFF80_0000] * 5, [0x7F80_0000] * 5], np.uint32)
        a = compact_ordinals(FLOAT32, ends)
        assert pairwise_distances(a[:1], a[1:], "linf").tolist() == [[0xFF00_0000]]
        assert pairwise_distances(a[:1], a[1:], "l1").tolist() == [[5 * 0xFF00_0000]]
        assert pairwise_distances(a[:1], a[1:], "l0").tolist() == [[5]]

    def test_sums_beyond_32_bits(self):
        dim = 70_000  # times 65,280 is more than 2^32
        words = np.array([[0xFF80], [0x7F80]], np.uint16).repeat(dim, axis=1)
        a = compact_ordinals(BFLOAT16, words)
        assert pairwise_distances(a[:1], a[1:], "l1").tolist() == [[dim * 65_280]]
        assert pairwise_distances(a[:1], a[1:], "l2").tolist() == [[(dim * 65_280**2) ** 0.5]]

    @each_metric
    @pytest.mark.parametrize("numbers", [1, 10, 1 << 17])
    def test_in_blocks_of_any_size(self, metric, numbers, monkeypatch):
        monkeypatch.setattr(distances, "BLOCK_NUMBERS", numbers)
        ranks = np.random.default_rng(3).integers(-300, 300, (23, 5)).astype(np.int16)
        assert_same(pairwise_distances(ranks, ranks[:9], metric), oracle(ranks, ranks[:9], metric), metric)

    @each_metric
    def test_no_rows(self, metric):
        none, some = np.empty((0, 4), np.int16), np.zeros((3, 4), np.int16)
        assert pairwise_distances(none, some, metric).shape == (0, 3)
        assert pairwise_distances(some, none, metric).shape == (3, 0)

    @each_metric
    @given(st.data())
    @settings(max_examples=60)
    def test_is_a_metric_on_values(self, metric, data):
        fmt = data.draw(st.sampled_from(list(FORMATS.values())))
        dim = data.draw(st.integers(1, 4))
        ranks = data.draw(ranks_of(fmt, (4, dim)))
        words = stored(fmt, np.concatenate([ranks, ranks[:2]]))  # two rows again, other signs on their zeros
        values = fmt.widen(words)
        a = compact_ordinals(fmt, words)
        found = pairwise_distances(a, a, metric)
        equal = (values[:, None] == values[None]).all(axis=2)
        np.testing.assert_array_equal(found == 0, equal)
        assert equal[0, 4]
        assert equal[1, 5]
        np.testing.assert_array_equal(found, found.T)
        through = found[:, :, None] + found[None]
        slack = 1e-12 * found.max() if metric == "l2" else 0
        assert (found[:, None, :] <= through + slack).all()


def test_row_ordinals_are_those_of_the_tokens():
    words = np.array([[0x8000, 0x3F80], [0xBF80, 0x0001], [0x8001, 0x0000]])
    assert row_ordinals(embedding(BFLOAT16, words), np.array([2, 1])).tolist() == [[-1, 0], [-0x3F80, 1]]


@each_format
def test_hamming_bits_against_counting_by_hand(fmt):
    rng = np.random.default_rng(5)
    a = rng.integers(0, 1 << fmt.bits, (7, 9)).astype(fmt.word_dtype)
    b = np.concatenate([a[:2], ~a[2:3], rng.integers(0, 1 << fmt.bits, (2, 9)).astype(fmt.word_dtype)])
    expected = [[sum((x ^ y).bit_count() for x, y in zip(p, q, strict=True)) for q in b.tolist()] for p in a.tolist()]
    found = hamming_bits(a, b)
    assert found.dtype == np.int64
    assert found.tolist() == expected
    assert found[0, 0] == 0
    assert found[2, 2] == 9 * fmt.bits


LAYOUTS = {
    # members, dimensions on which they differ, how far, rows near them, dim
    "close": (9, 5, 3, 30, 24),
    "equal but for one": (4, 1, 1, 10, 24),
    "all alike": (5, 0, 0, 10, 24),
    "spread": (9, 24, None, 10, 24),
    "spread on some": (12, 7, None, 30, 24),
    "one member": (1, 0, 0, 10, 24),
    "one column": (6, 1, 40, 30, 1),
    "more members than rows": (150, 20, 60, 30, 24),
}


def scene(fmt, layout, n_rows=90, seed=11):
    """Words of a matrix with rows at, near and far from some members, and nan rows; the members' ranks."""
    n_members, n_differ, how_far, n_near, dim = LAYOUTS[layout]
    rng = np.random.default_rng(seed)
    top = largest_rank(fmt)
    how_far = top if how_far is None else how_far
    centre = rng.integers(-top, top + 1, dim)
    centre[0] = 0
    members = np.repeat(centre[None], n_members, axis=0)
    some = rng.permutation(dim)[:n_differ]
    members[:, some] += rng.integers(-how_far, how_far + 1, (n_members, n_differ))
    members = np.clip(members, -top, top)
    rows = rng.integers(-top, top + 1, (n_rows, dim))
    rows[:n_near] = members[rng.integers(0, n_members, n_near)]
    turn = np.arange(n_near)[:, None] % 4  # at a member, a few steps off on a dimension or so, further off
    moved = rng.random((n_near, dim)) < np.choose(turn, [0, 1.2 / dim, 0.3, 0.3])
    rows[:n_near] += moved * rng.integers(-5, 6, (n_near, dim)) * np.maximum(turn, 1)
    rows[n_near : n_near + 20, dim // 2 :] = members[0, dim // 2 :]  # near on half of the dimensions
    rows[n_near + 20 : n_near + 40] = centre + rng.integers(-800, 801, (20, dim))
    rows = rng.permutation(np.clip(rows, -top, top), axis=0)
    words = stored(fmt, rows)
    nan_rows = [3, 17, n_rows - 1]
    words[nan_rows, [0, dim // 2, dim - 1]] = fmt.magnitude_mask
    words[17] |= 1 << (fmt.bits - 1)
    assert np.flatnonzero((fmt.classify(words) == NAN).any(axis=1)).tolist() == nan_rows
    return embedding(fmt, words), rows, members, nan_rows


def expected_nearest(rows, members, nan_rows, metric, bound):
    table = oracle(rows, members, metric)
    member, distance = table.argmin(axis=1), table.min(axis=1)
    out = np.zeros(len(rows), np.bool_) if bound is None else distance > bound
    out[nan_rows] = True
    return np.where(out, -1, distance), np.where(out, -1, member), table


def assert_nearest(found, rows, members, nan_rows, metric, bound):
    distance, member, table = expected_nearest(rows, members, nan_rows, metric, bound)
    assert found.member.dtype == np.int32
    assert_same(found.distance, distance, metric)
    if metric == "l2":  # a near tie may fall either way in the last digit of a root
        np.testing.assert_array_equal(found.member < 0, member < 0)
        some = np.flatnonzero(member >= 0)
        np.testing.assert_allclose(table[some, found.member[some]], distance[some], rtol=1e-14)
        differ = found.member != member
        assert (found.member[differ] > member[differ]).all()
    else:
        np.testing.assert_array_equal(found.member, member)


class TestNearestMembers:
    @each_metric
    @each_format
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_against_the_definition(self, layout, fmt, metric):
        matrix, rows, members, nan_rows = scene(fmt, layout)
        compact = compact_ordinals(fmt, fmt.words_of(members))
        for bound in BOUNDS if metric != "l0" else (None,):
            found = nearest_members(matrix, compact, metric, bound)
            assert_nearest(found, rows, members, nan_rows, metric, bound)

    @each_metric
    @given(two_sets())
    @settings(max_examples=40)
    def test_against_the_definition_by_property(self, metric, drawn):
        fmt, rows, members = drawn
        compact = compact_ordinals(fmt, stored(fmt, members))
        for bound in (None, 2, largest_rank(fmt)) if metric != "l0" else (None,):
            found = nearest_members(embedding(fmt, stored(fmt, rows)), compact, metric, bound)
            assert_nearest(found, rows, members, [], metric, bound)

    def test_scenes_try_what_they_should(self):
        """Rows within and beyond each bound, and ties between members, occur among the scenes."""
        for metric in ("l1", "linf"):
            _, rows, members, nan_rows = scene(BFLOAT16, "close")
            distance, _, table = expected_nearest(rows, members, nan_rows, metric, None)
            for low, high in ((0, 0), (1, 7), (8, 1000), (1001, 10**6)):
                assert ((distance >= low) & (distance <= high)).any()
            assert ((table == table.min(axis=1)[:, None]).sum(axis=1) > 1).any()

    @each_metric
    def test_ties_take_the_first(self, metric):
        members = np.array([[5, 9], [4, 2], [0, 2], [2, 0], [2, 4], [4, 2]], np.int16)
        words = BFLOAT16.words_of(np.array([[2, 2], [4, 2], [3, 3], [60, 2]]))
        found = nearest_members(embedding(BFLOAT16, words), members, metric)
        table = oracle(np.array([[2, 2], [4, 2], [3, 3], [60, 2]]), members, metric)
        assert found.member.tolist() == table.argmin(axis=1).tolist()
        assert found.member[:2].tolist() == [1, 1]
        many = np.zeros((700, 2), np.int16)
        assert nearest_members(embedding(BFLOAT16, words), many, metric).member.tolist() == [0] * 4

    @pytest.mark.parametrize("metric", ["l1", "l2", "linf"])
    def test_all_rows_beyond_the_bound(self, metric):
        matrix = embedding(BFLOAT16, np.full((20, 5), 0x3F80))
        found = nearest_members(matrix, np.full((2, 5), 0x3F00, np.int16), metric, 127)
        assert found.distance.tolist() == [-1] * 20
        assert found.member.tolist() == [-1] * 20

    @each_metric
    def test_one_row_one_column_one_member(self, metric):
        matrix = embedding(FLOAT8_E4M3FN, np.array([[0x81]]))
        found = nearest_members(matrix, np.array([[4]], np.int16), metric)
        assert (found.distance.tolist(), found.member.tolist()) == ([1 if metric == "l0" else 5], [0])

    @each_metric
    def test_only_nan_rows(self, metric):
        found = nearest_members(embedding(BFLOAT16, np.full((3, 2), 0xFFC0)), np.zeros((1, 2), np.int16), metric)
        assert found.distance.tolist() == found.member.tolist() == [-1, -1, -1]

    @pytest.mark.parametrize("bound", [None, 5])
    @pytest.mark.parametrize("metric", ["l1", "l2", "linf"])
    def test_no_members(self, metric, bound):
        found = nearest_members(embedding(BFLOAT16, np.zeros((3, 2))), np.empty((0, 2), np.int16), metric, bound)
        assert found.distance.tolist() == found.member.tolist() == [-1, -1, -1]

    def test_l0_with_a_bound_is_refused(self):
        with pytest.raises(ValueError, match="L0"):
            nearest_members(embedding(BFLOAT16, np.zeros((3, 2))), np.zeros((1, 2), np.int16), "l0", 1)

    def test_quantised_is_refused(self):
        matrix = Embedding(np.zeros((2, 34), np.uint8), BlockFormat("Q8_0", 8, 32, 34), 32)
        with pytest.raises(FormatError, match="Q8_0 blocks"):
            nearest_members(matrix, np.zeros((1, 32), np.int16), "linf")

    @each_metric
    @pytest.mark.parametrize("layout", ["close", "spread on some", "more members than rows"])
    def test_block_size_and_threads_change_nothing(self, layout, metric, monkeypatch):
        matrix, rows, members, nan_rows = scene(BFLOAT16, layout)
        compact = members.astype(np.int16)
        bounds = (None, 1000) if metric != "l0" else (None,)
        for numbers, threads in ((1, 1), (50, 2), (301, 5), (1 << 17, None)):
            monkeypatch.setattr(distances, "BLOCK_NUMBERS", numbers)
            monkeypatch.setattr(os, "cpu_count", lambda n=threads: n)
            for bound in bounds:
                found = nearest_members(matrix, compact, metric, bound)
                assert_nearest(found, rows, members, nan_rows, metric, bound)

    @pytest.mark.parametrize("bound", [None, 3])
    def test_many_blocks_in_parallel(self, bound):
        """6 MB, six streamed blocks: each row's answer lands in its own place."""
        rng = np.random.default_rng(2)
        members = rng.integers(-9_000, 9_000, (3, 1)) + rng.integers(0, 50, (3, 256))
        rows = np.repeat(members, 4_000, axis=0)
        rows[:, 9] += np.arange(12_000) % 6
        order = rng.permutation(12_000)
        found = nearest_members(
            embedding(BFLOAT16, BFLOAT16.words_of(rows[order])), members.astype(np.int16), "linf", bound
        )
        away = order % 6
        kept = np.ones(12_000, np.bool_) if bound is None else away <= bound
        np.testing.assert_array_equal(found.distance, np.where(kept, away, -1))
        np.testing.assert_array_equal(found.member, np.where(kept, order // 4_000, -1))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the kernel's account of memory")
def test_memory_stays_bounded_on_a_large_matrix(tmp_path):
    """200 MB mapped, under 100 MB held: interpreter, numpy, results and every thread's blocks."""
    path = tmp_path / "matrix"
    rng = np.random.default_rng(0)
    piece = rng.integers(0, 0x7F80, (2_000, 1_000), dtype=np.uint16).tobytes()
    with path.open("wb") as file:
        for _ in range(50):
            file.write(piece)
    script = """
        import sys, threading
        from pathlib import Path
        import numpy as np
        from forensics.embedding import Embedding
        from forensics.formats import BFLOAT16
        from forensics.lattice.distances import nearest_members, row_ordinals

        def held():
            lines = Path("/proc/self/status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])

        peak, done = held(), threading.Event()

        def watch():
            global peak
            while not done.wait(0.001):
                peak = max(peak, held())

        threading.Thread(target=watch).start()
        try:
            matrix = Embedding(np.memmap(sys.argv[1], np.uint8, "r", shape=(100_000, 2_000)), BFLOAT16, 1_000)
            near = row_ordinals(matrix, np.array([5, 5, 5])) + np.arange(3, dtype=np.int16)[:, None]
            for members in (near, row_ordinals(matrix, np.array([5, 6, 7]))):
                for bound in (None, 10**6, 1):
                    found = nearest_members(matrix, members, "linf", bound)
                    assert (found.distance == 0).sum() >= 50
        finally:
            done.set()
        print(peak)
    """
    try:
        command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        path.unlink()
    assert done.returncode == 0, done.stderr
    assert 10 * 1024 < int(done.stdout) < 100 * 1024


@each_format
@each_metric
def test_distances_between_values_are_their_definitions(fmt, metric):
    rng = np.random.default_rng(5)
    words = fmt.narrow(rng.standard_normal((14, 9)).astype(np.float32))
    words[3] = words[11]
    words[4, :5] = words[12, :5]
    values = fmt.widen(words)
    found = pairwise_value_distances(values[:8], values[8:], metric)
    for i, a in enumerate(values[:8].astype(np.float64)):
        for j, b in enumerate(values[8:].astype(np.float64)):
            gap = np.abs(a - b)
            expected = {
                "l0": np.count_nonzero(a != b),
                "l1": gap.sum(),
                "l2": np.sqrt((gap**2).sum()),
                "linf": gap.max(),
            }[metric]
            assert found[i, j] == pytest.approx(expected, rel=1e-12)
    assert found[3, 3] == 0  # the same row


def test_minus_zero_and_plus_zero_are_one_value():
    rows = np.array([[0.0, 1.0], [-0.0, 1.0]], np.float32)
    for metric in METRICS:
        assert pairwise_value_distances(rows[:1], rows[1:], metric)[0, 0] == 0
