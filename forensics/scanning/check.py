"""Whether named tokens are fit for use: neither dead nor under-trained, padding or beyond what text can produce."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from forensics.causes import CAUSES
from forensics.checkpoint import Checkpoint
from forensics.errors import CheckpointError, SelectionError
from forensics.scanning.result import Progress
from forensics.scanning.tokens import MatrixTokens, TokenScan, scan_tokens
from forensics.text import literal
from forensics.vocabulary import Census, Vocabulary

CHECK_SCHEMA = "forensics.check/1"

Fault = Literal[
    "padding", "unreachable", "dead", "duplicate", "near-dead", "under-trained", "not finite", "no row"
]  # fmt: skip
"""padding: beyond the tokenizer; unreachable: no text gives it; dead: its row is zero or another token's, bit for bit;
duplicate: the same, of a row that was copied from an ordinary token; near-dead: its row lies in the halo of dead rows;
under-trained: an indicator sets it apart from the bulk; not finite: its row holds an infinity or a nan; no row: one of
two matrices ends before it."""


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
        return {
            "schema": CHECK_SCHEMA,
            "source": source,
            "holds": self.holds,
            "notes": self.scan.notes,
            "tokens": [v.to_dict() for v in self.verdicts],
        }


def check_tokens(
    checkpoint: Checkpoint,
    texts: Sequence[str] = (),
    token_ids: Sequence[int] = (),
    *,
    progress: Progress | None = None,
) -> Check:
    """Judges tokens, by text and by id, each once.

    Args:
        checkpoint: from :func:`forensics.open_checkpoint`.
        texts: each the whole text of one token.
        token_ids: rows of the matrix.
        progress: called with the name of each stage as it starts.

    Raises:
        SelectionError: a text that is not one token's, or an id beyond the matrix.
    """
    n_rows = max(e.n_rows for e in checkpoint.matrices)
    ids = [*_tokens_of(checkpoint, texts), *token_ids]
    for i in ids:
        if not 0 <= i < n_rows:
            raise SelectionError(f"token {i:,} is not there", hint=f"the matrix has {n_rows:,} rows")
    scan = scan_tokens(checkpoint, progress=progress)
    text_of = scan.census.vocabulary.text
    return Check(scan, tuple(TokenVerdict(i, text_of(i), tuple(_reasons(scan, i))) for i in dict.fromkeys(ids)))


def _tokens_of(checkpoint: Checkpoint, texts: Sequence[str]) -> Iterator[int]:
    """The token of each text: the one id that the tokenizer makes of it, or else the one token that reads so.

    Raises:
        SelectionError: there is no tokenizer, no such token, or more than one.
    """
    if not texts:
        return
    vocabulary = checkpoint.vocabulary
    if vocabulary is None or not len(vocabulary):
        raise SelectionError(f"no tokenizer tells which token has the text {texts[0][:60]!r}", hint="name it by --id")
    for text, ids in zip(texts, _encodings(vocabulary, texts), strict=True):
        yield ids[0] if len(ids) == 1 else _alike(vocabulary, text, ids)


def _encodings(vocabulary: Vocabulary, texts: Sequence[str]) -> Iterator[list[int]]:
    """What the tokenizer makes of each text; nothing where it cannot be asked, or has only a stand-in for it."""
    try:
        encoder = vocabulary.encoder()
        encoded = [[]] * len(texts) if encoder is None else list(encoder.encode(texts))
    except CheckpointError:
        yield from ([] for _ in texts)  # then the pieces themselves are asked
        return
    model = {} if encoder is None else encoder.document["model"]
    for ids in encoded:
        piece = vocabulary.pieces[ids[0]] if len(ids) == 1 else None
        is_unknown = piece is not None and (piece == model.get("unk_token") or ids[0] == model.get("unk_id"))
        yield [] if is_unknown else list(ids)


def _alike(vocabulary: Vocabulary, text: str, ids: Sequence[int]) -> int:
    """The one token that reads so, though the tokenizer makes something else of the text."""
    alike = [i for i in range(len(vocabulary)) if vocabulary.text(i) == text]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise SelectionError(f"{len(alike)} tokens have the text {text[:60]!r}", hint=f"name one by --id: {alike[:8]}")
    made = " | ".join(f"{literal(vocabulary.text(i) or '', 32)} ({i})" for i in ids[:8])
    more = " | ..." if len(ids) > 8 else ""
    told = f"the tokenizer makes it into {len(ids)}: {made}{more}" if ids else "no piece reads so"
    raise SelectionError(f"{text[:60]!r} is not one token; {told}", hint="name the token by --id, or another text")


def _reasons(scan: TokenScan, token_id: int) -> Iterator[Reason]:
    yield from _of_tokenizer(scan.census, token_id)
    for matrix in scan.matrices:
        e = matrix.embedding
        where = f"{e.tensor}: " if len(scan.matrices) > 1 else ""
        if token_id >= e.n_rows:
            yield Reason("no row", f"{where}it has {e.n_rows:,} rows")
        else:
            yield from (Reason(r.fault, where + r.detail) for r in _of_matrix(matrix, token_id))


def _of_tokenizer(census: Census, token_id: int) -> Iterator[Reason]:
    ground = census.grounds.get(token_id)
    if len(census.vocabulary) and token_id >= len(census.vocabulary):
        yield Reason("padding", f"the tokenizer has {len(census.vocabulary):,} tokens")
    elif ground is not None:
        tried = f" ({ground.tried:,} texts tried)" if ground.tried and not ground.proved else ""
        yield Reason("unreachable", f"{ground.cause}: {ground.detail}{tried}")


def _of_matrix(matrix: MatrixTokens, token_id: int) -> Iterator[Reason]:
    norm, number = matrix.indicators.values["norm"][token_id], int(matrix.holes.hole_ids[token_id])
    groups = matrix.causes.of(token_id)
    causes = "; ".join(dict.fromkeys(CAUSES[group.cause] for group in groups)) or CAUSES["unexplained"]
    if norm == 0:
        yield Reason("dead", "its row is all zeros")
        return
    if not np.isfinite(norm):
        yield Reason("not finite", "its row holds an infinity or a nan")
    if number:
        n = matrix.holes.holes[number - 1].population - 1
        others = "another token" if n == 1 else f"{n:,} other tokens"
        fault: Fault = "duplicate" if any(g.kind == "hole" and g.cause == "copied" for g in groups) else "dead"
        yield Reason(fault, f"its row is bit for bit that of {others} (hole {number}); cause: {causes}")
    flags = matrix.candidates.indicators_of(token_id)
    # The halo's edge is the largest gap, which is no test by itself.
    if (flags or matrix.halo.is_apart) and not number and token_id in matrix.halo.token_ids:
        yield Reason("near-dead", f"in the halo of the holes or the reference; cause: {causes}")
    if flags:
        yield Reason("under-trained", f"apart from the bulk by {', '.join(flags)}")
