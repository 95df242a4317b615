"""Who is dead: the tokens whose rows a hypothesis must explain, and how they were told from the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.geometry import in_hole_mask
from forensics.hypotheses.id_file import read_ids
from forensics.hypotheses.observables import OBSERVABLES
from forensics.lattice.selections import (
    distances_to_point,
    exponent_distances,
    hole_centroid,
    select_exponent,
    select_holes,
    select_radius,
    solid_holes,
)
from forensics.measures import Population
from forensics.undertrained import find_reference
from forensics.vocabulary import Census, take_census
from forensics.vocabulary.untrained import UNTRAINED, untrained_sources

Progress = Callable[[str], None]
Ids = NDArray[np.int64]

KNOWN = (
    "auto, all, recorded, radius, holes, exponent:K, zero, reserved, padding, unreachable, impossible bytes, "
    "reference, ids:FILE"
)

_BY_OUTCOME = "the dead are chosen by outcome, as those in black holes: that all are in holes is by construction"
_ZERO = "the dead are chosen because their rows are zero: what their rows are is by construction"
_ROWS = tuple(name for name, o in OBSERVABLES.items() if o.needs != "ids")
_IDS = ("tail_share", "median_id")
_IN_HOLES = ("in_hole_share", "singleton_share")
_EXPONENTS = ("shared_exponents_holes", "shared_exponents", "same_exponents_share")


@dataclass(frozen=True, slots=True, eq=False)
class Dead:
    """The dead tokens.

    Attributes:
        population: with the name of the selection; empty where nobody is found dead.
        by_construction: observables that the selection fixes, so that they are evidence of nothing.
        notes: what a reader must know of the selection.
        only_in_holes: they were chosen because they share their rows.
        no_verdict: why nothing is left to judge, one clause; None where something is.
    """

    population: Population
    by_construction: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    only_in_holes: bool = False
    no_verdict: str | None = None


def choose_dead(
    checkpoint: Checkpoint,
    embedding: Embedding,
    holes: BlackHoles,
    selection: str = "auto",
    *,
    progress: Progress | None = None,
) -> Dead:
    """The dead tokens of a matrix.

    "auto" takes the first that there is: a recording's census; tokens within the radius about the holes of a float
    matrix; two or more reserved-looking tokens; the untrained reference; tokens whose row is zero; nobody.

    Args:
        checkpoint: which the matrix is of.
        embedding: the matrix.
        holes: its black holes.
        selection: "auto", "all", "recorded", "radius", "holes", "exponent:K", "zero", a mask of the census ("reserved",
            "padding", "unreachable", "impossible bytes"), "reference" or "ids:FILE".
        progress: called with the name of each stage as it starts.

    Raises:
        SelectionError: no such selection, or a named one that has no tokens here.
    """
    choice = _Choice(checkpoint, embedding, holes, progress or (lambda stage: None))
    if selection == "auto":
        return choice.auto()
    found = choice.named(selection)
    if not len(found.population):
        raise SelectionError(
            f"{embedding.tensor}: the selection {selection[:60]!r} has no tokens ({found.population.definition})",
            hint="auto takes the first selection that has some",
        )
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """What selections are made from."""

    checkpoint: Checkpoint
    embedding: Embedding
    holes: BlackHoles
    tell: Progress

    def auto(self) -> Dead:
        """The first selection that has tokens."""
        notes: tuple[str, ...] = ()
        if self.checkpoint.dead_ids is not None:
            return self.recorded()
        if not self.embedding.is_quantised and solid_holes(self.embedding, self.holes):
            found = self.radius()
            inside = np.isin(found.population.token_ids, np.flatnonzero(in_hole_mask(self.holes)))
            if 2 * int(inside.sum()) > int(in_hole_mask(self.holes).sum()):
                return found
            notes = ("the radius about the holes' centroid leaves out most of their tokens, so it is not taken",)
        census = self.census()
        ways: tuple[Callable[[], Dead], ...] = (
            lambda: self.mask("reserved-looking", census),
            lambda: self.reference(census),
            self.zero,
        )
        for way in ways:
            found = way()
            if len(found.population) > 1:
                return replace(found, notes=notes + found.notes)
        held = int(in_hole_mask(self.holes).sum())
        definition = "no selection tells dead tokens from the others"
        if held:
            definition += (
                f"; {held:,} tokens lie in black holes: name them with --dead holes, or all rows with --dead all"
            )
        nobody = Population("nobody", definition, np.empty(0, np.int64))
        return Dead(nobody, (), notes)

    def named(self, selection: str) -> Dead:
        """A selection by its name."""
        mask = "reserved-looking" if selection == "reserved" else selection
        if mask in UNTRAINED:
            return self.mask(mask, self.census())
        if selection == "reference":
            return self.reference(self.census())
        if selection.startswith("ids:"):
            return self.listed(Path(selection.removeprefix("ids:")))
        simple = {
            "all": self.all,
            "recorded": self.recorded,
            "radius": self.radius,
            "holes": self.in_holes,
            "zero": self.zero,
        }
        if selection in simple:
            return simple[selection]()
        kind, _, within = selection.partition(":")
        if kind == "exponent" and within.isascii() and within.isdecimal() and len(within) <= 3:
            return self.exponents(int(within))
        raise SelectionError(f"unknown selection of dead tokens {selection[:40]!r}", hint=f"known: {KNOWN}")

    def all(self) -> Dead:
        """Every row: of a matrix that holds nothing else, as `forensics simulate` writes one."""
        return Dead(Population("all", "every row of the matrix", np.arange(self.embedding.n_rows)))

    def recorded(self) -> Dead:
        """By the census of a recording's training stream."""
        ids = self.checkpoint.dead_ids
        if ids is None:
            raise SelectionError(f"{self.checkpoint.source}: dead tokens are recorded of a training run alone")
        return Dead(Population("recorded", "tokens that never occur in the training stream, by its census", ids))

    def radius(self) -> Dead:
        """About the centroid of the holes, up to the widest gap; rows of zeros apart."""
        solid = solid_holes(self.embedding, self.holes)
        if not solid:
            raise SelectionError(f"{self.embedding.tensor}: a radius is about black holes, and there are none")
        self.tell(f"{self.embedding.tensor}: radius")
        away = distances_to_point(self.embedding, hole_centroid(self.embedding, solid))
        # Zero is nearer to most rows than they are to each other, and has makers of its own.
        away[self._zeros()] = np.inf
        chosen, gap = select_radius(away)
        within = f" (within {gap.threshold:.4g})" if gap else ""
        note = f"the dead are chosen by where they lie{within}: that none lies further out is by construction"
        return Dead(chosen, (), (note,))

    def in_holes(self) -> Dead:
        """By the outcome itself."""
        quantised = self.embedding.is_quantised
        chosen = select_holes([] if quantised else solid_holes(self.embedding, self.holes))
        if quantised:
            chosen = Population(chosen.name, chosen.definition, np.flatnonzero(in_hole_mask(self.holes)))
        return Dead(chosen, _IN_HOLES, (_BY_OUTCOME,), only_in_holes=True)

    def exponents(self, within: int) -> Dead:
        """By exponents like those of the largest hole's row."""
        solid = solid_holes(self.embedding, self.holes)
        if not solid:
            raise SelectionError(
                f"{self.embedding.tensor}: exponents are held against a black hole's, and there is none"
            )
        self.tell(f"{self.embedding.tensor}: exponents")
        chosen = select_exponent(exponent_distances(self.embedding, solid[0].representative), within)
        note = f"the dead are chosen by their exponents: that they agree within {within} is by construction"
        return Dead(chosen, () if within else _EXPONENTS, (note,))

    def zero(self) -> Dead:
        """Rows of zeros."""
        definition = "tokens whose row is zero and bit-identical to another's"
        return Dead(Population("zero", definition, self._zeros()), _ROWS, (_ZERO,), no_verdict=_ZERO)

    def mask(self, name: str, census: Census) -> Dead:
        """By what the tokenizer says."""
        return Dead(self._masked(name, census), _IDS if name == "padding" else ())

    def reference(self, census: Census) -> Dead:
        """The tokens that the sources of untrained tokens agree on."""
        self.tell(f"{self.embedding.tensor}: reference")
        found = find_reference(self.embedding, self.holes, untrained_sources(census, self.embedding.n_rows))
        definition = "rows that sources of untrained tokens agree on, near each other and apart from the bulk"
        by = f"the dead are the untrained reference, as {found.proposed_by} propose it: chosen by where they lie"
        # Black holes propose a reference, too, and where it took nothing else all are in holes by that choice.
        outcome = bool(len(found.token_ids)) and bool((self.holes.hole_ids[found.token_ids] > 0).all())
        notes = (by, _BY_OUTCOME) if outcome else (by,)
        return Dead(
            Population("reference", definition, found.token_ids),
            _IN_HOLES if outcome else (),
            notes,
            only_in_holes=outcome,
        )

    def listed(self, file: Path) -> Dead:
        """From a user's list."""
        return Dead(Population("ids", f"tokens listed in {file.name}", read_ids(file, self.embedding.n_rows)))

    def census(self) -> Census:
        """What each token is, and whether text can produce it."""
        self.tell("tokenizer")
        return take_census(self.checkpoint.vocabulary, self.embedding.n_rows)

    def _zeros(self) -> Ids:
        ids = [hole.token_ids for hole in self.holes.holes if hole.is_zero]
        return np.sort(np.concatenate([*ids, np.empty(0, np.int64)]).astype(np.int64))

    def _masked(self, name: str, census: Census) -> Population:
        return Population(name, UNTRAINED[name], np.flatnonzero(census.mask(name)))
