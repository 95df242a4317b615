"""The founding hypothesis of the first steps, on runs where it was planted and where it was not."""

import json

import numpy as np
import pytest

from forensics.dynamics.bootstrap import analyse_bootstrap
from forensics.dynamics.direction import Unigram
from forensics.errors import RecordingError
from forensics.recording import Channel, Recording

N, DIM, VOCAB = 400, 6, 12
COLLAPSE = np.r_[np.linspace(60, 10, 80), np.linspace(10, 40, N - 80)]


def run(angle=COLLAPSE, turn_deg=5.0, growth=2.0, wiggle=None, displaced=None):
    """h_mean turns by `turn_deg` until step 80 and then stays; it grows by the factor `growth` until then."""
    rng = np.random.default_rng(0)
    t = np.arange(N)
    part = np.clip(t / 80, 0, 1)
    turn = np.deg2rad(turn_deg) * part + (0 if wiggle is None else np.deg2rad(wiggle) * rng.normal(size=N))
    h = np.zeros((N, DIM))
    h[:, 0], h[:, 1] = np.cos(turn), np.sin(turn)
    h *= (1 + (growth - 1) * part + rng.normal(0, 0.002, N))[:, None]
    channels = [
        Channel("h_mean", (DIM,), "float32"),
        Channel("spread_angle", (), "float64"),
        Channel("W", (VOCAB, DIM), "uint32", format="float32", token_ids=np.arange(VOCAB)),
    ]
    frames = [(0, {"W": np.zeros((VOCAB, DIM), np.float32).view(np.uint32)})]
    for i in range(N):
        w = np.zeros((VOCAB, DIM), np.float32)
        w[:, 0] = 0 if displaced is None else np.asarray(displaced) * min(i + 1, 90)
        angles = np.array(angle[i] + rng.normal(0, 0.2))
        frames.append((i + 1, {"h_mean": h[i].astype(np.float32), "spread_angle": angles, "W": w.view(np.uint32)}))
    return Recording.from_frames({}, channels, frames, vocab_size=VOCAB, dead_ids=[0])


def test_planted_amplification():
    found = analyse_bootstrap(run())
    assert found.verdict == "consistent with collapse, growth and kept direction; frequency not tested"
    assert found.collapse_step == pytest.approx(81, abs=8)
    assert found.angle_at_collapse == pytest.approx(5, abs=0.5)
    assert found.norm_at_collapse == pytest.approx(2, abs=0.1)
    assert found.similarity[0] == pytest.approx(1) and found.norm_ratio[0] == 1
    assert found.displaced == () and "record probe" in found.shares
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("planted", "lacks"),
    [
        ({"angle": np.full(N, 40.0)}, "h does not collapse"),
        ({"angle": np.linspace(20, 60, N)}, "h does not collapse"),
        ({"growth": 0.5}, "h_mean does not grow"),
        ({"growth": 1.0}, "h_mean does not grow"),
        ({"turn_deg": 80.0}, "h_mean leaves its first direction"),
        ({"turn_deg": 80.0, "growth": 0.5}, "h_mean does not grow, h_mean leaves its first direction"),
    ],
)
def test_what_does_not_hold_is_named(planted, lacks):
    assert lacks in analyse_bootstrap(run(**planted)).verdict


def test_the_transition_from_keeping_still_to_wiggling():
    wiggle = np.where(np.arange(N) < 90, 0.01, 1.0)
    assert analyse_bootstrap(run(wiggle=wiggle, turn_deg=0.5)).transition_step == pytest.approx(91, abs=8)
    assert analyse_bootstrap(run(wiggle=np.full(N, 1.0))).transition_step is None


def test_displacement_against_share():
    unigram = Unigram(np.arange(1, VOCAB), np.log(np.arange(1, VOCAB) / 66), True, "planted")
    found = analyse_bootstrap(run(displaced=np.arange(VOCAB)), unigram)
    assert [d.step for d in found.displaced] == [1, 10, 90]
    assert all(d.rank_correlation == d.along_correlation == pytest.approx(1) for d in found.displaced)
    away = analyse_bootstrap(run(displaced=-np.arange(VOCAB)), unigram).displaced[0]
    assert (away.rank_correlation, away.along_correlation) == (pytest.approx(1), pytest.approx(-1))
    grown, shrunk = (
        analyse_bootstrap(run(displaced=each), unigram) for each in (np.arange(VOCAB), np.arange(VOCAB)[::-1])
    )
    assert grown.verdict == "consistent with collapse, growth, kept direction and frequency"
    assert shrunk.verdict == "not supported: updates do not grow with token frequency"
    assert grown.frequency.step == 10  # 90 is after the collapse at about 80
    chance = np.random.default_rng(1).permutation(VOCAB)
    assert "do not grow with token frequency" in analyse_bootstrap(run(displaced=chance), unigram).verdict
    same = analyse_bootstrap(run(displaced=np.ones(VOCAB)), unigram).displaced[0]
    assert (same.rank_correlation, same.tokens) == (None, VOCAB - 1)


def test_what_is_missing_is_said():
    whole = run()
    for name, asked in (("h_mean", "h_mean"), ("spread_angle", "spread")):
        channels = [c for c in whole.channels if c.name != name]
        lacking = Recording.from_frames({}, channels, [], vocab_size=VOCAB, dead_ids=[])
        with pytest.raises(RecordingError, match=f"{asked} was not recorded"):
            analyse_bootstrap(lacking)
    zero = [(1, {"h_mean": np.zeros(DIM, np.float32), "spread_angle": np.array(1.0)})]
    with pytest.raises(RecordingError, match="first h_mean is zero"):
        analyse_bootstrap(Recording.from_frames({}, whole.channels, zero, vocab_size=VOCAB, dead_ids=[]))
    single = [(1, {"h_mean": np.ones(DIM, np.float32), "spread_angle": np.array(1.0)})]
    found = analyse_bootstrap(Recording.from_frames({}, whole.channels, single, vocab_size=VOCAB, dead_ids=[]))
    assert (found.verdict, found.collapse_step, found.transition_step) == (None, None, None)
    json.dumps(found.to_dict(), allow_nan=False)
