"""Two checkpoints row by row: which matrix against which, their vocabularies, and what cannot be compared."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from forensics.checkpoint import Checkpoint
from forensics.checkpoint.naming import config_ties
from forensics.diff import MatrixDiff, diff_embeddings, pair_by_id
from forensics.diff.pairing import Match
from forensics.embedding import Embedding, Role
from forensics.errors import SelectionError, TensorNotFoundError
from forensics.scanning.diff_vocabulary import VocabularyDiff, diff_vocabularies, pair_by_piece
from forensics.scanning.result import Progress

DIFF_SCHEMA = "forensics.diff/1"

WITHIN = 1
"""Steps within which a row has moved rather than changed, unless another number is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointDiff:
    """Checkpoint B against checkpoint A.

    Attributes:
        first, second: A and B.
        matrices: one comparison for E_in and one for E_out; one alone where both checkpoints are tied.
        vocabulary: how the tokenizers differ; None where one is missing.
        notes: what could not be compared, and what a reader must know.
        match, within, role: what was asked for.
    """

    first: Checkpoint
    second: Checkpoint
    matrices: tuple[MatrixDiff, ...]
    vocabulary: VocabularyDiff | None
    notes: tuple[str, ...] = ()
    match: Match = "id"
    within: int = WITHIN
    role: str | None = None

    @property
    def differs(self) -> bool:
        """Some row of some matrix differs, is removed or is added."""
        return any(diff.differs for diff in self.matrices)

    @property
    def command(self) -> str:
        """What to type to do it again."""
        words = ["forensics", "diff", self.first.source.argument, self.second.source.argument]
        words += ["--within", str(self.within)] if self.within != WITHIN else []
        words += ["--match", self.match] if self.match != "id" else []
        words += ["--role", self.role] if self.role is not None else []
        words += ["--tensor", self.first.asked] if self.first.asked is not None else []
        return shlex.join(words)

    def to_dict(self) -> dict[str, Any]:
        """The content of diff.json."""
        return {
            "schema": DIFF_SCHEMA,
            "a": {"source": self.first.source.to_dict(), "tied": self.first.tied},
            "b": {"source": self.second.source.to_dict(), "tied": self.second.tied},
            "differs": self.differs,
            "vocabulary": self.vocabulary.to_dict() if self.vocabulary else None,
            "notes": list(self.notes),
            "matrices": [diff.to_dict() for diff in self.matrices],
        }


def diff_checkpoints(
    first: Checkpoint,
    second: Checkpoint,
    *,
    match: Match = "id",
    within: int = WITHIN,
    role: str | None = None,
    progress: Progress | None = None,
) -> CheckpointDiff:
    """Holds every matrix of B against its counterpart in A.

    E_in goes with E_in and E_out with E_out; a tied matrix stands for both.

    Args:
        first: A, from :func:`forensics.open_checkpoint`.
        second: B.
        match: pair rows by "id" or by "piece".
        within: largest L-infinity distance in steps at which a row has moved rather than changed, from 0.
        role: "input" or "output" alone; all that both have if None.
        progress: called with the name of each stage as it starts.

    Raises:
        TensorNotFoundError: they have no matrix of the same role.
        SelectionError: rows are to be matched by piece, and a tokenizer is missing.
        EmbeddingError: the matrices have different numbers of dimensions.
    """
    tell = progress or (lambda stage: None)
    chosen, notes = _choose(first, second, role)
    tell("vocabularies")
    told = None
    if first.vocabulary is not None and second.vocabulary is not None:
        told = diff_vocabularies(first.vocabulary, second.vocabulary)
    if match == "piece" and told is None:
        lacks = " and ".join(str(c.source) for c in (first, second) if c.vocabulary is None)
        raise SelectionError(f"rows cannot be matched by piece: {lacks} has no tokenizer", hint="match them by id")
    results = []
    for of, a, b in chosen:
        tell(f"{of}: rows")
        # Hashing the bytes releases the interpreter: it runs beside the analysis on a second core.
        with ThreadPoolExecutor(2) as beside:
            hashing = [beside.submit(getattr, e, "sha256") for e in ((a,) if a is b else (a, b))]
            pairing = pair_by_id(a.n_rows, b.n_rows)
            if match == "piece" and told is not None:
                pairing = pair_by_piece(told.first, told.second, a.n_rows, b.n_rows)
            results.append(diff_embeddings(a, b, of=of, pairing=pairing, within=within))
            tell(f"{of}: sha256")
            for digest in hashing:
                digest.result()
    notes += _notes(first, second, results[0], told, match)
    return CheckpointDiff(first, second, tuple(results), told, tuple(notes), match, within, role)


def _choose(
    first: Checkpoint, second: Checkpoint, role: str | None
) -> tuple[list[tuple[Role, Embedding, Embedding]], list[str]]:
    """The pairs of matrices to compare, and what must be said about the choice."""
    if first.asked is not None or second.asked is not None:
        return [(first.matrix(role).role, first.matrix(role), second.matrix(role))], []
    a, b = _by_role(first), _by_role(second)
    shared = [len({id(e) for e in roles.values()}) < len(roles) for roles in (a, b)]
    if role is not None:
        pair = first.matrix(role), second.matrix(role)
        return [("tied" if all(shared) else "output" if role == "output" else "input", *pair)], []
    common = [r for r in a if r in b]
    if not common:
        held = "; ".join(f"{c.source} has {' and '.join(r)}" for c, r in ((first, a), (second, b)))
        raise TensorNotFoundError(f"no matrix of one role is in both: {held}", hint="name one with --tensor")
    notes = [
        f"{'A' if r in b else 'B'} has no {r} matrix of its own: that one is not compared"
        for r in sorted(a.keys() ^ b.keys())
    ]
    if all(shared):
        return [("tied", a["input"], b["input"])], notes
    if any(shared) and len(common) == 2:
        tied, untied = ("A", "B") if shared[0] else ("B", "A")
        notes.append(f"{tied}'s matrices are tied and {untied}'s are not: {tied}'s one matrix stands for both")
    return [(r, a[r], b[r]) for r in common], notes


def _by_role(checkpoint: Checkpoint) -> dict[Role, Embedding]:
    found: dict[Role, Embedding] = {}
    for embedding in checkpoint.matrices:
        roles: tuple[Role, ...] = ("input", "output") if embedding.role == "tied" else (embedding.role,)
        found |= dict.fromkeys(roles, embedding)
    if "output" not in found and checkpoint.tied == "absent" and "input" in found and config_ties(checkpoint.config):
        found["output"] = found["input"]
    return found


def _notes(
    first: Checkpoint, second: Checkpoint, diff: MatrixDiff, told: VocabularyDiff | None, match: Match
) -> Iterator[str]:
    sides = (("A", first, diff.first), ("B", second, diff.second))
    for name, checkpoint, matrix in sides:
        yield from (f"{name}: {remark}" for remark in checkpoint.notes)
        n = 0 if checkpoint.vocabulary is None else len(checkpoint.vocabulary)
        if n > matrix.n_rows:
            yield f"{name}'s tokenizer has {n:,} tokens, {n - matrix.n_rows:,} more than its matrix has rows"
    if told is not None and len(told.renamed) and match == "id":
        yield (
            f"{len(told.renamed):,} ids have another piece in B than in A: their rows are of different tokens; "
            "--match piece compares token with token"
        )
    removed, vocabulary = diff.pairing.removed, first.vocabulary
    if len(removed) and vocabulary is not None and match == "id":
        named = sum(i < len(vocabulary) and vocabulary.pieces[i] is not None for i in removed.tolist())
        yield f"of the {len(removed):,} rows removed, {named:,} are tokens of A's tokenizer, the others padding"
