"""A model beside toys, as markdown: the claims, the tables that carry them, method, caveats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forensics.comparison import Comparison
from forensics.comparison.hidden import Hidden
from forensics.comparison.mechanism import RULE as LIE_RULE
from forensics.comparison.mechanism import lies, where_text
from forensics.comparison.result import Line
from forensics.comparison.verdict import RULE, Cell
from forensics.report.markdown import code, fold, plain, table
from forensics.text import number


def comparison_document(result: Comparison, figures: Sequence[tuple[str, str]]) -> str:
    """The report's text.

    Args:
        result: what was found.
        figures: (file name, caption).
    """
    real = result.real
    parts = [f"# Real against toy: {code(str(real.source))}"]
    parts += [f"**{plain(_sentence(result.claim(i)))}.**" for i in range(len(result.groups))]
    parts += [f"**{plain(_sentence(claim))}.**" for claim in _claims(result)]
    parts.append(_sides(result))
    parts += [f"![{caption}]({name})" for name, caption in figures]
    for i, group in enumerate(result.groups):
        parts.append(f"## Against toy {group.label} at step {group.step:,}")
        told = [line for line in result.lines if line.cells[i].verdict in ("reproduced", "not reproduced")]
        if told:
            parts.append(_table(told, i))
        rest = [line for line in result.lines if line not in told]
        if rest:
            parts.append(fold(f"Lines without a verdict: {len(rest):,}", _table(rest, i, why=True)))
    parts += list(_hidden_parts(result))
    parts.append(fold("What each observable is", _definitions(result)))
    parts += ["## Method", RULE, "## Caveats", "\n".join(f"- {line}" for line in _caveats(result))]
    made = f"Made by {code(result.command)}."
    parts.append(f"{made} Beside this report: `compare.json` (every figure), `observables.csv` (one row a line).")
    return "\n\n".join(part for part in parts if part) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _claims(result: Comparison) -> list[str]:
    if result.mechanism is None:
        return []
    found = [result.mechanism.claim(result.groups, key) for key in ("dead", "difference")]
    return [claim for claim in found if claim is not None]


def _sides(result: Comparison) -> str:
    real = result.real
    known = "known" if real.is_known else "inferred"
    shape = f"{real.shape[0]:,} x {real.shape[1]:,} {real.format}"
    why = plain(real.why_dead)
    rows = [("real", code(str(real.source)), "", shape, f"{len(real.dead):,} {known}: {why}", "")]
    for group in result.groups:
        embedding = group.toys[0].checkpoint.matrices[0]
        names = ", ".join(code(toy.recording.name) for toy in group.toys)
        again = f" (again: {', '.join(code(name) for name in group.left_out)}, not counted)" if group.left_out else ""
        dead = ", ".join(dict.fromkeys(f"{len(toy.recording.dead_ids):,}" for toy in group.toys))
        settings = ", ".join(f"{code(key)} {code(str(value))}" for key, value in group.settings.items())
        toy_shape = f"{embedding.n_rows:,} x {embedding.dim:,} {embedding.format.name}"
        label = f"toy {group.label}, step {group.step:,}"
        rows.append((label, names + again, settings, toy_shape, f"{dead} known", f"{len(group.toys)}"))
    return table(("side", "of", "settings that differ", "matrix", "dead tokens", "seeds"), rows, right=(5,))


def _table(lines: Sequence[Line], group: int, *, why: bool = False) -> str:
    header = ("observable", "over", "unit", "real", "toy", "interval", "verdict", *(["why"] if why else []))
    rows = []
    for line in lines:
        o, cell = line.observable, line.cells[group]
        named = (plain(o.title), plain(o.population), plain(o.unit))
        verdict = f"**{cell.verdict}**" if cell.verdict == "not reproduced" else cell.told
        row = (*named, number(line.real, 4), _toy(cell), _interval(cell), verdict)
        rows.append((*row, plain(cell.reason or "")) if why else row)
    return table(header, rows, right=(3, 4, 5))


def _toy(cell: Cell) -> str:
    if cell.mean is None:
        return "-"
    spread = "" if cell.sd is None else f" \u00b1 {number(cell.sd, 2)}"
    lacking = f" ({cell.n} of {len(cell.values)})" if cell.n < len(cell.values) else ""
    return f"{number(cell.mean, 4)}{spread}{lacking}"


def _interval(cell: Cell) -> str:
    return "-" if cell.low is None else f"{number(cell.low, 3)} to {number(cell.high, 3)}"


def _hidden_parts(result: Comparison) -> Iterator[str]:
    found = result.mechanism
    if found is None:
        return
    yield "## Hidden states"
    rows = [] if found.real is None else [_hidden_row("real", found.real)]
    for group, hidden in zip(result.groups, found.toys, strict=True):
        label = f"toy {group.label}, step {group.step:,}"
        rows += [_hidden_row(label, each) for each in hidden if each is not None]
    header = ("side", "of", "h_mean share", "h to h_mean", "to dead", "to live", "to dead less live", "dead lie")
    yield table(header, rows, right=range(2, 7))
    if found.real is not None and found.real.facts:
        facts, real = found.real.facts, found.real
        loss = "undefined" if facts["loss"] is None else f"{facts['loss']:.3g} nats a token"
        drawn = "; ".join(f"{key} {low:+.3f} to {high:+.3f}" for key, (low, high) in real.intervals.items())
        yield (
            f"The text: {facts['positions']:,} positions in {facts['windows']:,} windows, loss {loss}"
            f"{', cut' if facts['text_cut'] else ''}; |h_mean| {number(real.mean_norm, 4)}, mean |h| "
            f"{number(real.norm, 4)}. 95 % bootstrap intervals of the cosine with h_mean: {drawn or 'too few windows'}."
        )
    yield LIE_RULE


def _hidden_row(side: str, hidden: Hidden) -> tuple[str, ...]:
    share, angle = hidden.values["h_mean_share"], hidden.values["h_angle"]
    away = [where_text(hidden, key) for key in ("dead", "live", "difference")]
    return side, plain(hidden.where), number(share, 3), number(angle, 3), *away, lies(hidden, "dead") or "undefined"


def _definitions(result: Comparison) -> str:
    rows = []
    for line in result.lines:
        o = line.observable
        follows = "follows from others; not counted" if o.derived else ""
        rows.append((plain(o.title), plain(o.population), plain(o.definition), o.transform, follows))
    return table(("observable", "over", "definition", "scale", ""), rows)


def _caveats(result: Comparison) -> Iterator[str]:
    real = result.real
    if not real.is_known:
        yield (
            f"The real model's dead tokens are inferred ({plain(real.why_dead)}), the toys' are known: all that never "
            "occur in the training stream. A selection of the tight core of the dead makes the real cloud tight."
        )
    of_text = result.mechanism is not None and result.mechanism.real is not None and result.mechanism.real.facts
    if not of_text and not real.tensor.endswith(("(tied)", "(output)")):
        yield f"The matrix measured, {code(real.tensor)}, is not known to score tokens; the toys' does."
    yield (
        "Reproduced means not told apart from one more run of the toy, not that the toy explains the model; lines that "
        "are not scale-free get no verdict where the sides differ in size. Lines depend on each other, so that misses "
        "by chance come together."
    )
    formats = {group.toys[0].checkpoint.matrices[0].format.name for group in result.groups} - {real.format}
    if formats:
        yield (
            f"The real matrix is stored as {plain(real.format)}, toys as {plain(', '.join(sorted(formats)))}: which "
            "rows are one, and which lie one step apart, depends on that."
        )
    if of_text:
        yield (
            "Hidden states are of the finished model over one text; the dead rows were pushed by those of the whole "
            "training. Output biases and the tokenizer's own special tokens are left out."
        )
    if real.source.kind == "planted":
        yield "This matrix was planted: made to carry a known structure, not trained."
    for remark in real.notes:
        yield plain(_sentence(remark)) + "."
