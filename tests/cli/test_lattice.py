"""forensics lattice: what it prints where, its exit codes, one clear line for every bad request."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from forensics.lattice import survey as survey_module
from forensics_cli.main import cli

pytestmark = pytest.mark.usefixtures("empty_folder")


def run(*arguments):
    return CliRunner().invoke(cli, ["lattice", *(str(a) for a in arguments)])


def save(path, **tensors):
    save_file(tensors, path)
    return path


def random_rows(*equal):
    rows = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float16)
    for ids in equal:
        rows[ids] = rows[ids[0]]
    return rows


@pytest.fixture
def model(tmp_path):
    return save(tmp_path / "tiny.safetensors", **{"model.embed_tokens.weight": random_rows([3, 5, 8], [10, 11])})


def test_it_prints_a_table_and_writes_the_report(model, tmp_path):
    result = run(model, "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert "unique rows lie in exponent:5 of token 3" in result.stdout
    assert "report in" in result.stderr
    assert {"lattice.md", "lattice.json", "linf_holes.png"} <= {p.name for p in (tmp_path / "report").iterdir()}


def test_the_default_folder(model, empty_folder):
    assert run(model).exit_code == 0
    (folder,) = (empty_folder / "forensics-reports").iterdir()
    assert (folder / "lattice.md").exists()


def test_json_is_one_document_and_writes_nothing(model, empty_folder, tmp_path):
    result = run(model, "--json")
    assert list(empty_folder.iterdir()) == [] and result.stderr.startswith("note: ") and result.stderr.count("\n") == 1
    document = json.loads(result.stdout)
    assert document["schema"] == "forensics.lattice/1"
    assert document["matrices"][0]["lattice"]["holes"]["populations"] == [3, 2]
    assert str(tmp_path) not in result.stdout


def test_json_with_out_prints_what_it_writes(model, tmp_path):
    result = run(model, "--json", "--out", tmp_path / "r", "-q")
    assert result.stdout == (tmp_path / "r" / "lattice.json").read_text() and result.stderr == ""


def test_around(model):
    def centre(*arguments):
        result = run(model, "--json", *arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["matrices"][0]["lattice"]["centre"]["token_id"]

    assert centre() == centre("--around", "hole:1") == 3
    assert centre("--around", "hole:2") == 10 and centre("--around", "token:7") == 7


@pytest.mark.parametrize(
    "around", ["hole:0", "hole:3", "hole:x", "hole:", "token:40", "token:text", "nothing", "", "token:" + "9" * 5000,
               "\x1b[31m"], ids=lambda text: text[:9]
)  # fmt: skip
def test_a_bad_centre_is_one_clear_line(around, model, empty_folder):
    bad(run(model, "--around", around))
    assert list(empty_folder.iterdir()) == []


def bad(result):
    assert result.exit_code == 3, result.output
    error, *hints = [line for line in result.stderr.strip().splitlines() if not line.startswith("note: ")]
    assert error.startswith("error: ") and len(error) < 200
    assert len(hints) <= 1 and all(hint.startswith("hint: ") for hint in hints)
    assert result.stdout == "" and "Traceback" not in result.stderr and "\x1b" not in result.stderr
    return error


@pytest.mark.parametrize(
    ("select", "name"),
    [("holes", "holes"), ("exponent:0", "exponent:0"), ("exponent:5", "exponent:5"), ("flood", "flood:1"),
     ("flood:2", "flood:2"), ("radius", "radius"), ("component:0.5", "component:0.5")],
)  # fmt: skip
def test_every_selection(select, name, model):
    result = run(model, "--select", select, "--json")
    assert result.exit_code == 0, result.output
    lattice = json.loads(result.stdout)["matrices"][0]["lattice"]
    assert lattice["selection"]["name"] == name and lattice["selections"][-1]["name"] == name


@pytest.mark.parametrize("select", ["", "nothing", "exponent", "exponent:-1", "flood:x", "component:0", "radius:1"])
def test_a_bad_selection_is_one_clear_line(select, model, tmp_path):
    assert "unknown selection" in bad(run(model, "--select", select))
    healthy = save(tmp_path / "h.safetensors", **{"wte.weight": random_rows()})
    assert "unknown selection" in bad(run(healthy, "--select", select))


def test_a_selection_too_large(model, monkeypatch):
    monkeypatch.setattr(survey_module, "MAX_ROWS", 5)
    result = run(model, "--select", "exponent:99")
    assert "37 unique rows" in bad(result) and "narrower" in result.stderr


def test_no_holes_is_a_clear_statement(tmp_path):
    healthy = save(tmp_path / "h.safetensors", **{"wte.weight": random_rows()})
    result = run(healthy, "--out", tmp_path / "r")
    assert result.exit_code == 0 and "there is nothing to look around" in result.stdout
    assert json.loads(run(healthy, "--json").stdout)["matrices"][0]["lattice"] is None
    assert run(healthy, "--json", "--around", "token:4").exit_code == 0
    bad(run(healthy, "--around", "hole:1"))
    assert "there are none" in bad(run(healthy, "--around", "token:4", "--select", "holes"))


def test_all_rows_equal(tmp_path):
    path = save(tmp_path / "e.safetensors", **{"wte.weight": np.ones((6, 4), np.float32)})
    result = run(path, "--json")
    lattice = json.loads(result.stdout)["matrices"][0]["lattice"]
    assert result.exit_code == 0 and lattice["selection"] == {"name": "exponent:5", "tokens": 6, "unique_rows": 1}


def test_two_matrices(tmp_path):
    tensors = {"model.embed_tokens.weight": random_rows([1, 2]), "lm_head.weight": random_rows([4, 5, 6])}
    path = save(tmp_path / "two.safetensors", **tensors)
    result = run(path, "--out", tmp_path / "r")
    assert result.exit_code == 0 and result.stdout.count("unique rows lie in") == 2
    assert len(json.loads((tmp_path / "r" / "lattice.json").read_text())["matrices"]) == 2
    assert run(path, "--tensor", "lm_head.weight", "--json").exit_code == 0


def test_it_lies_beside_a_scan(model, tmp_path):
    scan = CliRunner().invoke(cli, ["scan", str(model), "--out", str(tmp_path / "r"), "-q"])
    assert scan.exit_code == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()}
    assert run(model, "--out", tmp_path / "r", "-q").exit_code == 0
    assert all((tmp_path / "r" / name).read_bytes() == raw for name, raw in before.items())


def test_usage_and_bad_sources(tmp_path):
    assert run().exit_code == 2 and run("x", "--no-such-option").exit_code == 2
    bad(run(tmp_path / "no such"))


def test_an_output_folder_that_is_a_file(model):
    assert "cannot be written" in bad(run(model, "--out", model))
