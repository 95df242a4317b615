"""The driven cloud: word for word the toy's dead rows when fed their gradients, and what it is without them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.errors import ConfigError, HypothesisError, RecordingError
from forensics.formats import BFLOAT16, FLOAT16, FLOAT32, BlockFormat
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.discovery import load_hypothesis
from forensics.hypotheses.driving.course import Course
from forensics.hypotheses.driving.driver import Driver, drive, follow
from forensics.hypotheses.driving.hypothesis import draw_pushes, start_towards
from forensics.hypotheses.driving.push import GradientWords, Means, Positions
from forensics.hypotheses.driving.recording import drive_recording
from forensics.hypotheses.sweeps.simulation import draw
from forensics.recording import open_recording
from forensics.toy import run as runs
from forensics.toy.config import RunConfig, override
from forensics.toy.schedule import Schedule
from forensics.updates import POLICIES, Rule

CONFIG = RunConfig.from_dict(
    {
        "name": "small",
        "steps": 40,
        "threads": 1,
        "corpus": {"kind": "synthetic", "vocab": 64, "dead": 24, "tokens": 8_000},
        "batches": {"batch": 4, "context": 12},
        "model": {"layers": 1, "dim": 8, "heads": 2, "ff": 16},
        "optimizer": {"lr": 1e-2, "weight_decay": 0.5},
        "schedule": {"kind": "linear", "warmup": 3},
        "record": {"channels": ["W", "grad", "h_mean", "p_dead", "h_full", "p_dead_full", "summaries"]},
    }
)
"""lr wd is 5e-3, above the 2^-9 below which decay changes no bfloat16 word."""

STEPS = range(1, CONFIG.steps + 1)


def recorded(folder, *changes):
    run = runs.begin(override(CONFIG, changes), folder, device="cpu")
    try:
        runs.carry_on(run)
    finally:
        run.close()
    return open_recording(folder)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("toy") / "run")


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("clip=0.1", "optimizer.foreach=true"),
        ("precision=mixed", "schedule.kind=cosine"),
        ("precision=bf16-f32state", "optimizer.decay=l2"),
        ("precision=bf16-kahan",),
        ("optimizer.kind=sgd", "optimizer.momentum=0.9", "optimizer.lr=1"),
    ],
)
def test_recorded_gradients_give_the_toys_own_words(changes, tmp_path):
    run = recorded(tmp_path / "run", *changes)
    driven = drive_recording(run, by="gradients", at=STEPS)
    assert driven.first_difference is None
    assert [gap.step for gap in driven.gaps] == list(STEPS)
    assert driven.rows == 24
    assert driven.gaps[-1].to_dict() == {
        "step": 40,
        "equal": 1.0,
        "near": 1.0,
        "most_apart": 0,
        "centroid": 0.0,
        "radius": 1.0,
    }
    moved = run.frame("W", 40)[run.dead_ids] != run.frame("W", 0)[run.dead_ids]
    assert moved.mean() > 0.9


def test_positions_give_nearly_the_words_and_means_do_not(recording, tmp_path):
    positions, means = (drive_recording(recording, by=by, at=STEPS) for by in ("positions", "means"))
    assert min(gap.equal for gap in positions.gaps) > 0.98
    assert max(gap.centroid or 0.0 for gap in positions.gaps) < 1e-3
    assert means.first_difference <= 5
    assert 0.05 < means.gaps[-1].equal < 0.95
    assert means.gaps[-1].centroid < 0.2
    # A clipped gradient is scaled by the norm of all of it, which no dead row knows.
    clipped = drive_recording(recorded(tmp_path / "run", "clip=0.02"), by="positions", at=[2, 40])
    assert clipped.gaps[-1].equal < positions.gaps[-1].equal
    assert "recorded positions" in str(positions)
    assert means.to_dict()["gaps"][0]["step"] == 1


def test_a_gap_is_what_was_planted(recording):
    """One word of the recorded matrix changed by three steps."""
    driven = drive_recording(recording, by="gradients", at=[40])
    frame = recording.frame("W", 40)
    frame[recording.dead_ids[0], 2] += 3
    recording.frame, real = lambda name, step: frame if (name, step) == ("W", 40) else real(name, step), recording.frame
    try:
        (gap,) = drive_recording(recording, by="gradients", at=[40]).gaps
    finally:
        recording.frame = real
    assert driven.gaps[0].equal == 1
    assert (gap.equal, gap.near, gap.most_apart) == (1 - 1 / 192, 1 - 1 / 192, 3)
    assert gap.centroid > 0
    assert gap.radius != 1


def test_recordings_that_cannot_be_driven(recording, tmp_path):
    with pytest.raises(RecordingError, match="W is not recorded at step 41"):
        drive_recording(recording, at=[41])
    few = recorded(tmp_path / "few", "record.channels=W,loss", "steps=2", "schedule.warmup=1")
    with pytest.raises(RecordingError, match="grad was not recorded"):
        drive_recording(few)
    gaps = recorded(tmp_path / "gaps", "record.every=10")
    with pytest.raises(RecordingError, match="grad of step 1 is not recorded"):
        drive_recording(gaps)
    coupled = recorded(tmp_path / "coupled", "optimizer.kind=coupled-adam", "steps=4")
    with pytest.raises(HypothesisError, match="the live rows"):
        drive_recording(coupled)
    chance = recorded(tmp_path / "chance", "precision=bf16-stochastic", "steps=4")
    assert "generator" in drive_recording(chance).caveat


def tight(rows=30, dim=16, *, sigma=1e-5, seed=0, fmt=BFLOAT16):
    """A cloud with holes: a point plus noise below most cells."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 0.01, dim) + sigma * rng.normal(size=(rows, dim))
    return Cloud.from_rows(fmt.narrow(values.astype(np.float32)), fmt, dim)


def course(dim=16, steps=60, *, seed=1, **settings):
    settings = {"vocab": 100, "lr": 1e-3, "feedback": True, **settings}
    return list(Course(dim=dim, **settings).pushes(steps, np.random.default_rng(seed)))


@pytest.mark.parametrize("precision", POLICIES)
@pytest.mark.parametrize("feedback", [True, False])
def test_one_point_stays_one_point(precision, feedback):
    """Rows that are equal get equal gradients; every row is driven by itself here. Chance alone can tell them apart."""
    start = Cloud.from_rows(np.repeat(tight().rows()[:1], 30, axis=0), BFLOAT16, 16)
    driver = Driver(start, Rule(weight_decay=0.1), POLICIES[precision], scope="token")
    counts = [
        len(np.unique(driver.words(), axis=0))
        for _ in follow(driver, course(feedback=feedback), schedule=Schedule(), steps=60)
    ]
    assert (max(counts) > 1) == (precision == "bf16-stochastic")
    values = BFLOAT16.widen(driver.words()) if driver.words().itemsize == 2 else FLOAT32.widen(driver.words())
    assert np.abs(values[0] - start.distinct_values()[0]).min() > 1e-3


RULES = [
    {},
    {"foreach": True, "weight_decay": 10.0},
    {"kind": "sgd", "momentum": 0.9},
    {"kind": "sign", "weight_decay": 0.1, "decay": "l2"},
]


@settings(max_examples=25)
@given(
    st.sampled_from(RULES), st.sampled_from(["bf16", "f32", "mixed", "bf16-f32state", "bf16-kahan"]), st.integers(0, 99)
)
def test_driving_what_can_differ_is_driving_all(rule, precision, seed):
    if rule.get("foreach") and precision == "bf16-kahan":
        rule = {}
    start, made = tight(seed=seed), Rule(lr=3e-3, **rule)
    pushes = course(feedback=False, seed=seed, steps=30)
    found = []
    for scope in ("column", "row", "token"):
        driver = Driver(start, made, POLICIES[precision], scope=scope)
        for _ in follow(driver, pushes, schedule=Schedule(kind="cosine"), steps=30):
            pass
        found.append([driver.words(name) for name in ("weights", *made.moments)])
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))
    kept = "token" if rule.get("kind") or (rule.get("weight_decay") and precision == "bf16-kahan") else "column"
    assert Driver(start, made, POLICIES[precision], scope="column").scope == kept
    distinct = Driver(start, made, POLICIES[precision], scope="row"), Driver(start, made, POLICIES[precision])
    for driver in distinct:
        list(follow(driver, course(seed=seed, steps=30), schedule=Schedule(), steps=30))
    assert np.array_equal(*(driver.words() for driver in distinct))


@pytest.mark.parametrize("variant", ["plain", "foreach", "fused"])
def test_a_variant_is_torchs_own(variant):
    start, pushes = tight(), course(feedback=False)
    rule = Rule(lr=2e-3, weight_decay=0.01, foreach=variant == "foreach", fused=variant == "fused")
    parameter = torch.nn.Parameter(torch.from_numpy(start.rows().view(np.int16)).view(torch.bfloat16).clone())
    optimizer = torch.optim.AdamW(
        [parameter], lr=2e-3, weight_decay=0.01, foreach=variant == "foreach", fused=variant == "fused"
    )
    for push in pushes:
        gradient = torch.full((30,), push.p).outer(torch.from_numpy(push.hidden))
        parameter.grad = gradient.bfloat16()
        optimizer.step()
    words = parameter.detach().view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(drive(start, pushes, rule=rule).rows(), words)


def test_feedback_is_the_softmax_with_its_first_denominator():
    """With lr 1 and float32, SGD's step is the gradient: p_i h."""
    rng = np.random.default_rng(3)
    values = rng.normal(0, 0.3, (5, 4)).astype(np.float32)
    start, h = Cloud.from_rows(FLOAT32.narrow(values), FLOAT32, 4), rng.normal(size=(2, 4)).astype(np.float32)
    driver = Driver(start, Rule(kind="sgd"), POLICIES["f32"], scope="row")
    w, z = values.astype(np.float64), None
    for hidden in h:
        driver.push(Means(hidden, 0.01, feedback=True), lr=1.0)
        odds = np.exp((w - values.mean(axis=0)) @ hidden)
        z = odds.mean() if z is None else z
        w = w - 0.01 * (odds / z)[:, None] * hidden
    assert np.allclose(FLOAT32.widen(driver.words()), w, rtol=0, atol=1e-7)


def test_the_course_of_a_push():
    pushes = course(dim=4096, steps=600, length=0.8)
    h = np.stack([push.hidden for push in pushes]).astype(np.float64)
    assert np.allclose(np.linalg.norm(h, axis=1), 64 * 0.8)
    unit = h / np.linalg.norm(h, axis=1)[:, None]
    assert abs((unit[1:] * unit[:-1]).sum(axis=1).mean() - 0.9976) < 1e-4
    # Noise and walk: 400 steps keep 0.9999^400 of the direction, not 0.9976^400 = 0.38.
    assert (unit[400:] * unit[:-400]).sum(axis=1).mean() > 0.9
    assert {push.p for push in pushes} == {0.01}
    fading = Course(dim=64, vocab=1000, lr=1e-3, floor=0.1)
    assert fading.time_constant == pytest.approx(19.58, abs=0.01)
    assert fading.probability(1) == pytest.approx(1e-3)
    assert fading.probability(10_000) == pytest.approx(1e-4)
    with pytest.raises(HypothesisError, match="autocorrelation <= keep"):
        Course(dim=4, vocab=4, lr=1, autocorrelation=1.1)
    with pytest.raises(HypothesisError, match="make no push"):
        Course(dim=4, vocab=4, lr=1, fall=0)


def test_what_cannot_be_driven():
    start, rule, bf16 = tight(), Rule(), POLICIES["bf16"]
    with pytest.raises(HypothesisError, match="the live rows"):
        Driver(start, Rule(kind="coupled-adam"), bf16)
    with pytest.raises(HypothesisError, match="Q8_0 rows cannot be trained"):
        blocks = np.zeros((3, 34), np.uint8)
        Driver(Cloud.from_rows(blocks, BlockFormat("Q8_0", 8, 32, 34), 32), rule, bf16)
    with pytest.raises(HypothesisError, match="keeps no m"):
        Driver(start, Rule(kind="sgd"), bf16).words("m")
    driver = Driver(start, rule, bf16, scope="column")
    with pytest.raises(HypothesisError, match="push by row among pushes by column"):
        driver.push(Means(np.ones(16, np.float32), 0.1, feedback=True), lr=1e-3)
    with pytest.raises(HypothesisError, match=r"gradient of \[29, 16\] for rows of \[30, 16\]"):
        Driver(start, rule, bf16).push(GradientWords(np.zeros((29, 16), np.uint16)), lr=1e-3)
    with pytest.raises(HypothesisError, match="hidden states of 3 positions, probabilities of 2"):
        Positions(np.ones((3, 16), np.float32), np.ones((2, 30), np.float32))
    with pytest.raises(HypothesisError, match="2 pushes for 3 updates"):
        list(follow(driver, course(feedback=False, steps=2), schedule=Schedule(), steps=3))
    with pytest.raises(HypothesisError, match="no longer finite"):
        drive(start, [Means(np.full(16, 1e38, np.float32), 1.0)], rule=Rule(kind="sgd", lr=100.0))


def context(rows=60, dim=64, fmt=BFLOAT16):
    anchor = fmt.narrow(np.random.default_rng(7).normal(0, 0.05, dim).astype(np.float32))
    return Context(rows, dim, fmt, anchor, fmt.widen(anchor), vocab=1000, initializer_range=0.02)


FEW = {"steps": 40.0}


@pytest.mark.parametrize("name", ["driven_snowball", "driven_normal", "driven_normal_unit"])
@pytest.mark.parametrize("fmt", [BFLOAT16, FLOAT32, FLOAT16, BlockFormat("Q8_0", 8, 32, 34)])
def test_a_hypothesis_is_drawn_by_its_seed(name, fmt):
    subject = context(fmt=BFLOAT16 if isinstance(fmt, BlockFormat) else fmt)
    if isinstance(fmt, BlockFormat):
        from forensics.hypotheses.sampling.clouds import quantised

        blocks = quantised(subject.values[None], fmt)[0]
        subject = Context(60, 64, fmt, blocks, subject.centroid, 1000, 0.02)
    hypothesis = load_hypothesis(name)
    assert hypothesis.obstacle(subject) is None
    (_, one), (_, same), (_, other) = (draw(hypothesis, subject, 5, index, FEW) for index in (0, 0, 1))
    assert (len(one), one.dim, one.format) == (60, 64, fmt)
    assert np.array_equal(one.rows(), same.rows())
    assert not np.array_equal(one.rows(), other.rows())


def test_a_tight_cloud_ends_where_the_subject_lies_and_one_around_zero_does_not():
    subject = context()
    settings_ = {"steps": 200.0, "lr": 1e-3, "sigma": 1e-7}
    _, cloud = draw(load_hypothesis("driven_snowball"), subject, 0, 0, settings_)
    centroid = cloud.distinct_values().mean(axis=0)
    assert np.linalg.norm(centroid - subject.values) < 0.2 * np.linalg.norm(subject.values)
    assert len(cloud.patterns) < 20
    parameters = {"lr": 1e-3, "steps": 200.0, "feedback": "yes", "precision": "bf16", "weight_decay": 0.0}
    pushes = draw_pushes(subject, parameters, np.random.default_rng(0))
    point = start_towards(subject.values, pushes, {**parameters, "schedule": "constant"})
    assert np.linalg.norm(point - subject.values) > 0.3 * np.linalg.norm(subject.values)
    _, cloud = draw(load_hypothesis("driven_normal"), subject, 0, 0, {"steps": 200.0, "lr": 1e-3})
    values = cloud.distinct_values()
    assert len(values) == 60
    assert np.linalg.norm(values.mean(axis=0)) > 10 * 0.02 * 8 / 60**0.5
    _, cloud = draw(load_hypothesis("driven_normal_unit"), subject, 0, 0, {"steps": 200.0, "lr": 1e-3})
    assert np.linalg.norm(cloud.distinct_values(), axis=1).mean() == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"precision": "bf17"}, "no precision is called 'bf17'"),
        ({"feedback": "maybe"}, "feedback is 'maybe'"),
        ({"steps": 1.5}, "steps is 1.5"),
    ],
)
def test_settings_that_are_none(settings_, message):
    with pytest.raises(HypothesisError, match=message):
        draw(load_hypothesis("driven_normal"), context(), 0, 0, settings_)
    with pytest.raises(ConfigError, match="no schedule"):
        draw(load_hypothesis("driven_normal"), context(), 0, 0, {"schedule": "square"})
