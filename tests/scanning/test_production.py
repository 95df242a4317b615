"""What a tokenizer can produce of a set of tokens: one named set, counted once, and null where it is not known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import forensics
from forensics.black_holes import find_black_holes
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.measures import Population
from forensics.scanning.production import all_notes, explain_groups, in_holes, measure_production
from forensics.scanning.token_claims import claim_production, percent
from forensics.vocabulary import Vocabulary, take_census
from tests.scanning.planted_model import COPY, DEAD, ORIGINAL, PADDING, ROWS, SPLIT, ZERO, opened, values


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The planted model, its split token and two padding rows dead with the rest."""
    rows = values()
    rows[[SPLIT, *PADDING[:2]]] = rows[DEAD[0]]
    return opened(tmp_path_factory.mktemp("model"), {"wte.weight": rows})


@pytest.fixture(scope="module")
def found(checkpoint):
    holes = find_black_holes(checkpoint.matrix())
    census = take_census(checkpoint.vocabulary, ROWS)
    return holes, census, measure_production(census, in_holes(holes))


def test_the_set_is_every_token_of_a_hole(found):
    holes, _, production = found
    assert production.tokens == holes.n_tokens == 9
    assert in_holes(holes).token_ids.tolist() == sorted([*DEAD, SPLIT, *PADDING[:2], ORIGINAL, COPY])
    assert claim_production(holes, production) == (
        "9 tokens share 2 rows; 33.3 % of them (3) cannot be produced by the tokenizer."
    )


def test_counts_by_category_script_and_ground(found):
    *_, production = found
    assert production.to_dict()["counts"] == [
        {"category": "ordinary", "script": "Latin", "reachable": "reachable", "tokens": 5},
        {"category": "padding", "script": "None", "reachable": "unreachable", "tokens": 2},
        {"category": "ordinary", "script": "Latin", "reachable": "unreachable", "tokens": 1},
        {"category": "special", "script": "Latin", "reachable": "reachable", "tokens": 1},
    ]
    assert [(g["cause"], g["tokens"]) for g in production.to_dict()["grounds"]] == [
        ("no piece", 2),
        ("pre-tokeniser", 1),
    ]


@settings(max_examples=30)
@given(st.sets(st.integers(0, ROWS - 1)))
def test_every_token_is_counted_once(found, ids):
    _, census, _ = found
    made = measure_production(census, Population("x", "drawn", np.array(sorted(ids), np.int64)))
    assert sum(row[3] for row in made.counts) == made.tokens == len(ids)
    assert sum(row[2] for row in made.grounds) == made.unreachable == sum(census.state[i] == 0 for i in ids)
    assert made.unknown == 0


def test_the_whole_vocabulary_reads_as_it_is_written(found):
    holes, census, production = found
    assert production.unreachable == int(census.mask("unreachable")[holes.mask].sum())


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 7, "0 %"), (7, 7, "100 %"), (2_099, 2_100, "over 99.9 %"), (1, 100_000, "0.001 %"), (1, 3, "33.3 %")],
)
def test_a_share_is_all_or_nothing_only_if_it_is(part, whole, shown):
    assert percent(part, whole) == shown


def test_all_of_known_tokens_is_a_finding(checkpoint):
    holes = find_black_holes(Embedding.from_array(values()))
    production = measure_production(take_census(checkpoint.vocabulary, ROWS), in_holes(holes))
    assert claim_production(holes, production) == (
        "6 tokens share 2 rows; 0 % of them (0) cannot be produced by the tokenizer."
    )


def test_without_a_tokenizer_nothing_is_known_and_nothing_has_a_category():
    holes = find_black_holes(Embedding.from_array(values()))
    census = take_census(None, ROWS)
    production = measure_production(census, in_holes(holes))
    assert not production.is_known and production.to_dict()["unreachable"] is None and production.counts == ()
    assert claim_production(holes, production).endswith("whether the tokenizer can produce any of them is not known.")
    assert {"padding", "unreachable", "added"} & _told(holes, census) == set()


def test_pieces_without_rules_say_what_is_padding_and_special_and_no_more():
    holes = find_black_holes(Embedding.from_array(values()))
    census = take_census(Vocabulary(("a",) * 1_000, "plain"), ROWS)
    production = measure_production(census, in_holes(holes))
    assert (production.unknown, production.unreachable) == (6, 0)
    assert _told(holes, census) == {"padding", "added"}


def _told(holes, census):
    """The facts of the causes that the tokenizer told."""
    facts = explain_groups(Embedding.from_array(values()), holes, census).groups[0].to_dict()["facts"]
    names = {"beyond the tokenizer": "padding", "unreachable": "unreachable", "added": "added"}
    return {told for name, told in names.items() if facts[name] is not None}


def test_no_holes_no_share():
    holes = find_black_holes(Embedding.from_array(np.eye(4, dtype=np.float32)))
    production = measure_production(take_census(None, 4), in_holes(holes))
    assert production.to_dict() == {
        "population": "in a hole", "tokens": 0, "unreachable": 0, "unknown": 0, "counts": [], "grounds": [],
    }  # fmt: skip
    assert claim_production(holes, production) == "No two stored rows are identical."


def test_nothing_is_said_twice():
    embedding = Embedding.from_array(np.eye(4, dtype=np.float32))
    said = "no tokenizer file that is read lies beside the weights: tokens are known by id only"
    for notes, expected in (((said,), [said]), ((), ["no tokenizer: tokens are known by id only"])):
        checkpoint = Checkpoint(Source("memory", "x"), (embedding,), "absent", None, {}, notes)
        assert all_notes(checkpoint, take_census(None, 4)) == expected
        assert forensics.scan(checkpoint).to_dict()["notes"] == expected


def test_zero_rows_are_of_the_set():
    rows = values()
    rows[ZERO + 1] = 0
    assert {ZERO, ZERO + 1} <= set(in_holes(find_black_holes(Embedding.from_array(rows))).token_ids.tolist())
