"""A test of hypotheses as markdown: the claim, its table, what carries it, the method and the caveats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from forensics.hypotheses.judging.calibration import HELD_OUT
from forensics.hypotheses.judging.fit import Fit
from forensics.hypotheses.judging.posterior import Interval
from forensics.hypotheses.judging.result import NOTES, Judgement
from forensics.hypotheses.observables import OBSERVABLES
from forensics.hypotheses.subject import Subject
from forensics.hypotheses.sweeps.study import HypothesesStudy
from forensics.report.hypotheses_calibration import calibration_parts, classes_part
from forensics.report.hypotheses_verdicts import given_of, left_out, seen_of, verdict_table, weak, weights
from forensics.report.markdown import code, fold, plain, table
from forensics.text import number

Captions = Sequence[tuple[str, str]]
"""Of each figure its file and what it shows."""

SHOWN_RESIDUALS = 4
"""Statistics shown of each hypothesis, the worst; all are in hypotheses.json."""

PLANTED = (
    "The matrix is planted: it holds what was put in, so this is evidence about the tool, not about the model whose "
    "figures it may have been made from."
)

METHOD = """Each hypothesis is a simulator of the dead rows. Its parameters are drawn from their priors, rows are drawn
with them, and the observables measured; the observation is held against those simulations. The p-value is conformal:
the share of simulations, the observation counted among them, that lie at least as oddly among the others. If the
observation was drawn as the simulations were, all are exchangeable, and it is exact whatever the score, but for the
means and scales of the statistics, which are taken from the simulations alone; the score decides only what is found.
Posteriors are by rejection and local regression. Simulation number i of a hypothesis depends on
the seed, its name and i alone."""

CAVEATS = (
    "Not rejected is not proved: a hypothesis that is not here may be true.",
    "A hypothesis is judged with the parameters that its priors allow: another prior is another hypothesis.",
    "Simulators that place noise around a point are given the point: the stored row that most dead tokens hold, or "
    "their mean. They predict how the rows lie about it, not where it lies.",
)


def opening(result: HypothesesStudy) -> str:
    """The claim, as a sentence of its own."""
    return f"{result.claim[:1].upper()}{result.claim[1:]}."


def is_planted(subject: Subject) -> bool:
    """The matrix was made here, not trained."""
    return subject.checkpoint.source.kind == "planted"


def hypotheses_document(result: HypothesesStudy, captions: Captions, files: Sequence[str]) -> str:
    """The text of hypotheses.md.

    Args:
        result: of a study.
        captions: of the figures beside it.
        files: other files beside it, with what they hold.
    """
    parts = [f"# Hypotheses: {code(str(result.subject.checkpoint.source))}", *_head(result)]
    if result.judgement is not None:
        parts += _judged(result, result.judgement, captions)
        parts += ["## Method", METHOD + _settings(result, result.judgement)]
    parts += ["## Caveats", "\n".join(f"- {line}" for line in _caveats(result))]
    parts.append(f"Made by {code(result.command)}. Beside this report: {', '.join(files)}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(result: HypothesesStudy) -> Iterator[str]:
    subject = result.subject
    yield f"**{plain(opening(result))}**"
    if is_planted(subject):
        yield PLANTED
    matrix = subject.embedding
    where = f"{code(matrix.tensor)}, {matrix.n_rows:,} x {matrix.dim:,} {matrix.format.name}"
    if subject.cloud is None:
        yield f"Matrix: {where}."
        return
    holes = int((subject.cloud.populations > 1).sum())
    yield (
        f"Matrix: {where}. Dead: {plain(subject.why_dead)}. Their rows: {len(subject.cloud.patterns):,} distinct, "
        f"{holes:,} black holes, different on {len(subject.cloud.active):,} of "
        f"{len(subject.cloud.row):,} {'bytes' if matrix.is_quantised else 'dimensions'}. Held against "
        f"{len(subject.live):,} live tokens."
    )


def _judged(result: HypothesesStudy, judgement: Judgement, captions: Captions) -> Iterator[str]:
    yield verdict_table(result)
    yield weak(result)
    yield from left_out(result.settings.left_out)
    yield weights(judgement)
    yield _figures(captions, "verdicts", "transition")
    yield "## Parameters"
    standing = [fit for fit in judgement.fits if fit.stands]
    yield _parameters(standing, result) or "No hypothesis that stands has a free parameter."
    nearest = _parameters([fit for fit in judgement.fits if fit.verdict == "rejected"], result)
    if nearest:
        yield fold("Of rejected hypotheses: the parameters that come nearest", nearest)
    yield "## Statistics"
    yield fold(f"Observables of the dead rows ({len(result.observed or {})})", _observables(result))
    yield fold(f"The {SHOWN_RESIDUALS} worst statistics of each hypothesis", _residuals(judgement.fits))
    yield fold("The hypotheses, with their sources and priors", _hypotheses(result))
    yield classes_part(judgement.classes)
    if judgement.calibration is not None:
        yield "## Calibration"
        yield from calibration_parts(judgement.calibration, judgement.classes)
        yield _figures(captions, "calibration")


def _figures(captions: Captions, *names: str) -> str:
    shown = [(name, caption) for name, caption in captions if name.removesuffix(".png") in names]
    return "\n\n".join(f"![{plain(caption)}]({name})\n\n*{plain(caption)}*" for name, caption in shown)


def _parameters(fits: Sequence[Fit], result: HypothesesStudy) -> str:
    rows = []
    for fit in fits:
        told = _told(result)[fit.hypothesis]["parameters"]
        for name, interval in (fit.posterior or {}).items():
            meaning, prior = plain(told[name]["meaning"]), plain(told[name]["prior"])
            rows.append((code(fit.hypothesis), code(name), meaning, _interval(interval), prior))
    header = ("hypothesis", "parameter", "meaning", "median (90 % interval)", "prior")
    return table(header, rows) if rows else ""


def _told(result: HypothesesStudy) -> dict[str, dict[str, Any]]:
    """The hypotheses in plain values, by name, sorted."""
    if result.context is None or result.hypotheses is None:
        return {}
    return {name: one.to_dict(result.context) for name, one in sorted(result.hypotheses.items())}


def _interval(interval: Interval) -> str:
    return f"{number(interval.median, 3)} ({number(interval.low, 3)} to {number(interval.high, 3)})"


def _observables(result: HypothesesStudy) -> str:
    fixed = set(result.subject.by_construction)
    rows = []
    for name, value in (result.observed or {}).items():
        said = OBSERVABLES[name]
        definition = said.definition + ("; fixed by the selection of the dead" if name in fixed else "")
        rows.append((plain(said.title), number(value, 4), said.unit, plain(said.population), plain(definition)))
    return table(("observable", "value", "unit", "over", "definition"), rows, right=(1,))


def _residuals(fits: Sequence[Fit]) -> str:
    rows = []
    for fit in fits:
        for residual in fit.residuals[:SHOWN_RESIDUALS]:
            figures = (seen_of(residual), given_of(residual), number(residual.z, 2))
            rows.append((code(fit.hypothesis), plain(residual.title), *figures))
    header = ("hypothesis", "statistic", "observed", "simulated, nearest", "standard deviations")
    silent = ", ".join(f"{code(fit.hypothesis)} {len(fit.unpredicted)}" for fit in fits if fit.unpredicted)
    said = f"Statistics that no simulation defines, by which a hypothesis is not judged: {silent}." if silent else ""
    return "\n\n".join([table(header, rows, right=(2, 3, 4)), said]).rstrip()


def _hypotheses(result: HypothesesStudy) -> str:
    rows = []
    for name, one in _told(result).items():
        priors = "; ".join(f"{parameter}: {said['prior']}" for parameter, said in one["parameters"].items())
        rows.append((code(name), *(plain(one[key]) for key in ("story", "predicts", "source")), plain(priors) or "-"))
    return table(("hypothesis", "story", "predicts", "source", "priors"), rows)


def _settings(result: HypothesesStudy, judgement: Judgement) -> str:
    drawn = sorted({fit.n + fit.n_failed for fit in judgement.fits if fit.n + fit.n_failed})
    failed = sum(fit.n_failed for fit in judgement.fits)
    return (
        f" Here: alpha {judgement.alpha:g}, budget {result.settings.budget:,} a hypothesis, seed "
        f"{result.settings.seed}; {' or '.join(f'{n:,}' for n in drawn) or 'no'} simulations a hypothesis were "
        f"fitted, {failed:,} failed, and the last of every {HELD_OUT} were held out for the calibration."
    )


def _caveats(result: HypothesesStudy) -> Iterator[str]:
    if result.judgement is not None:
        yield from CAVEATS
        yield NOTES[0]
        if result.subject.only_in_holes:
            yield "The dead were chosen as rows in holes: of every simulated cloud, too, only such rows are measured."
        if result.subject.by_construction:
            titles = ", ".join(plain(OBSERVABLES[name].title) for name in result.subject.by_construction)
            yield f"The selection of the dead fixes some observables, which are evidence of nothing: {titles}."
    for note in result.subject.notes:
        yield f"{plain(note[:1].upper() + note[1:]).rstrip('.')}."
    if not len(result.subject.dead):
        yield "Nobody found dead is an answer about this selection; another can be named with `--dead`."
