"""The verdicts as markdown: a table, what a verdict is worth, and weights beside their error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from forensics.hypotheses.judging.calibration import WEAK, power_of
from forensics.hypotheses.judging.fit import Fit, Residual
from forensics.hypotheses.judging.result import Judgement
from forensics.hypotheses.sweeps.study import HypothesesStudy
from forensics.report.markdown import code, plain, table
from forensics.text import number


def in_order(fits: Sequence[Fit]) -> list[Fit]:
    """Those that stand first, then by p-value, from the largest."""
    return sorted(fits, key=lambda fit: (not fit.stands, -(fit.p_value or 0), fit.hypothesis))


def verdict_table(result: HypothesesStudy) -> str:
    """The verdict on each hypothesis, what it would reject of others, and the statistic that is furthest off."""
    rows = []
    for fit in in_order(result.judgement.fits if result.judgement else ()):
        story = plain((result.hypotheses or {})[fit.hypothesis].title)
        why = plain(fit.reason) if not fit.residuals or fit.verdict == "no verdict" else _worst(fit)
        figures = (fit.p_text, _bold(fit), number(_power(fit, result), 2))
        rows.append((code(fit.hypothesis), story, *figures, why))
    header = ("hypothesis", "what it says happened", "p", "verdict", "rejects of others", "furthest off")
    return table(header, rows, right=(2, 4))


def weak(result: HypothesesStudy) -> str:
    """Which hypotheses stand although they would hardly reject anything; nothing where none does."""
    lines = []
    for fit in result.judgement.fits if result.judgement else ():
        power = _power(fit, result)
        if fit.stands and power is not None and power < WEAK:
            lines.append(
                f"That {code(fit.hypothesis)} is not rejected says little: held against {fit.n:,} simulations it "
                f"rejects {_percent(power)} of what other classes draw."
            )
            # Up to this the least p-value but one is above alpha: a single odd simulation hides everything.
            if result.judgement and (fit.n + 1) * result.judgement.alpha < 2:
                lines[-1] += " At so few a single odd one decides; a larger budget would tell more."
    return "\n\n".join(lines)


def _power(fit: Fit, result: HypothesesStudy) -> float | None:
    judgement = result.judgement
    return power_of(fit.hypothesis, judgement.calibration, judgement.classes) if judgement else None


def _bold(fit: Fit) -> str:
    return f"**{fit.verdict}**" if fit.stands else fit.verdict


def _worst(fit: Fit) -> str:
    worst = fit.residuals[0]
    return f"{plain(worst.title)}: observed {seen_of(worst)}, simulated {given_of(worst)}"


def seen_of(residual: Residual) -> str:
    """The observed value; a dash where it is undefined."""
    return number(residual.observed, 3)


def given_of(residual: Residual) -> str:
    """The mean and spread near the observation; a dash where the hypothesis leaves it undefined."""
    if residual.mean is None:
        return "-"
    partly = f" (defined in {100 * residual.defined:.3g} %)" if residual.defined < 1 else ""
    return f"{number(residual.mean, 3)} +- {number(residual.sd, 2)}{partly}"


def weights(judgement: Judgement) -> str:
    """Weights between the classes that stand, beside the error of choosing by them; nothing if there is no choice."""
    choice = judgement.choice
    if choice is None:
        return ""
    rows = [(code(name), number(weight, 2)) for name, weight in choice.weights.items()]
    return (
        f"{table(('class that stands', 'weight'), rows, right=(1,))}\n\n"
        f"**Choosing by these weights errs in {_percent(choice.error)} of {choice.n:,} simulations**, and in "
        f"{_percent(choice.error_near)} of the {choice.nearest} nearest to this observation."
    )


def left_out(reasons: Mapping[str, str]) -> Iterator[str]:
    """What was not simulated, a sentence a reason."""
    for why in dict.fromkeys(reasons.values()):
        names = ", ".join(code(name) for name, of in sorted(reasons.items()) if of == why)
        yield f"Not simulated ({plain(why)}): {names}."


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
