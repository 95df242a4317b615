"""The recorders that `--record` names, made for a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from forensics.errors import ConfigError
from forensics.toy.census import Corpus
from forensics.toy.clusters import Clusters
from forensics.toy.figures import Figures
from forensics.toy.logits import DeadProbability, FullDeadProbability, Logits
from forensics.toy.probe import Probe
from forensics.toy.raw_words import HiddenWords, Start, Take, TokenWords
from forensics.toy.recorded import RECORDS
from forensics.toy.recorder import AFTER, FORWARD, Frames, Recorder, number, scalar
from forensics.toy.spread import HiddenMean, Spread
from forensics.toy.step import Step
from forensics.toy.summaries import Summaries
from forensics.toy.tables import nearest
from forensics.toy.tracked import tracked_ids
from forensics.updates import POLICIES, Policy

if TYPE_CHECKING:
    from forensics.toy.config import RunConfig

__all__ = ["Recorder", "make_recorders"]


class LossRate(Recorder):
    """The loss, and the learning rate of the update that its gradient made."""

    name = "loss"

    def __init__(self) -> None:
        self.channels = (
            scalar("loss", "nats", f"mean cross entropy over the scored positions {FORWARD}"),
            scalar("lr", "value", "the learning rate of this step's update"),
        )

    def observe(self, step: Step) -> Frames:
        """Both numbers."""
        return {"loss": number(step.loss), "lr": number(step.lr)}


def make_recorders(
    names: Iterable[str], *, config: RunConfig, corpus: Corpus, figures: Figures | None = None
) -> tuple[Recorder, ...]:
    """The recorders of a run, in the order in which they are named.

    Args:
        names: as in `forensics.toy.recorded.RECORDS`; a name given twice counts once.
        config: the run's settings: shapes, number formats, which tokens are tracked.
        corpus: whose census says which tokens are dead.
        figures: shared with the run's other observers, such as `forensics.toy.events.Events`; its own if None.

    Raises:
        ConfigError: nothing is called so, or the run has no such quantity.
    """
    makers = _makers(config, corpus, figures or Figures(corpus))
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        _refuse(name, config, corpus)
    return tuple(makers[name]() for name in chosen)


def _makers(config: RunConfig, corpus: Corpus, figures: Figures) -> dict[str, Callable[[], Recorder]]:
    batch, context, dim = config.batches.batch, config.batches.context, config.model.dim
    offset, scored = config.loss.label_offset, config.loss.scored
    positions = batch * (1 if scored == "last" else context - offset)
    policy = POLICIES[config.precision]

    def of_tokens(name: str) -> Callable[[], Recorder]:
        def make() -> Recorder:
            fmt, definition, take, start = _matrix(name, policy)
            record = "dead" if name == "dead_grad" else config.record.tracked
            return TokenWords(name, fmt, definition, tracked_ids(record, corpus, config.seed), dim, take, start)

        return make

    return {
        "loss": LossRate,
        "h_mean": lambda: HiddenMean(dim, figures),
        "spread": lambda: Spread(figures),
        "clusters": lambda: Clusters(dim, corpus),
        "probe": lambda: Probe(dim=dim, context=context, label_offset=offset, scored=scored, corpus=corpus),
        "logits": lambda: Logits(figures),
        "p_dead": lambda: DeadProbability(figures),
        "p_dead_full": lambda: FullDeadProbability(positions, figures),
        "summaries": lambda: Summaries(dim, figures),
        "h_full": lambda: HiddenWords((batch, context, dim), policy.compute),
        **{name: of_tokens(name) for name in ("W", "E", "grad", "dead_grad", "m", "v", "compensation")},
    }


def _matrix(name: str, policy: Policy) -> tuple[str, str, Take, Start | None]:
    """Number format and definition of a matrix, and where to find it at a step and at step 0."""
    output = "of the output matrix (tied: the only one)"

    def weights(stored: Tensor, _: object) -> Tensor:
        return stored

    def gradient(step: Step) -> Tensor:
        return step.gradient

    handed = f"gradient {output} as handed to the optimizer, {FORWARD}"
    matrices: dict[str, tuple[str, str, Take, Start | None]] = {
        "W": (policy.weights, f"the stored words {output}, {AFTER}", lambda s: s.weights, weights),
        "E": (
            policy.compute,
            f"the input matrix as the forward sees it, {AFTER}",
            lambda s: s.model.input,
            lambda _, model: model.input,
        ),
        "grad": (policy.gradient, handed, gradient, None),
        "dead_grad": (policy.gradient, f"of the dead tokens the {handed}", gradient, None),
        "m": (policy.state, f"stored first moment {output}, {AFTER}", lambda s: s.m, None),
        "v": (policy.state, f"stored second moment {output}, {AFTER}", lambda s: s.v, None),
        "compensation": (policy.weights, f"what rounding left over {output}, {AFTER}", lambda s: s.compensation, None),
    }
    return matrices[name]


def _refuse(name: str, config: RunConfig, corpus: Corpus) -> None:
    """Says why a run has no such quantity.

    Raises:
        ConfigError: it has not.
    """
    if name not in RECORDS:
        raise ConfigError(f"nothing to record is called {name!r}", hint=nearest(name, [*RECORDS]))
    rule, policy = config.optimizer, POLICIES[config.precision]
    if name in {"m", "v"} and name not in rule.moments:
        without = " without momentum" if rule.kind == "sgd" and name == "m" else ""
        raise ConfigError(f"{rule.kind}{without} keeps no {name}, so there is none to record", hint="leave it out")
    if name == "compensation" and policy.rounding != "kahan":
        raise ConfigError(f"precision {policy.name} keeps no compensation", hint="take bf16-kahan, or leave it out")
    if name == "E" and config.model.tied:
        raise ConfigError("a tied model has one matrix: W is its input, too", hint="record W, or set model.tied=false")
    if name in {"p_dead", "p_dead_full", "dead_grad"}:
        corpus.require_dead()
