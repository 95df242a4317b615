"""Quantities of a matrix, against what scan and lattice say of the same one; the planted Qwen3-4B; what is measured."""

import json

import numpy as np
import pytest

import forensics
from forensics.claims import Subject, check_claims, find_claims, shipped_claims
from forensics.claims import matrix as room
from forensics.embedding import Embedding
from forensics.errors import ConfigError
from forensics.scanning.lattice import scan_lattice
from tests.claims.made import claims_about, made_run, measure


@pytest.fixture(scope="module")
def checkpoint():
    return forensics.open_checkpoint("synth:qwen3-4b")


@pytest.fixture(scope="module")
def subject(checkpoint):
    return Subject(checkpoint)


@pytest.fixture(scope="module")
def shipped(subject):
    return check_claims(subject, find_claims(subject))


def by_id(result, name):
    (found,) = [each for each in result.results if each.claim.id == name]
    return found


def test_the_notebooks_list_holds_over_the_logs(shipped):
    populations = by_id(shipped, "black-hole-populations")
    assert [rival.name for rival in populations.holds] == ["notebooks"] and populations.verdict == "confirmed"
    assert "notebooks holds, not log: [814, 704, 164, 127" in str(shipped)
    said = {rival["name"]: rival["holds"] for rival in populations.to_dict()["claimed"]}
    assert said == {"log": False, "notebooks": True}


def test_the_planted_matrix_is_said_to_be_planted_and_contradicts_nothing(shipped):
    assert shipped.is_planted and "synth:qwen3-4b (planted" in str(shipped)
    assert shipped.counts["contradicted"] == 0 and shipped.counts["confirmed"] >= 42 and shipped.holds
    unmeasured = {r.claim.id for r in shipped.results if r.found is None}
    assert {"shape", "unique-rows", "radius-tokens", "orphans"} <= unmeasured
    assert all(r.why for r in shipped.results if r.found is None)


def test_results_are_plain_values(shipped):
    document = json.loads(json.dumps(shipped.to_dict(), allow_nan=False))
    assert document["schema"] == "forensics.claims/1" and document["planted"] and document["holds"]
    assert sum(document["counts"].values()) == len(document["claims"]) == len(shipped.to_frame())


def test_figures_are_those_of_scan_and_lattice(checkpoint, subject):
    matrix = forensics.scan(checkpoint).matrices[0].to_dict()
    lattice = scan_lattice(checkpoint).to_dict()["matrices"][0]["lattice"]
    smoke = {s["name"]: s for s in lattice["selections"]}

    def found(quantity, **parameters):
        value = "[0]" if quantity in ("exponent_counts", "component_counts") else "0"
        return measure(subject, quantity, value, **parameters).found

    tokens = matrix["centroids"]["tokens"]["raw"]
    assert found("centroid_angle") == tokens["angle_deg"]
    assert found("centroid_norm", rows="rest") == tokens["rest_norm"]
    assert found("centroid_norm", rows="all") == matrix["centroids"]["vocabulary_mean_norm"]
    for rows in ("all", "in-hole", "rest"):
        for statistic in ("mean", "std", "min", "median", "max"):
            assert found("norm", rows=rows, statistic=statistic) == pytest.approx(matrix["norms"][rows][statistic])
        assert found("exponent_mode", rows=rows) == matrix["exponents"]["populations"][rows]["mode"]
    assert found("norm", rows="hole:3", statistic="max") == matrix["black_holes"]["holes"][2]["norm"]
    offset = matrix["exponents"]["offset_in_hole_to_rest"]
    assert [found("exponent_offset", by=by) for by in ("mode", "mean", "shift")] == [
        offset["by_mode"], offset["by_mean"], offset["shift"]
    ]  # fmt: skip
    assert found("exponent_counts") == tuple(lattice["exponent_counts"])
    assert found("void", figure="threshold") == lattice["gap"]["threshold"]
    for name, selection in (("exponent:0", "exponent:0"), ("flood:1", "flood"), ("radius", "radius")):
        assert found("selection_tokens", selection=selection) == smoke[name]["tokens"]
        assert found("selection_unique_rows", selection=selection) == smoke[name]["unique_rows"]
    of = {"selection": "exponent:5"}
    largest, extent = lattice["graph"]["largest"], lattice["extent"]
    assert found("graph", figure="alone", **of) == lattice["graph"]["alone"]
    assert found("component", number=2, figure="holes", **of) == largest[1]["holes"]
    assert [found("extent", figure=f"{kind}_dims", **of) for kind in ("active", "constant")] == [
        extent["active_dims"], extent["constant_dims"]
    ]  # fmt: skip
    assert found("extent", figure="widest_steps", **of) == extent["largest_extent"]
    levels = [(level, n) for level, n, _, _ in lattice["components_by_threshold"]]
    expected = [min((n for level, n in levels if level <= k), default=125) for k in range(1, 41)]
    assert list(found("component_counts", up_to=40, **of)) == expected and len(set(expected)) < 40


def test_a_matrix_is_measured_once_and_only_as_far_as_asked(checkpoint, monkeypatch):
    calls = []
    for name in ("find_black_holes", "measure_geometry", "summarise_lattice", "census_bits", "build_graph", "flood"):
        real = getattr(room, name)
        monkeypatch.setattr(room, name, lambda *a, real=real, name=name: calls.append(name) or real(*a))
    holes = {"quantity": '"black_holes"', "value": 13}
    tokens = {"quantity": '"black_hole_tokens"', "value": 2100}
    norm = {"quantity": '"norm_ratio"', "value": 2.96}
    edges = {"quantity": '"graph"', "value": 100, "selection": '"exponent:5"', "figure": '"edges"'}
    check_claims(checkpoint, [claims_about(holes, tokens)])
    assert calls == ["find_black_holes"]
    calls.clear()
    check_claims(
        checkpoint, [claims_about(holes, norm, norm, edges, edges | {"figure": '"alone"'}), claims_about(tokens)]
    )
    assert sorted(calls) == ["build_graph", "find_black_holes", "measure_geometry", "summarise_lattice"]


@pytest.mark.parametrize(
    ("quantity", "value", "parameters", "why"),
    [
        ("hole_shared_exponents", "0", {}, "0 black holes, and two are needed"),
        ("hole_exponent_mean", "0", {}, "no hole 1"),
        ("hole_linf", "0", {"statistic": "max"}, "no black holes"),
        ("hole_angles", "[0]", {}, "no black holes"),
        ("selection_tokens", "0", {"selection": "flood"}, "no black holes"),
        ("norm", "0", {"rows": "in-hole", "statistic": "mean"}, "undefined"),
        ("exponent_offset", "0", {"by": "mean"}, "undefined"),
        ("initializer_range", "0", {}, "names no initializer_range"),
        ("tokenizer_tokens", "0", {}, "no tokenizer"),
        ("last_motion", "0", {}, "needs a recording"),
        ("shape", "[0, 0]", {"role": "output"}, "no output matrix"),
    ],
)
def test_a_healthy_matrix_lacks_what_holes_have(quantity, value, parameters, why):
    values = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    healthy = forensics.Checkpoint(Embedding.from_array(values).source, (Embedding.from_array(values),), None)
    result = measure(healthy, quantity, value, **parameters)
    assert result.verdict == "not measurable here" and why in result.why
    assert measure(healthy, "black_holes", "0").verdict == "confirmed"
    assert measure(healthy, "black_holes", "13").verdict == "contradicted"


@pytest.mark.parametrize(("values", "verdict", "holding"), [
    ((13, 14), "confirmed", ["a"]), ((12, 13), "confirmed", ["b"]), ((13, 13), "confirmed", ["a", "b"]),
    ((12, 14), "contradicted", []),
])  # fmt: skip
def test_rivals(subject, values, verdict, holding):
    rivals = f'[{{ name = "a", value = {values[0]} }}, {{ name = "b", value = {values[1]} }}]'
    checked = check_claims(subject, [claims_about({"quantity": '"black_holes"', "rivals": rivals})])
    assert checked.results[0].verdict == verdict and [r.name for r in checked.results[0].holds] == holding
    assert checked.holds is (verdict == "confirmed")


def test_a_list_that_parts_late_says_where(subject):
    file = claims_about(
        {"quantity": '"black_hole_populations"', "value": [814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 3]}
    )
    assert "(they part at number 13 of 13)" in str(check_claims(subject, [file]))


def test_only_what_is_meant_for_a_subject_is_found():
    with pytest.raises(ConfigError) as caught:
        find_claims(Subject(forensics.open_checkpoint("synth:healthy")))
    assert "init, qwen3-4b-instruct-2507, toy" in caught.value.hint
    assert not Subject(made_run()).fits(shipped_claims("qwen3-4b-instruct-2507").subjects)
