"""What a recorder is: it looks at steps and hands over frames, and changes neither the run nor its random numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from forensics.recording import Channel
from forensics.toy.model import LanguageModel
from forensics.toy.step import Step

Frames = dict[str, NDArray[Any]]
"""What was recorded at one step, by channel."""

FORWARD = "of the forward and backward passes that made this step's update, on the weights of the step before"
AFTER = "after this step's update"


class Recorder(ABC):
    """One `--record` name and the channels that it fills.

    Attributes:
        name: as in `--record`.
        channels: every quantity that it can hand over, with shape, unit and definition.
        needs_p_mean: the loop must average the probabilities (`Step.p_mean`).
    """

    name: str
    channels: tuple[Channel, ...]
    needs_p_mean: ClassVar[bool] = False

    def begin(self, weights: Tensor, model: LanguageModel) -> Frames:
        """The frames of step 0, before any update; most quantities have none.

        Args:
            weights: ``[V, D]``, the stored output matrix.
            model: the network over it.
        """
        return {}

    @abstractmethod
    def observe(self, step: Step) -> Frames:
        """The frames of a step, of this recorder's channels alone; copies, all of them."""


def scalar(name: str, unit: str, definition: str, dtype: str = "float64") -> Channel:
    """A channel of one number a step."""
    return Channel(name, (), dtype, unit=unit, definition=definition)


def number(value: float, dtype: str = "float64") -> NDArray[Any]:
    """The frame of such a channel."""
    return np.array(value, dtype)
