"""Whether a real value could be one more run of the toy: a prediction interval from the spread of its seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from forensics.hypotheses.observables.observable import Observable

LEVEL = 0.05
SEEDS = 3
"""Runs that a verdict asks for: of two the interval is 15 standard deviations to each side and says nothing."""

FIRM = 5
"""Runs from which a value inside is called reproduced without a word on the width: of five it is 3 deviations."""

RULE = f"""Of n runs that differ in seed alone, with mean m and standard deviation s on the observable's own scale \
(identity, log, log1p, or the arc sine of the square root), one more run would lie within m \u00b1 t s sqrt(1 + 1/n), \
t the {100 - 50 * LEVEL:g} % quantile of Student's t with n - 1 degrees of freedom, {100 - 100 * LEVEL:g} times in a \
hundred (the prediction interval of a normal sample). A real value inside is "reproduced": not told apart from a run \
of the toy, which with few seeds is a weak thing to say (at n = 3 the interval is m \u00b1 5.0 s). One outside is "not \
reproduced". A difference below the observable's resolution counts as none. Below {SEEDS} runs there is a difference \
and no verdict, and so where the interval holds every value that a share or an angle can have. With fewer than {FIRM} \
runs "reproduced" is written as "within the seeds' spread", with the interval's half width."""

Verdict = Literal["reproduced", "not reproduced", "no verdict", "undefined"]

_INVERSE: Mapping[str, Callable[[float], float]] = {
    "identity": lambda x: x,
    "log": lambda x: math.exp(min(x, 700.0)),
    "log1p": lambda x: math.expm1(min(x, 700.0)),
    "arcsine": lambda x: math.sin(min(max(x, 0.0), math.pi / 2)) ** 2,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A real value against one group of runs.

    Attributes:
        values: the runs'; None where a run leaves it undefined.
        n: runs that define it.
        mean, sd: over those, in the observable's own unit; the sd with n - 1, of two runs at least.
        low, high: the prediction interval in that unit; None below three runs.
        difference: the real value less the mean, in that unit.
        verdict: "reproduced", "not reproduced", "no verdict" (see the rule) or "undefined" (on one side or both).
        reason: of "no verdict" and "undefined".
        distance: of the real value from the middle, in s sqrt(1 + 1/n) on the observable's scale; None without spread.
        p: probability of so large a distance by seed alone, two-sided.
    """

    values: tuple[float | None, ...]
    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    difference: float | None
    verdict: Verdict
    reason: str | None
    distance: float | None
    p: float | None

    @property
    def told(self) -> str:
        """The verdict in words: of few seeds "reproduced" says how wide the interval is, in their deviations."""
        if self.verdict != "reproduced" or self.n >= FIRM:
            return self.verdict
        return f"within the seeds' spread ({self.n} seeds: \u00b1 {_half_width(self.n):.2g} sd)"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in self.__slots__}


def judge(observable: Observable, real: float | None, toys: Sequence[float | None], barred: str | None = None) -> Cell:
    """Holds a real value against runs.

    Args:
        observable: what they are values of.
        real: None where it is undefined.
        toys: one value a run.
        barred: why the two sides cannot be compared by it, or None.

    References:
        Student's prediction interval for one further normal observation: Hahn and Meeker 1991, Statistical
        Intervals, section 4.7.
    """
    known = [value for value in toys if value is not None]
    mean = float(np.mean(known)) if known else None
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    if sd is not None and sd < 1e-14 * max(map(abs, known)):
        sd = 0.0  # equal values, but for the rounding of their mean
    difference = None if real is None or mean is None else real - mean
    held = tuple(toys), len(known), mean, sd
    if real is None or not known:
        sides = [side for side, lacks in (("the real model", real is None), ("every toy", not known)) if lacks]
        return Cell(*held, None, None, difference, "undefined", f"undefined in {' and '.join(sides)}", None, None)
    if barred is None and len(known) < SEEDS:
        barred = f"three seeds at least, here {len(known)}"
    if barred is not None:
        return Cell(*held, None, None, difference, "no verdict", barred, None, None)
    interval = predict(observable, known)
    if interval.says_nothing:
        return Cell(
            *held, interval.low, interval.high, difference, "no verdict", "seeds spread over all values", None, None
        )
    y = observable.transformed(real)
    # Against a spread that is rounding alone, how many times it the distance is says nothing.
    distance = (y - interval.middle) / interval.one if interval.one > 1e-6 * observable.resolution else None
    return Cell(
        *held,
        interval.low,
        interval.high,
        difference,
        "reproduced" if abs(y - interval.middle) <= interval.half else "not reproduced",
        None,
        distance,
        None if distance is None else _two_sided(distance, len(known) - 1),
    )


@dataclass(frozen=True, slots=True)
class Prediction:
    """Where one more run would lie.

    Attributes:
        middle, half: of the interval, on the observable's scale.
        one: s sqrt(1 + 1/n) on that scale.
        ends: the interval on that scale, cut to what the observable can be.
        low, high: the same in the observable's own unit.
        says_nothing: whether every value that the observable can have lies inside.
    """

    middle: float
    half: float
    one: float
    ends: tuple[float, float]
    low: float
    high: float
    says_nothing: bool


def _half_width(n: int) -> float:
    """Of the prediction interval of n runs, two at least, in their standard deviation."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 1 - LEVEL / 2)) * math.sqrt(1 + 1 / n)


def predict(observable: Observable, values: Sequence[float]) -> Prediction:
    """The prediction interval of two runs or more."""
    x = np.array([observable.transformed(value) for value in values])
    middle, one = float(x.mean()), float(x.std(ddof=1)) * math.sqrt(1 + 1 / len(x))
    half = max(float(x.std(ddof=1)) * _half_width(len(x)), observable.resolution)
    least, most = _bounds(observable)
    ends = max(middle - half, least), min(middle + half, most)
    low, high = (_INVERSE[observable.transform](end) for end in ends)
    return Prediction(middle, half, one, ends, low, high, ends == (least, most))


def _bounds(observable: Observable) -> tuple[float, float]:
    """The least and the largest value on the observable's scale."""
    if observable.transform == "arcsine":
        return 0.0, math.pi / 2
    if observable.unit == "degrees":
        return 0.0, 180.0
    if observable.unit == "share" and observable.transform == "identity":
        return 0.0, 1.0
    return (0.0 if observable.transform == "log1p" else -math.inf), math.inf


def _two_sided(distance: float, freedom: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(distance)))
