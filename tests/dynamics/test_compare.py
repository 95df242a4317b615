"""One table over runs: who is a group, what is noise, and what may be called a difference."""

import json

import numpy as np
import pytest
from scipy import stats

from forensics.dynamics.compare import Cell, Row, compare, difference_p, judge
from forensics.dynamics.equal_steps import EqualSteps
from forensics.dynamics.run import analyse
from tests.dynamics.made_runs import drifting


def runs(seeds, **changed):
    return [analyse(drifting(steps=21, seed=seed, name=f"s{seed}", **changed)) for seed in seeds]


@pytest.fixture(scope="module")
def slow():
    return runs(range(4))


@pytest.fixture(scope="module")
def fast():
    return runs(range(4), speed=1.0, lr=2.0)


def row(found, name, population="dead"):
    return next(row for row in found.rows if (row.name, row.population) == (name, population))


def test_groups_are_runs_that_differ_in_seed_alone(slow, fast):
    found = compare([slow[0], fast[0], *slow[1:], fast[1]])
    assert [(g.label, g.runs, g.seeds) for g in found.groups] == [
        ("A", ("s0", "s1", "s2", "s3"), (0, 1, 2, 3)),
        ("B", ("s0", "s1"), (0, 1)),
    ]
    assert [g.settings for g in found.groups] == [{"optimizer.lr": 1.0}, {"optimizer.lr": 2.0}]


def test_labels_threads_and_what_was_recorded_make_no_group():
    base = {"seed": 1, "model": {"dim": 4}, "name": "a", "threads": 1, "record": {"channels": ["W"], "every": "1"}}
    other = {**base, "seed": 2, "name": "b", "threads": 2, "record": {"channels": ["W", "loss"], "every": "1"}}
    coarser = {**other, "record": {"channels": ["W"], "every": "10"}}
    found = compare([analyse(drifting(9, config=config)) for config in (base, other, coarser)])
    assert [len(group.runs) for group in found.groups] == [2, 1]
    assert list(found.groups[1].settings) == ["record.every"]


def test_a_seed_counts_once(slow):
    found = compare([slow[0], slow[0], slow[1]])
    (group,) = found.groups
    assert group.runs == ("s0", "s1") and group.left_out == ("s0",)
    assert row(found, "path length").cells[0].n == 2


def test_means_and_spreads_are_over_seeds(slow):
    found = compare(slow)
    values = [run["drift"].live.path for run in slow]
    (cell,) = row(found, "path length", "live").cells
    assert cell.values == tuple(values) and cell.n == 4 and cell.verdict is None
    assert cell.mean == pytest.approx(np.mean(values)) and cell.sd == pytest.approx(np.std(values, ddof=1))
    assert found.tested == 0


def test_a_planted_difference_is_found_and_noise_is_not(slow, fast):
    found = compare([*slow, *fast])
    assert row(found, "path length").cells[1].verdict == "differs"
    assert row(found, "path length").cells[1].difference == pytest.approx(14, rel=0.02)
    null = compare([*slow, *runs(range(10, 14), lr=3.0)])
    assert all(cell.verdict != "differs" for each in null.rows for cell in each.cells)
    assert null.tested > 10


def test_one_seed_against_one_says_nothing(slow, fast):
    found = compare([slow[0], fast[0]])
    verdicts = {cell.verdict for each in found.rows for cell in each.cells[1:]}
    assert verdicts == {"one seed", None} and found.tested == 0
    assert row(found, "path length").cells[1].difference == pytest.approx(14, rel=0.02)


def test_equal_values_on_both_sides_have_no_spread(slow):
    found = compare([*slow[:2], *runs(range(2), lr=5.0)])
    assert row(found, "liftoff").cells[1].verdict in ("no spread", "within noise", "may differ", None)
    assert "no spread" in {cell.verdict for each in found.rows for cell in each.cells}


def test_p_is_welch_and_a_prediction_interval():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=5), rng.normal(1, 3, size=4)

    def cell(x):
        return Cell(tuple(x), float(np.mean(x)), float(np.std(x, ddof=1)) if len(x) > 1 else None, len(x))

    assert difference_p(cell(a), cell(b)) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert difference_p(cell(b), cell(a)) == difference_p(cell(a), cell(b))
    # One value against a sample is Student's two-sample test with the sample's own spread.
    assert difference_p(cell(a[:1]), cell(b)) == pytest.approx(stats.ttest_ind(a[:1], b).pvalue)


def test_chance_gives_small_p_as_often_as_it_says():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(400):
        a, b = (Cell((0.0,) * 3, float(x.mean()), float(x.std(ddof=1)), 3) for x in rng.normal(size=(2, 3)))
        p.append(difference_p(a, b))
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.08


def test_holm_stops_at_the_first_p_that_is_too_large():
    def judged(*p):
        cells = [Cell((0.0,), 0.0, 1.0, 3, None, 0.0, value) for value in p]
        rows = [Row("key", f"r{i}", "dead", "", "", (cell,)) for i, cell in enumerate(cells)]
        return [row.cells[0].verdict for row in judge(rows)]

    assert judged(0.04) == ["differs"]
    assert judged(0.04, 0.03) == ["may differ", "may differ"]  # 0.03 > 0.05 / 2
    assert judged(0.04, 0.02, 0.001) == ["differs"] * 3
    assert judged(0.001, 0.03, 0.049, 0.5) == ["differs", "may differ", "may differ", "within noise"]


def test_equal_steps(slow, fast):
    found = compare([*slow, *fast]).equal_steps
    assert found.steps.tolist() == [1, 2, 5, 10, 12, 20] and found.dims == (4, 4)
    np.testing.assert_allclose(found.ratio, [10 / found.steps, 20 / found.steps])
    np.testing.assert_allclose(found.angle_deg[0], 80 - found.steps)
    by_run, by_step, rest = found.shares
    logs = np.log(found.ratio)
    assert rest == pytest.approx(0, abs=1e-12) and by_run + by_step == pytest.approx(1)
    assert by_run == pytest.approx(np.log(2) ** 2 / 4 / logs.var())


@pytest.mark.parametrize("ratio", [np.ones((2, 3)), np.ones((1, 3)), np.array([[1.0, np.nan], [1, 2]])])
def test_no_shares_where_there_is_nothing_to_share(ratio):
    found = EqualSteps(np.arange(ratio.shape[1]), (4,) * len(ratio), ratio, ratio, ratio)
    assert found.shares is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_no_equal_steps_without_summaries(slow):
    assert compare([slow[0], analyse(drifting(21, seed=9, summaries=False))]).equal_steps is None


def test_the_table_is_plain_json(slow, fast):
    document = json.loads(json.dumps(compare([*slow, fast[0]]).to_dict(), allow_nan=False))
    assert [group["label"] for group in document["groups"]] == ["A", "B"]
    assert {"question", "name", "population", "unit", "definition", "groups"} == document["rows"][0].keys()
