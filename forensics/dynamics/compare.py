"""Several runs in one table: figures by group of runs that differ in seed alone, and which differences exceed noise."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forensics.dynamics.equal_steps import EqualSteps, at_equal_steps
from forensics.dynamics.result import Dynamics
from forensics.toy.tables import flatten

NOT_SETTINGS = ("name", "about", "follows", "seed", "threads", "checkpoint_every", "record.channels")
"""What a run may differ in without being of another kind: its labels, its chance (threads decide last bits of sums,
which training multiplies), and how it was kept."""

LEVEL = 0.05

RULE = f"""Runs that differ in seed alone are a group (labels, threads and what was recorded aside). A group is \
compared with group A by Welch's t test (Welch 1947), which asks for two seeds on each side; one run against several \
is held against their spread (a prediction interval, which takes both spreads as equal); one against one says nothing. \
"differs": the probability p of so large a difference by seed alone stays below {LEVEL} after Holm's correction (1979) \
over all comparisons of the table. "may differ": below {LEVEL} before it alone; one in twenty does so by chance."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that differ in seed alone.

    Attributes:
        label: "A", "B", ...
        runs: their names, one a seed.
        seeds: theirs.
        settings: the compared settings in which groups differ, with this group's values.
        left_out: names of further runs of a seed that is here already.
    """

    label: str
    runs: tuple[str, ...]
    seeds: tuple[Any, ...]
    settings: Mapping[str, Any]
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return {
            "label": self.label,
            "runs": list(self.runs),
            "seeds": list(self.seeds),
            "settings": dict(self.settings),
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure over a group's seeds.

    Attributes:
        values: of the runs; None where a run leaves it undefined.
        mean, sd: over the runs that define it; the sd with n - 1, of two runs at least.
        n: how many define it.
        verdict: against group A: "differs", "may differ", "within noise", "no spread" (of equal values on both sides)
            or "one seed"; None for A itself and where either side is undefined.
        difference: its mean less A's.
        p: of so large a difference by seed alone.
    """

    values: tuple[float | None, ...]
    mean: float | None
    sd: float | None
    n: int
    verdict: str | None = None
    difference: float | None = None
    p: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in _CELL}


_CELL = ("values", "mean", "sd", "n", "verdict", "difference", "p")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure over all groups: key of its question, name, population, unit, definition."""

    key: str
    name: str
    population: str
    unit: str
    definition: str
    cells: tuple[Cell, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        named = {"question": self.key, "name": self.name, "population": self.population, "unit": self.unit}
        return {**named, "definition": self.definition, "groups": [cell.to_dict() for cell in self.cells]}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side.

    Attributes:
        groups: in the order in which their first runs were named.
        rows: every figure that any run has, in the order of the questions.
        tested: how many differences were held against noise.
        equal_steps: gradients and centroids at equal steps; None without summaries.
    """

    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    tested: int
    equal_steps: EqualSteps | None

    def to_dict(self) -> dict[str, Any]:
        """The part "compare" of dynamics.json."""
        return {
            "rule": RULE,
            "groups": [group.to_dict() for group in self.groups],
            "tested": self.tested,
            "rows": [row.to_dict() for row in self.rows],
            "equal_steps": None if self.equal_steps is None else self.equal_steps.to_dict(),
        }


def compare(runs: Sequence[Dynamics]) -> Comparison:
    """One table over runs; the first run's group is the one that the others are held against.

    Args:
        runs: two or more, as they were named.
    """
    members = _members(runs)
    differing = _differing([members[key][0] for key in members])
    groups, kept = [], []
    for label, runs_of in zip(_labels(len(members)), members.values(), strict=True):
        by_seed: dict[str, list[Dynamics]] = {}
        for run in runs_of:
            by_seed.setdefault(str(run.config.get("seed")), []).append(run)
        again = [run.name for same in by_seed.values() for run in same[1:]]
        settings = dict(flatten(runs_of[0].config))
        own = tuple(same[0] for same in by_seed.values())
        groups.append(
            Group(
                label,
                tuple(run.name for run in own),
                tuple(run.config.get("seed") for run in own),
                {key: settings.get(key) for key in differing},
                tuple(again),
            )
        )
        kept.append(own)
    rows = _rows(kept)
    tested = sum(cell.p is not None for row in rows for cell in row.cells)
    return Comparison(tuple(groups), judge(rows), tested, at_equal_steps(kept))


def _members(runs: Sequence[Dynamics]) -> dict[str, list[Dynamics]]:
    """Runs by all that is not chance or label."""
    members: dict[str, list[Dynamics]] = {}
    for run in runs:
        members.setdefault(json.dumps(_compared(run), sort_keys=True, default=str), []).append(run)
    return members


def _compared(run: Dynamics) -> dict[str, Any]:
    return {key: value for key, value in flatten(run.config) if key not in NOT_SETTINGS}


def _differing(runs: Sequence[Dynamics]) -> list[str]:
    """The settings that are not the same in all."""
    tables = [_compared(run) for run in runs]
    keys = dict.fromkeys(key for table in tables for key in table)
    return [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]


def _labels(n: int) -> list[str]:
    letters = [chr(ord("A") + i) for i in range(26)]
    return [letters[i] if i < 26 else f"{letters[i // 26 - 1]}{letters[i % 26]}" for i in range(n)]


def _rows(groups: Sequence[Sequence[Dynamics]]) -> list[Row]:
    found: dict[tuple[str, str, str], tuple[str, str]] = {}
    held: dict[int, dict[tuple[str, str, str], float | None]] = {}
    for run in (run for runs in groups for run in runs):
        own = held[id(run)] = {}
        for key, measure in run.measures:
            if isinstance(measure.value, str):
                continue  # a verdict in words has no spread; it stands in each run's own report
            where = (key, measure.name, measure.population)
            found.setdefault(where, (measure.unit, measure.definition))
            own[where] = None if measure.value is None else float(measure.value)
    rows = []
    for where, said in found.items():
        cells = [_cell([held[id(run)].get(where) for run in runs]) for runs in groups]
        cells = [cells[0], *(_against(cells[0], cell) for cell in cells[1:])]
        rows.append(Row(*where, *said, tuple(cells)))
    return rows


def _cell(values: Sequence[float | None]) -> Cell:
    known = [value for value in values if value is not None and math.isfinite(value)]
    mean = float(np.mean(known)) if known else None
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Cell(tuple(values), mean, sd, len(known))


def _against(first: Cell, cell: Cell) -> Cell:
    """The cell with its difference from A's, and p where there is a spread to hold it against."""
    if first.mean is None or cell.mean is None:
        return cell
    difference = cell.mean - first.mean
    p, verdict = None, None
    if first.sd is None and cell.sd is None:
        verdict = "one seed"
    elif not (first.sd or cell.sd):
        verdict = "no spread"
    else:
        p = difference_p(first, cell)
    return Cell(cell.values, cell.mean, cell.sd, cell.n, verdict, difference, p)


def difference_p(a: Cell, b: Cell) -> float:
    """Probability of so large a difference of means by chance, two-sided.

    Welch's t with the Welch-Satterthwaite degrees of freedom (Welch 1947); where one side is a single run, its
    distance from the other side's mean in units of s sqrt(1 + 1/n), Student's t with n - 1.
    """
    from scipy.special import stdtr

    assert a.mean is not None and b.mean is not None
    if a.sd is None or b.sd is None:
        several = b if a.sd is None else a
        error, freedom = (several.sd or 0.0) * math.sqrt(1 + 1 / several.n), several.n - 1.0
    else:
        parts = (a.sd**2 / a.n, b.sd**2 / b.n)
        error = math.sqrt(sum(parts))
        freedom = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, (a.n, b.n), strict=True))
    return float(2 * stdtr(freedom, -abs(b.mean - a.mean) / error))


def judge(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with a verdict wherever there is a p: Holm's step-down procedure (1979) over all of them."""
    tested = sorted(
        (cell.p, i, j) for i, row in enumerate(rows) for j, cell in enumerate(row.cells) if cell.p is not None
    )
    verdicts, holds = {}, True
    for rank, (p, i, j) in enumerate(tested):
        holds = holds and p < LEVEL / (len(tested) - rank)
        verdicts[i, j] = "differs" if holds else "may differ" if p < LEVEL else "within noise"
    return tuple(
        Row(
            row.key,
            row.name,
            row.population,
            row.unit,
            row.definition,
            tuple(
                Cell(c.values, c.mean, c.sd, c.n, verdicts.get((i, j), c.verdict), c.difference, c.p)
                for j, c in enumerate(row.cells)
            ),
        )
        for i, row in enumerate(rows)
    )
