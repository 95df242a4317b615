"""Events of scripted clouds: each is dated to its step, and a resumed run dates them alike."""

import json

import numpy as np
import pytest
import torch

from forensics.toy.events import Events
from forensics.toy.figures import Figures
from tests.toy.made_steps import DEAD, DIM, VOCAB, LinearModel, cloud, made_corpus, moves

N = len(DEAD)


def matrix(dead_rows):
    weights = torch.zeros(VOCAB, DIM)
    weights[DEAD] = dead_rows
    return weights.bfloat16()


def events_of(matrices, corpus=None):
    corpus = corpus or made_corpus()
    events = Events(Figures(corpus))
    events.begin(matrices[0], LinearModel(matrices[0]))
    for step in moves(matrices, corpus):
        events.observe(step)
    return events.to_dict()


def at(distance):
    centre = torch.zeros(DIM)
    centre[0] = distance
    return matrix(cloud(centre, 1.0, N))


def test_liftoff_is_the_first_step_with_the_origin_outside():
    found = events_of([at(0.0), at(0.3), at(0.6), at(5.0), at(0.0), at(6.0)])
    assert found["liftoff"] == 3
    assert events_of([at(5.0), at(5.0)])["liftoff"] == 0
    assert events_of([at(0.0), at(0.1)])["liftoff"] is None
    straggler = at(5.0)
    straggler[DEAD[0]] = torch.tensor([-0.5] + [0.0] * (DIM - 1))  # one row beyond the origin keeps it in the sphere
    assert events_of([straggler, straggler])["liftoff"] is None


def still(before, n_moved):
    after = before.clone()
    after[DEAD[:n_moved], 0] += 1
    after[0] += 1  # a live token, which counts for nothing
    return after


@pytest.mark.parametrize(
    ("moved", "first", "held", "since", "last"),
    [
        ([6, 3, 1, 0, 0], 4, True, 4, 3),
        ([6, 0, 0, 2, 0], 2, False, 5, 4),
        ([6, 0, 0, 2, 1], 2, False, None, 5),
        ([6, 3, 1, 1, 2], None, None, None, 5),
        ([0, 0], 1, True, 1, 0),
    ],
)
def test_the_freeze(moved, first, held, since, last):
    matrices = [at(0.0)]
    for n_moved in moved:
        matrices.append(still(matrices[-1], n_moved))
    found = events_of(matrices)
    assert found["step"] == len(moved)
    assert (found["frozen_from"], found["frozen_held"], found["frozen_since"]) == (first, held, since)
    assert found["last_motion"] == last


def test_ninety_percent_itself_is_not_frozen():
    dead = np.arange(10, 20)
    corpus = made_corpus(dead=dead)
    before = torch.zeros(VOCAB, DIM).bfloat16()
    after = before.clone()
    after[dead[0]] = 1
    assert events_of([before, after], corpus)["frozen_from"] is None
    corpus = made_corpus(dead=np.arange(10, 21))
    found = events_of([before, after], corpus)
    assert (found["frozen_from"], found["last_motion"]) == (1, 1)


def test_a_zero_that_changes_its_sign_has_not_moved():
    before = torch.zeros(VOCAB, DIM).bfloat16()
    assert events_of([before, -before])["last_motion"] == 0


def test_black_holes_are_counted_at_the_end_and_dated_at_the_first():
    separate, joined = at(0.0), at(0.0)
    joined[DEAD[[2, 5]]] = joined[DEAD[0]].clone()
    found = events_of([separate, separate, joined, separate])
    assert (found["first_hole"], found["holes"], found["hole_tokens"]) == (2, 0, 0)
    found = events_of([separate, joined])
    assert (found["first_hole"], found["holes"], found["hole_tokens"]) == (1, 1, 3)
    assert events_of([joined, joined])["first_hole"] == 0
    assert events_of([separate, separate])["first_hole"] is None  # live rows are all zero here


def test_no_dead_tokens_no_events():
    found = events_of([at(5.0), at(5.0)], made_corpus(dead=np.empty(0, int)))
    assert found["dead"] == 0
    for name in ("liftoff", "frozen_from", "frozen_held", "last_motion", "first_hole"):
        assert found[name] is None, name


@pytest.mark.parametrize("cut", [0, 1, 2, 4])
def test_a_resumed_run_dates_them_alike(cut):
    matrices = [at(0.0), at(0.2), at(4.0)]
    matrices += [still(matrices[-1], 0), still(matrices[-1], 2), still(matrices[-1], 2)]
    matrices[-1][DEAD[1]] = matrices[-1][DEAD[0]].clone()
    corpus = made_corpus()
    first, steps = Events(Figures(corpus)), list(moves(matrices, corpus))
    first.begin(matrices[0], LinearModel(matrices[0]))
    for step in steps[:cut]:
        first.observe(step)
    second = Events(Figures(corpus))
    second.restore(json.loads(json.dumps(first.state())))
    for step in steps[cut:]:
        second.observe(step)
    assert second.to_dict() == events_of(matrices)
    assert json.loads(json.dumps(second.to_dict())) == second.to_dict()
