"""A model beside toys: the observables line by line, the verdicts, and what hidden states add."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forensics.comparison.mechanism import Mechanism
from forensics.comparison.runs import Group
from forensics.comparison.verdict import LEVEL, RULE, Cell
from forensics.embedding import Source
from forensics.hypotheses.observables.observable import Observable
from forensics.measures import Population
from forensics.text import align, number, visible

SCHEMA = "forensics.compare/1"


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The model that toys are held against.

    Attributes:
        source: where it came from.
        shape: rows and numbers in a row of the matrix measured.
        format: the name of its number format.
        tensor: its name.
        dead, live: its tokens.
        why_dead: how the dead ones were chosen, in a sentence.
        notes: what a reader must know.
    """

    source: Source
    shape: tuple[int, int]
    format: str
    tensor: str
    dead: Population
    live: Population
    why_dead: str
    notes: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether the dead are known by construction, as in a recording, rather than inferred."""
        return self.source.kind == "recording"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return {
            "source": self.source.to_dict(),
            "tensor": self.tensor,
            "shape": list(self.shape),
            "format": self.format,
            "dead": {"n": len(self.dead), "name": self.dead.name, "definition": self.dead.definition},
            "live": {"n": len(self.live), "name": self.live.name, "definition": self.live.definition},
            "why_dead": self.why_dead,
            "dead_are": "known" if self.is_known else "inferred",
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Line:
    """One observable on both sides.

    Attributes:
        observable: its definition, population and scale.
        section: "embedding" or "hidden states".
        real: the model's value; None where undefined.
        cells: against each group of toys.
    """

    observable: Observable
    section: str
    real: float | None
    cells: tuple[Cell, ...]

    def sentence(self, group: Group, cell: Cell) -> str:
        """The verdict in a line, as in 'centroid angle: real 26.6, toy 13.0 +- 1.1 at step 100: not reproduced'."""
        spread = "" if cell.sd is None else f" \u00b1 {number(cell.sd, 3)}"
        far = f", {abs(cell.distance):.1f} prediction sd" if cell.distance is not None and self._is_told(cell) else ""
        why = f" ({cell.reason})" if cell.reason else ""
        unit = "" if self.observable.unit in ("share", "ratio") else f" {self.observable.unit}"
        return (
            f"{self.observable.title}: real {number(self.real, 4)}, toy {number(cell.mean, 4)}{spread}{unit} at step "
            f"{group.step:,}: {cell.told}{far}{why}"
        )

    @staticmethod
    def _is_told(cell: Cell) -> bool:
        return cell.verdict == "not reproduced"


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A model beside groups of toys.

    Attributes:
        real: the model.
        groups: of the toys.
        lines: every observable that is defined somewhere, in report order.
        mechanism: what hidden states say; None where none are known on either side.
        options: what was asked, as on the command line.
    """

    real: Side
    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    mechanism: Mechanism | None
    options: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What to type to have it again, with the folders' own names."""
        toys = [toy.checkpoint.source.argument for group in self.groups for toy in group.toys]
        return shlex.join(["forensics", "compare", self.real.source.argument, *toys, *self.options])

    def count(self, group: int, verdict: str) -> int:
        """Lines of that verdict against a group, without those that follow from others."""
        return sum(line.cells[group].verdict == verdict for line in self.lines if not line.observable.derived)

    def claim(self, group: int) -> str:
        """What the lines against one group come to, and how many a run of the toy itself would miss by chance."""
        held, missed = self.count(group, "reproduced"), self.count(group, "not reproduced")
        at = f"toy {self.groups[group].label} at step {self.groups[group].step:,}"
        if not held + missed:
            seeds = len(self.groups[group].toys)
            return f"{at}: no verdict: three seeds at least, here {seeds}" if seeds < 3 else f"{at}: no line to judge"
        chance = LEVEL * (held + missed)
        return (
            f"{at}: {missed} of {held + missed} lines not reproduced; a further run of the toy would miss about "
            f"{number(chance, 2)} by chance"
        )

    def sentences(self, group: int) -> list[str]:
        """The verdict of every line against one group."""
        return [line.sentence(self.groups[group], line.cells[group]) for line in self.lines]

    def to_dict(self) -> dict[str, Any]:
        """The content of compare.json."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "rule": RULE,
            "level": LEVEL,
            "real": self.real.to_dict(),
            "groups": [
                {**group.to_dict(), "claim": self.claim(i), "reproduced": self.count(i, "reproduced")}
                | {"not_reproduced": self.count(i, "not reproduced")}
                for i, group in enumerate(self.groups)
            ],
            "lines": [
                {
                    **line.observable.to_dict(),
                    "section": line.section,
                    "real": line.real,
                    "groups": [cell.to_dict() for cell in line.cells],
                    "sentences": [line.sentence(g, c) for g, c in zip(self.groups, line.cells, strict=True)],
                }
                for line in self.lines
            ],
            "hidden_states": None if self.mechanism is None else self.mechanism.to_dict(self.groups),
        }

    def to_frame(self) -> Any:
        """One row a line and group, as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=COLUMNS)

    def rows(self) -> list[tuple[Any, ...]]:
        """One row a line and group, with the columns ``COLUMNS``."""
        found = []
        for line in self.lines:
            o = line.observable
            for group, c in zip(self.groups, line.cells, strict=True):
                held = (c.mean, c.sd, c.n, c.low, c.high, c.difference, c.distance, c.p, c.verdict, c.reason)
                found.append((o.name, o.unit, o.population, line.section, line.real, group.label, group.step, *held))
        return found

    def __str__(self) -> str:
        real = self.real
        parts = [
            f"{visible(str(real.source))}: {real.tensor}, {real.shape[0]:,} x {real.shape[1]:,} {real.format}; "
            f"{len(real.dead):,} dead tokens, {'known' if real.is_known else 'inferred'}: {visible(real.why_dead)}"
        ]
        for i, group in enumerate(self.groups):
            names = ", ".join(visible(toy.recording.name) for toy in group.toys)
            parts.append(f"toy {group.label} at step {group.step:,} (D = {group.dim}): {names}")
            parts.append(_table(self.lines, i))
            parts.append(self.claim(i))
        for key in ("dead", "difference"):
            claim = self.mechanism.claim(self.groups, key) if self.mechanism is not None else None
            if claim is not None:
                parts.append(claim)
        return "\n\n".join(parts)


COLUMNS = (
    *("observable", "unit", "population", "section", "real", "group", "step", "mean", "sd", "seeds"),
    *("low", "high", "difference", "distance", "p", "verdict", "reason"),
)


def _table(lines: Sequence[Line], group: int) -> str:
    rows: list[tuple[str, ...]] = [("observable", "real", "toy", "sd", "unit", "verdict")]
    for line in lines:
        cell = line.cells[group]
        told = (number(line.real, 4), number(cell.mean, 4), number(cell.sd, 2))
        rows.append((line.observable.title, *told, line.observable.unit, cell.told))
    return align(rows, right=(1, 2, 3))
