"""The report of a checkpoint's tokens: complete, the same every time, inert, and small for any vocabulary."""

import csv
import json
import re

import ml_dtypes
import numpy as np
import pytest

import forensics
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.report import write_report
from forensics.report.tokens_document import production_parts
from forensics.report.tokens_report import CENSUS_COLUMNS, check_text, tokens_json, tokens_text, write_tokens_report
from forensics.scanning.check import check_tokens
from forensics.scanning.production import Production
from forensics.scanning.tokens import scan_tokens
from forensics.undertrained.separation import LEVEL, SUPPORTED_LEVEL
from forensics.vocabulary import Vocabulary
from tests.scanning.planted_model import DEAD, PADDING, ROWS, SPLIT, UNDER_TRAINED, ZERO, opened, values

HOSTILE = (
    "| a | b |", "`code` ``two``", "<script>alert(1)</script>", "![x](http://e.example/x.png)", "\x1b[31mred\x1b[0m",
    "\u202egnp.exe", "a\nb\r\nc", "</details>", "# heading", "\x00", "\u200bzero", "&lt;", "\\|", "=cmd()", "$x$",
)  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return scan_tokens(opened(tmp_path_factory.mktemp("model")))


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_is_listed_and_the_same_again(result, tmp_path):
    for place in ("one", "two"):
        files = write_tokens_report(result, tmp_path / place)
        assert {path.name for path in files} == {"tokens.md", "tokens.json", "census.csv"}
    for path in files:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    text = (tmp_path / "one" / "tokens.json").read_text()
    assert text == tokens_json(result) and json.loads(text) == json.loads(json.dumps(result.to_dict()))
    report = (tmp_path / "one" / "tokens.md").read_text()
    assert "forensics tokens" in report and str(tmp_path) not in report and not re.search(r"\bnan\b", report)


def test_it_lies_beside_a_scan(result, tmp_path):
    write_report(forensics.scan(result.checkpoint), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_tokens_report(result, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_the_claim_comes_first(result, tmp_path):
    write_tokens_report(result, tmp_path)
    report = (tmp_path / "tokens.md").read_text()
    sections = re.findall(r"^##+ (.*)$", report, re.MULTILINE)
    assert report.split("\n\n")[2] == (
        "**6 tokens share 2 rows; 0 % of them (0) cannot be produced by the tokenizer.**"
    )
    assert sections[1:] == [
        "Tokens in a hole, by category and script", "Causes", "The reference of untrained tokens", "Candidates",
        "Near the holes and the reference", "The vocabulary", "Method",
    ]  # fmt: skip


def test_the_method_says_the_levels_that_are_used(result, tmp_path):
    write_tokens_report(result, tmp_path)
    method = (tmp_path / "tokens.md").read_text().split("## Method")[1]
    assert f"{LEVEL:g}" in method and f"{SUPPORTED_LEVEL:g}" in method and "a healthy matrix" in method
    write_tokens_report(scan_tokens(result.checkpoint, rule="percentile"), tmp_path)
    method = (tmp_path / "tokens.md").read_text().split("## Method")[1]
    assert "no verdict" in method and f"{LEVEL:g}" not in method


def test_every_token_is_in_the_csv(result, tmp_path):
    write_tokens_report(result, tmp_path)
    rows = table_of(tmp_path / "census.csv")
    header = (tmp_path / "census.csv").read_text().split("\n", 1)[0].split(",")
    assert header[: len(CENSUS_COLUMNS)] == list(CENSUS_COLUMNS) and len(set(header)) == len(header)
    assert [int(row["id"]) for row in rows] == list(range(ROWS))
    assert json.loads(rows[300]["text"]) == json.loads(rows[300]["witness"]) == "word300"
    assert (rows[SPLIT]["reachable"], rows[SPLIT]["ground"], rows[SPLIT]["proved"]) == (
        "unreachable",
        "pre-tokeniser",
        "1",
    )
    assert (rows[PADDING[0]]["category"], rows[PADDING[0]]["text"]) == ("padding", "")
    (matrix,) = result.matrices
    for name, ids in (("candidate", matrix.candidates.token_ids), ("reference", matrix.reference.token_ids)):
        assert [int(row["id"]) for row in rows if row[name] == "1"] == sorted(ids.tolist())
    assert [row["hole_id"] for row in rows if row["hole_id"]] == ["2", *["1"] * 4, "2"]
    cells = [float(row["cosine"]) if row["cosine"] else np.nan for row in rows]
    np.testing.assert_array_equal(cells, matrix.indicators.values["cosine"])


def test_two_matrices_have_columns_of_their_own(tmp_path):
    rows = values()
    untied = opened(tmp_path / "m", {"wte.weight": rows, "lm_head.weight": rows[: ROWS - 20]})
    write_tokens_report(scan_tokens(untied), tmp_path / "r")
    table = table_of(tmp_path / "r" / "census.csv")
    assert len(table) == ROWS and table[-1]["norm_output"] == "" and table[-1]["norm_input"] != ""
    assert table[ZERO]["norm_input"] == table[ZERO]["norm_output"] == "0.0"
    report = (tmp_path / "r" / "tokens.md").read_text()
    assert [line for line in report.splitlines() if line.startswith("## `")] == [
        "## `wte.weight` (input, 1,200 x 48, bfloat16)", "## `lm_head.weight` (output, 1,180 x 48, bfloat16)",
    ]  # fmt: skip


def hostile_checkpoint(n, dim=24, long=10_000):
    """Identical, zero and odd rows, whose every piece is hostile; some are very long."""
    pieces = [HOSTILE[i % len(HOSTILE)] + str(i) + ("<|\u202e" * (long // 3) if i % 997 == 5 else "") for i in range(n)]
    rows = np.random.default_rng(0).normal(0, 1, (n, dim)).astype(ml_dtypes.bfloat16)
    rows[n - 9 :] = 0  # candidates
    for start in range(0, n // 2, 5):
        rows[start : start + 4] = rows[start]
    return Checkpoint(
        Source("memory", "<b>`|\u202e"), (Embedding.from_array(rows),), "absent", Vocabulary(tuple(pieces), "plain")
    )


@pytest.fixture(scope="module")
def hostile():
    return hostile_checkpoint(4_000)


def prose(report):
    """What is not in a code span, the row that rules a table left out."""
    return re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", report)


def test_nothing_in_a_token_takes_effect(hostile, tmp_path):
    result = scan_tokens(hostile)
    assert len(result.matrices[0].candidates) == 9
    write_tokens_report(result, tmp_path)
    report = (tmp_path / "tokens.md").read_text()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u200b\u202e]", report + tokens_text(result))
    assert set(re.findall(r"<[^>]*>?", prose(report))) == {"<details>", "<summary>", "</summary>", "</details>"}
    assert "](http" not in prose(report)
    for block in re.split(r"\n\n", report):
        lines = [line for line in block.splitlines() if line.startswith("| ")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1, lines[:3]


def test_reports_stay_small_however_many_tokens(hostile, tmp_path):
    write_tokens_report(scan_tokens(hostile), tmp_path)
    write_report(forensics.scan(hostile), tmp_path)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["tokens.md"] < 50_000 and sizes["report.md"] < 60_000
    assert len(table_of(tmp_path / "census.csv")) == len(table_of(tmp_path / "tokens.csv")) == 4_000


def test_tables_end_where_a_reader_would():
    counts = tuple((f"category {i}", "Latin", "reachable", 1) for i in range(60))
    shown = "\n".join(production_parts(Production("in a hole", 60, 0, 0, counts, ())))
    assert shown.count("| category ") == 41 and shown.endswith("20 more rows are in the files beside this report.")


def test_the_scan_says_what_of_its_holes_the_tokenizer_can_produce(result, tmp_path):
    write_report(forensics.scan(result.checkpoint), tmp_path)
    claim = (tmp_path / "report.md").read_text().split("**")[1]
    assert claim.startswith("2 black holes") and claim.endswith(
        "0 % of the 6 tokens (0) cannot be produced by the tokenizer."
    )


def test_without_a_tokenizer_no_token_has_a_category(tmp_path):
    result = scan_tokens(Checkpoint(Source("memory", "x"), (Embedding.from_array(values()),), "absent"))
    write_tokens_report(result, tmp_path)
    report = (tmp_path / "tokens.md").read_text()
    assert "is not known.**" in report and "by category and script" not in report
    assert "There is no tokenizer" in report and "- No tokenizer: tokens are known by id only." in report
    # What cannot be told is said where it would come first.
    assert re.search(r"^\| zero rows in no hole .*\| all-zero rows \|  \|  \|$", report, re.MULTILINE)
    assert re.search(r"^\| hole 2 .*\| unexplained \|  \| padding .*\|$", report, re.MULTILINE)
    rows = table_of(tmp_path / "census.csv")
    assert {(row["text"], row["category"], row["script"], row["reachable"]) for row in rows} == {
        ("", "", "", "unknown")
    }


def test_the_terminal_shows_the_claims_and_some_of_the_tokens(result):
    lines = tokens_text(result).splitlines()
    assert lines[1] == "6 tokens share 2 rows; 0 % of them (0) cannot be produced by the tokenizer."
    assert lines[2].startswith(f"{len(result.matrices[0].candidates)} tokens look under-trained, apart from")
    assert lines[-1] == f"... and {len(result.matrices[0].candidates) - 10} more"
    assert len(lines) < 25


def test_steps_are_shown_where_there_are_some(tmp_path):
    found = scan_tokens(opened(tmp_path / "m", {"wte.weight": values(shared=1.0)}))
    text = tokens_text(found)
    assert re.search(r'"word104" \(104\) +\S+ +1$', text, re.MULTILINE) and "L-infinity, steps" in text


def test_a_verdict_is_one_line_a_reason(result):
    lines = check_text(check_tokens(result.checkpoint, ["word300"], [DEAD[0], UNDER_TRAINED[0]])).splitlines()
    assert lines[0].split() == ['"word300"', "(300)", "nothing", "found"]
    assert [line.split()[2] for line in lines[1:]] == ["dead", "under-trained", "under-trained"]
