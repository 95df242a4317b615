"""The check: every fault is told apart on planted tokens, and what is not one token is refused."""

import numpy as np
import pytest

from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.errors import SelectionError
from forensics.scanning.check import check_tokens
from forensics.vocabulary import Vocabulary
from tests.scanning.planted_model import (
    COPY,
    DEAD,
    HEALTHY,
    NAN,
    NEAR,
    ORIGINAL,
    PADDING,
    ROWS,
    SPLIT,
    UNDER_TRAINED,
    UNKNOWN,
    ZERO,
    opened,
    pieces,
    tokenizer,
    values,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("model"))


def faults(checkpoint, *ids):
    return [[r.fault for r in v.reasons] for v in check_tokens(checkpoint, (), ids).verdicts]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (HEALTHY, []),
        (UNKNOWN, []),
        (ZERO, ["dead"]),
        (DEAD[0], ["dead", "under-trained"]),
        (UNDER_TRAINED[3], ["under-trained"]),
        (SPLIT, ["unreachable"]),
        (NAN, ["not finite"]),
        (ORIGINAL, ["duplicate"]),
        (COPY, ["duplicate"]),
        (PADDING[2], ["padding"]),
    ],
)
def test_each_fault_is_told_apart(checkpoint, token, expected):
    assert faults(checkpoint, token) == [expected]


def test_near_dead_is_a_fault_of_its_own(tmp_path):
    """Of a common vector as long as other rows the norm says nothing: the halo does."""
    found = faults(opened(tmp_path / "m", {"wte.weight": values(shared=1.0)}), *NEAR, DEAD[0], HEALTHY)
    assert found == [["near-dead"]] * 2 + [["dead"], []]


def test_reasons_say_what_they_rest_on(checkpoint):
    said = {v.token_id: [r.detail for r in v.reasons] for v in check_tokens(checkpoint, (), range(ROWS)).verdicts}
    assert said[ZERO] == ["its row is all zeros"]
    assert said[DEAD[1]][0] == "its row is bit for bit that of 3 other tokens (hole 1); cause: unexplained"
    assert said[COPY] == [
        "its row is bit for bit that of another token (hole 2); cause: row copied from an ordinary token"
    ]
    assert said[UNDER_TRAINED[0]][0].startswith("apart from the bulk by norm, cosine")
    assert said[SPLIT] == ['pre-tokeniser: split into "two" | "words"']
    assert said[PADDING[0]] == [f"the tokenizer has {len(pieces()):,} tokens"]


def test_texts_and_ids_in_order_and_once(checkpoint):
    check = check_tokens(checkpoint, ["word301", "<copy>", "word301"], [HEALTHY, 301, ZERO, HEALTHY])
    assert [v.token_id for v in check.verdicts] == [301, COPY, HEALTHY, ZERO]
    assert [v.text for v in check.verdicts] == ["word301", "<copy>", "word300", "word110"]
    assert [v.holds for v in check.verdicts] == [True, False, True, False]
    assert not check.holds and check_tokens(checkpoint, ["word301"]).holds


def test_the_document(checkpoint):
    document = check_tokens(checkpoint, ["word301"], [ZERO]).to_dict()
    assert document["schema"] == "forensics.check/1" and document["holds"] is False and document["notes"] == []
    assert document["tokens"] == [
        {"token_id": 301, "text": "word301", "holds": True, "reasons": []},
        {
            "token_id": ZERO, "text": "word110", "holds": False,
            "reasons": [{"fault": "dead", "detail": "its row is all zeros"}],
        },
    ]  # fmt: skip


def test_a_text_that_no_text_gives_is_found_by_its_piece(checkpoint):
    (verdict,) = check_tokens(checkpoint, ["two words"]).verdicts
    assert verdict.token_id == SPLIT


def test_the_stand_in_for_unknown_text_is_not_the_token(checkpoint):
    with pytest.raises(SelectionError, match="'nosuchword' is not one token; no piece reads so"):
        check_tokens(checkpoint, ["nosuchword"])
    (verdict,) = check_tokens(checkpoint, ["<unk>"]).verdicts
    assert (verdict.token_id, verdict.text) == (UNKNOWN, "<unk>")


def test_what_a_text_encodes_to_is_said(checkpoint):
    said = (
        r"'word300 word301' is not one token; the tokenizer makes it into 2: \"word300\" \(300\) \| \"word301\" \(301\)"
    )
    with pytest.raises(SelectionError, match=said):
        check_tokens(checkpoint, ["word300 word301"])
    many = " ".join(f"word{i}" for i in range(300, 340))
    with pytest.raises(SelectionError) as error:
        check_tokens(checkpoint, [many])
    assert (
        len(error.value.message) < 400 and "into 40:" in error.value.message and error.value.message.endswith("| ...")
    )


@pytest.mark.parametrize("token", [-1, ROWS, 10**30])
def test_an_id_beyond_the_matrix_is_refused(checkpoint, token):
    with pytest.raises(SelectionError) as error:
        check_tokens(checkpoint, (), [token])
    assert f"{ROWS:,} rows" in error.value.hint


def test_a_text_beyond_the_matrix_is_refused(tmp_path):
    """A tokenizer larger than the matrix: its last tokens have no row to judge."""
    larger = opened(tmp_path / "m", document=tokenizer([f"w{i}" for i in range(ROWS + 5)]))
    assert check_tokens(larger, [f"w{HEALTHY}"]).holds
    with pytest.raises(SelectionError, match="token 1,203 is not there"):
        check_tokens(larger, [f"w{ROWS + 3}"])


def test_pieces_alone_are_enough_to_name_a_token_unless_two_read_alike():
    texts = [f"p{i}" for i in range(ROWS - 2)] + ["same", "same"]
    embedding = Embedding.from_array(values())
    checkpoint = Checkpoint(Source("memory", "x"), (embedding,), "absent", Vocabulary(tuple(texts), "plain"))
    assert check_tokens(checkpoint, [f"p{HEALTHY}"]).holds
    with pytest.raises(SelectionError, match="2 tokens have the text 'same'"):
        check_tokens(checkpoint, ["same"])
    with pytest.raises(SelectionError, match="'' is not one token"):
        check_tokens(checkpoint, [""])


def test_without_a_tokenizer_ids_alone_name_tokens():
    checkpoint = Checkpoint(Source("memory", "x"), (Embedding.from_array(values()),), "absent")
    with pytest.raises(SelectionError, match="no tokenizer tells which token has the text 'a'"):
        check_tokens(checkpoint, ["a"])
    check = check_tokens(checkpoint, (), [HEALTHY, ZERO])
    assert [v.holds for v in check.verdicts] == [True, False] and check.verdicts[0].text is None
    assert check.to_dict()["notes"] == ["no tokenizer: tokens are known by id only"]


def test_every_matrix_is_asked_and_named(tmp_path):
    rows = values()
    out = rows[: ROWS - 20].copy()
    out[ZERO], out[HEALTHY] = rows[301], 0
    untied = opened(tmp_path / "m", {"wte.weight": rows, "lm_head.weight": out})
    details = {v.token_id: v.reasons for v in check_tokens(untied, (), [ZERO, HEALTHY, PADDING[0]]).verdicts}
    assert next(r.detail for r in details[ZERO] if r.fault == "dead") == "wte.weight: its row is all zeros"
    assert [(r.fault, r.detail) for r in details[HEALTHY]] == [("dead", "lm_head.weight: its row is all zeros")]
    assert ("no row", "lm_head.weight: it has 1,180 rows") in [(r.fault, r.detail) for r in details[PADDING[0]]]


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 4), (2, 4)])
def test_tiny_matrices(shape):
    rows = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    assert check_tokens(Checkpoint(Source("memory", "x"), (Embedding.from_array(rows),), "absent"), (), [0]).holds
