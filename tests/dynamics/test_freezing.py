"""Planted freezing times come back exactly; what moves at the end is censored, never frozen."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from forensics.dynamics.freezing import STILL, analyse_freezing
from forensics.dynamics.onset import onset_by_radius, onset_by_share, quiet_stretches
from forensics.dynamics.survival import kaplan_meier
from forensics.errors import RecordingError
from tests.dynamics.made_hops import hopping, one_coordinate, recorded


def moving_at(*when, end):
    """Hops ``[end, tokens]``: each token moves at the steps given."""
    hops = np.zeros((end, len(when)), np.int64)
    for token, steps in enumerate(when):
        hops[np.array(steps, int) - 1, token] = 1
    return hops


def freezing(*when, end, **options):
    return analyse_freezing(hopping(one_coordinate(moving_at(*when, end=end)), range(len(when)), **options))


class TestLastMotion:
    def test_planted_times_come_back(self):
        still = freezing([1, 2, 3], [1, 9], [], [4, 12], end=12).stillness["exact"]
        assert still.last_motion.tolist() == [3, 9, 0, 12]
        assert still.first_motion.tolist() == [1, 1, 0, 4]

    def test_who_moves_in_the_last_interval_is_never_frozen(self):
        found = freezing([1], [1, 12], end=12)
        still = found.stillness["exact"]
        assert still.moving.tolist() == [False, True]
        assert (still.earliest.events, still.earliest.censored) == (1, 1)
        assert found.permanent is None
        assert {o.name: o.step for o in found.onsets}["permanent, exact"] is None
        assert found.tokens["fate"].tolist()[1] == "moving"

    def test_a_pause_that_ended_makes_shorter_stillness_undecided(self):
        # Token 0 pauses for 4 steps. At the end 1 is still for 4, 2 for 5, 3 for 12 and never moved.
        still = freezing([1, 6, 12], [8], [7], [], end=12).stillness["exact"]
        assert still.longest == (0, 6, 12) and still.longest_steps == 5
        assert still.fates == {"moving": 1, "undecided": 2, "settled": 1}
        assert still.lengths.tolist() == [4, 5] and still.counts.tolist() == [1, 1]

    def test_without_a_pause_that_ended_stillness_tells_nothing(self):
        still = freezing([1], [1, 2, 3], [], [1, 2, 3, 4], end=4).stillness["exact"]
        assert still.longest_steps == 0 and still.fates == {"moving": 1, "undecided": 3, "settled": 0}
        assert still.latest.events == 0 and still.latest.when(0.25) is None and still.earliest.events == 3
        # A single pause is enough to hold stillness against.
        assert freezing([1], [1, 3, 4], end=4).stillness["exact"].fates["settled"] == 1

    def test_both_curves(self):
        still = freezing([1, 6, 12], [8], [5], [2], end=12).stillness["exact"]
        assert still.fates == {"moving": 1, "undecided": 1, "settled": 2}
        assert [still.earliest.when(s) for s in (0.25, 0.5, 0.75)] == [2, 5, 8]
        assert [still.latest.when(s) for s in (0.25, 0.5, 0.75)] == [2, 5, None]

    def test_thaws_are_counted_where_they_happen(self):
        found = freezing([1, 2, 4], [1, 12], [5], end=14)
        thaws = found.stillness["exact"].thaws
        assert thaws.shape == (14, 3)
        assert np.argwhere(thaws).tolist() == [[3, 0], [11, 0], [11, 1]]
        assert found.series["dead_thaws_10"][12] == 1
        # Before its first motion a token is not thawed.
        assert found.stillness["exact"].counts.sum() == 2

    def test_steps_between_recorded_ones_count(self):
        found = freezing([1, 3], [1], end=4, steps=[0, 10, 20, 50, 60])
        still = found.stillness["exact"]
        assert still.last_motion.tolist() == [50, 10] and still.lengths.tolist() == [10]
        assert found.permanent == 60 and found.to_dict()["every_step"] is False

    @given(st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=5))
    @settings(max_examples=40, deadline=None)
    def test_pauses_are_those_of_a_plain_count(self, moving):
        when = [np.flatnonzero(row) + 1 for row in moving]
        still = freezing(*when, end=9).stillness["exact"]
        lengths = np.concatenate([np.diff(w) - 1 for w in when])
        assert dict(zip(still.lengths.tolist(), still.counts.tolist(), strict=True)) == {
            int(n): int(c) for n, c in zip(*np.unique(lengths[lengths > 0], return_counts=True), strict=True)
        }
        assert sum(still.fates.values()) == len(when)


class TestDefinitions:
    def test_a_zero_that_changes_its_sign_moves_by_its_bits_alone(self):
        words = np.full((3, 1, 4), 0x3C90, np.uint16)
        words[:, 0, 0] = [0, 0x8000, 0x8000]
        found = analyse_freezing(recorded(words, [0]))
        assert {name: found.unmoved[name][0] for name in STILL} == {"exact": 1, "bits": 0, "ulp": 1, "value": 1}
        assert found.quiet[0].after == 1

    def test_a_fixed_length_in_value_takes_small_hops_for_rest(self):
        # One ulp at 2^-6 is 1.2e-4; at 2^-8 it is 3e-5.
        words = np.array(
            [[[0x3C90] * 4, [0x3B90] * 4], [[0x3C91, 0x3C90, 0x3C90, 0x3C90], [0x3B91, 0x3B90, 0x3B90, 0x3B90]]]
        )
        found = analyse_freezing(recorded(words, [0, 1]))
        assert found.stillness["exact"].moving.tolist() == [True, True]
        assert found.stillness["value"].moving.tolist() == [True, False]

    @given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
    @settings(max_examples=100, deadline=None)
    def test_a_tenth_of_an_ulp_is_no_threshold_but_exact(self, before, after):
        words = np.array([[[before, 0x3C90]], [[after, 0x3C90]]], np.uint16)
        found = analyse_freezing(recorded(words, [0]))
        if (before & 0x7FFF) < 0x7F80 and (after & 0x7FFF) < 0x7F80:  # finite
            assert found.unmoved["ulp"][0] == found.unmoved["exact"][0]
        else:
            json.dumps(found.to_dict(), allow_nan=False)

    def test_a_nan_that_appears_is_motion(self):
        words = np.full((2, 1, 2), 0x3C90, np.uint16)
        words[1, 0, 0] = 0x7FC0
        found = analyse_freezing(recorded(words, [0]))
        assert all(share[0] == 0 for share in found.unmoved.values())


class TestOnset:
    def test_share_is_not_permanent(self):
        unmoved = np.array([0.0, 0.5, 0.95, 0.6, 0.95])
        found = onset_by_share(np.arange(6), unmoved)
        assert (found.step, found.held) == (3, False) and "60.0% at step 4" in found.note
        held = onset_by_share(np.arange(6), np.array([0, 0.9, 0.91, 1, 1]))
        assert (held.step, held.held) == (3, True)
        assert onset_by_share(np.arange(3), np.array([0.1, 0.9])).step is None

    @pytest.mark.parametrize("bad", [np.inf, np.nan])
    def test_a_radius_that_is_not_finite_has_no_onset(self, bad):
        found = onset_by_radius(np.arange(5), np.array([1, 2, 3, bad, bad]), after=None)
        assert found.step is None and "not finite" in found.note

    def test_radius_that_stops_before_the_search_is_an_artefact(self):
        radius = np.minimum(np.arange(200.0), 50)
        clause = onset_by_radius(np.arange(200), radius, after=100)
        assert clause.step == 101 and "clause" in clause.note and clause.held
        assert onset_by_radius(np.arange(200), radius, after=None).step == 51
        late = onset_by_radius(np.arange(200), np.minimum(np.arange(200.0), 150), after=100)
        assert late.step == 151 and not late.note

    def test_radius_rates_are_per_step(self):
        # 1 per step for 10 steps, then 0.5 in one interval of 100 steps: 0.005 a step is below 1 %.
        steps, radius = np.array([0, 5, 10, 110]), np.array([0, 5, 10, 10.5])
        assert onset_by_radius(steps, radius, after=None).step == 110
        assert onset_by_radius(steps, -radius, after=None).step is None

    def test_all_and_permanent(self):
        found = freezing([1, 2, 5], [1, 3, 9], end=12)
        onsets = {o.name: o for o in found.onsets}
        assert (onsets["all"].step, onsets["all"].held) == (4, False)
        assert onsets["permanent, exact"].step == found.permanent == 10
        assert [(q.after, q.until) for q in found.quiet] == [(3, 4), (5, 8), (9, 12)]
        assert found.quiet_ratio == 1.0

    def test_the_radius_of_the_dead_rows(self):
        found = freezing([1], [1, 2], [2, 3], end=3)
        words = 0x3C90 + np.array([0, 1, 1, 1])
        value = (words.astype(np.uint32) << 16).view(np.float32).astype(float)
        rest = value[0] ** 2 * 3
        assert found.radius[1] == pytest.approx((2 * np.sqrt(rest + value[1] ** 2) + np.sqrt(rest + value[0] ** 2)) / 3)

    def test_quiet_stretches(self):
        assert quiet_stretches(np.arange(4), np.array([1, 1, 1])) == ()
        assert [(q.after, q.until) for q in quiet_stretches(np.array([0, 2, 5, 9]), np.array([0, 3, 0]))] == [
            (0, 2),
            (5, 9),
        ]
        assert quiet_stretches(np.arange(3), np.array([0, 0]))[0].steps == 2


class TestSurvival:
    def test_by_hand(self):
        # 6 watched: 1 of 6 at 1, 2 of 5 at 2, one censored at 5 beside an event, 1 of 3 at 5.
        found = kaplan_meier(np.array([1, 2, 2, 5, 5, 7]), np.array([0, 0, 0, 0, 1, 1], bool))
        assert found.times.tolist() == [1, 2, 5]
        assert found.survival.tolist() == pytest.approx([5 / 6, 1 / 2, 1 / 3])
        assert (found.when(0.1), found.when(0.5), found.when(0.6), found.when(0.7)) == (1, 2, 5, None)
        assert found.at(np.array([0, 1, 4, 9])).tolist() == pytest.approx([1, 5 / 6, 1 / 2, 1 / 3])

    def test_nobody_and_nothing(self):
        assert kaplan_meier(np.array([3, 3]), np.array([True, True])).when(0.1) is None
        assert kaplan_meier(np.empty(0, int), np.empty(0, bool)).to_dict()["p50"] is None

    @given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=30))
    def test_is_scipys(self, given_times):
        times, censored = np.array([t for t, _ in given_times]), np.array([c for _, c in given_times])
        theirs = ecdf(CensoredData(uncensored=times[~censored], right=times[censored])).sf
        found = kaplan_meier(times, censored)
        np.testing.assert_allclose(found.at(theirs.quantiles), theirs.probabilities, atol=1e-12)


class TestWhole:
    def test_all_frozen(self):
        found = freezing([], [], end=3)
        assert found.permanent == 1 and found.stillness["exact"].fates["undecided"] == 2
        assert found.quiet_ratio is None
        json.dumps(found.to_dict(), allow_nan=False)

    def test_live_tokens_have_no_say(self):
        hops = moving_at([1, 2], [3, 4, 5], end=6)
        found = analyse_freezing(hopping(one_coordinate(hops), [0]))
        assert found.permanent == 3 and found.token_ids.tolist() == [0]

    def test_series_and_measures_are_whole(self):
        found = freezing([1, 2], [4], end=6)
        assert {values.shape for values in found.series.values()} == {(7,)}
        assert found.series["dead_survival_earliest"].tolist() == [1, 1, 0.5, 0.5, 0, 0, 0]
        assert {m.name: m.value for m in found.measures}["onset, permanent, exact"] == 5
        json.dumps(found.to_dict(), allow_nan=False)

    def test_no_dead_token_and_one_step_are_said(self):
        with pytest.raises(RecordingError, match="dead token"):
            analyse_freezing(hopping(one_coordinate([[1]]), []))
        with pytest.raises(RecordingError, match="one step"):
            analyse_freezing(hopping(np.zeros((0, 2, 4), int), [0]))
