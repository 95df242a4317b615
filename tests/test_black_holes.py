"""Plant identical rows and recover them; against independent partitions; and what a digest collision does."""

from collections import defaultdict

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import torch
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st

from forensics.black_holes import find_black_holes, find_equal_values
from forensics.embedding import Embedding
from forensics.formats import BFLOAT16, FLOAT16, FLOAT32, FORMATS, BlockFormat

Q8_0 = BlockFormat("Q8_0", 8, 32, 34)
Q4_0 = BlockFormat("Q4_0", 2, 32, 18)

each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)


def embed(fmt, words):
    words = np.ascontiguousarray(words, fmt.word_dtype)
    return Embedding(words.view(np.uint8), fmt, words.shape[1])


def partition(rows):
    """Groups of two or more equal rows, by their bytes in a dict; most populated first, then first id."""
    members = defaultdict(list)
    for token, row in enumerate(rows):
        members[row.tobytes()].append(token)
    groups = [ids for ids in members.values() if len(ids) > 1]
    return sorted(groups, key=lambda ids: (-len(ids), ids[0]))


def ids_of(found):
    return [hole.token_ids.tolist() for hole in found.holes]


def assert_consistent(found, rows, fmt=BFLOAT16):
    """Everything that a result says of itself follows from its groups."""
    groups = ids_of(found)
    assert [hole.id for hole in found.holes] == list(range(1, len(groups) + 1))
    assert found.populations == tuple(map(len, groups))
    assert [hole.population for hole in found.holes] == list(found.populations)
    assert [hole.representative for hole in found.holes] == [ids[0] for ids in groups]
    assert [hole.is_zero for hole in found.holes] == [not (rows[ids[0]] & fmt.magnitude_mask).any() for ids in groups]
    assert found.n_rows == len(rows)
    assert len(found) == len(groups)
    assert found.n_tokens == sum(map(len, groups))
    assert found.n_unique_rows == len({row.tobytes() for row in rows})
    expected = np.zeros(len(rows), int)
    for number, ids in enumerate(groups, start=1):
        expected[ids] = number
    assert found.hole_ids.tolist() == expected.tolist()
    assert found.mask.tolist() == (expected > 0).tolist()


# Plant and recover


@each_format
def test_planted_holes_are_recovered_and_nothing_else(fmt):
    rng = np.random.default_rng(11)
    # A counter in the last column keeps every other row apart from every other.
    words = rng.integers(0, 1 << (fmt.bits - 1), (250, 6), dtype=np.uint64).astype(fmt.word_dtype)
    words[:, 0] = np.arange(250) % 256
    planted = {3: [3, 4, 90, 249], 10: [10, 11], 0: [0, 100, 200], 50: [50, 51, 52, 53, 54]}
    for first, ids in planted.items():
        words[ids] = words[first]
    found = find_black_holes(embed(fmt, words))
    assert ids_of(found) == [[50, 51, 52, 53, 54], [3, 4, 90, 249], [0, 100, 200], [10, 11]]
    assert_consistent(found, words, fmt)


@each_format
def test_a_healthy_matrix_has_none(fmt):
    words = np.arange(256, dtype=fmt.word_dtype).reshape(128, 2)
    found = find_black_holes(embed(fmt, words))
    assert ids_of(found) == []
    assert found.n_unique_rows == found.n_rows == 128
    assert_consistent(found, words, fmt)


def test_a_matrix_of_many_rows_and_more_than_one_block():
    rng = np.random.default_rng(2)
    words = rng.integers(0, 1 << 16, (9000, 96), dtype=np.uint16)
    words[rng.choice(9000, 3000, replace=False)] = words[1]
    words[rng.choice(9000, 1000, replace=False)] = 0
    found = find_black_holes(embed(BFLOAT16, words))
    assert ids_of(found) == partition(words)
    assert [hole.is_zero for hole in found.holes] == [False, True]
    assert_consistent(found, words)


def test_one_changed_bit_anywhere_leaves_the_hole():
    row = np.random.default_rng(4).integers(0, 256, 12, dtype=np.uint8)
    rows = np.stack([row] * (12 * 8 + 2))
    for bit in range(12 * 8):
        rows[bit, bit // 8] ^= 1 << bit % 8
    found = find_black_holes(Embedding(rows, BFLOAT16, 6))
    assert ids_of(found) == [[96, 97]]


def test_ties_in_population_are_numbered_by_first_token():
    words = np.array([[9], [5], [7], [5], [9], [7], [1], [2], [2], [2]], np.uint16)
    found = find_black_holes(embed(BFLOAT16, words))
    assert ids_of(found) == [[7, 8, 9], [0, 4], [1, 3], [2, 5]]
    assert found.hole_ids.tolist() == [2, 3, 4, 3, 2, 4, 0, 1, 1, 1]


def test_minus_zero_and_plus_zero_differ():
    words = np.array([[0, 0], [0x8000, 0], [0, 0], [0x8000, 0], [0, 0x8000]], np.uint16)
    found = find_black_holes(embed(BFLOAT16, words))
    assert ids_of(found) == [[0, 2], [1, 3]]
    assert [hole.is_zero for hole in found.holes] == [True, True]  # two bit patterns, every number zero in both


def test_nan_rows_are_identical_by_payload():
    words = np.array([[0x7FC0], [0x7FC1], [0x7FC0], [0xFFC0], [0x7FC1]], np.uint16)
    assert ids_of(find_black_holes(embed(BFLOAT16, words))) == [[0, 2], [1, 4]]


def test_all_rows_equal():
    found = find_black_holes(embed(FLOAT32, np.full((7, 3), 0x3F800000, np.uint32)))
    assert ids_of(found) == [list(range(7))]
    assert (found.n_unique_rows, found.n_tokens) == (1, 7)


def test_one_row_is_no_hole():
    assert ids_of(find_black_holes(embed(FLOAT16, np.zeros((1, 5), np.uint16)))) == []


def test_a_quantised_matrix_is_compared_by_its_blocks():
    rows = np.random.default_rng(1).integers(0, 256, (6, 34), dtype=np.uint8)
    rows[[1, 4]] = rows[1]
    assert ids_of(find_black_holes(Embedding(rows, Q8_0, 32))) == [[1, 4]]


# Against independent partitions

few_words = st.sampled_from([0, 1, 2, 128, 129, 255])


@st.composite
def matrices(draw):
    """Small matrices of few distinct words, so that rows collide; sometimes wide in bits."""
    fmt = draw(st.sampled_from(list(FORMATS.values())))
    rows, dim = draw(st.integers(1, 30)), draw(st.integers(1, 3))
    words = np.array(draw(st.lists(few_words, min_size=rows * dim, max_size=rows * dim)), np.uint64)
    words <<= np.uint64(draw(st.integers(0, fmt.bits - 8)))
    return fmt, words.astype(fmt.word_dtype).reshape(rows, dim)


@given(matrices())
@example((BFLOAT16, np.zeros((2, 1), np.uint16)))
def test_the_partition_is_that_of_a_dict_of_row_bytes(matrix):
    fmt, words = matrix
    found = find_black_holes(embed(fmt, words))
    assert ids_of(found) == partition(words)
    assert_consistent(found, words, fmt)


@given(matrices())
def test_the_partition_is_that_of_numpy_unique_on_rows_as_opaque_items(matrix):
    fmt, words = matrix
    rows = embed(fmt, words).rows_bytes
    items = rows.view(f"V{rows.shape[1]}").reshape(-1)
    _, inverse, counts = np.unique(items, return_inverse=True, return_counts=True)
    found = find_black_holes(embed(fmt, words))
    assert found.mask.tolist() == (counts[inverse] > 1).tolist()
    assert sorted(found.populations) == sorted(counts[counts > 1])
    for hole in found.holes:
        assert len(set(inverse[hole.token_ids])) == 1


@given(matrices())
def test_the_partition_is_that_of_torch_unique_on_integer_views(matrix):
    fmt, words = matrix
    signed = torch.from_numpy(words.view(f"i{fmt.itemsize}").astype(np.int64))
    _, inverse, counts = torch.unique(signed, dim=0, return_inverse=True, return_counts=True)
    found = find_black_holes(embed(fmt, words))
    assert found.n_unique_rows == len(counts)
    assert found.mask.tolist() == (counts[inverse] > 1).tolist()
    same_hole = found.hole_ids[:, None] == found.hole_ids
    same_hole &= found.mask[:, None]
    np.fill_diagonal(same_hole, True)
    assert (same_hole == (inverse[:, None] == inverse).numpy()).all()


# Digest collisions

DIGESTS = {
    "one digest for all": lambda row: bytes(16),
    "by one bit": lambda row: bytes([row[0] & 1]) + bytes(15),
    "first half collides": lambda row: bytes(8) + xxhash.xxh3_64_digest(row),
    "second half collides": lambda row: xxhash.xxh3_64_digest(row) + bytes(8),
    "halves of the first byte": lambda row: bytes([row[0] & 1]) + bytes(7) + bytes([row[0] & 2]) + bytes(7),
}


@pytest.mark.parametrize("digest", DIGESTS.values(), ids=DIGESTS)
@given(matrix=matrices())
def test_a_digest_that_collides_gives_the_same_holes(digest, matrix):
    fmt, words = matrix
    found = find_black_holes(embed(fmt, words), digest=digest)
    assert ids_of(found) == partition(words)
    assert_consistent(found, words, fmt)


# Equal values


def equal_by_loop(values):
    """Groups of rows equal as numbers, by comparing all pairs; nan equals nothing."""
    groups, taken = [], set()
    for i in range(len(values)):
        if i in taken:
            continue
        same = [j for j in range(len(values)) if (values[i] == values[j]).all()]
        taken.update(same)
        if len(same) > 1:
            groups.append(same)
    return sorted(groups, key=lambda ids: (-len(ids), ids[0]))


@given(matrices())
@example((BFLOAT16, np.array([[0], [0x8000], [0x7FC0], [0x7FC0]], np.uint16)))
def test_equal_values_are_those_of_a_comparison_of_all_pairs(matrix):
    fmt, words = matrix
    embedding = embed(fmt, words)
    found = find_equal_values(embedding)
    assert ids_of(found) == equal_by_loop(embedding.values())
    for hole in found.holes:
        assert hole.is_zero == (not embedding.values()[hole.token_ids].any())


def test_equal_values_join_the_zeros_and_never_nan():
    nan = 0x7FC0
    words = np.array([[0, 1], [0x8000, 1], [nan, 1], [nan, 1], [0, 1], [0x7F80, 1], [0x7F80, 1]], np.uint16)
    embedding = embed(BFLOAT16, words)
    assert ids_of(find_equal_values(embedding)) == [[0, 1, 4], [5, 6]]
    assert ids_of(find_black_holes(embedding)) == [[0, 4], [2, 3], [5, 6]]


def test_only_nan_rows_are_no_groups():
    assert ids_of(find_equal_values(embed(BFLOAT16, np.full((5, 2), 0x7FC0, np.uint16)))) == []


def q8_0_row(*blocks):
    """A row from (scale, integers) pairs."""
    parts = []
    for scale, integers in blocks:
        parts += [np.float16(scale).tobytes(), np.resize(np.array(integers, np.int8), 32).tobytes()]
    return np.frombuffer(b"".join(parts), np.uint8)


def test_different_blocks_that_stand_for_equal_numbers():
    same = (1.5, [3, -1, 7])
    rows = np.stack(
        [
            q8_0_row((0.5, [2, -4, 6]), same),
            q8_0_row((1.0, [1, -2, 3]), same),  # twice the scale, half the integers
            q8_0_row((0.0, [5, -9]), same),  # a scale of zero: the integers do not matter
            q8_0_row((0.0, [77]), same),
            q8_0_row((-0.0, [1]), same),
            q8_0_row((-1.0, [-1, 2, -3]), same),
            q8_0_row((1.0, [1, -2, 4]), same),
            q8_0_row((np.nan, [1, 2]), same),
            q8_0_row((np.nan, [1, 2]), same),
            q8_0_row((1.0, [1, -2, 3]), same),
        ]
    )
    embedding = Embedding(rows, Q8_0, 64)
    assert ids_of(find_black_holes(embedding)) == [[1, 9], [7, 8]]
    found = find_equal_values(embedding)
    assert ids_of(found) == [[0, 1, 5, 9], [2, 3, 4]]
    assert ids_of(found) == equal_by_loop(embedding.values())
    assert [hole.is_zero for hole in found.holes] == [False, False]


def test_zero_blocks_stand_for_a_zero_row_whatever_their_integers():
    rows = np.stack([q8_0_row((0.0, [5])), q8_0_row((0.0, [6])), q8_0_row((1.0, [0]))])
    embedding = Embedding(rows, Q8_0, 32)
    assert ids_of(find_black_holes(embedding)) == []
    found = find_equal_values(embedding)
    assert ids_of(found) == [[0, 1, 2]]
    assert found.holes[0].is_zero


def test_equal_values_of_another_block_format():
    rows = np.random.default_rng(9).integers(0, 256, (40, 18), dtype=np.uint8)
    rows[:, 1] = 0x20
    rows[20:, 2:] = rows[:20, 2:]
    rows[30:] = rows[10:20]
    embedding = Embedding(rows, Q4_0, 32)
    assert ids_of(find_equal_values(embedding)) == equal_by_loop(embedding.values())
    assert len(find_black_holes(embedding)) == 10


def test_a_group_larger_than_a_block():
    # 40,000 rows of 64 numbers are 10 MB as floats: more than one stretch of the comparison.
    words = np.zeros((40_000, 64), np.uint16)
    words[::2, 5] = 0x8000
    words[7, 0] = 1
    found = find_equal_values(embed(BFLOAT16, words))
    assert found.populations == (39_999,)
    assert not found.mask[7]


# What a result shows


def test_a_result_reads_as_one_line_and_as_a_table():
    words = np.array([[0], [5], [5], [0], [5], [8]], np.uint16)
    found = find_black_holes(embed(BFLOAT16, words))
    assert str(found) == ("2 black holes: 5 of 6 tokens hold 2 distinct rows; 3 unique rows in all; populations [3, 2]")
    frame = found.to_frame()
    assert list(frame.columns) == ["id", "population", "representative", "is_zero", "token_ids"]
    assert frame["population"].tolist() == [3, 2]
    assert frame["representative"].tolist() == [1, 0]
    assert frame["is_zero"].tolist() == [False, True]
    assert [ids.tolist() for ids in frame["token_ids"]] == [[1, 2, 4], [0, 3]]


def test_no_holes_read_as_such():
    found = find_black_holes(Embedding.from_array(np.eye(3, dtype=ml_dtypes.bfloat16)))
    assert str(found).startswith("0 black holes: 0 of 3 tokens")
    frame = found.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == 0
    assert "population" in frame.columns
