"""How much of an update the words of W alone tell: velocity, acceleration, stillness and the gradient's direction.

The founding question of what to record. The truth is the recorded update u and gradient g of the dead tokens; the
estimate is the difference of stored words, dW = W[t] - W[t-1]. That m and v themselves follow from g word for word is
what :mod:`.replay` shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.plain import listed, number
from forensics.measures import Measure

WINDOW = 10
"""Steps over which dW and g are summed: rounding errors of single steps then partly cancel."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Recovery:
    """What dW tells of the dead tokens, per recorded update; nan where it is undefined.

    Attributes:
        steps: ``int64[n]``.
        velocity: ``float64[n]``, 1 - sum |dW - u|^2 / sum |u|^2 over the dead elements: 1 if W tells all, 0 if no more
            than "nothing moved" would.
        velocity_cosine: ``float64[n]``, cosine of dW and u over all dead elements.
        acceleration: ``float64[n]``, the same as velocity for the change of dW and of u since the step before.
        gradient_cosine: ``float64[n]``, mean over moving tokens of cos(-dW_i, g_i).
        mean_gradient_cosine: ``float64[n]``, cos(-mean dW, mean g).
        window_cosine: ``float64[n // 10]``, mean over moving tokens of cos(-dW_i, g_i), both summed over 10 steps.
        still: ``int64[n]``, dead tokens whose row did not move.
        still_pushed: ``int64[n]``, of these the ones with an update that is not zero: W alone calls them at rest.
        tokens: dead tokens.
    """

    steps: NDArray[np.int64]
    velocity: Array
    velocity_cosine: Array
    acceleration: Array
    gradient_cosine: Array
    mean_gradient_cosine: Array
    window_cosine: Array
    still: NDArray[np.int64]
    still_pushed: NDArray[np.int64]
    tokens: int

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Each figure over the first and over the last tenth of the steps."""
        n = len(self.steps)
        tenth = max(1, n // 10)
        found = []
        for name, (unit, definition) in _DEFINITIONS.items():
            series = getattr(self, name)
            part = max(1, tenth * len(series) // n)
            for when, values in (("first tenth", series[:part]), ("last tenth", series[-part:])):
                shown = f"{name.replace('_', ' ')}, {when}"
                found.append(Measure(shown, _median(values), unit, "dead", f"median over steps of {definition}"))
        still, pushed = int(self.still.sum()), int(self.still_pushed.sum())
        share = pushed / still if still else None
        definition = "share of still token-steps whose update was not zero: at rest by W, pushed in truth"
        return (*found, Measure("still though pushed", share, "share", "dead", definition))

    def to_dict(self) -> dict[str, Any]:
        """The series as lists."""
        found: dict[str, Any] = {name: listed(getattr(self, name)) for name in _DEFINITIONS}
        counts = {"still": self.still.tolist(), "still_pushed": self.still_pushed.tolist()}
        return {"steps": self.steps.tolist(), "tokens": self.tokens, **found, **counts}


_DEFINITIONS = {
    "velocity": ("share", "1 - sum |dW - u|^2 / sum |u|^2"),
    "velocity_cosine": ("cosine", "cos(dW, u) over all dead elements"),
    "acceleration": ("share", "1 - sum |ddW - du|^2 / sum |du|^2, dd and d over one step"),
    "gradient_cosine": ("cosine", "the mean over moving tokens of cos(-dW_i, g_i)"),
    "mean_gradient_cosine": ("cosine", "cos(-mean dW, mean g)"),
    "window_cosine": ("cosine", f"the mean over moving tokens of cos(-dW_i, g_i) summed over {WINDOW} steps"),
}


@dataclass(slots=True, eq=False)
class Tracker:
    """Collects a `Recovery` from the dead tokens' updates."""

    _steps: list[int] = field(default_factory=list)
    _figures: list[tuple[float, ...]] = field(default_factory=list)
    _windows: list[float] = field(default_factory=list)
    _counts: list[tuple[int, int]] = field(default_factory=list)
    _last: tuple[NDArray[Any], NDArray[Any]] | None = None
    _sums: tuple[NDArray[Any], NDArray[Any]] | None = None
    _tokens: int = 0

    def add(self, step: int, moved: NDArray[Any], push: NDArray[Any], gradient: NDArray[Any]) -> None:
        """Takes an update.

        Args:
            step: of the update.
            moved: ``float32[tokens, dim]``, dW.
            push: ``float32[tokens, dim]``, u.
            gradient: ``float32[tokens, dim]``, g.
        """
        follows = bool(self._steps) and self._steps[-1] == step - 1
        acceleration = np.nan
        if follows and self._last is not None:
            acceleration = explained(moved - self._last[0], push - self._last[1])
        mean = _cosine(-moved.mean(axis=0), gradient.mean(axis=0))
        shares = (explained(moved, push), _cosine(moved, push), acceleration, mean_cosine(-moved, gradient), mean)
        self._figures.append(shares)
        still = ~moved.any(axis=1)
        self._counts.append((int(still.sum()), int(push[still].any(axis=1).sum())))
        self._tokens = len(moved)
        self._last = moved, push
        self._gather(moved, gradient, follows)
        self._steps.append(step)

    def result(self) -> Recovery:
        """The series."""
        velocity, cosine, acceleration, gradient, mean = np.array(self._figures).T
        still, pushed = np.array(self._counts, np.int64).T
        steps, windows = np.array(self._steps), np.array(self._windows)
        return Recovery(steps, velocity, cosine, acceleration, gradient, mean, windows, still, pushed, self._tokens)

    def _gather(self, moved: NDArray[Any], gradient: NDArray[Any], follows: bool) -> None:
        if self._sums is None or not follows or len(self._steps) % WINDOW == 0:
            self._sums = moved.copy(), gradient.copy()
        else:
            self._sums[0].__iadd__(moved)
            self._sums[1].__iadd__(gradient)
        if len(self._steps) % WINDOW == WINDOW - 1:
            self._windows.append(mean_cosine(-self._sums[0], self._sums[1]))


def explained(estimate: NDArray[Any], truth: NDArray[Any]) -> float:
    """1 - sum |estimate - truth|^2 / sum |truth|^2; nan where the truth is zero."""
    size = _square(truth)
    return 1 - _square(estimate - truth) / size if size else np.nan


def mean_cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean over rows of their cosine, rows that are zero in either left out; nan where none is left."""
    products, left, right = (np.einsum("ij,ij->i", x, y) for x, y in ((a, b), (a, a), (b, b)))
    there = (left > 0) & (right > 0)
    if not there.any():
        return np.nan
    return float((products[there] / np.sqrt(left[there]) / np.sqrt(right[there])).mean(dtype=np.float64))


def _square(x: NDArray[Any]) -> float:
    flat = x.ravel()
    return float(flat @ flat)


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    left, right = _square(a), _square(b)
    return float(a.ravel() @ b.ravel()) / np.sqrt(left) / np.sqrt(right) if left > 0 and right > 0 else np.nan


def _median(values: Array) -> float | None:
    finite = values[np.isfinite(values)]
    return number(np.median(finite)) if len(finite) else None
