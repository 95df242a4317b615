"""Runs held against each other, as markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forensics.dynamics.compare import RULE, Cell, Comparison, Row
from forensics.dynamics.equal_steps import EqualSteps
from forensics.report.markdown import code, fold, plain, table
from forensics.text import number


def comparison_parts(comparison: Comparison, captions: Sequence[tuple[int, str, str]]) -> Iterator[str]:
    """The section on several runs, part by part."""
    yield "## Compared runs"
    yield _claim(comparison)
    yield _groups(comparison)
    told = [row for row in comparison.rows if any(c.verdict in ("differs", "may differ") for c in row.cells)]
    if told:
        yield _rows(comparison, told)
    rest = [row for row in comparison.rows if row not in told]
    if rest:
        yield fold(f"Figures without such a difference: {len(rest):,}", _rows(comparison, rest))
    yield f"**Method.** {RULE}"
    if comparison.equal_steps is not None:
        yield "### Dimension or time?"
        yield equal_steps_claim(comparison.equal_steps)
        yield from (f"![{caption}]({name})" for section, name, caption in captions if section == 0)
        yield _equal_steps(comparison, comparison.equal_steps)


def _claim(comparison: Comparison) -> str:
    verdicts = [cell.verdict for row in comparison.rows for cell in row.cells]
    n = len(comparison.groups)
    if n == 1:
        runs = len(comparison.groups[0].seeds)
        return f"**One group of {runs} {'seed' if runs == 1 else 'seeds'}: the table is its spread, nothing differs.**"
    if not comparison.tested:
        return f"**{n} groups of one seed each: nothing can be said of their differences; run further seeds of one.**"
    return (
        f"**{verdicts.count('differs'):,} of {comparison.tested:,} differences from group A exceed what seeds do; "
        f"{verdicts.count('may differ'):,} more may** (by chance alone one in twenty would)."
    )


def _groups(comparison: Comparison) -> str:
    keys = list(comparison.groups[0].settings)
    rows = []
    for group in comparison.groups:
        seeds = ", ".join(str(seed) for seed in group.seeds)
        names = ", ".join(code(name) for name in group.runs)
        again = f" (again: {', '.join(code(name) for name in group.left_out)}, not counted)" if group.left_out else ""
        rows.append((group.label, names + again, plain(seeds), *(code(str(group.settings[key])) for key in keys)))
    return table(("group", "runs", "seeds", *(code(key) for key in keys)), rows)


def _rows(comparison: Comparison, rows: Sequence[Row]) -> str:
    header = ("figure", "of", "unit", *(group.label for group in comparison.groups))
    lines = [(plain(r.name), plain(r.population), plain(r.unit), *map(_cell, r.cells)) for r in rows]
    return table(header, lines, right=range(3, len(header)))


def _cell(cell: Cell) -> str:
    if cell.mean is None:
        return "-"
    spread = "" if cell.sd is None else f" \u00b1 {number(cell.sd, 2)}"
    lacking = f" ({cell.n} of {len(cell.values)} runs)" if cell.n < len(cell.values) else ""
    mark = {"differs": " **differs**", "may differ": " may differ"}.get(cell.verdict or "", "")
    return f"{number(cell.mean, 4)}{spread}{lacking}{mark}"


def equal_steps_claim(found: EqualSteps) -> str:
    """Which of the two, run or step, moves the ratio of live to dead gradients more."""
    shares = found.shares
    if shares is None:
        return "Fewer than two groups, or than two steps in common: nothing to tell apart."
    by_run, by_step, rest = shares
    what = "dimension" if len(set(found.dims)) == len(found.dims) else "what sets the groups apart"
    if abs(by_run - by_step) <= rest:
        verdict = f"{what} and time are not told apart (their interaction is as large as their difference)"
    else:
        verdict = f"{what if by_run > by_step else 'time'} moves it more"
    return (
        f"**Of the variation of log(live/dead gradient norm) over these groups and steps {_percent(by_run)} lies "
        f"between groups, {_percent(by_step)} between steps, {_percent(rest)} in neither alone: {verdict}.**"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _equal_steps(comparison: Comparison, found: EqualSteps) -> str:
    steps = [f"step {step:,}" for step in found.steps.tolist()]
    rows = []
    names = (
        ("live/dead gradient norm", found.ratio),
        ("coherence", found.coherence),
        ("angle (degrees)", found.angle_deg),
    )
    for name, values in names:
        for group, dim, row in zip(comparison.groups, found.dims, values.tolist(), strict=True):
            rows.append((name, f"{group.label} (D = {number(dim)})", *(number(x, 4) for x in row)))
    return table(("figure", "group", *steps), rows, right=range(2, 2 + len(steps)))
