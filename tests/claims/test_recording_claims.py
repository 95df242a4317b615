"""Quantities of a run, against a run whose answers are known by hand."""

import numpy as np
import pytest

from forensics.claims import Subject, check_claims, find_claims
from tests.claims.made import claims_about, made_run, measure


@pytest.mark.parametrize(
    ("quantity", "parameters", "found"),
    [
        ("channel", {"channel": "loss", "step": 1}, 5.0),
        ("channel", {"channel": "centroid_dead", "step": 3}, 5.0),
        ("channel_statistic", {"channel": "loss", "statistic": "mean"}, 3.625),
        ("channel_statistic", {"channel": "loss", "statistic": "max", "first": 2, "last": 3}, 4.0),
        ("channel_statistic", {"channel": "h_mean", "statistic": "min", "last": 3}, 5.0),
        ("channel_tokens", {"channel": "p_dead", "step": 1, "statistic": "sum"}, 1.0),
        ("channel_tokens", {"channel": "p_dead", "step": 1, "statistic": "max"}, 0.75),
        ("median_logit", {"which": "dead", "step": 2}, 0.5),
        ("channel_ratio", {"channel": "radius_mean_dead", "step": 0, "over": "radius_mean_dead", "over_step": 4}, 4.0),
        ("channel_peak_step", {"channel": "radius_max_dead"}, 2),
        ("autocorrelation", {"channel": "h_mean", "statistic": "min", "last": 3}, 0.96),
        ("autocorrelation", {"channel": "h_mean", "statistic": "max"}, 1.0),
        ("centroid_course", {"which": "dead", "figure": "path"}, 7.0),
        ("centroid_course", {"which": "dead", "figure": "net"}, 5.0),
        ("centroid_course", {"which": "dead", "figure": "straightness"}, 5 / 7),
        ("centroid_course", {"which": "dead", "figure": "directedness"}, 5 / np.sqrt(21)),
        ("centroid_course", {"which": "dead", "figure": "straightness", "last": 2}, 1.0),
        ("centroid_path_step", {"which": "dead", "share": 0.4}, 2),
        ("centroid_path_step", {"which": "dead", "share": 1}, 3),
        ("liftoff_step", {"which": "dead"}, 3),
        ("liftoff_step", {"which": "live"}, "never"),
        ("moving_tokens", {"which": "dead", "step": 3}, 1),
        ("last_motion", {}, 3),
        ("still_share_step", {"share": 0.5}, 3),
        ("still_share_step", {"share": 1}, 4),
    ],
)
def test_a_known_answer_is_found(quantity, parameters, found):
    result = measure(made_run(), quantity, **parameters)
    assert result.found == (found if isinstance(found, str) else pytest.approx(found)), result.why
    said = f'"{found}"' if isinstance(found, str) else f"{float(found):.6f}"
    assert measure(made_run(), quantity, said, **parameters).verdict == "confirmed"
    assert measure(made_run(), quantity, "97.25", **parameters).verdict == "contradicted"


@pytest.mark.parametrize(
    ("leave_out", "quantity", "parameters", "why"),
    [
        (["loss"], "channel", {"channel": "loss", "step": 1}, "--record loss"),
        (["p_dead"], "channel_tokens", {"channel": "p_dead", "step": 1, "statistic": "sum"}, "--record p_dead"),
        (["logit_quantiles_dead"], "median_logit", {"which": "dead", "step": 1}, "--record logits"),
        (["centroid_dead"], "liftoff_step", {"which": "dead"}, "--record summaries"),
        ([], "channel", {"channel": "los", "step": 1}, "did you mean loss?"),
        ([], "channel", {"channel": "loss", "step": 9}, "loss is not recorded at step 9"),
        ([], "channel", {"channel": "loss", "step": 0}, "loss is not recorded at step 0"),
        ([], "channel_statistic", {"channel": "loss", "statistic": "mean", "last": 9}, "not recorded at step 9"),
        ([], "channel_tokens", {"channel": "loss", "step": 1, "statistic": "sum"}, "not one number a token"),
        ([], "channel_statistic", {"channel": "h_mean", "statistic": "max"}, "undefined"),
        ([], "centroid_path_step", {"which": "live", "share": 0.5}, "undefined"),
        ([], "autocorrelation", {"channel": "loss", "statistic": "mean"}, "undefined"),
        ([], "median_last_motion", {}, "W was not recorded"),
        ([], "rates", {}, "summaries was not recorded"),
        ([], "black_holes", {}, "W was not recorded"),
    ],
)
def test_what_cannot_be_measured_says_why(leave_out, quantity, parameters, why):
    value = '"x"' if quantity == "rates" else "0"
    result = measure(made_run(leave_out=leave_out), quantity, value, **parameters)
    assert result.verdict == "not measurable here" and result.found is None
    assert why in result.why


def test_the_recordings_own_words_come_with_the_figure():
    measured = measure(made_run(), "channel", channel="loss", step=1).to_dict()["measured"]
    assert measured["unit"] == "nats" and "loss: of here" in measured["definition"]
    whole = measure(made_run(), "channel_statistic", channel="loss", statistic="mean").to_dict()["measured"]
    assert whole["population"] == "as loss is defined, steps 0 to the end"


@pytest.mark.parametrize(
    ("needs", "met"),
    [
        ('{ steps = ">= 4" }', True), ("{ steps = 5 }", False), ("{ model.dim = 2 }", True),
        ('{ "model.dim" = 3 }', False), ("{ model = 2 }", False), ('{ "recorded.steps" = 4 }', True),
        ("{ recorded = { tokens = 5, dead = 2 } }", True), ("{ recorded.dead = 3 }", False),
        ('{ "source.kind" = "recording" }', True), ("{ other = 1 }", False),
    ],
)  # fmt: skip
def test_needs_are_held_against_the_runs_settings(needs, met):
    file = claims_about({"quantity": '"last_motion"', "value": 3, "needs": needs})
    (result,) = check_claims(made_run(), [file]).results
    assert result.verdict == ("confirmed" if met else "not measurable here")
    assert met or result.why.startswith("needs ")


def test_a_run_gets_the_files_about_runs():
    files = find_claims(Subject(made_run()))
    assert [file.name for file in files] == ["init", "toy"]
    counts = check_claims(made_run(), files).counts
    assert counts["not measurable here"] == sum(len(file.claims) for file in files)
