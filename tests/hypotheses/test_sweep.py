"""The same records whoever simulates: this process, others here, a cluster; and what a cluster can lack."""

import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from forensics.errors import HypothesisError, SchedulerError
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Live
from forensics.hypotheses.discovery import load_hypothesis
from forensics.hypotheses.sweeps import cluster, reference
from forensics.hypotheses.sweeps.reference import Reference
from forensics.hypotheses.sweeps.simulation import draw, simulate_one
from forensics.hypotheses.sweeps.sweep import make_tasks, run_task, sweep
from tests.hypotheses.made_sweeps import make_reference, small_context, write_file

CONTEXT = small_context()
SEED = 7


def records(reference, **how):
    tasks = make_tasks({reference: range(60)}, SEED)
    found = [simulation for part in sweep(tasks, CONTEXT, **how) for simulation in part]
    assert len({simulation.index for simulation in found}) == len(found) == 60
    return sorted(found, key=lambda simulation: simulation.index)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    return make_reference(tmp_path_factory.mktemp("files"), pause=0.005)


@pytest.fixture(scope="module")
def alone(uneven):
    return records(uneven)


@pytest.fixture(scope="module")
def scheduler():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as running:
        yield running.scheduler_address


def test_one_that_raises_ends_itself_alone(alone):
    failed = [simulation for simulation in alone if simulation.error]
    assert 8 <= len(failed) <= 32 and {simulation.error for simulation in failed} == {"ValueError: one of three"}
    assert all(simulation.parameters["sigma"] > 0 and not simulation.observables for simulation in failed)
    assert all(simulation.observables["holes"] is not None for simulation in alone if not simulation.error)
    assert len({simulation.parameters["sigma"] for simulation in alone}) == 60


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_processes_give_the_same_records(uneven, alone, workers):
    assert records(uneven, workers=workers) == alone


def test_a_cluster_gives_the_same_records(uneven, alone, scheduler):
    assert records(uneven, scheduler=scheduler) == alone


def test_a_cluster_elsewhere_is_sent_the_file(tmp_path, alone, scheduler):
    reference = make_reference(tmp_path, pause=0.005)
    (tmp_path / "uneven.py").unlink()
    assert records(reference, scheduler=scheduler) == alone


def test_a_file_that_is_edited_on_the_way_does_not_mix(tmp_path):
    reference = make_reference(tmp_path)
    (tmp_path / "uneven.py").write_text("raise SystemError")
    (task,) = make_tasks({reference: range(3)}, SEED)
    assert [simulation.index for simulation in run_task(task, CONTEXT)] == [0, 1, 2]


def test_the_slow_go_first_and_singly(tmp_path, uneven):
    slow = make_reference(tmp_path, name="slowly", slow=True)
    tasks = make_tasks({uneven: range(30), slow: [4, 9]}, SEED)
    assert [(task.reference.name, task.indices) for task in tasks[:2]] == [("slowly", (4,)), ("slowly", (9,))]
    assert [len(task.indices) for task in tasks[2:]] == [25, 5]
    assert list(sweep([], CONTEXT, scheduler="tcp://127.0.0.1:1")) == []


def test_a_number_stands_for_every_word(tmp_path):
    hypothesis = make_reference(tmp_path, fails=0).hypothesis
    (first, cloud), (again, same) = (draw(hypothesis, CONTEXT, SEED, 4) for _ in range(2))
    assert first == again and np.array_equal(cloud.rows(), same.rows())
    assert draw(hypothesis, CONTEXT, SEED, 5)[0] != first != draw(hypothesis, CONTEXT, SEED + 1, 4)[0]
    # Parameters are drawn first, so that setting one to what would be drawn changes no row.
    assert np.array_equal(draw(hypothesis, CONTEXT, SEED, 4, first)[1].rows(), cloud.rows())
    still, moved = (draw(hypothesis, CONTEXT, SEED, 4, {"sigma": s})[1] for s in (0.0, 9 * CONTEXT.median_step))
    assert len(still.patterns) == 1 and len(moved.patterns) == 20


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("return None", r"HypothesisError: .*gives a Cloud of rows, found NoneType"),
        ("return Cloud.from_rows(context.anchor[None], context.format, 3)", r"\w+Error: "),
        ("raise RuntimeError('two\\nlines' + 999 * '!')", "RuntimeError: two lines!!!"),
        ("raise KeyboardInterrupt", KeyboardInterrupt),
        ("raise MemoryError", MemoryError),
    ],
)
def test_what_a_hypothesis_can_do(tmp_path, line, error):
    write_file(tmp_path)
    path = tmp_path / "uneven.py"
    path.write_text(path.read_text().replace("    time.sleep", f"    {line}\n    time.sleep"))
    hypothesis = Reference.of(str(path)).hypothesis
    if isinstance(error, str):
        found = simulate_one(hypothesis, CONTEXT, 0, 0)
        assert re.match(error, found.error) and len(found.error) <= 300
        assert found.parameters and not found.observables
        return
    with pytest.raises(error):
        simulate_one(hypothesis, CONTEXT, 0, 0)


def test_a_name_that_is_no_file_name(tmp_path):
    write_file(tmp_path)
    text = (tmp_path / "uneven.py").read_text().replace('name="uneven"', 'name="../up"')
    (tmp_path / "uneven.py").write_text(text)
    with pytest.raises(HypothesisError, match="no name for a hypothesis"):
        Reference.of(str(tmp_path / "uneven.py"))


def test_digests_tell_sources_apart(tmp_path, uneven):
    assert uneven.digest != make_reference(tmp_path, pause=0.5).digest
    assert Reference.of("singular").digest == Reference.of("snowball").digest != uneven.digest


def test_the_digest_is_over_all_code_that_a_simulation_runs_through(tmp_path, monkeypatch):
    for folder in reference.CODE:
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "inner" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(reference.forensics, "__file__", str(tmp_path / "__init__.py"))
    digests = {reference.code_digest.__wrapped__()}
    for folder in reference.CODE:
        (tmp_path / folder / "inner" / "a.py").write_text("x = 2\n")
        digests.add(reference.code_digest.__wrapped__())
    (tmp_path / reference.CODE[0] / "inner" / "a.py").rename(tmp_path / reference.CODE[0] / "inner" / "b.py")
    assert len(digests | {reference.code_digest.__wrapped__()}) == len(reference.CODE) + 2


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "", "tcp://127.0.0.1:99999"])
def test_no_scheduler(address, monkeypatch, uneven):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "CONNECT_S", 0.3)
    with pytest.raises(SchedulerError, match="no scheduler answers at") as refused:
        records(uneven, scheduler=address)
    assert "dask scheduler" in refused.value.hint and refused.value.exit_code == 4


def test_workers_of_another_version(scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "versions", lambda: {"forensics": "9.9"})
    with pytest.raises(SchedulerError, match=r"worker tcp://.* cannot run this: expected forensics 9\.9"):
        _check_with_true_workers(scheduler)
    monkeypatch.undo()
    cluster.check_scheduler(scheduler)


def _check_with_true_workers(address):
    """The workers answer for themselves: what this process claims must not travel to them."""
    from distributed import Client

    theirs = {"tcp://worker": {"forensics": "0.1.0", "numpy": np.__version__}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "run", lambda *a, **k: theirs)
        cluster.check_scheduler(address)


def test_what_a_simulator_is_told_cannot_be_written_to(tmp_path):
    """Here and in another process alike: a simulation must not change the next."""
    live = Live(np.zeros(16, np.float32), np.eye(16, dtype=np.float32))
    theirs = np.zeros(16, np.float32)
    told = replace(CONTEXT, live=live, centroid=theirs)
    for context in (told, pickle.loads(pickle.dumps(told))):
        arrays = [
            context.anchor,
            context.centroid,
            context.values,
            context.step,
            context.live.mean,
            context.live.factor,
        ]
        assert not any(array.flags.writeable for array in arrays)
        assert not context.told("mean").live.mean.flags.writeable
    theirs += 1  # who made it may
    write_file(tmp_path, fails=0)
    text = (tmp_path / "uneven.py").read_text().replace("    noise =", "    context.values[0] += 1\n    noise =")
    (tmp_path / "uneven.py").write_text(text)
    made = Reference.of(str(tmp_path / "uneven.py"))
    assert {simulate_one(made.hypothesis, CONTEXT, 0, i).error for i in range(3)} == {
        "ValueError: assignment destination is read-only"
    }


def test_what_is_told_of_the_live_rows():
    live = Live(np.zeros(16, np.float32), np.eye(16, dtype=np.float32))
    context = replace(CONTEXT, live=live)
    assert context.told("covariance").live.factor is not None
    assert context.told("mean").live.factor is None and context.told(None).live is None
    assert context.told(None) is context.told(None) and CONTEXT.told("mean") is CONTEXT


def test_where_the_dead_were_chosen_in_holes_only_rows_in_holes_are_measured(tmp_path):
    snowball = load_hypothesis("snowball")
    held = replace(CONTEXT, only_in_holes=True)
    for index in range(30):
        values = simulate_one(snowball, held, SEED, index).observables
        assert values["in_hole_share"] in (1, None) and values["singleton_share"] in (0, None)
        assert (values["holes"] == 0) == (values["in_hole_share"] is None)
    rows = [len(draw(snowball, held, SEED, 0, {"sigma": s * CONTEXT.median_step})[1]) for s in (1e-5, 0.05, 9)]
    assert rows[0] == 20 < rows[1] <= rows[2] == 320
    assert len(draw(replace(snowball, slow=True), held, SEED, 0, {"sigma": 9 * CONTEXT.median_step})[1]) == 20
    few = replace(held, vocab=30)
    assert len(draw(snowball, few, SEED, 0, {"sigma": 9 * CONTEXT.median_step})[1]) == 30


def test_in_holes_the_ids_are_those_of_the_rows_that_are_left():
    """Of four rows the first and the last are alike."""
    words = np.repeat(CONTEXT.anchor[None], 4, axis=0)
    words[1, 0] += np.uint16(1)
    words[2, 1] += np.uint16(1)
    cloud = Cloud.from_rows(words, CONTEXT.format, 16, np.array([3, 5, 7, 999]))
    two = replace(load_hypothesis("singular"), simulate=lambda *told: cloud, slow=True)
    found = simulate_one(two, replace(CONTEXT, only_in_holes=True), 0, 0).observables
    assert found["largest_share"] == 1 and found["tail_share"] == 0.5
    assert found["median_id"] == pytest.approx((501 + 0.5) / 1000)


SCHEDULER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    options = dict(threads_per_worker=1, processes=True, dashboard_address=None)
    with LocalCluster(n_workers=int(sys.argv[1]), **options) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def started(tmp_path, workers, **environment):
    (tmp_path / "start.py").write_text(SCHEDULER)
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "start.py"), str(workers)],
        env={**os.environ, **environment},
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "environment", "said"),
    [
        (0, {}, "has no workers"),
        (1, {"PYTHONPATH": ""}, "cannot run this: expected forensics .* found .*ModuleNotFound"),
    ],
)
def test_workers_that_are_none_or_lack_the_tool(tmp_path, monkeypatch, workers, environment, said):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "CONNECT_S", 1.0)
    with started(tmp_path, workers, **environment) as child:
        address = child.stdout.readline().strip()
        with pytest.raises(SchedulerError, match=said):
            cluster.check_scheduler(address)
        child.stdin.close()


@pytest.mark.slow
def test_a_scheduler_that_ends_on_the_way(tmp_path):
    pytest.importorskip("distributed")
    reference = make_reference(tmp_path, pause=0.4)
    with started(tmp_path, 2, PYTHONPATH=os.pathsep.join(sys.path)) as child:
        address = child.stdout.readline().strip()
        tasks = make_tasks({reference: range(1000)}, SEED)
        with pytest.raises(SchedulerError, match="lost its scheduler, or all of its workers") as lost:
            for _ in sweep(tasks, CONTEXT, scheduler=address):
                child.kill()
        assert "what was simulated before is kept" in lost.value.hint
        child.stdin.close()
