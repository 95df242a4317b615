"""Stochastic rounding is a sum: add a random number below one step of bfloat16, then cut the low bits off."""

import torch
from torch import Tensor


class StochasticRounder:
    """float32 becomes one of its two bfloat16 neighbours, the nearer one more often, so that the mean is kept.

    A bfloat16 word is the upper half of a float32 word. With r uniform on 0 … 65535 in the lower half, a carry
    reaches the upper half with probability (lower half)/65536: exactly the distance from the lower neighbour (Gupta
    et al. 2015, arXiv 1502.02551). A value that is a bfloat16 has no lower half and stays. Beyond the
    largest finite bfloat16 the upper neighbour is infinity, as in rounding to nearest.
    """

    def __init__(self, device: torch.device, seed: int, largest: int) -> None:
        """Prepare for tensors of up to `largest` elements on `device`; the same seed gives the same words."""
        self.generator = torch.Generator(device=device)
        self.generator.manual_seed(seed)
        self._random = torch.empty(-(-largest // 4), dtype=torch.int64, device=device)

    def write(self, value: Tensor, stored: Tensor) -> None:
        """Round float32[n] in place and store it as bfloat16[n]; `value` then holds what was stored."""
        # A NaN's low bits could carry into the sign; torch's own NaN has none. Infinities have none either.
        value.nan_to_num_(nan=float("nan"), posinf=float("inf"), neginf=float("-inf"))
        bits = value.view(torch.int32)
        # r - 32768 and 32768 rather than r: int16 is signed. Their sum is below 65536, the sign bit stays untouched.
        bits.add_(self._draw(value.numel())).add_(0x8000)
        bits.bitwise_and_(-0x10000)
        stored.copy_(value)

    def _draw(self, n: int) -> Tensor:
        """int16[n], uniform on all words: four of one 64-bit draw."""
        draw = self._random[: -(-n // 4)]
        draw.random_(-(2**63), None, generator=self.generator)
        return draw.view(torch.int16)[:n]
