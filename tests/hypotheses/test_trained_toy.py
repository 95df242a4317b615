"""The trained toy as a hypothesis: its cloud is the dead rows of the run that the same settings record."""

from dataclasses import replace

import numpy as np
import pytest

from forensics.errors import HypothesisError
from forensics.formats import BFLOAT16
from forensics.hypotheses.context import Context
from forensics.hypotheses.discovery import load_hypothesis
from forensics.hypotheses.hypothesis import Fixed
from forensics.hypotheses.observables import OBSERVABLES, measure_cloud
from forensics.hypotheses.simulators.trained_toy import toy_config
from forensics.hypotheses.sweeps.simulation import draw, simulate_one
from forensics.recording import open_recording
from forensics.toy import run as runs

PRESET = """
steps = 30
threads = 1
precision = "{precision}"
[corpus]
kind = "synthetic"
vocab = 64
dead = {dead}
tokens = 8000
[batches]
batch = 4
context = 12
[model]
layers = 1
dim = 8
heads = 2
ff = 16
[record]
channels = ["W"]
"""


@pytest.fixture
def preset(tmp_path):
    def write(precision="bf16", dead=24):
        path = tmp_path / f"{precision}-{dead}.toml"
        path.write_text(PRESET.format(precision=precision, dead=dead))
        return str(path)

    return write


def subject():
    anchor = BFLOAT16.narrow(np.full(32, 0.01, np.float32))
    return Context(50, 32, BFLOAT16, anchor, BFLOAT16.widen(anchor), vocab=500, initializer_range=0.02)


TOY = load_hypothesis("trained_toy")


@pytest.mark.parametrize("precision", ["bf16", "f32"])
def test_its_rows_are_the_recorded_ones(precision, preset, tmp_path):
    settings = {"preset": preset(precision), "lr": 3e-3, "sigma": 0.01}
    parameters, cloud = draw(TOY, subject(), 7, 0, settings)
    _, again = draw(TOY, subject(), 7, 0, settings)
    _, other = draw(TOY, subject(), 7, 1, settings)
    assert np.array_equal(cloud.rows(), again.rows())
    assert not np.array_equal(cloud.rows(), other.rows())
    # The generator gives the seed after the parameters were drawn, set or not.
    seeds = []

    def noted(given, seed, dead):
        seeds.append(seed)
        return toy_config(given, seed, dead)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forensics.hypotheses.simulators.trained_toy.toy_config", noted)
        draw(TOY, subject(), 7, 0, settings)
    run = runs.begin(toy_config(parameters, seeds[0], 50), tmp_path / "run", device="cpu")
    runs.carry_on(run)
    run.close()
    recording = open_recording(tmp_path / "run")
    assert np.array_equal(cloud.rows(), recording.frame("W", 30)[recording.dead_ids])
    assert cloud.token_ids is None
    assert (len(cloud), cloud.dim) == (50, 8)
    assert seeds and toy_config(parameters, 0, 50).corpus.vocab == 64 - 24 + 50
    assert measure_cloud(cloud, subject())["unique_share"] is not None


def test_only_what_is_free_of_size_is_kept(preset):
    base = simulate_one(replace(TOY, parameters=tuple(_fixed(TOY, preset("f32")))), subject(), 7, 0)
    kept = {name for name, value in base.observables.items() if value is not None}
    assert base.error is None and "kurtosis" in kept
    assert not [name for name in kept if not OBSERVABLES[name].scale_free or OBSERVABLES[name].unit == "steps"]


def _fixed(hypothesis, preset):
    """Its parameters, with a preset of the test's."""
    for p in hypothesis.parameters:
        yield replace(p, prior=lambda context: Fixed(preset)) if p.name == "preset" else p


def test_where_no_toy_is_trained(monkeypatch):
    context = subject()
    assert TOY.obstacle(context) is None
    assert "2,222 dead tokens are more than" in TOY.obstacle(replace(context, n_rows=2222))
    monkeypatch.setattr("forensics.hypotheses.driving.hypothesis.find_spec", lambda name: None)
    assert "torch is not installed" in TOY.obstacle(context)


def test_a_corpus_with_dead_tokens_of_its_own(tmp_path):
    (tmp_path / "a.txt").write_text("abc " * 400)
    head, tail = PRESET.format(precision="f32", dead=0).split("[corpus]")[0], PRESET.split("[batches]")[1]
    corpus = f'[corpus]\nkind = "text"\ntext = "{tmp_path / "a.txt"}"\n'
    (tmp_path / "own.toml").write_text(f"{head}{corpus}[batches]{tail}")
    with pytest.raises(HypothesisError, match=r"the toy has \d+ dead tokens, the subject 50"):
        draw(TOY, subject(), 0, 0, {"preset": str(tmp_path / "own.toml")})


def test_what_cannot_be_trained(preset):
    with pytest.raises(HypothesisError, match="no preset is called 'pokket'"):
        draw(TOY, subject(), 0, 0, {"preset": "pokket"})
    with pytest.raises(HypothesisError, match="not finite|the loss is"):
        draw(TOY, subject(), 0, 0, {"preset": preset(), "sigma": 1e30})
    with pytest.raises(HypothesisError, match="cannot be trained: .*sigma"):
        draw(TOY, subject(), 0, 0, {"preset": preset(), "sigma": -1.0})
