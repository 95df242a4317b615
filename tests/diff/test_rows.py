"""Every state of a row, planted in every format; the same figures from an independent reading; the laws of a diff."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forensics.diff import STATES, Pairing, claim, diff_embeddings, pair_by_id, rows
from forensics.diff.rows import CHANGED, EQUAL, MOVED, ROUNDED, UNCHANGED
from forensics.embedding import Embedding
from forensics.errors import EmbeddingError
from forensics.formats import BFLOAT16, FLOAT16, FLOAT32, FORMATS, BlockFormat

Q8_0 = BlockFormat("Q8_0", 8, 32, 34)
DIM = 6

each_format = pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)


def embed(fmt, words):
    words = np.ascontiguousarray(words, fmt.word_dtype)
    return Embedding(words.view(np.uint8), fmt, words.shape[1])


def changes(a, b, within=1, pairing=None):
    return diff_embeddings(a, b, within=within, pairing=pairing).rows


def from_steps(fmt, *ordinals):
    return fmt.words_of(np.array(ordinals))


def planted(fmt):
    """Rows of A and of B, with the state and the steps of each pair at ``within=1``."""
    top = fmt.largest_finite
    nan, other_nan = top + 2 if fmt.has_infinity else top + 1, fmt.magnitude_mask | 1 << (fmt.bits - 1)
    base = from_steps(fmt, 5, -7, 9, 20, -30, 33)
    minus_zero = 1 << (fmt.bits - 1)

    def row(**at):
        out = base.copy()
        for place, word in at.items():
            out[int(place[1:])] = word
        return out

    one = from_steps(fmt, 1, -1, 4, 24, -33, 34)
    cases = {
        "unchanged": (base, base, UNCHANGED, 0),
        "one step up": (base, row(d0=one[2] + 2), MOVED, 1),
        "one step on each": (base, from_steps(fmt, 6, -8, 8, 21, -29, 32), MOVED, 1),
        "three steps": (base, row(d4=one[4]), CHANGED, 3),
        "across zero": (row(d0=one[1]), row(d0=one[0]), CHANGED, 2),
        "from minus zero": (row(d0=minus_zero), row(d0=one[0]), MOVED, 1),
        "sign of zero": (row(d2=minus_zero), row(d2=0), EQUAL, 0),
        "payload of a nan": (row(d1=nan), row(d1=other_nan), CHANGED, -1),
        "the same nan": (row(d1=nan), row(d1=nan), UNCHANGED, 0),
        "becomes zero": (base, base * 0, CHANGED, 33),
        "was zero": (base * 0 + minus_zero, base, CHANGED, 33),
        "zeros of two signs": (base * 0 + minus_zero, base * 0, EQUAL, 0),
        "becomes nan": (base, row(d5=nan), CHANGED, -1),
        "was nan": (row(d5=nan), base, CHANGED, -1),
        "zero to nan": (base * 0, row(d3=nan), CHANGED, -1),
        "nan to zero": (row(d3=nan), base * 0, CHANGED, -1),
        "from end to end": (row(d3=top), row(d3=top | minus_zero), CHANGED, 2 * top),
    }
    if fmt.has_infinity:
        cases["becomes infinite"] = (row(d3=top), row(d3=top + 1), MOVED, 1)
        cases["infinite both"] = (row(d3=top + 1), row(d3=(top + 1) | minus_zero), CHANGED, 2 * top + 2)
    return cases


EVENTS = {
    "became_zero": {"becomes zero", "nan to zero"},
    "was_zero": {"was zero", "zero to nan"},
    "became_non_finite": {"becomes nan", "becomes infinite", "zero to nan"},
    "was_non_finite": {"was nan", "nan to zero"},
}
NO_DISTANCE = {"payload of a nan", "infinite both"} | EVENTS["became_non_finite"] | EVENTS["was_non_finite"]


@each_format
def test_every_state_is_recovered(fmt):
    cases = planted(fmt)
    a, b = (embed(fmt, np.array([case[side] for case in cases.values()])) for side in (0, 1))
    found = changes(a, b)
    told = {name: (STATES[s], n) for name, s, n in zip(cases, found.state, found.steps.tolist(), strict=True)}
    assert told == {name: (STATES[state], steps) for name, (_, _, state, steps) in cases.items()}
    for event, names in EVENTS.items():
        assert {name for name, yes in zip(cases, getattr(found, event), strict=True) if yes} == names & set(cases)
    assert {name for name, d in zip(cases, found.distance, strict=True) if np.isnan(d)} == NO_DISTANCE & set(cases)


@pytest.mark.parametrize(("within", "moved"), [(0, []), (1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (65_536, [1, 2, 3, 4])])
def test_within_is_counted_on_the_largest_step(within, moved):
    a = from_steps(BFLOAT16, *range(-2, 3))[None].repeat(5, 0)
    b = np.array([from_steps(BFLOAT16, -2, -1 + k, 0, 1 + k, 2) for k in (0, 1, 2, 3, 4)])
    found = changes(embed(BFLOAT16, a), embed(BFLOAT16, b), within)
    assert np.flatnonzero(found.state == MOVED).tolist() == moved
    assert found.steps.tolist() == [0, 1, 2, 3, 4] and found.state[0] == UNCHANGED


def test_steps_fill_the_widest_words():
    a, b = (embed(FLOAT32, np.array([[w, 5]], np.uint32)) for w in (0x7F800000, 0xFF800000))
    assert changes(a, b).steps.tolist() == [2 * 0x7F800000]


def read_pair(fmt, a, b, within):
    """State, steps and distance of one pair, one definition at a time."""
    if a.tobytes() == b.tobytes():
        return UNCHANGED, 0, 0.0
    values = [fmt.widen(x).astype(float) for x in (a, b)]
    steps = -1
    if not np.isnan(values).any():
        steps = int(np.abs(fmt.ordinals(a) - fmt.ordinals(b)).max())
    state = {-1: CHANGED, 0: EQUAL}.get(steps, MOVED if steps <= within else CHANGED)
    finite = np.isfinite(values).all()
    return state, steps, float(np.sqrt(((values[0] - values[1]) ** 2).sum())) if finite else None


NIBBLES = st.sampled_from([0, 1, 2, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF])


def stored_pairs(width):
    shape = st.tuples(st.integers(1, 12), st.just(4 * width))
    return shape.flatmap(
        lambda s: st.tuples(arrays(np.uint8, s, elements=NIBBLES), arrays(np.uint8, s, elements=NIBBLES))
    )


@each_format
def test_against_an_independent_reading(fmt):
    @given(stored_pairs(fmt.itemsize), st.integers(0, 300))
    def check(pair, within):
        a, b = (Embedding(x, fmt, 4) for x in pair)
        found = changes(a, b, within)
        with np.errstate(invalid="ignore"):  # signalling nans are widened by the reader, too
            expected = [read_pair(fmt, x, y, within) for x, y in zip(a.words, b.words, strict=True)]
        assert found.state.tolist() == [state for state, _, _ in expected]
        assert found.steps.tolist() == [steps for _, steps, _ in expected]
        for d, (_, _, away) in zip(found.distance, expected, strict=True):
            assert np.isnan(d) if away is None else d == pytest.approx(away, rel=1e-12)

    check()


@given(stored_pairs(2), st.integers(0, 9), st.integers(0, 6))
def test_a_matrix_does_not_differ_from_itself(pair, within, extra):
    for fmt in (BFLOAT16, FLOAT16):
        a = Embedding(pair[0], fmt, 4)
        diff = diff_embeddings(a, Embedding(pair[0].copy(), fmt, 4), within=within)
        assert not diff.differs and diff.counts["unchanged"] == a.n_rows and diff.steps_histogram == []
        assert diff.scaling is None and {hole.fate for hole in diff.fates} <= {"kept"}
        assert not diff.rows.distance.any() and not (diff.hole_changes > 1).any()


# Rows from a few bytes, so that there are holes that form, fall apart and swap tokens.
FEW = arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.just(2)), elements=st.sampled_from([0, 1, 0x80, 0x7D])
)  # 0x7D is nan
MIRROR = {"became_zero": "was_zero", "became_non_finite": "was_non_finite"}


@given(FEW, FEW)
@example(np.zeros((1, 2), np.uint8), np.full((1, 2), 0x7D, np.uint8))
def test_the_other_way_round_is_the_mirror(first, second):
    a, b = (Embedding(x, FORMATS["float8_e5m2"], 2) for x in (first, second))
    there, back = diff_embeddings(a, b), diff_embeddings(b, a)
    counts = back.counts
    counts["removed"], counts["added"] = counts["added"], counts["removed"]
    assert there.counts == counts and there.differs == back.differs
    for name in ("state", "steps", "distance"):
        assert np.array_equal(getattr(there.rows, name), getattr(back.rows, name), equal_nan=name == "distance")
    for name, mirrored in MIRROR.items():
        assert getattr(there.rows, name).tolist() == getattr(back.rows, mirrored).tolist()
        assert getattr(back.rows, name).tolist() == getattr(there.rows, mirrored).tolist()
    swap = np.array([0, 1, 3, 2, 4])  # joined and left change places
    assert there.hole_changes.tolist() == swap[back.hole_changes].tolist()
    assert there.fates == back.origins and there.origins == back.fates
    assert (there.fate_counts()["new"], there.fate_counts()["kept"]) == (
        back.fate_counts()["dissolved"], back.fate_counts()["kept"]
    )  # fmt: skip


@pytest.mark.parametrize("narrow", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_another_format_is_compared_by_value(narrow):
    fmt = FORMATS[narrow]
    values = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    stored = fmt.narrow(values)
    wide = np.array([fmt.widen(stored[0]), values[1], values[2], values[3] * 2, values[4]])
    wide[2, 7] *= 1.5
    wide[4, 3] = np.nan
    stored[4, 3] = fmt.narrow(np.float32(np.nan))
    for pair in ((Embedding.from_array(wide), embed(fmt, stored)), (embed(fmt, stored), Embedding.from_array(wide))):
        diff = diff_embeddings(*pair)
        assert [STATES[s] for s in diff.rows.state] == [
            "equal values", "equal after rounding", "changed", "changed", "changed",
        ]  # fmt: skip
        assert diff.rows.steps.tolist() == [-1] * 5 and not diff.has_steps and diff.to_dict()["steps"] is None
        assert diff.differing.tolist() == [False, True, True, True, True]
        assert diff.rows.distance[0] == 0 and np.isnan(diff.rows.distance[4])
        assert diff.rows.distance[1] == pytest.approx(np.linalg.norm(fmt.widen(stored[1]) - values[1]), rel=1e-6)


def test_a_converted_checkpoint_does_not_differ():
    half = np.random.default_rng(1).standard_normal((9, 8)).astype(np.float16)
    half[2] = -0.0
    assert not diff_embeddings(Embedding.from_array(half), Embedding.from_array(half.astype(np.float32))).differs
    assert diff_embeddings(Embedding.from_array(half), Embedding.from_array(half + np.float16(0))).differs  # bits


def test_two_short_formats_round_one_way_or_the_other():
    values = np.float32([[1 + 2**-9, 3, 5], [2**-20, 3, 5], [1 + 2**-9, 2**-30, 5]])
    sixteen, brain = FLOAT16.narrow(values), BFLOAT16.narrow(values)
    found = changes(embed(FLOAT16, sixteen), embed(BFLOAT16, brain))
    # The last lost digits in one format and range in the other: neither is the other rounded.
    assert found.state.tolist() == [ROUNDED, EQUAL, CHANGED]


def blocks(codes, scales):
    out = np.empty((len(codes), 34), np.uint8)
    out[:, :2] = np.array(scales, np.float16)[:, None].view(np.uint8)
    out[:, 2:] = np.array(codes, np.int8).view(np.uint8)
    return Embedding(out, Q8_0, 32)


def test_blocks_are_compared_by_bytes_then_by_value():
    codes = np.random.default_rng(0).integers(-60, 60, (4, 32))
    codes[2] *= 2
    other = codes.copy()
    other[1, 5] += 3
    other[2] //= 2
    a, b = blocks(codes, [1, 1, 1, 1]), blocks(other, [1, 1, 2, 0])
    diff = diff_embeddings(a, b)
    assert [STATES[s] for s in diff.rows.state] == ["unchanged", "changed", "equal values", "changed"]
    assert diff.rows.distance[:3].tolist() == [0, 3, 0] and diff.rows.steps.tolist() == [-1] * 4
    assert diff.rows.became_zero.tolist() == [False] * 3 + [True] and diff.differing.tolist() == [False] + [True] * 3


def test_blocks_against_floats_by_value_alone():
    a = blocks(np.random.default_rng(0).integers(-60, 60, (3, 32)), [1, 0.5, 0.3])
    values = a.values().copy()
    values[1] += np.float32(1e-3)
    values[2, 0] = np.inf
    diff = diff_embeddings(a, Embedding.from_array(values))
    assert diff.rows.state.tolist() == [EQUAL, CHANGED, CHANGED]
    assert diff.rows.distance[1] == pytest.approx(1e-3 * np.sqrt(32), rel=1e-3)


def test_other_dims_are_refused():
    a, b = (Embedding.from_array(np.ones((3, dim), np.float32), tensor=f"t{dim}") for dim in (4, 5))
    with pytest.raises(EmbeddingError, match=r"t4 has rows of 4 numbers, t5 of 5: these are not the same model"):
        diff_embeddings(a, b)


@pytest.mark.parametrize("match", ["id", "shuffled"])
def test_blocks_of_pairs_make_one_result(match, monkeypatch):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((700, 7)).astype(np.float16)
    b = a.copy()
    b[rng.random(700) < 0.3] *= np.float16(1.01)
    order = np.arange(700) if match == "id" else rng.permutation(700)
    pairing = Pairing("piece", np.arange(700), np.argsort(order), np.empty(0, int), np.empty(0, int))
    matrices = Embedding.from_array(a), Embedding.from_array(b[order])
    whole = changes(*matrices, pairing=pairing)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 100)
    parts = changes(*matrices, pairing=pairing)
    assert np.bincount(whole.state).tolist() == np.bincount(changes(*map(Embedding.from_array, (a, b))).state).tolist()
    for name in whole.__slots__:
        assert np.array_equal(getattr(whole, name), getattr(parts, name), equal_nan=True), name


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 3), (3, 5)])
def test_pairs_by_id(n, m):
    pairing = pair_by_id(n, m)
    assert len(pairing) == 3 and pairing.first.tolist() == pairing.second.tolist() == [0, 1, 2]
    assert pairing.removed.tolist() == list(range(m, n)) and pairing.added.tolist() == list(range(n, m))


def test_no_pairs_at_all():
    none = Pairing("piece", np.empty(0, int), np.empty(0, int), np.arange(3), np.arange(2))
    for dtype in (np.float32, np.float16):
        a, b = Embedding.from_array(np.ones((3, 4), np.float32)), Embedding.from_array(np.zeros((2, 4), dtype))
        diff = diff_embeddings(a, b, pairing=none)
        assert diff.differs and diff.counts["removed"] == 3 and diff.counts["added"] == 2 and claim(diff)
        assert [hole.fate for hole in diff.fates] == ["dissolved"] and diff.fate_counts()["new"] == 1
        assert diff.to_dict()["distance"] is None


def test_the_histogram_of_steps():
    a = from_steps(BFLOAT16, *[100] * 9)[:, None]
    b = from_steps(BFLOAT16, 100, 101, 99, 102, 103, 96, 105, 108, 109)[:, None]
    diff = diff_embeddings(embed(BFLOAT16, a), embed(BFLOAT16, b))
    assert diff.steps_histogram == [(1, 1, 2), (2, 2, 1), (3, 4, 2), (5, 8, 2), (9, 16, 1)]
    zero = diff_embeddings(embed(BFLOAT16, [[0x8000]]), embed(BFLOAT16, [[0]]))
    assert zero.steps_histogram == [(0, 0, 1)]
