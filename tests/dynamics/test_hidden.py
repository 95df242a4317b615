"""h_mean and its spread: planted directions, collapses and probes; a drift does not converge, noise does not spread."""

import json

import numpy as np
import pytest

from forensics.dynamics.context import analyse_clusters, analyse_probe
from forensics.dynamics.direction import Unigram, analyse_direction, known_unigram
from forensics.dynamics.diversification import VERDICTS, analyse_spread, follow_spread
from forensics.dynamics.hidden import analyse_mean, follow_mean, mean_cosine_by_lag
from forensics.dynamics.run import analyse
from forensics.errors import RecordingError
from forensics.recording import Channel, Recording

STEPS = np.arange(1, 401)
RNG = np.random.default_rng


def recorded(dead=(), vocab=8, **series):
    """A recording of float64 series of steps 1 on."""
    channels, frames = [], {}
    for name, values in series.items():
        array = np.asarray(values, float)
        channels.append(Channel(name, array.shape[1:], "float64"))
        for step, value in enumerate(array, 1):
            frames.setdefault(step, {})[name] = value
    return Recording.from_frames({}, channels, sorted(frames.items()), vocab_size=vocab, dead_ids=dead)


def test_autocorrelation_is_the_mean_cosine_at_each_lag():
    unit = RNG(0).normal(size=(37, 5))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    by_hand = [np.mean([unit[t] @ unit[t + lag] for t in range(37 - lag)]) for lag in range(37)]
    assert np.allclose(mean_cosine_by_lag(unit), by_hand)


def test_a_direction_that_turns_by_hand():
    turn = np.deg2rad(3 * np.arange(20))
    found = follow_mean(np.arange(20), np.stack([2 * np.cos(turn), 2 * np.sin(turn)], axis=1))
    assert np.allclose(found.swing, 3) and np.allclose(found.norm, 2)
    assert np.allclose(found.autocorrelation, np.cos(np.deg2rad(3 * np.arange(20))))
    assert found.convergence_step is None  # it turns on to the end
    json.dumps(found.to_dict(), allow_nan=False)


def settling(at, n=400, sigma=0.02):
    """Turns by a right angle until `at`, then keeps to one direction with noise."""
    turn = np.clip(np.arange(n) / at, 0, 1) * np.pi / 2
    h = np.zeros((n, 8))
    h[:, 0], h[:, 1] = np.cos(turn), np.sin(turn)
    return h + RNG(1).normal(0, sigma, h.shape)


@pytest.mark.parametrize("at", [40, 120, 180])
def test_a_planted_convergence(at):
    found = analyse_mean(recorded(h_mean=settling(at)))
    assert found.convergence_step == pytest.approx(at, abs=15)


def test_what_never_settles_does_not_converge():
    walks = []
    for seed in range(20):
        h = [np.array([1.0, 0, 0, 0])]
        for step in RNG(seed).normal(0, 0.1, (399, 4)):
            moved = h[-1] + step
            h.append(moved / np.linalg.norm(moved))
        walks.append(follow_mean(STEPS, np.array(h)).convergence_step)
    assert walks.count(None) >= 17
    constant = follow_mean(STEPS, np.ones((400, 3)))
    assert constant.convergence_step == 1
    assert follow_mean(STEPS[:10], np.ones((10, 3))).convergence_step is None


def test_lags_are_of_the_longest_even_stretch():
    steps = np.r_[1:6, 10:100:10]
    found = follow_mean(steps, np.ones((len(steps), 2)))
    assert found.lags.tolist() == [*range(0, 90, 10)]


@pytest.mark.parametrize("n", [1, 2])
def test_one_step_and_two(n):
    found = analyse_mean(recorded(h_mean=np.ones((n, 3))))
    assert (len(found.swing), found.convergence_step) == (n - 1, None)
    json.dumps([m.to_dict() for m in found.measures], allow_nan=False)


def noisy(series, seed):
    return series + RNG(seed).normal(0, 0.3, len(series))


COLLAPSE = np.r_[np.linspace(60, 20, 60), np.linspace(20, 50, 340)]
FLAT, RISE = np.full(400, 40.0), np.linspace(20, 50, 400)
LEARNS = np.r_[np.linspace(9, 6, 60), np.linspace(6, 4, 340)]
STUCK = np.r_[np.linspace(9, 5.2, 60), np.full(340, 5.2)]
AT = np.r_[np.linspace(9, 5.0, 60), np.full(340, 5.0)]
WAVE = np.r_[np.zeros(60), np.sin(2 * np.pi * np.arange(340) / 70)]
APART = np.r_[np.linspace(9, 4, 60), np.linspace(4, 4.6, 340)]


@pytest.mark.parametrize(
    ("angle", "loss", "verdict"),
    [
        (COLLAPSE + 2 * WAVE, LEARNS - 0.2 * WAVE, VERDICTS[0]),
        (RISE + 2 * WAVE, LEARNS - 0.2 * WAVE, VERDICTS[1]),
        (COLLAPSE, LEARNS, VERDICTS[3]),
        (COLLAPSE + 2 * WAVE, LEARNS + 0.1 * WAVE, VERDICTS[3]),
        (np.r_[np.linspace(60, 20, 396), 40, 41, 42, 43], LEARNS, VERDICTS[5]),
        (COLLAPSE, APART, VERDICTS[2]),
        (COLLAPSE, np.r_[np.linspace(9, 4, 60), np.full(340, 4.0)], VERDICTS[2]),
        (FLAT, LEARNS, VERDICTS[5]),
        (COLLAPSE[:60].repeat(7)[:400], LEARNS, VERDICTS[5]),
        (COLLAPSE, AT, VERDICTS[6]),
        (FLAT, AT, VERDICTS[7]),
        (COLLAPSE, STUCK, VERDICTS[8]),
        (FLAT, STUCK, VERDICTS[8]),
    ],
)
def test_the_verdict_follows_what_was_planted(angle, loss, verdict):
    series = {"along": noisy(angle, 1), "angle": noisy(angle, 2), "total": noisy(angle, 3)}
    found = follow_spread(STEPS, series, loss + RNG(4).normal(0, 0.02, 400), unigram_entropy=5.0)
    assert found.verdict == verdict
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("memory", [1.0, 0.98], ids=["walk", "autoregression"])
def test_what_wanders_by_itself_is_not_supported(memory):
    supported = 0
    for seed in range(100):
        rng = RNG(seed)
        loss = 4.7 + 1.5 * np.exp(-np.arange(600) / 150) + rng.normal(0, 0.03, 600)
        angle = np.zeros(600)
        for t, push in enumerate(rng.normal(0, 0.5, 599), 1):
            angle[t] = memory * angle[t - 1] + push
        series = dict.fromkeys(("along", "angle", "total"), 40 + angle)
        verdict = follow_spread(np.arange(600), series, loss, unigram_entropy=5.05).verdict
        supported += verdict in VERDICTS[:2]
    assert supported <= 5


def test_too_few_steps_after_the_lowest_do_not_deny_a_link():
    angle = np.r_[60, np.linspace(22, 20, 25), np.full(4, 60)]
    found = follow_spread(np.arange(30), {"angle": angle}, np.linspace(6, 4, 30), unigram_entropy=5.5)
    assert (found.linked, found.verdict) == (None, VERDICTS[4])


def test_two_trends_alone_do_not_correlate_in_their_changes():
    series = {name: noisy(RISE, seed) for seed, name in enumerate(("along", "angle", "total"))}
    found = follow_spread(STEPS, series, LEARNS + RNG(9).normal(0, 0.02, 400), unigram_entropy=5.0)
    assert found.level_correlation < -0.8


def test_spread_without_a_reference_or_a_loss_has_no_verdict():
    names = {f"spread_{n}": COLLAPSE for n in ("along", "angle", "total")}
    found = analyse_spread(recorded(**names))
    assert (found.loss, found.verdict) == (None, None)
    assert found.courses["angle"].shape == "falls, then rises"
    found = analyse_spread(recorded(**names, loss=LEARNS))
    assert (found.below_unigram, found.verdict) == (None, None)
    assert {m.name: m.value for m in found.measures}["loss below unigram"] is None
    with pytest.raises(RecordingError, match="spread was not recorded"):
        analyse_spread(recorded(loss=LEARNS))
    single = analyse_spread(recorded(**{n: v[:1] for n, v in names.items()}, loss=[5.0]))
    assert single.courses["angle"] is None
    json.dumps(single.to_dict(), allow_nan=False)


def probed(gain, steps=6, sequences=4, each=5, rank=1, seed=0):
    """A probe of 20 positions whose log-probability is the share's and so much more at the last steps."""
    n = sequences * each
    rng = RNG(seed)
    share = np.log(rng.uniform(0.01, 0.2, n))
    targets = np.arange(n)
    channels = [
        Channel("probe_rank", (n,), "int64"),
        Channel("probe_logp", (n,), "float32"),
        Channel("probe_unigram_rank", (n,), "int64"),
        Channel("probe_unigram_logp", (n,), "float32"),
        Channel("probe_tokens", (sequences, each), "int64"),
        Channel("probe_targets", (n,), "int64"),
    ]
    frames = []
    for t in range(steps):
        by_sequence = np.repeat(rng.normal(0, 0.05, sequences), each)
        logp = share - 1 + (gain + 1) * (t >= 3) + by_sequence
        frame = {"probe_rank": np.full(n, rank if t >= 3 else 9), "probe_logp": logp.astype(np.float32)}
        if t == 0:
            frame |= {"probe_unigram_rank": np.arange(1, n + 1), "probe_unigram_logp": share.astype(np.float32)}
            frame |= {"probe_tokens": np.zeros((sequences, each), np.int64), "probe_targets": targets}
        frames.append((t, frame))
    return Recording.from_frames({}, channels, frames, vocab_size=30, dead_ids=[25])


@pytest.mark.parametrize(("gain", "verdict", "since"), [(0.5, "yes", 3), (-0.5, "no", None), (0.0, "cannot tell", ...)])
def test_the_probe(gain, verdict, since):
    found = analyse_probe(probed(gain))
    assert found.verdict == verdict
    assert found.gain[0] == pytest.approx(-1, abs=0.1) and found.gain[-1] == pytest.approx(gain, abs=0.1)
    assert since is ... or found.ahead_since == since
    assert found.first.tolist() == [0, 0, 0, 1, 1, 1] and found.unigram_first == 1 / 20
    assert found.unigram_median_rank == 10.5
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_probe_that_overflowed_is_not_ahead():
    run = probed(0.5)
    frames = [(t, {c.name: run.frame(c.name, t) for c in run.channels if t in run.steps(c.name)}) for t in range(6)]
    frames[-1][1]["probe_logp"] = np.tile([np.inf, -np.inf], 10).astype(np.float32)
    frames[-2][1]["probe_logp"] = np.full(20, np.nan, np.float32)
    found = analyse_probe(Recording.from_frames({}, run.channels, frames, vocab_size=30, dead_ids=[25]))
    assert (found.ahead_since, found.verdict) == (None, "cannot tell")
    json.dumps(found.to_dict(), allow_nan=False)


def test_clusters_beyond_chance():
    n = 200
    chance = np.full(n, 0.1)
    rising = chance + np.linspace(0, 0.5, n) + RNG(0).normal(0, 0.005, n)
    flat = chance + RNG(1).normal(0, 0.005, n)
    series = {"target": rising, "predicted": flat}
    parts = {f"clusters_{n}_between": v for n, v in series.items()}
    found = analyse_clusters(recorded(**parts, **{f"clusters_{n}_chance": chance for n in series}))
    assert {n: c.shape for n, c in found.courses.items()} == {"target": "rises", "predicted": "flat"}
    assert found.excess["target"][-1] == pytest.approx(0.5, abs=0.03)
    with pytest.raises(RecordingError, match="clusters was not recorded"):
        analyse_clusters(recorded(loss=[1.0]))


def pointing(logits_of_steps, dead=(7,)):
    """W is the identity, so that h_mean's numbers are the logits."""
    n = len(logits_of_steps[0])
    words = np.eye(n, dtype=np.float32).view(np.uint32)
    channels = [
        Channel("W", (n, n), "uint32", format="float32", token_ids=np.arange(n)),
        Channel("h_mean", (n,), "float32"),
    ]
    frames = [(0, {"W": words})]
    for t, logits in enumerate(logits_of_steps, 1):
        frames.append((t, {"W": words, "h_mean": np.asarray(logits, np.float32)}))
    return Recording.from_frames({}, channels, frames, vocab_size=n, dead_ids=list(dead))


def test_where_h_mean_points():
    share = np.arange(1, 16) / 120  # of tokens 0 to 14; token 15 is dead
    unigram = Unigram(np.arange(15), np.log(share), True, "planted")
    exact = np.r_[np.log(share), -40.0]
    found = analyse_direction(pointing([-exact, exact], dead=[15]), unigram)
    first, last = found.pointings
    assert last.top == (14, 13, 12, 11, 10, 9, 8, 7, 6, 5)
    assert (last.rank_correlation, last.frequent_in_top, last.dead_in_top) == (pytest.approx(1), 10, 0)
    assert last.divergence == pytest.approx(0, abs=1e-5)
    assert (first.rank_correlation, first.dead_in_top) == (pytest.approx(-1), 1)
    assert first.top[0] == 15 and first.divergence > 1
    without = analyse_direction(pointing([exact]))
    assert without.pointings[0].rank_correlation is None and "record probe" in without.shares
    json.dumps(found.to_dict(), allow_nan=False)


def test_shares_known_from_the_probe_and_from_clusters():
    known = known_unigram(probed(0.1))
    assert known.token_ids.tolist() == [*range(20)] and not known.is_complete
    assert "20 of 29 live" in known.source
    channel = Channel("clusters_target_count", (3,), "int64", token_ids=np.array([1, 4, 6]))
    frames = [(t, {"clusters_target_count": np.array([2, 0, 6])}) for t in (1, 2)]
    counted = known_unigram(Recording.from_frames({}, [channel], frames, vocab_size=9, dead_ids=[]))
    assert counted.token_ids.tolist() == [1, 6]
    assert np.allclose(np.exp(counted.log_share), [0.25, 0.75])
    assert known_unigram(recorded(loss=[1.0]), rebuild=True) is None


def test_a_synthetic_corpus_is_drawn_again_if_it_is_the_recorded_one():
    from forensics.toy.config import RunConfig
    from forensics.toy.corpus import build_corpus

    spec = {"kind": "synthetic", "vocab": 64, "dead": 24, "tokens": 8_000}
    config = RunConfig.from_dict({"name": "x", "steps": 2, "corpus": spec})
    corpus = build_corpus(config.corpus)
    points = pointing([np.zeros(64)])
    frames = [
        (t, {c.name: points.frame(c.name, t) for c in points.channels if t in points.steps(c.name)}) for t in (0, 1)
    ]

    def shares(digest, settings):
        run = Recording.from_frames(settings, points.channels, frames, vocab_size=64, dead_ids=corpus.dead_ids)
        run.extra = {"corpus": {"sha256": digest}}
        return analyse(run)["direction"]

    found = shares(corpus.sha256, config.to_dict())
    assert "drawn again" in found.shares and found.pointings[-1].divergence == pytest.approx(
        np.log(64) - corpus.unigram_entropy, rel=1e-3
    )
    assert "no share" in shares("0" * 64, config.to_dict()).shares
    assert "no share" in shares(corpus.sha256, {"corpus": {"kind": "of later"}}).shares
