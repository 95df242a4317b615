"""The tokens of a checkpoint: what was planted comes back, whatever the model lacks, and undefined figures are null."""

import json

import numpy as np
import pytest

from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.scanning.token_claims import claims
from forensics.scanning.tokens import TOKENS_SCHEMA, scan_tokens
from forensics.sources import open_checkpoint
from forensics.synthetic import plant
from forensics.vocabulary import Vocabulary, take_census
from forensics.vocabulary.untrained import UNTRAINED, untrained_sources
from tests.scanning import planted_model as planted
from tests.scanning.planted_model import DEAD, HEALTHY, NEAR, PADDING, ROWS, UNDER_TRAINED, ZERO, opened, tokenizer


def checkpoint_of(*embeddings, tied="absent", vocabulary=None, config=None, bias=None):
    return Checkpoint(Source("memory", "test"), embeddings, tied, vocabulary, config or {}, output_bias=bias)


def strict(result):
    """The document, if it is JSON without a nan."""
    return json.loads(json.dumps(result.to_dict(), allow_nan=False))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def result(checkpoint):
    return scan_tokens(checkpoint)


def test_the_planted_tokens_come_back(result):
    (matrix,) = result.matrices
    assert {*UNDER_TRAINED, *DEAD, *NEAR, ZERO} <= set(matrix.candidates.token_ids.tolist())
    assert len(matrix.candidates) <= len(UNDER_TRAINED) + 9
    assert HEALTHY not in matrix.candidates.token_ids
    assert {*UNDER_TRAINED, *DEAD} <= set(matrix.reference.token_ids.tolist())
    assert result.census.mask("unreachable").nonzero()[0].tolist() == [planted.SPLIT, *PADDING]


def test_the_document(result):
    document = strict(result)
    assert document["schema"] == TOKENS_SCHEMA and document["notes"] == []
    assert document["source"]["kind"] == "folder"
    (matrix,) = document["matrices"]
    assert (matrix["role"], matrix["shape"], matrix["dtype"]) == ("input", [ROWS, 48], "bfloat16")
    assert len(matrix["sha256"]) == 64
    assert {s["name"]: s["offered"] for s in matrix["reference"]["sources"]}["padding"] == len(PADDING)
    assert strict(result) == document


def test_claims_name_their_sets(result):
    first, candidates, *_ = claims(result.matrices[0])
    assert first == "6 tokens share 2 rows; 0 % of them (0) cannot be produced by the tokenizer."
    n = len(result.matrices[0].candidates)
    assert candidates.startswith(f"{n} tokens look under-trained, apart from the bulk by: norm ({n})")


def test_the_fixed_share_is_no_verdict(checkpoint):
    result = scan_tokens(checkpoint, rule="percentile")
    assert result.command.endswith("--rule percentile")
    # Of 1,199 rows that have a norm, with the one at the threshold.
    assert len(result.matrices[0].candidates) == 25
    assert list(claims(result.matrices[0]))[1] == (
        "25 candidates, the lowest 2 % by norm: a fixed share, which every matrix has."
    )


def test_sources_are_those_that_a_tokenizer_tells(checkpoint):
    census = take_census(checkpoint.vocabulary, ROWS)
    sources = untrained_sources(census, ROWS)
    assert list(sources) == list(UNTRAINED)
    assert sources["padding"].token_ids.tolist() == list(PADDING)
    assert max(map(max, (s.token_ids for s in untrained_sources(census, 130).values() if len(s)))) < 130
    assert untrained_sources(take_census(None, ROWS), ROWS) == {}  # no tokenizer: not that all is padding
    assert "unreachable" not in untrained_sources(take_census(Vocabulary(("a",) * 9, "plain"), ROWS), ROWS)


@pytest.mark.parametrize(
    ("role", "tied", "config", "main"),
    [
        ("input", "absent", {}, "norm"),
        ("input", "absent", {"tie_word_embeddings": False}, "norm"),
        ("input", "absent", {"tie_word_embeddings": True}, "cosine"),
        ("input", None, {"tie_word_embeddings": True}, "norm"),
        ("tied", "identical", {}, "cosine"),
        ("output", None, {}, "cosine"),
    ],
)
def test_the_main_indicator_is_the_published_choice(role, tied, config, main):
    embedding = Embedding.from_array(planted.values(), role=role)
    (matrix,) = scan_tokens(checkpoint_of(embedding, tied=tied, config=config)).matrices
    assert matrix.indicators.main == main
    assert matrix.candidates.token_ids.tolist() == sorted(
        matrix.candidates.token_ids.tolist(), key=lambda i: (matrix.indicators.values[main][i], i)
    )


def test_a_tied_healthy_matrix_without_a_reference_keeps_the_norm():
    config = {"tie_word_embeddings": True}
    (matrix,) = scan_tokens(checkpoint_of(plant("healthy", rows=500, dim=32).embedding(), config=config)).matrices
    assert matrix.indicators.main == "norm" and len(matrix.candidates) == 0
    assert list(claims(matrix))[1:] == [
        "No token is set apart from the bulk by any indicator that could be measured (norm).",
        "No reference of untrained tokens was found: indicators that are measured against one are left out.",
    ]


def test_a_zero_row_alone_is_named_as_such():
    rows = np.random.default_rng(0).normal(0, 1, (500, 32)).astype(np.float32)
    rows[7] = 0
    (matrix,) = scan_tokens(checkpoint_of(Embedding.from_array(rows))).matrices
    assert list(claims(matrix))[1] == "1 token looks under-trained, apart from the bulk by: zero rows (1)."


def test_untied_matrices_of_different_sizes(tmp_path):
    rows = planted.values()
    tensors = {"wte.weight": rows, "lm_head.weight": rows[: ROWS - 20][::-1].copy()}
    result = scan_tokens(opened(tmp_path / "m", tensors))
    first, second = result.matrices
    assert len(result.census) == ROWS
    assert [m.indicators.main for m in result.matrices] == ["norm", "cosine"]
    assert [len(m.indicators.values["norm"]) for m in result.matrices] == [ROWS, ROWS - 20]
    assert first.candidates.token_ids.tolist() != second.candidates.token_ids.tolist()
    assert {(ROWS - 21) - i for i in UNDER_TRAINED} <= set(second.candidates.token_ids.tolist())
    assert [m["role"] for m in strict(result)["matrices"]] == ["input", "output"]


def test_the_bias_is_of_the_matrix_that_scores():
    rows, bias = planted.values(), np.linspace(-1, 1, ROWS, dtype=np.float32)
    e_in, e_out = Embedding.from_array(rows), Embedding.from_array(rows[::-1].copy(), role="output")
    untied = scan_tokens(checkpoint_of(e_in, e_out, tied="different", bias=bias))
    assert ["bias" in m.indicators.values for m in untied.matrices] == [False, True]
    alone = scan_tokens(checkpoint_of(e_in, bias=bias)).matrices[0]
    np.testing.assert_array_equal(alone.indicators.values["bias"], bias)
    assert "bias" not in scan_tokens(checkpoint_of(e_in, bias=bias[1:])).matrices[0].indicators.values


def test_quantised():
    result = scan_tokens(open_checkpoint("synth:cause-quantised"))
    (matrix,) = strict(result)["matrices"]
    assert matrix["dtype"] == "Q8_0" and matrix["causes"]["tokens"]["quantised"] == 11


@pytest.mark.parametrize("cause", ["zero", "mean", "mean-noise", "collinear", "frozen"])
def test_planted_causes_are_named(cause):
    result = scan_tokens(open_checkpoint(f"synth:cause-{cause}"))
    assert cause in strict(result)["matrices"][0]["causes"]["tokens"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 8), (2, 8), (60, 1), (60, 8)])
def test_matrices_of_one_value(value, shape):
    result = scan_tokens(checkpoint_of(Embedding.from_array(np.full(shape, value, np.float32))))
    (matrix,) = strict(result)["matrices"]
    assert matrix["in_hole"]["tokens"] == (shape[0] if shape[0] > 1 else 0)
    assert matrix["candidates"]["tokens"] == (shape[0] if value == 0 else 0)


@pytest.mark.parametrize(
    ("document", "n_notes"),
    [
        (False, 1),
        ({"model": {"type": "WordLevel", "vocab": {"a": "b"}}}, 2),
        (tokenizer([f"other{i}" for i in range(40)]), 0),
        (tokenizer([f"other{i}" for i in range(2 * ROWS)]), 1),
        (tokenizer() | {"model": tokenizer()["model"] | {"type": "NoSuchModel"}}, 1),
    ],
    ids=["none", "corrupt", "smaller", "larger", "unknown model"],
)
def test_a_tokenizer_that_does_not_fit_is_a_note_and_the_rest_goes_on(tmp_path, document, n_notes):
    result = scan_tokens(opened(tmp_path / "m", document=document))
    assert len(strict(result)["notes"]) == n_notes
    assert {*UNDER_TRAINED, *DEAD} <= set(result.matrices[0].candidates.token_ids.tolist())


def test_a_tokenizer_that_cannot_be_parsed_at_all(tmp_path):
    opened(tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").write_bytes(b"\xff{not json")
    result = scan_tokens(open_checkpoint(str(tmp_path / "m")))
    assert any("tokenizer.json" in note for note in strict(result)["notes"])
    assert "not known" in next(claims(result.matrices[0]))


def test_a_document_lists_the_first_of_what_can_be_endless():
    rows = np.repeat(np.random.default_rng(0).normal(0, 1, (300, 8)).astype(np.float32), 2, axis=0)
    rows[:200] = rows[0]
    causes = strict(scan_tokens(checkpoint_of(Embedding.from_array(rows))))["matrices"][0]["causes"]
    assert (causes["groups"], len(causes["listed"]), causes["tokens"]) == (201, 64, {"unexplained": 600})
    assert causes["listed"][0]["tokens"] == 200 and causes["listed"][0]["first"] == list(range(64))


def test_progress_names_every_stage(checkpoint):
    stages = []
    scan_tokens(checkpoint, progress=stages.append)
    tail = [stage.rpartition(": ")[2] for stage in stages]
    assert tail[0] == "tokenizer"
    assert tail[-5:] == ["identical rows", "reference", "indicators", "halo", "causes"]
