"""Phases end at their last occurrence; who moves in the last interval is in no last phase."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.dynamics.lifecycle import analyse_lifecycle
from forensics.errors import RecordingError
from tests.dynamics.made_hops import hopping, one_coordinate

# With D = 4: far 3 and more, midlife 2, late 1.
HOPS = np.array(
    [
        # through all, straight to late, back to early, never, late at the end, early at the end
        [5, 1, 1, 0, 5, 1],
        [2, 1, 2, 0, 1, 0],
        [2, 0, 4, 0, 0, 2],
        [1, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 5],
    ]
)


def lore(hops, **options):
    return analyse_lifecycle(hopping(one_coordinate(hops), range(np.shape(hops)[1]), **options)).schemes[0]


def test_boundaries_are_last_occurrences():
    found = lore(HOPS)
    assert found.ends.tolist() == [[1, 0, 3, 0, 1, 5], [3, 0, 3, 0, 1, 5], [4, 2, 4, 0, 5, 5]]


def test_no_backsies():
    found = lore(HOPS)
    assert found.phase_at(1).tolist() == [0, 2, 0, 3, 0, 0]
    assert found.phase_at(2).tolist() == [1, 2, 0, 3, 2, 0]
    assert found.phase_at(3).tolist() == [1, 3, 0, 3, 2, 0]
    assert found.phase_at(4).tolist() == [2, 3, 2, 3, 2, 0]


def test_who_moves_in_the_last_interval_is_never_frozen():
    found = lore(HOPS)
    assert found.phase_at(5).tolist() == [3, 3, 3, 3, 2, 0]
    assert found.populations[-1].tolist() == [1, 0, 1, 4]
    freeze = found.survival(2)
    assert (freeze.events, freeze.censored) == (4, 2)
    assert freeze.when(0.5) == 4 and freeze.when(0.75) is None


def test_all_moving_to_the_end_never_freeze():
    found = lore(np.ones((6, 3), int))
    assert found.survival(2).events == 0 and found.survival(2).when(0.01) is None
    assert found.populations[-1].tolist() == [0, 0, 3, 0]


@given(st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_populations_are_those_of_the_definition(hops):
    found = lore(hops)
    hops = np.array(hops)
    steps = np.arange(1, len(hops) + 1)
    last = [np.where(hits, steps[:, None], 0).max(axis=0) for hits in (hops > 2, hops == 2, hops == 1)]
    for i, step in enumerate(steps):
        phase = np.select([step <= each for each in last], [0, 1, 2], 3)
        np.testing.assert_array_equal(found.phase_at(step), phase)
        np.testing.assert_array_equal(found.populations[i], np.bincount(phase, minlength=4))
    np.testing.assert_array_equal(found.ends[-1], np.where(hops > 0, steps[:, None], 0).max(axis=0))


def test_durations_are_of_those_who_have_the_phase():
    found = lore(HOPS)
    midlife = found.durations(1)
    assert (midlife.events, midlife.censored) == (1, 0) and midlife.times.tolist() == [2]
    late = found.durations(2)  # 3 to 4, 0 to 2, 3 to 4, and 1 to beyond 5
    assert (late.events, late.censored) == (3, 1) and late.times.tolist() == [1, 2]


def test_five_phases():
    moves = np.zeros((5, 1, 4), np.int64)
    moves[:, 0, 0] = [3000, 5, 1, 1, 0]
    moves[2, 0, 1] = 1
    found = analyse_lifecycle(hopping(moves, [0], base=0x3C10)).schemes[1]
    assert [list(found.scheme.phases)[found.phase_at(step)[0]] for step in range(1, 6)] == [
        "hypernova",
        "superluminal",
        "spherical",
        "stumbling",
        "fimbulwinter",
    ]


def test_half_an_ulp_still_stumbles():
    found = analyse_lifecycle(hopping([[[-1, -1, 0, 0]], [[0, 0, 0, 0]]], [0], base=0x3C80)).schemes[1]
    assert found.ends[:, 0].tolist() == [0, 0, 0, 1]


def test_steps_are_those_recorded():
    found = lore(HOPS, steps=[10, 20, 30, 40, 50, 60])
    assert found.ends[2].tolist() == [50, 30, 50, 10, 60, 60]
    assert found.durations(2).times.tolist() == [10, 20]


def test_dead_tokens_alone_have_a_life_and_results_are_plain():
    found = analyse_lifecycle(hopping(one_coordinate(HOPS), [1, 4]))
    assert found.tokens["token_id"].tolist() == [1, 4] and found.tokens["last_late"].tolist() == [2, 5]
    np.testing.assert_array_equal(found.series["dead_phase_frozen"], [np.nan, 0, 0, 0.5, 0.5, 0.5])
    assert {m.name: m.value for m in found.measures}["late, left"] == 2
    json.dumps(found.to_dict(), allow_nan=False)


def test_no_dead_token_and_one_step_are_said():
    with pytest.raises(RecordingError, match="dead token"):
        analyse_lifecycle(hopping(one_coordinate(HOPS), []))
    with pytest.raises(RecordingError, match="one step"):
        analyse_lifecycle(hopping(np.zeros((0, 2, 4), int), [0]))


def test_a_phase_that_nobody_was_in_is_never_left():
    found = analyse_lifecycle(hopping(one_coordinate(np.array([[1], [1], [0]])), [0]))
    values = {m.name: m.value for m in found.measures}
    assert (values["early, left"], values["midlife, left"], values["late, left"]) == (None, None, 2)
