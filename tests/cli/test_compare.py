"""forensics compare: what it prints where, its exit codes, one clear line for every bad request."""

import json

import pytest
from click.testing import CliRunner

from forensics_cli.main import VERBS, cli
from tests.comparison.made import LAST, save_run, save_runs

pytestmark = pytest.mark.usefixtures("empty_folder")

WRITTEN = {"compare.md", "compare.json", "observables.csv", "observables.png"}


def run(*arguments):
    return CliRunner().invoke(cli, ["compare", *(str(a) for a in arguments)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return save_runs(tmp_path_factory.mktemp("runs"), (1, 2, 3, 4))


def bad(result, folder, *, code=3):
    assert result.exit_code == code, result.output
    assert result.stdout == "" and "error: " in result.stderr.lower() and "Traceback" not in result.stderr
    assert list(folder.iterdir()) == []


def test_it_prints_lines_and_writes_the_report(runs, tmp_path):
    result = run(f"run:{runs[0]}", *runs[1:], "--out", tmp_path / "r")
    assert result.exit_code == 0, result.output
    assert "centroid angle, dead to live" in result.stdout and "report in" in result.stderr
    assert {p.name for p in (tmp_path / "r").iterdir()} == WRITTEN | {"hidden.png"}
    assert "lines not reproduced; a further run of the toy would miss about" in result.stdout
    assert "lie along" not in result.stdout and "along -h_mean in 3 of 3: generalises" in result.stdout


def test_the_default_folder(runs, empty_folder):
    assert run(f"run:{runs[0]}", *runs[1:], "-q").stderr == ""
    (folder,) = (empty_folder / "forensics-reports").iterdir()
    assert (folder / "compare.md").exists()


def test_json_is_one_document_and_writes_nothing(runs, empty_folder, tmp_path):
    result = run(f"run:{runs[0]}", *runs[1:], "--json", "--at", 1, "--at", 2)
    document = json.loads(result.stdout)
    assert document["schema"] == "forensics.compare/1" and [g["step"] for g in document["groups"]] == [1, 2]
    assert list(empty_folder.iterdir()) == [] and str(tmp_path) not in result.stdout
    with_out = run(f"run:{runs[0]}", *runs[1:], "--json", "--out", tmp_path / "r", "-q")
    assert with_out.stdout == (tmp_path / "r" / "compare.json").read_text()


def test_a_planted_source(runs):
    result = run("synth:cause-frozen", *runs, "--dead", "holes", "--json", "-q")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["real"]["dead_are"] == "inferred" and document["groups"][0]["seeds"] == [1, 2, 3, 4]


def test_bad_requests(runs, empty_folder, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    bad(run("synth:healthy", *runs), empty_folder)
    bad(run(f"run:{runs[0]}", tmp_path / "nothing"), empty_folder)
    bad(run(f"run:{runs[0]}", runs[1], "--at", LAST + 9), empty_folder)
    bad(run(f"run:{runs[0]}", runs[1], "--dead", "best"), empty_folder)
    bad(run(f"run:{runs[0]}", runs[1], "--text", tmp_path / "none.txt"), empty_folder)
    bad(run(f"run:{runs[0]}", runs[1], "--text", tmp_path / "empty.txt"), empty_folder)
    for name, given in ((".", "."), (tmp_path / "none.txt", "none.txt: cannot be read (No such file")):
        assert str(given) in run(f"run:{runs[0]}", runs[1], "--text", name).stderr.splitlines()[0]
    assert "error: .: cannot be read (Is a directory)" in run(f"run:{runs[0]}", runs[1], "--text", ".").stderr
    bad(run("pkg:no_such_package", runs[0]), empty_folder)
    (tmp_path / "file").write_text("")
    bad(run(f"run:{runs[0]}", *runs[1:], "--out", tmp_path / "file" / "r"), empty_folder)


def test_usage(runs, empty_folder):
    assert run().exit_code == 2 and run(f"run:{runs[0]}").exit_code == 2
    bad(run(f"run:{runs[0]}", runs[1], "--tensor", "W"), empty_folder, code=2)
    assert run(f"run:{runs[0]}", runs[1], "--at", -1).exit_code == 2
    assert VERBS["compare"]


def test_a_run_without_h_mean_has_no_section_on_it(tmp_path):
    first, second = (save_run(tmp_path / f"bare{seed}", seed, hidden=False) for seed in (1, 2))
    result = run(f"run:{first}", second, "--out", tmp_path / "r")
    assert result.exit_code == 0 and "three seeds at least, here 1" in result.stdout
    assert {p.name for p in (tmp_path / "r").iterdir()} == WRITTEN
    assert "## Hidden states" not in (tmp_path / "r" / "compare.md").read_text()
