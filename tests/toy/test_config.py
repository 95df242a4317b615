"""A run's settings: tables to dataclasses and back, overriding, and what is refused."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import ConfigError
from forensics.initialisation import INITIALISATIONS, Normal, Point, PointNoise
from forensics.toy.config import BatchSpec, InitialSpec, LossSpec, ModelSpec, RunConfig, differences, override
from forensics.toy.corpus import CORPORA, SyntheticText, TextFile
from forensics.toy.recorded import RECORDS, RecordSpec
from forensics.toy.schedule import Schedule, cadence
from forensics.updates import POLICIES, Rule

CONFIG = RunConfig(name="base", steps=40, optimizer=Rule(lr=3e-4, weight_decay=0.1))


def changed(*assignments):
    return {key: (old, new) for key, old, new in differences(CONFIG, override(CONFIG, assignments))}


def through_json(config):
    return RunConfig.from_dict(json.loads(json.dumps(config.to_dict(), allow_nan=False)))


CONFIGS = st.builds(
    RunConfig,
    name=st.text(),
    seed=st.integers(0, 2**63 - 1),
    steps=st.integers(1, 10**6),
    corpus=st.builds(SyntheticText, zipf=st.floats(0.5, 2), seed=st.integers(0, 99)) | st.just(TextFile(text="a.txt")),
    initial=st.builds(
        InitialSpec, tokens=st.builds(Normal, sigma=st.floats(1e-9, 9)), positions=st.just(PointNoise(noise="bfloat16"))
    ),
    precision=st.sampled_from(sorted(POLICIES)),
    optimizer=st.builds(Rule, lr=st.floats(0, 1), beta2=st.floats(0, 0.9999)),
    clip=st.floats(0, 1e9),
    schedule=st.builds(Schedule, kind=st.sampled_from(["linear", "cosine"]), final=st.floats(0, 1)),
    record=st.builds(
        RecordSpec, channels=st.sets(st.sampled_from(sorted(RECORDS))).map(tuple), every=st.just("1:9,3:")
    ),
)


@given(CONFIGS)
def test_a_config_comes_back_from_json_as_it_was(config):
    assert through_json(config) == config
    assert differences(config, through_json(config)) == []


@pytest.mark.parametrize("kind", [*INITIALISATIONS])
def test_every_initialisation_comes_back(kind):
    path = {"path": "rows.npy"} if kind == "file" else {}
    config = RunConfig.from_dict({"initial": {"tokens": {"kind": kind} | path}})
    assert type(config.initial.tokens) is INITIALISATIONS[kind]
    assert through_json(config) == config


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("optimizer.lr=1", "optimizer.lr", 1.0),
        ("optimizer.lr=3e-3", "optimizer.lr", 3e-3),
        ("optimizer.fused=true", "optimizer.fused", True),
        ("precision=bf16-kahan", "precision", "bf16-kahan"),
        ('precision="f32"', "precision", "f32"),
        ("steps=1_000", "steps", 1000),
        ("record.channels=W, grad", "record.channels", ["W", "grad"]),
        ('record.channels=["loss"]', "record.channels", ["loss"]),
        ("record.channels=", "record.channels", []),
        ("record.every=10", "record.every", "10"),
        ("record.every=1:100,10:", "record.every", "1:100,10:"),
        ("record.tracked=64", "record.tracked", "64"),
        ("name = 2025-12-01", "name", "2025-12-01"),
    ],
)
def test_a_typed_value_is_what_its_setting_says(assignment, key, value):
    assert changed(assignment) == {key: (dict(flat(CONFIG))[key], value)}


def flat(config, key=""):
    for name, value in (config if isinstance(config, dict) else config.to_dict()).items():
        if isinstance(value, dict):
            yield from flat(value, f"{key}{name}.")
        else:
            yield f"{key}{name}", value


def test_another_kind_of_table_starts_from_its_own_defaults_in_any_order():
    for assignments in (["corpus.kind=text", "corpus.text=a.txt"], ["corpus.text=a.txt", "corpus.kind=text"]):
        assert override(CONFIG, assignments).corpus == TextFile(text="a.txt")
    wide = override(CONFIG, ["initial.tokens.sigma=1"])
    assert override(wide, ["initial.tokens.kind=normal"]).initial.tokens == Normal(sigma=1.0)  # no other kind
    assert override(wide, ["initial.tokens.kind=point"]).initial.tokens == Point()
    # The optimizers share their table, so its other settings stay.
    assert override(CONFIG, ["optimizer.kind=coupled-adam"]).optimizer == Rule(
        kind="coupled-adam", lr=3e-4, weight_decay=0.1
    )


def test_an_output_initialisation_comes_and_goes():
    untied = override(CONFIG, ["model.tied=false", "initial.output.kind=normal", "initial.output.sigma=0.5"])
    assert untied.initial.output == Normal(sigma=0.5)
    assert override(untied, ["initial.output=none"]).initial.output is None
    assert through_json(untied) == untied


def test_the_last_of_two_values_holds():
    assert override(CONFIG, ["steps=2", "steps=3"]).steps == 3
    assert override(CONFIG, ["corpus=x", "corpus.seed=4"]).corpus.seed == 4


def test_differences_name_what_only_one_side_has():
    found = differences(CONFIG, override(CONFIG, ["initial.tokens.kind=point", "seed=7"]))
    assert ("seed", 42, 7) in found
    assert ("initial.tokens.kind", "normal", "point") in found
    assert ("initial.tokens.sigma", 0.02, None) in found
    assert ("initial.tokens.norm", None, 1.0) in found
    assert differences(CONFIG, CONFIG) == []


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optimiser.lr=1", r"^optimiser: there is no such setting; did you mean optimizer\?"),
        ("optimizer.betta1=1", r"^optimizer.betta1: .*did you mean optimizer.beta1\?"),
        ("lr=1", r"^lr: .*did you mean optimizer.lr\?"),
        ("sigma=1", r"did you mean initial.tokens.sigma or initial.positions.sigma"),
        ("nothing=1", r"one of: name, about"),
        ("optimizer.lr=fast", r"^optimizer.lr: expected a finite number, found 'fast'"),
        ("optimizer.lr=inf", r"^optimizer.lr: expected a finite number"),
        ("optimizer.lr=true", r"^optimizer.lr: expected a finite number"),
        ("optimizer.fused=1", r"^optimizer.fused: expected true or false"),
        ("steps=2.0", r"^steps: expected a whole number, found 2.0"),
        ("steps=true", r"^steps: expected a whole number"),
        ("record.channels=[1]", r"^record.channels: expected a list of names"),
        ("corpus=text", r"^corpus: expected a table of settings, found 'text'; write corpus.kind = synthetic or"),
        ("model=3", r"^model: expected a table of settings"),
        ("corpus.kind=synthetik", r"^corpus.kind: there is no 'synthetik'; did you mean synthetic\?"),
        ("initial.output.sigma=1", r"^initial.output: kind is missing; one of: normal"),
        ("schedule.kind=linaer", r"^schedule.kind: 'linaer' is none of its values; did you mean linear\?"),
        ("precision=bf61", r"^precision: 'bf61' .*did you mean bf16\?"),
        ("record.channels=W,hmean", r"^record: nothing to record is called 'hmean'; did you mean h_mean\?"),
        ("record.channels=W,W", r"names one twice"),
        ("record.every=0", r"^record: '0' names no steps"),
        ("record.tracked=some", r"^record: tracked is 'some'; write"),
        ("record.tracked=0", r"^record: tracked is '0'"),
        ("record.tracked=ids:1,", r"^record: tracked"),
        ("model.heads=3", r"^model: dim 64 is not divisible by 3 heads"),
        ("model.layers=0", r"^model: layers is 0"),
        ("loss.label_offset=128", r"label_offset 128 reaches beyond a sequence of 128 tokens"),
        ("loss.label_offset=0", r"^loss: label_offset is 0"),
        ("corpus.dead=10000", r"^corpus.*10000|^corpus.*10,000"),
        ("steps=0", r"^steps is 0"),
        ("seed=-1", r"^seed is -1"),
        ("checkpoint_every=0", r"^checkpoint_every is 0"),
        ("clip=-1", r"^clip is -1"),
        ("schedule.warmup=41", r"schedule.warmup 41 is longer than the run's 40 steps"),
        ("batches.windows=9", r"^batches: a pool of windows means nothing to order 'chunks'"),
        ("initial.output.kind=normal", r"a tied model has no output matrix"),
        ("optimizer", r"^'optimizer' sets nothing"),
        ("=3", r"sets nothing"),
        ("optimizer.=3", r"sets nothing"),
    ],
)
def test_what_cannot_be_is_refused_by_name(assignment, message):
    with pytest.raises(ConfigError, match=message):
        override(CONFIG, [assignment])


@pytest.mark.parametrize(
    "assignments",
    [
        ["optimizer.fused=true", "precision=bf16-stochastic"],
        ["optimizer.fused=true", "precision=bf16-kahan"],
        ["optimizer.fused=true", "optimizer.kind=sgd"],
        ["model.kind=gpt2", "model.tied=false"],
        ["model.kind=gpt2", "model.final_norm=none"],
        ["schedule.kind=constant", "schedule.final=0.1"],
        ["schedule.kind=linear", "schedule.warmup=9", "schedule.over=8"],
    ],
)
def test_settings_that_contradict_each_other(assignments):
    for one in assignments:
        if one not in ("schedule.final=0.1", "model.final_norm=none") and "over" not in one:
            override(CONFIG, [one])  # each alone will do
    with pytest.raises(ConfigError):
        override(CONFIG, assignments)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BatchSpec(order="sorted"),
        lambda: BatchSpec(batch=0),
        lambda: BatchSpec(context=1),
        lambda: ModelSpec(kind="rnn"),
        lambda: ModelSpec(final_norm="batchnorm"),
        lambda: LossSpec(scored="some"),
        lambda: Schedule(kind="step"),
        lambda: Schedule(warmup=-1),
        lambda: Schedule(kind="linear", final=1.5),
        lambda: RunConfig(precision="fp8"),
    ],
)
def test_a_constructor_refuses_without_a_table(make):
    with pytest.raises(ConfigError):
        make()


def test_settings_that_follow_from_others():
    config = override(CONFIG, ["batches.batch=8", "loss.label_offset=2", "precision=mixed"])
    assert config.scored_positions == 8 * 126
    assert override(config, ["loss.scored=last"]).scored_positions == 8
    assert config.policy is POLICIES["mixed"]


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (Schedule(warmup=7), ("get_constant_schedule_with_warmup", {"num_warmup_steps": 7})),
        (Schedule(kind="linear"), ("get_linear_schedule_with_warmup", {"num_warmup_steps": 0})),
        (Schedule(kind="linear", warmup=7), ("get_linear_schedule_with_warmup", {"num_warmup_steps": 7})),
        (Schedule(kind="linear", warmup=40), ("get_linear_schedule_with_warmup", {"num_warmup_steps": 40})),
        (
            Schedule(kind="linear", warmup=5, final=0.25),
            ("get_polynomial_decay_schedule_with_warmup", {"num_warmup_steps": 5, "lr_end": 0.5, "power": 1.0}),
        ),
        (Schedule(kind="cosine", warmup=7), ("get_cosine_schedule_with_warmup", {"num_warmup_steps": 7})),
        (
            Schedule(kind="cosine", warmup=1, final=0.1),
            ("get_cosine_with_min_lr_schedule_with_warmup", {"num_warmup_steps": 1, "min_lr_rate": 0.1}),
        ),
    ],
)
def test_the_rate_of_every_update_is_transformers_own(schedule, theirs):
    import torch
    import transformers

    name, arguments = theirs
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    total = {} if "constant" in name else {"num_training_steps": 40}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = getattr(transformers, name, None) or getattr(transformers.optimization, name)
        scheduler = scheduler(optimizer, **arguments, **total)
        for step in range(1, 41):
            assert schedule.rate(step, 2.0, 40) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12, abs=1e-15)
            optimizer.step()
            scheduler.step()


def test_the_rate_that_flannel_logged():
    """Its trainer printed learning_rate 1e-06 at step 1,000 of 1,000."""
    assert Schedule(kind="linear").rate(1000, 1e-3, 1000) == pytest.approx(1e-6)


def test_a_schedule_over_its_own_length():
    schedule = Schedule(kind="cosine", final=0.1, over=10)
    assert schedule.rate(5, 1.0, 40) == schedule.rate(5, 1.0, 4000)
    assert schedule.rate(11, 1.0, 40) == schedule.rate(30, 1.0, 40) == pytest.approx(0.1)
    assert Schedule(kind="linear", over=10).rate(30, 1.0, 40) == 0
    assert [Schedule(kind=k, over=o).depends_on_steps for k, o in (("constant", 0), ("linear", 0), ("linear", 9))] == [
        False,
        True,
        False,
    ]


def spelled(parts):
    return ",".join(f"{every}:{'' if until is None else until}" for every, until in parts)


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 40)), min_size=1, max_size=4),
    st.booleans(),
    st.integers(1, 90),
)
def test_steps_are_counted_as_they_are_taken(parts, open_end, steps):
    ends, total = [], 0
    for every, length in parts:
        total += length
        ends.append((every, total))
    if open_end:
        ends[-1] = (ends[-1][0], None)
    chosen = cadence(spelled(ends))
    assert chosen.parts == tuple(ends)
    taken = [step for step in range(1, steps + 1) if chosen.takes(step)]
    assert len(taken) == chosen.count(steps)
    for step in taken:
        every = next(every for every, until in ends if until is None or step <= until)
        assert step % every == 0
    assert chosen.takes(0)


def test_a_cadence_in_words():
    chosen = cadence("1:100,10:")
    assert [step for step in range(1, 141) if chosen.takes(step)] == [*range(1, 101), 110, 120, 130, 140]
    assert cadence("10") == cadence("10:") != cadence("1")
    assert cadence("1:3").count(100) == 3


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1.5", "1:,2:", "5:10,1:10", "5:10,1:9", "1::2", "1:0", "1,2"])
def test_what_names_no_steps(text):
    with pytest.raises(ConfigError, match="names no steps"):
        cadence(text)


@pytest.mark.parametrize(("tracked", "n"), [("all", 90), ("dead", 30), ("12", 12), ("ids:4", 1), ("ids:1,2,80", 3)])
def test_tracked_tokens_are_counted_as_they_are_chosen(tracked, n):
    from forensics.toy.corpus import build_corpus
    from forensics.toy.tracked import tracked_ids

    corpus = build_corpus(SyntheticText(vocab=90, dead=30, tokens=4000, classes=8))
    assert RecordSpec(tracked=tracked).count(90, 30) == n == len(tracked_ids(tracked, corpus, seed=1))


def test_settings_need_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import forensics.toy.cost as c, forensics.toy.presets as p\n"
        "c.estimate(p.load_config('pocket'))\n"
        "print(sorted({'transformers', 'scipy', 'pandas', 'tokenizers', 'zarr'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_every_kind_of_corpus_is_known_to_a_config():
    from typing import get_type_hints

    assert set(get_type_hints(RunConfig)["corpus"].__args__) == set(CORPORA.values())
