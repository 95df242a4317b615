"""Loss and gradients without whole logits, against float64 autograd."""

import numpy as np
import pytest
import torch

from forensics.toy import loss as module
from forensics.toy.loss import cross_entropy


def scene(*, n=700, vocab=900, dim=64, sigma=0.02, dtype=torch.bfloat16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.nn.functional.layer_norm(
        torch.randn(n, dim, generator=generator) + 2 * torch.randn(dim, generator=generator), (dim,)
    ).to(dtype)
    output = (torch.randn(vocab, dim, generator=generator) * sigma).to(dtype)
    targets = torch.randint(0, vocab // 2, (n,), generator=generator)  # the upper half is dead
    return hidden, output, targets


def reference(hidden, output, targets):
    h, w = hidden.double().requires_grad_(), output.double().requires_grad_()
    value = torch.nn.functional.cross_entropy(h @ w.T, targets)
    value.backward()
    return value.item(), h.grad, w.grad


def relative(found, expected):
    return ((found.double() - expected).norm(dim=1) / expected.norm(dim=1)).max().item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("block", [1, 4 * 900 * 7, 16 << 20])
def test_agrees_with_float64(dtype, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", block)  # one row, seven (the last block short), all at once
    hidden, output, targets = scene(dtype=dtype)
    value, to_hidden, to_output = reference(hidden, output, targets)
    found = cross_entropy(hidden, output, targets, want_p_mean=True)
    assert found.value == pytest.approx(value, rel=1e-7)
    assert relative(found.output_gradient[450:], to_output[450:]) < 1e-6  # live rows: differences of like numbers
    assert relative(found.output_gradient, to_output) < 1e-5
    # Towards bfloat16 hidden states the probabilities may be rounded to bfloat16; never in float32.
    assert relative(found.hidden_gradient, to_hidden) < (1e-4 if dtype == torch.bfloat16 else 5e-6)
    p = torch.softmax(hidden.double() @ output.double().T, 1)
    assert relative(found.p_mean[:, None], p.mean(0)[:, None]) < 3e-6


def test_a_dead_row_gets_the_mean_of_p_h():
    hidden, output, targets = scene()
    found = cross_entropy(hidden, output, targets).output_gradient
    p = torch.softmax(hidden.double() @ output.double().T, 1)
    by_hand = p[:, 450:].T @ hidden.double() / len(hidden)
    assert relative(found[450:], by_hand) < 1e-6
    # The unigram start: all p alike, so the gradient lies along the mean hidden state.
    mean = hidden.double().mean(0)
    cosine = torch.nn.functional.cosine_similarity(found[450:].double(), mean[None])
    assert cosine.min() > 0.999


def test_the_founding_loop_is_off_by_a_thousandth():
    """What exactness is worth: bfloat16 autocast, as the founding loop has it, on the same numbers."""
    hidden, output, targets = scene()
    expected = reference(hidden, output, targets)[2][450:]
    w = output.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.nn.functional.cross_entropy(hidden @ w.T, targets).backward()
    assert 1e-3 < relative(w.grad[450:], expected) < 2e-2


@pytest.mark.parametrize("scale", [30.0, 300.0, 3000.0])
def test_tokens_of_no_probability(scale):
    """Float32 probabilities underflow at a loss of 103; the loss goes on."""
    hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float32)
    output = torch.tensor([[scale, 0.0], [0.0, scale]], dtype=torch.float32)
    found = cross_entropy(hidden, output, torch.tensor([1, 1]))
    assert found.value == pytest.approx(scale / 2, rel=1e-6)
    assert torch.isfinite(found.output_gradient).all()


def test_sums_to_zero_over_the_vocabulary():
    """Softmax gradients of the unembedding cancel (arXiv 2502.08441, equation 5)."""
    found = cross_entropy(*scene(dtype=torch.float32)).output_gradient.double()
    assert found.sum(0).norm() < 1e-5 * found.norm(dim=1).sum()


def test_an_infinite_logit_is_no_number():
    hidden, output, targets = scene(n=4)
    hidden[0, 0] = float("inf")
    assert not np.isfinite(cross_entropy(hidden, output, targets).value)


def test_leaves_inputs_and_settings_alone():
    hidden, output, targets = scene(n=50)
    before = hidden.clone(), output.clone(), targets.clone()
    flag = torch.backends.mkldnn.matmul.fp32_precision
    cross_entropy(hidden, output, targets)
    assert torch.backends.mkldnn.matmul.fp32_precision == flag
    assert all(torch.equal(a, b) for a, b in zip(before, (hidden, output, targets), strict=True))
