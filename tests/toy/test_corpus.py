"""The synthetic corpus and the census: which ids occur, how often, and what context is worth."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.errors import ConfigError
from forensics.toy import synthetic_text
from forensics.toy.census import Corpus, bigram_cross_entropy
from forensics.toy.corpus import CORPORA, SyntheticText, build_corpus


def law(live, zipf, shift):
    weight = np.arange(1 + shift, live + 1 + shift) ** -zipf
    return weight / weight.sum()


@st.composite
def specs(draw):
    vocab = draw(st.integers(1, 60))
    dead = draw(st.integers(0, vocab - 1))
    return SyntheticText(
        vocab=vocab,
        dead=dead,
        tokens=draw(st.integers(vocab - dead, 2_500)),
        zipf=draw(st.floats(0, 100)),
        shift=draw(st.floats(-1, 10, exclude_min=True)),
        context=draw(st.floats(0, 1)),
        classes=draw(st.integers(0, 70)),
        placement=draw(st.sampled_from(["scattered", "last"])),
        seed=draw(st.integers(0, 2**70)),
    )


@settings(max_examples=50)
@given(specs())
def test_every_live_id_occurs_and_no_dead_one(spec):
    corpus = build_corpus(spec)
    assert corpus.tokens.size == spec.tokens
    assert corpus.dead_ids.size == spec.dead
    assert corpus.live_ids.size == spec.vocab - spec.dead
    assert corpus.counts.sum() == spec.tokens
    assert np.array_equal(corpus.counts, np.bincount(corpus.tokens, minlength=spec.vocab))
    assert 0 <= corpus.context_entropy <= math.log(spec.vocab - spec.dead) + 1e-9
    assert build_corpus(spec).sha256 == corpus.sha256
    json.dumps(corpus.to_dict(), allow_nan=False)


def test_as_many_tokens_as_live_ids_show_each_once():
    corpus = build_corpus(SyntheticText(vocab=300, dead=100, tokens=200))
    assert sorted(corpus.tokens) == list(corpus.live_ids)
    assert any("planted once each" in note for note in corpus.notes)


def test_planting_takes_no_more_than_it_needs():
    spec = SyntheticText(vocab=2_000, dead=0, tokens=5_000, zipf=1.2)
    corpus = build_corpus(spec)
    (planted,) = [int(note.split()[0]) for note in corpus.notes if "planted" in note]
    assert 0 < planted <= (corpus.counts == 1).sum()


def test_the_default_has_the_founding_shape():
    """Flannel: 6,301 live of 10,000, occurrences max 45,630, mean 217.6, median 68 of 1,371,328."""
    census = build_corpus(SyntheticText()).to_dict()
    assert (census["live"], census["dead"], census["tokens"]) == (6_301, 3_699, 1_371_328)
    assert census["occurrences_max"] == pytest.approx(45_630, rel=0.02)
    assert census["occurrences_median"] == pytest.approx(68, abs=2)
    assert census["occurrences_mean"] == pytest.approx(217.6, abs=0.1)
    assert census["context_entropy"] < census["unigram_entropy"] - 1.5


@pytest.mark.parametrize(("context", "classes"), [(0, 0), (0.5, 0), (0.9, 6), (1, 3), (1, 0)])
def test_context_leaves_the_shares_alone(context, classes):
    spec = SyntheticText(vocab=30, dead=10, tokens=1_000_000, context=context, classes=classes, zipf=1.1, shift=0.5)
    corpus = build_corpus(spec)
    shares = np.sort(corpus.unigram)[::-1]
    assert shares[:20] == pytest.approx(law(20, 1.1, 0.5), abs=0.004)
    assert np.all(shares[20:] == 0)


@pytest.mark.parametrize(("context", "classes"), [(0, 0), (0.3, 0), (0.9, 6), (1, 3), (1, 0)])
def test_the_context_entropy_is_that_of_the_stream(context, classes):
    spec = SyntheticText(vocab=20, dead=0, tokens=2_000_000, context=context, classes=classes)
    corpus = build_corpus(spec)
    pairs = np.bincount(corpus.tokens[:-1] * 20 + corpus.tokens[1:], minlength=400).reshape(20, 20)
    given_this = pairs / pairs.sum(1, keepdims=True)
    measured = -(pairs * np.log(np.where(pairs, given_this, 1))).sum() / pairs.sum()
    # A document's first token follows from nothing, one in 1,024: it costs the stream up to 0.01.
    assert corpus.context_entropy == pytest.approx(measured, abs=0.02)
    assert corpus.unigram_entropy == pytest.approx(-(law(20, 0.93, 1.9) * np.log(law(20, 0.93, 1.9))).sum(), abs=0.01)


def test_context_can_be_learned():
    corpus = build_corpus(SyntheticText(vocab=200, dead=50, tokens=400_000, classes=12, context=0.8))
    learned = bigram_cross_entropy(corpus.tokens, 200)
    assert corpus.context_entropy < learned < 1.02 * corpus.context_entropy
    assert learned < corpus.unigram_entropy - 1
    nothing = build_corpus(SyntheticText(vocab=200, dead=50, tokens=400_000, context=0))
    assert nothing.context_entropy == pytest.approx(nothing.unigram_entropy, abs=0.01)
    assert bigram_cross_entropy(nothing.tokens, 200) == pytest.approx(nothing.unigram_entropy, abs=0.03)


def test_finer_classes_tell_more():
    corpora = [build_corpus(SyntheticText(vocab=90, dead=0, tokens=900, classes=n)) for n in (1, 9, 90, 0, 500)]
    entropies = [corpus.context_entropy for corpus in corpora]
    assert entropies[0] == pytest.approx(-law(90, 0.93, 1.9) @ np.log(law(90, 0.93, 1.9)))  # one class tells nothing
    assert entropies[0] > entropies[1] + 0.5 > entropies[2] + 0.5
    assert entropies[2] == entropies[3] == entropies[4]


def test_the_steepest_law():
    corpus = build_corpus(SyntheticText(vocab=60, dead=0, tokens=600, zipf=100, shift=-1 + 2**-53))
    assert sorted(corpus.counts) == [1] * 59 + [541]
    assert corpus.context_entropy == pytest.approx(0, abs=1e-9)


def test_where_the_dead_lie():
    last = build_corpus(SyntheticText(vocab=400, dead=100, tokens=9_000, placement="last"))
    assert np.array_equal(last.dead_ids, np.arange(300, 400))
    scattered = build_corpus(SyntheticText(vocab=400, dead=100, tokens=9_000))
    assert 30 < (scattered.dead_ids < 200).sum() < 70
    other = build_corpus(SyntheticText(vocab=400, dead=100, tokens=9_000, seed=1))
    assert not np.array_equal(other.dead_ids, scattered.dead_ids)
    frequent_first = np.corrcoef(np.arange(300), last.counts[:300])[0, 1]
    assert abs(frequent_first) < 0.3  # an id says nothing about its rank


def test_a_long_stream_is_drawn_in_blocks(monkeypatch):
    monkeypatch.setattr(synthetic_text, "_LENGTH", 16)
    monkeypatch.setattr(synthetic_text, "_STREAMS", 32)
    corpus = build_corpus(SyntheticText(vocab=20, dead=0, tokens=100_003, context=1, classes=0))
    assert np.sort(corpus.unigram)[::-1] == pytest.approx(law(20, 0.93, 1.9), abs=0.01)
    blocks = corpus.tokens[: 100_003 // 512 * 512].reshape(-1, 512)
    assert len(np.unique(blocks, axis=0)) == len(blocks)


@pytest.mark.parametrize(
    ("placement", "sha256"),
    [
        ("scattered", "f2c86615448c374ea9f83dacb1683ef4ed8a180a9d97d1db2f3ab1414783b1b3"),
        ("last", "8ab71d1c7fa83734fe2f8f9abf300e5d9a91b23f7df202a047c5c12a9c93f8e2"),
    ],
)
def test_the_stream_of_a_seed_stays_what_it_was(placement, sha256):
    """A resumed run draws its corpus again; it fails if numpy changes how it draws."""
    corpus = build_corpus(SyntheticText(vocab=50, dead=10, tokens=2_000, classes=8, placement=placement))
    assert corpus.sha256 == sha256


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"vocab": 0}, "corpus.vocab is 0, expected"),
        ({"dead": 100}, "corpus.dead is 100, expected from 0 to vocab - 1 = 99"),
        ({"dead": -1}, "corpus.dead is -1"),
        ({"tokens": 89}, "corpus.tokens is 89, too few to show each of 90 live ids once; take more tokens"),
        ({"tokens": 2**40}, "corpus.tokens is 1099511627776, expected"),
        ({"zipf": float("nan")}, "corpus.zipf is nan"),
        ({"shift": -1.0}, "corpus.shift is -1.0, expected a number above -1"),
        ({"context": 1.5}, "corpus.context is 1.5, expected a probability"),
        ({"classes": -1}, "corpus.classes is -1"),
        ({"placement": "first"}, "corpus.placement is 'first', expected 'scattered' or 'last'"),
        ({"seed": -1}, "corpus.seed is -1"),
    ],
)
def test_what_no_stream_can_be_made_of(changed, said):
    with pytest.raises(ConfigError) as refused:
        SyntheticText(**{"vocab": 100, "dead": 10, "tokens": 500} | changed)
    assert said in str(refused.value)


def test_the_census():
    corpus = Corpus.from_tokens(np.array([3, 1, 3, 3], np.int32), 5, name="four")
    assert list(corpus.counts) == [0, 1, 0, 3, 0]
    assert list(corpus.dead_ids) == [0, 2, 4] == list(corpus.require_dead())
    assert list(corpus.live_ids) == [1, 3]
    assert list(corpus.unigram) == [0, 0.25, 0, 0.75, 0]
    assert corpus.unigram_entropy == pytest.approx(0.25 * math.log(4) + 0.75 * math.log(4 / 3))
    assert corpus.to_dict() == {
        "name": "four",
        "tokens": 4,
        "vocab_size": 5,
        "live": 2,
        "dead": 3,
        "occurrences_min": 1,
        "occurrences_median": 2.0,
        "occurrences_mean": 2.0,
        "occurrences_max": 3,
        "unigram_entropy": corpus.unigram_entropy,
        "context_entropy": None,
        "sha256": corpus.sha256,
        "notes": [],
    }


def test_a_census_counts_in_blocks(monkeypatch):
    monkeypatch.setattr("forensics.toy.census._BLOCK", 7)
    tokens = np.arange(100, dtype=np.int32) % 9
    assert list(Corpus.from_tokens(tokens, 10, name="t").counts) == list(np.bincount(tokens, minlength=10))


def test_a_stream_cannot_be_changed_through_its_census():
    mine = np.array([1, 2], np.int32)
    corpus = Corpus.from_tokens(mine, 3, name="t")
    for array in (corpus.tokens, corpus.counts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    mine[0] = 2  # the caller's own array is left as it was


def test_the_digest_is_of_stream_and_vocabulary():
    tokens = np.array([1, 2, 0], np.int32)
    digests = {
        Corpus.from_tokens(stream, vocab, name="t").sha256
        for stream, vocab in [(tokens, 3), (tokens, 4), (tokens[::-1], 3), (tokens[:2], 3)]
    }
    assert len(digests) == 4
    assert Corpus.from_tokens(np.repeat(tokens, 2)[::2], 3, name="another").sha256 in digests


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ([], "t: the corpus is empty"),
        ([0, 5], "t: token id 5 occurs, the vocabulary has ids 0 to 4; take a vocabulary of at least 6"),
        ([0, -1], "t: token id -1 occurs"),
    ],
)
def test_streams_that_have_no_census(tokens, said):
    with pytest.raises(ConfigError) as refused:
        Corpus.from_tokens(np.array(tokens, np.int32), 5, name="t")
    assert said in str(refused.value)


def test_a_corpus_without_dead_tokens():
    corpus = build_corpus(SyntheticText(vocab=9, dead=0, tokens=90))
    assert corpus.dead_ids.size == 0
    with pytest.raises(ConfigError, match="synthetic: no dead tokens, all 9 ids occur; take a larger vocabulary"):
        corpus.require_dead()


def test_what_a_bigram_model_pays():
    rng = np.random.default_rng(0)
    even = rng.integers(0, 8, 40_000, np.int32)
    assert bigram_cross_entropy(even, 8) == pytest.approx(math.log(8), abs=0.01)
    assert bigram_cross_entropy(np.arange(4_000, dtype=np.int32) % 8, 8) < 0.01
    assert bigram_cross_entropy(np.arange(4_000, dtype=np.int32), 4_000) > math.log(4_000)  # nothing was seen before
    assert bigram_cross_entropy(np.concatenate((even, 7 - 0 * even)), 8, limit=40_000) == bigram_cross_entropy(even, 8)
    assert bigram_cross_entropy(even[:19], 8) is None


def test_the_kinds_of_corpus():
    assert set(CORPORA) == {"synthetic", "text", "foreign"}
    assert all(spec.kind == kind for kind, spec in CORPORA.items())
