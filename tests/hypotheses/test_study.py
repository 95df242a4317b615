"""A subject to a judgement: what is simulated, what is left out and why, and the same answer after any interruption."""

import json
from dataclasses import replace

import numpy as np
import pytest

from forensics import open_checkpoint
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.errors import ConfigError, HypothesisError
from forensics.formats import BFLOAT16
from forensics.hypotheses.checkpoint import random_context, write_simulation
from forensics.hypotheses.discovery import hypotheses, load_hypothesis
from forensics.hypotheses.observables import CLOUD
from forensics.hypotheses.subject import open_subject
from forensics.hypotheses.sweeps import study as studies
from forensics.hypotheses.sweeps.study import check_request, choose, store_settings, study
from tests.hypotheses.made_sweeps import write_file

ONLY = ("singular", "zero_rows")


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "one-point"
    context = random_context(rows=60, dim=32, seed=3)
    write_simulation(load_hypothesis("singular"), context, folder)
    return open_subject(open_checkpoint(str(folder)), dead="holes")


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_rejects_what_is_not_so(subject, tmp_path):
    stages = []
    result = study(subject, only=ONLY, budget=124, folder=tmp_path / "s", progress=stages.append)
    verdicts = {fit.hypothesis: fit.verdict for fit in result.judgement.fits}
    assert verdicts == {"singular": "not rejected", "zero_rows": "rejected"}
    assert "simulations: 248 of 248" in stages and stages[-1] == "judgement"
    assert result.settings.draws == {"singular": 124, "zero_rows": 124} and not result.settings.left_out
    assert {len(found) for found in result.simulations.values()} == {124}
    document = result.to_dict()
    assert document["schema"] == "forensics.hypotheses/1" and document["claim"] == result.claim
    assert [h["name"] for h in document["hypotheses"]] == list(ONLY)
    json.dumps(document, allow_nan=False)
    before = files(tmp_path / "s")
    stages.clear()
    again = study(subject, only=ONLY, budget=124, folder=tmp_path / "s", progress=stages.append)
    assert stages == ["judgement"] and again.to_dict() == document and files(tmp_path / "s") == before
    in_memory = study(subject, only=ONLY, budget=124)
    assert in_memory.to_dict() == document


def test_a_larger_budget_goes_on(subject, tmp_path):
    small = study(subject, only=("singular",), budget=3, folder=tmp_path)
    stages = []
    large = study(subject, only=("singular",), budget=9, folder=tmp_path, progress=stages.append)
    assert "simulations: 6 of 6" in stages
    assert large.simulations["singular"][:3] == small.simulations["singular"]
    assert study(subject, only=("singular",), budget=3, folder=tmp_path).simulations == small.simulations


def test_too_small_a_budget_has_no_verdict(subject):
    result = study(subject, only=ONLY, budget=20)
    assert {fit.verdict for fit in result.judgement.fits} == {"no verdict"} and "no verdict" in result.claim


def test_another_seed_or_subject_is_refused(subject, tmp_path):
    study(subject, only=("singular",), budget=2, folder=tmp_path)
    with pytest.raises(ConfigError, match="seed was 0, now it is 1"):
        study(subject, only=("singular",), budget=2, folder=tmp_path, seed=1)
    other = replace(subject, dead=replace(subject.dead, token_ids=subject.dead.token_ids[1:]))
    with pytest.raises(ConfigError, match="dead_sha256 was"):
        study(other, only=("singular",), budget=2, folder=tmp_path)
    ours = store_settings(subject, 0)
    assert ours["tensor_sha256"] == subject.embedding.sha256 and "models" not in str(ours)


def test_nothing_to_explain(tmp_path):
    healthy = open_subject(open_checkpoint("synth:healthy"))
    result = study(healthy, folder=tmp_path / "s")
    assert result.judgement is None and result.claim.startswith("nothing to explain: ")
    assert result.to_dict()["judgement"] is None and not (tmp_path / "s").exists()
    assert result.command == "forensics hypotheses synth:healthy"


def test_what_is_chosen(tmp_path):
    chosen, left_out = choose()
    names = {r.name for r in chosen}
    assert names | left_out.keys() == hypotheses().keys() and not names & left_out.keys()
    assert all(h.slow == (name in left_out) for name, h in hypotheses().items())
    assert all("--only" in why for why in left_out.values())
    mine = write_file(tmp_path)
    assert [r.name for r in choose(["zero-rows", mine, mine, "singular"])[0]] == ["singular", "uneven", "zero_rows"]
    with pytest.raises(HypothesisError, match="does not exist"):
        check_request(["singula"], None)
    (tmp_path / "other").mkdir()
    with pytest.raises(HypothesisError, match="two hypotheses are called 'uneven'"):
        choose([mine, write_file(tmp_path / "other")])


def test_a_slow_one_that_is_named_gets_a_quarter(tmp_path):
    slow = load_hypothesis(write_file(tmp_path, slow=True))
    assert [studies._draws(slow, n) for n in (10, 125, 400, 1000, 5000)] == [10, 125, 125, 250, 1250]
    assert studies._draws(replace(slow, slow=False), 1000) == 1000


def test_obstacles(subject):
    result = study(subject, only=("singular", "mean_resized"), budget=2)
    assert list(result.settings.left_out) == ["mean_resized"] and list(result.simulations) == ["singular"]
    with pytest.raises(HypothesisError, match=r"nothing can be simulated .*mean_resized: "):
        study(subject, only=("mean_resized",))


def test_the_command(subject, tmp_path):
    result = study(subject, only=("singular", write_file(tmp_path)), budget=2, seed=5)
    words = "--only singular --only uneven.py --budget 2 --dead holes --seed 5"
    assert result.command.endswith(f"forensics hypotheses one-point {words}")


def test_one_that_raises_does_not_stop_the_others(subject, tmp_path):
    result = study(subject, only=("singular", write_file(tmp_path)), budget=40)
    failed = {name: sum(s.error is not None for s in found) for name, found in result.simulations.items()}
    assert failed["singular"] == 0 and 5 <= failed["uneven"] <= 25


def planted(dead=10):
    """400 rows, of which the last share one vector but for some words; with live rows beside them."""
    words = BFLOAT16.narrow(np.random.default_rng(0).normal(0.01, 0.05, (400, 16)).astype(np.float32))
    words[-dead:] = words[0]
    words[-3:, 2] += np.uint16(1)
    words[:2] = 0
    embedding = Embedding(words.view(np.uint8), BFLOAT16, 16, "tied", "wte")
    return Checkpoint(Source("memory", "planted"), (embedding,), "identical", None, {"initializer_range": 0.02})


def test_records_do_not_depend_on_who_else_is_asked_for(tmp_path):
    subject = open_subject(planted(), dead="holes")
    first = study(subject, only=("padding", "singular"), budget=4, folder=tmp_path)
    both = study(subject, only=("padding", "singular", "mean_resized"), budget=8, folder=tmp_path)
    assert {s.parameters["value"] for s in both.simulations["padding"]} == {"mean", "zero"}
    assert both.simulations["padding"][:4] == first.simulations["padding"]
    assert both.simulations == study(subject, only=("padding", "singular", "mean_resized"), budget=8).simulations


def test_one_that_needs_no_law_is_told_of_none(tmp_path):
    path = write_file(tmp_path, fails=0)
    text = (tmp_path / "uneven.py").read_text()
    (tmp_path / "uneven.py").write_text(text.replace("    noise =", "    assert context.live is None\n    noise ="))
    result = study(open_subject(planted(), dead="holes"), only=(path, "mean_resized"), budget=2)
    assert not [s.error for found in result.simulations.values() for s in found if s.error]


def test_what_the_selection_fixes_is_no_evidence(monkeypatch):
    asked = []

    def noted(*arguments, observables, **more):
        asked.append({o.name for o in observables})
        return judging(*arguments, observables=observables, **more)

    judging = studies.judge
    monkeypatch.setattr(studies, "judge", noted)
    result = study(open_subject(planted(), dead="holes"), only=ONLY, budget=124)
    assert asked == [set(CLOUD) - {"in_hole_share", "singleton_share"}]
    named = {r.observable for fit in result.judgement.fits for r in fit.residuals}
    assert named and not named & {"in_hole_share", "singleton_share"}


def test_rows_chosen_for_being_zero_are_not_judged(tmp_path):
    result = study(open_subject(planted(), dead="zero"), folder=tmp_path / "s")
    assert result.judgement is None and not (tmp_path / "s").exists()
    assert result.claim.startswith("no verdict: the dead are chosen because their rows are zero: ")
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_store_of_other_simulators_is_refused(subject, tmp_path, monkeypatch):
    study(subject, only=("singular",), budget=2, folder=tmp_path)
    monkeypatch.setattr(studies, "code_digest", lambda: "0")
    with pytest.raises(ConfigError, match="the simulators changed since") as refused:
        study(subject, only=("singular",), budget=2, folder=tmp_path)
    assert "--store" in refused.value.hint


def test_a_selection_by_holes_is_told_from_the_same_ids_chosen_otherwise(subject):
    other = replace(subject, only_in_holes=False)
    assert subject.only_in_holes and store_settings(subject, 0) != store_settings(other, 0)
