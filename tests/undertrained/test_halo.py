"""The halo around planted holes and references."""

import ml_dtypes
import numpy as np
import pytest

from forensics.black_holes import find_black_holes
from forensics.embedding import Embedding
from forensics.formats import BlockFormat
from forensics.undertrained import find_halo, find_reference
from tests.undertrained.planted import with_untrained


def halo(array, **options):
    embedding = Embedding.from_array(array) if not isinstance(array, Embedding) else array
    holes = find_black_holes(embedding)
    return find_halo(embedding, holes, find_reference(embedding, holes), **options)


def planted():
    """Tokens 10 to 14 hold one row; 20, 21 and 22 are 1, 2 and 5 steps of bfloat16 away on one dimension."""
    array = with_untrained(0).astype(ml_dtypes.bfloat16)
    array[10:15] = array[10]
    array[[20, 21, 22]] = array[10]
    array.view(np.uint16)[[20, 21, 22], 3] += np.array([1, 2, 5], np.uint16)
    return array


def test_zero_rows_are_no_halo():
    """They are nearer to low rows than the bulk is, and a hole of their own."""
    array = planted()
    array[[30, 31, 32]] = 0
    assert not set(halo(array).token_ids.tolist()) & {30, 31, 32}
    assert not {t.token_id for t in halo(array).tokens} & {30, 31, 32}


def test_near_tokens_in_order_with_their_steps():
    found = halo(planted(), listed=5)
    assert found.token_ids.tolist() == [20, 21, 22]
    assert [(t.token_id, t.nearest, t.inside, t.linf_steps, t.l1_steps) for t in found.tokens[:3]] == [
        (20, 10, True, 1, 1),
        (21, 10, True, 2, 2),
        (22, 10, True, 5, 5),
    ]
    assert len(found.tokens) == 5
    assert not found.tokens[3].inside
    assert found.void.lower == found.tokens[2].distance
    assert found.void.upper == found.tokens[3].distance
    assert found.void.below == 8


def test_distances_are_those_of_the_values():
    array = planted()
    values = array.astype(np.float64)
    found = halo(array)
    for token in found.tokens:
        assert token.distance == pytest.approx(np.linalg.norm(values[token.token_id] - values[10]), rel=1e-12)
    ranks = np.linalg.norm(values - values[10], axis=1)
    ranks[10:15] = np.inf
    assert [t.token_id for t in found.tokens] == np.argsort(ranks, kind="stable")[:64].tolist()


def test_each_token_is_held_against_the_hole_it_is_nearest_to():
    array = planted()
    array[[40, 41, 42, 43]] = array[50]
    array.view(np.uint16)[43, 3] += np.uint16(1)
    found = halo(array)
    # Token 50 is in the hole, too.
    assert {t.token_id: t.nearest for t in found.tokens if t.inside} == {20: 10, 21: 10, 22: 10, 43: 40}


def test_a_hole_with_nothing_around_has_an_empty_halo():
    array = with_untrained(0)
    array[10:15] = array[10]
    found = halo(array)
    assert len(found) == 0
    assert not any(token.inside for token in found.tokens)


def test_around_a_reference_without_holes():
    array = with_untrained(60)
    found = halo(array)
    assert found.centres == 1
    assert len(found) == 0  # all of the cluster is in the reference
    assert {token.nearest for token in found.tokens} == {None}
    assert {token.linf_steps for token in found.tokens} == {None}


def test_quantised_rows_have_distances_and_no_steps():
    rows = np.random.default_rng(3).integers(0, 256, (300, 34), dtype=np.uint8)
    rows[:, 1] = 0x20
    rows[[5, 6, 7]] = rows[5]
    rows[7, 10] ^= 1
    found = halo(Embedding(rows, BlockFormat("Q8_0", 8, 32, 34), 32))
    assert found.token_ids.tolist() == [7]
    assert (found.tokens[0].nearest, found.tokens[0].linf_steps) == (5, None)


@pytest.mark.parametrize("array", [np.zeros((4, 3)), np.full((3, 2), np.nan), with_untrained(0)])
def test_nothing_to_look_around(array):
    found = halo(array.astype(np.float32))
    assert (len(found), found.void, found.tokens) == (0, None, ())
    assert found.to_dict()["nearest"] == []


def test_rows_that_are_not_finite_are_far_away():
    array = planted()
    array[100, 0], array[101, 0] = np.nan, np.inf
    assert halo(array).token_ids.tolist() == [20, 21, 22]
    all_equal = halo(np.ones((5, 3), np.float32))
    assert (len(all_equal), all_equal.void) == (0, None)


@pytest.mark.parametrize("seed", range(5))
def test_a_bulk_with_heavy_tails_is_no_halo(seed):
    """The largest gap of all lies before the last outliers: the whole matrix would be inside."""
    rng = np.random.default_rng(seed)
    array = rng.standard_normal((3_000, 32)) * rng.lognormal(0, 0.5, (3_000, 1))
    array[2_900:] = array[:2_900].mean(axis=0)
    found = halo(array.astype(np.float32))
    assert len(found) == 0 and found.void.below == 100
    assert halo(planted()).is_apart and len(halo(planted())) == 3
