"""What a run will be known by, noticed while it runs: liftoff, the freeze, the first black hole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from forensics.black_holes import BlackHoles
from forensics.toy.figures import Cloud, Figures
from forensics.toy.model import LanguageModel
from forensics.toy.step import Step

FROZEN_SHARE = 0.9
"""The founding notebooks' threshold for the onset of freezing; it is often crossed again the other way."""


@dataclass(slots=True)
class _Seen:
    """All that the next step depends on; plain values, so that a run can be resumed from them."""

    step: int = 0
    liftoff: int | None = None
    first_frozen: int | None = None
    frozen_since: int | None = None
    last_motion: int = 0
    first_hole: int | None = None
    holes: int = 0
    hole_tokens: int = 0


class Events:
    """Follows the dead tokens step by step; call it at every step, or it dates events late.

    - liftoff: the first step at which the norm of the dead centroid exceeds the largest distance of a dead row from
      it: the origin has left their bounding sphere.
    - frozen: the first step whose update left more than 90 % of the dead tokens where they were, and whether every
      later update did, too.
    - last_motion: the last update that moved any dead token.
    - first_hole: the first step at which two dead rows are bit-identical; holes and their tokens at the last step.

    Moves and holes are of the output matrix as the forward sees it (of float32 master weights the bfloat16 copy).

    Args:
        figures: the run's shared figures.

    Attributes:
        frozen_share: of the dead tokens, those that the last update left where they were.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._seen = _Seen()
        self.frozen_share = 0.0

    def begin(self, weights: Tensor, model: LanguageModel) -> None:
        """Looks at step 0: an initialisation can be lifted off, or hold black holes."""
        with torch.no_grad():
            self._look(self._figures.cloud_of(weights, self._figures.dead), self._figures.holes_of(model.output))

    def observe(self, step: Step) -> None:
        """Looks at a step."""
        with torch.no_grad():
            seen = self._seen
            seen.step = step.step
            unmoved = self.frozen_share = self._figures.unmoved_dead(step)
            if unmoved < 1:
                seen.last_motion = step.step
            if unmoved > FROZEN_SHARE:
                seen.first_frozen = seen.first_frozen or step.step
                seen.frozen_since = seen.frozen_since or step.step
            else:
                seen.frozen_since = None
            self._look(self._figures.dead_cloud(step), self._figures.dead_holes(step))

    def to_dict(self) -> dict[str, Any]:
        """The events so far, None for what has not happened."""
        seen = self._seen
        held = None if seen.first_frozen is None else seen.frozen_since == seen.first_frozen
        dead = len(self._figures.dead)
        return {
            "step": seen.step,
            "dead": dead,
            "liftoff": seen.liftoff,
            "frozen_from": seen.first_frozen,
            "frozen_held": held,
            "frozen_since": seen.frozen_since,
            "last_motion": seen.last_motion if dead else None,
            "first_hole": seen.first_hole,
            "holes": seen.holes,
            "hole_tokens": seen.hole_tokens,
        }

    def state(self) -> dict[str, int | None]:
        """What a resumed run needs."""
        return asdict(self._seen)

    def restore(self, state: Mapping[str, int | None]) -> None:
        """Goes on from a state."""
        self._seen = _Seen(**state)  # type: ignore[arg-type]

    def _look(self, cloud: Cloud, holes: BlackHoles | None) -> None:
        seen = self._seen
        if seen.liftoff is None and cloud.lifted_off:
            seen.liftoff = seen.step
        if holes is not None:
            seen.holes, seen.hole_tokens = len(holes), holes.n_tokens
            if seen.first_hole is None and seen.holes:
                seen.first_hole = seen.step
