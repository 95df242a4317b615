"""The 39 singletons that share every exponent with the holes: where they lie on the lattice.

The *graph* is published: how many rows neighbour how many, by which steps, in which components. The *rows* are
not. The steps in ``qwen3_4b_graph.json`` are ours: an annealing search over integer vectors found, once, a
pattern with the published graph, and this module only puts it in place. So the graph is the same for every
seed and width, while the words under it are drawn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from forensics.formats import BFLOAT16, Words
from forensics.synthetic.qwen3_4b_published import Published

FINE_EXPONENT = 117
"""Numbers below 2^-9: mantissa steps there change a hole's norm by less than 1e-6."""

Steps = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Steps of the singletons from the holes, by slot: first the varying dimensions, then the extra ones.

    Attributes:
        bases: ``int64[39]``, the hole (from 0) that each row's steps start from.
        steps: ``int64[39, slots]``, steps of the magnitude; on extra slots from 0 up to the slot's room.
        rooms: ``int64[extras]``, the most steps on each extra slot.
        needed: how many extra slots carry the graph. The others only make dimensions active, in rows that are
            three steps or more from all others anyway, so they may be left out where dimensions are few.
    """

    bases: Steps
    steps: Steps
    rooms: Steps
    needed: int

    def coordinates(self, said: Published, n_slots: int) -> Steps:
        """Magnitude steps from hole 1 of the 13 holes and then the singletons, ``int64[52, n_slots]``.

        Up to a dimension's sign these are differences of ordinals, so distances between rows are the lattice's.
        """
        holes = np.zeros((len(said.words), self.steps.shape[1]), np.int64)
        holes[:, : len(said.varying_dims)] = said.words.astype(np.int64) - said.words[0].astype(np.int64)
        return np.concatenate([holes, holes[self.bases] + self.steps])[:, :n_slots]


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Where a pattern's slots lie in the rows.

    Attributes:
        positions: ``int64[n]``, the dimension of each slot.
        towards: ``int64[n]``, 1 where a step adds to the magnitude, -1 where it takes from it.
    """

    positions: Steps
    towards: Steps


def place_slots(said: Published, pattern: Pattern, hole: Words) -> Slots:
    """Dimensions for the slots: the varying ones, then the finest of the others.

    The two published dimensions of exponent 110 are the finest others at full size and come first. Steps have
    to stay in the hole's binade: a slot steps down where its mantissa has no room above, which keeps every
    distance.
    """
    varying = said.varying_positions(len(hole))
    others = np.setdiff1d(np.arange(len(hole)), [*varying, *(said.words_at if len(hole) == said.dim else ())])
    _, exponents, mantissas = (part.astype(np.int64) for part in BFLOAT16.split(hole[others]))
    finest = np.argsort(exponents, kind="stable")
    # 64 dimensions have few fine numbers, so the graph itself also steps on somewhat coarser ones.
    n_extra = max(pattern.needed, min(len(pattern.rooms), int((exponents <= FINE_EXPONENT).sum())))
    chosen = finest[:n_extra]
    full = mantissas[chosen] + pattern.rooms[:n_extra] >= 1 << BFLOAT16.mantissa_bits
    positions = np.concatenate([varying, others[chosen]])
    return Slots(positions, np.concatenate([np.ones(len(varying), np.int64), np.where(full, -1, 1)]))


def place_pattern(pattern: Pattern, slots: Slots, holes: Words) -> Words:
    """The pattern's rows, ``uint16[39, dim]``."""
    rows = holes[pattern.bases].astype(np.int64)
    # A step of the magnitude is a step of the word: it never reaches the exponent, let alone the sign.
    rows[:, slots.positions] += pattern.steps[:, : len(slots.positions)] * slots.towards
    return rows.astype(BFLOAT16.word_dtype)


@cache
def load_pattern() -> Pattern:
    """The pattern, from the package's data file."""
    said = json.loads(files("forensics.synthetic").joinpath("qwen3_4b_graph.json").read_text(encoding="utf-8"))
    names = [*said["varying_dims"], *(f"extra {i}" for i in range(len(said["rooms_of_extra_dims"])))]
    slot_of = {str(name): slot for slot, name in enumerate(names)}
    steps = np.zeros((len(said["singletons"]), len(names)), np.int64)
    for row, singleton in zip(steps, said["singletons"], strict=True):
        for name, step in singleton["steps"].items():
            row[slot_of[name]] = step
    return Pattern(
        bases=np.array([singleton["from_hole"] - 1 for singleton in said["singletons"]], np.int64),
        steps=steps,
        rooms=np.array(said["rooms_of_extra_dims"], np.int64),
        needed=said["extra_dims_needed"],
    )
