"""Planted paths of a cloud give back their lengths, angles and liftoff; a random walk is told from a drift."""

import json

import numpy as np
import pytest

from forensics.dynamics.alignment import analyse_alignment
from forensics.dynamics.course import cosines, diagonality
from forensics.dynamics.drift import analyse_drift
from forensics.errors import RecordingError
from tests.dynamics.made_motion import recorded

# Dead tokens 1 and 3 at centre + (0, 1) and - (0, 1); live tokens 0 and 2 at rest on (0, 4) and (0, 6).
CROSS = np.array([[0, 1.0], [0, -1.0]])


def two_clouds(centres, width=1.0):
    rows = np.zeros((len(centres), 4, 2))
    rows[:, [1, 3]] = np.asarray(centres)[:, None] + CROSS * np.reshape(width, (-1, 1, 1))
    rows[:, [0, 2]] = [[0, 4], [0, 6]]
    return recorded(rows, [1, 3])


def test_a_path_by_hand():
    found = analyse_drift(two_clouds([[0.5, 0], [3.5, 0], [3.5, 4.0]], [1.0, 0.5, 0.25]))
    dead = found.dead
    assert dead.centroid.tolist() == [[0.5, 0], [3.5, 0], [3.5, 4]]
    assert (dead.path, dead.net, dead.n_tokens) == (7, 5, 2)
    assert dead.straightness == 5 / 7
    assert dead.directedness == 1  # 3, 4 at a right angle: sqrt(9 + 16)
    assert dead.turning.tolist() == [0]
    assert dead.radius_mean.tolist() == dead.radius_max.tolist() == dead.compression.tolist() == [1, 0.5, 0.25]
    assert dead.radius_origin[0] == pytest.approx(np.hypot(0.5, 1))
    assert dead.liftoff == 1  # norm 0.5 < 1, then 3.5 > 0.5
    assert found.live is not None
    assert (found.live.path, found.live.straightness, found.live.liftoff) == (0, None, 0)
    assert found.separation is not None and found.separation_ratio is not None and found.angle is not None
    assert np.allclose(found.separation, [np.hypot(0.5, 5), np.hypot(3.5, 5), np.hypot(3.5, 1)])
    assert found.separation_ratio[0] == 1
    assert found.angle[:2].tolist() == [90, 90]
    assert np.allclose(found.diagonality, np.sqrt(2))  # along an axis of two


def test_farthest_row_not_the_mean_decides_liftoff():
    rows = np.array([[[4.0, 0], [4.0, 0], [4.0, 9.0]], [[9.0, 0], [9.0, 0], [9.0, 9.0]]])
    found = analyse_drift(recorded(rows, [0, 1, 2])).dead
    assert found.radius_max.tolist() == [6, 6]
    assert found.radius_mean.tolist() == [4, 4]  # norms 5 and 9.5
    assert found.liftoff == 1
    assert found.norm[1] > 6 > found.norm[0]


def test_never_lifted_off_is_none():
    assert analyse_drift(two_clouds([[0, 0], [0.5, 0]])).dead.liftoff is None


def test_a_line_is_straight_and_a_random_walk_is_not():
    rng = np.random.default_rng(5)
    dim, n, steps = 64, 50, 400
    noise = rng.standard_normal((1, n, dim)) * 0.01
    line = np.arange(steps)[:, None, None] * rng.standard_normal(dim) * 0.1
    walk = np.cumsum(rng.standard_normal((steps, 1, dim)) * 0.1, axis=0)
    straight = analyse_drift(recorded(line + noise, range(n))).dead
    random = analyse_drift(recorded(walk + noise, range(n))).dead
    assert straight.straightness == pytest.approx(1, abs=1e-6)
    assert straight.directedness == pytest.approx(np.sqrt(steps - 1), rel=1e-5)
    assert np.median(straight.turning) == pytest.approx(1, abs=1e-6)
    # Independent steps: net^2 has mean sum s^2 and relative sd sqrt(2 / D).
    assert random.directedness == pytest.approx(1, abs=3 * np.sqrt(2 / dim))
    assert random.straightness == pytest.approx(1 / np.sqrt(steps - 1), rel=0.5)
    assert abs(np.median(random.turning)) < 4 / np.sqrt(dim * steps)


@pytest.mark.parametrize(
    ("move", "expected"),
    [([1, -1, 1, 1], 1.0), ([0, 0, 3, 0], 2.0), ([1, 1, 0, 0], np.sqrt(2)), ([0, 0, 0, 0], np.nan)],
)
def test_diagonality_by_hand(move, expected):
    assert diagonality(np.array([move], float))[0] == pytest.approx(expected, nan_ok=True)


def test_diagonality_of_random_directions():
    moves = np.random.default_rng(0).standard_normal((200, 2000))
    assert np.mean(diagonality(moves)) == pytest.approx(np.sqrt(np.pi / 2), rel=0.002)


def test_cosines_of_zero_rows_are_undefined():
    assert np.isnan(cosines(np.zeros((1, 3)), np.ones((1, 3)))[0])
    assert cosines(np.full((1, 3), 1e-30), np.full((1, 3), -1e30))[0] == pytest.approx(-1)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("dead", [[0, 1, 2, 3], [1]])
def test_rest_short_runs_and_no_live_tokens(steps, dead):
    rows = np.broadcast_to(np.arange(8.0).reshape(4, 2), (steps, 4, 2))
    found = analyse_drift(recorded(rows, dead))
    assert found.dead.path == 0
    assert found.dead.straightness is found.dead.directedness is None
    json.dumps([found.to_dict(), [m.to_dict() for m in found.measures]], allow_nan=False)
    assert all(len(values) == steps for values in found.series.values())


def test_a_cloud_that_starts_as_a_point_has_no_compression():
    rows = np.full((2, 3, 4), np.float32(0.1))
    rows[1, 0] += 1
    found = analyse_drift(recorded(rows, [0, 1, 2])).dead
    assert found.radius_max[0] == 0
    assert np.isnan(found.compression).all()


def test_no_dead_tokens():
    with pytest.raises(RecordingError, match="no row of a dead token"):
        analyse_drift(recorded(np.zeros((2, 3, 2)), []))


def descent(optimizer, n=40, dim=32, steps=12):
    """Rows pushed by p h: gradient descent follows h, sign descent its signs."""
    rng = np.random.default_rng(1)
    h = rng.standard_normal((steps, dim))
    p = rng.uniform(1, 2, (n, 1))
    gradient = p * h[:, None]
    move = np.sign(gradient) if optimizer == "sign" else gradient
    rows = np.concatenate([np.zeros((1, n, dim)), np.cumsum(-0.5 * move, axis=0)])
    return h, recorded(rows, range(n), grad=gradient, h_mean=h, config={"optimizer": {"kind": optimizer}})


def test_gradient_descent_goes_against_h_and_a_sign_step_turns_to_the_diagonal():
    _, sgd = descent("sgd")
    plain = analyse_alignment(sgd)
    assert plain.optimizer == "sgd"
    assert np.allclose(plain.before["h_mean"], 1) and np.allclose(plain.after["h_mean"], 1, atol=1e-5)
    assert plain.through is not None and np.allclose(plain.through, 1, atol=1e-5)
    h, sign = descent("sign")
    turned = analyse_alignment(sign)
    assert np.allclose(turned.before["h_mean"], 1)
    expected = np.abs(h).sum(axis=1) / np.linalg.norm(h, axis=1) / np.sqrt(32)
    assert np.allclose(turned.after["h_mean"], expected, atol=1e-5)
    assert np.allclose(turned.after_diagonality, 1)
    assert turned.before_diagonality is not None and (turned.before_diagonality > 1.1).all()


def test_alignment_without_gradients_says_what_is_missing():
    rows = np.cumsum(np.ones((4, 3, 2)), axis=0)
    found = analyse_alignment(recorded(rows, [0, 1], h_mean=-np.ones((3, 2))))
    assert found.before == {} and found.through is None and "record grad" in found.missing
    assert np.allclose(found.after["h_mean"], 1)
    json.dumps([found.to_dict(), [m.to_dict() for m in found.measures]], allow_nan=False)


def test_alignment_leaves_out_displacements_over_several_updates_and_rest():
    rows = np.zeros((4, 2, 2))
    rows[1:] = 1.0
    found = analyse_alignment(recorded(rows, [0, 1], steps=[0, 1, 2, 7], h_mean=np.ones((3, 2))))
    assert found.steps.tolist() == [1, 2]
    assert found.after["h_mean"][0] == pytest.approx(-1)
    assert np.isnan(found.after["h_mean"][1])
    values = {m.name: m.value for m in found.measures}
    assert values["step cos minus h_mean, all recorded updates"] == pytest.approx(-1)


def test_alignment_needs_consecutive_steps_dead_tokens_and_h():
    rows = np.zeros((2, 2, 2))
    for recording in (
        recorded(rows, [0], steps=[0, 10], h_mean=np.ones((1, 2))),
        recorded(rows, [], h_mean=np.ones((1, 2))),
    ):
        with pytest.raises(RecordingError, match="no update of a dead token"):
            analyse_alignment(recording)
    with pytest.raises(RecordingError, match="h_mean was not recorded"):
        analyse_alignment(recorded(rows, [0]))
