"""forensics check: its exit codes, what it prints where, and one clear line for what is no token."""

import json

import pytest
from click.testing import CliRunner

from forensics_cli.main import cli
from tests.scanning.planted_model import DEAD, HEALTHY, PADDING, ROWS, ZERO, tokenizer, write_model


def run(*arguments):
    return CliRunner().invoke(cli, ["check", *map(str, arguments)])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "planted")


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (["--id", HEALTHY], 0),
        (["--token", "word300", "--token", "word301", "--id", 302], 0),
        (["--id", ZERO], 1),
        (["--id", HEALTHY, "--id", DEAD[0]], 1),
        (["--token", "<copy>"], 1),
        (["--id", PADDING[0]], 1),
        (["--id", ROWS], 3),
        (["--id", -1], 3),
        (["--token", "word300 word301"], 3),
        (["--token", "nosuchword"], 3),
        (["--id", "x"], 2),
        ([], 2),
    ],
)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_exit_codes(model, asked, code, as_json):
    result = run(model, *asked, *as_json)
    assert result.exit_code == code, result.output
    assert (result.stdout == "") == (code > 1) and "Traceback" not in result.output


def test_what_is_not_one_token_says_what_it_encodes_to(model):
    result = run(model, "--token", "word300 word301")
    assert result.stderr.splitlines() == [
        'error: \'word300 word301\' is not one token; the tokenizer makes it into 2: "word300" (300) | "word301" (301)',
        "hint: name the token by --id, or another text",
    ]


def test_the_verdicts_are_in_order_and_once(model):
    result = run(model, "--id", ZERO, "--token", "word300", "--id", ZERO)
    assert result.stdout.splitlines() == [
        '"word300" (300)  nothing found',
        '"word110" (110)  dead           its row is all zeros',
    ]


def test_json_is_one_document(model, tmp_path):
    result = run(model, "--id", ZERO, "--token", "word300", "--json")
    document = json.loads(result.stdout)
    assert document["schema"] == "forensics.check/1" and document["holds"] is False
    assert [token["holds"] for token in document["tokens"]] == [True, False]
    assert run(model, "--id", ZERO, "--token", "word300", "--json").stdout == result.stdout


def test_notes_are_on_stderr(tmp_path):
    larger = write_model(tmp_path / "m", document=tokenizer([f"w{i}" for i in range(ROWS + 5)]))
    result = run(larger, "--token", "w300")
    assert result.exit_code == 0 and "5 tokens of the tokenizer are beyond" in result.stderr
    assert run(larger, "--token", "w300", "-q").stderr == ""
    assert run(larger, "--token", f"w{ROWS + 1}").exit_code == 3


def test_a_hostile_text_is_shown_inert(tmp_path):
    texts = [f"w{i}" for i in range(ROWS)]
    texts[5] = "\x1b[31mred"
    model = write_model(tmp_path / "m", document=tokenizer(texts))
    for result in (run(model, "--id", 5), run(model, "--token", "\x1b[31m\u202e a b")):
        assert "\x1b" not in result.output and "\u202e" not in result.output
