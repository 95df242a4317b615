"""What a recording shows, as markdown: by section the claim, its table, the method and the caveats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forensics.dynamics.result import Answer, Dynamics
from forensics.dynamics.study import Study
from forensics.measures import Measure
from forensics.report.dynamics_claims import claim_of
from forensics.report.dynamics_comparison import comparison_parts
from forensics.report.dynamics_sections import SECTIONS
from forensics.report.markdown import code, fold, plain, table
from forensics.text import number
from forensics.toy.tables import flatten

Captions = Sequence[tuple[int, str, str]]
"""Of each figure its section, its file and what it shows."""


def dynamics_document(result: Study, captions: Captions) -> str:
    """The text of dynamics.md."""
    parts = [f"# Dynamics of dead tokens: {code(result.run.name)}", *_head(result.run)]
    if result.comparison is not None:
        parts += comparison_parts(result.comparison, captions)
    for number_of, section in SECTIONS.items():
        parts += [f"## {number_of}. {section.title}", *_claims(result.run.section(number_of))]
        parts.append(_figures(captions, number_of))
        parts += _tables(result.run.section(number_of))
        parts.append(f"**Method.** {section.method}")
        parts.append("\n".join(["**Caveats.**", "", *(f"- {line}" for line in section.caveats)]))
    parts.append(fold("All settings of the run", _settings(result.run)))
    parts.append(
        f"Made by {code(result.command)}. Beside this report: `dynamics.json` (every figure with its definition), "
        "`series.csv` (one row a step), `tokens.csv` (one row a recorded token)."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: Dynamics) -> Iterator[str]:
    answered = sum(answer.result is not None for answer in run.answers)
    yield (
        f"**{run.n_dead:,} of {run.vocab_size:,} tokens never occur in the training stream; "
        f"{answered} of {len(run.answers)} questions are answered.** {plain(run.stored)}"
    )
    rows = [("tokens whose rows are recorded", f"{run.n_rows:,}, of which {run.n_dead_rows:,} dead")]
    if len(run.steps):
        rows.append(("recorded steps of W", f"{len(run.steps):,}, from {run.steps[0]:,} to {run.steps[-1]:,}"))
    rows.append(("D, dimensions of a row", number(run.dim)))
    settings = dict(flatten(run.config))
    for key in _SHOWN:
        if key in settings:
            rows.append((code(key), code(_value(settings[key]))))
    if "loss" in run.recorded and len(run.recorded["loss"][1]):
        steps, loss = run.recorded["loss"]
        course = f"{number(float(loss[0]), 4)} at {steps[0]:,}, {number(float(loss[-1]), 4)} at {steps[-1]:,}"
        rows.append(("loss (nats) by step", course))
    for key in ("unigram_entropy", "context_entropy"):
        if isinstance(run.corpus.get(key), int | float):
            rows.append((f"{key.replace('_', ' ')} of the stream (nats)", number(run.corpus[key], 4)))
    yield table(("the run", ""), rows)


_SHOWN = (
    "seed", "precision", "optimizer.kind", "optimizer.lr", "optimizer.weight_decay", "schedule.kind", "model.layers",
    "model.tied", "initial.tokens.kind", "initial.tokens.sigma", "initial.positions.sigma", "batches.batch",
    "batches.context",
)  # fmt: skip


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _settings(run: Dynamics) -> str:
    rows = [(code(str(key)), code(_value(value)) if _value(value) else "") for key, value in flatten(run.config)]
    return table(("setting", "value"), rows)


def _claims(answers: Sequence[Answer]) -> Iterator[str]:
    lines = []
    for answer in answers:
        if answer.result is None:
            lines.append(f"- {answer.title}: not answered: {plain(answer.missing or '')}")
        else:
            lines.append(f"- **{answer.title}.** {plain(claim_of(answer))}")
    yield "\n".join(lines)


def _tables(answers: Sequence[Answer]) -> Iterator[str]:
    for answer in answers:
        if answer.measures:
            rows = [_row(measure) for measure in answer.measures]
            text = table(("figure", "of", "value", "unit", "definition"), rows, right=(2,))
            yield fold(f"{answer.title}: {len(rows)} figures", text)


def _row(measure: Measure) -> tuple[str, ...]:
    said = (measure.name, measure.population, number(measure.value, 4), measure.unit, measure.definition)
    return tuple(plain(text) for text in said)


def _figures(captions: Captions, section: int) -> str:
    return "\n\n".join(f"![{caption}]({name})\n\n*{caption}*" for of, name, caption in captions if of == section)
