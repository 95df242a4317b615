"""forensics hypotheses: what it prints where, its exit codes, one clear line for every bad request."""

import json

import pytest
from click.testing import CliRunner

from forensics_cli.main import cli
from tests.hypotheses.made_sweeps import write_file

pytestmark = pytest.mark.usefixtures("empty_folder")

QUICK = ("--only", "singular", "--only", "zero_rows")


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "one-point"
    made = run("simulate", "singular", "--rows", 60, "--dim", 32, "--out", folder, "-q")
    assert made.exit_code == 0, made.output
    return folder


def bad(result, folder, *, code=3):
    assert result.exit_code == code, result.output
    assert result.stdout == "" and result.stderr.startswith("error: ")
    assert result.stderr.count("\n") <= 2 and "Traceback" not in result.stderr
    assert list(folder.iterdir()) == []


def test_it_prints_verdicts_writes_the_report_and_goes_on(model, empty_folder):
    command = ("hypotheses", model, "--dead", "holes", *QUICK, "--budget", 124)
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "1 of 2 hypotheses are rejected" in result.stdout and "report in" in result.stderr
    (folder,) = (empty_folder / "forensics-reports").iterdir()
    assert {"hypotheses.md", "hypotheses.json"} <= {path.name for path in folder.iterdir()}
    kept = {path.name: path.read_bytes() for path in (folder / "simulations").iterdir()}
    assert sorted(kept) == ["settings.json", "singular.jsonl", "zero_rows.jsonl"]
    assert run(*command).stdout == result.stdout
    assert {path.name: path.read_bytes() for path in (folder / "simulations").iterdir()} == kept


def test_json_is_one_document_and_writes_nothing(model, empty_folder, tmp_path):
    arguments = ("hypotheses", model, "--dead", "holes", *QUICK, "--budget", 10, "--json", "-q")
    result = run(*arguments)
    assert list(empty_folder.iterdir()) == [] and result.stderr == "", result.output
    document = json.loads(result.stdout)
    assert document["schema"] == "forensics.hypotheses/1" and "no verdict" in document["claim"]
    assert str(tmp_path) not in result.stdout
    kept = run(*arguments, "--store", tmp_path / "kept")
    assert kept.stdout == result.stdout and (tmp_path / "kept" / "singular.jsonl").exists()


def test_nothing_to_explain(empty_folder):
    result = run("hypotheses", "synth:healthy", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["claim"].startswith("nothing to explain")
    shown = run("hypotheses", "synth:healthy")
    assert shown.exit_code == 0 and "othing to explain" in shown.stdout


def test_the_list():
    result = run("hypotheses", "--list")
    assert result.exit_code == 0 and "\nsnowball: " in result.stdout and "(slow" in result.stdout
    assert "log-uniform" in result.stdout and "2,221 tokens of 2,560 bfloat16" in result.stdout


def test_bad_requests(model, empty_folder, tmp_path):
    bad(run("hypotheses", model, "--only", "snowbal"), empty_folder)
    bad(run("hypotheses", model, "--only", tmp_path / "none.py"), empty_folder)
    bad(run("hypotheses", model, "--dead", "nonsense", "-q"), empty_folder)
    bad(run("hypotheses", tmp_path / "nothing"), empty_folder)
    (tmp_path / "broken.py").write_text("1 / 0")
    broken = run("hypotheses", model, "--only", tmp_path / "broken.py")
    bad(broken, empty_folder)
    assert "broken.py" in broken.stderr and "ZeroDivisionError" in broken.stderr
    for usage in ((), (model, "--budget", 0), (model, "--workers", 0), (model, "--seed", -1), (model, "--out", "")):
        assert run("hypotheses", *usage).exit_code == 2


def test_a_scheduler_that_does_not_answer(model, empty_folder, monkeypatch):
    pytest.importorskip("distributed")
    from forensics.hypotheses.sweeps import cluster

    monkeypatch.setattr(cluster, "CONNECT_S", 0.3)
    result = run("hypotheses", model, "--scheduler", "tcp://127.0.0.1:9")
    bad(result, empty_folder, code=4)
    assert "no scheduler answers at 'tcp://127.0.0.1:9'" in result.stderr


def test_one_that_raises_every_third_time(model, tmp_path):
    result = run("hypotheses", model, "--dead", "holes", "--only", write_file(tmp_path), "--budget", 130, "--json")
    assert result.exit_code == 0, result.output
    (fit,) = json.loads(result.stdout)["judgement"]["fits"]
    assert fit["verdict"] == "no verdict" and "ValueError: one of three" in json.dumps(fit)
