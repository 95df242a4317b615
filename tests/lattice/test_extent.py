"""Extents, shells and directions against brute force; one row and equal rows are defined."""

import json
from dataclasses import replace

import numpy as np
import pytest

from forensics.embedding import Embedding
from forensics.formats import FORMATS, float_format
from forensics.lattice.distances import row_ordinals
from forensics.lattice.extent import measure_extent, measure_shells
from forensics.lattice.unique import unique_rows
from forensics.synthetic import plant_groups


def measured(embedding):
    rows = unique_rows(embedding, np.arange(embedding.n_rows))
    return rows, measure_extent(embedding, rows, row_ordinals(embedding, rows.representatives))


@pytest.mark.parametrize("name", FORMATS)
def test_extent_against_brute_force(name):
    fmt = float_format(name)
    words = fmt.words_of(np.random.default_rng(0).integers(-6, 7, (30, 12)))
    words[:, 3] = words[0, 3]
    words[[4, 8]] = words[4]
    rows, extent = measured(Embedding.from_array(words.view(_numpy_type(name))))
    ordinals = fmt.ordinals(words)
    assert extent.low.tolist() == ordinals.min(axis=0).tolist()
    assert extent.steps.tolist() == np.ptp(ordinals, axis=0).tolist()
    assert extent.patterns.tolist() == [len(set(column)) for column in ordinals.T.tolist()]
    assert extent.exponents.tolist() == fmt.exponents(words[4]).tolist()
    assert sorted(extent.active.tolist()) == [d for d in range(12) if d != 3]
    widths = extent.steps[extent.active].tolist()
    assert widths == sorted(widths, reverse=True)
    told = extent.to_dict()
    assert (told["active_dims"], told["constant_dims"], told["largest_extent"]) == (11, 1, widths[0])
    assert sum(told["extent_histogram"].values()) == 12 and told["extent_histogram"]["0"] == 1
    assert told["widest"][0]["dim"] == int(extent.active[0]) and rows.representatives[0] == 4


def _numpy_type(name):
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name, name))


def test_both_zeros_are_no_extent():
    rows, extent = measured(Embedding.from_array(np.array([[0.0, 1], [-0.0, 1]], np.float32)))
    assert len(rows) == 2 and extent.active.tolist() == [] and extent.patterns.tolist() == [1, 1]


def shells_of(values):
    embedding = Embedding.from_array(values)
    rows = unique_rows(embedding, np.arange(embedding.n_rows))
    return rows, measure_shells(embedding, rows)


def test_shells_against_brute_force():
    values = np.random.default_rng(1).standard_normal((40, 6)).astype(np.float32)
    values[[3, 7, 9]] = values[3]
    rows, shells = shells_of(values)
    wide = values[rows.representatives].astype(np.float64)
    between = np.sqrt(((wide[:, None] - wide[None]) ** 2).sum(axis=2))
    assert rows.representatives[0] == 3 and np.allclose(shells.distances, between[0], rtol=1e-14)
    assert shells.medoid == int(between.mean(axis=1).argmin()) != 0
    centred = wide - wide.mean(axis=0)
    assert shells.spread == pytest.approx(np.sqrt((centred**2).sum() / len(wide)))
    variances = np.sort(np.linalg.eigvalsh(centred.T @ centred))[::-1]
    assert shells.variance_shares.sum() == pytest.approx(1)
    assert np.allclose(shells.variance_shares, variances / variances.sum())
    assert shells.density_break is None  # the one row of three tokens is the centre, which says nothing
    assert (shells.core_rows, shells.core_tokens, shells.outer_rows, shells.outer_tokens) == (38, 40, 0, 0)


def test_a_planted_core_is_told_from_its_outskirts():
    rng = np.random.default_rng(2)
    directions = rng.standard_normal((60, 8))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = np.r_[0, rng.uniform(0.01, 0.1, 29), rng.uniform(0.2, 1, 30)][:, None]
    unique = (1 + directions * radii).astype(np.float32)
    populations = np.r_[60, rng.integers(2, 20, 29), np.ones(30, np.int64)]
    rows, shells = shells_of(np.repeat(unique, populations, axis=0))
    assert 0.01 < shells.density_break.lower <= 0.1 <= shells.density_break.upper < 0.3
    assert shells.density_break.below == shells.core_rows == 30
    assert (shells.core_tokens, shells.outer_rows, shells.outer_tokens) == (int(populations[:30].sum()), 30, 30)
    assert len(rows) == 60
    assert shells.to_dict()["core"] == {"rows": 30, "tokens": int(populations[:30].sum())}


@pytest.mark.parametrize("n", [1, 2, 5])
def test_one_row(n):
    _, shells = shells_of(np.full((n, 4), 0.3, np.float32))
    assert shells.distances.tolist() == [0] and shells.medoid == 0 and shells.density_break is None
    assert shells.spread == 0 and shells.variance_shares.sum() == 0
    assert (shells.core_rows, shells.core_tokens, shells.outer_rows) == (1, n, 0)
    json.dumps(shells.to_dict(), allow_nan=False)


def test_the_break_can_be_left_out_of_the_document():
    embedding = plant_groups(50, 8, [[1, 2]]).embedding()
    shells = measure_shells(embedding, unique_rows(embedding, np.arange(50)))
    assert replace(shells, density_break=None).to_dict()["density_break"] is None
