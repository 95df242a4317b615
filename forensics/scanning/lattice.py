"""The lattice survey of a checkpoint: each matrix around its largest hole, or around a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forensics.black_holes import BlackHoles, find_black_holes
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding
from forensics.errors import SelectionError
from forensics.lattice import DEFAULT, BlockSurvey, LatticeSurvey, survey_blocks, survey_lattice
from forensics.scanning.result import Progress
from forensics.vocabulary import Vocabulary

LATTICE_SCHEMA = "forensics.lattice/1"

BY_ID = "name it by its id, as in token:124"


@dataclass(frozen=True, slots=True, eq=False)
class LatticeScan:
    """The lattice surveys of a checkpoint.

    Attributes:
        checkpoint: what was opened.
        surveys: for each matrix its survey, of blocks where it is quantised; None where there is nothing to look
            around.
        selection, around: what was asked for.
    """

    checkpoint: Checkpoint
    surveys: tuple[tuple[Embedding, LatticeSurvey | BlockSurvey | None], ...]
    selection: str = DEFAULT
    around: str | None = None

    @property
    def command(self) -> str:
        """What to type to survey it again."""
        options = ["--around", self.around] if self.around is not None else []
        options += ["--select", self.selection] if self.selection != DEFAULT else []
        return self.checkpoint.command("lattice", *options)

    def to_dict(self) -> dict[str, Any]:
        """The content of lattice.json."""
        return {
            "schema": LATTICE_SCHEMA,
            "source": self.checkpoint.source.to_dict(),
            "matrices": [
                {**e.to_dict(), "lattice": survey.to_dict() if survey else None} for e, survey in self.surveys
            ],
        }


def scan_lattice(
    checkpoint: Checkpoint,
    *,
    selection: str = DEFAULT,
    around: str | None = None,
    progress: Progress | None = None,
) -> LatticeScan:
    """Surveys the lattice of every matrix of a checkpoint.

    Args:
        checkpoint: from :func:`forensics.open_checkpoint`.
        selection: holes, exponent:K, flood, radius or component:THRESHOLD; float formats only.
        around: "hole:N", "token:ID" or "token:TEXT"; the most populated hole if None.
        progress: called with the name of each stage as it starts.

    Raises:
        SelectionError: no such selection, hole or token.
    """
    surveys: list[tuple[Embedding, LatticeSurvey | BlockSurvey | None]] = []
    for embedding in checkpoint.matrices:
        if progress is not None:
            progress(f"{embedding.tensor}: lattice")
        holes = find_black_holes(embedding)
        centre = None if around is None else _centre(around, holes, checkpoint.vocabulary)
        if embedding.is_quantised:
            if selection != DEFAULT:
                raise SelectionError(
                    f"{embedding.tensor}: selection {selection!r} is not defined on {embedding.format.name} blocks",
                    hint="leave out --select: the rows nearest in value are compared block by block",
                )
            surveys.append((embedding, survey_blocks(embedding, holes, centre)))
        else:
            surveys.append((embedding, survey_lattice(embedding, holes, selection, centre)))
    return LatticeScan(checkpoint, tuple(surveys), selection, around)


def _centre(around: str, holes: BlackHoles, vocabulary: Vocabulary | None) -> int:
    kind, _, name = around.partition(":")
    # More digits than nine name no token; int() refuses some thousands.
    is_number = name.isascii() and name.isdecimal() and len(name) <= 9
    if kind == "hole" and is_number:
        if not 1 <= int(name) <= len(holes):
            raise SelectionError(f"no hole {int(name):,}: the matrix has {len(holes):,}")
        return holes.holes[int(name) - 1].representative
    if kind == "token" and is_number:
        return int(name)
    if kind == "token" and vocabulary is None and name:
        raise SelectionError(f"no tokenizer tells which token has the text {name[:60]!r}", hint=BY_ID)
    if kind == "token" and vocabulary is not None and name:
        found = [i for i in range(len(vocabulary)) if vocabulary.text(i) == name]
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} tokens have" if found else "no token has"
        raise SelectionError(f"{what} the text {name[:60]!r}", hint=BY_ID)
    raise SelectionError(f"unknown centre {around[:60]!r}", hint="expected hole:N, token:ID or token:TEXT")
