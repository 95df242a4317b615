"""Cross entropy and its gradients without the logits of all positions at once.

The logits of B x T positions over V tokens (2.6 GB in the founding loop at its peak) are needed only a few hundred
positions at a time: each block's probabilities give its share of the loss and of both gradients, then make room for the
next block.

Nothing is filtered and nothing accumulated in bfloat16. A dead token receives ``(1/N) sum_n p_n h_n``, sums of many
terms near 1/V: kernels that drop small gradients, or round each block's share to bfloat16, lose just that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BLOCK_BYTES = 16 << 20
"""Logits in flight: larger blocks leave the cores' caches, smaller ones starve the matrix products."""

_SMALLEST_SURE = 1e-30
"""Below it a float32 probability loses digits (subnormals begin at 1.2e-38), so its logarithm is not taken."""


@dataclass(slots=True, eq=False)
class Loss:
    """The mean cross entropy of N scored positions, and what it sends back.

    Attributes:
        value: mean over the positions, in nats.
        hidden_gradient: ``float32[N, D]``, with respect to the hidden states.
        output_gradient: ``float32[V, D]``, with respect to the unembedding; of a token that is no target it is
            ``(1/N) sum_n p_n h_n``.
        p_mean: ``float32[V]``, mean probability of each token over the positions, or None.
    """

    value: float
    hidden_gradient: Tensor
    output_gradient: Tensor
    p_mean: Tensor | None


def cross_entropy(hidden: Tensor, output: Tensor, targets: Tensor, *, want_p_mean: bool = False) -> Loss:
    """The loss of ``hidden @ output.T`` against ``targets``, with float32 gradients.

    Args:
        hidden: ``[N, D]``, bfloat16 or float32.
        output: ``[V, D]``, the unembedding, of the same type.
        targets: ``int64[N]``.
        want_p_mean: also average the probabilities, one more pass over them.
    """
    n, vocab = hidden.shape[0], output.shape[0]
    # Exact: every bfloat16 is a float32. The products are then of whole bfloat16 numbers, see _bf16_products.
    h, w = hidden.float(), output.float()
    short = hidden.dtype == torch.bfloat16
    hidden_gradient = torch.empty_like(h)
    output_gradient = torch.zeros_like(w)
    p_sum = torch.zeros_like(w[:, 0]) if want_p_mean else None
    losses = torch.zeros((), dtype=torch.float64 if h.device.type != "mps" else torch.float32, device=h.device)
    rows = max(1, min(n, BLOCK_BYTES // (4 * vocab)))
    logits, p = (h.new_empty(rows, vocab) for _ in range(2))
    for start in range(0, n, rows):
        block, true = h[start : start + rows], targets[start : start + rows, None]
        z, q = logits[: len(block)], p[: len(block)]
        with _bf16_products(short):
            torch.mm(block, w.T, out=z)
        torch.softmax(z, dim=1, out=q)
        if p_sum is not None:
            p_sum += q.sum(dim=0)
        losses += _negative_log(q, z, true).sum(dtype=losses.dtype)
        q.scatter_add_(1, true, torch.full_like(true, -1, dtype=q.dtype))
        # With bfloat16 hidden states this gradient is rounded to bfloat16 on its way back, so p may be, too.
        with _bf16_products(short):
            torch.mm(q, w, out=hidden_gradient[start : start + rows])
        output_gradient.addmm_(q.T, block)
    return Loss(
        losses.item() / n,
        hidden_gradient.div_(n),
        output_gradient.div_(n),
        None if p_sum is None else p_sum.div_(n),
    )


def _negative_log(p: Tensor, z: Tensor, true: Tensor) -> Tensor:
    """-log p of the true tokens, from the logits where p is too small to keep its digits."""
    chosen = p.gather(1, true)[:, 0]
    result = -chosen.log()
    unsure = (chosen < _SMALLEST_SURE).nonzero()[:, 0]
    if len(unsure):
        rows = z[unsure]
        result[unsure] = rows.logsumexp(1) - rows.gather(1, true[unsure])[:, 0]
    return result


@contextmanager
def _bf16_products(wanted: bool) -> Iterator[None]:
    """Lets float32 products round their inputs to bfloat16 (sums stay float32), where the processor can.

    For inputs that are bfloat16 numbers already nothing is rounded: the result is as exact as a float32 product, at
    the speed of a bfloat16 one. Elsewhere the flag does nothing.
    """
    mkldnn: Any = torch.backends.mkldnn  # torch's own annotations lack the attribute
    flags = mkldnn.matmul
    before = flags.fp32_precision
    if wanted:
        flags.fp32_precision = "bf16"
    try:
        yield
    finally:
        flags.fp32_precision = before
