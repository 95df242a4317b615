"""The cost of a run: parameters and bytes as the real thing has them, time in proportion to the work."""

from dataclasses import replace

import pytest

from forensics.errors import ConfigError, OutputError
from forensics.toy.config import BatchSpec, ModelSpec, RunConfig, override
from forensics.toy.corpus import SyntheticText, build_corpus
from forensics.toy.cost import (
    Cost,
    check_disk,
    describe_presets,
    duration,
    estimate,
    flops,
    parameters,
    probe_rate,
    size,
)
from forensics.toy.frame_sizes import frames_about
from forensics.toy.presets import load_config, preset_names
from forensics.toy.recorded import RECORDS, RecordSpec

RATE = 1e11

SMALL = RunConfig(
    steps=25,
    corpus=SyntheticText(vocab=90, dead=30, tokens=4000, classes=8),
    batches=BatchSpec(batch=4, context=8),
    model=ModelSpec(layers=2, dim=16, ff=24),
    record=RecordSpec(every="2"),
)


@pytest.mark.parametrize(
    "model",
    [
        ModelSpec(layers=3, dim=32, heads=4, ff=48),
        ModelSpec(layers=1, dim=16, heads=2, ff=24, tied=False),
        ModelSpec(final_norm="rmsnorm"),
        ModelSpec(final_norm="none"),
        ModelSpec(kind="gpt2", layers=2, dim=32, heads=4, ff=48),
    ],
    ids=lambda m: f"{m.kind}-{m.final_norm}-{m.tied}",
)
def test_parameters_are_those_of_the_model(model):
    from forensics.toy.model import LanguageModel

    built = LanguageModel(model, RunConfig().initial, vocab=50, context=12, stored="float32", seed=0)
    assert built.layout.total == parameters(model, 12, 50)


def test_parameters_are_those_of_torch_and_transformers():
    """The published counts are held in test_presets; here the formula against modules it was not derived from."""
    from torch import nn
    from transformers import GPT2Config, GPT2LMHeadModel

    layer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, norm_first=True)
    one = sum(p.numel() for p in layer.parameters())
    spec = ModelSpec(layers=3, dim=32, heads=4, ff=48)
    assert parameters(spec, 12, 50) == 62 * 32 + 3 * one + 64
    token_ids = {"bos_token_id": None, "eos_token_id": None}
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_positions=12, n_embd=32, n_layer=3, n_head=4, n_inner=48, **token_ids)
    )
    assert parameters(replace(spec, kind="gpt2"), 12, 50) == gpt2.num_parameters()


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [("crucible-3", 0.641280), ("baseline-movie", 10.210301)],
)
def test_the_founding_sizes_of_w(name, gigabytes):
    """Their notes: "~0.64 GB" for 501 frames of 10,000 x 64, "10.21 GB" for 10,001 of 3,988 x 128."""
    cost = estimate(override(load_config(name), ["record.channels=W"]), rate=RATE)
    assert cost.bytes_raw == pytest.approx(gigabytes * 1e9, rel=1e-6)


WORDS = ["W", "grad", "m", "v", "h_full", "p_dead", "p_dead_full", "dead_grad", "E", "compensation"]


@pytest.mark.parametrize("precision", ["bf16", "bf16-f32state", "mixed", "f32", "bf16-kahan"])
@pytest.mark.parametrize("tracked", ["all", "dead", "7"])
def test_matrices_are_as_large_as_the_recorders_say(precision, tracked):
    from forensics.toy.recorders import make_recorders

    names = [name for name in WORDS if name != "compensation" or precision == "bf16-kahan"]
    config = override(SMALL, [f"precision={precision}", f"record.tracked={tracked}", "model.tied=false"])
    config = override(config, [f"record.channels={','.join(names)}"])
    recorders = make_recorders(names, config=config, corpus=build_corpus(config.corpus))
    said = {name: frame for name, frame, _ in frames_about(config, 90, 30)}
    assert said == {channel.name: channel.frame_bytes for r in recorders for channel in r.channels}
    channels = [channel for recorder in recorders for channel in recorder.channels]
    assert estimate(config, channels, rate=RATE) == estimate(config, rate=RATE)
    # 12 of 25 steps are recorded; W and E have step 0, too.
    once = sum(said.values()) * 12 + said["W"] + said["E"]
    assert estimate(config, rate=RATE).bytes_raw == once


def test_small_channels_are_guessed_within_a_factor_of_three():
    from forensics.toy.recorders import make_recorders

    names = [name for name in RECORDS if name not in WORDS]
    config = override(SMALL, [f"record.channels={','.join(names)}"])
    corpus = build_corpus(config.corpus)
    for name, about, _ in frames_about(config, 90, 30):
        (recorder,) = make_recorders([name], config=config, corpus=corpus)
        exact = sum(channel.frame_bytes for channel in recorder.channels)
        assert exact / 3 <= about <= exact * 3, f"{name}: {about} for {exact}"


def test_operations_are_those_of_the_products():
    """Counted by torch itself over a forward and backward pass of the same layers and the same logits."""
    import torch
    from torch import nn
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = override(RunConfig(), ["batches.batch=4", "batches.context=32", "model.dim=32", "model.ff=48"])
    layers = [nn.TransformerEncoderLayer(32, 2, 48, dropout=0.0, batch_first=True, norm_first=True) for _ in range(2)]
    body, output = nn.Sequential(*layers), torch.zeros(200, 32, requires_grad=True)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # it counts no other attention on a processor
        hidden = body(torch.randn(4, 32, 32, requires_grad=True))
        (hidden[:, :-1].flatten(0, 1) @ output.T).sum().backward()
    assert flops(config, 200) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_time_is_in_proportion():
    config = load_config("crucible-3")
    once = estimate(config, rate=RATE)
    assert estimate(override(config, ["steps=1000"]), rate=RATE).seconds_about == pytest.approx(2 * once.seconds_about)
    assert estimate(config, rate=RATE / 2).seconds_about == pytest.approx(2 * once.seconds_about, rel=0.05)
    assert 1e8 < probe_rate() < 1e15


def test_a_vocabulary_known_only_to_the_corpus():
    config = override(SMALL, ["corpus.kind=text", "corpus.text=a.txt", "record.channels=W,p_dead"])
    with pytest.raises(ConfigError, match="how large the vocabulary is"):
        estimate(config, rate=RATE)
    assert estimate(config, vocab=90, dead=0, rate=RATE).bytes_raw == 13 * 90 * 16 * 2
    assert estimate(config, vocab=90, rate=RATE).bytes_raw == 13 * 90 * 16 * 2 + 12 * 90 * 4  # at most


@pytest.mark.parametrize(
    ("settings", "each"),
    [
        (["precision=bf16"], 6),
        (["precision=bf16-f32state"], 10),
        (["precision=mixed"], 12),
        (["precision=bf16-kahan"], 8),
        (["precision=bf16", "optimizer.kind=sgd"], 2),
    ],
)
def test_a_checkpoint_keeps_words_and_moments(settings, each):
    cost = estimate(override(SMALL, settings), rate=RATE)
    assert cost.bytes_saves == 3 * each * cost.parameters


COST = Cost(
    parameters=10,
    steps=5,
    bytes_raw=641_280_000,
    bytes_stored_about=3 * 10**8,
    bytes_saves=10**8,
    flops_per_step=1,
    seconds_about=720.0,
)


def test_a_cost_in_words():
    assert str(COST) == "0.641 GB, 12 min"
    assert COST.to_dict()["bytes_raw"] == 641_280_000
    assert [size(n) for n in (0, 999, 10**6, 10**8, 10_210_000_000, 10**13)] == [
        "0 kB",
        "0.999 kB",
        "1 MB",
        "0.1 GB",
        "10.2 GB",
        "10 TB",
    ]
    assert [duration(s) for s in (0.5, 30, 89, 100, 720, 5400, 86_400, 259_200)] == [
        "0.5 s",
        "30 s",
        "89 s",
        "1.7 min",
        "12 min",
        "1.5 h",
        "24 h",
        "3 days",
    ]


@pytest.mark.parametrize(("free", "fits"), [(4 * 10**8, True), (4 * 10**8 - 1, False)])
def test_a_disk_that_is_too_small_is_refused(tmp_path, monkeypatch, free, fits):
    asked = []

    def disk_usage(path):
        asked.append(path)
        return type("Usage", (), {"free": free})()

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    if fits:
        check_disk(tmp_path / "a" / "b", COST)
    else:
        with pytest.raises(OutputError, match=r"needs about 0.4 GB, the disk has 0.4 GB free; record less"):
            check_disk(tmp_path / "a" / "b", COST)
    assert asked == [tmp_path]
    assert not (tmp_path / "a").exists()


def test_a_real_disk_does_not_hold_an_exabyte(tmp_path):
    check_disk(tmp_path, replace(COST, bytes_stored_about=0, bytes_saves=0))
    with pytest.raises(OutputError):
        check_disk(tmp_path, replace(COST, bytes_stored_about=10**18))


def test_every_preset_is_described():
    described = describe_presets()
    assert [preset.name for preset in described] == list(preset_names())
    for preset in described:
        assert preset.about and preset.cost.seconds_about > 0 and preset.cost.bytes_raw > 0
        assert preset.to_dict()["cost"]["parameters"] == preset.cost.parameters
