"""Which windows of the stream a step reads: a function of the seed and the step alone."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from forensics.errors import ConfigError

Order = Literal["chunks", "random", "stride-1"]

# Keeps the generators of one seed apart.
_EPOCH, _STEP, _POOL = range(3)


class Batches:
    """The batches of a run, in any order asked for: no position is kept, so a resumed run needs none.

    The orders are those of the founding runs (not their very permutations, which torch drew):

    - "chunks": the windows do not overlap and are shuffled anew each epoch, as in Thimble 8 and Crucible;
    - "random": each window starts anywhere. With ``windows`` that many starts are drawn once, and the pool is
      shuffled anew each epoch, as in Goldilocks (100,000);
    - "stride-1": a window starts at every token, and all are shuffled anew each epoch, as in Thimble 1 to 7.

    What an epoch leaves over after its last whole batch is dropped.

    Args:
        tokens: int32[n], the stream.
        batch: windows in a batch.
        context: tokens in a window, labels included.
        order: one of the above.
        seed: from 0.
        windows: size of the pool of "random"; 0 draws each start afresh, and there is no epoch.

    Raises:
        ConfigError: a value outside its range, or too few tokens for one batch.
    """

    def __init__(
        self, tokens: NDArray[np.int32], batch: int, context: int, order: Order, seed: int, windows: int = 0
    ) -> None:
        checks = (
            ("batch", batch, batch >= 1, "a whole number from 1"),
            ("context", context, context >= 1, "a whole number from 1"),
            ("order", order, order in get_args(Order), f"one of {', '.join(get_args(Order))}"),
            ("seed", seed, seed >= 0, "a whole number from 0"),
            ("windows", windows, 0 <= windows < 2**31, "from 0 to 2147483647"),
            ("windows", windows, not windows or order == "random", f"0: order {order!r} has windows of its own"),
            ("windows", windows, not windows or windows >= batch, f"0, or at least one batch of {batch}"),
        )
        for name, value, holds, expected in checks:
            if not holds:
                raise ConfigError(f"batches.{name} is {value!r}, expected {expected}")
        needed = {"chunks": batch * context, "random": context, "stride-1": batch + context - 1}[order]
        if tokens.size < needed:
            raise ConfigError(
                f"the corpus has {tokens.size} tokens, {batch} windows of {context} tokens ({order}) need {needed}",
                hint="take a longer text, or a smaller batch or context",
            )
        self.tokens, self.batch, self.context, self.order, self.seed = tokens, batch, context, order, seed
        self._places = tokens.size // context if order == "chunks" else tokens.size - context + 1
        self._pool: NDArray[np.int64] | None = (
            self._generator(_POOL).integers(self._places, size=windows) if windows else None
        )
        self.windows = windows or self._places
        """How many windows there are to choose from."""
        self._shuffled: dict[int, NDArray[np.int32]] = {}

    @property
    def steps_per_epoch(self) -> int | None:
        """Whole batches in an epoch; None where every step draws afresh."""
        return None if self.order == "random" and self._pool is None else self.windows // self.batch

    def at(self, step: int) -> NDArray[np.int64]:
        """The tokens that update ``step`` reads: int64[batch, context]; the first step is 1."""
        places = self.starts(step)[:, None] + np.arange(self.context)
        read: NDArray[np.int64] = self.tokens[places].astype(np.int64)
        return read

    def starts(self, step: int) -> NDArray[np.int64]:
        """Where in the stream the windows of a step begin: int64[batch].

        Raises:
            ConfigError: a step before the first.
        """
        if step < 1:
            raise ConfigError(f"step {step} reads no batch", hint="the first update is step 1")
        if self.steps_per_epoch is None:
            return self._generator(_STEP, step).integers(self._places, size=self.batch)
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        chosen = self._permutation(epoch)[place * self.batch : (place + 1) * self.batch].astype(np.int64)
        if self._pool is not None:
            chosen = self._pool[chosen]
        return chosen * self.context if self.order == "chunks" else chosen

    def _permutation(self, epoch: int) -> NDArray[np.int32]:
        """The order of an epoch's windows; the last two epochs are kept, 4 bytes a window each."""
        if epoch not in self._shuffled:
            while len(self._shuffled) > 1:
                del self._shuffled[min(self._shuffled)]
            shuffled = np.arange(self.windows, dtype=np.int32)
            self._generator(_EPOCH, epoch).shuffle(shuffled)
            self._shuffled[epoch] = shuffled
        return self._shuffled[epoch]

    def _generator(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])
