"""A lattice survey as markdown: a summary for a scan's report, the whole for its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from forensics.lattice import BlockSurvey, LatticeSummary, LatticeSurvey
from forensics.measures import Population
from forensics.report.markdown import fold, table, token
from forensics.text import number
from forensics.vocabulary import Vocabulary

SHOWN_THRESHOLDS = 15
SHOWN_ROWS = 40

METHOD = """A lattice coordinate is the ordinal of a stored number: its signed rank among all numbers of the format.
Steps are differences of ordinals, exact across binades and zero. L-infinity is the largest step over all dimensions;
an edge of the neighbour graph joins two unique rows at L-infinity 1. Every set is named; figures over different sets
differ."""


def lattice_claim(survey: LatticeSurvey) -> str:
    """The finding in one sentence."""
    return (
        f"{len(survey.selection):,} tokens on {len(survey.rows):,} unique rows lie in {survey.selection.name} of "
        f"token {survey.summary.around.centre}; {survey.graph.edges:,} pairs are one step apart, in "
        f"{len(survey.graph.components):,} components, and they vary on {len(survey.extent.active):,} of "
        f"{survey.embedding.dim:,} dimensions."
    )


def summary_part(summary: LatticeSummary) -> str:
    """The part that a scan's report includes."""
    holes = ""
    if summary.hole_extent is not None:
        pairs = summary.linf[np.triu_indices(len(summary.linf), 1)]
        holes = (
            f"\n\nThe holes lie {pairs.min():,} to {pairs.max():,} steps apart (L-infinity); "
            f"{summary.adjacent_pairs:,} of {len(pairs):,} pairs are one step apart; they vary on "
            f"{len(summary.hole_extent.active):,} of {summary.embedding.dim:,} dimensions, by at most "
            f"{int(summary.hole_extent.steps.max()):,} steps."
        )
    return _selections(summary.counts) + holes


def blocks_part(survey: BlockSurvey, vocabulary: Vocabulary | None, shown: int = 12) -> str:
    """The rows nearest to the centre of a quantised matrix."""
    rows = [
        (
            token(vocabulary.text(n.token_id) if vocabulary else None, n.token_id),
            *(f"{x:,}" for x in (n.population, n.equal_blocks)),
            *(number(x) for x in (n.equal_scales, n.max_code_step, n.l1_code_steps)),
            number(n.distance, 4),
        )
        for n in survey.neighbours[:shown]
    ]
    header = ("row", "tokens", "equal blocks", "equal scales", "largest code step", "code steps", "distance")
    return (
        f"The rows nearest in value to token {survey.centre}'s, of {survey.n_blocks} blocks each. Codes are compared "
        "only in blocks with equal scales; the distance is between the numbers that the blocks stand for.\n\n"
        + table(header, rows, right=range(1, 7))
    )


def lattice_parts(
    survey: LatticeSurvey, vocabulary: Vocabulary | None, figures: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """The whole survey, part by part."""
    yield f"**{lattice_claim(survey)}**"
    yield _selections(survey.counts)
    yield _locality(survey)
    yield _components(survey)
    yield "\n".join(f"![{caption}]({name})" for name, caption in figures)
    yield fold("Components against threshold", _thresholds(survey))
    yield fold("Tokens by exponent distance", _exponents(survey))
    yield fold("Extent per dimension", _extent(survey))
    yield _shells(survey)
    yield fold("Unique rows, most populated first", _rows(survey, vocabulary))


def _selections(counts: Sequence[tuple[Population, int]]) -> str:
    rows = [(p.name, f"{len(p):,}", f"{n:,}", p.definition) for p, n in counts]
    return table(("selection", "tokens", "unique rows", "definition"), rows, right=(1, 2))


def _locality(survey: LatticeSurvey) -> str:
    where = survey.locality
    return (
        f"Of {where.pairs:,} (row, dimension) pairs {_percent(where.same_binade)} share sign and exponent with the "
        "centre (local displacement in ulp and ordinal steps agree there), "
        f"{_percent(where.adjacent_binade)} lie one binade off, {_percent(where.further)} further, "
        f"{_percent(where.crossing_zero)} across zero (there the two must not be compared)."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _components(survey: LatticeSurvey) -> str:
    graph, relaxed = survey.graph, survey.relaxed
    rows = [
        (
            str(i),
            f"{len(c.nodes):,}",
            f"{c.tokens:,}",
            f"{c.holes:,}",
            f"{c.edges:,}",
            number(c.density, 3),
            number(c.clustering, 3),
            f"{c.max_degree:,}",
        )
        for i, c in enumerate((c for c in graph.components if len(c.nodes) > 1), start=1)
    ]
    header = ("component", "rows", "tokens", "holes", "edges", "density", "clustering", "largest degree")
    listed = table(header, rows[:20], right=range(8)) + "\n\n" if rows else ""
    l1 = ", ".join(f"{length}: {n:,}" for length, n in sorted(graph.edge_l1.items()))
    near = ", ".join(f"{step}: {n:,}" for step, n in sorted(survey.near.items())[:12]) or "none"
    return (
        f"{listed}{graph.alone:,} rows are alone. "
        + (f"L1 of the edges (1 face, 2 edge, 3 corner): {l1}. " if l1 else "")
        + f"At L-infinity 2: {relaxed.edges:,} edges, {len(relaxed.components):,} components. "
        f"Other tokens of the matrix by L-infinity to the selection (up to 64): {near}."
    )


def _thresholds(survey: LatticeSurvey) -> str:
    rows = [tuple(f"{n:,}" for n in row) for row in survey.thresholds[:SHOWN_THRESHOLDS]]
    return table(("L-infinity up to", "components", "edges", "largest component"), rows, right=range(4))


def _exponents(survey: LatticeSurvey) -> str:
    rows = [(str(k), f"{n:,}") for k, n in enumerate(survey.summary.exponent_counts)]
    misses = [(str(tolerance), *(f"{n:,}" for n in counts)) for tolerance, counts in survey.exponent_misses.items()]
    return "\n\n".join(
        (
            table(("all exponents within", "tokens"), rows, right=(0, 1)),
            table(("within, but for", "0 dims", "1 dim", "5 dims", "10 dims"), misses, right=range(5)),
        )
    )


def _extent(survey: LatticeSurvey) -> str:
    e = survey.extent
    rows = [tuple(f"{n:,}" for n in (d, e.steps[d], e.patterns[d], e.exponents[d])) for d in e.active[:20]]
    holes = ""
    if survey.summary.hole_extent is not None:
        h = survey.summary.hole_extent
        dims = ", ".join(str(d) for d in sorted(h.active[:40].tolist()))
        holes = (
            f"\n\nThe holes alone vary on {len(h.active):,} dimensions, by at most {int(h.steps.max())} steps: {dims}."
        )
    return table(("dimension", "steps", "patterns", "exponent"), rows, right=range(4)) + holes


def _shells(survey: LatticeSurvey) -> str:
    s = survey.shells
    void = ""
    if survey.summary.gap is not None:
        void = (
            f" The widest gap in distance from the holes' centroid lies beyond rank {survey.summary.gap.below:,}, from "
            f"{number(survey.summary.gap.lower)} to {number(survey.summary.gap.upper)}."
        )
    broken = "no density break"
    if s.density_break is not None:
        broken = (
            f"the density breaks at {number(s.density_break.threshold, 3)}: {s.core_tokens:,} tokens on "
            f"{s.core_rows:,} rows inside, {s.outer_tokens:,} on {s.outer_rows:,} outside"
        )
    medoid = int(survey.rows.representatives[s.medoid])
    shares = ", ".join(f"{100 * share:.1f} %" for share in s.variance_shares[:3])
    return (
        f"From the most populated row, in value units: {broken}; the furthest row is "
        f"{number(float(s.distances.max()), 3)} away; the medoid is token {medoid}; "
        f"principal directions hold {shares} of the variance.{void}"
    )


def _rows(survey: LatticeSurvey, vocabulary: Vocabulary | None) -> str:
    lines: list[tuple[str, ...]] = []
    rows = list(zip(survey.rows.representatives, survey.rows.populations, survey.linf[0], strict=True))
    for i, n, step in rows[:SHOWN_ROWS]:
        text = vocabulary.text(int(i)) if vocabulary else None
        lines.append(
            (token(text, int(i)), f"{n:,}", f"{step:,}", number(float(survey.shells.distances[len(lines)]), 3))
        )
    more = f"\n\n{len(rows) - SHOWN_ROWS:,} more." if len(rows) > SHOWN_ROWS else ""
    return table(("first token", "tokens", "L-infinity to the first row", "distance"), lines, right=(1, 2, 3)) + more
