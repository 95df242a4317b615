"""The presets are what the founding runs were, and TOML files are read as they say."""

import pytest

from forensics.errors import ConfigError
from forensics.initialisation import Normal
from forensics.toy.config import RunConfig, differences
from forensics.toy.cost import parameters
from forensics.toy.presets import DEFAULT, load_config, preset_names

NAMES = [
    "baseline-movie",
    "crucible-1",
    "crucible-2",
    "crucible-3",
    "crucible-4",
    "flannel-7",
    "goldilocks",
    "goldilocks-2560d",
    "goldilocks-balanced",
    "goldilocks-lean",
    "goldilocks-rich",
    "marble-1",
    "nutcracker",
    "pocket",
    "stamp",
    "thimble-9",
]


def keys(a, b):
    described = {"name", "about", "follows"}
    return {key for key, _, _ in differences(load_config(a), load_config(b))} - described


def test_the_presets_there_are():
    assert list(preset_names()) == NAMES
    assert DEFAULT in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_what_it_is(name):
    config = load_config(name)
    assert config.name == name
    assert config.about.endswith(".") and "\n" not in config.about + config.follows
    if name not in ("pocket",):
        assert "orpus" in config.follows and "device" in config.follows
    assert config.seed == 42 and config.checkpoint_every % 32 == 0
    assert config.optimizer.kind == "adam" and config.optimizer.decay == "decoupled" and not config.optimizer.fused
    assert config.precision == "bf16"
    assert RunConfig.from_dict(config.to_dict()) == config


def test_descriptions_are_each_preset_s_own():
    for text in ("about", "follows"):
        assert len({getattr(load_config(name), text) for name in NAMES}) == len(NAMES)


PUBLISHED = {  # parameters, batch, rate, decay, vocabulary, dead: toy-runs, section C
    "crucible-3": (748_288, 128, 1e-3, 0.0, 10_000, 3_699),
    "thimble-9": (748_288, 128, 3e-4, 0.1, 10_000, 3_699),
    "flannel-7": (748_288, 128, 1e-3, 0.0, 10_000, 3_699),
    "marble-1": (2_089_728, 128, 3e-4, 0.01, 10_000, 3_699),
    "goldilocks-lean": (330_496, 32, 1e-3, 0.01, 3_988, 1_914),
    "goldilocks-balanced": (619_680, 16, 1e-3, 0.01, 3_988, 1_914),
    "goldilocks-rich": (1_057_024, 8, 1e-3, 0.01, 3_988, 1_914),
    "goldilocks": (1_057_024, 8, 1e-3, 0.01, 3_988, 1_914),
    "goldilocks-2560d": (325_248_000, 8, 1e-3, 0.01, 3_988, 1_914),
    "stamp": (1_057_024, 8, 1e-3, 0.01, 3_988, 1_914),
    "nutcracker": (1_057_024, 8, 1e-3, 0.01, 3_988, 1_914),
    "baseline-movie": (1_057_024, 8, 3e-4, 0.01, 3_988, 1_914),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_settings(name):
    c = load_config(name)
    size = parameters(c.model, c.batches.context, c.corpus.vocab)
    found = (size, c.batches.batch, c.optimizer.lr, c.optimizer.weight_decay, c.corpus.vocab, c.corpus.dead)
    assert found == PUBLISHED[name]
    assert c.batches.context == 128


def test_what_was_hidden_is_set():
    flannel = load_config("flannel-7")
    assert (flannel.model.kind, flannel.loss.label_offset, flannel.clip) == ("gpt2", 2, 1.0)
    assert (flannel.schedule.kind, flannel.schedule.final, flannel.schedule.warmup) == ("linear", 0.0, 0)
    others = [load_config(name) for name in NAMES if name != "flannel-7"]
    assert {(c.schedule.kind, c.clip, c.loss.label_offset) for c in others} == {("constant", 0.0, 1)}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "pocket"])
def test_initial_widths(name):
    family = load_config(name).corpus.vocab == 3_988
    wide = name in ("goldilocks-lean", "goldilocks-balanced", "goldilocks-rich", "nutcracker")
    initial = load_config(name).initial
    assert initial.tokens == Normal(sigma=1.0 if wide else 0.02)
    assert initial.positions == Normal(sigma=1.0 if family else 0.02)


def test_the_other_crucibles_differ_in_steps_and_recordings_alone():
    assert keys("crucible-3", "crucible-4") == {"steps"}
    assert keys("crucible-3", "crucible-1") == {"steps", "record.channels", "record.tracked"}
    assert keys("crucible-3", "crucible-2") == {"record.channels", "record.tracked"}
    assert keys("goldilocks", "stamp") == {"steps", "record.channels"}
    assert keys("goldilocks", "goldilocks-rich") == {"steps", "record.channels", "initial.tokens.sigma"}


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_is_a_config(tmp_path):
    config = load_config(
        write(tmp_path, "mine.toml", "steps = 7\n[corpus]\nvocab = 600\ndead = 9\n[initial.tokens]\nsigma = 1\n")
    )
    assert (config.name, config.steps, config.corpus.vocab) == ("mine", 7, 600)
    assert config.initial.tokens == Normal(sigma=1.0)
    assert load_config(str(write(tmp_path, "a.toml", 'name = "b"'))).name == "b"
    assert load_config(write(tmp_path, "empty.toml", "")) == RunConfig(name="empty")


def test_a_file_extends_a_preset_or_a_file_beside_it(tmp_path, monkeypatch):
    write(tmp_path, "crucible-3.toml", 'extends = "crucible-3"\nsteps = 8\n')
    mine = load_config(write(tmp_path, "mine.toml", 'extends = "crucible-3.toml"\n[initial.tokens]\nkind = "zeros"\n'))
    assert mine.steps == 8 and mine.name == "mine" and mine.model == load_config("crucible-3").model
    assert mine.initial.tokens.kind == "zeros" and mine.about == load_config("crucible-3").about
    monkeypatch.chdir(tmp_path)
    assert load_config("./mine.toml") == load_config("mine.toml") == mine
    assert load_config("crucible-3").steps == 500  # the preset, not the file beside us


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = 7\nsteps = \n", r"^bad.toml: not valid TOML: .*line 2"),
        ("[optimizer]\nrate = 1", r"^bad.toml: optimizer.rate: there is no such setting"),
        ("[optimizer]\nlr = '1'", r"^bad.toml: optimizer.lr: expected a finite number, found '1'"),
        ("day = 2025-12-01", r"^bad.toml: day: there is no such setting"),
        ("seed = 2025-12-01", r"^bad.toml: seed: expected a whole number"),
        ("[model]\nheads = 5", r"^bad.toml: model: dim 64 is not divisible by 5 heads"),
        ("extends = 'crucibel-3'", r"no preset is called 'crucibel-3'; did you mean crucible-[1-4]\?"),
        ("extends = 3", r"^bad.toml: extends: expected the name"),
        ("extends = ['pocket']", r"^bad.toml: extends: expected the name"),
        ("extends = 'bad.toml'", r"^bad.toml extends itself"),
        ("extends = 'none.toml'", r"none.toml: No such file"),
    ],
)
def test_a_bad_file_is_told_where(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, "bad.toml", text))


def test_files_that_extend_each_other(tmp_path):
    write(tmp_path, "a.toml", "extends = 'b.toml'")
    write(tmp_path, "b.toml", "extends = 'a.toml'")
    with pytest.raises(ConfigError, match=r"a.toml extends itself, by way of a.toml and b.toml"):
        load_config(tmp_path / "a.toml")


def test_an_unknown_preset(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no preset is called 'goldilock'; did you mean goldilocks\?"):
        load_config("goldilock")
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "mine", "")
    with pytest.raises(ConfigError, match=r"no preset is called 'mine'; a file's name ends in .toml; one of: baseline"):
        load_config("mine")
    with pytest.raises(ConfigError, match=r"no preset is called ''"):
        load_config("")


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"a = \xff")
    with pytest.raises(ConfigError, match=r"^x.toml: not UTF-8 at byte 4"):
        load_config(tmp_path / "x.toml")
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(ConfigError, match=r"d.toml: Is a directory"):
        load_config(tmp_path / "d.toml")
