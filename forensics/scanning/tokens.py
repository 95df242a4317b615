"""Who is dead, who is under-trained, and why: what the tokenizer, the bytes and the indicators say together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles, find_black_holes
from forensics.causes import Causes
from forensics.checkpoint import Checkpoint
from forensics.checkpoint.naming import config_ties
from forensics.embedding import Embedding
from forensics.measures import Population
from forensics.scanning.production import (
    Production,
    all_notes,
    causes_dict,
    explain_groups,
    in_holes,
    measure_production,
)
from forensics.scanning.result import Progress
from forensics.undertrained import (
    Candidates,
    Halo,
    Indicators,
    Reference,
    Rule,
    find_candidates,
    find_halo,
    find_reference,
    measure_indicators,
)
from forensics.vocabulary import Census, take_census
from forensics.vocabulary.untrained import untrained_sources

TOKENS_SCHEMA = "forensics.tokens/1"


@dataclass(frozen=True, slots=True, eq=False)
class MatrixTokens:
    """What was found of one matrix's tokens.

    Attributes:
        embedding: the matrix.
        holes: its black holes.
        in_hole: the tokens of its black holes, zero rows among them, by what the tokenizer can produce.
        reference: the untrained tokens found, and the sources that they were found from.
        indicators: the published figures of every token.
        candidates: tokens that look under-trained.
        halo: tokens near a hole or the reference without being in it.
        causes: what made each group of equal or nearly equal rows.
    """

    embedding: Embedding
    holes: BlackHoles
    in_hole: Production
    reference: Reference
    indicators: Indicators
    candidates: Candidates
    halo: Halo
    causes: Causes

    def to_dict(self) -> dict[str, Any]:
        """One entry of ``matrices`` in tokens.json."""
        return {
            **self.embedding.to_dict(),
            "in_hole": self.in_hole.to_dict(),
            "reference": self.reference.to_dict(),
            "indicators": self.indicators.to_dict(),
            "candidates": self.candidates.to_dict(),
            "halo": self.halo.to_dict(),
            "causes": causes_dict(self.causes),
        }


@dataclass(frozen=True, slots=True, eq=False)
class TokenScan:
    """The tokens of a checkpoint.

    Attributes:
        checkpoint: what was opened.
        census: what each token is, and whether text can produce it.
        matrices: one result a matrix.
        rule: how candidates were chosen.
    """

    checkpoint: Checkpoint
    census: Census
    matrices: tuple[MatrixTokens, ...]
    rule: Rule = "separation"

    @property
    def notes(self) -> list[str]:
        """What a reader of the results must know."""
        return all_notes(self.checkpoint, self.census)

    @property
    def command(self) -> str:
        """What to type to do it again."""
        return self.checkpoint.command("tokens", *(["--rule", self.rule] if self.rule != "separation" else []))

    def to_dict(self) -> dict[str, Any]:
        """The content of tokens.json."""
        return {
            "schema": TOKENS_SCHEMA,
            "source": self.checkpoint.source.to_dict(),
            "notes": self.notes,
            "census": self.census.to_dict(),
            "matrices": [m.to_dict() for m in self.matrices],
        }


def scan_tokens(checkpoint: Checkpoint, *, rule: Rule = "separation", progress: Progress | None = None) -> TokenScan:
    """Everything the tool can say of a checkpoint's tokens.

    Args:
        checkpoint: from :func:`forensics.open_checkpoint`.
        rule: how under-trained candidates are chosen; "percentile" is the published fixed share.
        progress: called with the name of each stage as it starts.
    """
    tell = progress or _ignore
    tell("tokenizer")
    census = take_census(checkpoint.vocabulary, max(e.n_rows for e in checkpoint.matrices), progress=progress)
    matrices = tuple(_matrix(checkpoint, embedding, census, rule, tell) for embedding in checkpoint.matrices)
    return TokenScan(checkpoint, census, matrices, rule)


def _ignore(stage: str) -> None:
    pass


def _matrix(checkpoint: Checkpoint, embedding: Embedding, census: Census, rule: Rule, tell: Progress) -> MatrixTokens:
    tell(f"{embedding.tensor}: identical rows")
    holes = find_black_holes(embedding)
    tell(f"{embedding.tensor}: reference")
    reference = find_reference(embedding, holes, untrained_sources(census, embedding.n_rows))
    tell(f"{embedding.tensor}: indicators")
    indicators = measure_indicators(embedding, reference.token_ids, bias=_bias(checkpoint, embedding))
    if "cosine" in indicators.values and _scores(checkpoint, embedding):
        indicators = replace(indicators, main="cosine")  # the published choice where E_in is E_out
    candidates = find_candidates(indicators, holes, rule=rule)
    tell(f"{embedding.tensor}: halo")
    halo = find_halo(embedding, holes, reference)
    tell(f"{embedding.tensor}: causes")
    near = Population("halo", "tokens near a hole or the reference", halo.token_ids)
    causes = explain_groups(embedding, holes, census, [near] if len(near) else [])
    return MatrixTokens(
        embedding, holes, measure_production(census, in_holes(holes)), reference, indicators, candidates, halo, causes
    )


def _scores(checkpoint: Checkpoint, embedding: Embedding) -> bool:
    """Whether the matrix is known to score tokens: as stored, or as the config ties an E_out that is not."""
    by_config = checkpoint.tied == "absent" and config_ties(checkpoint.config) is True
    return by_config or embedding.role in ("output", "tied")


def _bias(checkpoint: Checkpoint, embedding: Embedding) -> NDArray[np.float32] | None:
    """The output layer's bias, for the matrix that scores tokens: the last, or the only one."""
    bias = checkpoint.output_bias
    is_last = embedding is checkpoint.matrices[-1]
    return bias if is_last and bias is not None and len(bias) == embedding.n_rows else None
