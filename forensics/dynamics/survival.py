"""Times to an event of which some are only known to be later: the Kaplan-Meier estimate.

No interval is given: every dead token of the run is looked at, so that nothing was sampled, and the tokens, pushed by
one common gradient, do not freeze independently of each other.

References:
    Kaplan & Meier 1958, J. Am. Stat. Assoc. 53, 457.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Survival:
    """Share of tokens to which it has not happened yet, a step function from 1 down.

    Attributes:
        times: ``int64[k]``, ascending, when it happened to some token.
        survival: ``float64[k]``, share left after each.
        events: tokens to which it happened.
        censored: tokens to which it had not when they were last seen.
    """

    times: NDArray[np.int64]
    survival: NDArray[np.float64]
    events: int
    censored: int

    def when(self, share: float) -> int | None:
        """First time by which it has happened to this share of tokens; None if that is not seen."""
        reached = np.flatnonzero(self.survival <= 1 - share + 1e-12)
        return int(self.times[reached[0]]) if len(reached) else None

    def at(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share left after each of these steps."""
        return np.concatenate(([1.0], self.survival))[np.searchsorted(self.times, steps, side="right")]

    def to_dict(self) -> dict[str, Any]:
        """Counts and quartiles; one that is not reached is None."""
        quartiles = {f"p{round(100 * share)}": self.when(share) for share in (0.25, 0.5, 0.75)}
        return {"events": self.events, "censored": self.censored, **quartiles}


def kaplan_meier(times: NDArray[np.int64], censored: NDArray[np.bool_]) -> Survival:
    """The product over times of the share, among those still watched, to which it does not happen.

    Args:
        times: ``int64[n]``, of the event, or of the last look at a censored token.
        censored: ``bool[n]``; one censored at the time of an event was still watched at it.
    """
    found, happened = np.unique(times[~censored], return_counts=True)
    watched = len(times) - np.searchsorted(np.sort(times), found, side="left")
    n_censored = int(np.count_nonzero(censored))
    return Survival(found, np.cumprod(1 - happened / watched, dtype=np.float64), len(times) - n_censored, n_censored)
