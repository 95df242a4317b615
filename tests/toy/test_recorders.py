"""Every recorder: its frames fit its channels, are copies, and leave the run as it was."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from forensics.errors import ConfigError
from forensics.initialisation import Normal
from forensics.toy.config import InitialSpec, LossSpec, ModelSpec
from forensics.toy.figures import words
from forensics.toy.loop import Training, train
from forensics.toy.recorded import RECORDS, RecordSpec
from forensics.toy.recorders import make_recorders
from forensics.toy.tracked import tracked_ids
from forensics.updates import Rule
from tests.toy.made_steps import BATCH, CONTEXT, DEAD, DIM, VOCAB, LinearModel, made_config, made_corpus, made_step

UNTIED = ModelSpec(layers=1, dim=DIM, heads=2, ff=8, tied=False)
KAHAN = {"precision": "bf16-kahan", "model": UNTIED}


def recorders(*names, **changed):
    return make_recorders(names or RECORDS, config=made_config(**KAHAN | changed), corpus=made_corpus())


def test_every_name_has_a_recorder_whose_frames_fit():
    made = recorders()
    assert [recorder.name for recorder in made] == list(RECORDS)
    channels = [c.name for recorder in made for c in recorder.channels]
    assert len({name.lower() for name in channels}) == len(channels)
    step = made_step()
    for recorder in made:
        first, frames = recorder.begin(step.before, LinearModel(step.before)), recorder.observe(step)
        by_name = {c.name: c for c in recorder.channels}
        assert set(first) | set(frames) == set(by_name)
        for each in (first, frames):
            for name, frame in each.items():
                assert by_name[name].checked(frame) is frame
        assert all(c.unit and c.definition for c in recorder.channels)


@pytest.mark.parametrize("name", RECORDS)
def test_observing_changes_nothing(name):
    (recorder,) = recorders(name)
    step = made_step()
    tensors = {f.name: getattr(step, f.name) for f in fields(step) if isinstance(getattr(step, f.name), torch.Tensor)}
    saved = {key: tensor.clone() for key, tensor in tensors.items()}
    generator, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    recorder.begin(step.before, LinearModel(step.before))
    frames = recorder.observe(step)
    again = recorder.observe(step)
    assert torch.equal(torch.get_rng_state(), generator)
    assert np.array_equal(np.random.get_state()[1], legacy)
    for key, tensor in tensors.items():
        assert getattr(step, key) is tensor
        assert torch.equal(tensor, saved[key]), key
    for tensor in tensors.values():
        tensor.zero_()  # what the next update does to views
    for key, frame in frames.items():
        assert np.array_equal(frame, again[key], equal_nan=frame.dtype.kind == "f"), key
    if name in {"W", "grad", "m", "h_full"}:
        assert frames[name].any()


@pytest.mark.parametrize(
    ("name", "attribute", "rows"),
    [
        ("W", "weights", slice(None)),
        ("grad", "gradient", slice(None)),
        ("m", "m", slice(None)),
        ("v", "v", slice(None)),
        ("compensation", "compensation", slice(None)),
        ("dead_grad", "gradient", DEAD),
        ("h_full", "hidden", slice(None)),
    ],
)
def test_words_are_the_stored_ones(name, attribute, rows):
    step = made_step()
    (recorder,) = recorders(name)
    expected = getattr(step, attribute).view(torch.int16).numpy().view(np.uint16)[rows]
    assert np.array_equal(recorder.observe(step)[name], expected)


def test_the_input_matrix_is_not_the_output_matrix():
    step = made_step()
    step.model.input = -step.weights
    w, e = recorders("W", "E")
    assert np.array_equal(e.observe(step)["E"], words(-step.weights))
    assert np.array_equal(e.begin(step.before, LinearModel(step.before))["E"], words(step.before))
    assert np.array_equal(w.begin(step.before, step.model)["W"], words(step.before))


@pytest.mark.parametrize(
    ("precision", "formats"),
    [
        ("bf16", {"W": "bfloat16", "grad": "bfloat16", "m": "bfloat16", "v": "bfloat16"}),
        ("bf16-f32state", {"W": "bfloat16", "grad": "float32", "m": "float32", "v": "float32"}),
        ("mixed", {"W": "float32", "grad": "float32", "m": "float32", "h_full": "bfloat16"}),
        ("f32", {"W": "float32", "h_full": "float32"}),
    ],
)
def test_formats_follow_the_policy(precision, formats):
    for recorder in recorders(*formats, precision=precision):
        (channel,) = recorder.channels
        assert channel.format == formats[channel.name]
        assert channel.dtype == {"bfloat16": "uint16", "float32": "uint32"}[channel.format]


def test_tracked_tokens_alone_are_recorded():
    step = made_step()
    for recorder in recorders("W", "grad", record=RecordSpec(tracked="ids:7,3,30")):
        (channel,) = recorder.channels
        assert channel.token_ids.tolist() == [3, 7, 30]
        matrix = step.weights if channel.name == "W" else step.gradient
        assert np.array_equal(recorder.observe(step)[channel.name], words(matrix)[[3, 7, 30]])


@pytest.mark.parametrize("n", [1, 2, 7, 12, 30, VOCAB])
def test_a_number_draws_half_among_the_dead(n):
    corpus = made_corpus()
    ids = tracked_ids(str(n), corpus, seed=1)
    n_dead = np.isin(ids, DEAD).sum()
    assert len(np.unique(ids)) == n
    assert np.array_equal(ids, np.sort(ids))
    assert n_dead == min(len(DEAD), (n + 1) // 2) or n - n_dead == len(corpus.live_ids)
    assert np.array_equal(ids, tracked_ids(str(n), corpus, seed=1))
    assert n in {1, VOCAB} or not np.array_equal(ids, tracked_ids(str(n), corpus, seed=2))


def test_tracked_by_name():
    corpus = made_corpus()
    assert tracked_ids("all", corpus, 0).tolist() == list(range(VOCAB))
    assert tracked_ids("dead", corpus, 0).tolist() == DEAD.tolist()
    assert len(tracked_ids(str(VOCAB), corpus, 0)) == VOCAB
    with pytest.raises(ConfigError, match="is 1000, the vocabulary has 40 tokens"):
        tracked_ids("1000", corpus, 0)
    with pytest.raises(ConfigError, match="token 40, the vocabulary has ids 0 to 39"):
        tracked_ids("ids:3,40", corpus, 0)
    with pytest.raises(ConfigError, match="no dead tokens"):
        tracked_ids("dead", made_corpus(dead=np.empty(0, int)), 0)


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("sumaries", {}, "did you mean summaries"),
        ("m", {"optimizer": Rule(kind="sgd")}, "sgd without momentum keeps no m"),
        ("v", {"optimizer": Rule(kind="sgd", momentum=0.9)}, "sgd keeps no v"),
        ("v", {"optimizer": Rule(kind="sign")}, "sign keeps no v"),
        ("compensation", {"precision": "bf16"}, "bf16 keeps no compensation"),
        ("E", {"model": ModelSpec(layers=1, dim=DIM, heads=2, ff=8)}, "W is its input, too"),
    ],
)
def test_what_cannot_be_is_refused(name, changed, says):
    with pytest.raises(ConfigError, match=says):
        recorders(name, **changed)


@pytest.mark.parametrize("name", ["p_dead", "p_dead_full", "dead_grad"])
def test_dead_tokens_are_needed_for_their_own_channels(name):
    with pytest.raises(ConfigError, match="no dead tokens"):
        make_recorders([name], config=made_config(), corpus=made_corpus(dead=np.empty(0, int)))


def test_momentum_is_recorded_where_there_is_one():
    (recorder,) = recorders("m", optimizer=Rule(kind="sgd", momentum=0.9))
    assert recorder.channels[0].name == "m"
    step = made_step()
    step.m = None
    with pytest.raises(ValueError, match="step 1 has no m"):
        recorder.observe(step)


@pytest.mark.parametrize(
    ("loss", "positions"), [(LossSpec(), 5), (LossSpec(label_offset=2), 4), (LossSpec(scored="last"), 1)]
)
def test_large_channels_know_their_shape(loss, positions):
    full, hidden = recorders("p_dead_full", "h_full", loss=loss)
    assert full.channels[0].shape == (BATCH * positions, len(DEAD))
    assert hidden.channels[0].shape == (BATCH, CONTEXT, DIM)


def test_only_p_dead_asks_for_the_mean_probability():
    assert [r.name for r in recorders() if r.needs_p_mean] == ["p_dead"]
    assert len(recorders("loss", "W", "loss")) == 2


def test_a_real_run_is_the_same_with_every_recorder():
    config, corpus = made_config(**KAHAN, initial=InitialSpec(tokens=Normal(sigma=0.3))), made_corpus()

    def run(names):
        torch.manual_seed(11)
        training = Training.start(config, corpus)
        made = make_recorders(names, config=config, corpus=corpus)
        output = training.model.layout.view(training.updater.weights, training.model.output_name)
        for recorder in made:
            recorder.begin(output, training.model)
        for step in train(training, want_p_mean=True):
            for recorder in made:
                frames = recorder.observe(step)
                for channel in recorder.channels:
                    if channel.name in frames:
                        channel.checked(frames[channel.name])
        return words(training.updater.weights), torch.get_rng_state()

    (watched, generator), (alone, other) = run(RECORDS), run([])
    assert np.array_equal(watched, alone)
    assert torch.equal(generator, other)
