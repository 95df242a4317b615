"""Whether named tokens are fit for use: neither dead nor under-trained, padding or beyond what text can produce."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from forensics.causes import CAUSES
from forensics.checkpoint import Checkpoint
from forensics.errors import CheckpointError, SelectionError
from forensics.scanning.result import Progress
from forensics.scanning.tokens import MatrixTokens, TokenScan, scan_tokens
from forensics.vocabulary import Census

CHECK_SCHEMA = "forensics.check/1"

Fault = Literal["padding", "unreachable", "dead", "near-dead", "under-trained"]
"""padding: beyond the tokenizer; unreachable: no text gives it; dead: its row is zero or another token's, bit for bit;
near-dead: its row lies in the halo of such rows; under-trained: an indicator sets it apart from the bulk."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What stands against a token.

    Attributes:
        fault: the kind.
        detail: what says so, in one line.
    """

    fault: Fault
    detail: str


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """One token asked for.

    Attributes:
        token_id: its id.
        text: what it puts into text; None where no tokenizer tells.
        reasons: what stands against it; none if it is fit for use.
    """

    token_id: int
    text: str | None
    reasons: tuple[Reason, ...]

    @property
    def holds(self) -> bool:
        """Nothing stands against it."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        reasons = [{"fault": r.fault, "detail": r.detail} for r in self.reasons]
        return {"token_id": self.token_id, "text": self.text, "holds": self.holds, "reasons": reasons}


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """The tokens asked for, each with its verdict.

    Attributes:
        scan: what the verdicts rest on.
        verdicts: in the order asked for.
    """

    scan: TokenScan
    verdicts: tuple[TokenVerdict, ...]

    @property
    def holds(self) -> bool:
        """Nothing stands against any token."""
        return all(verdict.holds for verdict in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        source = self.scan.checkpoint.source.to_dict()
        return {"schema": CHECK_SCHEMA, "source": source, "tokens": [v.to_dict() for v in self.verdicts]}


def check_tokens(
    checkpoint: Checkpoint,
    texts: Sequence[str] = (),
    token_ids: Sequence[int] = (),
    *,
    progress: Progress | None = None,
) -> Check:
    """Judges tokens, by text and by id.

    Args:
        checkpoint: from :func:`forensics.open_checkpoint`.
        texts: each the whole text of one token.
        token_ids: rows of the matrix.
        progress: called with the name of each stage as it starts.

    Raises:
        SelectionError: a text that is not one token's, or an id beyond the matrix.
    """
    n_rows = max(e.n_rows for e in checkpoint.matrices)
    for i in token_ids:
        if not 0 <= i < n_rows:
            raise SelectionError(f"token {i:,} is not there", hint=f"the matrix has {n_rows:,} rows")
    ids = [*(token_of(checkpoint, text) for text in texts), *token_ids]
    scan = scan_tokens(checkpoint, progress=progress)
    text_of = scan.census.vocabulary.text
    return Check(scan, tuple(TokenVerdict(i, text_of(i), tuple(_reasons(scan, i))) for i in dict.fromkeys(ids)))


def token_of(checkpoint: Checkpoint, text: str) -> int:
    """The token of a text: the one id that the tokenizer makes of it, or else the one token that reads so.

    Raises:
        SelectionError: there is no tokenizer, no such token, or more than one.
    """
    vocabulary = checkpoint.vocabulary
    if vocabulary is None or not len(vocabulary):
        raise SelectionError(f"no tokenizer tells which token has the text {text[:60]!r}", hint="name it by --id")
    ids: Sequence[int] = ()
    try:
        encoder = vocabulary.encoder()
        ids = next(encoder.encode([text])) if encoder is not None else ()
    except CheckpointError:
        pass  # without an encoder the pieces themselves are asked
    if len(ids) == 1:
        return int(ids[0])
    alike = [i for i in range(len(vocabulary)) if vocabulary.text(i) == text]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise SelectionError(f"{len(alike)} tokens have the text {text[:60]!r}", hint=f"name one by --id: {alike[:8]}")
    parts = f"the tokenizer makes it into {len(ids)}: {list(ids[:12])}" if ids else "no piece reads so"
    raise SelectionError(f"{text[:60]!r} is not one token; {parts}", hint="name the token by --id, or another text")


def _reasons(scan: TokenScan, token_id: int) -> Iterator[Reason]:
    yield from _of_tokenizer(scan.census, token_id)
    for matrix in scan.matrices:
        if token_id < matrix.embedding.n_rows:
            where = f"{matrix.embedding.tensor}: " if len(scan.matrices) > 1 else ""
            yield from (Reason(r.fault, where + r.detail) for r in _of_matrix(matrix, token_id))


def _of_tokenizer(census: Census, token_id: int) -> Iterator[Reason]:
    ground = census.grounds.get(token_id)
    if len(census.vocabulary) and token_id >= len(census.vocabulary):
        yield Reason("padding", f"the tokenizer has {len(census.vocabulary):,} tokens")
    elif ground is not None:
        proof = "" if ground.proved else f" (in {ground.tried:,} texts tried)"
        yield Reason("unreachable", f"{ground.cause}: {ground.detail}{proof}")


def _of_matrix(matrix: MatrixTokens, token_id: int) -> Iterator[Reason]:
    number = int(matrix.holes.hole_ids[token_id])
    causes = "; ".join(CAUSES[group.cause] for group in matrix.causes.of(token_id))
    if number:
        hole = matrix.holes.holes[number - 1]
        row = "all zeros" if hole.is_zero else f"bit for bit that of {hole.population - 1:,} others (hole {number})"
        yield Reason("dead", f"its row is {row}; cause: {causes or CAUSES['unexplained']}")
    flags = matrix.candidates.indicators_of(token_id)
    if matrix.indicators.values["norm"][token_id] == 0 and not number:
        yield Reason("dead", "its row is all zeros")
    elif flags:
        yield Reason("under-trained", f"set apart from the bulk by {', '.join(flags)}")
    if token_id in matrix.halo.token_ids and not number:
        yield Reason("near-dead", f"in the halo of the holes or the reference; cause: {causes or 'not told'}")
