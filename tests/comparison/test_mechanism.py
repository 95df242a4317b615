"""Does the dead centroid lie along -h_mean: plants with a known answer, in a text and in recordings."""

from dataclasses import replace

import numpy as np
import pytest

from forensics.comparison.hidden import HIDDEN
from forensics.comparison.hidden_states import Sample
from forensics.comparison.mechanism import Mechanism, lies, real_hidden, toy_hidden
from forensics.comparison.runs import group_toys, open_toys
from forensics.embedding import Embedding
from forensics.hypotheses.subject import open_subject
from forensics.measures import Population
from tests.comparison.made import LAST, SPREAD, direction, save_run, save_runs

DIM, VOCAB, DEAD = 64, 200, np.arange(150, 200)


def hidden(pull, *, windows=12, each=32, seed=0, drift=0.3):
    """Hidden states about one direction, of the dead rows at ``pull`` times it; windows drift on their own."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(VOCAB, DIM)).astype(np.float32)
    rows[DEAD] = pull * direction(DIM) + 0.05 * rng.normal(size=(len(DEAD), DIM))
    h = direction(DIM) + drift * np.repeat(rng.normal(size=(windows, DIM)), each, axis=0) / 8
    h = (h + 0.5 * rng.normal(size=h.shape)).astype(np.float32)
    sample = Sample(h, np.arange(len(h)) // each, 0.1, 5.0, Embedding.from_array(rows), False)
    dead, live = Population("dead", "d", DEAD), Population("live", "l", np.arange(150))
    return real_hidden(sample, dead, live, "planted")


@pytest.mark.parametrize(("pull", "answer"), [(-1.0, "along -h_mean"), (1.0, "along +h_mean"), (0.0, "neither")])
def test_a_plant_is_recovered(pull, answer):
    found = hidden(pull)
    assert lies(found, "dead") == answer and lies(found, "live") == "neither"
    assert set(found.values) == {o.name for o in HIDDEN} and found.values["dead_probability"] == 0.1
    low, high = found.intervals["dead"]
    assert low <= found.lie.cosines["dead"] <= high


def test_the_interval_covers_the_mean_over_all_texts():
    """Of many texts from one source, about 95 % of the intervals hold h_mean of the source, along the live centroid."""
    held = []
    for seed in range(150):
        found = hidden(-1.0, seed=seed, drift=1.0, each=8)
        live = found.lie.live / np.linalg.norm(found.lie.live)
        low, high = found.intervals["live"]
        held.append(low <= live @ direction(DIM) / found.mean_norm <= high)
    assert 0.85 < np.mean(held) <= 0.99  # 12 windows: a percentile interval is a little short


def test_few_windows_give_no_interval_and_no_verdict():
    found = hidden(-1.0, windows=3)
    assert found.intervals == {} and lies(found, "dead") is None


def test_an_interval_that_holds_zero_is_no_direction():
    found = hidden(-1.0)
    wide = type(found)(found.where, found.lie, found.values, 1.0, 1.0, {"dead": (-0.9, 0.1)}, found.facts)
    assert lies(found, "dead") == "along -h_mean" and lies(wide, "dead") == "neither"


def test_a_small_cosine_is_chance_however_sure():
    found = hidden(-1.0)
    lie = replace(found.lie, cosines={"dead": -0.2})  # z = -1.6
    assert lies(replace(found, lie=lie, intervals={"dead": (-0.22, -0.18)}), "dead") == "neither"


def opened(folder, seeds=(1, 2, 3), **named):
    groups = group_toys(open_toys(save_runs(folder, seeds, **named)))
    subjects = [[open_subject(toy.checkpoint, dead="recorded") for toy in group.toys] for group in groups]
    told = [[toy_hidden(t, s) for t, s in zip(g.toys, f, strict=True)] for g, f in zip(groups, subjects, strict=True)]
    return groups, tuple(map(tuple, told))


@pytest.mark.parametrize(
    ("real", "toy", "answer"),
    [
        (-1.0, -1.0, "generalises"),
        (0.0, -1.0, "does not generalise"),
        (-1.0, 0.5, "the real model alone does"),
        (0.0, 0.5, "neither does"),
    ],
)
def test_the_claim(tmp_path, real, toy, answer):
    groups, told = opened(tmp_path, pull=toy)
    claim = Mechanism(hidden(real), told).claim(groups)
    assert claim is not None and claim.endswith(f": {answer}")
    assert f"toy A at step {LAST}: along -h_mean in {3 if toy < 0 else 0} of 3" in claim
    assert Mechanism(None, told).claim(groups) is None


def test_some_toys_do(tmp_path):
    first, second = opened(tmp_path / "a"), opened(tmp_path / "b", pull=0.5, lr=2.0)
    claim = Mechanism(hidden(-1.0), first[1] + second[1]).claim(first[0] + second[0])
    assert claim.endswith(": as in some toys")


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_answer_nothing(tmp_path, n):
    groups, told = opened(tmp_path / "a", range(1, n + 1))
    claim = Mechanism(hidden(-1.0), told).claim(groups)
    assert f"along -h_mean in {n} of {n}" in claim and claim.endswith(f": no answer: three seeds at least, here {n}")
    more, known = opened(tmp_path / "b", lr=2.0)  # a group that has them answers alone
    assert Mechanism(hidden(-1.0), told + known).claim(groups + more).endswith(": generalises")


def test_toys_without_h_mean_are_no_evidence(tmp_path):
    groups, told = opened(tmp_path, hidden=False)
    assert told == ((None, None, None),)
    assert Mechanism(hidden(-1.0), told).claim(groups).endswith(": no comparison")


def test_a_matrix_goes_with_the_forward_that_it_made(tmp_path):
    folder = save_run(tmp_path / "r")
    for step, at in ((0, 1), (1, 2), (LAST - 1, LAST), (LAST, LAST)):
        (toy,) = open_toys([f"{folder}@{step}"])
        found = toy_hidden(toy, open_subject(toy.checkpoint, dead="recorded"))
        assert found.where.endswith(f"before update {at}") and found.mean_norm == pytest.approx(at, rel=1e-6)


def test_what_a_recording_holds_is_told(tmp_path):
    (toy,) = open_toys([f"{save_run(tmp_path / 'r')}@1"])
    found = toy_hidden(toy, open_subject(toy.checkpoint, dead="recorded"))
    total, along, angle, resultant, norm = (toy.recording.frame(name, 2) for name in SPREAD)
    values = found.values
    assert (values["h_angle"], values["h_resultant"], found.norm) == (angle, resultant, norm)
    assert values["h_mean_share"] == pytest.approx(4 / (4 + total), rel=1e-6)
    assert values["h_spread_along"] == pytest.approx(along / ((total - along) / 15))
    assert values["dead_probability"] == pytest.approx(0.5) and values["h_dead_angle"] > 170
