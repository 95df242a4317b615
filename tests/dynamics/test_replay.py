"""Updates taken again: every word, and the first that differs."""

import json

import numpy as np
import pytest

from forensics.dynamics.replay import analyse_replay
from forensics.errors import RecordingError
from forensics.recording import Recording
from tests.dynamics.made_updates import rewritten, trained


def made_run(steps=15, **options):
    rng = np.random.default_rng(8)
    gradients = rng.normal(0, 1e-2, (steps, 5, 16)) * 0.5 ** np.arange(steps)[:, None, None]
    return trained(rng.normal(0, 0.5, (5, 16)), gradients, **options)


@pytest.mark.parametrize("precision", ["bf16", "bf16-f32state", "mixed", "f32", "bf16-kahan"])
@pytest.mark.parametrize(
    "rule",
    [
        {"weight_decay": 0.9, "lr": 1e-2},
        {"decay": "l2", "weight_decay": 0.1},
        {"kind": "sgd", "momentum": 0.9},
        {"kind": "sgd"},
        {"kind": "sign"},
        {"kind": "coupled-adam"},
    ],
    ids=str,
)
def test_every_word_comes_out(rule, precision):
    found = analyse_replay(made_run(rule=rule, precision=precision, rates=list(np.geomspace(1e-2, 1e-3, 15))))
    assert set(found.share.values()) == {1.0}
    assert (found.first_difference, found.is_whole, len(found.steps)) == (None, True, 15)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("kernel", ["fused", "foreach"])
def test_torchs_other_kernels_come_out_in_bfloat16(kernel):
    found = analyse_replay(made_run(rule={kernel: True, "weight_decay": 0.5}))
    assert found.share["W"] == 1.0
    assert bool(found.caveat) == (kernel == "fused")


@pytest.mark.parametrize(("channel", "step"), [("W", 6), ("m", 3), ("v", 1), ("v", 15)])
def test_one_changed_word_is_found(channel, step):
    found = analyse_replay(rewritten(made_run(), channel, step, 2, 7, 1))
    assert found.first_difference == step
    assert not found.is_whole
    at = found.channels.index(channel)
    missing = found.words - found.equal
    assert missing[step - 1].tolist() == [int(i == at) for i in range(3)]
    # It starts again from the recorded words: of the other 79 elements none is touched.
    assert missing[step:].max(initial=0) <= 1
    assert found.to_dict()["differing_updates"][0] == step


def test_a_gradient_or_a_rate_that_was_not_used_is_found():
    assert analyse_replay(rewritten(made_run(), "grad", 4, 0, 0, 300)).first_difference == 4
    wrong = made_run(rates=[1e-3] * 7 + [2e-3] * 8, without=["lr"])
    assert analyse_replay(wrong).first_difference == 8


def test_w_and_gradients_alone_suffice():
    found = analyse_replay(made_run(without=["m", "v"]))
    assert (found.channels, found.is_whole, found.share["W"]) == (("W",), True, 1.0)
    cut = analyse_replay(rewritten(made_run(without=["m", "v"]), "W", 6, 0, 0, 1))
    assert (cut.first_difference, cut.steps[-1], cut.is_whole) == (6, 6, False)


def test_a_sample_of_updates():
    found = analyse_replay(made_run(), every=7)
    assert found.steps.tolist() == [*range(1, 11), 14]
    assert set(found.share.values()) == {1.0}
    assert not found.is_whole


def test_a_recording_that_starts_late_goes_on_from_its_words():
    run = made_run()
    names = ("W", "grad", "m", "v", "lr")
    late = [(t, {n: run.frame(n, t) for n in names}) for t in range(5, 16)]
    found = analyse_replay(Recording.from_frames(run.config, run.channels, late, vocab_size=5, dead_ids=[0]))
    assert found.steps.tolist() == [*range(6, 16)]
    assert found.share["W"] == 1.0 and not found.is_whole


def test_what_cannot_be_replayed_says_so():
    with pytest.raises(RecordingError, match="random numbers are not recorded"):
        analyse_replay(made_run(precision="bf16-stochastic"))
    with pytest.raises(RecordingError, match="grad was not recorded"):
        analyse_replay(made_run(without=["grad"]))
    with pytest.raises(RecordingError, match="no update can be replayed"):
        analyse_replay(made_run(steps=0))
    run = made_run(rule={"kind": "coupled-adam"})
    some = Recording.from_frames(run.config, run.channels, [], vocab_size=9, dead_ids=[0])
    with pytest.raises(RecordingError, match="needs all 9 tokens"):
        analyse_replay(some)
