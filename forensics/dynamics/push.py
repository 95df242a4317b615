"""The update that an optimizer meant for each element, before its word was rounded: from recorded words, in numpy.

With lr_t of the recording and the moments after update t, the push is u = -lr_t/(1 - beta1^t) m/(sqrt(v)/sqrt(1 -
beta2^t) + eps) (Kingma & Ba 2015, algorithm 1), every operation in the format and order of
:mod:`forensics.updates.arithmetic`: in bfloat16 the denominator is rounded after the root, the division and the sum.
The test holds it against torch for every word of v.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.errors import RecordingError
from forensics.formats import FloatFormat, float_format
from forensics.recording import Recording
from forensics.updates import Policy, Rule

Words = NDArray[Any]
Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """What a recording's config says about its updates.

    Attributes:
        rule: the optimizer.
        policy: the number formats.
    """

    rule: Rule
    policy: Policy

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that one update is told from."""
        return ("W", "grad", *self.rule.moments)

    @property
    def format(self) -> FloatFormat:
        """The format of the stored weights."""
        return float_format(self.policy.weights)

    @property
    def rounds_to_nearest(self) -> bool:
        """Whether a word moves by the rule of half a gap; chance or a second word decides otherwise."""
        return self.policy.rounding == "nearest"


def optimizer_of(recording: Recording) -> Optimizer:
    """The optimizer of a recording.

    Raises:
        RecordingError: its config names none.
        ConfigError: its config names one that there is not.
    """
    from forensics.toy.config import RunConfig

    if "optimizer" not in recording.config:
        raise RecordingError(
            f"{recording.name}: its config names no optimizer", hint="only a training run's recording has one"
        )
    config = RunConfig.from_dict(recording.config)
    return Optimizer(config.optimizer, config.policy)


def rates_of(recording: Recording) -> dict[int, float]:
    """The learning rate of each recorded update: the channel ``lr``, or the schedule of the config where it is missing.

    Raises:
        RecordingError: neither is there.
    """
    if any(channel.name == "lr" for channel in recording.channels):
        return dict(zip(recording.steps("lr").tolist(), recording.series("lr").tolist(), strict=True))
    from forensics.toy.config import RunConfig

    if "optimizer" not in recording.config:
        recording.require("lr")
    config = RunConfig.from_dict(recording.config)
    steps = recording.steps("grad").tolist()
    return {t: config.schedule.rate(t, config.optimizer.lr, config.steps) for t in steps}


def denominators(optimizer: Optimizer, t: int, v: Words) -> Values:
    """sqrt(v)/sqrt(1 - beta2^t) + eps as the optimizer has it after update ``t``, float32.

    Args:
        optimizer: of the run.
        t: the update, from 1.
        v: words of the second moment in the policy's state format, any shape.
    """
    state = float_format(optimizer.policy.state)
    if state.bits > 16:
        return _denominator(state.widen(v), optimizer.rule, t, None)
    return np.asarray(_table(optimizer, t)[v & np.uint16(state.magnitude_mask)])


@lru_cache(maxsize=1)
def _table(optimizer: Optimizer, t: int) -> Values:
    """The denominator of every non-negative word: a lookup instead of three rounded operations an element."""
    rule, policy = optimizer.rule, optimizer.policy
    state = float_format(policy.state)
    rounds = policy.weights == policy.state and policy.rounding != "stochastic" and not rule.fused
    every = np.arange(state.magnitude_mask + 1, dtype=state.word_dtype)
    with np.errstate(invalid="ignore"):  # nan words
        return _denominator(state.widen(every), rule, t, state if rounds else None)


def _denominator(v: Values, rule: Rule, t: int, fmt: FloatFormat | None) -> Values:
    def rounded(x: Values) -> Values:
        return x if fmt is None else fmt.widen(fmt.narrow(x))

    root = rounded(np.sqrt(v))
    divided = rounded(root / np.float32((1 - rule.beta2**t) ** 0.5))
    # torch rounds an added constant to the format before it adds, and a divisor not.
    return rounded(divided + rounded(np.array([rule.eps], np.float32)))


def push_of(optimizer: Optimizer, t: int, lr: float, words: dict[str, Words]) -> Values:
    """The push of each element, ``float32``: what the optimizer adds to the weight, weight decay left out.

    Args:
        optimizer: of the run.
        t: the update, from 1.
        lr: its learning rate.
        words: ``grad``, and ``m`` and ``v`` after the update where the rule has them; one shape. A ``float32`` array
            ``divisor`` of a shape that broadcasts stands for the denominator ("coupled-adam").
    """
    rule = optimizer.rule
    if rule.kind in {"adam", "coupled-adam"}:
        m = float_format(optimizer.policy.state).widen(words["m"])
        divisor = words["divisor"] if "divisor" in words else denominators(optimizer, t, words["v"])
        with np.errstate(divide="ignore", invalid="ignore"):  # eps = 0 and v = 0
            return np.asarray(np.float32(-(lr / (1 - rule.beta1**t))) * m / divisor)
    gradient = float_format(optimizer.policy.gradient).widen(words["grad"])
    if rule.kind == "sign":
        return np.float32(-lr) * np.sign(gradient)
    if rule.moments:
        return np.float32(-lr) * float_format(optimizer.policy.state).widen(words["m"])
    return np.float32(-lr) * gradient


def decayed(optimizer: Optimizer, lr: float, weights: Values) -> Values:
    """The weights after decoupled decay and before the push; the same array where nothing decays.

    Where all is bfloat16, w (1 - lr wd) is rounded to a word of its own, which gives w back below lr wd = 2^-9.
    """
    rule, policy = optimizer.rule, optimizer.policy
    if not rule.weight_decay or rule.decay != "decoupled" or policy.rounding == "kahan":
        return weights
    factor = np.float32(1 - lr * rule.weight_decay)
    if rule.foreach:  # which rounds the factor first
        factor = optimizer.format.widen(optimizer.format.narrow(np.array([factor])))[0]
    scaled = weights * factor
    own_word = policy.weights == policy.state == "bfloat16" and policy.rounding == "nearest" and not rule.fused
    fmt = optimizer.format
    return fmt.widen(fmt.narrow(scaled)) if own_word else scaled


def gap(fmt: FloatFormat, words: Words, values: Values, push: Values) -> Values:
    """Distance to the neighbour that each push points at, in the format's own precision.

    One ulp; towards zero from a power of two half of that, and from zero the smallest subnormal. A push of zero is
    given the neighbour away from zero.

    Args:
        fmt: of the weights.
        words: as stored before the update.
        values: their values.
        push: of each element; only its sign counts.
    """
    one = words.dtype.type(1)
    away = (push >= 0) != (words > fmt.magnitude_mask)
    away |= (words & fmt.magnitude_mask) == 0
    neighbour = (words - one) + (away.astype(words.dtype) << 1)
    return np.abs(fmt.widen(neighbour) - values)


def coupled_divisor(optimizer: Optimizer, t: int, v: Words) -> Values:
    """Coupled Adam's denominator, ``float32[dim]``: of the mean of v over all tokens (arXiv 2502.08441)."""
    state = float_format(optimizer.policy.state)
    mean = state.widen(v).mean(axis=0, dtype=np.float32)
    if state.bits > 16:
        return _denominator(mean, optimizer.rule, t, None)
    return denominators(optimizer, t, state.narrow(mean))


def same_tokens(recording: Recording, names: tuple[str, ...]) -> None:
    """Channels are over one set of tokens.

    Raises:
        RecordingError: they are not, or one is not by token.
    """
    recording.require(*names)
    first = recording.channel(names[0]).token_ids
    for name in names:
        ids = recording.channel(name).token_ids
        if ids is None or first is None or not np.array_equal(ids, first):
            raise RecordingError(f"{recording.name}: {names[0]} and {name} are not recorded of the same tokens")
