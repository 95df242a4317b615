"""An update is named by two things: a rule (which optimizer) and a policy (which number format holds what).

Nothing here needs torch, so that a run can be described, checked and costed where torch is not installed.
"""

import math
from dataclasses import dataclass

from forensics.errors import ConfigError

KINDS = ("adam", "sgd", "coupled-adam", "sign")
DECAYS = ("decoupled", "l2")

_LARGEST = 3e38
"""Just below the largest float32: a step's factors are float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An optimizer and its constants; the names and the defaults are those of torch.optim.

    Attributes:
        kind: "adam" (Kingma & Ba 2015, arXiv 1412.6980), "sgd" (with heavy-ball momentum, as torch has it),
            "coupled-adam" (Stollenwerk & Stollenwerk 2025, arXiv 2502.08441) or "sign" (w -= lr·sign(g)).
        lr: the learning rate where a step names none.
        beta1: decay of the first moment per step (the two Adams alone).
        beta2: decay of the second moment per step (the two Adams alone).
        eps: what is added to the denominator √v̂ (the two Adams alone).
        momentum: of "sgd" alone; no damping, no Nesterov.
        decay: where weight_decay goes: "decoupled" (w·(1 - lr·wd) before the update; with "adam" this is AdamW,
            Loshchilov & Hutter 2019, arXiv 1711.05101) or "l2" (g + wd·w; with "adam" torch.optim.Adam).
        weight_decay: its strength wd.
        fused: take torch's fused kernel, which rounds once per stored word where the plain one rounds after every
            operation ("adam" alone).
        foreach: take torch's foreach operations, which differ from the for-loop's in bfloat16 ("adam" and "sgd" alone).

    Raises:
        ConfigError: a constant is out of range, unknown, or says nothing to this kind.
    """

    kind: str = "adam"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum: float = 0.0
    decay: str = "decoupled"
    weight_decay: float = 0.0
    fused: bool = False
    foreach: bool = False

    def __post_init__(self) -> None:
        _choice("optimizer", self.kind, KINDS)
        _choice("decay", self.decay, DECAYS)
        for name in ("lr", "eps", "momentum", "weight_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}; it is a finite number, 0 or more")
        if self.lr / (1 - min(self.beta1, 0.999999)) > _LARGEST:
            raise ConfigError(f"lr is {self.lr:g}, beyond what float32 holds")
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ConfigError(f"{name} is {value}; it lies in [0, 1)")
        if self.momentum and self.kind != "sgd":
            raise ConfigError(f"momentum means nothing to {self.kind}", hint="use sgd, or set beta1")
        if self.fused and self.kind != "adam":
            raise ConfigError(f"there is no fused kernel for {self.kind}", hint="leave fused off")
        if self.foreach and (self.fused or self.kind not in {"adam", "sgd"}):
            raise ConfigError(
                f"foreach goes with adam or sgd that are not fused, not with {self.kind}{' fused' * self.fused}",
                hint="leave foreach off",
            )

    @property
    def moments(self) -> tuple[str, ...]:
        """The state that is kept per element: "m", "v", both or neither."""
        if self.kind in {"adam", "coupled-adam"}:
            return ("m", "v")
        return ("m",) if self.kind == "sgd" and self.momentum else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which number format holds what, and how a word is rounded when it is written.

    Attributes:
        name: as in `POLICIES`.
        weights: format of the stored weights.
        state: format of the optimizer's moments m and v.
        gradient: format of the gradient that is handed to the optimizer.
        compute: format of the weights that the forward multiplies.
        rounding: "nearest" (ties to even), "stochastic", or "kahan" (nearest, and the error is kept in a second word).
        stored: one sentence for reports.
    """

    name: str
    weights: str
    state: str
    gradient: str
    compute: str
    rounding: str
    stored: str


_BF16 = "bfloat16"
_F32 = "float32"

POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy(
            name="bf16",
            weights=_BF16,
            state=_BF16,
            gradient=_BF16,
            compute=_BF16,
            rounding="nearest",
            stored="Weights, gradient and both moments are bfloat16, rounded to nearest.",
        ),
        Policy(
            name="bf16-f32state",
            weights=_BF16,
            state=_F32,
            gradient=_F32,
            compute=_BF16,
            rounding="nearest",
            stored="Weights are bfloat16; gradient and moments are float32, and an update is rounded once, to nearest.",
        ),
        Policy(
            name="mixed",
            weights=_F32,
            state=_F32,
            gradient=_F32,
            compute=_BF16,
            rounding="nearest",
            stored="Master weights, gradient and moments are float32; the forward multiplies a bfloat16 copy.",
        ),
        Policy(
            name="f32",
            weights=_F32,
            state=_F32,
            gradient=_F32,
            compute=_F32,
            rounding="nearest",
            stored="Weights, gradient and moments are float32.",
        ),
        Policy(
            name="bf16-stochastic",
            weights=_BF16,
            state=_BF16,
            gradient=_BF16,
            compute=_BF16,
            rounding="stochastic",
            stored="Weights and moments are bfloat16, each written by stochastic rounding from float32.",
        ),
        Policy(
            name="bf16-kahan",
            weights=_BF16,
            state=_BF16,
            gradient=_BF16,
            compute=_BF16,
            rounding="kahan",
            stored="Weights and moments are bfloat16, rounded to nearest; a second word keeps the weight's error.",
        ),
    )
}


def require_pair(rule: Rule, policy: Policy) -> None:
    """The fused and foreach words are torch's, which rounds to nearest and knows no other rounding.

    Raises:
        ConfigError: the two contradict each other, or the policy is none of `POLICIES`.
    """
    if POLICIES.get(policy.name) != policy:
        raise ConfigError(f"no precision is called {policy.name!r}", hint=f"one of: {', '.join(POLICIES)}")
    if (rule.fused or rule.foreach) and policy.rounding != "nearest":
        raise ConfigError(
            f"{'fused' if rule.fused else 'foreach'} rounds to nearest and cannot follow {policy.name}",
            hint="leave it off, or take a policy that rounds to nearest",
        )


def _choice(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"no {what} is called {value!r}", hint=f"one of: {', '.join(known)}")
