"""The dynamics report: complete, the same every time, inert, honest about what was not recorded."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from forensics.dynamics.compare import compare
from forensics.dynamics.freezing import analyse_freezing
from forensics.dynamics.lifecycle import analyse_lifecycle
from forensics.dynamics.run import analyse
from forensics.dynamics.study import Study
from forensics.formats import float_format
from forensics.recording import Recording
from forensics.report.dynamics_claims import CLAIMS
from forensics.report.dynamics_figures import binned, by_step, canvas
from forensics.report.dynamics_report import dynamics_json, dynamics_text, write_dynamics_report
from forensics.report.dynamics_sections import SECTIONS
from forensics.toy import run as runs
from forensics.toy.config import RunConfig
from tests.dynamics.made_hops import hopping, one_coordinate
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


def claim(key, result):
    return CLAIMS[key](result)


def freezing_hops(hops):
    recording = hopping(one_coordinate(np.array(hops)), range(len(hops[0])))
    return analyse_freezing(recording), analyse_lifecycle(recording)


def test_stillness_is_judged_only_against_pauses_that_ended():
    freezing, lifecycle = freezing_hops([[1, 1], [1, 0], [0, 0]])
    said = claim("freezing", freezing)
    assert "2 are still: no pause has ended yet, so nothing can be told from stillness" in said
    assert "in this recording no dead token moves from step 3 on" in said and "longer than any" not in said
    said = claim("lifecycle", lifecycle)
    assert "2 still at the end" in said and "frozen" not in said and "fimbulwinter" not in said
    assert "early" not in said and "midlife" not in said and "half have left late by step 1" in said
    freezing, _ = freezing_hops([[1, 1], [0, 0], [1, 0], [0, 0]])
    assert "1 have been still for longer than any pause" in claim("freezing", freezing)


def test_alignment_says_of_how_many_updates(whole):
    found = whole.run["alignment"]
    rest = np.full(60, np.nan)
    some = np.where(np.arange(60) < 7, 0.5, np.nan)
    said = claim("alignment", replace(found, after={"h_mean": some}))
    assert "with a cosine of 0.5 (median over the 7 of 60 updates that have one)" in said
    said = claim("alignment", replace(found, after={"h_mean": rest}, after_diagonality=rest))
    assert "the dead centroid does not move" in said and "cosine of -." not in said


def test_what_is_lost_is_called_by_the_rule(whole):
    account = whole.run["updates"]
    words = {"half a gap": "lost to rounding", "chance": "rounded back by chance", "second word": "kept in"}
    for rule, word in words.items():
        found = replace(account, rule=rule)
        lost = [m for m in found.measures if word in m.name]
        assert word in claim("updates", found) and len(lost) == 2 * len(found.kinds)
        others = set(words.values()) - {word}
        assert not any(other in m.name for other in others for m in found.measures)
        assert ("below half a gap" in lost[0].definition) == (rule == "half a gap")


def test_a_run_that_is_no_longer_finite_has_a_report(tmp_path):
    recording = drifting(30)
    frames = [(int(s), {"W": recording.frame("W", int(s)).copy()}) for s in recording.steps("W")]
    channel = recording.channel("W")
    infinite = float_format(channel.format).narrow(np.array([np.inf], np.float32))[0]
    for step, frame in frames:
        frame["W"][1, 0] = infinite if step > 20 else frame["W"][1, 0]
    made = Recording.from_frames({}, [channel], frames, vocab_size=recording.vocab_size, dead_ids=recording.dead_ids)
    report = text_of(Study((analyse(made),)), tmp_path)
    assert "A dead row is not finite at step 0 or" in report and "nan" not in report


def test_a_long_line_is_binned_and_keeps_its_mean():
    values = np.random.default_rng(0).random(2_000)
    at, means = binned(values)
    assert 100 < len(at) <= 200 and at[-1] == 1_999 and at[0] == 0
    assert np.isclose((means * np.diff(at, prepend=-1)).sum(), values.sum())
    at, means = binned(values[:200])
    assert np.array_equal(means, values[:200]) and np.array_equal(at, np.arange(200))


def test_steps_have_no_kink_at_ten():
    def draw(figure):
        axes = figure.subplots()
        by_step(axes, np.arange(2_001))
        place = axes.transData.transform([(s, 0) for s in (2, 4, 8)])[:, 0]
        assert np.isclose(place[1] - place[0], place[2] - place[1])

    canvas(draw)


def test_claims_of_hidden_states_say_no_more_than_was_found():
    from forensics.dynamics.bootstrap import analyse_bootstrap
    from forensics.dynamics.context import ClusterCourse
    from forensics.dynamics.rates import compare_rates
    from forensics.dynamics.series import Line, course_of
    from forensics.dynamics.sharpening import Sharpening
    from tests.dynamics.test_bootstrap import N, run

    flat = CLAIMS["bootstrap"](analyse_bootstrap(run(angle=np.full(N, 40.0))))
    assert flat.count("collapse") == 1 and "h does not collapse onto h_mean." in flat

    steps, spike = np.arange(40), np.r_[np.full(39, 0.1), 0.9]
    courses = {"target": course_of(steps, spike), "predicted": None}
    said = CLAIMS["clusters"](ClusterCourse(steps, {"target": spike, "predicted": spike[:5]}, courses))
    assert "by target token 0.1 at the first step, 0.1 at the end" in said and "too few steps to tell" in said

    def sharpening(slope, error):
        none = np.full(40, np.nan)
        return CLAIMS["sharpening"](Sharpening(steps, spike, spike, Line(slope, 0.0, error, 0.5, 40), none, none))

    assert "to the power -0.98 \u00b1 0.1 over" in sharpening(-0.98, 0.1)
    assert "0.98" not in sharpening(0.98, 1.1) and "log p_dead falls" not in sharpening(0.98, 1.1)

    time = np.arange(1, 601)
    noise = np.random.default_rng(0).normal(1, 0.1, 600)
    said = CLAIMS["rates"](compare_rates(time, 5 + np.exp(-time / 100), {"a": np.exp(-time / 110), "b": noise}))
    assert "some fall together (loss fall with a). That is no evidence of a common cause." in said
    assert re.search(r"in steps: loss fall [\d.]+, a [\d.]+\.$", said)
    said = CLAIMS["rates"](compare_rates(time, 5 + 0.05 * noise, {"b": noise}))
    assert said == "Of loss, gradient, drift and radius: do not fall together."


def test_parts_of_motion_stand_beside_those_of_noise(whole):
    found = whole.run["motion"]
    largest = found.windows[-1].modes
    at = int(np.argmax(largest.shares))
    assert f"(noise: {100 * largest.chance[at]:.3g} %)" in CLAIMS["motion"](found)


@pytest.mark.parametrize("key", ["h_mean", "spread", "bootstrap", "clusters"])
def test_a_short_run_denies_nothing(trained, key):
    from forensics.recording import Recording, open_recording

    run = open_recording(trained)
    names = [c for c in run.channels if c.name not in ("W", "grad", "m", "v")]
    frames = [(t, {c.name: run.frame(c.name, t) for c in names if t in run.steps(c.name)}) for t in range(9)]
    short = Recording.from_frames({}, names, frames, vocab_size=64, dead_ids=run.dead_ids)
    short.extra = run.extra
    said = CLAIMS[key](analyse(short)[key])
    assert "too few steps" in said or "14 steps" in said, said
    assert "does not" not in said
