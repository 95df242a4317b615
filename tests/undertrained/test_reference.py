"""The reference: planted sources that agree, disagree, lie, or are not there."""

import numpy as np
import pytest

from forensics.black_holes import find_black_holes
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.measures import Population
from forensics.undertrained import find_candidates, find_reference, measure_indicators
from tests.undertrained.planted import KINDS, healthy, with_untrained


def named(**sources):
    return {name: Population(name, f"planted {name}", np.array(ids, np.int64)) for name, ids in sources.items()}


def reference(array, role="tied", **sources):
    embedding = array if isinstance(array, Embedding) else Embedding.from_array(array, role=role)
    return find_reference(embedding, find_black_holes(embedding), named(**sources))


def use(found, name):
    return next(source for source in found.sources if source.name == name)


def test_a_tight_low_cluster_needs_no_help():
    found = reference(with_untrained(60))
    assert found.token_ids.tolist() == list(range(2_940, 3_000))
    assert found.proposed_by == "low norms"
    assert use(found, "low norms").agreement == pytest.approx(1)
    assert use(found, "low norms").without.to_dict() == {"tokens": 0, "cosine": None, "overlap": None}


def test_an_untrained_cluster_of_ordinary_norm_is_found_from_its_family():
    array = with_untrained(60, shared=1.0)
    assert reference(array).mean is None
    found = reference(array, reserved=range(2_960, 3_000))
    assert found.token_ids.tolist() == list(range(2_960, 3_000))
    np.testing.assert_allclose(found.mean, array[2_960:].mean(axis=0), rtol=1e-5)


def test_rows_that_never_moved_and_share_no_direction_are_found_by_place():
    array = with_untrained(60, shared=0, spread=0.3)
    found = reference(array, reserved=range(2_940, 3_000))
    assert found.measured == "distance"
    assert len(found.token_ids) == 60


def test_trained_sources_bring_nothing():
    array = with_untrained(60, shared=1.0)
    trained = np.random.default_rng(0).choice(2_900, 38, replace=False)
    found = reference(array, reserved=range(2_940, 3_000), trained=[*np.sort(trained), 2_950, 2_951])
    assert use(found, "trained").weight == 0
    assert use(found, "trained").note == "2 of 40 rows are where the other sources' are"
    assert use(found, "trained").without is None
    assert use(found, "reserved").weight == 1


def test_of_a_mixed_source_only_the_untrained_are_used():
    found = reference(with_untrained(60, shared=1.0), unreachable=[*range(20), *range(2_940, 3_000)])
    assert found.token_ids.tolist() == list(range(2_940, 3_000))
    assert use(found, "unreachable").weight == 60 / 80


def test_sources_that_disagree_are_outvoted():
    rng = np.random.default_rng(1)
    array = with_untrained(90, shared=1.0)
    array[2_910:2_940] = rng.normal(0, 1, 64) / 8 + rng.normal(0, 0.002, (30, 64))  # another cluster
    found = reference(array, odd=range(2_910, 2_940), padding=range(2_940, 2_970), reserved=range(2_950, 3_000))
    assert found.token_ids.tolist() == list(range(2_940, 3_000))
    assert [use(found, name).weight for name in ("odd", "padding", "reserved")] == [0, 1, 1]
    without = use(found, "padding").without
    assert without.tokens == 50
    assert without.cosine == pytest.approx(1, abs=1e-4)
    assert without.overlap == 1


def test_holes_near_each_other_are_a_reference_by_themselves():
    array = with_untrained(12, shared=1.0)
    for first in (2_988, 2_991, 2_994, 2_997):
        array[first : first + 3] = array[first]
    found = reference(array)
    assert found.proposed_by == "black holes"
    assert len(found.token_ids) == 12


def test_a_trained_row_and_its_copy_are_no_reference():
    array = with_untrained(0)
    array[2_000] = array[5]
    found = reference(array)
    assert found.mean is None
    assert use(found, "black holes").note == "one row is no cluster to test, and no other source meets it"
    assert reference(array, reserved=[5, 2_000]).mean is None


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_few_trained_rows_are_not_near_because_they_made_the_median(n):
    # In many dimensions all distances are alike, and a row's to its own median is far below them.
    array = np.random.default_rng(n).normal(0, 1, (1_500, 1_500)).astype(np.float32)
    array /= np.linalg.norm(array, axis=1, keepdims=True)
    found = reference(array, reserved=range(n))
    assert found.mean is None


def test_a_source_whose_other_rows_are_elsewhere_does_not_stand():
    array = with_untrained(40, shared=1.0)
    array[:80:2], array[2_960:] = array[2_960:].copy(), array[1:81:2].copy()
    assert reference(array, reserved=range(80)).mean is None
    assert len(reference(array, reserved=range(0, 80, 2)).token_ids) == 40


def test_zero_rows_have_no_direction():
    array = with_untrained(30)
    array[:5] = 0
    found = reference(array)
    zero = use(found, "zero rows")
    assert (zero.offered, zero.used, zero.agreement) == (5, 0, None)
    assert "no direction" in zero.note
    assert not set(range(5)) & set(found.token_ids.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_matrix_has_no_reference_and_no_candidates(kind):
    for seed in range(3):
        embedding = healthy(kind, seed, 2_500, 32)
        holes = find_black_holes(embedding)
        ids = np.random.default_rng(seed).choice(2_500, 40, replace=False)
        found = find_reference(embedding, holes, named(reserved=np.sort(ids), one=[4], tail=range(2_400, 2_500)))
        assert found.mean is None
        assert found.to_dict()["mean_norm"] is None
        indicators = measure_indicators(embedding, found.token_ids)
        assert len(find_candidates(indicators, holes)) == 0


@pytest.mark.parametrize("array", [np.zeros((4, 3)), np.ones((2, 2)), np.full((3, 2), np.nan), np.ones((90, 1))])
def test_degenerate_matrices(array):
    found = reference(array.astype(np.float32), some=[0, 1], none=[])
    assert found.mean is None
    assert len(found.sources) == 5


def test_a_source_of_other_tokens_is_refused():
    with pytest.raises(SelectionError, match="padding"):
        reference(with_untrained(0), padding=[3_000])


def test_dead_tokens_that_all_share_one_row_are_a_reference_where_two_sources_meet():
    """One row is no cluster that could be tested; that the padding is also a hole needs no test."""
    array = np.random.default_rng(0).standard_normal((2_000, 32)).astype(np.float32)
    array[1_900:] = array[:1_900].mean(axis=0)
    embedding = Embedding.from_array(array)
    holes = find_black_holes(embedding)
    tail = Population("padding", "beyond the tokenizer", np.arange(1_890, 2_000))
    found = find_reference(embedding, holes, {"padding": tail})
    assert found.token_ids.tolist() == list(range(1_900, 2_000)) and found.measured == "identity"
    assert {use.name: use.used for use in found.sources if use.used} == {"padding": 100, "black holes": 100}
    # Alone, a copied row is as likely.
    alone = find_reference(embedding, holes)
    assert not len(alone.token_ids)
    assert "one row" in {use.name: use.note for use in alone.sources}["black holes"]
    elsewhere = Population("padding", "beyond the tokenizer", np.arange(0, 300))
    assert not len(find_reference(embedding, holes, {"padding": elsewhere}).token_ids)
