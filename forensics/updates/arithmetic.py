"""The operations of torch.optim's optimizers on the CPU, in their order, on tensors of one format.

A result that is rounded after every operation depends on the order of the operations, so the order here is the
definition: `_single_tensor_adam` and `_single_tensor_sgd` of torch 2.13 (torch/optim/adam.py, sgd.py), the for-loop
that torch takes on the CPU unless told otherwise. foreach=True has the same order and differs in one thing (`scale`),
fused=True rounds elsewhere (`fused`). However the elements are cut into tensors, the first two give Adam the same
words; where torch adds alpha times a bfloat16 tensor (SGD, sign, l2 decay, Kahan's decay), the last elements of a
tensor whose length is no multiple of the vector's may be rounded otherwise than those in a longer one.
All functions work in place.
"""

import torch
from torch import Tensor

from forensics.updates.rules import Rule


def scale(rule: Rule, tensor: Tensor, factor: float) -> None:
    """Tensor·factor, rounded once; with foreach=True torch first rounds the factor itself to the tensor's format.

    In bfloat16 0.999 becomes 1, 0.998 becomes 0.99609375 and 0.99 becomes 0.98828125. In float32 no word differs.
    """
    if rule.foreach:
        torch._foreach_mul_([tensor], factor)
    else:
        tensor.mul_(factor)


def advance(rule: Rule, t: int, gradient: Tensor, m: Tensor, v: Tensor | None) -> None:
    """Moments take in the gradient of update t >= 1.

    The Adams: m += (1 - β1)(g - m), one rounding; v·β2, rounded, plus (1 - β2)·g², rounded. "sgd": m·momentum + g,
    the first m being g itself.
    """
    if v is not None:
        m.lerp_(gradient, 1 - rule.beta1)
        scale(rule, v, rule.beta2)
        v.addcmul_(gradient, gradient, value=1 - rule.beta2)
    elif t == 1:
        m.copy_(gradient)
    else:
        scale(rule, m, rule.momentum)
        m.add_(gradient)


def denominator(rule: Rule, t: int, v: Tensor, out: Tensor) -> Tensor:
    """√v/√(1 - β2^t) + eps, rounded after the root, the division and the sum (Kingma & Ba 2015, algorithm 1)."""
    torch.sqrt(v, out=out)
    return out.div_((1 - rule.beta2**t) ** 0.5).add_(rule.eps)


def decay(rule: Rule, lr: float, target: Tensor, weights: Tensor) -> None:
    """Decoupled decay: w·(1 - lr·wd), rounded; where an error word is the target, -lr·wd·w goes to that word."""
    if not rule.weight_decay or rule.decay != "decoupled":
        return
    if target is weights:
        scale(rule, weights, 1 - lr * rule.weight_decay)
    else:
        target.add_(weights, alpha=-lr * rule.weight_decay)


def move_adam(rule: Rule, t: int, lr: float, target: Tensor, m: Tensor, divisor: Tensor) -> None:
    """Weights -= lr/(1 - β1^t)·m/divisor, rounded once; the divisor may be one row for all rows of the target.

    With `denominator` as divisor, update 1 is lr·g/(|g| + eps): lr·sign(g) only where |g| is far above eps.
    """
    target.addcdiv_(m, divisor, value=-(lr / (1 - rule.beta1**t)))


def compensate(weights: Tensor, error: Tensor, free: Tensor) -> None:
    """Weights take in their error word, and the word keeps what rounding lost (Kahan 1965).

    w' = w + e, rounded; e' = e + (w - w'), exact where |e| <= |w|.
    """
    before = free.copy_(weights)
    weights.add_(error)
    error.add_(before.sub_(weights))


def fused(rule: Rule, t: int, lr: float, weights: Tensor, gradient: Tensor, m: Tensor, v: Tensor) -> None:
    """The fused kernel of torch on whole tensors: float32 inside, each stored word rounded once.

    In float32 a few words of v depend on where a tensor ends (the kernel's vector part and its scalar tail round
    differently), so they equal torch.optim's only for the same tensor, not for its parts.
    """
    kernel = torch._fused_adamw_ if rule.decay == "decoupled" else torch._fused_adam_
    kernel(
        [weights],
        [gradient],
        [m],
        [v],
        [],
        [torch.tensor(float(t), device=weights.device)],
        lr=lr,
        beta1=rule.beta1,
        beta2=rule.beta2,
        weight_decay=rule.weight_decay,
        eps=rule.eps,
        amsgrad=False,
        maximize=False,
    )
