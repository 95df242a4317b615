"""What observers compute of a run's tensors, each figure once a step however many ask for it.

Sums run in float64. Nothing is written to: a tensor that is kept is copied, and no random number is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forensics.black_holes import BlackHoles, find_black_holes
from forensics.embedding import Embedding
from forensics.toy.census import Corpus
from forensics.toy.displacement import Displacement, changed_rows, measure_displacement
from forensics.toy.step import Step

Vector = NDArray[np.float64]
Made = TypeVar("Made")


def exact(tensor: Tensor) -> Tensor:
    """The values as float64; on the CPU where the device (mps) has no such numbers."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def words(tensor: Tensor) -> NDArray[Any]:
    """A copy of the raw words, ``uint[...]``."""
    signed = {2: torch.int16, 4: torch.int32}[tensor.element_size()]
    bits = tensor.detach().contiguous().view(signed).cpu().numpy()
    return bits.view(f"<u{tensor.element_size()}").copy()


def array(tensor: Tensor, dtype: str = "float32") -> NDArray[Any]:
    """A copy of the values as numpy."""
    return tensor.detach().to(getattr(torch, dtype)).cpu().numpy().copy()


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """The mean hidden states of a step.

    Attributes:
        mean: ``float64[D]``, h_mean over all positions.
        scored_mean: ``float64[D]``, over the scored ones.
    """

    mean: Tensor
    scored_mean: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Where a set of rows lies, in units of the value; nan for no rows.

    Attributes:
        centroid: ``float64[D]``, the mean row.
        radius_mean, radius_max: distance of the rows from the centroid.
        radius_origin: mean norm of the rows.
    """

    centroid: Vector
    radius_mean: float
    radius_max: float
    radius_origin: float

    @property
    def lifted_off(self) -> bool:
        """The origin lies outside the sphere about the centroid that holds every row."""
        return float(np.linalg.norm(self.centroid)) > self.radius_max


class Figures:
    """The shared figures of a run's steps, with its dead and live tokens.

    Attributes:
        dead: ``int64[n]``, ids that the corpus never shows, ascending.
        live: ``int64[m]``, the others.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.dead = torch.from_numpy(corpus.dead_ids)
        self.live = torch.from_numpy(corpus.live_ids)
        self._step: Step | None = None
        self._made: dict[str, Any] = {}

    def hidden(self, step: Step) -> Hidden:
        """The mean hidden states of a step's forward."""
        return self._once(step, "hidden", lambda: _hidden(step))

    def displacement(self, step: Step) -> Displacement:
        """How far the update moved every row of the matrix that the forward sees."""
        return self._once(step, "displacement", lambda: measure_displacement(step.before, seen(step)))

    def unmoved_dead(self, step: Step) -> float:
        """Share of the dead tokens whose row the update left where it was."""
        return self._once(step, "unmoved", lambda: _unmoved(step, pick(self.dead, step.before)))

    def dead_cloud(self, step: Step) -> Cloud:
        """The dead tokens after the update."""
        return self._once(step, "dead", lambda: self.cloud_of(step.weights, self.dead))

    def live_cloud(self, step: Step) -> Cloud:
        """The live tokens after the update."""
        return self._once(step, "live", lambda: self.cloud_of(step.weights, self.live))

    def dead_holes(self, step: Step) -> BlackHoles | None:
        """The black holes among the dead tokens after the update; None where no token is dead."""
        return self._once(step, "holes", lambda: self.holes_of(seen(step)))

    def cloud_of(self, weights: Tensor, ids: Tensor) -> Cloud:
        """Some rows of a matrix as a cloud."""
        rows = exact(weights[pick(ids, weights)])
        if not len(rows):
            return Cloud(np.full(weights.shape[1], np.nan), np.nan, np.nan, np.nan)
        centroid = rows.mean(dim=0)
        origin = torch.linalg.vector_norm(rows, dim=1).mean().item()
        radii = torch.linalg.vector_norm(rows - centroid, dim=1)
        return Cloud(centroid.cpu().numpy(), radii.mean().item(), radii.max().item(), origin)

    def holes_of(self, weights: Tensor) -> BlackHoles | None:
        """The black holes among the dead rows of a matrix, by the words as given."""
        rows = weights[pick(self.dead, weights)]
        return find_black_holes(Embedding.from_array(rows)) if len(rows) else None

    def _once(self, step: Step, name: str, make: Callable[[], Made]) -> Made:
        if self._step is not step:
            self._step, self._made = step, {}
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made


def pick(ids: Tensor, matrix: Tensor) -> Tensor:
    """The ids on the device of a matrix."""
    return ids.to(matrix.device)


def seen(step: Step) -> Tensor:
    """The output matrix after the update as the next forward sees it: of float32 master weights the bfloat16 copy."""
    return step.weights.to(step.before.dtype)


def _hidden(step: Step) -> Hidden:
    return Hidden(exact(step.hidden).flatten(0, 1).mean(dim=0), exact(step.scored).mean(dim=0))


def _unmoved(step: Step, ids: Tensor) -> float:
    if not len(ids):
        return float("nan")
    before, after = step.before[ids], seen(step)[ids]
    changed = changed_rows(before, after)
    moved = (before[changed] != after[changed]).any(dim=1)
    return 1 - int(moved.count_nonzero()) / len(ids)
