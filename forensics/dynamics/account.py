"""What an account of updates found: elements by class, step by step, of dead and of live tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.plain import listed, number
from forensics.dynamics.recovery import Recovery
from forensics.measures import Measure

COUNTS = ("moved", "no_gradient", "no_update", "lost", "unexplained", "against_rule")
"""Columns of `Account.counts`; the first five add up to all elements, ``against_rule`` is the part of ``moved``
that the rule calls unmoved."""

LOST: Mapping[str, tuple[str, str]] = {
    "half a gap": ("lost to rounding", "below half a gap"),
    "chance": ("rounded back by chance", "that chance did not round away from the word"),
    "second word": ("kept in second word", "that the second word keeps for later steps"),
}
"""By what decides (see `UpdateAccount.rule`): what becomes of ``lost`` elements, and which those are."""


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """The elements of one kind of token, step by step.

    Attributes:
        elements: a step's, tokens x D.
        counts: ``int64[steps, 6]``, elements by `COUNTS`.
        adam_norm: ``float64[steps]``, mean over tokens of |u|/lr, for Adam the norm of m^/(sqrt(v^) + eps).
        adam_norm_std: ``float64[steps]``, its standard deviation over tokens.
        push_over_gap: ``float64[steps]``, median of |u| over half the gap, over at most 8,192 elements spread
            evenly; 1 is where motion ends.
        v_mean: ``float64[steps]``, mean second moment; nan where the rule has none.
        decayed: ``int64[steps]``, elements that weight decay alone would move.
    """

    elements: int
    counts: NDArray[np.int64]
    adam_norm: NDArray[np.float64]
    adam_norm_std: NDArray[np.float64]
    push_over_gap: NDArray[np.float64]
    v_mean: NDArray[np.float64]
    decayed: NDArray[np.int64]

    def share(self, name: str) -> float | None:
        """Share of all element-steps in a class; None without any."""
        total = self.elements * len(self.counts)
        return int(self.counts[:, COUNTS.index(name)].sum()) / total if total else None

    @property
    def unmoved_share_lost(self) -> float | None:
        """Share of the unmoved element-steps that are lost to rounding; None where all moved."""
        unmoved = int(self.counts[:, 1:5].sum())
        return int(self.counts[:, 3].sum()) / unmoved if unmoved else None

    def to_dict(self) -> dict[str, Any]:
        """Counts over all steps, and the series."""
        return {
            "elements": self.elements,
            "counts": dict(zip(COUNTS, self.counts.sum(axis=0).tolist(), strict=True)),
            "counts_by_step": {name: self.counts[:, i].tolist() for i, name in enumerate(COUNTS)},
            "decayed": int(self.decayed.sum()),
            **{name: listed(getattr(self, name)) for name in SERIES},
        }


SERIES = ("adam_norm", "adam_norm_std", "push_over_gap", "v_mean")


@dataclass(frozen=True, slots=True, eq=False)
class UpdateAccount:
    """The account of every recorded update whose start is recorded too.

    Attributes:
        steps: ``int64[n]``.
        rule: what decides: "half a gap", "chance" (stochastic rounding) or "second word" (Kahan). Under the last two an
            unmoved element with an update is counted as lost for this step, and nothing is unexplained.
        is_exact: the update is told from the words that the optimizer used; False for a fused kernel, which keeps the
            unrounded moments to itself.
        kinds: "dead" and "live", as far as tokens of the kind are recorded.
        recovery: what W alone would have told of the dead tokens; None where none is recorded.
    """

    steps: NDArray[np.int64]
    rule: str
    is_exact: bool
    kinds: Mapping[str, Account]
    recovery: Recovery | None

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        found: list[Measure] = []
        for which, account in self.kinds.items():
            for name, value, definition in _figures(account, self.rule):
                unit = "ratio" if name.startswith(("update over", "v,")) else "share" if "," in name else "value"
                found.append(Measure(name, value, unit, which, definition))
        return (*found, *(self.recovery.measures if self.recovery else ()))

    def to_dict(self) -> dict[str, Any]:
        """All as plain values."""
        return {
            "steps": self.steps.tolist(),
            "rule": self.rule,
            "is_exact": self.is_exact,
            "kinds": {which: account.to_dict() for which, account in self.kinds.items()},
            "recovery": self.recovery.to_dict() if self.recovery else None,
        }


def _figures(account: Account, rule: str) -> list[tuple[str, float | None, str]]:
    over = "share of element-steps"
    lost, how = LOST[rule]
    first, last = (number(account.adam_norm[i]) if len(account.adam_norm) else None for i in (0, -1))
    grown = number(account.v_mean[-1] / account.v_mean.max()) if len(account.v_mean) and account.v_mean.max() else None
    return [
        ("elements, moved", account.share("moved"), f"{over} whose word changed"),
        ("elements, no gradient", account.share("no_gradient"), f"{over} unmoved with update and gradient zero"),
        ("elements, no update", account.share("no_update"), f"{over} unmoved with an update of zero and a gradient"),
        (f"elements, {lost}", account.share("lost"), f"{over} unmoved with an update {how}"),
        ("elements, unexplained", account.share("unexplained"), f"{over} unmoved against the rule"),
        ("elements, moved against rule", account.share("against_rule"), f"{over} moved against the rule"),
        (f"unmoved, {lost}", account.unmoved_share_lost, "share of unmoved element-steps with an update"),
        ("update over lr, first step", first, "mean over tokens of |u|/lr; for Adam |m^/(sqrt(v^) + eps)|"),
        ("update over lr, last step", last, "mean over tokens of |u|/lr; for Adam |m^/(sqrt(v^) + eps)|"),
        ("v, last over largest", grown, "mean second moment at the last step over its largest"),
    ]
