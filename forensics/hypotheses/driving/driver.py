"""The driven cloud: dead rows alone under the true optimizer and rounding, pushed from outside; no transformer.

An update is elementwise (:mod:`forensics.updates.arithmetic`), so the words of the dead rows follow from their own
words before it and their gradient alone. What is driven is no more than what can differ (`Scope`): of rows that start
equal and are pushed alike one, and where all rows get one gradient, of a column's equal words one. Those words are the
ones that the whole matrix would have; feedback's first mean alone is summed in another order, in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forensics.errors import HypothesisError
from forensics.formats import FloatFormat, Words, float_format
from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.driving.push import SCOPES, GradientWords, Means, Positions, Push, Scope
from forensics.hypotheses.driving.tensors import dtype, logits_of, outer_into, tensor, words_of
from forensics.toy.schedule import Schedule
from forensics.updates import POLICIES, Policy, Rule

if TYPE_CHECKING:
    from torch import Tensor

_CONSTANT = Schedule()


class Driver:
    """Dead rows and their optimizer state, updated by update.

    Attributes:
        step: updates so far.
        scope: see `Scope`; "token" holds every row of its own.
    """

    def __init__(self, start: Cloud, rule: Rule, policy: Policy, *, scope: Scope = "token", seed: int = 0) -> None:
        """Rounds the start to the policy's stored format; moments are zeros.

        Args:
            start: the rows before any update, of a float format.
            rule: the optimizer.
            policy: the number formats.
            scope: the widest that any push will have. Where a word depends on more (`_is_elementwise`), this is "token"
                whatever is said.
            seed: of stochastic rounding.

        Raises:
            HypothesisError: a quantised format, or an optimizer that needs the live rows, too.
            ConfigError: rule and policy do not fit one another.
        """
        from forensics.updates.step import Updater

        if not isinstance(start.format, FloatFormat):
            raise HypothesisError(f"{start.format.name} rows cannot be trained", hint="start from a float format")
        if rule.kind == "coupled-adam":
            raise HypothesisError(
                "Coupled Adam's update needs the live rows' moments, too", hint="drive with adam, sgd or sign"
            )
        self.rule, self.policy, self.step = rule, policy, 0
        self.scope: Scope = scope if _is_elementwise(rule, policy) else "token"
        self._pattern_of = np.arange(len(start)) if self.scope == "token" else start.pattern_of
        self._counts = np.bincount(self._pattern_of)
        rows = start.rows() if self.scope == "token" else start.distinct_rows()
        self._index: NDArray[np.int64] | None = None
        self._columns: Tensor | None = None
        words = self._merge(rows, start.active) if self.scope == "column" else rows
        self._origin = self._counts @ start.format.widen(rows).astype(np.float64) / len(start)
        self._log_mean: float | None = None
        self._outer: Tensor | None = None
        self._updater = Updater(rule, policy, tensor(start.format.widen(words)), seed=seed)

    def __len__(self) -> int:
        return len(self._pattern_of)

    def push(self, push: Push, lr: float) -> None:
        """Takes one update.

        Args:
            push: of all rows.
            lr: this update's rate.

        Raises:
            HypothesisError: a push of a wider scope than was announced, or of another shape.
            ConfigError: words of another format than the policy's gradient.
        """
        if SCOPES.index(push.scope) > SCOPES.index(self.scope):
            raise HypothesisError(f"a push by {push.scope} among pushes by {self.scope}", hint="announce the widest")
        gradient = self._gradient(push)
        if gradient.shape != self._updater.weights.shape:
            found, wanted = list(gradient.shape), list(self._updater.weights.shape)
            raise HypothesisError(f"a gradient of {found} for rows of {wanted}")
        self._updater.step(gradient.to(dtype(self.policy.gradient)), lr)
        self.step += 1

    def words(self, name: str = "weights") -> Words:
        """Every row's words, ``uint[n, D]``, of the policy's formats.

        Args:
            name: "weights", or "m", "v" or "compensation" where the rule and policy have them.

        Raises:
            HypothesisError: they do not.
        """
        held = getattr(self._updater, name, None)
        if held is None:
            raise HypothesisError(f"{self.rule.kind} under {self.policy.name} keeps no {name}")
        words = words_of(held)
        distinct = words if self._index is None else words[self._index]
        return np.ascontiguousarray(distinct[self._pattern_of])

    def cloud(self) -> Cloud:
        """The rows as the policy stores them.

        Raises:
            HypothesisError: the updates made numbers that are not finite.
        """
        stored = float_format(self.policy.weights)
        words = self.words()
        if int((words & words.dtype.type(stored.magnitude_mask)).max()) > stored.largest_finite:
            raise HypothesisError(
                f"after {self.step} updates the rows are no longer finite", hint="lower the learning rate"
            )
        return Cloud.from_rows(words, stored, words.shape[1])

    def _merge(self, rows: Words, active: NDArray[np.int64]) -> Words:
        """One element for each word that a column holds: ``uint[k]``; where each row's are is kept."""
        import torch

        dim = rows.shape[1]
        index = np.broadcast_to(np.arange(dim), rows.shape).copy()
        words, columns = [rows[0]], [np.arange(dim)]
        total = dim
        for column in active.tolist():
            distinct, place = np.unique(rows[:, column], return_inverse=True)
            index[:, column] = total + place
            words.append(distinct)
            columns.append(np.full(len(distinct), column))
            total += len(distinct)
        self._index, self._columns = index, torch.from_numpy(np.concatenate(columns))
        return np.concatenate(words)

    def _gradient(self, push: Push) -> Tensor:
        """The gradient of what is held: float32, or words as they are."""
        import torch

        if isinstance(push, GradientWords):
            return tensor(float_format(self.policy.gradient).widen(push.words))
        if isinstance(push, Positions):
            return torch.mm(tensor(push.p).T, tensor(push.hidden)).div_(len(push.hidden))
        hidden = tensor(push.hidden)
        if self._columns is not None and not isinstance(push.p, np.ndarray):
            return (hidden * float(push.p))[self._columns]
        if self._outer is None:
            self._outer = torch.empty_like(self._updater.weights, dtype=dtype(self.policy.gradient))
        p = self._probabilities(push, hidden)
        if len(p) != len(self._outer):
            raise HypothesisError(f"probabilities of {len(p)} tokens for {len(self._outer)} rows")
        return outer_into(self._outer, p, hidden)

    def _probabilities(self, push: Means, hidden: Tensor) -> Tensor:
        """Each held row's p, ``float32[r]``."""
        import torch

        if isinstance(push.p, np.ndarray):
            return tensor(push.p)
        held = self._updater.visible
        if not push.feedback:
            return torch.full((len(held),), float(push.p), dtype=torch.float32)
        logits = logits_of(held, hidden, self._origin)
        if self._log_mean is None:
            self._log_mean = float(np.log(self._counts @ np.exp(logits - logits.max()) / len(self)) + logits.max())
        p = np.minimum(1.0, float(push.p) * np.exp(logits - self._log_mean))
        return torch.from_numpy(p.astype(np.float32))


def drive(
    start: Cloud,
    pushes: Sequence[Push],
    *,
    rule: Rule,
    policy: Policy = POLICIES["bf16"],
    schedule: Schedule = _CONSTANT,
    seed: int = 0,
) -> Cloud:
    """The cloud after as many updates as there are pushes, in the policy's stored format.

    Args:
        start: the rows before any update.
        pushes: one an update; none gives the start as the policy stores it.
        rule: the optimizer.
        policy: the number formats.
        schedule: of the learning rate, over all pushes.
        seed: of stochastic rounding.

    Raises:
        HypothesisError: as `Driver` has it.
    """
    scope = SCOPES[max((SCOPES.index(push.scope) for push in pushes), default=0)]
    driver = Driver(start, rule, policy, scope=scope, seed=seed)
    for _ in follow(driver, pushes, schedule=schedule, steps=len(pushes)):
        pass
    return driver.cloud()


def follow(driver: Driver, pushes: Iterable[Push], *, schedule: Schedule, steps: int) -> Iterator[int]:
    """Yields each update's number once it is taken, for those who look on the way (`Driver.words`).

    Raises:
        HypothesisError: fewer pushes than steps; or as `Driver.push` has it.
    """
    for step, push in zip(range(1, steps + 1), pushes, strict=False):
        driver.push(push, schedule.rate(step, driver.rule.lr, steps))
        yield step
    if driver.step < steps:
        raise HypothesisError(f"{driver.step} pushes for {steps} updates")


def _is_elementwise(rule: Rule, policy: Policy) -> bool:
    """Whether equal words with equal gradients stay equal wherever they lie in a tensor.

    Not by chance; not always in a fused kernel; and not in torch's sum with a factor (a.add_(b, alpha=c), of SGD, sign,
    l2 and Kahan's decay), which in bfloat16 rounds once in a tensor's vectorised part and twice in its tail: 0.3 % of
    words differ (torch 2.13, AVX-512).
    """
    decays = rule.weight_decay > 0 and (rule.decay == "l2" or policy.rounding == "kahan")
    return not (policy.rounding == "stochastic" or rule.fused or rule.kind != "adam" or decays)
