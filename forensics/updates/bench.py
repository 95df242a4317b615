"""Words are widened on the way from storage to the operations where the policy says so, and rounded on the way back."""

import torch
from torch import Tensor

from forensics.updates.pieces import Piece
from forensics.updates.rounding import StochasticRounder


class Bench:
    """Preallocated scratch for one piece at a time, in the operations' own format.

    Attributes:
        dtype: the operations' format. Tensors stored in it are worked on where they lie.
        rounder: stochastic rounding on the way out, or None for nearest.
    """

    def __init__(
        self, dtype: torch.dtype, largest: int, device: torch.device, rounder: StochasticRounder | None
    ) -> None:
        self.dtype = dtype
        self.rounder = rounder
        self._largest = largest
        self._device = device
        self._buffers: dict[str, Tensor] = {}

    def buffer(self, name: str, size: int) -> Tensor:
        """Scratch[size] of that name, with whatever was left in it."""
        if name not in self._buffers:
            self._buffers[name] = torch.empty(self._largest, dtype=self.dtype, device=self._device)
        return self._buffers[name][:size]

    def open(self, name: str, stored: Tensor, piece: Piece) -> Tensor:
        """The piece to work on, [size]: a view of what is stored, or a widened copy in the scratch of that name."""
        words = piece.of(stored)
        return words if words.dtype == self.dtype else self.buffer(name, piece.size).copy_(words)

    def close(self, worked: Tensor, stored: Tensor, piece: Piece) -> None:
        """Store what was opened; a view is stored already."""
        if worked.dtype == stored.dtype:
            return
        words = piece.of(stored)
        if self.rounder:
            self.rounder.write(worked, words)
        else:
            words.copy_(worked)
