"""What depends on the step: the learning rate, and whether the step is recorded."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from forensics.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The learning rate as a share of the optimizer's, in the shapes that transformers' Trainer has.

    Attributes:
        kind: "constant", "linear" or "cosine" (half a period), the last two down to ``final``.
        warmup: updates over which the rate first rises linearly. As in transformers update 1 then has rate 0.
        final: share of the rate that is left at the end; nothing to "constant".
        over: updates the whole schedule takes, warm-up included; 0 is the run's own number. Nothing to "constant".

    Raises:
        ConfigError: a value is out of range, or says nothing to this kind.

    References:
        transformers/optimization.py: get_constant_schedule_with_warmup, get_linear_schedule_with_warmup,
        get_cosine_with_min_lr_schedule_with_warmup.
    """

    kind: Literal["constant", "linear", "cosine"] = "constant"
    warmup: int = 0
    final: float = 0.0
    over: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("constant", "linear", "cosine"):
            raise ConfigError(f"no schedule is called {self.kind!r}", hint="one of: constant, linear, cosine")
        for name in ("warmup", "over"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it is a number of updates, 0 or more")
        if not 0 <= self.final <= 1:
            raise ConfigError(f"final is {self.final}; it is a share of the learning rate, 0 to 1")
        if self.kind == "constant" and (self.final or self.over):
            raise ConfigError("a constant schedule ends nowhere, so final and over mean nothing to it")
        if self.over and self.warmup > self.over:
            raise ConfigError(f"a warm-up of {self.warmup} updates does not fit into a schedule over {self.over}")

    @property
    def depends_on_steps(self) -> bool:
        """Whether the rate of an update changes with the length of the run."""
        return self.kind != "constant" and not self.over

    def rate(self, step: int, lr: float, steps: int) -> float:
        """The learning rate of update ``step``.

        A schedule that starts with w updates of warm-up and ends at n gives update t, with k = t - 1 updates behind it,
        lr·k/w while k < w, and then lr·(final + (1 - final)·f) with f = (n - k)/(n - w) (linear) or
        f = (1 + cos(π (k - w)/(n - w)))/2 (cosine). Beyond n the rate stays at lr·final.

        Args:
            step: the update, from 1.
            lr: the full rate.
            steps: updates of the whole run, where ``over`` is 0.
        """
        done = step - 1
        if done < self.warmup:
            return lr * (done / self.warmup)
        if self.kind == "constant":
            return lr
        end = self.over or steps
        length = max(1, end - self.warmup)
        left = max(0, end - done) / length
        if self.kind == "cosine":
            left = 0.5 * (1 + math.cos(math.pi * min(1.0, (done - self.warmup) / length)))
        return lr * (self.final + (1 - self.final) * left)


@dataclass(frozen=True, slots=True)
class Cadence:
    """Which steps are recorded: the multiples of ``every`` in each part, a part starting where the last one ends.

    Attributes:
        parts: (every, last step of the part or None for no end), in order.
    """

    parts: tuple[tuple[int, int | None], ...]

    def takes(self, step: int) -> bool:
        """Whether a step is recorded; step 0, the state before any update, always is."""
        if step == 0:
            return True
        for every, until in self.parts:
            if until is None or step <= until:
                return step % every == 0
        return False

    def count(self, steps: int) -> int:
        """How many of the steps 1 to ``steps`` are recorded."""
        total = start = 0
        for every, until in self.parts:
            end = steps if until is None else min(until, steps)
            if end > start:
                total += end // every - start // every
                start = end
        return total


_PART = re.compile(r"(?P<every>\d+)(?P<open>:(?P<until>\d*))?")


@lru_cache(maxsize=64)
def cadence(text: str) -> Cadence:
    """The cadence that a setting names.

    Args:
        text: "1" (each step), "10" (every tenth), or parts "every:until" in order: "1:100,10:" takes each step up to
            100 and from there every tenth (110, 120, ...), "1:100" the first hundred steps and none after.

    Raises:
        ConfigError: the text is none of these.
    """
    parts: list[tuple[int, int | None]] = []
    for part in text.replace(" ", "").split(","):
        match = _PART.fullmatch(part)
        if match is None or int(match["every"]) == 0:
            raise _unreadable(text, f"the part {part!r} is not EVERY or EVERY:UNTIL, whole numbers from 1")
        if parts and parts[-1][1] is None:
            raise _unreadable(text, f"nothing can follow the part {parts[-1][0]}:, which has no end")
        until = int(match["until"]) if match["until"] else None
        if until is not None and until <= ((parts[-1][1] or 0) if parts else 0):
            raise _unreadable(text, f"the part {part!r} ends before it starts")
        parts.append((int(match["every"]), until))
    return Cadence(tuple(parts))


def _unreadable(text: str, why: str) -> ConfigError:
    return ConfigError(f"{text!r} names no steps to record: {why}", hint='write "1", "10" or "1:100,10:"')
