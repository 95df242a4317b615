"""The report of a diff: complete, the same every time, inert, small; and the full list of rows."""

import csv
import json
import re

import numpy as np
import pytest

from forensics.checkpoint import Checkpoint
from forensics.diff import claim
from forensics.embedding import Embedding, Source
from forensics.report.diff_report import COLUMNS, diff_json, diff_text, write_diff_report
from forensics.scanning.diff import diff_checkpoints
from forensics.vocabulary import Vocabulary

HOSTILE = (
    "| a | b |", "`code` ``two``", "<script>alert(1)</script>", "![x](http://e.example/x.png)", "\x1b[31mred\x1b[0m",
    "\u202egnp.exe", "a\nb\r\nc", "</details>", "# heading", "\x00", "\u200bzero", "&lt;", "\\|", "=cmd()",
)  # fmt: skip


def checkpoint(values, pieces=None, role="input", name="test", **named):
    told = None if pieces is None else Vocabulary(tuple(pieces), "plain")
    return Checkpoint(Source("memory", name), (Embedding.from_array(values, role=role),), "absent", told, **named)


def rows(n=40, dim=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float16)


@pytest.fixture(scope="module")
def result():
    a = rows()
    b = np.vstack([a[:36], rows(6, seed=1)])
    a[[3, 4, 5]], b[[3, 4]] = a[3], a[3]
    b[8:10], b[12, 0], b[14] = b[7], np.nan, 0
    b[20:30, 2] = np.nextafter(b[20:30, 2], np.float16(9))
    pieces = [f"p{i}" for i in range(42)]
    return diff_checkpoints(checkpoint(a, pieces[:40], name="base"), checkpoint(b, pieces, name="tuned"))


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_is_listed_and_the_same_again(result, tmp_path):
    for place in ("one", "two"):
        files = write_diff_report(result, tmp_path / place)
        assert {path.name for path in files} == {"diff.md", "diff.json", "rows.csv"}
    for path in files:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    text = (tmp_path / "one" / "diff.json").read_text()
    assert text == diff_json(result) and json.loads(text) == json.loads(json.dumps(result.to_dict()))
    report = (tmp_path / "one" / "diff.md").read_text()
    assert "forensics diff base tuned" in report and str(tmp_path) not in report and "nan," not in report


def test_the_rows_are_all_there(result, tmp_path):
    write_diff_report(result, tmp_path)
    table = table_of(tmp_path / "rows.csv")
    assert tuple(table[0]) == COLUMNS and len(table) == 42
    by_id = {row["id_b"]: row for row in table}
    states = {i: by_id[str(i)]["state"] for i in (0, 5, 8, 12, 14, 20, 41)}
    assert states == {
        0: "unchanged",
        5: "changed",
        8: "changed",
        12: "changed",
        14: "changed",
        20: "moved",
        41: "added",
    }
    assert by_id["5"]["hole_a"] == "1" and by_id["5"]["hole_b"] == "" and by_id["5"]["hole_change"] == "left"
    assert by_id["8"]["hole_change"] == "joined" and by_id["8"]["hole_b"] == "1"
    assert (by_id["12"]["steps"], by_id["12"]["distance"], by_id["12"]["event"]) == ("", "", "became_non_finite")
    assert by_id["14"]["event"] == "became_zero" and by_id["20"]["steps"] == "1" and by_id["0"]["distance"] == "0.0"
    assert by_id["41"]["id_a"] == "" and by_id["41"]["text"] == '"p41"'
    (diff,) = result.matrices
    assert [float(row["distance"] or "nan") for row in table[:40]] == pytest.approx(diff.rows.distance, nan_ok=True)


def test_removed_rows_carry_the_text_of_a(result, tmp_path):
    write_diff_report(diff_checkpoints(result.second, result.first), tmp_path)
    last = table_of(tmp_path / "rows.csv")[-1]
    assert (last["id_a"], last["id_b"], last["text"], last["state"]) == ("41", "", '"p41"', "removed")


def test_the_text_of_a_pair_is_that_of_b_where_it_has_one(tmp_path):
    a, b, bare = checkpoint(rows(2), ["old", "x"]), checkpoint(rows(2), ["new", "x"]), checkpoint(rows(2))
    for pair, text in (((a, b), "new"), ((a, bare), "old"), ((bare, b), "new"), ((bare, bare), None)):
        write_diff_report(diff_checkpoints(*pair), tmp_path)
        assert table_of(tmp_path / "rows.csv")[0]["text"] == (f'"{text}"' if text else "")


def test_the_claim_carries_the_figures(result, tmp_path):
    write_diff_report(result, tmp_path)
    report = (tmp_path / "diff.md").read_text()
    (diff,) = result.matrices
    assert claim(diff)[0] == "19 of 40 rows differ (47.5 %); 21 are bit-identical."
    for text in (report, diff_text(result)):
        assert claim(diff)[0] in text
        assert "10 moved by at most 1 float16 step on any dimension" in text
        assert "Rows of B that A has not: 2 added (ids 40 to 41); of them 0 all zero, 0 in black holes of B" in text
        assert "all zero in B and were not in A: 1." in text and "infinity or a nan in B and did not in A: 1." in text
        assert "1 that changed hold a nan and have no distance" in text
        assert "of A's 1, 1 kept (0 with every row bit-identical); B has 2, 1 of them new" in text
    assert "2 pieces added" in report and "2 pieces added" in diff_text(result)


@pytest.mark.parametrize(("role", "said"), [("input", "tokens its data never held"), ("output", "frozen or masked")])
def test_the_inference_is_worded_by_role(role, said):
    a = rows()
    b = a.copy()
    b[0] *= 2
    text = diff_text(diff_checkpoints(checkpoint(a, role=role), checkpoint(b, role=role)))
    assert (
        f"Inference: if B was trained from A, and without weight decay, {'no update' if role == 'input' else 'the'}"
        in text
    )
    assert said in text and "39 unchanged rows" in text


def test_the_same_matrix_is_said_to_be_the_same():
    text = diff_text(diff_checkpoints(checkpoint(rows()), checkpoint(rows())))
    assert (
        "All 40 rows are bit-identical.\nThe matrices are the same bytes, SHA-256 " in text and "Inference" not in text
    )


def test_other_formats_are_said():
    a = np.float32(rows()) + np.float32(1e-5)
    text = diff_text(diff_checkpoints(checkpoint(a), checkpoint(a.astype(np.float16))))
    assert "The formats differ, float32 in A and float16 in B" in text and "bit-identical" not in text
    assert "40 of those that differ are equal after rounding" in text and "moved by" not in text


def test_two_matrices_carry_their_role_in_the_names(tmp_path):
    def untied(seed):
        pair = (Embedding.from_array(rows(seed=seed + k), role=r, tensor=r) for k, r in enumerate(("input", "output")))
        return Checkpoint(Source("memory", "test"), tuple(pair), "different")

    (tmp_path / "mine.txt").write_text("kept")
    write_diff_report(diff_checkpoints(untied(0), untied(1)), tmp_path)
    names = {"diff.md", "diff.json", "rows_input.csv", "rows_output.csv", "mine.txt"}
    assert {path.name for path in tmp_path.iterdir()} == names
    write_diff_report(diff_checkpoints(checkpoint(rows()), checkpoint(rows())), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"diff.md", "diff.json", "rows.csv", "mine.txt"}


def test_hostile_text_is_inert(tmp_path):
    a = rows(len(HOSTILE))
    b = a[::-1].copy()
    b[:5] = b[0]
    pieces = [*HOSTILE[1:], "new `|<b>\x1b"]
    second = checkpoint(b, pieces, name="<b>`|\x1b[0m", notes=("<script>`|\x1b",))
    result = diff_checkpoints(checkpoint(a, HOSTILE), second)
    write_diff_report(result, tmp_path)
    report = (tmp_path / "diff.md").read_text()
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", report)
    for markup in ("<script", "![x]", "# heading", "&lt;"):
        assert not re.search(r"(?<!\\)" + re.escape(markup), outside)
    for text in (report, diff_text(result), (tmp_path / "rows.csv").read_text()):
        assert not any(character in text for character in "\x1b\u202e\x00\u200b\r")
    assert all(row["text"].startswith('"') for row in table_of(tmp_path / "rows.csv"))


def test_a_large_diff_stays_small(tmp_path):
    # Every row in a hole of two, every hole broken, every piece another: the longest lists that there can be.
    a = np.repeat(rows(15_000, 2), 2, axis=0).astype(np.float32)
    a[:, 0] = np.repeat(np.arange(15_000), 2)
    b = np.roll(a, 1, axis=0)
    pieces = [f"{i}-{'x' * 60}" for i in range(30_000)]
    result = diff_checkpoints(checkpoint(a, pieces), checkpoint(b, [p + "y" for p in pieces]))
    write_diff_report(result, tmp_path)
    assert (tmp_path / "diff.md").stat().st_size < 60_000
    assert (tmp_path / "diff.json").stat().st_size < 1_500_000
    assert len(table_of(tmp_path / "rows.csv")) == 30_000
