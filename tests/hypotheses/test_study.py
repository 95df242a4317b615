"""A subject to a judgement: what is simulated, what is left out and why, and the same answer after any interruption."""

import json
from dataclasses import replace

import pytest

from forensics import open_checkpoint
from forensics.errors import ConfigError, HypothesisError
from forensics.hypotheses.checkpoint import random_context, write_simulation
from forensics.hypotheses.discovery import hypotheses, load_hypothesis
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
    with pytest.raises(HypothesisError, match="two hypotheses are called 'singular'"):
        choose(["singular", write_file(tmp_path, name="singular")])


def test_a_slow_one_that_is_named_gets_a_tenth(tmp_path):
    slow = load_hypothesis(write_file(tmp_path, slow=True))
    assert [studies._draws(slow, n) for n in (10, 125, 1000, 5000)] == [10, 125, 125, 500]
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
