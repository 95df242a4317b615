"""forensics dynamics: what it prints where, its exit codes, one clear line for every bad request."""

import json

import pytest
from click.testing import CliRunner

from forensics.recording import RecordingWriter
from forensics_cli.dynamics import command
from forensics_cli.main import VERBS, cli
from tests.dynamics.made_runs import drifting

pytestmark = pytest.mark.usefixtures("empty_folder")


def run(*arguments):
    return CliRunner().invoke(cli, ["dynamics", *(str(a) for a in arguments)])


def save(folder, **named):
    made = drifting(21, name=folder.name, **named)
    with RecordingWriter.create(
        folder, made.config, made.channels, vocab_size=made.vocab_size, dead_ids=made.dead_ids
    ) as writer:
        for step in range(22):
            held = {c.name: made.frame(c.name, step) for c in made.channels if step in made.steps(c.name)}
            writer.append(step, held)
    return folder


@pytest.fixture
def first(tmp_path):
    return save(tmp_path / "first")


def bad(result, folder, *, code=3, lines=2):
    assert result.exit_code == code, result.output
    assert result.stdout == "" and result.stderr.startswith("error: ")
    assert result.stderr.count("\n") <= lines and "Traceback" not in result.stderr
    assert list(folder.iterdir()) == []


def test_it_prints_claims_and_writes_the_report(first, tmp_path):
    result = run(first, "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert "no dead token moves from step 15 on" in result.stdout and "report in" in result.stderr
    assert {"dynamics.md", "dynamics.json", "series.csv", "tokens.csv"} <= {
        p.name for p in (tmp_path / "report").iterdir()
    }


def test_the_default_folder(first, empty_folder):
    assert run(f"run:{first}").exit_code == 0
    (folder,) = (empty_folder / "forensics-reports").iterdir()
    assert (folder / "dynamics.md").exists()


def test_json_is_one_document_and_writes_nothing(first, empty_folder, tmp_path):
    result = run(first, "--json")
    assert list(empty_folder.iterdir()) == [] and result.stderr == ""
    document = json.loads(result.stdout)
    assert document["schema"] == "forensics.dynamics/1" and document["run"]["name"] == "first"
    assert str(tmp_path) not in result.stdout


def test_json_with_out_prints_what_it_writes(first, tmp_path):
    result = run(first, "--json", "--out", tmp_path / "r", "-q")
    assert result.stdout == (tmp_path / "r" / "dynamics.json").read_text() and result.stderr == ""


def test_compare(first, tmp_path):
    others = [save(tmp_path / f"s{seed}", seed=seed) for seed in (1, 2)]
    result = run(first, "--compare", others[0], "--compare", f"run:{others[1]}", "--json")
    (group,) = json.loads(result.stdout)["compare"]["groups"]
    assert group["runs"] == ["first", "s1", "s2"] and group["seeds"] == [0, 1, 2]


def test_a_run_that_is_none(first, empty_folder, tmp_path):
    bad(run(tmp_path / "nothing"), empty_folder)
    bad(run(first, "--compare", tmp_path / "nothing"), empty_folder)
    bad(run(f"{first}@3"), empty_folder)
    bad(run(""), empty_folder)
    bad(run("x" * 5000), empty_folder)
    (tmp_path / "empty").mkdir()
    bad(run(tmp_path / "empty"), empty_folder)


def test_a_missing_chunk_is_one_line(first, empty_folder):
    chunk = next(path for path in (first / "W").rglob("*") if path.is_file() and path.name != "zarr.json")
    chunk.unlink()
    result = run(first)
    bad(result, empty_folder)
    assert "is missing" in result.stderr


def test_a_folder_that_cannot_be_written(first, empty_folder, tmp_path):
    (tmp_path / "file").write_text("")
    result = run(first, "--out", tmp_path / "file" / "report")
    bad(result, empty_folder)


def test_usage(first, empty_folder):
    assert run().exit_code == 2
    assert run(first, "--out", "").exit_code == 2
    assert VERBS["dynamics"] and command.name == "dynamics"
