"""Why an element does not move: its update against half the gap to the neighbour that it points at.

A word stays if the sum of weight and update, taken in float32 as the optimizer takes it, lies within half the gap to
the neighbour in its direction, and on the midpoint itself if the word is even (IEEE 754, ties to even). The gap is
halved just below a power of two. Every unmoved element is then of one class:

    no gradient         the update is zero, and so is this step's gradient
    no update           the update is zero in spite of a gradient (momentum cancels it, or it underflows)
    lost to rounding    the update is not zero, and the rule says that the word stays
    unexplained         the rule says that the word moves

The founding notebooks compared norms of whole rows with a mean ulp, and a whole ulp instead of half a gap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.account import SERIES, Account, UpdateAccount
from forensics.dynamics.push import coupled_divisor, decayed, gap, optimizer_of, push_of, rates_of, same_tokens
from forensics.dynamics.recovery import Tracker
from forensics.dynamics.stream import Frame, rows_of, run_passes
from forensics.errors import RecordingError
from forensics.formats import float_format
from forensics.recording import Recording

SAMPLE = 1 << 13
"""Elements of a median: its standard error is then about 1 % of a rank."""


@dataclass(slots=True, eq=False)
class _Sums:
    counts: list[list[int]] = field(default_factory=list)
    adam_norm: list[float] = field(default_factory=list)
    adam_norm_std: list[float] = field(default_factory=list)
    push_over_gap: list[float] = field(default_factory=list)
    v_mean: list[float] = field(default_factory=list)
    decayed: list[int] = field(default_factory=list)


class UpdatePass:
    """Collects an `UpdateAccount`.

    Args:
        recording: of a run.

    Raises:
        RecordingError: a channel of an update is missing, or covers other tokens than W.
    """

    def __init__(self, recording: Recording) -> None:
        self._optimizer = optimizer_of(recording)
        self.needs = self._optimizer.channels
        recording.require(*self.needs)
        self._rates = rates_of(recording)
        rows = rows_of(recording)
        same_tokens(recording, self.needs)
        if self._optimizer.rule.kind == "coupled-adam" and len(rows.token_ids) < recording.vocab_size:
            raise RecordingError(
                f"{recording.name}: Coupled Adam's denominator is a mean over all tokens, some alone are recorded",
                hint="train again with record.tracked=all",
            )
        self._rows = {which: ids for which, ids in (("dead", rows.dead), ("live", rows.live)) if len(ids)}
        self._dim = recording.channel("W").shape[1]
        self._steps: list[int] = []
        self._sums = {which: _Sums() for which in self._rows}
        self._tracker = Tracker() if "dead" in self._rows else None

    def add(self, frame: Frame) -> None:
        """Takes an update whose start was recorded."""
        before = frame.before("W")
        is_whole = all(name in frame for name in self.needs)
        if before is None or not is_whole or before.step != frame.step - 1 or frame.step not in self._rates:
            return
        self._steps.append(frame.step)
        shared = self._divisor(frame)
        for which, rows in self._rows.items():
            taken = {name: frame.words(name)[rows] for name in self.needs if name != "W"} | shared
            self._take(which, frame.step, before.words("W")[rows], frame.words("W")[rows], taken)

    def result(self) -> UpdateAccount:
        """The account.

        Raises:
            RecordingError: no two consecutive steps were recorded.
        """
        if not self._steps:
            raise RecordingError(
                "no update is recorded with the step before it",
                hint="record every step, or a stretch such as 1:100,10:",
            )
        policy = self._optimizer.policy
        rule = {"nearest": "half a gap", "stochastic": "chance", "kahan": "second word"}[policy.rounding]
        kinds = {
            which: Account(
                elements=len(self._rows[which]) * self._dim,
                counts=np.array(sums.counts, np.int64),
                **{name: np.array(getattr(sums, name)) for name in SERIES},
                decayed=np.array(sums.decayed, np.int64),
            )
            for which, sums in self._sums.items()
        }
        recovery = self._tracker.result() if self._tracker else None
        return UpdateAccount(np.array(self._steps), rule, not self._optimizer.rule.fused, kinds, recovery)

    def _divisor(self, frame: Frame) -> dict[str, NDArray[Any]]:
        if self._optimizer.rule.kind != "coupled-adam":
            return {}
        return {"divisor": coupled_divisor(self._optimizer, frame.step, frame.words("v"))}

    def _take(
        self, which: str, step: int, start: NDArray[Any], end: NDArray[Any], words: dict[str, NDArray[Any]]
    ) -> None:
        lr, sums, fmt = self._rates[step], self._sums[which], self._optimizer.format
        push = push_of(self._optimizer, step, lr, words)
        weights = fmt.widen(start)
        base = decayed(self._optimizer, lr, weights)
        # A float32 weight's update is finer than its own ulp; a bfloat16 sum is float32 before it is rounded.
        wide = base if fmt.bits == 16 else base.astype(np.float64)
        meant = np.subtract(wide + push, weights)
        distance = gap(fmt, start, weights, meant)
        sums.counts.append(self._classes(start != end, push, meant, distance, start, words["grad"]))
        sums.decayed.append(0 if base is weights else int(np.count_nonzero(base != weights)))
        norms = np.sqrt(np.einsum("ij,ij->i", push, push, dtype=np.float32)) / lr if lr else np.zeros(len(push))
        sums.adam_norm.append(float(norms.mean(dtype=np.float64)))
        sums.adam_norm_std.append(float(norms.std(dtype=np.float64)))
        sums.push_over_gap.append(_middle(push, distance))
        sums.v_mean.append(self._mean_v(words) if "v" in words else np.nan)
        if which == "dead" and self._tracker:
            gradient = float_format(self._optimizer.policy.gradient).widen(words["grad"])
            self._tracker.add(step, fmt.widen(end) - weights, push, gradient)

    def _mean_v(self, words: dict[str, NDArray[Any]]) -> float:
        return float(float_format(self._optimizer.policy.state).widen(words["v"]).mean(dtype=np.float64))

    def _classes(
        self,
        moved: NDArray[np.bool_],
        push: NDArray[Any],
        meant: NDArray[Any],
        distance: NDArray[Any],
        start: NDArray[Any],
        gradient: NDArray[Any],
    ) -> list[int]:
        leaves = np.zeros_like(moved)
        if self._optimizer.rounds_to_nearest:
            twice = np.abs(meant) * 2
            leaves, ties = twice > distance, twice == distance
            if ties.any():
                leaves |= ties & (start & 1).astype(bool)
        stays = ~(moved | leaves)
        zero = stays & (push == 0)
        silent = zero & ((gradient & float_format(self._optimizer.policy.gradient).magnitude_mask) == 0)
        counted = (moved, silent, zero, stays, leaves & ~moved, moved & ~leaves)
        n_moved, n_silent, n_zero, n_stays, unexplained, against = (int(np.count_nonzero(each)) for each in counted)
        against = against if self._optimizer.rounds_to_nearest else 0
        return [n_moved, n_silent, n_zero - n_silent, n_stays - n_zero, unexplained, against]


def analyse_updates(recording: Recording) -> UpdateAccount:
    """Accounts for every recorded update.

    Raises:
        RecordingError: W, grad or a moment was not recorded, or no two consecutive steps.
    """
    found = UpdatePass(recording)
    run_passes(recording, [found])
    return found.result()


def _middle(push: NDArray[Any], distance: NDArray[Any]) -> float:
    spread = slice(None, None, -(-push.size // SAMPLE))
    return float(np.median(np.abs(push.ravel()[spread]) * 2 / distance.ravel()[spread]))
