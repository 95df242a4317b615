"""Planted births, merges, splits, joins and evaporations are found at their step; the partition is `scan`'s."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.black_holes import find_black_holes
from forensics.dynamics.formation import EVENTS, analyse_formation
from forensics.dynamics.lineage import Step
from forensics.errors import RecordingError
from forensics.recording import Channel, Recording
from tests.dynamics.made_hops import BASE, recorded


def formed(*partitions, dead=None, **options):
    """Rows are given by letter, a string a step: equal letters, equal rows."""
    words = np.array([[[BASE + ord(letter)] * 4 for letter in row] for row in partitions], np.uint16)
    dead = range(len(partitions[0])) if dead is None else dead
    return analyse_formation(recorded(words, dead, **options))


def changes(found):
    return [{name: int(n[i]) for name, n in found.changes.items() if n[i]} for i in range(len(found.steps) - 1)]


CASES = [
    ("abcd", "aacd", {"births": 1, "joins_dead": 2}),
    ("aacd", "aaad", {"joins_dead": 1}),
    ("aaad", "aacd", {"leaves_dead": 1}),
    ("aacd", "abcd", {"deaths": 1, "leaves_dead": 2}),
    ("aabb", "aaaa", {"merges": 1}),
    ("aaaa", "aabb", {"splits": 1}),
    ("aaab", "bbcc", {"splits": 1, "joins_dead": 1}),
    ("aabbcd", "aaaaab", {"merges": 1, "joins_dead": 1}),
    ("aabb", "ccdd", {}),  # the holes move, nobody leaves
    ("abab", "baba", {}),
    ("aabc", "bcaa", {"births": 1, "deaths": 1, "joins_dead": 2, "leaves_dead": 2}),
]


@pytest.mark.parametrize(("before", "after", "events"), CASES)
def test_an_event_is_counted_once(before, after, events):
    found = formed(before, after)
    assert changes(found) == [events]
    assert found.last_change == (1 if events else None)


def test_two_holes_that_swap_a_row_split_and_merge():
    assert changes(formed("aabb", "abab")) == [{"merges": 2, "splits": 2}]


def test_live_tokens_evaporate():
    found = formed("aaaa", "aaab", "aabc", dead=[0, 1])
    assert [c.get("leaves_live") for c in changes(found)] == [1, 1]
    assert found.counts["tokens_live"].tolist() == [2, 1, 0]
    assert found.counts["mixed"].tolist() == [1, 1, 0]
    assert found.counts["unique_dead"].tolist() == [1, 1, 1]
    assert found.counts["largest"].tolist() == [4, 3, 2]


def test_descent_of_the_final_holes():
    found = formed("abcdefgh", "aacdeegg", "aacdeeee", "aaaaeeee", "aaaaeegg", "aaaaeegg", dead=range(7))
    assert found.counts["holes"].tolist() == [0, 3, 2, 2, 3, 3]
    first, second, third = (hole.lineage for hole in found.final)
    assert (first.born, first.how, first.tokens, first.peak, first.merges) == (1, "birth", 4, 4, 0)
    assert (second.born, second.how, second.merges, second.splits, second.peak) == (1, "birth", 1, 1, 4)
    assert (third.born, third.how, third.parent, third.oldest) == (4, "split", second.id, 1)
    assert [(e.step, e.kind, e.lineage, e.others) for e in found.events] == [
        (2, "merge", second.id, (second.id + 1,)),
        (4, "split", second.id, (third.id,)),
    ]
    assert found.final[2].live_ids.tolist() == [7] and found.final[2].dead_ids.tolist() == [6]
    assert found.last_change == 4


def test_the_larger_part_goes_on():
    split = formed("aaaaa", "aabbb")
    assert [(h.lineage.how, h.lineage.tokens) for h in split.final] == [("initial", 3), ("split", 2)]
    merged = formed("aabbb", "ccccc").final[0].lineage
    assert (merged.how, merged.id, merged.merges) == ("initial", 0, 1)  # number 1 is the most populated
    both = formed("aaaaaabbb", "aaaaccbbc").final
    assert [(h.lineage.tokens, h.lineage.parent, h.lineage.merges) for h in both] == [
        (4, None, 0),
        (3, 0, 2),
        (2, None, 0),
    ]
    older = formed("abcddd", "aacddd", "ddaddd").final[0].lineage
    assert (older.born, older.oldest) == (0, 0)
    young = formed("aabcde", "aaffff", "ffffff").final[0].lineage
    assert (young.born, young.oldest, young.merges) == (1, 0, 1)


@given(st.lists(st.text("abcd", min_size=7, max_size=7), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_laws(rows):
    found = formed(*rows, dead=[0, 2, 3, 6])
    groups = [[[i for i, x in enumerate(row) if x == y] for y in sorted(set(row))] for row in rows]
    holes = [[g for g in step if len(g) > 1] for step in groups]
    assert found.counts["holes"].tolist() == [len(h) for h in holes]
    inside = [np.array([any(i in g for g in h) for i in range(7)]) for h in holes]
    n_inside = found.counts["tokens_dead"] + found.counts["tokens_live"]
    assert n_inside.tolist() == [int(i.sum()) for i in inside]
    joined = sum(found.changes[f"joins_{w}"] for w in ("dead", "live"))
    left = sum(found.changes[f"leaves_{w}"] for w in ("dead", "live"))
    np.testing.assert_array_equal(np.diff(n_inside), joined - left)
    for i, (old, new) in enumerate(pairwise(holes)):
        sources = [sum(bool(set(g) & set(o)) for o in old) for g in new]
        targets = [sum(bool(set(g) & set(n)) for n in new) for g in old]
        expected = (sources.count(0), targets.count(0), sum(n > 1 for n in sources), sum(n > 1 for n in targets))
        assert tuple(int(found.changes[name][i]) for name in ("births", "deaths", "merges", "splits")) == expected
    assert [h.lineage.tokens for h in found.final] == sorted((len(g) for g in holes[-1]), reverse=True)
    assert len({h.lineage.id for h in found.final}) == len(found.final)
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_partition_is_that_of_scan():
    rng = np.random.default_rng(1)
    words = BASE + rng.integers(0, 2, (5, 60, 3)).astype(np.uint16)
    recording = recorded(words, range(60))
    found = analyse_formation(recording)
    theirs = [find_black_holes(recording.embedding(step)) for step in range(5)]
    assert found.counts["holes"].tolist() == [len(h) for h in theirs]
    assert found.counts["largest"].tolist() == [h.populations[0] for h in theirs]
    ids = [np.sort(np.concatenate([h.dead_ids, h.live_ids])).tolist() for h in found.final]
    assert ids == [h.token_ids.tolist() for h in theirs[-1].holes]


def test_identity_is_over_bits():
    words = np.zeros((2, 2, 4), np.uint16)
    words[1, 0, 0] = 0x8000
    assert changes(analyse_formation(recorded(words, [0, 1]))) == [{"deaths": 1, "leaves_dead": 2}]


def test_pairs_of_partitions():
    change = Step.between(np.array([1, 1, 1, 2, 2, 0], np.int32), np.array([1, 1, 2, 2, 2, 2], np.int32))
    assert change.heirs() == {1: 1, 2: 2}
    assert change.parents.tolist()[1:] == [1, 2] and change.children.tolist()[1:] == [2, 1]


def test_tracked_tokens_keep_their_ids():
    found = formed("abcc", "aacc", dead=[5, 9], token_ids=[5, 7, 9, 11], steps=[3, 8])
    assert [h.dead_ids.tolist() + h.live_ids.tolist() for h in found.final] == [[5, 7], [9, 11]]
    assert found.last_change == 8 and found.final[0].to_dict()["first_token"] == 5


def test_one_step_and_none():
    found = formed("aab")
    assert found.counts["holes"].tolist() == [1] and all(len(found.changes[name]) == 0 for name in EVENTS)
    assert found.series["hole_births"].tolist() == pytest.approx([np.nan], nan_ok=True)
    json.dumps(found.to_dict(), allow_nan=False)
    channel = Channel("W", (2, 2), "uint16", "bfloat16", token_ids=[0, 1])
    with pytest.raises(RecordingError, match="no step"):
        analyse_formation(Recording.from_frames({}, [channel], [], vocab_size=2, dead_ids=[0]))


def test_no_hole_no_event():
    found = formed("abc", "def", "ghi")
    assert changes(found) == [{}, {}] and found.last_change is None and found.final == ()
    assert {m.name: m.value for m in found.measures}["holes, most"] == 0
