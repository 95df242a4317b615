"""What a tokenizer says of a matrix's tokens: which sets of them it can produce, and what it adds to their causes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forensics.black_holes import BlackHoles
from forensics.causes import Causes, classify_causes
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding
from forensics.measures import Population
from forensics.vocabulary import Census
from forensics.vocabulary.categories import CATEGORIES
from forensics.vocabulary.census import STATES

LISTED = 64
"""Groups, and tokens of each, that a document lists; the CSV beside it has the cause of every token."""


@dataclass(frozen=True, slots=True)
class Production:
    """How many tokens of a set the tokenizer can produce.

    Attributes:
        population: the set.
        tokens: in it.
        unreachable: those that no text was found to give, padding included.
        unknown: those of which that cannot be told.
        counts: tokens by (category, script, "reachable", "unreachable" or "unknown"); none without a tokenizer.
        grounds: of the unreachable, by (cause, detail of the place).
    """

    population: str
    tokens: int
    unreachable: int
    unknown: int
    counts: tuple[tuple[str, str, str, int], ...]
    grounds: tuple[tuple[str, str, int], ...]

    @property
    def is_known(self) -> bool:
        """Of some of its tokens it can be told; of an empty set there is nothing to tell."""
        return self.unknown < self.tokens or not self.tokens

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "population": self.population,
            "tokens": self.tokens,
            "unreachable": self.unreachable if self.is_known else None,
            "unknown": self.unknown,
            "counts": [
                dict(zip(("category", "script", "reachable", "tokens"), row, strict=True)) for row in self.counts
            ],
            "grounds": [dict(zip(("cause", "where", "tokens"), row, strict=True)) for row in self.grounds],
        }


def measure_production(census: Census, population: Population) -> Production:
    """What the tokenizer makes of a set of tokens.

    Args:
        census: of the matrix's rows.
        population: the set.
    """
    ids = population.token_ids.tolist()
    rows = [(_kind(census, i), census.grounds.get(i)) for i in ids]
    counts = Counter(kind for kind, _ in rows)
    grounds = Counter((ground.cause, ground.where) for _, ground in rows if ground is not None)
    by_state = Counter(state for _, _, state in counts.elements())
    if not len(census.vocabulary):
        counts.clear()  # without a tokenizer no token is of a category
    return Production(
        population.name,
        len(ids),
        by_state["unreachable"],
        by_state["unknown"],
        tuple(sorted(((*kind, n) for kind, n in counts.items()), key=lambda row: (-row[3], row))),
        tuple(sorted(((*ground, n) for ground, n in grounds.items()), key=lambda row: (-row[2], row))),
    )


def _kind(census: Census, token_id: int) -> tuple[str, str, str]:
    category = CATEGORIES[census.category[token_id]]
    return category, census.scripts[census.script[token_id]], STATES[int(census.state[token_id])]


def in_holes(holes: BlackHoles) -> Population:
    """The tokens of all black holes, zero rows among them."""
    definition = "tokens whose stored row is bit-identical to another token's, zero rows included"
    return Population("in a hole", definition, np.flatnonzero(holes.mask))


def explain_groups(
    embedding: Embedding, holes: BlackHoles, census: Census, groups: Sequence[Population] = ()
) -> Causes:
    """What made each group of equal or nearly equal rows, with what the tokenizer tells, where there is one."""
    has_pieces = len(census.vocabulary) > 0
    masks = {"padding": "padding", "added": "special", "unreachable": "unreachable"}
    told = {key: census.mask(name)[: embedding.n_rows] for key, name in masks.items() if has_pieces}
    if census.origin is None:
        told.pop("unreachable", None)
    return classify_causes(embedding, holes, groups=groups, **told)


def causes_dict(causes: Causes) -> dict[str, Any]:
    """Plain values of the first groups and of their first tokens: a matrix can be nothing but pairs."""
    groups = []
    for group in causes.groups[:LISTED]:
        fields = group.to_dict()
        groups.append(fields | {"first": fields.pop("token_ids")[:LISTED]})
    counts = {"tokens": causes.tokens, "groups": len(causes.groups), "left_out": causes.left_out}
    return {**counts, "listed": groups}


def all_notes(checkpoint: Checkpoint, census: Census) -> list[str]:
    """What a reader of the results must know, of the checkpoint and of its census; nothing is said twice."""
    said = " ".join(checkpoint.notes)
    return [*checkpoint.notes, *(note for note in census.notes if note.rpartition(": ")[2] not in said)]
