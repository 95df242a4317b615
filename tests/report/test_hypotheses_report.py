"""The report of a test of hypotheses: complete, the same every time, inert, small; no weight without its error."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.hypotheses.founding import transition_curve
from forensics.hypotheses.judging.calibration import Calibration, power_of
from forensics.hypotheses.judging.choice import Choice
from forensics.hypotheses.judging.classes import Classes, Pair
from forensics.hypotheses.observables import OBSERVABLES
from forensics.hypotheses.subject import open_subject
from forensics.hypotheses.sweeps.study import study
from forensics.report.hypotheses_calibration import calibration_parts, classes_part, confusion_grid
from forensics.report.hypotheses_document import PLANTED, hypotheses_document
from forensics.report.hypotheses_figures import SHOWN_STATISTICS, observed_counts, residual_grid, transition
from forensics.report.hypotheses_report import hypotheses_json, hypotheses_text, write_hypotheses_report
from forensics.report.hypotheses_verdicts import in_order, weak
from tests.hypotheses.made_sweeps import write_file

HOSTILE = "<b>x</b> | `y` ![z](http://e.example) \u202eend"
ALWAYS = {"hypotheses.md", "hypotheses.json"}
JUDGED = ALWAYS | {"simulations.csv", "verdicts.png", "calibration.png"}

HOSTILE_FILE = """
from forensics.hypotheses.simulators.snowball import HYPOTHESIS as known
from forensics.hypotheses.hypothesis import Fixed, Hypothesis, Parameter
def simulate(context, parameters, rng):
    if rng.random() < 0.5:
        raise ValueError({text!r})
    return known.simulate(context, {{"sigma": 1e-9, "anchor": "on"}}, rng)
HYPOTHESIS = Hypothesis(
    name="hostile", title={text!r}, story={text!r}, predicts={text!r}, source={text!r}, simulate=simulate,
    parameters=(Parameter("word", {text!r}, lambda context: Fixed({text!r})),),
)
"""


def two_points():
    """Twenty-five rows at one point, ten a step beside it, five more each elsewhere a step beside."""
    point = np.random.default_rng(2).standard_normal(16).astype(np.float16) / np.float16(8)
    rows = np.repeat(point[None], 40, axis=0)
    rows[25:35, 3] = np.nextafter(point[3], np.float16(9))
    rows[np.arange(35, 40), np.arange(5)] = np.nextafter(point[:5], np.float16(-9))
    return rows


@pytest.fixture(scope="module")
def subject():
    return open_subject(made())


def made(kind="memory", name="test"):
    rows = np.random.default_rng(1).standard_normal((400, 16)).astype(np.float16)
    rows[100:140] = two_points()
    matrix = Embedding.from_array(rows, role="input")
    return Checkpoint(Source(kind, name), (matrix,), "absent", None, config={"initializer_range": 0.02})


@pytest.fixture(scope="module")
def result(subject):
    return study(subject, only=("singular", "snowball", "snowball_bf16", "normal", "zero_rows"), budget=130)


@pytest.fixture(scope="module")
def written(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_hypotheses_report(result, folder)
    return folder


def text_of(result, captions=()):
    return hypotheses_document(result, captions, ["`hypotheses.json`"])


def column(report, *cells):
    """The one table row that holds these cells first."""
    (row,) = [line for line in report.splitlines() if line.startswith("| " + " | ".join(cells) + " |")]
    return [cell.strip() for cell in row.strip("|").split(" | ")]


def test_every_file_is_listed_and_the_same_again(result, written, tmp_path):
    assert {path.name for path in written.iterdir()} == JUDGED
    write_hypotheses_report(result, tmp_path)
    report = (tmp_path / "hypotheses.md").read_text()
    for path in written.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    assert set(re.findall(r"!\[[^]]+\]\(([^)]+)\)", report)) == {n for n in JUDGED if n.endswith(".png")}
    document = json.loads((tmp_path / "hypotheses.json").read_text())
    assert document["schema"] == "forensics.hypotheses/1" and hypotheses_json(result) == hypotheses_json(result)
    assert str(tmp_path) not in report and not re.search(r"\b(nan|None|inf)\b", report)
    assert len(report) < 40_000


def test_the_claim_leads_and_the_verdicts_carry_it(result, written):
    report = (written / "hypotheses.md").read_text()
    claim = result.claim[:1].upper() + result.claim[1:]
    assert report.index(claim.split(";")[0]) < report.index("| hypothesis |") < report.index("## Method")
    for fit in result.judgement.fits:
        row = column(report, f"`{fit.hypothesis}`", result.hypotheses[fit.hypothesis].title)
        assert row[3].strip("*") == fit.verdict and float(row[2].removeprefix("<= ")) == pytest.approx(
            fit.p_value, rel=0.06
        )
        worst = fit.residuals[0]
        assert row[5].startswith(worst.title) and ("-" if worst.observed is None else f"{worst.observed:.3g}") in row[5]
    assert {f.verdict for f in result.judgement.fits if f.hypothesis in ("normal", "zero_rows")} == {"rejected"}
    text = hypotheses_text(result)
    assert result.claim in text and "dead: 40" in text and PLANTED not in text + report


def test_those_that_stand_come_first(result, written):
    order = [fit.hypothesis for fit in in_order(result.judgement.fits)]
    report = (written / "hypotheses.md").read_text()
    assert order == re.findall(r"^\| `(\w+)` \|", report[: report.index("## Parameters")], re.M)[: len(order)]
    stands = [fit.stands for fit in in_order(result.judgement.fits)]
    assert stands == sorted(stands, reverse=True) and set(stands) == {True, False}


@pytest.mark.parametrize("choice", [None, Choice({"a = b": 0.8, "singular": 0.2}, 50, 0.123, 0.31, 400)])
def test_no_weight_without_its_error(result, choice):
    report = text_of(replace(result, judgement=replace(result.judgement, choice=choice)))
    assert ("weight" in report) == (choice is not None)
    if choice is not None:
        after = report[report.index("| `a = b` | 0.8 |") :][:300]
        assert "errs in 12 % of 400 simulations" in after and "31 % of the 50 nearest" in after


def test_the_simulations_are_all_there(result, written):
    with (written / "simulations.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 5 * 130 and [row["index"] for row in table[:130]] == [str(i) for i in range(130)]
    by_name = {(row["hypothesis"], int(row["index"])): row for row in table}
    for name, found in result.simulations.items():
        for one in found[:3]:
            row = by_name[name, one.index]
            for observable, value in one.observables.items():
                assert row[observable] == ("" if value is None else repr(value))
            assert float(row["parameter_sigma"] or "nan") == pytest.approx(
                one.parameters.get("sigma", np.nan), rel=0, nan_ok=True
            )
    assert by_name["singular", 0]["median_linf"] == "" and by_name["singular", 0]["parameter_anchor"] == ""


def test_nothing_to_explain(tmp_path):
    rows = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float16)
    healthy = Checkpoint(Source("memory", "m"), (Embedding.from_array(rows, role="input"),), "absent", None)
    for name in JUDGED | {"transition.png"}:
        (tmp_path / name).write_text("of an earlier report")
    found = study(open_subject(healthy))
    write_hypotheses_report(found, tmp_path)
    report = (tmp_path / "hypotheses.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == ALWAYS
    assert report.splitlines()[2].startswith("**Nothing to explain: ") and "## Method" not in report
    assert "Not simulated" not in report and "simulations.csv" not in report
    assert "Nothing to explain" in hypotheses_text(found) and "not simulated" not in hypotheses_text(found)
    assert json.loads(hypotheses_json(found))["judgement"] is None


def test_too_small_a_budget_gives_no_verdict(subject, tmp_path):
    found = study(subject, only=("singular", "zero_rows"), budget=20)
    write_hypotheses_report(found, tmp_path)
    report = (tmp_path / "hypotheses.md").read_text()
    assert "**No verdict on any of 2 hypotheses: 16 simulations, 99 are needed" in report
    assert column(report, "`singular`", "one point", "-")[3:] == ["no verdict", "-", found.judgement.fits[0].reason]
    assert "rejected" not in report.split("## Caveats")[0].split("## Method")[0].replace("not rejected", "")
    assert {path.name for path in tmp_path.iterdir()} == ALWAYS | {"simulations.csv"}


@pytest.mark.parametrize(("kind", "said"), [("planted", True), ("file", False)])
def test_a_planted_matrix_is_evidence_about_the_tool(result, kind, said):
    of = replace(result.subject, checkpoint=made(kind))
    report = text_of(replace(result, subject=of))
    assert (PLANTED in report) == said and (PLANTED in hypotheses_text(replace(result, subject=of))) == said


def test_what_the_selection_fixes_is_said(result):
    report = text_of(replace(result, subject=replace(result.subject, by_construction=("largest_share",))))
    title = OBSERVABLES["largest_share"].title
    assert f"evidence of nothing: {title}." in report
    assert "fixed by the selection" in next(line for line in report.splitlines() if line.startswith(f"| {title} |"))


def test_a_users_texts_are_inert_and_its_failures_told(subject, tmp_path):
    path = tmp_path / "hostile.py"
    path.write_text(HOSTILE_FILE.format(text=HOSTILE))
    found = study(subject, only=("singular", str(path)), budget=130)
    write_hypotheses_report(found, tmp_path / "report")
    report = (tmp_path / "report" / "hypotheses.md").read_text()
    for text in (report, hypotheses_text(found), (tmp_path / "report" / "simulations.csv").read_text()):
        assert "\u202e" not in text
    assert "<b>" not in report and not re.search(r"(?<!\\)!\[z", report) and "\\<b\\>" in report
    failed = sum(s.error is not None for s in found.simulations["hostile"])
    assert 0 < failed < 130 and str(tmp_path) not in report
    with (tmp_path / "report" / "simulations.csv").open(newline="") as file:
        assert sum(bool(row["error"]) for row in csv.DictReader(file)) == failed
    fit = next(f for f in found.judgement.fits if f.hypothesis == "hostile")
    assert fit.n_failed and f"{fit.n_failed:,} failed" in report
    assert found.judgement.calibration.n["hostile"], "held out without a fit"
    assert confusion_grid(found.judgement.calibration, found.judgement.classes)[0] == ["singular", "hostile"]


def test_what_was_left_out_is_said_with_the_reason(result):
    settings = replace(result.settings, left_out={"b": "slow", "a": "slow", "c": "no live rows"})
    report = text_of(replace(result, settings=settings))
    assert "Not simulated (slow): `a`, `b`." in report and "Not simulated (no live rows): `c`." in report


def test_the_grid_holds_the_worst_of_each(result):
    fits = in_order(result.judgement.fits)
    names, statistics, z = residual_grid(fits)
    assert names == [fit.hypothesis for fit in fits] and z.shape == (len(statistics), len(names))
    assert len(statistics) <= SHOWN_STATISTICS
    titles = [o.title for o in OBSERVABLES.values()]
    assert [titles.index(title) for title in statistics] == sorted(titles.index(title) for title in statistics)
    for column_of, fit in zip(z.T, fits, strict=True):
        worst = fit.residuals[0]
        assert worst.title in statistics and column_of[statistics.index(worst.title)] == worst.z
    assert residual_grid([replace(fit, residuals=()) for fit in fits])[:2] == ([], [])


def test_a_transition_is_drawn_where_there_are_curves(result, tmp_path):
    sigmas = np.geomspace(1e-3, 10, 5) * result.context.median_step
    curves = {"the stored row": transition_curve(result.context, sigmas, 2, 0, anchor="on")}
    seen = observed_counts(result.subject.cloud.populations)
    assert seen == {"unique": 7, "holes": 2, "largest": 25}
    caption, picture = transition(curves, seen)
    assert "Noise around the stored row" in caption and "dashed: observed" in caption
    assert transition(curves, {**seen, "holes": 5})[1] != picture, "the observed counts are drawn"
    assert "dashed" not in transition(curves, {})[0]
    fewer = replace(result, judgement=replace(result.judgement, fits=(), calibration=None))
    write_hypotheses_report(fewer, tmp_path, curves=curves)
    assert (tmp_path / "transition.png").read_bytes() == picture
    assert f"![{caption}](transition.png)" in (tmp_path / "hypotheses.md").read_text()


def test_the_calibration_is_told(result, written):
    found, classes = result.judgement.calibration, result.judgement.classes
    rows, columns, shares = confusion_grid(found, classes)
    assert sorted(rows) == sorted(found.n) and columns == [*classes.names, "none"]
    assert np.allclose(shares.sum(axis=1), 1)
    for i, name in enumerate(rows):
        assert shares[i].tolist() == [found.attributed[name][c] for c in columns]
    report = (written / "hypotheses.md").read_text()
    part = report[report.index("## Calibration") :]
    row = column(part, "`normal`", str(found.n["normal"]))
    assert float(row[2]) == found.rejected["normal"]["normal"]
    for name, of in found.rejected.items():
        own = classes.members[classes.of(name)]
        share, weakest = min((share, tested) for tested, share in of.items() if tested not in own)
        assert column(part, f"`{name}`", str(found.n[name]))[6].split() == [f"`{weakest}`", f"{share:.2g}"]
    assert len({tuple(of.values()) for of in found.rejected.values()}) > 1
    row = column(part, "`snowball`", str(found.n["snowball"]))
    assert f"`sigma` {found.coverage['snowball']['sigma']:.2g}" in row[7]


@pytest.mark.parametrize("apart", [False, True])
def test_classes_are_shown_to_be_one_or_not(apart):
    pair = Pair("a", "b", 100, 0.51, 0.497, 0.3, apart, True)
    members = (("a",), ("b",), ("c",)) if apart else (("a", "b"), ("c",))
    far = Pair("a", "c", 100, 1.0, 0.497, 1e-30, True, False)
    text = classes_part(Classes(members, (pair, far), 0.01))
    assert (
        "| `a`, `b` | 100 | 0.51 | 0.497 | 0.3 | "
        + ("told apart" if apart else "not told apart")
        + " | argued to be one |"
        in text
    )
    assert ("All are told apart." in text) == apart and "`a`, `c`" not in text
    assert ("with so many simulations of each, and count as one: `a`, `b` (100)." in text) == (not apart)
    across = Pair("b", "c", 100, 0.5, 0.497, 0.02, False, False)
    assert "not told apart, yet two classes | - |" in classes_part(Classes((("a", "b"), ("c",)), (across,), 0.01))
    assert classes_part(Classes((("a",), ("c",)), (far,), 0.01)) == ""


def test_a_slow_hypothesis_with_fewer_draws_is_told(subject, tmp_path):
    own = write_file(tmp_path, name="slow_one", slow=True, fails=0)
    found = study(subject, only=(own, "singular"), budget=150)
    report = text_of(found)
    assert "100 or 120 simulations a hypothesis" in report


def test_a_verdict_without_power_is_told(result):
    fit = next(fit for fit in result.judgement.fits if fit.stands)
    for share, warned in ((0.1, True), (0.9, False)):
        rejected = {name: {**of, fit.hypothesis: share} for name, of in result.judgement.calibration.rejected.items()}
        calibration = replace(result.judgement.calibration, rejected=rejected)
        found = replace(result, judgement=replace(result.judgement, calibration=calibration))
        assert (f"That `{fit.hypothesis}` is not rejected says little: held against 104" in weak(found)) == warned
        assert ("a larger budget would tell more" in weak(found)) == warned
        enough = replace(found.judgement, fits=[replace(fit, n=199)])
        assert "a larger budget" not in weak(replace(found, judgement=enough))
        row = column(text_of(found), f"`{fit.hypothesis}`", result.hypotheses[fit.hypothesis].title)
        assert row[3:5] == ["**not rejected**", f"{share}"]
    without = replace(result, judgement=replace(result.judgement, calibration=None))
    assert weak(without) == "" and column(text_of(without), "`zero_rows`", "zeros")[4] == "-"


def test_power_is_weighed_and_not_of_ones_own_class():
    rejected = {"a": {"b": 0.5}, "b": {"b": 0.0}, "c": {"b": 1.0}, "d": {"b": 0.0}}
    found = Calibration(0.01, {"a": 9, "b": 9, "c": 30, "d": 10}, rejected, {}, {}, {})
    classes = Classes((("a", "b"), ("c",), ("d",)), (), 0.01)
    assert power_of("b", found, classes) == 0.75
    assert power_of("b", None, classes) is None and power_of("x", found, classes) is None


def test_power_is_against_other_classes():
    shares = {"a": 0.0, "b": 0.1, "c": 0.9}
    found = Calibration(
        0.01,
        {"a": 7},
        {"a": shares},
        {"a": 0.5},
        {"a": {"a = b": 0.8, "c": 0.1, "none": 0.1}},
        {},
        {"a": {"sigma": (0.0, 0.02, 0.09)}},
    )
    text = "\n".join(calibration_parts(found, Classes((("a", "b"), ("c",)), (), 0.01)))
    assert "| `a` | 7 | 0 | 0.5 | 0.8 | 0.1 | `c` 0.9 | - | `sigma` 0, 0.02, 0.09 |" in text
