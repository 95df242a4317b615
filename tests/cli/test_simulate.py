"""forensics simulate: a checkpoint that other verbs read, its truth, and one clear line for every bad request."""

import json

import gguf
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import safe_open

import forensics
from forensics.formats import BFLOAT16
from forensics.hypotheses.checkpoint import random_context
from forensics_cli.main import cli
from tests.hypotheses.made_sweeps import write_file

pytestmark = pytest.mark.usefixtures("empty_folder")

SMALL = ("--rows", 50, "--dim", 24)


def run(*arguments):
    return CliRunner().invoke(cli, ["simulate", *(str(a) for a in arguments)])


def bad(result, folder, said, *, code=3):
    assert result.exit_code == code, result.output
    assert result.stdout == "" and said in result.stderr, result.stderr
    if code == 3:
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") <= 2
    assert list(folder.iterdir()) == []


def test_a_checkpoint_with_its_truth(tmp_path):
    result = run("snowball", *SMALL, "--norm", 0.5, "--seed", 4, "--set", "sigma=1e-5", "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    truth = json.loads((tmp_path / "a" / "truth.json").read_text())
    assert truth["hypothesis"]["name"] == "snowball" and truth["parameters"]["sigma"] == 1e-5 and truth["seed"] == 4
    assert truth["anchor"]["norm"] == pytest.approx(0.5, rel=0.01) and truth["anchor"]["like"] is None
    assert truth["anchor"]["words"].split()[0] == f"{random_context(rows=50, dim=24, norm=0.5, seed=4).anchor[0]:04x}"
    with safe_open(tmp_path / "a" / "model.safetensors", "np") as file:
        assert list(file.get_slice("model.embed_tokens.weight").get_shape()) == [50, 24]
    checkpoint = forensics.open_checkpoint(str(tmp_path / "a"))
    holes = forensics.find_black_holes(checkpoint.matrix())
    assert [hole.population for hole in holes.holes] == truth["holes"] and len(truth["holes"])


def test_the_same_request_gives_the_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("normal", *SMALL, "--seed", seed, "--out", tmp_path / name).exit_code == 0
    assert run("normal", *SMALL, "--seed", 1, "--index", 1, "--out", tmp_path / "d").exit_code == 0
    a, b, c, d = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abcd")
    assert a == b and len({a, c, d}) == 3


@pytest.mark.parametrize("value", ["mean", "zero"])
def test_padding_of_either_vector(tmp_path, value):
    like = ("--like", "synth:cause-padding", "--dead", "holes")
    assert run("padding", *like, "--set", f"value={value}", "--out", tmp_path / "a").exit_code == 0
    rows = forensics.open_checkpoint(str(tmp_path / "a")).matrix().words
    assert len(np.unique(rows, axis=0)) == 1 and bool(rows.any()) == (value == "mean")


def test_without_torch_the_extra_is_named(tmp_path, empty_folder, monkeypatch):
    monkeypatch.setattr("forensics.hypotheses.driving.hypothesis.find_spec", lambda name: None)
    for name in ("driven_snowball", "driven_normal", "driven_normal_unit", "trained_toy"):
        bad(run(name, *SMALL, "--out", tmp_path / "a"), empty_folder, f"{name}: torch is not installed (pip install")


def test_like_a_model_at_a_sweep_s_number(tmp_path):
    assert run("singular", *SMALL, "--out", tmp_path / "model").exit_code == 0
    like = ("--like", tmp_path / "model", "--dead", "holes")
    mine = write_file(tmp_path, fails=0)
    assert run(mine, *like, "--index", 3, "--out", tmp_path / "a").exit_code == 0
    truth = json.loads((tmp_path / "a" / "truth.json").read_text())
    matrix = forensics.load_embedding(str(tmp_path / "model"))
    assert np.array_equal([int(word, 16) for word in truth["anchor"]["words"].split()], matrix.words[0])
    sweep = ["hypotheses", str(tmp_path / "model"), "--dead", "holes", "--only", mine, "--budget", "5", "--json"]
    store = tmp_path / "store"
    assert CliRunner().invoke(cli, [*sweep, "--store", str(store)]).exit_code == 0
    line = json.loads((store / "uneven.jsonl").read_text().splitlines()[3])
    assert line["index"] == 3 and line["parameters"] == truth["parameters"]


def test_rows_of_many_blocks(tmp_path):
    assert run("normal", "--rows", 9000, "--dim", 4, "--out", tmp_path / "a").exit_code == 0
    matrix = forensics.load_embedding(str(tmp_path / "a"))
    assert len(np.unique(matrix.words[:, 0])) > 1000 and matrix.words.shape == (9000, 4)


def test_blocks_become_a_gguf_file(tmp_path):
    rows = np.full((40, 64), 0.02, np.float32)
    rows[20:] += np.linspace(-0.1, 0.1, 20, dtype=np.float32)[:, None]
    writer = gguf.GGUFWriter(tmp_path / "like.gguf", "llama")
    blocks = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("token_embd.weight", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    arguments = ("singular", "--like", tmp_path / "like.gguf", "--dead", "holes", "--out", tmp_path / "a")
    for _ in range(2):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
    simulated = forensics.load_embedding(str(tmp_path / "a" / "model.gguf"))
    truth = json.loads((tmp_path / "a" / "truth.json").read_text())
    assert simulated.format.name == truth["dtype"] == "Q8_0" and truth["holes"] == [simulated.n_rows]
    assert bytes(simulated.rows_bytes[0]) == bytes(blocks[0])
    (tmp_path / "a" / "truth.json").unlink()
    assert "holds model.gguf, which was not simulated here (there is no truth.json)" in run(*arguments).stderr


def test_formats(tmp_path):
    assert run("singular", *SMALL, "--format", "float16", "--out", tmp_path / "a").exit_code == 0
    assert forensics.load_embedding(str(tmp_path / "a")).format.name == "float16"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("snowbal",), "hypothesis 'snowbal' does not exist"),
        (("snowball", "--set", "sigm=1"), "no parameter 'sigm'"),
        (("snowball", "--set", "sigma=x"), "sigma is a finite number, found 'x'"),
        (("snowball", "--set", "sigma=nan"), "sigma is a finite number, found 'nan'"),
        (("snowball", "--set", "sigma=-1e-9"), "sigma is a number from 0, found -1e-9"),
        (("normal", "--set", "sigma=-1"), "sigma is a number from 0, found -1"),
        (("driven_normal", "--set", "schedule=xx"), "error: driven_normal: "),
        *(
            (("pachinko", "--set", f"{name}={value}"), f"error: pachinko: {name} is {value}\nhint: ")
            for name, value in (("steps", -3), ("steps", 0), ("steps", 2.5), ("ratio", 5), ("ratio", 0))
        ),
        (("snowball", "--set", "anchor=beyond"), "the anchor 'beyond' does not exist"),
        (("singular", "--set", "x=1"), "it has none"),
        (("mean_resized",), "name a model with --like"),
        (("singular", "--norm", "nan"), "norm nan"),
        (("singular", "--norm", "-1"), "norm -1"),
        (("singular", "--norm", "1e39"), "norm 1e+39"),
        (("singular", "--format", "float5"), "unknown number format"),
        (("singular", "--like", "synth:healthy"), "nothing to explain"),
        (("singular", "--like", "nowhere/at/all"), ""),
    ],
)
def test_bad_requests(arguments, said, empty_folder):
    size = () if "--like" in arguments else SMALL
    bad(run(*arguments, *size, "--out", "out"), empty_folder, said)


@pytest.mark.parametrize(
    "arguments",
    [
        ("singular",),
        ("singular", "--set", "sigma", "--out", "out"),
        ("singular", "--set", "=1", "--out", "out"),
        ("singular", "--set", "a=1", "--set", "a=2", "--out", "out"),
        ("singular", "--like", "synth:healthy", "--rows", "3", "--out", "out"),
        ("singular", "--rows", "0", "--out", "out"),
        ("singular", "--dead", "holes", "--out", "out"),
    ],
)
def test_usage(arguments, empty_folder):
    bad(run(*arguments), empty_folder, "rror", code=2)


def test_one_that_raises(tmp_path, empty_folder):
    result = run(write_file(tmp_path, fails=2), *SMALL, "--out", "out")
    bad(result, empty_folder, "uneven: ValueError: one of three")


def test_a_simulation_beyond_the_prior_is_made(tmp_path):
    for value in ("9", "0"):
        assert run("snowball", *SMALL, "--set", f"sigma={value}", "--out", tmp_path / value).exit_code == 0
        assert json.loads((tmp_path / value / "truth.json").read_text())["parameters"]["sigma"] == float(value)
    assert "Error" not in run("driven_normal", *SMALL, "--set", "schedule=xx", "--out", tmp_path / "x").stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", "precious"),
        ("notes.md", "precious"),
        ("truth.json", '{"mine": 1}'),
        ("truth.json", "[1]"),
        ("truth.json", "{"),
        ("truth.json", '{"name": "healthy", "rows": 3, "dim": 2, "seed": 0}'),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, name, content):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / name).write_text(content)
    result = run("singular", *SMALL, "--out", folder)
    assert result.exit_code == 3 and f"error: a: holds {name}, which was not simulated here (" in result.stderr
    assert [(p.name, p.read_text()) for p in folder.iterdir()] == [(name, content)]


def test_an_earlier_simulation_is_replaced_and_what_a_kill_left_is_nobody_s(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".model.gguf.partial").write_text("torn")
    for name in ("singular", "normal"):
        assert run(name, *SMALL, "--out", tmp_path / "a").exit_code == 0
    assert json.loads((tmp_path / "a" / "truth.json").read_text())["name"] == "normal"


def test_a_folder_with_another_model_is_left_alone(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    assert run("singular", *SMALL, "--out", tmp_path).exit_code == 3
    assert (tmp_path / "model.safetensors").read_bytes() == b"precious"


def test_the_default_is_the_published_size():
    context = random_context()
    assert (context.n_rows, context.dim, context.format, context.vocab) == (2221, 2560, BFLOAT16, 151_936)
    assert np.linalg.norm(context.values) == pytest.approx(0.3709, rel=1e-3)
    assert np.linalg.norm(context.centroid.astype(float)) == pytest.approx(0.3709, rel=1e-6)
    assert not np.array_equal(context.values, context.centroid)
