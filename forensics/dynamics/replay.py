"""Exact replay: every recorded update taken again from its recorded words, and its result held against the recording.

A step is taken by :class:`forensics.updates.step.Updater` from W[t-1], m[t-1], v[t-1] (zeros before the first update),
the gradient and the learning rate of update t. As long as its words equal the recorded ones the replay goes on from
its own, so that a run without a difference was replayed as a whole, from step 0 and gradients alone. After a difference
it goes on from the recorded words, so that every step is judged by itself. Where m and v are not recorded it cannot:
then the whole run alone is replayed, up to its first difference.

Updates are elementwise, so the recorded tokens suffice. Three cases are different: Coupled Adam's denominator is a mean
over all tokens; stochastic rounding draws from a generator that is not recorded; a fused kernel's float32 words depend
on where a tensor ends, which in training is not where the recorded rows end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.push import Optimizer, optimizer_of, rates_of, same_tokens
from forensics.dynamics.stream import Frame, run_passes
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording
from forensics.updates.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

_STORED = {"W": "weights", "m": "m", "v": "v", "compensation": "compensation"}
"""Channels, and what an updater calls them."""


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """How many words come out as recorded.

    Attributes:
        steps: ``int64[n]``, updates that were replayed.
        channels: what was compared: W, and the recorded ones of m, v and compensation.
        equal: ``int64[n, channels]``, words that equal the recorded ones.
        words: of one frame of a channel.
        first_difference: the first update with another word; None if there is none.
        is_whole: from step 0 to the last recorded step the replay needed no recorded W, m or v but the first.
        caveat: what about this optimizer can make words differ; "" if nothing.
    """

    steps: NDArray[np.int64]
    channels: tuple[str, ...]
    equal: NDArray[np.int64]
    words: int
    first_difference: int | None
    is_whole: bool
    caveat: str

    @property
    def share(self) -> dict[str, float]:
        """Share of equal words by channel, over all replayed updates."""
        total = self.words * len(self.steps)
        return {name: int(self.equal[:, i].sum()) / total for i, name in enumerate(self.channels)}

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        definition = f"share of words that come out as recorded, over {len(self.steps)} replayed updates"
        shares = [Measure(f"replayed, {n}", value, "share", "all", definition) for n, value in self.share.items()]
        first = "first update with a word that does not come out as recorded"
        whole = "replayed from step 0 to the last recorded step from W[0], gradients and learning rates alone"
        return (
            *shares,
            Measure("first difference", self.first_difference, "step", "all", first),
            Measure("whole run replayed", "yes" if self.is_whole else "no", "", "all", whole),
        )

    def to_dict(self) -> dict[str, Any]:
        """All as plain values; of the series only the updates with a difference."""
        differ = np.flatnonzero((self.equal < self.words).any(axis=1))
        return {
            "updates": len(self.steps),
            "words": self.words,
            "share": self.share,
            "first_difference": self.first_difference,
            "is_whole": self.is_whole,
            "differing_updates": self.steps[differ].tolist(),
            "caveat": self.caveat,
        }


class ReplayPass:
    """Replays the updates of a recording.

    Args:
        recording: of a run.
        every: replay the updates 1 to 10 and every n-th; 1 replays all. More than 1 needs the moments recorded.

    Raises:
        RecordingError: not replayable, or a channel is missing.
    """

    def __init__(self, recording: Recording, *, every: int = 1) -> None:
        self._optimizer = optimizer_of(recording)
        self._caveat = _refuse(recording, self._optimizer)
        named = {channel.name for channel in recording.channels}
        state = [name for name in ("m", "v", "compensation") if name in _kept(self._optimizer)]
        self._state = tuple(name for name in state if name in named)
        self._can_restart = len(self._state) == len(state)
        self._every = every if self._can_restart else 1
        self.needs = ("W", "grad", *self._state)
        same_tokens(recording, self.needs)
        self._rates = rates_of(recording)
        self._updater: Any = None
        self._at: int | None = None  # the update that the updater's own words are of
        self._never_restarted = True
        self._steps: list[int] = []
        self._equal: list[list[int]] = []
        self._words = int(np.prod(recording.channel("W").shape))
        self._last_recorded = int(recording.steps("W")[-1])

    def add(self, frame: Frame) -> None:
        """Takes an update again, if its start is known."""
        step, before = frame.step, frame.before("W")
        if step == 0 and "W" in frame:
            self._start(frame)
            return
        is_wanted = self._every == 1 or step <= 10 or step % self._every == 0
        if not is_wanted or step not in self._rates or any(name not in frame for name in self.needs):
            return
        if self._at != step - 1 and not (before and before.step == step - 1 and self._restart(before)):
            return
        with one_thread():
            gradient = _tensor(frame.words("grad"), self._optimizer.policy.gradient)
            self._updater.step(gradient.view(-1), self._rates[step])
        equal = [_equal(getattr(self._updater, _STORED[name]), frame.words(name)) for name in ("W", *self._state)]
        self._steps.append(step)
        self._equal.append(equal)
        is_same = min(equal) == self._words
        # Without recorded moments nothing can be restarted: the first difference ends the replay.
        self._at = step if is_same else None

    def result(self) -> Replay:
        """What came out.

        Raises:
            RecordingError: no update's start was recorded.
        """
        if not self._steps:
            raise RecordingError(
                "no update can be replayed: none is recorded with its start",
                hint="record W, grad, m and v at every step",
            )
        steps, equal = np.array(self._steps), np.array(self._equal, np.int64)
        differ = np.flatnonzero((equal < self._words).any(axis=1))
        first = int(steps[differ[0]]) if len(differ) else None
        is_whole = self._never_restarted and first is None and int(steps[-1]) == self._last_recorded
        return Replay(steps, ("W", *self._state), equal, self._words, first, is_whole, self._caveat)

    def _start(self, frame: Frame) -> None:
        """The state before any update: its moments are zeros."""
        from forensics.updates.step import Updater

        words = frame.words("W")
        coupled = [(0, *words.shape)] if self._optimizer.rule.kind == "coupled-adam" else []
        rule, policy = self._optimizer.rule, self._optimizer.policy
        self._updater = Updater(rule, policy, _tensor(words, policy.weights).view(-1), coupled=coupled)
        self._at = 0

    def _restart(self, before: Frame) -> bool:
        """Goes back to recorded words; False where they are not all there."""
        if not self._can_restart or any(name not in before for name in self._state):
            return False
        if self._updater is None:
            self._start(before)
        import torch

        policy = self._optimizer.policy
        formats = {"W": policy.weights, "m": policy.state, "v": policy.state, "compensation": policy.weights}
        state = {_STORED[name]: _tensor(before.words(name), formats[name]).view(-1) for name in ("W", *self._state)}
        self._updater.restore({**state, "t": torch.tensor(before.step)})
        self._never_restarted = False
        return True


def analyse_replay(recording: Recording, *, every: int = 1) -> Replay:
    """Replays a recording.

    Args:
        recording: of a run.
        every: see `ReplayPass`.

    Raises:
        RecordingError: not replayable, or a channel is missing.
    """
    found = ReplayPass(recording, every=every)
    run_passes(recording, [found])
    return found.result()


def _kept(optimizer: Optimizer) -> tuple[str, ...]:
    kahan = ("compensation",) if optimizer.policy.rounding == "kahan" else ()
    return (*optimizer.rule.moments, *kahan)


def _refuse(recording: Recording, optimizer: Optimizer) -> str:
    """What can make words differ.

    Raises:
        RecordingError: it cannot be replayed at all.
    """
    recording.require("W", "grad")
    rule, policy = optimizer.rule, optimizer.policy
    if policy.rounding == "stochastic":
        raise RecordingError(
            f"{recording.name}: stochastic rounding is not replayable, its random numbers are not recorded",
            hint="the run itself can be repeated: forensics train with the same config",
        )
    n_tokens = recording.channel("W").shape[0]
    if rule.kind == "coupled-adam" and n_tokens < recording.vocab_size:
        raise RecordingError(
            f"{recording.name}: Coupled Adam's update needs all {recording.vocab_size:,} tokens, found {n_tokens:,}",
            hint="train again with record.tracked=all",
        )
    if rule.fused:
        return "a fused kernel's float32 words depend on where a tensor ends; the recorded rows end elsewhere"
    return ""


def _tensor(words: NDArray[Any], fmt: str) -> Tensor:
    import torch

    signed = np.ascontiguousarray(words).view(f"i{words.dtype.itemsize}")
    # torch warns of an array that it may not write to; a word that is replayed is copied anyway.
    return torch.from_numpy(signed if signed.flags.writeable else signed.copy()).view(getattr(torch, fmt))


def _equal(tensor: Tensor, words: NDArray[Any]) -> int:
    import torch

    bits = tensor.view({2: torch.int16, 4: torch.int32}[tensor.element_size()]).numpy()
    return int(np.count_nonzero(bits == words.reshape(-1).view(bits.dtype)))
