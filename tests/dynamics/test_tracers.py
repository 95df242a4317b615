"""A planted structure has the shape that was asked for, and a planted map of it is given back."""

import json

import numpy as np
import pytest

from forensics.dynamics.tracers import follow_tracers, plant_tracers
from forensics.errors import RecordingError, SelectionError
from tests.dynamics.made_motion import recorded

DIM = 12
VALUES = np.random.default_rng(0).standard_normal((40, DIM)).astype(np.float32)
IDS = [30, 3, 17, 8, 21, 5, 11, 2]


def planted(shape=(2, 2, 2), ids=IDS, spacing=0.5):
    return plant_tracers(VALUES, ids, shape, spacing, seed=3).astype(np.float64)


def test_a_grid_stands_where_its_tokens_were_and_leaves_the_others():
    found = planted((4, 2))
    others = np.setdiff1d(np.arange(40), IDS)
    assert np.array_equal(found[others], VALUES[others])
    assert np.allclose(found[IDS].mean(axis=0), VALUES[IDS].mean(axis=0), atol=1e-6)
    distance = np.linalg.norm(found[IDS][:, None] - found[IDS], axis=2)
    at = np.array([(i, j) for i in range(4) for j in range(2)])  # the last axis first
    assert np.allclose(distance, 0.5 * np.linalg.norm(at[:, None] - at, axis=2), atol=1e-5)


def test_a_simplex_has_one_distance():
    found = planted("simplex", spacing=0.25)[IDS]
    distance = np.linalg.norm(found[:, None] - found, axis=2)
    assert np.allclose(distance[~np.eye(8, dtype=bool)], 0.25, atol=1e-5)


def test_seeds_turn_the_structure():
    one, two = (plant_tracers(VALUES, IDS, (2, 4), 0.5, seed) for seed in (0, 1))
    assert not np.allclose(one, two)
    assert np.array_equal(one, plant_tracers(VALUES, IDS, (2, 4), 0.5, 0))


@pytest.mark.parametrize(
    ("ids", "shape"),
    [
        (IDS, (3, 3)),
        (IDS, "cube"),
        ([1, 1], (2,)),
        ([1, 40], (2,)),
        ([-1, 2], (2,)),
        (list(range(14)), "simplex"),
    ],
)
def test_structures_that_do_not_fit(ids, shape):
    with pytest.raises(SelectionError):
        plant_tracers(VALUES, ids, shape, 0.1)


def followed(maps, shape=(2, 2, 2), noise=0.0):
    """Maps act on the structure's own axes, then on all of space; the cloud moves by 1 a step on the first axis."""
    start = planted(shape)
    points = start[IDS]
    centre = points.mean(axis=0)
    k = sum(side > 1 for side in shape)
    axes = np.linalg.qr(np.random.default_rng(9).standard_normal((DIM, DIM)))[0]
    axes[:, :k] = np.linalg.svd(points - centre)[2][:k].T
    axes = np.linalg.qr(axes)[0]
    frames = [start]
    for step, each in enumerate(maps, 1):
        rows = start.copy()
        rows[IDS] = centre + (points - centre) @ (axes @ each @ axes.T).T + step * np.eye(DIM)[0]
        rows[IDS] += noise * np.random.default_rng(1).standard_normal((8, DIM))
        frames.append(rows)
    return follow_tracers(recorded(np.stack(frames), IDS), IDS)


def turned(i, j, degrees):
    found, angle = np.eye(DIM), np.radians(degrees)
    found[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return found


def test_stretches_and_travel_are_given_back():
    found = followed([np.eye(DIM), np.diag([3.0, 2.0, 0.5] + [1.0] * 9)])
    assert np.allclose(found.stretches, [[1, 1, 1], [1, 1, 1], [3, 2, 0.5]], atol=1e-4)
    assert np.allclose(found.travel, [0, 1, 2], atol=1e-5)
    assert np.allclose(found.turn, 0, atol=0.05) and np.allclose(found.tilt, 0, atol=0.05)
    assert np.allclose(found.residual, 0, atol=1e-8)
    assert found.series["volume"][-1] == pytest.approx(3, rel=1e-4)
    assert found.token_ids.tolist() == sorted(IDS)


@pytest.mark.parametrize(("axes", "turn", "tilt"), [((0, 1), 25, 0), ((2, 7), 0, 25)])
def test_rotation_within_and_out_of_the_structures_space(axes, turn, tilt):
    found = followed([turned(*axes, 25) @ (1.5 * np.eye(DIM))])
    assert found.turn[1] == pytest.approx(turn, abs=0.05)
    assert found.tilt[1] == pytest.approx(tilt, abs=0.05)
    assert np.allclose(found.stretches[1], 1.5, atol=1e-4)


def test_what_no_linear_map_explains_is_the_residual():
    found = followed([np.eye(DIM)], noise=0.05)
    # Noise has (n - 1 - k) D of its dimensions left by the map; the structure's squares are 8 x 3 x 0.25^2 = 1.5.
    expected = 0.05**2 * (8 - 1 - 3) * DIM / (1.5 + 0.05**2 * 7 * DIM)
    assert found.residual[1] == pytest.approx(expected, rel=0.5)
    assert found.residual[0] == pytest.approx(0, abs=1e-9)


def test_a_structure_that_collapses_has_no_angles():
    found = followed([np.diag([1.0, 1.0] + [0.0] * 10), np.zeros((DIM, DIM))])
    assert found.stretches[1, -1] == pytest.approx(0, abs=1e-5)
    assert np.allclose(found.stretches[2], 0, atol=1e-6)
    json.dumps([found.to_dict(), [m.to_dict() for m in found.measures]], allow_nan=False)
    mirrored = followed([np.diag([-1.0] + [1.0] * 11)])
    assert np.isnan(mirrored.turn[1]) and mirrored.tilt[1] == pytest.approx(0, abs=0.05)


def test_a_structure_rounded_to_bfloat16_spans_what_was_planted():
    start = planted((2, 4))
    frames = np.stack([start, start])
    frames[1, IDS] = start[IDS].mean(axis=0) + 2 * (start[IDS] - start[IDS].mean(axis=0))
    found = follow_tracers(recorded(frames, IDS, fmt="bfloat16"), IDS)
    assert found.stretches.shape == (2, 2)
    assert np.allclose(found.stretches[1], 2, rtol=0.05)
    frames[0, IDS] = start[IDS].mean(axis=0) + 1e-3 * (start[IDS] - start[IDS].mean(axis=0))
    with pytest.raises(RecordingError, match="but for rounding"):
        follow_tracers(recorded(frames, IDS, fmt="bfloat16"), IDS)


def test_tracers_that_are_not_there_or_are_a_point():
    with pytest.raises(RecordingError, match="two or more tokens"):
        follow_tracers(recorded(np.zeros((2, 3, 2)), [0]), [0, 7])
    with pytest.raises(RecordingError, match="one point at step 0"):
        follow_tracers(recorded(np.ones((2, 3, 2)), [0]), [0, 1])
