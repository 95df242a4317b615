"""What is to be explained: a matrix, its dead tokens' rows, and what they are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles, find_black_holes
from forensics.checkpoint import Checkpoint
from forensics.checkpoint.naming import initializer_range
from forensics.embedding import Embedding
from forensics.errors import HypothesisError, SelectionError
from forensics.formats import Words
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context, Law, Live
from forensics.hypotheses.live_law import measure_live_law
from forensics.hypotheses.observables import measure_cloud
from forensics.hypotheses.observables.geometry import measure_moments
from forensics.hypotheses.observables.live import LiveRows, measure_against_live, measure_live
from forensics.hypotheses.population import Dead, Progress, choose_dead
from forensics.measures import Population

MAX_BYTES = 1 << 28
"""Stored bytes of the dead rows, which are held: 52,000 rows of 2,560 bfloat16 numbers."""

LIVE = "tokens of the tokenizer that are not dead and in no black hole, with finite rows"


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A matrix whose dead rows ask for an explanation.

    Attributes:
        checkpoint: what was opened.
        embedding: the matrix.
        dead: the dead tokens with finite rows; empty if nobody is found dead.
        live: the tokens that the dead are held against: not dead, in no black hole (those who share a row were not
            trained apart, dead or not), not beyond the tokenizer, finite.
        why_dead: one clause: how the dead were told.
        cloud: the dead rows; None if nobody is dead: there is nothing to explain.
        notes: what a reader must know.
        by_construction: observables that the selection of the dead fixes.
        only_in_holes: the dead were chosen because they share their rows, see Context.
        no_verdict: why the selection leaves nothing to judge; None where it leaves something.
        live_rows: what one pass over the live rows gave.
    """

    checkpoint: Checkpoint
    embedding: Embedding
    dead: Population
    live: Population
    why_dead: str
    cloud: Cloud | None
    notes: tuple[str, ...]
    by_construction: tuple[str, ...]
    live_rows: LiveRows
    only_in_holes: bool = False
    no_verdict: str | None = None

    def context(self, *, law: Law | None = None) -> Context:
        """What simulators are told.

        Args:
            law: how much of the live rows' law; the covariance takes some seconds for 2,560 dimensions.

        Raises:
            HypothesisError: nobody is dead.
        """
        if self.cloud is None:
            raise HypothesisError(f"{self.checkpoint.source}: no dead tokens, nothing to explain")
        live, mean = None, self.live_rows.mean
        if law == "covariance" and mean is not None:
            live = measure_live_law(self.embedding, self.live.token_ids, mean)
        elif law == "mean" and mean is not None:
            live = Live(mean.astype(np.float32))
        anchor, centroid = _anchor(self.cloud)
        initial = initializer_range(self.checkpoint.config)
        return Context(
            len(self.cloud),
            self.cloud.dim,
            self.cloud.format,
            anchor,
            centroid,
            self.embedding.n_rows,
            initial,
            live,
            self.only_in_holes,
        )

    def observables(self) -> dict[str, float | None]:
        """Every observable of the dead rows, those against the live rows among them.

        Raises:
            HypothesisError: nobody is dead.
        """
        context = self.context()
        assert self.cloud is not None
        return measure_cloud(self.cloud, context) | measure_against_live(self.cloud, self.live_rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the ids left out."""
        holes = 0 if self.cloud is None else int((self.cloud.populations > 1).sum())
        return {
            "source": self.checkpoint.source.to_dict(),
            "matrix": self.embedding.to_dict(),
            "dead": {
                "name": self.dead.name,
                "definition": self.dead.definition,
                "tokens": len(self.dead),
                "distinct_rows": 0 if self.cloud is None else len(self.cloud.patterns),
                "holes": holes,
            },
            "live": {"name": self.live.name, "definition": self.live.definition, "tokens": len(self.live)},
            "why_dead": self.why_dead,
            "by_construction": list(self.by_construction),
            "notes": list(self.notes),
        }


def open_subject(
    checkpoint: Checkpoint, *, dead: str = "auto", role: str | None = None, progress: Progress | None = None
) -> Subject:
    """Finds the dead tokens of a checkpoint's matrix and takes their rows.

    Args:
        checkpoint: from :func:`forensics.open_checkpoint`.
        dead: the selection, see :func:`~forensics.hypotheses.population.choose_dead`.
        role: "input" or "output"; E_in, or the only matrix, if None.
        progress: called with the name of each stage as it starts.

    Raises:
        SelectionError: no such selection, one without tokens here, or one of too many.
        TensorNotFoundError: no matrix of that role.
    """
    tell = progress or (lambda stage: None)
    embedding = checkpoint.matrix(role)
    tell(f"{embedding.tensor}: identical rows")
    holes = find_black_holes(embedding)
    chosen = choose_dead(checkpoint, embedding, holes, dead, progress=progress)
    ids, rows = _finite_rows(embedding, chosen.population)
    tell(f"{embedding.tensor}: live rows")
    live_rows = measure_live(embedding, _candidates(checkpoint, embedding, holes, chosen.population.token_ids))
    cloud = Cloud.from_rows(rows, embedding.format, embedding.dim, ids) if len(ids) else None
    population = Population(chosen.population.name, chosen.population.definition, ids)
    return Subject(
        checkpoint,
        embedding,
        population,
        Population("live", LIVE, live_rows.token_ids),
        f"{len(ids):,} {population.definition}" if len(ids) else population.definition,
        cloud,
        (*checkpoint.notes, *_notes(chosen, len(ids), holes)),
        chosen.by_construction,
        live_rows,
        chosen.only_in_holes,
        "one row cannot coincide with another" if len(chosen.population) == 1 else chosen.no_verdict,
    )


def _finite_rows(embedding: Embedding, dead: Population) -> tuple[NDArray[np.int64], Words]:
    """The dead tokens whose rows are finite, and those rows in their stored form."""
    ids = dead.token_ids
    if len(ids) * embedding.row_bytes > MAX_BYTES:
        raise SelectionError(
            f"{embedding.tensor}: {len(ids):,} dead tokens by {dead.name!r} are more rows than are held at once",
            hint="choose fewer, such as holes or radius, or list them with ids:FILE",
        )
    finite = np.empty(len(ids), np.bool_)
    for start, stop in embedding.spans(len(ids)):
        finite[start:stop] = np.isfinite(embedding.values_of(ids[start:stop])).all(axis=1)
    rows = embedding.rows_bytes if embedding.is_quantised else embedding.words
    return ids[finite], np.asarray(rows[ids[finite]])


def _candidates(
    checkpoint: Checkpoint, embedding: Embedding, holes: BlackHoles, dead: NDArray[np.int64]
) -> NDArray[np.bool_]:
    candidates = ~holes.mask
    candidates[dead] = False
    if checkpoint.vocabulary is not None:
        candidates[len(checkpoint.vocabulary) :] = False
    return candidates


def _notes(chosen: Dead, n_finite: int, holes: BlackHoles) -> list[str]:
    notes = list(chosen.notes)
    left_out = len(chosen.population) - n_finite
    if left_out:
        notes.append(f"{left_out:,} dead tokens with an infinity or a nan in their rows are left out")
    zero = sum(hole.population for hole in holes.holes if hole.is_zero)
    if zero and chosen.population.name in ("radius", "holes"):
        notes.append(f"{zero:,} tokens whose rows are zero are not among the dead: select them by zero")
    return notes


def _anchor(cloud: Cloud) -> tuple[Words, NDArray[np.float32]]:
    """The row that most dead tokens hold, or of rows that all differ the one nearest to the mean; and the mean."""
    moments = measure_moments(cloud)
    assert moments is not None  # an open subject's dead rows are finite
    first = 0
    if cloud.populations[0] == 1:
        first = int(moments.squares.argmin())
    return cloud.distinct_rows()[first], moments.mean.astype(np.float32)
