"""The parts of tokens.md: production, causes, reference, candidates, halo, census."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from forensics.causes import CAUSES, Causes, ExplainedGroup
from forensics.report.markdown import fold, plain, table, token
from forensics.scanning.production import Production
from forensics.scanning.token_claims import claims
from forensics.scanning.tokens import MatrixTokens
from forensics.text import number
from forensics.undertrained import Halo, Rule
from forensics.undertrained.indicators import DEFINITIONS
from forensics.undertrained.separation import LEVEL, SUPPORTED_LEVEL
from forensics.vocabulary import Census, Vocabulary
from forensics.vocabulary.categories import CATEGORIES
from forensics.vocabulary.census import STATES

SHOWN = 40
"""Rows of a table in the report; all of them are in the CSV."""

SHOWN_GROUPS = 20

METHOD = """A token is *reachable* if some text was found whose encoding contains it: its own text, the same with
other characters on either side, its bytes completed to whole characters. What no text was found for is *unreachable*,
with the step that stands in the way; *proved* means in any text whatever, else in the texts tried. Special tokens count
as reachable by their names.
The reference is what the sources agree on, measured on the rows themselves; the indicators are those of Land and
Bartolo (2024), each low for an under-trained token."""

RULES: dict[Rule, str] = {
    "separation": "A candidate is apart from the bulk by a test that finds a group in a healthy matrix with a chance "
    f"of at most {LEVEL:g}, or {SUPPORTED_LEVEL:g} where it is measured against a reference, which is itself found in "
    f"a healthy matrix with a chance of at most {LEVEL:g}.",
    "percentile": "Candidates are a fixed share of the vocabulary, for comparison with published lists: no verdict.",
}
"""What makes a candidate."""


def matrix_parts(matrix: MatrixTokens, census: Census) -> Iterator[str]:
    """What was found in one matrix, the claim first."""
    first, *others = claims(matrix)
    yield f"**{first}**"
    yield "\n".join(f"- {plain(line)}" for line in others)
    if len(census.vocabulary):
        yield from production_parts(matrix.in_hole)
    yield from cause_parts(matrix.causes, census.vocabulary)
    yield "### The reference of untrained tokens"
    yield _sources_table(matrix)
    yield "### Candidates"
    yield _flags_table(matrix)
    if len(matrix.candidates):
        yield fold(f"The first {min(SHOWN, len(matrix.candidates))} candidates", _candidates_table(matrix, census))
    yield from _halo_parts(matrix.halo, census)


def production_parts(production: Production) -> Iterator[str]:
    """The tokens of the holes by category and script, and what stands in the way of those that no text gives."""
    if not production.tokens:
        return
    yield f"### Tokens {production.population}, by category and script"
    merged: dict[tuple[str, str], Counter[str]] = {}
    for category, script, state, n in production.counts:
        merged.setdefault((category, script), Counter())[state] += n
    rows = sorted(merged.items(), key=lambda item: (-item[1].total(), item[0]))
    cells = [(*kind, f"{n.total():,}", f"{n['unreachable']:,}", f"{n['unknown']:,}") for kind, n in rows]
    header = ("category", "script", "tokens", "unreachable", "not known")
    yield table(header, cells[:SHOWN], right=(2, 3, 4)) + _more(len(cells))
    if production.grounds:
        grounds = [(cause, plain(where), f"{n:,}") for cause, where, n in production.grounds]
        yield table(("what stands in the way", "at", "tokens"), grounds[:SHOWN], right=(2,)) + _more(len(grounds))


def cause_parts(causes: Causes, vocabulary: Vocabulary | None) -> Iterator[str]:
    """What made each group, with the evidence folded."""
    if not causes.groups:
        return
    yield "### Causes"
    rows = [_group_row(group, vocabulary) for group in causes.groups[:SHOWN_GROUPS]]
    header = ("group", "tokens", "first token (id)", "cause", "also", "cannot be told")
    yield table(header, rows, right=(1,)) + _more(len(causes.groups), SHOWN_GROUPS)
    evidence = [line for group in causes.groups[:SHOWN_GROUPS] for line in _evidence(group)]
    if evidence:
        yield fold("Evidence", table(("group", "cause", "measured", "value", "expected"), evidence, right=(3,)))


def _group_row(group: ExplainedGroup, vocabulary: Vocabulary | None) -> tuple[str, ...]:
    first = int(group.token_ids[0])
    text = vocabulary.text(first) if vocabulary is not None else None
    # What cannot be told matters where it would come first.
    order = list(CAUSES)
    untold = [cause for cause in group.undecided if order.index(cause) < order.index(group.cause)]
    also, unknown = (", ".join(CAUSES[cause] for cause in which) for which in (group.also, untold))
    return (plain(group.name), f"{len(group.token_ids):,}", token(text, first), CAUSES[group.cause], also, unknown)


def _evidence(group: ExplainedGroup) -> Iterator[tuple[str, ...]]:
    for finding in group.findings:
        if finding.holds:
            for e in finding.evidence:
                yield plain(group.name), CAUSES[finding.cause], e.name, number(e.value), plain(e.expected)


def _sources_table(matrix: MatrixTokens) -> str:
    rows = []
    for use in matrix.reference.sources:
        without = use.without
        left = "" if without is None else f"{without.tokens:,} tokens, cosine {number(without.cosine, 4)}"
        figures = (f"{use.offered:,}", f"{use.used:,}", number(use.weight, 3), number(use.agreement, 4))
        rows.append((use.name, *figures, left, plain(use.note)))
    header = ("source", "offered", "used", "weight", "cosine to the reference", "without it", "")
    return table(header, rows, right=(1, 2, 3, 4))


def _flags_table(matrix: MatrixTokens) -> str:
    rows = []
    for flag in matrix.candidates.flags:
        below = f"{len(flag.token_ids):,}"
        rows.append((flag.indicator, below, number(flag.threshold, 4), DEFINITIONS[flag.indicator]))
    return table(("indicator", "apart", "below", "definition"), rows, right=(1, 2))


def _candidates_table(matrix: MatrixTokens, census: Census) -> str:
    values = matrix.indicators.values
    rows = []
    for i in map(int, matrix.candidates.token_ids[:SHOWN]):
        figures = [number(float(values[name][i]), 4) for name in values]
        rows.append((token(census.vocabulary.text(i), i), *figures, STATES[int(census.state[i])]))
    return table(("token (id)", *values, ""), rows, right=range(1, len(values) + 1))


def _halo_parts(halo: Halo, census: Census) -> Iterator[str]:
    if not halo.tokens:
        return
    yield "### Near the holes and the reference"
    void = halo.void
    yield (
        "No gap in the sorted distances sets a halo apart."
        if void is None
        else f"The largest gap in sorted distance lies between {number(void.lower, 4)} and {number(void.upper, 4)}, "
        f"after {void.below:,} tokens, {len(halo):,} of which are in no hole and not in the reference."
    )
    rows = []
    for t in halo.tokens[:SHOWN]:
        text_of = census.vocabulary.text
        nearest = "the reference mean" if t.nearest is None else token(text_of(t.nearest), t.nearest)
        figures = (number(t.distance, 4), number(t.linf_steps), number(t.l1_steps))
        rows.append((token(text_of(t.token_id), t.token_id), *figures, nearest, "yes" if t.inside else ""))
    header = ("token (id)", "distance", "L-infinity (steps)", "L1 (steps)", "to", "inside the gap")
    on_lattice = any(t.linf_steps is not None for t in halo.tokens[:SHOWN])
    kept = [i for i in range(len(header)) if on_lattice or i not in (2, 3)]
    shown = [[row[i] for i in kept] for row in rows]
    yield fold(f"The {len(rows)} nearest", table([header[i] for i in kept], shown, right=range(1, len(kept) - 2)))


def census_parts(census: Census) -> Iterator[str]:
    """The whole vocabulary by category, and the unreachable by what stands in the way."""
    if not len(census.vocabulary):
        yield "There is no tokenizer: tokens are known by id only."
        return
    by_category: dict[int, Counter[int]] = {}
    for category, state in zip(census.category.tolist(), census.state.tolist(), strict=True):
        by_category.setdefault(category, Counter())[state] += 1
    rows = [
        (CATEGORIES[c], *(f"{n:,}" for n in (found.total(), *(found[s] for s in STATES))))
        for c, found in sorted(by_category.items())
    ]
    yield table(("category", "rows", *STATES.values()), rows, right=range(1, 5))
    grounds = Counter((g.cause, g.where, census.scripts[census.script[i]], g.proved) for i, g in census.grounds.items())
    if grounds:
        cells = [
            (cause, plain(where), script, "yes" if proved else "", f"{n:,}")
            for (cause, where, script, proved), n in sorted(grounds.items(), key=lambda item: (-item[1], item[0]))
        ]
        header = ("what stands in the way", "at", "script", "proved", "tokens")
        listed = table(header, cells[:SHOWN], right=(4,)) + _more(len(cells))
        yield fold(f"The {len(census.grounds):,} tokens that no text gives, by what stands in the way", listed)


def _more(n: int, shown: int = SHOWN) -> str:
    return "" if n <= shown else f"\n\n{n - shown:,} more rows are in the files beside this report."
