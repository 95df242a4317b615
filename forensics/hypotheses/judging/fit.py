"""One hypothesis against an observation: a verdict by its p-value, the parameters it would need, and where it fails."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from forensics.hypotheses.judging.conformal import Reference
from forensics.hypotheses.judging.distance import Floats, statistics
from forensics.hypotheses.judging.posterior import Draws, Interval, accepted_count, posterior
from forensics.hypotheses.observables import CLOUD, OBSERVABLES
from forensics.hypotheses.observables.observable import Observable
from forensics.hypotheses.sweeps.simulation import Simulation
from forensics.text import number

Verdict = Literal["rejected", "not rejected", "no verdict"]

OFF = 3.0
"""Standard deviations from which a residual is named as the reason: one statistic in 370 of a fitting hypothesis."""


@dataclass(frozen=True, slots=True)
class Residual:
    """One statistic of the observation against the simulations that come nearest to it.

    Attributes:
        observable: its name.
        title: a few words.
        observed: None where undefined.
        mean, sd: over the nearest simulations that define it; None if none does.
        defined: share of the nearest simulations that define it.
        z: (observed - mean) / sqrt(sd^2 + resolution^2), on the scale of the observable's transform; where one side is
            undefined, that of being defined. None where neither side defines it.
    """

    observable: str
    title: str
    observed: float | None
    mean: float | None
    sd: float | None
    defined: float
    z: float | None

    def sentence(self, hypothesis: str) -> str:
        """What was observed against what the hypothesis gives."""
        seen = "undefined" if self.observed is None else number(self.observed, 3)
        if self.mean is None or self.sd is None:
            return f"{self.title}: observed {seen}, undefined in {hypothesis} near it"
        given = f"{number(self.mean, 3)} +- {number(self.sd, 2)}"
        if self.observed is None or self.defined < 1:
            given += f", defined in {100 * self.defined:.3g} % of simulations"
        return f"{self.title}: observed {seen}, {hypothesis} near it gives {given}"

    def to_dict(self) -> dict[str, Any]:
        """The fields as a mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One hypothesis against an observation.

    Attributes:
        hypothesis: its name.
        n: simulations that it was held against.
        n_failed: simulations that failed; each counts as one that is further off than the observation.
        verdict: "rejected" where the p-value is at most alpha. "no verdict" where it could not be, or where the failed
            simulations decide.
        reason: one sentence: what is furthest off, or why there is no verdict.
        p_value: the share of simulations, the observation among them, that are at least as odd as it is; None without
            a verdict for want of simulations.
        posterior: by parameter; of a rejected hypothesis, the parameters that come nearest.
        residuals: the worst first.
        unpredicted: observables that the observation has and no simulation defines.
    """

    hypothesis: str
    n: int
    n_failed: int
    verdict: Verdict
    reason: str
    p_value: float | None = None
    posterior: Mapping[str, Interval] | None = None
    residuals: tuple[Residual, ...] = ()
    unpredicted: tuple[str, ...] = ()

    @property
    def p_text(self) -> str:
        """The p-value, "<=" before the least that so many simulations can give; a dash without one."""
        if self.p_value is None:
            return "-"
        is_least = self.p_value * (self.n + self.n_failed + 1) < 1.5
        return f"{'<= ' if is_least else ''}{number(self.p_value, 2)}"

    @property
    def stands(self) -> bool:
        """There is a verdict, and it is not rejected."""
        return self.verdict == "not rejected"

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "hypothesis": self.hypothesis,
            "n": self.n,
            "n_failed": self.n_failed,
            "verdict": self.verdict,
            "reason": self.reason,
            "p_value": self.p_value,
            "posterior": {name: interval.to_dict() for name, interval in (self.posterior or {}).items()},
            "posterior_of_rejected": self.verdict == "rejected" and bool(self.posterior),
            "residuals": [residual.to_dict() for residual in self.residuals],
            "unpredicted": list(self.unpredicted),
        }


def needed(alpha: float) -> int:
    """Simulations below which no p-value can be as small as ``alpha``: 1 / (n + 1) is the least."""
    return math.ceil(1 / alpha - 1e-9) - 1


def used_observables(observables: Sequence[Observable] | None) -> tuple[Observable, ...]:
    """The observables given, or those that every simulator yields."""
    return tuple(OBSERVABLES[name] for name in CLOUD) if observables is None else tuple(observables)


def fit_hypothesis(
    name: str,
    observed: Mapping[str, float | None],
    simulations: Sequence[Simulation],
    *,
    alpha: float = 0.01,
    logarithmic: Collection[str] = (),
    observables: Sequence[Observable] | None = None,
) -> Fit:
    """Holds a hypothesis's simulations against an observation.

    Args:
        name: of the hypothesis.
        observed: observables of the observation; what is absent is undefined.
        simulations: drawn from its priors, failed ones among them.
        alpha: the p-value up to which it is rejected; above 0, below 1.
        logarithmic: parameters whose prior is even in the logarithm.
        observables: what it is judged by; by default those that every simulator yields.
    """
    used = used_observables(observables)
    good = [s for s in simulations if s.error is None]
    n, failed = len(good), len(simulations) - len(good)
    if n < max(3, needed(alpha)):
        return Fit(name, n, failed, "no verdict", _too_few(n, failed, alpha, simulations))
    values = statistics([s.observables for s in good], used)
    seen = statistics([observed], used)
    reference = Reference.of(values, used)
    as_odd = int(reference.as_odd(seen)[0])
    total = n + failed + 1
    least, p_value = (as_odd + 1) / total, (as_odd + failed + 1) / total
    point = reference.frame.points(seen)[0]
    squared = ((reference.points - point) ** 2).sum(axis=1)
    close = np.argsort(squared, kind="stable")[: accepted_count(n)]
    missing = [j for j in np.flatnonzero(np.isfinite(seen[0])).tolist() if j not in reference.frame.kept]
    values[:, missing] = seen[:, missing] = np.nan
    residuals = _residuals(used, observed, [good[i] for i in close], values[close], seen[0])
    verdict: Verdict = "rejected" if p_value <= alpha else "no verdict" if least <= alpha else "not rejected"
    return Fit(
        name,
        n,
        failed,
        verdict,
        f"{failed} of {n + failed} simulations failed, and p lies between {least:.2g} and {p_value:.2g} with them"
        if verdict == "no verdict"
        else _furthest(name, residuals, verdict),
        p_value,
        posterior(Draws.of(good, logarithmic), reference.points, squared, point),
        residuals,
        tuple(used[j].name for j in missing),
    )


def _too_few(n: int, failed: int, alpha: float, simulations: Sequence[Simulation]) -> str:
    reason = f"{n} simulations, {max(3, needed(alpha))} are needed for a p-value of {alpha:g}"
    first = next((s.error for s in simulations if s.error is not None), None)
    return f"{reason}; {failed} more failed, the first with {first}" if failed else reason


def _furthest(name: str, residuals: Sequence[Residual], verdict: Verdict) -> str:
    worst = [r.sentence(name) for r in residuals[:2] if r.z is not None and abs(r.z) >= OFF]
    together = ", their combination is" if verdict == "rejected" else ""
    return "; ".join(worst) or f"no single statistic is far off{together}"


def _residuals(
    used: Sequence[Observable],
    observed: Mapping[str, float | None],
    close: Sequence[Simulation],
    values: Floats,
    seen: Floats,
) -> tuple[Residual, ...]:
    """Of each observable; ``values`` and ``seen`` are the nearest simulations' and the observation's statistics."""
    found = []
    for j, o in enumerate(used):
        column = values[:, j]
        defined = np.isfinite(column)
        plain = np.array([s.observables[o.name] for s, ok in zip(close, defined, strict=True) if ok], np.float64)
        mean, sd = (float(plain.mean()), _sd(plain)) if len(plain) else (None, None)
        share = float(defined.mean())
        z: float | None
        if np.isfinite(seen[j]) and len(plain):
            z = float((seen[j] - column[defined].mean()) / math.hypot(_sd(column[defined]), o.resolution))
        elif np.isfinite(seen[j]) or len(plain):
            z = (float(np.isfinite(seen[j])) - share) / math.hypot(math.sqrt(share * (1 - share)), 1 / len(close))
        else:
            z = None
        value = observed.get(o.name) if np.isfinite(seen[j]) else None
        found.append(Residual(o.name, o.title, value, mean, sd, share, z))
    return tuple(sorted(found, key=lambda r: -abs(r.z or 0)))


def _sd(values: Floats) -> float:
    """The standard deviation; of equal values 0, which the rounding of their mean would spoil."""
    return float(values.std()) if np.ptp(values) else 0.0
