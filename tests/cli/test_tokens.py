"""forensics tokens: what it prints where, what it exports, and one clear line for every bad request."""

import ast
import json

import pytest
from click.testing import CliRunner

from forensics.errors import ForensicsError
from forensics_cli.tokens import command
from tests.scanning.planted_model import DEAD, ROWS, UNDER_TRAINED, tokenizer, values, write_model

pytestmark = pytest.mark.usefixtures("empty_folder")


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "planted")


def test_the_table_and_the_folder(model, empty_folder):
    result = run(model)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("planted: wte.weight (input), 1,200 x 48 bfloat16\n6 tokens share 2 rows; 0 % of")
    (folder,) = (empty_folder / "forensics-reports").iterdir()
    assert {p.name for p in folder.iterdir()} == {"tokens.md", "tokens.json", "census.csv"}
    assert "report in" in result.stderr and run(model, "-q").stderr == ""


def test_json_is_what_out_writes_and_the_same_again(model, empty_folder, tmp_path):
    result = run(model, "--json")
    document = json.loads(result.stdout)
    assert document["schema"] == "forensics.tokens/1" and document["matrices"][0]["candidates"]["rule"] == "separation"
    assert list(empty_folder.iterdir()) == [] and str(tmp_path) not in result.stdout
    told = run(model, "--json", "--out", tmp_path / "r", "-q")
    assert told.stdout == (tmp_path / "r" / "tokens.json").read_text() == result.stdout and told.stderr == ""


def test_the_export_is_the_reference_as_a_list(model, empty_folder):
    result = run(model, "--export", "magikarp-unused", "-q")
    ids = json.loads(result.stdout)
    assert ids == ast.literal_eval(result.stdout) == sorted(set(ids)) and result.stdout.count("\n") == 1
    assert {*DEAD, *UNDER_TRAINED} <= set(ids) and max(ids) < ROWS
    assert list(empty_folder.iterdir()) == []


def test_the_export_of_an_untied_model_is_of_the_rows_that_score(tmp_path):
    rows = values()
    untied = write_model(tmp_path / "m", {"wte.weight": rows, "lm_head.weight": rows[::-1].copy()})
    ids = json.loads(run(untied, "--export", "magikarp-unused", "-q").stdout)
    assert {ROWS - 1 - i for i in UNDER_TRAINED} <= set(ids)


def test_an_export_of_nothing_says_so():
    result = run("synth:healthy", "--export", "magikarp-unused")
    assert (result.exit_code, result.stdout) == (0, "[]\n")
    assert "note: synth:healthy: no reference of untrained tokens was found" in result.stderr


def test_an_export_can_go_with_a_report_and_not_with_json(model, tmp_path):
    assert run(model, "--export", "magikarp-unused", "--out", tmp_path / "r").stdout.startswith("[")
    assert (tmp_path / "r" / "tokens.md").exists()
    assert run(model, "--export", "magikarp-unused", "--json").exit_code == 2


def test_the_fixed_share_for_comparison(model):
    (matrix,) = json.loads(run(model, "--rule", "percentile", "--json").stdout)["matrices"]
    assert matrix["candidates"]["rule"] == "percentile" and matrix["candidates"]["tokens"] == 25


def test_notes_are_on_stderr_and_once(tmp_path):
    larger = write_model(tmp_path / "m", document=tokenizer([f"w{i}" for i in range(ROWS + 5)]))
    result = run(larger, "--json")
    assert result.stderr.count("5 tokens of the tokenizer are beyond the matrix's 1,200 rows") == 1
    assert run(larger, "--json", "-q").stderr == ""
    without = write_model(tmp_path / "n", document=False)
    assert run(without, "--json").stderr.count("known by id only") == 1


@pytest.mark.parametrize("bad", [["--rule", "x"], ["--export", "x"], ["--out", ""], []])
def test_usage(model, bad):
    assert run(*([model, *bad] if bad else [])).exit_code == 2


def test_what_cannot_be_read_is_an_error(tmp_path):
    assert isinstance(run(tmp_path / "none").exception, ForensicsError | SystemExit)
