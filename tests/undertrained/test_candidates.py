"""Candidates: planted clusters of every size, by each rule."""

import numpy as np
import pytest

from forensics.black_holes import find_black_holes
from forensics.embedding import Embedding
from forensics.undertrained import find_candidates, measure_indicators
from tests.undertrained.planted import with_untrained


def candidates(array, reference_ids=(), rule="separation", **options):
    embedding = Embedding.from_array(array, role="tied")
    return find_candidates(
        measure_indicators(embedding, reference_ids, **options), find_black_holes(embedding), rule=rule
    )


@pytest.mark.parametrize("n", [5, 100, 1_000])
def test_a_planted_cluster_is_found_whole(n):
    found = candidates(with_untrained(n, shared=0.1), range(3_000 - n, 3_000))
    assert sorted(found.token_ids.tolist()) == list(range(3_000 - n, 3_000))
    assert "cosine" in found.indicators_of(2_999)
    assert found.indicators_of(3) == ()


def test_few_reference_rows_find_the_rest():
    found = candidates(with_untrained(80, shared=1.0), [2_990, 2_995])
    assert sorted(found.token_ids.tolist()) == list(range(2_920, 3_000))
    assert not any("norm" in found.indicators_of(token) for token in found.token_ids)


def test_they_come_in_the_order_of_the_main_indicator():
    array = with_untrained(40, spread=0.1)
    embedding = Embedding.from_array(array, role="tied")
    indicators = measure_indicators(embedding, range(2_960, 3_000))
    found = find_candidates(indicators, find_black_holes(embedding))
    assert (np.diff(indicators.values["cosine"][found.token_ids]) >= 0).all()


def test_zero_rows_are_candidates_and_nothing_else_is():
    array = with_untrained(0)
    array[[4, 9]] = 0
    found = candidates(array)
    assert found.token_ids.tolist() == [4, 9]
    assert found.indicators_of(4) == ("norm",)
    assert found.flags[0].threshold is None


def test_copies_of_a_trained_row_are_no_cluster():
    array = with_untrained(0)
    array[100:160] = array[np.linalg.norm(array, axis=1).argmin()]
    assert len(candidates(array)) == 0


def test_copies_whose_figures_differ_by_rounding_are_one_row():
    array = with_untrained(0)
    array[100:160] = array[np.linalg.norm(array, axis=1).argmin()]
    embedding = Embedding.from_array(array)
    indicators = measure_indicators(embedding, [])
    indicators.values["norm"][100:160] *= 1 + 1e-15 * np.arange(60)
    assert len(find_candidates(indicators, find_black_holes(embedding))) == 0


def test_a_low_bias_is_one_more():
    bias = np.random.default_rng(0).normal(0, 1, 3_000)
    bias[:30] = np.random.default_rng(1).normal(-12, 0.1, 30)
    found = candidates(with_untrained(0), bias=bias)
    assert sorted(found.token_ids.tolist()) == list(range(30))
    assert found.indicators_of(0) == ("bias",)


def test_the_percentile_is_the_published_share():
    array = with_untrained(20)
    found = candidates(array, range(2_980, 3_000), rule="percentile")
    assert len(found) == 60
    assert set(range(2_980, 3_000)) <= set(found.token_ids.tolist())
    assert [flag.indicator for flag in found.flags] == ["cosine"]
    assert "lowest 2 %" in found.definition
    assert len(candidates(with_untrained(0), rule="percentile")) == 60  # every matrix has them


@pytest.mark.parametrize("rule", ["separation", "percentile"])
@pytest.mark.parametrize("array", [np.ones((4, 3)), np.full((3, 2), np.nan), np.ones((90, 1))])
def test_degenerate_matrices(rule, array):
    found = candidates(array.astype(np.float32), rule=rule)
    assert found.to_dict()["tokens"] == len(found)


def test_the_summary():
    summary = candidates(with_untrained(100), range(2_900, 3_000)).to_dict()
    assert summary["tokens"] == 100
    assert len(summary["first"]) == 64
    by_name = {entry["indicator"]: entry for entry in summary["indicators"]}
    assert by_name["cosine"]["separation"]["p_value"] < 1e-6
    assert by_name["norm"]["tokens"] == 100
