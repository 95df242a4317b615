"""Who is dead by each selection, who is live, and what simulators are told: planted matrices, and real ones."""

import json

import numpy as np
import pytest

from forensics.checkpoint import Checkpoint
from forensics.checkpoint.naming import initializer_range
from forensics.embedding import Embedding, Source
from forensics.errors import FormatError, HypothesisError, SelectionError, TensorNotFoundError
from forensics.formats import BFLOAT16, FLOAT32, BlockFormat
from forensics.hypotheses import live_law, subject
from forensics.hypotheses.context import Context
from forensics.hypotheses.discovery import load_hypothesis
from forensics.hypotheses.observables import OBSERVABLES
from forensics.hypotheses.population import KNOWN, choose_dead
from forensics.hypotheses.subject import open_subject
from forensics.initialisation.resizing import resized_law
from forensics.sources import open_checkpoint
from forensics.vocabulary import Vocabulary

N, DIM = 400, 32
CLOUD = np.r_[300:330]
"""Dead: 20 on one point, 6 on another a step away, 4 a little further out."""


def live_rows(seed=0):
    return np.random.default_rng(seed).normal(0, 0.05, (N, DIM)).astype(np.float32)


def planted(zeros=(), far=(), not_finite=()):
    """Words of a matrix whose dead rows lie about one point."""
    words = BFLOAT16.narrow(live_rows())
    point = BFLOAT16.narrow(np.random.default_rng(1).normal(0, 0.02, DIM).astype(np.float32))
    words[CLOUD] = point
    words[CLOUD[20:26], 3] += np.uint16(1)
    words[CLOUD[26:], np.arange(4)] += np.uint16([2, 3, 4, 5])
    words[list(zeros)] = 0
    words[list(far)] = words[list(far)[:1]]
    words[list(not_finite), 5] = 0x7FC0
    return words


def checkpoint_of(words, vocabulary=None, config=None, fmt=BFLOAT16, dim=DIM, role="tied", **more):
    rows = np.ascontiguousarray(words).view(np.uint8)
    embedding = Embedding(rows, fmt, dim, role, "wte")
    return Checkpoint(Source("memory", "planted"), (embedding,), "identical", vocabulary, config or {}, **more)


def reserved(ids, n=N):
    """A vocabulary in which these tokens are reserved-looking."""
    texts = tuple(f"<unused{i}>" if i in set(ids) else f"{chr(97 + i % 26) * (1 + i // 26)}" for i in range(n))
    return Vocabulary(texts, "plain", frozenset(int(i) for i in ids))


def test_auto_takes_the_radius_about_placed_holes():
    found = open_subject(checkpoint_of(planted(), config={"initializer_range": 0.02}))
    assert found.dead.name == "radius" and found.dead.token_ids.tolist() == CLOUD.tolist()
    assert found.why_dead.startswith("30 tokens nearer to the holes' centroid than")
    assert found.cloud.populations.tolist() == [20, 6, 1, 1, 1, 1]
    assert found.cloud.token_ids.tolist() == CLOUD.tolist()
    np.testing.assert_array_equal(found.cloud.rows(), planted()[CLOUD])
    assert found.live.token_ids.tolist() == np.setdiff1d(np.arange(N), CLOUD).tolist()
    assert "by construction" in found.notes[-1]
    assert found.to_dict()["dead"] | {"definition": ""} == {
        "name": "radius",
        "definition": "",
        "tokens": 30,
        "distinct_rows": 6,
        "holes": 2,
    }
    json.dumps(found.to_dict())


def test_a_healthy_matrix_has_nothing_to_explain():
    found = open_subject(checkpoint_of(BFLOAT16.narrow(live_rows())))
    assert found.cloud is None and not len(found.dead) and found.dead.name == "nobody"
    assert len(found.live) == N and found.to_dict()["dead"]["tokens"] == 0
    for ask in (found.context, found.observables):
        with pytest.raises(HypothesisError, match="nothing to explain"):
            ask()


def test_context_and_observables():
    found = open_subject(checkpoint_of(planted(), config={"initializer_range": 0.02}))
    context = found.context()
    values = BFLOAT16.widen(planted()[CLOUD]).astype(np.float64)
    assert (context.n_rows, context.dim, context.vocab, context.initializer_range) == (30, DIM, N, 0.02)
    np.testing.assert_array_equal(context.anchor, planted()[CLOUD[0]])
    np.testing.assert_allclose(context.centroid, values.mean(axis=0), rtol=1e-6)
    assert context.live is None
    observed = found.observables()
    assert list(observed) == list(OBSERVABLES)
    assert observed["largest_share"] == 20 / 30 and observed["holes"] == 2
    assert observed["median_id"] == (314.5 + 0.5) / N and observed["tail_share"] == 0
    assert observed["norm_ratio"] == pytest.approx(np.linalg.norm(values, axis=1).mean() / found.live_rows.mean_norm)


def test_where_all_rows_differ_the_anchor_is_the_row_nearest_to_the_mean():
    words = planted()
    words[CLOUD] += np.arange(30, dtype=np.uint16)[:, None]
    context = open_subject(checkpoint_of(words, reserved(CLOUD)), dead="reserved").context()
    values = BFLOAT16.widen(words[CLOUD]).astype(np.float64)
    nearest = np.linalg.norm(values - values.mean(axis=0), axis=1).argmin()
    assert 0 < nearest < 29
    np.testing.assert_array_equal(context.anchor, words[CLOUD[nearest]])


def test_the_live_law():
    words = planted(not_finite=[7])
    found = open_subject(checkpoint_of(words))
    law = found.context(law="covariance").live
    assert found.context(law="mean").live.factor is None and found.context().live is None
    np.testing.assert_array_equal(found.context(law="mean").live.mean, law.mean)
    live = BFLOAT16.widen(words[np.setdiff1d(np.arange(N), [*CLOUD, 7])]).astype(np.float64)
    np.testing.assert_allclose(law.mean, live.mean(axis=0), atol=1e-7)
    np.testing.assert_allclose(law.factor @ law.factor.T, np.cov(live.T, bias=True), atol=1e-7)
    assert law.factor.shape == (DIM, DIM) and law.mean.dtype == law.factor.dtype == np.float32


@pytest.mark.parametrize(
    "rows",
    [
        np.random.default_rng(0).normal(size=(20, DIM)),
        np.c_[np.random.default_rng(0).normal(size=(60, DIM - 1)), np.full(60, 0.5)],
        np.ones((50, DIM)),
    ],
    ids=["fewer rows than dimensions", "a constant dimension", "equal rows"],
)
def test_a_covariance_without_a_cholesky_factor_gives_the_mean_alone_as_transformers_does(rows, monkeypatch):
    monkeypatch.setattr(live_law, "TILE", 7)
    embedding = Embedding.from_array(rows.astype(np.float32))
    found = live_law.measure_live_law(embedding, np.arange(len(rows)), rows.mean(axis=0, dtype=np.float64))
    mean, factor = resized_law(embedding.words, FLOAT32, 1e-9)
    assert found.factor is factor is None
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    context = Context(9, DIM, FLOAT32, embedding.words[0], found.mean, 100, 0.02, found)
    cloud = load_hypothesis("mean_resized").simulate(context, {"scale": 1e-9}, np.random.default_rng(0))
    np.testing.assert_array_equal(cloud.distinct_values(), [found.mean])


def test_of_many_live_rows_the_covariance_is_of_a_spread_sample(monkeypatch):
    monkeypatch.setattr(live_law, "MAX_ROWS", 10)
    wide = live_law.measure_live_law(Embedding.from_array(live_rows()), np.arange(N), live_rows().mean(axis=0))
    assert wide.factor is not None  # twice the dimensions at least
    monkeypatch.setattr(live_law, "MAX_ROWS", 100)
    rows = live_rows()
    found = live_law.measure_live_law(Embedding.from_array(rows), np.arange(N), rows.mean(axis=0, dtype=np.float64))
    chosen = rows[np.linspace(0, N - 1, 100).astype(int)] - rows.mean(axis=0)
    np.testing.assert_allclose(found.factor @ found.factor.T, chosen.T @ chosen / 100, atol=1e-6)


@pytest.mark.parametrize(
    ("selection", "ids", "fixed"),
    [
        ("radius", CLOUD, ()),
        ("holes", CLOUD[:26], ("in_hole_share", "singleton_share")),
        ("exponent:0", CLOUD, ("shared_exponents_holes", "shared_exponents", "same_exponents_share")),
        ("reserved", np.r_[320:340], ()),
        ("reserved-looking", np.r_[320:340], ()),
        ("padding", np.r_[390:400], ("tail_share", "median_id")),
        ("zero", [1, 2], tuple(name for name, o in OBSERVABLES.items() if o.needs != "ids")),
        ("reference", CLOUD, ()),
    ],
)
def test_named_selections(selection, ids, fixed):
    words, vocabulary = planted(zeros=[1, 2]), reserved(range(320, 340), 390)
    found = open_subject(checkpoint_of(words, vocabulary), dead=selection)
    assert found.dead.token_ids.tolist() == list(ids)
    assert found.only_in_holes == found.context().only_in_holes == (selection == "holes")
    assert (found.no_verdict is not None) == (selection == "zero")
    assert found.by_construction == fixed and set(fixed) <= set(OBSERVABLES)
    assert found.live.token_ids.tolist() == np.setdiff1d(np.arange(390), [*CLOUD[:26], 1, 2, *ids]).tolist()
    told = any("2 tokens whose rows are zero are not among the dead" in note for note in found.notes)
    assert told == (selection in ("radius", "holes"))


def test_the_order_of_auto():
    """A recording's census, the radius, reserved-looking tokens, the reference, zero rows."""
    words, live = planted(zeros=[1, 2]), BFLOAT16.narrow(live_rows())
    ids = np.array([4, 9])
    recorded = checkpoint_of(words, reserved(range(320, 340)), dead_ids=ids)
    assert open_subject(recorded).dead.name == open_subject(recorded, dead="recorded").dead.name == "recorded"
    assert open_subject(recorded).dead.token_ids.tolist() == [4, 9]
    assert open_subject(checkpoint_of(words, reserved(range(320, 340)))).dead.name == "radius"
    assert open_subject(checkpoint_of(live, reserved(range(320, 340)))).dead.name == "reserved-looking"
    live[CLOUD] = planted()[CLOUD] + np.arange(30, dtype=np.uint16)[:, None]
    assert open_subject(checkpoint_of(live)).dead.name == "reference"
    live = BFLOAT16.narrow(live_rows())
    live[[1, 2]] = 0
    assert open_subject(checkpoint_of(live)).dead.name == "zero"


def test_a_run_without_dead_tokens_has_nothing_to_explain():
    found = open_subject(checkpoint_of(planted(), dead_ids=np.empty(0, np.int64)))
    assert found.cloud is None and found.dead.name == "recorded"


def test_a_radius_that_leaves_the_holes_out_is_not_taken():
    """Two holes on opposite sides: about their centroid lie others."""
    words = BFLOAT16.narrow(live_rows())
    far = BFLOAT16.narrow(np.full(DIM, 0.5, np.float32))
    words[10:14], words[20:24] = far, far | np.uint16(0x8000)
    found = open_subject(checkpoint_of(words, reserved(range(300, 330))))
    assert found.dead.name == "reserved-looking"
    assert any("leaves out most of their tokens" in note for note in found.notes)


def test_dead_rows_that_are_not_finite_are_left_out():
    words = planted(not_finite=[CLOUD[0], CLOUD[29]])
    found = open_subject(checkpoint_of(words, reserved(CLOUD)), dead="reserved")
    assert found.dead.token_ids.tolist() == CLOUD[1:29].tolist() and len(found.cloud) == 28
    assert "2 dead tokens with an infinity or a nan in their rows are left out" in found.notes
    assert not set(CLOUD) & set(found.live.token_ids.tolist())
    nobody = open_subject(checkpoint_of(planted(not_finite=CLOUD), reserved(CLOUD)), dead="reserved")
    assert nobody.cloud is None


def test_a_single_dead_row_is_a_cloud():
    words = planted(zeros=[])
    vocabulary = reserved([], N - 1)
    found = open_subject(checkpoint_of(words, vocabulary), dead="padding")
    observed = found.observables()
    assert len(found.cloud) == 1 and observed["unique_share"] == observed["tail_share"] == 1
    assert observed["population_entropy"] is None and observed["kurtosis"] is None


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("nonsense", "unknown selection of dead tokens 'nonsense'"),
        ("exponent:x", "unknown selection"),
        ("exponent:9999", "unknown selection"),
        ("exponent:", "unknown selection"),
        ("recorded", "recorded of a training run alone"),
        ("reserved", "has no tokens"),
        ("zero", "has no tokens"),
        ("ids:/nowhere/list.json", "list.json: cannot be read"),
    ],
)
def test_selections_that_are_not_there(selection, message):
    with pytest.raises(SelectionError, match=message) as caught:
        open_subject(checkpoint_of(planted()), dead=selection)
    assert caught.value.hint != ""


@pytest.mark.parametrize("selection", ["radius", "exponent:5"])
def test_what_starts_from_holes_needs_some(selection):
    with pytest.raises(SelectionError, match="black hole"):
        open_subject(checkpoint_of(BFLOAT16.narrow(live_rows())), dead=selection)


def test_every_known_selection_is_understood():
    checkpoint = checkpoint_of(planted(zeros=[1, 2]), reserved(range(320, 340), 390))
    for word in KNOWN.replace("exponent:K", "exponent:3").split(", "):
        try:
            open_subject(checkpoint, dead=word)
        except SelectionError as error:
            assert "unknown selection" not in error.message, word


@pytest.mark.parametrize("text", ["[3, 1, 2, 3]", "3 1\n2", "1,2,3\n", " [1,\n2, 3]"])
def test_a_list_of_ids(text, tmp_path):
    file = tmp_path / "ids.json"
    file.write_text(text)
    found = open_subject(checkpoint_of(planted()), dead=f"ids:{file}")
    assert found.dead.token_ids.tolist() == [1, 2, 3]
    assert found.why_dead == "3 tokens listed in ids.json" and str(tmp_path) not in json.dumps(found.to_dict())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "not a JSON list"),
        ("[1.5, 2]", "1 of 2 entries are not token ids"),
        ("[true, null, -1]", "3 of 3 entries"),
        ("one two", "2 of 2 entries"),
        ("[[1]]", "1 of 1 entries"),
        ("[" * 100_000, "not a JSON list"),
        ("9" * 5_000, "1 of 1 entries"),
        ("400", "no token 400: the matrix has rows 0 to 399"),
        ("", "has no tokens"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_a_list_that_is_none(text, message, tmp_path):
    file = tmp_path / "ids"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SelectionError, match=message):
        open_subject(checkpoint_of(planted()), dead=f"ids:{file}")


def test_too_many_dead_rows_are_not_held(monkeypatch):
    monkeypatch.setattr(subject, "MAX_BYTES", 30 * DIM * 2)
    assert len(open_subject(checkpoint_of(planted()), dead="radius").dead) == 30
    monkeypatch.setattr(subject, "MAX_BYTES", 30 * DIM * 2 - 1)
    with pytest.raises(SelectionError, match="30 dead tokens by 'radius' are more rows than are held at once"):
        open_subject(checkpoint_of(planted()), dead="radius")


def quantised():
    rows = np.random.default_rng(0).integers(0, 256, (N, 34)).astype(np.uint8)
    rows[:, :2] = np.array([0, 0x2C], np.uint8)  # a scale of 1/16
    rows[CLOUD] = rows[CLOUD[0]]
    rows[CLOUD[20:26], 4] += np.uint8(1)
    return checkpoint_of(rows, fmt=BlockFormat("Q8_0", 8, 32, 34))


def test_quantised_rows_are_chosen_by_bytes():
    found = open_subject(quantised(), dead="holes")
    assert found.dead.token_ids.tolist() == CLOUD.tolist()
    assert found.cloud.populations.tolist() == [24, 6]
    observed = found.observables()
    assert observed["exponent_offset"] is None and observed["norm_ratio"] > 0
    assert found.context(law="covariance").live.factor.shape[0] == DIM
    assert open_subject(quantised()).dead.name != "radius"
    with pytest.raises(FormatError, match="no words"):
        open_subject(quantised(), dead="radius")


def test_the_matrix_of_a_role():
    words = planted()
    first = Embedding(words.view(np.uint8), BFLOAT16, DIM, "input", "E")
    second = Embedding(BFLOAT16.narrow(live_rows()).view(np.uint8), BFLOAT16, DIM, "output", "W")
    both = Checkpoint(Source("memory", "two"), (first, second), "different")
    assert open_subject(both).embedding is first and open_subject(both, role="output").cloud is None
    with pytest.raises(TensorNotFoundError):
        open_subject(checkpoint_of(words, role="input"), role="output")


def test_stages_are_told():
    stages = []
    open_subject(checkpoint_of(planted()), progress=stages.append)
    assert stages == ["wte: identical rows", "wte: radius", "wte: live rows"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.02, 0.02),
        (1, 1.0),
        (0, None),
        (-1, None),
        pytest.param(10**400, None, id="a huge integer"),
        ("0.02", None),
        (None, None),
        (True, None),
        (np.inf, None),
        (np.nan, None),
    ],
)
def test_an_initial_range_is_a_number_above_zero(value, expected):
    assert initializer_range({"initializer_range": value}) == expected
    # Of a model of several parts the language model's own.
    assert initializer_range({"text_config": {"vocab_size": 6, "initializer_range": value}}) == expected


def test_choosing_changes_nothing():
    checkpoint = checkpoint_of(planted())
    before = checkpoint.matrices[0].sha256
    from forensics.black_holes import find_black_holes

    choose_dead(checkpoint, checkpoint.matrices[0], find_black_holes(checkpoint.matrices[0]))
    assert Embedding(checkpoint.matrices[0].rows_bytes, BFLOAT16, DIM).sha256 == before


def test_the_published_structure():
    """Planted from published figures: 2,212 tokens, 125 distinct rows, 13 holes, 96 components, 10 adjacent pairs."""
    found = open_subject(open_checkpoint("synth:qwen3-4b"))
    observed = found.observables()
    assert len(found.cloud) == 2_212 and len(found.cloud.patterns) == 125
    assert found.cloud.populations[:5].tolist() == [814, 704, 306, 228, 11]
    assert observed["holes"] == 13 and observed["components_per_row"] == 96 / 125
    assert observed["adjacent_share"] == 10 / 78 and observed["largest_linf"] == 11
    assert observed["same_exponents_share"] == 2_139 / 2_212
    assert observed["centroid_angle"] == pytest.approx(26.6, abs=0.5)


def test_a_planted_healthy_matrix_has_nothing_to_explain():
    assert open_subject(open_checkpoint("synth:healthy")).cloud is None
