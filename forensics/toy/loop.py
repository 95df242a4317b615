"""The training loop: it reads from top to bottom, and yields what observers need."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from forensics.errors import TrainingError
from forensics.toy.batches import Batches
from forensics.toy.loss import cross_entropy
from forensics.toy.model import INPUT, LanguageModel
from forensics.toy.step import Step
from forensics.updates import POLICIES
from forensics.updates.step import Updater

if TYPE_CHECKING:
    from forensics.toy.config import RunConfig
    from forensics.toy.corpus import Corpus


@dataclass(slots=True, eq=False)
class Training:
    """All that a run changes as it goes: everything else follows from its config and its corpus.

    Attributes:
        config: the settings.
        model: the network over the updater's weights.
        updater: stored weights, moments and their generator.
        batches: which tokens each step sees; it depends on the step alone.
        gradients: flat, as backward leaves them (the compute dtype).
        gradient: flat, as the optimizer is handed them (the same tensor where the types agree).
        step: updates made.
        half_made: an update was begun and not ended: what is held is the state of no step.
    """

    config: RunConfig
    model: LanguageModel
    updater: Updater
    batches: Batches
    gradients: Tensor
    gradient: Tensor
    step: int = 0
    half_made: bool = False

    @classmethod
    def start(cls, config: RunConfig, corpus: Corpus, device: torch.device | str = "cpu") -> Training:
        """A run before its first update."""
        policy = POLICIES[config.precision]
        spec, context = config.model, config.batches.context
        model = LanguageModel(
            spec, config.initial, vocab=corpus.vocab_size, context=context, stored=policy.weights, seed=config.seed
        )
        # Coupled Adam averages over a vocabulary: say where the token matrices lie.
        coupled = [
            (start, model.layout.shapes[name][0], spec.dim)
            for name, start in model.layout.starts.items()
            if name in {INPUT, model.output_name}
        ]
        updater = Updater(config.optimizer, policy, model.initial.to(device), coupled=coupled, seed=config.seed)
        gradients = torch.zeros_like(updater.visible)
        same = policy.gradient == policy.compute
        gradient = gradients if same else torch.zeros_like(gradients, dtype=getattr(torch, policy.gradient))
        model.bind(updater.visible, gradients)
        order = config.batches
        batches = Batches(corpus.tokens, order.batch, context, order.order, config.seed, windows=order.windows)
        return cls(config, model, updater, batches, gradients, gradient)

    @property
    def weights(self) -> Tensor:
        """The stored output matrix (tied: the only one), ``[V, D]``; a view."""
        return self.model.layout.view(self.updater.weights, self.model.output_name)

    def restore(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Goes on after ``step`` with an updater's state."""
        self.updater.restore(state)
        self.step = step


def train(training: Training, *, want_p_mean: bool = False) -> Iterator[Step]:
    """Updates to the run's last step, each yielded as it is made.

    A caller may stop at any step and go on from the same `Training`.

    Raises:
        TrainingError: the loss, the gradient or a weight is no longer a finite number. The first two are seen before
            anything is updated: the weights are those of the step before, and `Training.half_made` is False.
    """
    config, model, updater = training.config, training.model, training.updater
    device = updater.weights.device
    name = model.output_name
    while training.step < config.steps:
        step = training.step + 1
        lr = config.schedule.rate(step, config.optimizer.lr, config.steps)
        tokens = torch.from_numpy(training.batches.at(step)).to(device)

        # Forward. The looked-up rows are a leaf of their own, so that their gradient can be summed exactly.
        before = model.output.clone()
        embedded = model.input[tokens].requires_grad_()
        hidden = model.body(embedded)  # [B, T, D]
        positions, targets = scored_positions(tokens, config.loss.label_offset, config.loss.scored)
        scored = hidden.detach().flatten(0, 1)[positions]  # [N, D]
        loss = cross_entropy(scored, before, targets, want_p_mean=want_p_mean)
        if not math.isfinite(loss.value):
            raise diverged(step, f"the loss is {loss.value}", config)

        # Backward, through the body and into both token matrices.
        training.gradients.zero_()
        back = torch.zeros_like(hidden)
        back.view(-1, hidden.shape[2])[positions] = loss.hidden_gradient.to(hidden.dtype)
        hidden.backward(back)
        rows = embedded.grad.flatten(0, 1).float()  # type: ignore[union-attr]
        exact = loss.output_gradient
        looked_up = exact if model.tied else torch.zeros_like(exact)
        looked_up.index_add_(0, tokens.flatten(), rows)

        # The optimizer is handed one flat gradient, in the policy's format.
        gradient = training.gradient
        if gradient is not training.gradients:
            gradient.copy_(training.gradients)
        model.layout.view(gradient, INPUT).copy_(looked_up)
        model.layout.view(gradient, name).copy_(exact)
        if config.clip:
            clip(gradient, config.clip)
        if not torch.isfinite(gradient).all():
            raise diverged(step, "the gradient is not finite", config)
        training.half_made = True
        updater.step(gradient, lr)
        if not torch.isfinite(updater.weights).all():
            raise diverged(step, "the update makes weights that are not finite", config)
        training.half_made, training.step = False, step

        yield Step(
            step=step,
            lr=lr,
            loss=loss.value,
            tokens=tokens,
            targets=targets,
            hidden=hidden.detach(),
            scored=scored,
            before=before,
            weights=training.weights,
            gradient=model.layout.view(gradient, name),
            exact_gradient=exact,
            m=_view(model, updater.m, name),
            v=_view(model, updater.v, name),
            p_mean=loss.p_mean,
            model=model,
            compensation=_view(model, updater.compensation, name),
        )


def scored_positions(tokens: Tensor, label_offset: int, which: str) -> tuple[Tensor, Tensor]:
    """The positions whose prediction is scored and what they should predict.

    Args:
        tokens: ``int64[B, T]``.
        label_offset: position t predicts token t + label_offset of the same sequence (1 is the next token).
        which: "all" positions that have such a token, or the "last" of them.

    Returns:
        Indices ``int64[N]`` into the B x T positions, and targets ``int64[N]``.
    """
    batch, length = tokens.shape
    columns = torch.arange(length - label_offset, device=tokens.device)
    if which == "last":
        columns = columns[-1:]
    positions = torch.arange(batch, device=tokens.device)[:, None] * length + columns
    return positions.flatten(), tokens[:, columns + label_offset].flatten()


def clip(gradient: Tensor, limit: float) -> None:
    """Scales the gradient down to norm ``limit``.

    As torch.nn.utils.clip_grad_norm_, but that norm and factor are float32: torch rounds them to the gradient's type.
    """
    norm = torch.linalg.vector_norm(gradient, dtype=torch.float32)
    gradient.mul_((limit / (norm + 1e-6)).clamp(max=1.0))


def diverged(step: int, what: str, config: RunConfig) -> TrainingError:
    """The error of a run whose numbers are no longer finite."""
    return TrainingError(
        f"step {step}: {what}",
        hint=f"look at optimizer.lr ({config.optimizer.lr:g}), optimizer.eps and initial, or set clip",
    )


def _view(model: LanguageModel, flat: Tensor | None, name: str) -> Any:
    return None if flat is None else model.layout.view(flat, name)
