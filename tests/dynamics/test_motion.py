"""Planted maps give back their parameters; noise gives each part its dimension's share, and no memory."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.dynamics.modes import PARTS, bootstrap_shares, chance_shares, fit_modes
from forensics.dynamics.motion import analyse_motion
from forensics.dynamics.windows import windows_of
from forensics.errors import RecordingError
from tests.dynamics.made_motion import recorded

RNG = np.random.default_rng(7)
N, DIM = 300, 6
CLOUD = RNG.standard_normal((N, DIM)) * np.linspace(0.5, 2, DIM) + 3.0
ABOUT = CLOUD - CLOUD.mean(axis=0)


def antisymmetric(dim=DIM):
    a = np.random.default_rng(1).standard_normal((dim, dim)) * 0.1
    return a - a.T


def stretching(dim=DIM):
    a = np.diag(np.linspace(-1, 1, dim)) * 0.1  # traceless, diagonal
    return a - np.trace(a) / dim * np.eye(dim)


PLANTED = {
    "translation": np.tile(RNG.standard_normal(DIM), (N, 1)),
    "expansion": 0.25 * ABOUT,
    "rotation": ABOUT @ antisymmetric().T,
}


@pytest.mark.parametrize("part", PLANTED)
def test_a_planted_mode_takes_the_whole_share_and_gives_back_its_parameter(part):
    found = fit_modes(CLOUD, CLOUD + PLANTED[part])
    assert found.shares[PARTS.index(part)] == pytest.approx(1, abs=1e-12)
    assert np.allclose(found.translation, PLANTED["translation"][0] if part == "translation" else 0, atol=1e-12)
    assert found.expansion == pytest.approx(0.25 if part == "expansion" else 0, abs=1e-12)
    assert np.allclose(found.rotation, antisymmetric() if part == "rotation" else 0, atol=1e-12)


def test_a_planted_shear_in_a_round_cloud():
    round_cloud = np.linalg.qr(ABOUT)[0]  # centred columns of one size at right angles: S is the identity
    found = fit_modes(round_cloud, round_cloud + round_cloud @ stretching())
    assert found.shares[PARTS.index("shear")] == pytest.approx(1, abs=1e-12)
    assert np.allclose(found.linear, stretching(), atol=1e-12)


def test_parts_of_one_field_are_taken_apart():
    round_cloud = np.linalg.qr(ABOUT)[0]
    fields = [np.tile(0.01 * np.arange(DIM), (N, 1)), 0.3 * round_cloud, round_cloud @ antisymmetric().T]
    fields += [round_cloud @ stretching()]
    found = fit_modes(round_cloud, round_cloud + sum(fields))
    assert np.allclose(found.energy[:4], [np.square(f).sum() for f in fields], rtol=1e-9)
    assert np.allclose(found.energy[4:], 0, atol=1e-12)
    assert np.allclose(found.linear, 0.3 * np.eye(DIM) + antisymmetric() + stretching(), atol=1e-12)


def test_a_skew_cloud_against_brute_force_projections():
    field = np.random.default_rng(3).standard_normal((N, DIM)) + ABOUT @ stretching()
    found = fit_modes(CLOUD, CLOUD + field)
    unit = np.eye(DIM)
    spaces = [[np.tile(unit[i], (N, 1)) for i in range(DIM)], [ABOUT]]
    pairs = [(i, j) for i in range(DIM) for j in range(i)]
    spaces.append([ABOUT @ (np.outer(unit[i], unit[j]) - np.outer(unit[j], unit[i])) for i, j in pairs])
    spaces.append([ABOUT @ np.outer(unit[i], unit[j]) for i in range(DIM) for j in range(DIM)])
    basis, left, drops = [], [np.square(field).sum()], []
    for space in spaces:
        basis += [f.ravel() for f in space]
        rest = field.ravel() - np.stack(basis, 1) @ np.linalg.lstsq(np.stack(basis, 1), field.ravel(), rcond=None)[0]
        drops.append(left[-1] - rest @ rest)
        left.append(rest @ rest)
    assert np.allclose(found.energy[:4], drops, rtol=1e-9)
    rest, direction = rest.reshape(N, DIM), ABOUT / np.linalg.norm(ABOUT, axis=1, keepdims=True)
    radial = np.square((rest * direction).sum(axis=1)).sum()
    assert np.allclose(found.energy[4:], [radial, left[-1] - radial], rtol=1e-9)
    assert found.freedom.tolist() == [6, 1, 15, 20, N - 7, 5 * (N - 7)]


def test_convection_is_tangential_and_a_pulse_is_radial():
    """Fields that turn with the angle twice (no linear map does) along a circle, and across it."""
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    circle, along = np.stack([np.cos(angle), np.sin(angle)], 1), np.stack([-np.sin(angle), np.cos(angle)], 1)
    wave = np.cos(3 * angle)[:, None]
    assert fit_modes(circle, circle + wave * along).shares[5] == pytest.approx(1)
    assert fit_modes(circle, circle + wave * circle).shares[4] == pytest.approx(1)


@given(
    n=st.integers(1, 12),
    dim=st.integers(1, 6),
    rank=st.integers(0, 6),
    seed=st.integers(0, 2**32),
    scale=st.floats(-9, 9),
)
def test_shares_sum_to_one_and_contributions_to_energies(n, dim, rank, seed, scale):
    rng = np.random.default_rng(seed)
    cloud = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, dim)) * 10.0**scale
    found = fit_modes(cloud, cloud + rng.standard_normal((n, dim)))
    assert found.shares.sum() == pytest.approx(1)
    assert (found.shares >= 0).all()
    assert found.rank == min(rank, dim, n - 1)
    assert found.freedom.sum() == n * dim
    assert (found.freedom >= 0).all()
    assert np.allclose(found.contributions.sum(axis=0), found.energy, atol=1e-6 * found.energy.sum())


@pytest.mark.parametrize(("n", "dim", "rank"), [(60, 5, 5), (60, 5, 2), (4, 6, 3)])
def test_noise_gets_the_share_of_each_dimension(n, dim, rank):
    """Also where the cloud is flat, or has fewer tokens than dimensions."""
    rng = np.random.default_rng(11)
    cloud = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, dim))
    fits = [fit_modes(cloud, cloud + rng.standard_normal((n, dim))) for _ in range(400)]
    shares = np.array([fit.shares for fit in fits])
    error = shares.std(axis=0) / np.sqrt(len(fits))
    assert (np.abs(shares.mean(axis=0) - fits[0].chance) <= 4.5 * error + 1e-9).all()
    if fits[0].freedom[4] > 0:
        assert np.allclose(np.mean([fit.excess for fit in fits], axis=0), 0, atol=4.5 * error.max() * 2)
    else:
        assert np.isnan(fits[0].excess).all()
    if rank == dim:
        assert np.array_equal(chance_shares(n, dim), fits[0].chance)


def test_intervals_cover_the_share():
    """Of 150 clouds drawn from one law, about 95 % of the intervals hold the mean share."""
    rng = np.random.default_rng(2)
    shares, intervals = [], []
    for _ in range(150):
        cloud = rng.standard_normal((200, 3)) * [1, 2, 3]
        field = 0.3 + 0.4 * (cloud - cloud.mean(axis=0)) + rng.standard_normal((200, 3))
        found = fit_modes(cloud, cloud + field)
        shares.append(found.shares)
        intervals.append(bootstrap_shares(found.contributions, resamples=200))
    mean, (low, high) = np.mean(shares, axis=0), np.moveaxis(np.array(intervals), 1, 0)
    covered = ((low <= mean) & (mean <= high)).mean(axis=0)
    assert (covered[[0, 1, 4, 5]] > 0.88).all()
    assert (covered[[0, 1, 4, 5]] < 1).any()


def test_a_field_of_zeros_has_no_shares():
    found = fit_modes(CLOUD, CLOUD)
    assert np.isnan(found.shares).all() and np.isnan(found.excess).all()
    assert np.isnan(bootstrap_shares(found.contributions)).all()


def test_a_drifting_expanding_cloud_in_a_recording():
    factor, velocity = 1.02 ** np.arange(21), np.arange(DIM) * 0.1
    rows = ABOUT * factor[:, None, None] + velocity * np.arange(21)[:, None, None]
    live = np.zeros((21, 2, DIM))
    found = analyse_motion(recorded(np.concatenate([rows, live], axis=1), range(N)))
    assert np.allclose(found.bulk, np.linalg.norm(velocity), rtol=1e-5)
    size = np.linalg.norm(ABOUT, axis=1).mean()
    assert np.allclose(found.thermal, 0.02 * size * factor[:-1], rtol=1e-4)
    assert found.shear_ratio == pytest.approx(found.thermal.sum() / found.bulk.sum())
    assert [(w.first, w.last) for w in found.windows] == [(0, 1), (1, 10), (10, 20), (0, 20)]
    for window in found.windows:
        assert window.modes.expansion == pytest.approx(1.02 ** (window.last - window.first) - 1, rel=1e-4)
        assert np.allclose(window.modes.translation, velocity * (window.last - window.first), atol=1e-4)
    assert np.allclose(found.windows[0].modes.thermal_shares, [1, 0, 0, 0, 0], atol=1e-6)
    assert found.mode_steps.tolist() == list(range(1, 21))
    assert np.allclose(found.mode_shares[:, :2].sum(axis=1), 1, atol=1e-6)
    json.dumps([found.to_dict(), [m.to_dict() for m in found.measures]], allow_nan=False)


def moving(velocities):
    return np.concatenate([np.zeros((1, *velocities.shape[1:])), np.cumsum(velocities, axis=0)])


def test_velocities_are_remembered_or_not():
    rng = np.random.default_rng(4)
    steps, n, dim = 300, 40, 8
    steady = np.broadcast_to(rng.standard_normal((1, n, dim)), (steps, n, dim))
    found = analyse_motion(recorded(moving(steady), range(n))).autocorrelation
    assert found is not None
    assert np.allclose(found.total[-1], 1, atol=1e-4) and np.allclose(found.thermal[-1], 1, atol=1e-4)
    assert found.cosine[-1] == pytest.approx(1, abs=1e-5)
    walk = rng.standard_normal((steps, n, dim))
    found = analyse_motion(recorded(moving(walk), range(n))).autocorrelation
    assert found is not None
    assert np.abs(found.total[-1, 1:]).max() < 5 / np.sqrt(200 * n * dim)
    assert abs(found.cosine[-1]) < 5 / np.sqrt(steps * n * dim)
    # v(t) = 0.8 v(t - 1) + noise has rho(k) = 0.8^k.
    tied = walk.copy()
    for t in range(1, steps):
        tied[t] = 0.8 * tied[t - 1] + 0.6 * walk[t]
    found = analyse_motion(recorded(moving(tied), range(n))).autocorrelation
    assert found is not None
    at = [found.lags.index(lag) for lag in (0, 1, 2, 3, 5)]
    assert np.allclose(found.total[-1, at], 0.8 ** np.array([0, 1, 2, 3, 5]), atol=0.03)


def test_autocorrelation_by_hand():
    """Two rows on a line with velocities 1, 2, 0 and 3, 2, 4: window 0 to 3, of which 1 to 3 is the last two."""
    velocities = np.array([[[1.0], [3.0]], [[2.0], [2.0]], [[0.0], [4.0]]])
    found = analyse_motion(recorded(moving(velocities), [0, 1])).autocorrelation
    assert found is not None
    assert found.windows == ((0, 1), (1, 3), (0, 3))
    c0, c1, c2 = (10 / 2 + 8 / 2 + 16 / 2) / 3, (8 / 2 + 8 / 2) / 2, 12 / 2
    assert np.allclose(found.total[2, :3], [1, c1 / c0, c2 / c0])
    bulk = np.array([(4 + 4 + 4) / 3, 4, 4])  # the mean velocity is 2 each time
    thermal = np.array([c0, c1, c2]) - bulk
    assert np.allclose(found.thermal[2, :3], thermal / thermal[0])
    assert found.bulk_share[2] == pytest.approx(4 / c0)
    assert np.isnan(found.total[0, 1]) and np.isnan(found.total[2, 3])  # no two updates so far apart
    assert found.total[1, 1] == pytest.approx((8 / 2) / ((4 + 8) / 2))
    # Row 0 rests in the third update: its pair is left out, the others go the same way.
    assert (found.cosine[2], found.cosine_pairs[2]) == (1, 3)


def test_rho_bulk_and_share_moved_by_hand():
    rows = np.zeros((2, 4, 2))
    rows[1, :3] = [[3, 0], [0, 3], [1, 1]]
    found = analyse_motion(recorded(rows, [0, 1, 2, 3]))
    assert found.moved.tolist() == [0.75]
    assert found.bulk[0] == pytest.approx(np.sqrt(2))  # the mean is (1, 1)
    assert found.rho_bulk[0] == pytest.approx((np.sqrt(0.5) + np.sqrt(0.5) + 1) / 3)
    assert found.thermal[0] == pytest.approx((np.sqrt(5) + np.sqrt(5) + 0 + np.sqrt(2)) / 4)


def test_a_cloud_at_rest_has_no_motion_to_split():
    found = analyse_motion(recorded(np.ones((5, 3, 2)), [0, 1]))
    assert found.shear_ratio is None
    assert np.isnan(found.mode_shares).all() and np.isnan(found.rho_bulk).all()
    json.dumps([found.to_dict(), [m.to_dict() for m in found.measures]], allow_nan=False)
    assert next(m.value for m in found.measures if m.name == "translation share") is None


def test_gaps_in_the_record_are_not_taken_for_updates():
    velocities = RNG.standard_normal((20, 3, 2))
    rows = moving(velocities)[[0, 5, 10, 15, 20]]
    assert analyse_motion(recorded(rows, [0, 1], steps=[0, 5, 10, 15, 20])).autocorrelation is None
    mixed = analyse_motion(recorded(rows, [0, 1], steps=[0, 1, 2, 10, 11])).autocorrelation
    assert mixed is not None
    assert mixed.cosine_pairs[-1] == 2  # updates 1 and 2 only: 10 is several, 11 has no neighbour


@pytest.mark.parametrize(("rows", "dead"), [((1, 3, 2), [0]), ((3, 3, 2), [])])
def test_one_step_or_no_dead_tokens(rows, dead):
    with pytest.raises(RecordingError, match=r"two recorded steps|no row of a dead token"):
        analyse_motion(recorded(np.zeros(rows), dead))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([0, 1], [(0, 1)]),
        (range(13), [(0, 1), (1, 10), (10, 12), (0, 12)]),
        ([0, 50, 100, 150], [(0, 50), (50, 100), (100, 150), (0, 150)]),
        ([200, 201, 1200], [(200, 1200)]),
    ],
)
def test_windows_are_decades_between_recorded_steps(steps, expected):
    assert list(windows_of(np.array(steps, np.int64))) == expected


def test_long_runs_fit_modes_at_some_steps_from_the_first_to_the_last():
    walk = RNG.standard_normal((1001, 3, 2)).cumsum(axis=0)
    found = analyse_motion(recorded(walk, [0, 1, 2]))
    assert found.mode_steps[0] == 1 and found.mode_steps[-1] == 1000
    assert 100 < len(found.mode_steps) <= 200
    assert np.count_nonzero(np.isfinite(found.series["share_translation"])) == len(found.mode_steps)
    assert len(found.steps) == 1000


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_leaves_its_steps_undefined_and_the_others_as_they_are(bad):
    """And without a warning, which fails a test here."""
    walk = np.random.default_rng(9).standard_normal((21, 4, 3)).cumsum(axis=0)
    whole = analyse_motion(recorded(walk, [0, 1, 2, 3]))
    walk[5, 1, 0] = bad
    found = analyse_motion(recorded(walk, [0, 1, 2, 3]))
    undefined = np.isin(found.steps, [5, 6])
    for values, before in ((found.mode_shares, whole.mode_shares), (found.thermal, whole.thermal)):
        assert np.isnan(values[undefined]).all() and np.array_equal(values[~undefined], before[~undefined])
    assert np.isfinite(found.shear_ratio) and found.moved.tolist() == [1.0] * 20
    json.dumps([found.to_dict(), [m.to_dict() for m in found.measures]], allow_nan=False)
    walk[20:, 1] = bad
    found = analyse_motion(recorded(walk, [0, 1, 2, 3]))
    assert found.windows[-1].to_dict()["sum_of_squares"] is None and np.isnan(found.windows[-1].interval).all()
    json.dumps([found.to_dict(), [m.to_dict() for m in found.measures]], allow_nan=False)


def test_intervals_of_shares_are_shares():
    """A pure translation leaves the other parts a sum of rounding errors, of either sign."""
    found = fit_modes(CLOUD, CLOUD + PLANTED["translation"])
    assert (found.contributions[:, 1:4].sum(axis=0) < 1e-9).all()
    signed = np.stack([np.ones(50), np.tile([-1e-7, 0], 25)], axis=1)
    for contributions in (found.contributions, signed):
        interval = bootstrap_shares(contributions)
        assert (interval >= 0).all() and (interval <= 1).all()
