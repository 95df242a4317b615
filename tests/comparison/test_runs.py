"""Which recordings are opened at which steps, and which are one group."""

import pytest

from forensics.comparison.runs import group_toys, open_toys
from forensics.errors import ComparisonError, ForensicsError, RecordingError, SourceError
from tests.comparison.made import DEAD, LAST, save_run, save_runs


def test_runs_that_differ_in_seed_alone_are_a_group(tmp_path):
    folders = save_runs(tmp_path, (1, 2), lr=1.0) + save_runs(tmp_path, (1,), lr=2.0)
    again = save_run(tmp_path / "again", 2)
    groups = group_toys(open_toys([*folders, again]))
    assert [(g.label, g.step, [t.seed for t in g.toys]) for g in groups] == [("A", LAST, [1, 2]), ("B", LAST, [1])]
    assert groups[0].left_out == ("again",) and groups[1].left_out == ()
    assert [dict(g.settings) for g in groups] == [{"optimizer.lr": 1.0}, {"optimizer.lr": 2.0}]
    assert groups[0].to_dict()["dead"] == [len(DEAD)] * 2


def test_steps(tmp_path):
    first, second = save_runs(tmp_path, (1, 2))
    toys = open_toys([f"run:{first}@1", second], at=(2, 3))
    assert [toy.step for toy in toys] == [1, 2, 3]
    assert [str(toy.checkpoint.source) for toy in toys] == [f"run:1-{s}" for s in ("1 @ 1", "2 @ 2", "2 @ 3")]
    assert [(g.label, g.step) for g in group_toys(toys)] == [("A", 1), ("A", 2), ("A", 3)]
    assert open_toys([first])[0].step == LAST


def test_the_dead_are_the_recordings(tmp_path):
    (toy,) = open_toys([save_run(tmp_path / "r")])
    assert (toy.checkpoint.dead_ids == DEAD).all()


def test_a_folder_with_an_at(tmp_path):
    folder = save_run(tmp_path / "run@3")
    assert open_toys([folder])[0].step == LAST and open_toys([f"{folder}@2"])[0].step == 2


def test_what_is_no_run(tmp_path):
    folder = save_run(tmp_path / "r")
    nobody = save_run(tmp_path / "n", dead=(), hidden=False)
    for source, error, said in (
        ("run:", SourceError, "empty RUN"),
        (f"{folder}@x", SourceError, "not a step"),
        (f"{folder}@99", RecordingError, "99"),
        (tmp_path, RecordingError, "."),
        ("x" * 5000, ForensicsError, "."),
        ("a\0b", ForensicsError, "."),
        (nobody, ComparisonError, "no dead tokens"),
    ):
        with pytest.raises(error, match=said):
            open_toys([source])
    with pytest.raises(ComparisonError, match="nothing to compare"):
        open_toys([])
