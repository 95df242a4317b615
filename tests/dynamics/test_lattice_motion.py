"""Planted hops are put into the regime they belong to; lengths agree with the lattice's own, slower functions."""

import json

import numpy as np
import pytest

from forensics.dynamics import moves as moves_module
from forensics.dynamics.lattice_motion import REGIMES, analyse_lattice_motion, classify_moves
from forensics.dynamics.moves import measure_moves
from forensics.errors import RecordingError
from forensics.formats import BFLOAT16, FORMATS, NAN
from forensics.lattice.coordinates import ulp_displacement
from forensics.recording import Channel, Recording
from tests.dynamics.made_hops import BASE, hopping, one_coordinate, recorded

POWER = 0x3C80  # 2^-6: the value below is half an ulp away

PLANTED = [
    (BASE, [0, 0, 0, 0], "frozen"),
    (BASE, [1, 0, 0, 0], "hop"),
    (BASE, [0, 0, -1, 0], "hop"),
    (POWER, [-1, 0, 0, 0], "hop"),
    (BASE, [1, 0, -1, 0], "adjacent"),
    (BASE, [1, 1, 1, 1], "adjacent"),  # L2 = 2 = sqrt(D): not far
    (POWER, [-2, 0, 0, 0], "adjacent"),  # one ulp, two steps
    (BASE, [2, 0, 0, 0], "several"),  # L2 = 2: not far
    (POWER, [-3, 0, 0, 0], "several"),  # 1.5 ulp
    (BASE, [2, 1, 0, 0], "far"),
    (BASE, [3, 0, 0, 0], "far"),
    (0x7F7F, [1, 0, 0, 0], "far"),  # to infinity
    (0x0000, [1, 0, 0, 0], "hop"),
]


@pytest.mark.parametrize(("base", "move", "regime"), PLANTED)
def test_a_planted_move_is_in_its_regime(base, move, regime):
    found = analyse_lattice_motion(hopping([[move]], [0], base=base))
    assert [name for name, n in zip(REGIMES, found.dead.regimes[0], strict=True) if n] == [regime]
    assert found.live is None


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
def test_lengths_are_the_lattices_own(fmt, monkeypatch):
    monkeypatch.setattr(moves_module, "BLOCK_NUMBERS", 64)
    rng = np.random.default_rng(3)
    words = rng.integers(0, 1 << fmt.bits, (2, 50, 8), dtype=np.uint64).astype(fmt.word_dtype)
    words = np.where(fmt.classify(words) >= NAN - 1, fmt.word_dtype.type(0), words)
    words[1, 10:30] = np.where(rng.random((20, 8)) < 0.5, words[0, 10:30], words[1, 10:30])
    rows = np.arange(3, 50)
    found = measure_moves(fmt, words[0], words[1], rows)
    ulps = np.abs(ulp_displacement(fmt, words[0], words[1]))[rows]
    ranks = np.abs(fmt.ordinals(words[1]) - fmt.ordinals(words[0]))[rows]
    values = (fmt.widen(words[1]).astype(float) - fmt.widen(words[0]))[rows]
    np.testing.assert_allclose(found.l2, np.linalg.norm(ulps, axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.value, np.linalg.norm(values, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(found.linf, ulps.max(axis=1))
    np.testing.assert_allclose(found.l1, ulps.sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(found.ordinals, ranks.sum(axis=1))
    np.testing.assert_array_equal(found.coordinates, (ranks > 0).sum(axis=1))
    np.testing.assert_array_equal(found.crossing, (ulps != ranks).sum(axis=1))
    np.testing.assert_array_equal(found.spread(found.ordinals)[rows], found.ordinals)
    assert not found.spread(found.ordinals)[:3].any()


def test_a_value_too_small_for_its_square_still_moves():
    # 2^-120 times one ulp: its square is no float32, and nearly no float64.
    found = measure_moves(
        BFLOAT16, np.full((1, 4), 0x0390, np.uint16), np.full((1, 4), 0x0391, np.uint16), np.arange(1)
    )
    assert found.value[0] > 0 and found.ordinals[0] == 4


def test_a_zero_that_changes_its_sign_does_not_move():
    found = measure_moves(BFLOAT16, np.zeros((1, 4), np.uint16), np.full((1, 4), 0x8000, np.uint16), np.arange(1))
    assert REGIMES[classify_moves(found)[0]] == "frozen"
    assert not found.moving[0] and found.coordinates[0] == 0


def test_a_row_that_becomes_nan_is_far_and_breaks_nothing():
    words = np.full((4, 2, 4), BASE, np.uint16)
    words[2:, 0, 1] = 0x7FC1
    words[3, 0, 1] = 0x7FC2
    found = analyse_lattice_motion(recorded(words, [0, 1]))
    np.testing.assert_array_equal(found.dead.share("far"), [0, 0.5, 0.5])
    json.dumps(found.to_dict(), allow_nan=False)


class TestCensus:
    # Five dead tokens and one live, four intervals; the live one runs all the time.
    HOPS = np.array([[9, 2, 1, 0, 0, 50], [2, 1, 1, 0, 0, 50], [1, 1, 0, 0, 0, 50], [0, 1, 0, 0, 1, 50]])

    def found(self, **options):
        return analyse_lattice_motion(hopping(one_coordinate(self.HOPS), range(5), **options))

    def test_counts_each_regime_at_each_step(self):
        dead = self.found().dead
        assert dead.tokens == 5
        assert dead.regimes.tolist() == [[1, 1, 0, 1, 2], [0, 1, 0, 2, 2], [0, 0, 0, 2, 3], [0, 0, 0, 2, 3]]
        assert self.found().live.regimes[:, 0].tolist() == [1, 1, 1, 1]

    def test_lengths_are_quantiles_over_all_tokens(self):
        dead = self.found().dead
        assert dead.lengths["l1_ordinals"][0].tolist() == pytest.approx([1, np.quantile([9, 2, 1, 0, 0], 0.9), 9])
        assert dead.lengths["l2_ulp"][:, 2].tolist() == [9, 2, 1, 1]
        assert dead.lengths["linf_ulp"][:, 0].tolist() == [1, 1, 0, 0]
        assert dead.coordinates.tolist() == [3 / 20, 3 / 20, 2 / 20, 2 / 20]

    def test_crossings_are_of_moved_coordinates(self):
        found = self.found().live  # 0x3C90 + 50 stays in the binade of 2^-6, the next 50 leave it for good
        assert found.crossing.tolist() == [0, 0, 1, 0]
        two = analyse_lattice_motion(hopping([[[1, -20, 0, 0], [0, 1, 1, 0]]], [0, 1]))  # -20 leaves the binade
        assert two.dead.crossing.tolist() == [1 / 4] and two.dead.coordinates.tolist() == [4 / 8]
        still = analyse_lattice_motion(hopping(one_coordinate([[0]]), [0]))
        assert np.isnan(still.dead.crossing[0]) and still.measures[-1].value is None

    def test_series_stand_at_the_end_of_their_interval(self):
        found = self.found(steps=[0, 1, 2, 10, 20])
        assert found.intervals.tolist() == [1, 1, 8, 10]
        assert found.to_dict()["every_step"] is False
        np.testing.assert_array_equal(found.series["dead_hop"], [np.nan, 0.2, 0.4, 0.4, 0.4])
        measures = {(m.name, m.population): m.value for m in found.measures}
        assert [measures[f"last {r}", "dead"] for r in REGIMES[:-1]] == [1, 2, None, 20]
        assert measures["unmoved in the last interval", "dead"] == pytest.approx(0.6)
        json.dumps(found.to_dict(), allow_nan=False)

    def test_only_dead_tokens_recorded(self):
        found = analyse_lattice_motion(hopping(one_coordinate(self.HOPS), range(20, 26), token_ids=range(20, 26)))
        assert found.live is None and found.dead.tokens == 6


def test_no_dead_token():
    assert analyse_lattice_motion(hopping(one_coordinate([[1]]), [])).dead is None


@pytest.mark.parametrize(
    ("channel", "frames", "says"),
    [
        (Channel("loss", (), "float64"), [(1, {"loss": 1.0})], "--record W"),
        (Channel("W", (2, 2), "float32", token_ids=[0, 1]), [], "no rows of words"),
        (
            Channel("W", (2, 2), "uint16", "bfloat16", token_ids=[0, 1]),
            [(0, {"W": np.zeros((2, 2), "u2")})],
            "one step",
        ),
    ],
)
def test_what_cannot_be_asked_is_said(channel, frames, says):
    recording = Recording.from_frames(
        {}, [channel], [(s, {k: np.asarray(v) for k, v in f.items()}) for s, f in frames], vocab_size=2, dead_ids=[0]
    )
    with pytest.raises(RecordingError, match=says):
        analyse_lattice_motion(recording)
