"""Planted decays give back their times, planted sharpening its slope; rates that do not go together are not said to."""

import json

import numpy as np
import pytest

from forensics.dynamics.rates import analyse_rates, analyse_sharpening, compare_rates, fit_decay
from forensics.dynamics.series import course_of, fit_line, noise, rank_correlation
from forensics.errors import RecordingError
from forensics.recording import Channel, Recording

STEPS = np.arange(1, 601)


def test_a_planted_decay_gives_back_its_time():
    found = fit_decay(STEPS, 2 + 5 * np.exp(-(STEPS - 1) / 80))
    assert found.time == pytest.approx(80, rel=0.03)
    assert (found.floor, found.height) == (pytest.approx(2, rel=0.02), pytest.approx(5, rel=0.02))
    assert found.r2 > 0.9999 and found.is_bounded
    assert not fit_decay(STEPS, 5 - STEPS / 100).is_bounded  # a straight fall has no time
    assert fit_decay(STEPS, np.ones(600)) is None


def falling(time, seed, level=1.0):
    jitter = np.random.default_rng(seed).normal(0, 0.02, len(STEPS))
    return level * np.exp(-STEPS / time) * (1 + jitter) + 1e-3


def test_rates_that_fall_together_and_rates_that_do_not():
    loss = 5 + 1.5 * np.exp(-STEPS / 100) + np.random.default_rng(0).normal(0, 1e-3, 600)
    together = compare_rates(STEPS, loss, {"a": falling(100, 1), "b": falling(120, 2, 7.0)})
    assert together.verdict == "all fall together"
    assert together.decay["b"].time == pytest.approx(120, rel=0.1)
    rising = compare_rates(STEPS, loss, {"a": falling(100, 1), "b": 1 - falling(100, 2)})
    assert rising.verdict == "some fall together (loss fall with a)"
    # A fall of another time scale goes along in rank, and not in time.
    slow = compare_rates(STEPS, loss, {"b": falling(5, 2)})
    assert slow.verdict == "do not fall together"
    flat = compare_rates(STEPS, loss, {"b": np.random.default_rng(3).normal(1, 0.1, 600)})
    assert flat.verdict == "do not fall together"
    json.dumps(flat.to_dict(), allow_nan=False)
    measures = {m.name: m.value for m in together.measures}
    assert measures["rates"] == "all fall together" and measures["b, r2"] > 0.9
    rising = {m.name: m.value for m in rising.measures}
    assert rising["b, time"] is None and rising["b, r2"] > 0.9


def test_what_is_mostly_noise_or_rises_has_no_relaxation_time():
    jitter = np.random.default_rng(5).normal(1, 0.1, 600)
    faint = fit_decay(STEPS, jitter + 0.15 * np.exp(-STEPS / 100))
    assert faint.height > 0 and faint.is_bounded and faint.r2 < 0.5 and not faint.is_fall
    assert fit_decay(STEPS, 1 + np.exp(-STEPS / 100)).is_fall
    assert not fit_decay(STEPS, 2 - np.exp(-STEPS / 100)).is_fall
    assert not fit_decay(STEPS, 5 - STEPS / 100).is_fall


def test_rates_of_a_recording():
    scalars = ("loss", "grad_norm_dead", "radius_mean_dead")
    channels = [*(Channel(n, (), "float64") for n in scalars), Channel("centroid_dead", (2,), "float32")]
    frames = [(0, {"radius_mean_dead": np.array(3.0), "centroid_dead": np.zeros(2, np.float32)})]
    for t in STEPS.tolist():
        fall = np.exp(-t / 60)
        centroid = np.array([100 * (1 - fall), 0], np.float32)
        values = {"loss": 5 + fall, "grad_norm_dead": fall, "radius_mean_dead": 2 + fall}
        frames.append((t, {n: np.array(v) for n, v in values.items()} | {"centroid_dead": centroid}))
    run = Recording.from_frames({}, channels, frames, vocab_size=4, dead_ids=[0])
    found = analyse_rates(run)
    assert found.verdict == "all fall together"
    assert [d.time for d in found.decay.values()] == pytest.approx([60] * 4, rel=0.05)
    lacking = Recording.from_frames({}, channels[:1], [], vocab_size=4, dead_ids=[0])
    with pytest.raises(RecordingError, match="summaries was not recorded") as error:
        analyse_rates(lacking)
    assert "--record summaries" in error.value.hint
    with pytest.raises(RecordingError, match="ten recorded steps"):
        analyse_rates(Recording.from_frames({}, channels, frames[:3], vocab_size=4, dead_ids=[0]))


def sharpened(gradient_of, steps=40, tokens=30):
    """A recording whose dead gradients are `gradient_of(p, t)` times one direction."""
    rng = np.random.default_rng(2)
    ids = np.arange(0, 2 * tokens, 2)
    channels = [
        Channel("grad", (2 * tokens, 4), "uint32", format="float32", token_ids=np.arange(2 * tokens)),
        Channel("p_dead", (tokens,), "float32", token_ids=ids),
    ]
    spread = np.exp(rng.normal(0, 1, tokens))
    frames = []
    for t in range(1, steps + 1):
        p = 1e-3 * spread * np.exp(-t / 10)
        rows = np.full((2 * tokens, 4), 77.0, np.float32)  # the live rows must not count
        rows[ids] = (gradient_of(p, t) / 2)[:, None]
        frames.append((t, {"grad": rows.view(np.uint32), "p_dead": p.astype(np.float32)}))
    return Recording.from_frames({}, channels, frames, vocab_size=2 * tokens, dead_ids=ids)


def test_planted_sharpening():
    found = analyse_sharpening(sharpened(lambda p, t: 3 * p))
    assert found.over_time.slope == pytest.approx(1, abs=1e-4)
    assert found.over_time.r2 == pytest.approx(1, abs=1e-4)
    assert np.allclose(found.token_slope, 1, atol=1e-4) and np.allclose(found.token_r2, 1, atol=1e-4)
    assert found.explained == pytest.approx(1, abs=1e-3)
    assert np.allclose(found.gradient, 3 * found.probability, rtol=1e-4)
    json.dumps(found.to_dict(), allow_nan=False)


def test_gradients_that_fall_otherwise_are_not_sharpening():
    half = analyse_sharpening(sharpened(lambda p, t: np.sqrt(p)))
    assert half.over_time.slope == pytest.approx(0.5, abs=1e-3)
    assert half.explained == pytest.approx(2, abs=0.01)
    apart = analyse_sharpening(sharpened(lambda p, t: np.full(len(p), 1.0 / t)))
    assert np.allclose(apart.token_slope[np.isfinite(apart.token_slope)], 0, atol=1e-3)
    zero = analyse_sharpening(sharpened(lambda p, t: 0 * p))
    assert zero.over_time is None and zero.explained is None
    json.dumps(zero.to_dict(), allow_nan=False)


@pytest.mark.parametrize("steady", ["p", "g", "rising"])
def test_no_share_of_a_fall_that_is_none(steady):
    from forensics.dynamics.sharpening import Sharpening

    rng = np.random.default_rng(7)
    fall, flat = np.exp(-np.arange(200) / 50), np.exp(rng.normal(0, 0.1, 200))
    p = {"p": flat, "g": fall, "rising": 1 / fall}[steady]
    g = {"p": fall, "g": flat, "rising": 1 / fall}[steady]
    none = np.full(200, np.nan)
    assert Sharpening(np.arange(200), g, p, None, none, none).explained is None
    assert Sharpening(np.arange(200), fall, fall, None, none, none).explained == pytest.approx(1)


def test_sharpening_says_what_to_record():
    run = sharpened(lambda p, t: p)
    for name in ("grad", "p_dead"):
        channels = [c for c in run.channels if c.name != name]
        lacking = Recording.from_frames({}, channels, [], vocab_size=60, dead_ids=[0])
        with pytest.raises(RecordingError, match=f"{name} was not recorded"):
            analyse_sharpening(lacking)


def test_noise_is_that_of_a_step_and_not_of_the_course():
    rng = np.random.default_rng(0)
    assert noise(rng.normal(0, 2, 100_000)) == pytest.approx(2, rel=0.015)
    assert noise(np.linspace(0, 4_000, 4_001) + rng.normal(0, 30, 4_001)) == pytest.approx(30, rel=0.1)
    assert noise(np.array([1.0, 2.0])) == 0


@pytest.mark.parametrize("n", [14, 50, 200, 1_000])
@pytest.mark.parametrize("shown", [lambda x: x, lambda x: np.log(np.abs(x))], ids=["normal", "log"])
def test_flat_series_are_flat_in_nearly_every_draw(n, shown):
    noises = (shown(np.random.default_rng(seed).normal(0, 1, n)) for seed in range(200))
    assert sum(course_of(np.arange(n), series).shape != "flat" for series in noises) <= 4


def test_noise_that_outlasts_a_step_is_no_change():
    changed = 0
    for seed in range(100):
        series = np.zeros(600)
        for t, push in enumerate(np.random.default_rng(seed).normal(0, 1, 599), 1):
            series[t] = 0.9 * series[t - 1] + push
        changed += course_of(np.arange(600), series).rises
    assert changed <= 20  # 49 by the noise of a single step


@pytest.mark.parametrize(
    ("series", "shape"),
    [
        (np.r_[np.linspace(5, 0, 100), np.linspace(0, 5, 400)], "falls, then rises"),
        (np.linspace(5, 0, 500), "falls"),
        (np.linspace(0, 5, 500), "rises"),
        (np.ones(500), "flat"),
    ],
)
def test_planted_courses(series, shape):
    noisy = series + np.random.default_rng(1).normal(0, 0.05, 500) * np.ptp(series)
    found = course_of(np.arange(500), noisy)
    assert found.shape == shape
    if shape == "falls, then rises":
        assert found.lowest_step == pytest.approx(100, abs=20)
    assert course_of(np.arange(13), series[:13]) is None


def test_a_line_with_its_error():
    rng = np.random.default_rng(4)
    x = np.linspace(0, 1, 200)
    slopes, errors = [], []
    for _ in range(200):
        line = fit_line(x, 3 * x + rng.normal(0, 0.5, 200))
        slopes.append(line.slope)
        errors.append(line.slope_error)
    assert np.mean(slopes) == pytest.approx(3, abs=0.05)
    assert np.mean(errors) == pytest.approx(np.std(slopes), rel=0.35)
    assert fit_line(np.ones(20), x[:20]) is None


def test_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(6)
    a, b = rng.integers(0, 9, 50).astype(float), rng.integers(0, 9, 50).astype(float)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(a, np.ones(50)) is None
    assert rank_correlation(np.array([1.0, np.nan, 2, 3]), np.arange(4.0)) is None
