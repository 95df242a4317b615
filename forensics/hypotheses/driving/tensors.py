"""Between words and torch's tensors, for the driven cloud."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forensics.formats import Words

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 1 << 19
"""Numbers that are worked on at a time in float32, to stay in cache (as `forensics.updates.pieces` has it)."""


def logits_of(held: Tensor, hidden: Tensor, origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """(w_i - origin) . h, ``float64[r]``.

    The first row's in float64, the others' by their difference to it in float32: exact where they are near (Sterbenz
    1974), so that small differences keep their digits.
    """
    import torch

    first = held[0].float()
    apart = torch.empty(len(held), dtype=torch.float32)
    for rows, scratch in _blocks(held):
        scratch.copy_(held[rows]).sub_(first)
        torch.mv(scratch, hidden, out=apart[rows])
    return apart.double().numpy() + float((first.double().numpy() - origin) @ hidden.double().numpy())


def outer_into(out: Tensor, p: Tensor, hidden: Tensor) -> Tensor:
    """p_i h, ``[r, D]``: the product in float32, rounded once to the type of ``out``."""
    import torch

    for rows, scratch in _blocks(out):
        torch.mul(p[rows, None], hidden, out=scratch)
        out[rows].copy_(scratch)
    return out


def _blocks(matrix: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of a matrix and float32 scratch of their shape."""
    import torch

    n, dim = matrix.shape
    rows = min(n, max(1, _BLOCK // dim))
    scratch = torch.empty(rows, dim, dtype=torch.float32)
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n)), scratch[: min(rows, n - start)]


def tensor(values: NDArray[np.float32]) -> Tensor:
    """The values as a tensor, on the same memory where it may be written to."""
    import torch

    array = np.ascontiguousarray(values)
    # torch warns of an array that it may not write to.
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def words_of(stored: Tensor) -> Words:
    """The words of a stored tensor, on the same memory."""
    import torch

    bits: Any = stored.view({2: torch.int16, 4: torch.int32}[stored.element_size()]).numpy()
    return np.asarray(bits.view(f"u{stored.element_size()}"))


def dtype(name: str) -> Any:
    """The type of torch of that name."""
    import torch

    return getattr(torch, name)
