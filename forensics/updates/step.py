"""One optimizer step on stored words under a precision policy, as torch.optim takes it where torch has it."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from forensics.errors import ConfigError
from forensics.updates import arithmetic
from forensics.updates.bench import Bench
from forensics.updates.pieces import Matrix, Piece, cut
from forensics.updates.rounding import StochasticRounder
from forensics.updates.rules import Policy, Rule, require_pair

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Updater:
    """Stored weights and moments, and the step that changes them in place.

    Where policy and rule exist in torch.optim (one format throughout: "bf16", "f32", the master of "mixed"; SGD, Adam,
    AdamW), every word of weights and moments is torch's own on the CPU: the for-loop's, or with `rule.foreach` or
    `rule.fused` those of foreach=True or fused=True. Beyond torch: "bf16-f32state" and "bf16-stochastic" take the same
    operations in float32 and round what they store once; the weights' update reads the moments as stored. "bf16-kahan"
    is the Kahan-compensated update of Zamirai et al. 2020 (arXiv 2010.06192): update and decay are added to the error
    word, which is then added to the weight, all in bfloat16. "coupled-adam" puts the mean of v over the vocabulary into
    the denominator of an embedding row in place of its own v (Stollenwerk & Stollenwerk 2025, arXiv 2502.08441), so
    that updates sum to zero over the vocabulary where gradients do.

    Attributes:
        weights: as stored, in the shape given.
        visible: what the forward multiplies; the storage of `weights`, but for "mixed" a bfloat16 copy.
        m: first moment or momentum as stored, or None.
        v: second moment as stored, or None.
        compensation: the weights' second word ("bf16-kahan"), or None: weights + compensation is what is meant.
        t: updates so far.
    """

    def __init__(
        self,
        rule: Rule,
        policy: Policy,
        weights: Tensor,
        *,
        coupled: Sequence[Matrix] = (),
        seed: int = 0,
    ) -> None:
        """Copy the weights into their stored format.

        Args:
            rule: the optimizer.
            policy: the formats.
            weights: float32 or already in the stored format, any shape; not changed.
            coupled: (first element, rows, dim) of each embedding matrix in the flat weights, for "coupled-adam".
            seed: of the stochastic rounding.

        Raises:
            ConfigError: rule, policy, weights and matrices do not fit one another.
        """
        require_pair(rule, policy)
        stored, state = _DTYPES[policy.weights], _DTYPES[policy.state]
        if weights.dtype not in {torch.float32, stored}:
            raise ConfigError(f"weights are {weights.dtype}; {policy.name} starts from float32 or {policy.weights}")
        if rule.kind == "coupled-adam" and not coupled:
            raise ConfigError("coupled-adam needs to know which elements are embedding rows", hint="name `coupled`")
        self.rule, self.policy, self.t = rule, policy, 0
        self.weights = weights.detach().to(stored, copy=True, memory_format=torch.contiguous_format)
        self.visible = self.weights.to(_DTYPES[policy.compute])
        self.m = torch.zeros_like(self.weights, dtype=state) if "m" in rule.moments else None
        self.v = torch.zeros_like(self.weights, dtype=state) if "v" in rule.moments else None
        self.compensation = torch.zeros_like(self.weights) if policy.rounding == "kahan" else None
        wide = policy.rounding == "stochastic" or state != stored
        # A fused kernel's words depend on where a tensor ends, so it gets what torch.optim would give it.
        matrices = coupled if rule.kind == "coupled-adam" else ()
        self._pieces = cut(weights.numel(), matrices, whole=rule.fused and not wide)
        largest = max((piece.size for piece in self._pieces), default=0)
        rounder = StochasticRounder(weights.device, seed, largest) if policy.rounding == "stochastic" else None
        self._bench = Bench(torch.float32 if wide else stored, largest, weights.device, rounder)

    @torch.no_grad()
    def step(self, gradient: Tensor, lr: float | None = None) -> None:
        """Take one update in place.

        Args:
            gradient: shape of the weights, format `policy.gradient`; not changed.
            lr: this step's learning rate; the rule's where None.

        Raises:
            ConfigError: the gradient has another shape, format or device, or the learning rate is no finite number.
        """
        lr = self.rule.lr if lr is None else lr
        self._check(gradient, lr)
        flat = gradient.detach().reshape(-1)
        self.t += 1
        if self.rule.fused:
            for piece in self._pieces:
                self._fused(piece, flat, lr)
            return
        if self.rule.kind == "coupled-adam" and self.v is not None:
            # A row's denominator needs every row's moments.
            for piece in self._pieces:
                self._advance(piece, flat)
            matrices = {piece.matrix for piece in self._pieces if piece.matrix}
            means = {matrix: self._mean(matrix, self.v) for matrix in matrices}
            for piece in self._pieces:
                self._move(piece, flat, lr, means[piece.matrix] if piece.matrix else None)
            return
        for piece in self._pieces:
            self._advance(piece, flat)
            self._move(piece, flat, lr)

    def state(self) -> dict[str, Tensor]:
        """Copies of all that `restore` needs to go on to the same words."""
        held = {name: value.clone() for name, value in self._stored()}
        held["t"] = torch.tensor(self.t)
        if self._bench.rounder:
            held["generator"] = self._bench.rounder.generator.get_state()
        return held

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a `state` of an updater of the same rule, policy and shape; storages stay where they are.

        Raises:
            ConfigError: the state is of another rule, policy or shape.
        """
        mine = self.state()
        if state.keys() != mine.keys():
            raise ConfigError(f"a state of {', '.join(sorted(state))} where {', '.join(sorted(mine))} is needed")
        for name, value in mine.items():
            if _kind(state[name]) != _kind(value):
                raise ConfigError(f"{name} of the state is {_kind(state[name])}, not {_kind(value)}")
        for name, value in self._stored():
            value.copy_(state[name])
        self.t = int(state["t"])
        if self._bench.rounder:
            self._bench.rounder.generator.set_state(state["generator"].cpu())
        if self.visible is not self.weights:
            self.visible.copy_(self.weights)

    def _advance(self, piece: Piece, flat: Tensor) -> None:
        """Moments of one piece."""
        if self.m is None:
            return
        m = self._bench.open("m", self.m, piece)
        v = None if self.v is None else self._bench.open("v", self.v, piece)
        arithmetic.advance(self.rule, self.t, self._gradient(piece, flat), m, v)
        self._bench.close(m, self.m, piece)
        if v is not None and self.v is not None:
            self._bench.close(v, self.v, piece)

    def _move(self, piece: Piece, flat: Tensor, lr: float, mean: Tensor | None = None) -> None:
        """Weights of one piece; `mean` is what takes v's place in an embedding matrix, [dim]."""
        push = self._gradient(piece, flat) if self.m is None else self._bench.open("m", self.m, piece)
        weights = self._bench.open("weights", self.weights, piece)
        target = weights if self.compensation is None else piece.of(self.compensation)
        arithmetic.decay(self.rule, lr, target, weights)
        free = self._bench.buffer("free", piece.size)
        if mean is not None:
            divisor = arithmetic.denominator(self.rule, self.t, mean, torch.empty_like(mean))
            shape = (-1, mean.numel())
            arithmetic.move_adam(self.rule, self.t, lr, target.view(shape), push.view(shape), divisor)
        elif self.v is not None:
            v = self._bench.open("v", self.v, piece)
            divisor = arithmetic.denominator(self.rule, self.t, v, free)
            arithmetic.move_adam(self.rule, self.t, lr, target, push, divisor)
        else:
            target.add_(torch.sign(push, out=free) if self.rule.kind == "sign" else push, alpha=-lr)
        if self.compensation is not None:
            arithmetic.compensate(weights, target, free)
        self._bench.close(weights, self.weights, piece)
        self._show(piece)

    def _fused(self, piece: Piece, flat: Tensor, lr: float) -> None:
        if self.m is None or self.v is None:
            return
        weights = self._bench.open("weights", self.weights, piece)
        arithmetic.fused(self.rule, self.t, lr, weights, piece.of(flat), piece.of(self.m), piece.of(self.v))
        self._bench.close(weights, self.weights, piece)
        self._show(piece)

    def _gradient(self, piece: Piece, flat: Tensor) -> Tensor:
        """Gradient of one piece, with l2's wd·w added, rounded once."""
        gradient = self._bench.open("gradient", flat, piece)
        if not self.rule.weight_decay or self.rule.decay != "l2":
            return gradient
        weights = self._bench.open("weights", self.weights, piece)
        out = self._bench.buffer("gradient", piece.size)
        return torch.add(gradient, weights, alpha=self.rule.weight_decay, out=out)

    def _mean(self, matrix: Matrix, v: Tensor) -> Tensor:
        """Mean of v over the rows of one matrix, [dim]: summed in float32, then in the operations' format."""
        first, rows, dim = matrix
        of_matrix = Piece(first, first + rows * dim).of(v).view(rows, dim)
        return of_matrix.mean(0, dtype=torch.float32).to(self._bench.dtype)

    def _show(self, piece: Piece) -> None:
        if self.visible is not self.weights:
            piece.of(self.visible).copy_(piece.of(self.weights))

    def _stored(self) -> Iterator[tuple[str, Tensor]]:
        for name in ("weights", "m", "v", "compensation"):
            value = getattr(self, name)
            if value is not None:
                yield name, value

    def _check(self, gradient: Tensor, lr: float) -> None:
        wanted = _DTYPES[self.policy.gradient]
        if (gradient.shape, gradient.dtype) != (self.weights.shape, wanted):
            raise ConfigError(
                f"the gradient is {_kind(gradient)}; {self.policy.name} takes {wanted} {list(self.weights.shape)}"
            )
        if gradient.device != self.weights.device:
            raise ConfigError(f"the gradient is on {gradient.device}, the weights on {self.weights.device}")
        if not (math.isfinite(lr) and lr >= 0):
            raise ConfigError(f"the learning rate is {lr}; it is a finite number, 0 or more")


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"
