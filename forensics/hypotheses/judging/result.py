"""All hypotheses against one observation: verdicts first, then classes, weights with their error, and calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forensics.hypotheses.context import Context
from forensics.hypotheses.hypothesis import Hypothesis, LogUniform
from forensics.hypotheses.judging.calibration import HELD_OUT, WEAK, Calibration, Trained, calibrate, power_of
from forensics.hypotheses.judging.choice import Choice, Pool
from forensics.hypotheses.judging.classes import Classes, find_classes
from forensics.hypotheses.judging.conformal import Reference
from forensics.hypotheses.judging.distance import statistics
from forensics.hypotheses.judging.fit import Fit, fit_hypothesis, needed, used_observables
from forensics.hypotheses.judging.posterior import Draws
from forensics.hypotheses.observables.observable import Observable
from forensics.hypotheses.sweeps.simulation import Simulation
from forensics.text import align

NOTES = (
    "Each hypothesis is tested by itself. At most one class made these rows, so the chance that the true one is among "
    "the rejected is at most alpha, however many are tested. That holds on average over its prior, not at each of "
    "its parameters: the calibration has it by thirds of one.",
    "A hypothesis is tested with the parameters that its priors allow, no others. Not rejected is not proved.",
)


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What an observation says of hypotheses.

    Attributes:
        alpha: p-value up to which a hypothesis is rejected.
        fits: one a hypothesis, by name.
        classes: of the hypotheses with enough simulations; those of one class are not told apart.
        choice: weights between the classes that stand, where those are two or more; else None.
        calibration: of the same test on simulations that no fit has seen; None where nothing was fitted.
    """

    alpha: float
    fits: tuple[Fit, ...]
    classes: Classes
    choice: Choice | None
    calibration: Calibration | None

    @property
    def standing(self) -> tuple[str, ...]:
        """The classes of which some hypothesis is not rejected, by the names of those."""
        return tuple(f"{', '.join(names)} (one class)" if len(names) > 1 else names[0] for names in self._left())

    @property
    def claim(self) -> str:
        """One sentence: how many are rejected, and what remains."""
        rejected = sum(fit.verdict == "rejected" for fit in self.fits)
        without = [fit.hypothesis for fit in self.fits if fit.verdict == "no verdict"]
        judged = len(self.fits) - len(without)
        if not judged:
            return (
                f"no verdict on any of {len(self.fits)} hypotheses: {self.fits[0].reason}"
                if self.fits
                else "no hypotheses"
            )
        if rejected == judged:
            said = f"every hypothesis judged here is rejected at {self.alpha:g} ({judged})"
        else:
            said = f"{rejected} of {judged} hypotheses are rejected at {self.alpha:g}; {self._remaining()}"
        return said + (f"; no verdict on {', '.join(without)}" if without else "")

    def _remaining(self) -> str:
        standing, left = self.standing, self._left()
        if len(standing) == 1:
            n = self.classes.compared(left[0])
            many = f"is not told apart with {n:,} simulations of each"
            alone = many if len(left[0]) > 1 else "is one, not proved by that"
            powers = [
                power for name in left[0] if (power := power_of(name, self.calibration, self.classes)) is not None
            ]
            weak = powers and max(powers) < WEAK
            though = f", though this test rejects few of the others' draws (power {max(powers):.2g})" if weak else ""
            return f"what remains {alone}: {standing[0]}{though}"
        error = (
            f"; a choice between these errs in {100 * self.choice.error:.2g} % of simulations" if self.choice else ""
        )
        return f"what remains: {'; '.join(standing)}{error}"

    def _left(self) -> tuple[tuple[str, ...], ...]:
        """The hypotheses that stand, by class."""
        stand = {fit.hypothesis for fit in self.fits if fit.stands}
        return tuple(names for names in self.classes.among(stand) if names)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; undefined is None."""
        return {
            "claim": self.claim,
            "alpha": self.alpha,
            "fits": [fit.to_dict() for fit in self.fits],
            "classes": self.classes.to_dict(),
            "choice": self.choice.to_dict() if self.choice else None,
            "calibration": self.calibration.to_dict() if self.calibration else None,
            "notes": list(NOTES),
        }

    def to_frame(self) -> Any:
        """One row a hypothesis, as a pandas DataFrame."""
        import pandas as pd

        columns = ("hypothesis", "n", "n_failed", "verdict", "p_value", "reason")
        return pd.DataFrame([{c: getattr(fit, c) for c in columns} for fit in self.fits], columns=columns)

    def __str__(self) -> str:
        rows = [["hypothesis", "simulations", "p", "verdict", "why"]]
        for fit in self.fits:
            why = "" if fit.stands else fit.reason.split(";")[0] if fit.verdict == "rejected" else fit.reason
            rows.append([fit.hypothesis, f"{fit.n:,}", fit.p_text, fit.verdict, why])
        lines = [self.claim, "", align(rows, right=(1, 2))]
        if self.choice:
            weights = ", ".join(f"{name} {weight:.2f}" for name, weight in self.choice.weights.items())
            errs = (
                f"{100 * self.choice.error:.2g} % of simulations, {100 * self.choice.error_near:.2g} % of the nearest"
            )
            lines += ["", f"weights: {weights}; choosing by them errs in {errs}"]
        return "\n".join(lines)


def judge(
    hypotheses: Mapping[str, Hypothesis] | Iterable[Hypothesis],
    context: Context,
    observed: Mapping[str, float | None],
    simulations: Mapping[str, Sequence[Simulation]],
    *,
    alpha: float = 0.01,
    seed: int = 0,
    observables: Sequence[Observable] | None = None,
) -> Judgement:
    """Holds an observation against all hypotheses' simulations.

    The last fifth of each hypothesis's simulations is held out of everything but the calibration.

    Args:
        hypotheses: those to judge.
        context: that they were simulated in.
        observed: the observation's observables.
        simulations: by hypothesis; where a hypothesis has none there is no verdict on it.
        alpha: p-value up to which a hypothesis is rejected.
        seed: of the order in which ties between simulations are broken.
        observables: what they are judged by; by default those that every simulator yields.
    """
    used = used_observables(observables)
    by_name = {h.name: h for h in (hypotheses.values() if isinstance(hypotheses, Mapping) else hypotheses)}
    fitted, held = {}, {}
    for name in sorted(by_name):
        ordered = sorted(simulations.get(name, ()), key=lambda s: s.index)
        cut = len(ordered) - len(ordered) // HELD_OUT
        fitted[name], held[name] = ordered[:cut], ordered[cut:]
    fits = tuple(
        _fit(by_name[name], context, observed, found, alpha=alpha, observables=used) for name, found in fitted.items()
    )
    judged = [fit.hypothesis for fit in fits if fit.p_value is not None]
    good = {name: [s for s in fitted[name] if s.error is None] for name in judged}
    values = {name: statistics([s.observables for s in found], used) for name, found in good.items()}
    same_as = {name: h.same_as for name, h in by_name.items() if h.same_as}
    classes = find_classes(values, used, same_as=same_as, alpha=alpha, seed=seed)
    if not judged:
        return Judgement(alpha, fits, classes, None, None)
    trained = {
        name: Trained(
            Reference.of(values[name], used),
            Draws.of(good[name], _logarithmic(by_name[name], context)),
            len(fitted[name]) - len(good[name]),
        )
        for name in judged
    }
    calibration = calibrate(held, trained, classes, values, used, alpha=alpha)
    left = classes.among({fit.hypothesis for fit in fits if fit.stands})
    standing = {name: names for name, names in zip(classes.names, left, strict=True) if names}
    choice = None
    if len(standing) > 1:
        pool = Pool.gather(values, [*standing.values()], used)
        choice = pool.choice(statistics([observed], used), [*standing])
    return Judgement(alpha, fits, classes, choice, calibration)


def _fit(
    hypothesis: Hypothesis,
    context: Context,
    observed: Mapping[str, float | None],
    simulations: Sequence[Simulation],
    *,
    alpha: float,
    observables: Sequence[Observable],
) -> Fit:
    if not simulations:
        reason = hypothesis.obstacle(context) or "no simulations"
        return Fit(hypothesis.name, 0, 0, "no verdict", reason)
    fit = fit_hypothesis(
        hypothesis.name,
        observed,
        simulations,
        alpha=alpha,
        logarithmic=_logarithmic(hypothesis, context),
        observables=observables,
    )
    if fit.p_value is None and not fit.n_failed:
        budget = math.ceil(max(3, needed(alpha)) * HELD_OUT / (HELD_OUT - 1))
        return replace(fit, reason=f"{fit.reason}: a budget of {budget}, as a fifth is held out")
    return fit


def _logarithmic(hypothesis: Hypothesis, context: Context) -> frozenset[str]:
    return frozenset(p.name for p in hypothesis.parameters if isinstance(p.prior(context), LogUniform))
