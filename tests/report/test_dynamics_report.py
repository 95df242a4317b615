"""The dynamics report: complete, the same every time, inert, honest about what was not recorded."""

import csv
import json
import re

import numpy as np
import pytest

from forensics.dynamics.compare import compare
from forensics.dynamics.run import analyse
from forensics.dynamics.study import Study
from forensics.report.dynamics_claims import CLAIMS
from forensics.report.dynamics_report import dynamics_json, dynamics_text, write_dynamics_report
from forensics.report.dynamics_sections import SECTIONS
from forensics.toy import run as runs
from forensics.toy.config import RunConfig
from tests.dynamics.made_runs import drifting

CHANNELS = "W,grad,m,v,loss,h_mean,spread,clusters,probe,logits,p_dead,summaries".split(",")  # noqa: SIM905
CONFIG = {
    "name": "small",
    "steps": 60,
    "threads": 1,
    "corpus": {"kind": "synthetic", "vocab": 64, "dead": 24, "tokens": 8_000},
    "batches": {"batch": 4, "context": 12},
    "model": {"layers": 1, "dim": 8, "heads": 2, "ff": 16},
    "optimizer": {"lr": 3e-3},
    "record": {"channels": CHANNELS},
}
FILES = {"dynamics.md", "dynamics.json", "series.csv", "tokens.csv"}
OF_ALL = {f"{n}.png" for n in ("hidden", "cloud", "drift", "motion", "lattice", "freezing", "account", "formation")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that recorded everything, and its study."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    run = runs.begin(RunConfig.from_dict(CONFIG), folder, device="cpu")
    runs.carry_on(run)
    run.close()
    return folder


@pytest.fixture(scope="module")
def whole(trained):
    from forensics.dynamics.study import study

    return study(trained)


@pytest.fixture(scope="module")
def written(whole, tmp_path_factory):
    """Its report's folder: drawing is what takes the time."""
    folder = tmp_path_factory.mktemp("report")
    write_dynamics_report(whole, folder)
    return folder


def text_of(result, folder):
    write_dynamics_report(result, folder)
    return (folder / "dynamics.md").read_text()


def test_every_question_is_answered_and_every_figure_drawn(whole, written):
    assert all(answer.result is not None for answer in whole.run.answers), str(whole.run)
    assert {answer.key for answer in whole.run.answers} == CLAIMS.keys()
    names = {path.name for path in written.iterdir()}
    assert names == FILES | OF_ALL
    report = (written / "dynamics.md").read_text()
    assert set(re.findall(r"!\[[^]]+\]\(([^)]+)\)", report)) == OF_ALL
    assert "not answered" not in report


def test_the_same_bytes_again(written, trained, tmp_path):
    from forensics.dynamics.study import study

    write_dynamics_report(study(f"run:{trained}"), tmp_path)
    for path in written.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
        assert str(trained.parent).encode() not in path.read_bytes()


def test_sections_come_in_order_with_method_and_caveats(whole, written):
    report = (written / "dynamics.md").read_text()
    places = [report.index(f"## {number}. {section.title}") for number, section in SECTIONS.items()]
    assert places == sorted(places) and list(SECTIONS) == [1, 2, 3, 4, 5, 6]
    assert report.count("**Method.**") == report.count("**Caveats.**") == 6
    assert "nan" not in report and report.count("<details>") == report.count("</details>")
    assert "Made by `forensics dynamics run:small`." in report


def test_claims_carry_the_figures(whole, written):
    report = (written / "dynamics.md").read_text()
    run = whole.run
    assert f"at the end {run['formation'].counts['holes'][-1]}" not in report
    assert f"{run['formation'].counts['holes'][-1]:,} black holes at the end" in report
    assert "W 100 %, m 100 %, v 100 %" in report and "40 live tokens" in dynamics_text(whole)
    assert "settles on its final direction" in report or "does not settle" in report


def test_json_is_the_study(whole, written):
    text = (written / "dynamics.json").read_text()
    assert text == dynamics_json(whole) and "NaN" not in text
    document = json.loads(text)
    assert document["schema"] == "forensics.dynamics/1" and document["compare"] is None
    assert document["questions"]["replay"]["result"]["is_whole"] is True


def test_series_hold_what_was_recorded_and_found(whole, written):
    rows = list(csv.DictReader((written / "series.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(61))
    _, loss = whole.run.recorded["loss"]
    assert [row["loss"] for row in rows] == ["", *map(repr, loss.tolist())]
    assert [float(row["drift.dead_centroid_norm"]) for row in rows] == whole.run["drift"].dead.norm.tolist()
    moved = [row["updates.dead_moved"] for row in rows]
    assert moved[0] == "" and [int(n) for n in moved[1:]] == whole.run["updates"].kinds["dead"].counts[:, 0].tolist()
    assert "nan" not in (written / "series.csv").read_text()


def test_tokens_hold_a_row_a_dead_token(whole, written):
    rows = list(csv.DictReader((written / "tokens.csv").read_text().splitlines()))
    exact = whole.run["freezing"].stillness["exact"]
    assert [int(row["token_id"]) for row in rows] == exact.token_ids.tolist() and len(rows) == 24
    assert [int(row["last_motion_exact"]) for row in rows] == exact.last_motion.tolist()
    for row, moving in zip(rows, exact.moving.tolist(), strict=True):
        assert (row["fate"] == "moving") == moving == (int(row["last_motion_exact"]) == 60)
    assert "last_late" in rows[0]


def test_figures_are_pictures_of_a_fair_size(whole, written):
    for path in sorted(written.iterdir()):
        if path.suffix == ".png":
            raw = path.read_bytes()
            width, height = (int.from_bytes(raw[i : i + 4], "big") for i in (16, 20))
            assert raw.startswith(b"\x89PNG") and 5_000 < len(raw) < 200_000
            assert 500 < width < 2000 and 300 < height < 1500


@pytest.mark.parametrize("steps", [0, 1, 2, 40])
@pytest.mark.parametrize("dead", [np.empty(0, np.int64), np.arange(1), np.arange(6), np.arange(12)], ids=len)
def test_every_shape_gives_a_report(steps, dead, tmp_path):
    result = Study((analyse(drifting(steps, dead=dead)),))
    report = text_of(result, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= FILES
    assert "not answered: grad, m, v were not recorded; train again with --record grad,m,v" in report
    assert dynamics_text(result)


def test_stale_figures_vanish_and_others_stay(whole, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    write_dynamics_report(whole, tmp_path)
    assert (tmp_path / "account.png").exists()
    write_dynamics_report(Study((analyse(drifting()),)), tmp_path)
    assert not (tmp_path / "account.png").exists() and (tmp_path / "mine.txt").exists()


def test_compared_runs_have_one_table(tmp_path):
    made = [analyse(drifting(21, seed=s, name=f"s{s}")) for s in range(3)]
    made += [analyse(drifting(21, seed=s, name=f"f{s}", speed=1.0, lr=2.0)) for s in range(3)]
    result = Study(tuple(made), compare(made))
    report = text_of(result, tmp_path)
    assert "| A | `s0`, `s1`, `s2` | 0, 1, 2 | `1.0` |" in report
    line = next(line for line in report.splitlines() if line.startswith("| path length | dead |"))
    assert "**differs**" in line and line.count("\u00b1") == 2
    assert "differences from group A exceed what seeds do" in report
    assert "### Dimension or time?" in report and (tmp_path / "equal_steps.png").exists()
    assert "--compare run:f2" in report and "differences that could be held against noise" in dynamics_text(result)


def test_one_run_against_one_says_that_nothing_can_be_said(tmp_path):
    made = [analyse(drifting(21, seed=0, lr=lr)) for lr in (1.0, 2.0)]
    report = text_of(Study(tuple(made), compare(made)), tmp_path)
    assert "nothing can be said of their differences" in report and "**differs**" not in report


def test_hostile_names_and_settings_are_inert(tmp_path):
    name = "a`<b>|\x1b[31m\u202e"
    config = {"seed": "<script>", "optimizer": {"lr": "| x |"}, "about": "![x](http://e.example/x.png) </details>"}
    made = [analyse(drifting(9, name=name, config={**config, "seed": s})) for s in ("<script>", "`")]
    report = text_of(Study(tuple(made), compare(made)), tmp_path)
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", report)
    for markup in ("<script", "![x]", "<b>", "\x1b", "\u202e"):  # a backslash before it makes it text
        assert not re.search(rf"(?<!\\){re.escape(markup)}", outside), markup
    assert not any(character in report for character in "\x1b\u202e")
    assert "\x1b" not in dynamics_text(Study(tuple(made), compare(made)))
