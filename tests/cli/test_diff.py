"""forensics diff: what it prints where, its exit codes, one clear line for every bad request."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from forensics.errors import ForensicsError
from forensics_cli.diff import command

pytestmark = pytest.mark.usefixtures("empty_folder")


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


@pytest.fixture
def models(tmp_path):
    """A, and B with five rows one step away."""
    a = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float16)
    b = a.copy()
    b[10:15] = np.nextafter(b[10:15], np.float16(9))
    for name, rows in (("a", a), ("b", b)):
        (tmp_path / name).mkdir()
        save_file({"wte.weight": rows, "lm_head.weight": rows[::-1].copy()}, tmp_path / name / "model.safetensors")
    return tmp_path / "a", tmp_path / "b"


def test_the_table_and_the_folder(models, empty_folder):
    result = run(*models)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("A: a\nB: b\n\nwte.weight (input), 40 x 8 float16\n5 of 40 rows differ (12.5 %)")
    assert "lm_head.weight (output)" in result.stdout and "moved           5" in result.stdout
    (folder,) = (empty_folder / "forensics-reports").iterdir()
    assert {p.name for p in folder.iterdir()} == {"diff.md", "diff.json", "rows_input.csv", "rows_output.csv"}
    assert "report in" in result.stderr and "note" not in run(*models, "-q").stderr


def test_json_is_one_document_and_writes_nothing(models, empty_folder, tmp_path):
    result = run(*models, "--json")
    document = json.loads(result.stdout)
    assert document["schema"] == "forensics.diff/1" and [m["of"] for m in document["matrices"]] == ["input", "output"]
    assert list(empty_folder.iterdir()) == [] and str(tmp_path) not in result.stdout
    told = run(*models, "--json", "--out", tmp_path / "r", "-q")
    assert told.stdout == (tmp_path / "r" / "diff.json").read_text() and told.stderr == ""


def test_exit_code_says_whether_rows_differ(models):
    a, b = models
    assert [run(a, x, "-q").exit_code for x in models] == [0, 0]
    assert [run(a, x, "-q", "--exit-code").exit_code for x in models] == [0, 1]
    assert run(a, b, "-q", "--exit-code", "--json").exit_code == 1


def moved(*arguments):
    result = run(*arguments, "--json")
    return [m["rows"]["moved"] for m in json.loads(result.stdout)["matrices"]]


def test_options_reach_the_diff(models):
    assert moved(*models) == [5, 5] and moved(*models, "--within", 0) == [0, 0]
    assert moved(*models, "--role", "output") == [5] and moved(*models, "--tensor", "wte.weight") == [5]


@pytest.mark.parametrize(
    "bad", [["--within", "-1"], ["--within", "x"], ["--match", "row"], ["--role", "tied"], ["--out", ""]]
)
def test_bad_options_are_usage_errors(bad, models):
    assert run(*models, *bad).exit_code == 2
    assert run(models[0]).exit_code == 2


@pytest.mark.parametrize("bad", [["--match", "piece"], ["--tensor", "nothing"]])
def test_bad_requests_are_deliberate_errors(bad, models, empty_folder):
    result = run(*models, *bad)
    assert isinstance(result.exception, ForensicsError) and result.exception.hint and result.stdout == ""
    assert list(empty_folder.iterdir()) == []


def test_another_model_is_refused(models, tmp_path):
    save_file({"wte.weight": np.ones((4, 9), np.float16)}, tmp_path / "c.safetensors")
    assert "not the same model" in str(run(models[0], tmp_path / "c.safetensors").exception)
