"""The lattice survey of a checkpoint: every matrix, every centre a user can name, every null."""

import json

import numpy as np
import pytest

from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.errors import SelectionError
from forensics.formats import BlockFormat
from forensics.lattice import BlockSurvey, LatticeSurvey
from forensics.scanning.lattice import LATTICE_SCHEMA, scan_lattice
from forensics.synthetic import plant_groups
from forensics.vocabulary import Vocabulary


def checkpoint_of(*embeddings, pieces=None, location="test"):
    vocabulary = None if pieces is None else Vocabulary(tuple(pieces), "plain")
    return Checkpoint(Source("memory", location), embeddings, "absent", vocabulary)


def groups(*ids, seed=0, rows=80, **named):
    return plant_groups(rows, 16, ids, seed=seed, **named).embedding()


def quantised():
    rows = np.random.default_rng(0).integers(0, 100, (9, 34), np.uint8)
    rows[:, :2] = (0, 0x38)
    rows[4] = rows[3]
    return Embedding(rows, BlockFormat("Q8_0", 8, 32, 34), 32)


def only(result):
    ((_, survey),) = result.surveys
    return survey


def centre(around, embedding=None, **named):
    embedding = groups([1, 2, 3], [5, 6]) if embedding is None else embedding
    return only(scan_lattice(checkpoint_of(embedding, **named), around=around)).summary.around.centre


PIECES = [f"piece{i}" for i in range(80)]


def test_every_way_to_name_a_centre():
    assert centre(None) == centre("hole:1") == centre("hole:01") == 1
    assert centre("hole:2") == 5
    assert centre("token:2") == 2 and centre("token:70") == 70
    assert centre("token:piece7", pieces=PIECES) == 7
    assert centre("token:7", pieces=[*PIECES[:20], "7", *PIECES[21:]]) == 7  # digits are an id
    assert centre("token:a:b", pieces=["x", "a:b"]) == 1


BAD = {
    "hole:0": "no hole 0: the matrix has 2",
    "hole:3": "no hole 3: the matrix has 2",
    "token:80": "no token 80: the matrix has rows 0 to 79",
    "token:999999999": "no token 999,999,999",
    "token:nowhere": "no token has the text 'nowhere'",
    "token:twice": "2 tokens have the text 'twice'",
    "token:" + "9" * 6000: "no token has the text '999",
    "hole:" + "9" * 6000: "unknown centre",
    "hole:x": "unknown centre",
    "hole:-1": "unknown centre",
    "hole:": "unknown centre",
    "hole": "unknown centre",
    "token:": "unknown centre",
    "": "unknown centre",
    "piece7": "unknown centre 'piece7'",
    "5": "unknown centre",
    "HOLE:1": "unknown centre",
}


@pytest.mark.parametrize("around", BAD, ids=lambda text: text[:12])
def test_bad_centres_are_told(around):
    with pytest.raises(SelectionError) as raised:
        centre(around, pieces=[*PIECES[:-2], "twice", "twice"])
    assert BAD[around] in raised.value.message and len(raised.value.message) < 160


def test_a_text_without_a_tokenizer():
    with pytest.raises(SelectionError, match="no tokenizer") as raised:
        centre("token:piece7")
    assert "token:124" in raised.value.hint


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_centre_that_is_not_finite(value):
    array = groups([1, 2]).values().copy()
    array[9, 3] = value
    with pytest.raises(SelectionError, match="token 9's row"):
        centre("token:9", Embedding.from_array(array))


def test_the_document():
    result = scan_lattice(checkpoint_of(groups([1, 2, 3], [5, 6]), groups([8, 9], seed=1), groups(seed=2)))
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told["schema"] == LATTICE_SCHEMA and told["source"]["location"] == "test"
    first, second, third = told["matrices"]
    assert first["lattice"]["holes"]["populations"] == [3, 2] and first["shape"] == [80, 16]
    assert second["lattice"]["centre"]["token_id"] == 8
    assert third["lattice"] is None and third["dtype"] == "bfloat16" and len(third["sha256"]) == 64


def test_nulls():
    assert only(scan_lattice(checkpoint_of(groups()))) is None
    assert only(scan_lattice(checkpoint_of(groups(zero_rows=4)))) is None
    assert isinstance(only(scan_lattice(checkpoint_of(groups([1, 2])))), LatticeSurvey)


def test_blocks_are_surveyed_as_blocks():
    survey = only(scan_lattice(checkpoint_of(quantised())))
    assert isinstance(survey, BlockSurvey) and survey.centre == 3
    assert only(scan_lattice(checkpoint_of(quantised()), around="token:7")).centre == 7
    with pytest.raises(SelectionError, match="not defined on Q8_0 blocks") as raised:
        scan_lattice(checkpoint_of(quantised()), selection="holes")
    assert "--select" in raised.value.hint


def test_the_command_can_be_typed_again():
    embedding = groups([1, 2, 3])
    assert scan_lattice(checkpoint_of(embedding)).command == "forensics lattice test"
    result = scan_lattice(checkpoint_of(embedding, pieces=["a b;c"], location="my file"),
                          around="token:a b;c", selection="exponent:0")  # fmt: skip
    assert result.command == "forensics lattice 'my file' --around 'token:a b;c' --select exponent:0"


def test_progress_names_every_matrix():
    stages = []
    scan_lattice(checkpoint_of(groups([1, 2]), groups()), progress=stages.append)
    assert [stage.rpartition(": ")[2] for stage in stages] == ["lattice"] * 2
