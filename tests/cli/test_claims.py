"""forensics claims: its exit codes, what it prints where, and one clear line for every bad request."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from forensics.recording import Channel, RecordingWriter
from forensics_cli.main import VERBS, cli
from tests.claims.made import HEAD, made_run

CLAIM = '[[claims]]\nid = "holes"\nstatement = "s"\npopulation = "p"\ndefinition = "d"\nsource = "x"\n'


@pytest.fixture(autouse=True)
def verb(monkeypatch, empty_folder):
    monkeypatch.setitem(VERBS, "claims", "Measure published observations; exit code 1 if one is contradicted.")


def run(*arguments):
    return CliRunner().invoke(cli, ["claims", *map(str, arguments)])


@pytest.fixture
def file(tmp_path):
    def write(said):
        path = tmp_path / "mine.toml"
        path.write_text(HEAD + CLAIM + said)
        return path

    return write


@pytest.fixture
def recorded(tmp_path):
    """The made run on disk, with a W of which two dead rows are one from step 2 on."""
    made = made_run()
    words = np.arange(5 * 2, dtype=np.uint16).reshape(5, 2) + 0x3F80
    joined = words.copy()
    joined[3] = joined[1]
    channels = [
        *made.channels,
        Channel("W", (5, 2), "uint16", "bfloat16", unit="word", definition="w", token_ids=np.arange(5)),
    ]
    with RecordingWriter.create(
        tmp_path / "pond", made.config, channels, vocab_size=5, dead_ids=made.dead_ids
    ) as writer:
        for step in range(5):
            held = {c.name: made.frame(c.name, step) for c in made.channels if step in made.steps(c.name)}
            writer.append(step, held | {"W": joined if step >= 2 else words})
    return tmp_path / "pond"


@pytest.mark.parametrize(
    ("said", "code", "starts"),
    [
        ('quantity = "black_holes"\nvalue = 0\n', 0, "confirmed"),
        ('quantity = "black_holes"\nvalue = 12\n', 1, "contradicted"),
        ('quantity = "last_motion"\nvalue = 12\n', 0, "not measurable here"),
        ('quantity = "black_holes"\nrivals = [{name = "a", value = 12}, {name = "b", value = 0}]\n', 0, "confirmed"),
        ('quantity = "black_holes"\nrivals = [{name = "a", value = 12}, {name = "b", value = 1}]\n', 1, "contradicted"),
    ],
)
def test_exit_codes(file, said, code, starts):
    result = run("synth:healthy", "--file", file(said))
    assert result.exit_code == code, result.output
    first, blank, counts = result.stdout.splitlines()
    assert first.startswith(f"{starts}  holes  ") and blank == "" and f"1 {starts}" in counts
    as_json = run("synth:healthy", "-f", file(said), "--json")
    assert as_json.exit_code == code and json.loads(as_json.stdout)["counts"][starts] == 1


def test_the_shipped_claims_of_the_planted_matrix_hold():
    result = run("synth:qwen3-4b")
    assert result.exit_code == 0 and "notebooks holds, not log" in result.stdout and "(planted" in result.stdout
    by_name = run("synth:healthy", "--file", "init", "--quiet")
    assert by_name.exit_code == 0 and "needs a recording" in by_name.stdout and ": 0 confirmed" in by_name.stdout


def test_a_run_and_a_step_of_it(recorded, file):
    said = file(
        'quantity = "last_motion"\nvalue = 3\n' + CLAIM.replace("holes", "b") + 'quantity = "black_holes"\nvalue = 1\n'
    )
    for source, step in ((recorded, ""), (f"run:{recorded}", ""), (f"run:{recorded}@2", " @ 2")):
        result = run(source, "--file", said)
        assert result.exit_code == 0 and f"run:pond{step}: 2 confirmed" in result.stdout, result.output
    assert run(f"run:{recorded}@1", "--file", said).exit_code == 1  # the rows are not one yet
    assert json.loads(run(f"run:{recorded}@2", "-f", said, "--json").stdout)["source"]["revision"] == "2"
    shipped = run(recorded)
    assert shipped.exit_code == 0 and "init: n01-loss" in shipped.stdout and "toy: stamp-coherence" in shipped.stdout


def test_the_shipped_files_are_listed():
    result = run("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["init", "qwen3-4b-instruct-2507", "toy"]


def test_what_can_be_measured_is_listed():
    lines = run("--quantities").stdout.splitlines()
    assert any(line.startswith("matrix     norm: rows, statistic  ") for line in lines)
    assert any(line.startswith("recording  channel_peak_step: channel, [first], [last]  ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["synth:healthy"], 3, "no shipped claims are about it"),
        (["synth:healthy", "-f", "nosuch"], 3, "no claims file is called 'nosuch'"),
        (["synth:healthy", "-f", "./nosuch.toml"], 3, "nosuch.toml: No such file"),
        (["synth:nosuch", "-f", "toy"], 3, "no planted checkpoint"),
        (["run:nosuch", "-f", "toy"], 3, "no such folder"),
        (["run:nosuch@x", "-f", "toy"], 3, "'x' is not a step"),
        (["run:" + "x" * 5000, "-f", "toy"], 3, "not a path"),
        (["~nobodyhere/x", "-f", "toy"], 3, ""),
        ([], 2, "name a SOURCE or RUN"),
    ],
)
def test_a_bad_request(arguments, code, said):
    result = run(*arguments)
    assert result.exit_code == code and said in result.stderr, result.output
    assert result.stdout == "" and "Traceback" not in result.output


def test_a_malformed_file_is_told_before_anything_is_opened(file):
    result = run("no-such-organisation/model", "--file", file('quantity = "black_hole"\nvalue = 13\n'))
    assert result.exit_code == 3
    assert "mine.toml, line 10: quantity: nothing to measure is called 'black_hole'" in result.stderr
    assert "hint: did you mean black_holes?" in result.stderr


def test_a_step_that_is_not_there(recorded):
    result = run(f"run:{recorded}@77", "-f", "toy")
    assert result.exit_code == 3 and "step 77 is not recorded" in result.stderr


def test_of_a_run_a_tensor_can_be_named(recorded, file):
    said = file('quantity = "black_holes"\nvalue = 1\n')
    assert run(recorded, "-f", said, "--tensor", "W").stdout.startswith("confirmed")
    assert "E was not recorded" in run(recorded, "-f", said, "--tensor", "E").stdout


def test_hostile_texts_are_shown_inert(file):
    path = file('quantity = "dtype"\nrivals = [{name = "\\u001b[31m", value = "x"}, {name = "b", value = "y"}]\n')
    path.write_text(path.read_text().replace('id = "holes"', 'id = "\\u001b[2J"'))
    shown = CliRunner().invoke(cli, ["claims", "synth:healthy", "-f", str(path)], color=True).stdout
    assert "\x1b" not in shown and "\\u001b[2J" in shown and "\\u001b[31m" in shown
