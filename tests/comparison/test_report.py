"""The report of a comparison: every figure is in its files, the same bytes each time, hostile names are inert."""

import csv
import json
import re

import pytest

from forensics.comparison import compare
from forensics.comparison.result import COLUMNS
from forensics.report.comparison_report import comparison_json, write_comparison_report
from tests.comparison.made import save_run, save_runs


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    real = save_run(folder / "a|b_<i>", 9, pull=-0.5)
    return compare(f"run:{real}", save_runs(folder, (1, 2, 3)) + save_runs(folder, (1, 2, 3), lr=2.0), at=[2, 4])


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    first, second = (write_comparison_report(result, tmp_path / name) for name in "ab")
    assert [path.name for path in first] == [path.name for path in second]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))


def test_every_line_is_told(result, tmp_path):
    write_comparison_report(result, tmp_path)
    text = (tmp_path / "compare.md").read_text()
    for line in result.lines:
        assert text.count(line.observable.title.replace("_", "\\_")) >= len(result.groups) + 1
    assert text.count("**not reproduced**") == sum(
        cell.verdict == "not reproduced" for line in result.lines for cell in line.cells
    )
    for i, group in enumerate(result.groups):
        assert f"## Against toy {group.label} at step {group.step}" in text
        claim = result.claim(i)
        assert f"**{claim[0].upper()}{claim[1:]}.**" in text
    outside = re.sub("`[^`\n]*`", "", text)
    assert "a\\|b_<i>" in text and "<i>" not in outside.replace("\\<i\\>", "")


def test_undefined_is_said_as_elsewhere_and_few_seeds_are_told(result, tmp_path):
    write_comparison_report(result, tmp_path)
    text = (tmp_path / "compare.md").read_text()
    assert "None" not in text and "undefined for " in text
    cells = [cell for line in result.lines for cell in line.cells]
    within = sum(cell.verdict == "reproduced" for cell in cells)
    assert within and text.count("within the seeds' spread (3 seeds: \u00b1 5 sd)") == within
    assert "| reproduced |" not in text


def test_the_table_reads_back(result, tmp_path):
    write_comparison_report(result, tmp_path)
    with (tmp_path / "observables.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and len(rows) == len(result.lines) * len(result.groups)
    for row, (name, *_, real, label, step, mean) in zip(rows, (r[:8] for r in result.rows()), strict=True):
        assert (row["observable"], row["group"], row["step"]) == (name, label, str(step))
        assert row["real"] == ("" if real is None else repr(real)) and row["mean"] == (
            "" if mean is None else repr(mean)
        )
    assert json.loads((tmp_path / "compare.json").read_text()) == json.loads(comparison_json(result))


def test_figures_show_both_sections(result, tmp_path):
    written = {path.name for path in write_comparison_report(result, tmp_path)}
    assert {"observables.png", "hidden.png"} <= written
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in ("observables.png", "hidden.png"))
