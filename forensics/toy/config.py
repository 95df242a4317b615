"""Everything that decides a run: one frozen table of settings, which is written into its recording.

What the founding notebooks left to defaults (positions drawn 50 times as wide as tokens, a label shifted twice, a
schedule nobody asked for, optimizer states in bfloat16) is a setting here, and named in each preset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from forensics.errors import ConfigError
from forensics.initialisation import Initialisation, Normal
from forensics.toy.corpus import CorpusSpec
from forensics.toy.recorded import RecordSpec
from forensics.toy.schedule import Schedule
from forensics.toy.synthetic_text import SyntheticText
from forensics.toy.tables import Typed, build, flatten, merge, nearest, to_table
from forensics.updates import POLICIES, Policy, Rule, require_pair


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ConfigError(f"{name} is {value}; it is {least} or more")


def _one_of(known: tuple[str, ...], **values: str) -> None:
    for name, value in values.items():
        if value not in known:
            raise ConfigError(f"{name}: {value!r} is none of its values", hint=nearest(value, [*known]))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpec:
    """Which tokens an update sees.

    Attributes:
        batch: sequences in a batch, B.
        context: tokens in a sequence, T.
        order: "chunks" (the stream cut into sequences that do not overlap, shuffled each epoch, the last partial batch
            dropped), "random" (each sequence starts anywhere) or "stride-1" (every window once an epoch, shuffled).
        windows: with "random": the starts are first drawn as a pool of this many; 0 draws them afresh.
    """

    batch: int = 128
    context: int = 128
    order: Literal["chunks", "random", "stride-1"] = "chunks"
    windows: int = 0

    def __post_init__(self) -> None:
        _at_least(1, batch=self.batch)
        _at_least(2, context=self.context)
        _at_least(0, windows=self.windows)
        _one_of(("chunks", "random", "stride-1"), order=self.order)
        if self.windows and self.order != "random":
            raise ConfigError(f"a pool of windows means nothing to order {self.order!r}", hint="leave windows at 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The network between the two token matrices.

    Attributes:
        kind: "tinylm" (torch's pre-norm TransformerEncoderLayer, GELU, learned positions) or "gpt2" (transformers').
        layers: transformer layers.
        dim: numbers in a hidden state, D.
        heads: attention heads; they divide D.
        ff: width of the feed-forward layer.
        tied: one matrix looks tokens up and scores them.
        final_norm: what stands between the last layer and the unembedding: "layernorm", "rmsnorm" or "none".
    """

    kind: Literal["tinylm", "gpt2"] = "tinylm"
    layers: int = 2
    dim: int = 64
    heads: int = 2
    ff: int = 256
    tied: bool = True
    final_norm: Literal["layernorm", "rmsnorm", "none"] = "layernorm"

    def __post_init__(self) -> None:
        _one_of(("tinylm", "gpt2"), kind=self.kind)
        _one_of(("layernorm", "rmsnorm", "none"), final_norm=self.final_norm)
        _at_least(1, layers=self.layers, dim=self.dim, heads=self.heads, ff=self.ff)
        if self.dim % self.heads:
            raise ConfigError(f"dim {self.dim} is not divisible by {self.heads} heads")
        if self.kind == "gpt2" and not (self.tied and self.final_norm == "layernorm"):
            raise ConfigError("gpt2 is tied and ends in a layernorm", hint="for another form take kind = tinylm")


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialSpec:
    """How the token matrices and the positions start; every other layer starts as its library has it.

    Attributes:
        tokens: of the input matrix (tied: the only one).
        positions: of the position embeddings.
        output: of an untied output matrix; None (typed: none) makes it a copy of the input matrix.
    """

    tokens: Initialisation = field(default_factory=Normal)
    positions: Initialisation = field(default_factory=Normal)
    output: Initialisation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """What is predicted, and where.

    Attributes:
        label_offset: position t predicts token t + label_offset: 1 is the next token, 2 what the founding GPT-2 runs
            learnt (their labels were shifted by the data set and again by the model).
        scored: "all" positions that have such a token in their sequence, or the "last" of them.
    """

    label_offset: int = 1
    scored: Literal["all", "last"] = "all"

    def __post_init__(self) -> None:
        _at_least(1, label_offset=self.label_offset)
        _one_of(("all", "last"), scored=self.scored)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """The settings of a run.

    Attributes:
        name: of the run; a preset's own.
        about: what it is, in one sentence.
        follows: which founding runs it follows, and what differs from them.
        seed: of weights, batches and stochastic rounding; the corpus has its own.
        threads: of the processor; 0 takes all. Sums are split among them, so their number decides last bits, and a
            model of a few thousand numbers is slower on two than on one.
        steps: updates.
        corpus: where the tokens come from.
        batches: which of them an update sees.
        model: the network.
        initial: how its token matrices start.
        precision: name of a policy of `forensics.updates.POLICIES`: which number format holds what.
        optimizer: the update rule.
        clip: norm to which the whole gradient is scaled down; 0 leaves it.
        schedule: of the learning rate.
        loss: what is predicted.
        record: what is recorded.
        checkpoint_every: updates between saves to resume from. A multiple of 32 meets the recording's own blocks.

    Raises:
        ConfigError: two settings contradict each other, or one is out of range.
    """

    name: str = "unnamed"
    about: str = ""
    follows: str = ""
    seed: int = 42
    threads: int = 0
    steps: int = 500
    corpus: CorpusSpec = field(default_factory=SyntheticText)
    batches: BatchSpec = field(default_factory=BatchSpec)
    model: ModelSpec = field(default_factory=ModelSpec)
    initial: InitialSpec = field(default_factory=InitialSpec)
    precision: str = "bf16"
    optimizer: Rule = field(default_factory=Rule)
    clip: float = 0.0
    schedule: Schedule = field(default_factory=Schedule)
    loss: LossSpec = field(default_factory=LossSpec)
    record: RecordSpec = field(default_factory=RecordSpec)
    checkpoint_every: int = 256

    def __post_init__(self) -> None:
        _at_least(0, seed=self.seed, threads=self.threads)
        if self.seed >= 2**63:
            raise ConfigError(f"seed is {self.seed}; it is below 2^63")
        _at_least(1, steps=self.steps, checkpoint_every=self.checkpoint_every)
        _one_of(tuple(POLICIES), precision=self.precision)
        if not 0 <= self.clip < float("inf"):
            raise ConfigError(f"clip is {self.clip}; it is a finite norm, or 0 for none")
        require_pair(self.optimizer, self.policy)
        if self.loss.label_offset >= self.batches.context:
            reach = f"loss.label_offset {self.loss.label_offset} reaches beyond a sequence"
            raise ConfigError(f"{reach} of {self.batches.context} tokens", hint="raise batches.context")
        if self.schedule.warmup > self.steps:
            raise ConfigError(f"schedule.warmup {self.schedule.warmup} is longer than the run's {self.steps} steps")
        if self.model.tied and self.initial.output is not None:
            raise ConfigError("a tied model has no output matrix to initialise", hint="set model.tied = false")

    @property
    def policy(self) -> Policy:
        """Which number format holds what."""
        return POLICIES[self.precision]

    @property
    def stored(self) -> str:
        """Which number format holds what, in a sentence."""
        without = "" if self.optimizer.moments else " The optimizer keeps no moments."
        return self.policy.stored + without

    @property
    def scored_positions(self) -> int:
        """N, the positions of a batch whose prediction is scored."""
        each = self.batches.context - self.loss.label_offset if self.loss.scored == "all" else 1
        return self.batches.batch * each

    def to_dict(self) -> dict[str, Any]:
        """All settings, as JSON and TOML can hold them (an unset output initialisation is None)."""
        return to_table(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """The settings that a table names; the others have their defaults.

        Raises:
            ConfigError: an unknown setting or a value that it cannot have.
        """
        return build(cls, table)


def override(config: RunConfig, assignments: Sequence[str]) -> RunConfig:
    """A config with settings changed, as ``--set`` does it.

    Args:
        config: the settings to start from.
        assignments: "KEY=VALUE" with a dotted key: values as in TOML, texts and lists of names also without quotes
            ("initial.tokens.kind=point", "record.channels=W,loss"), "none" for no value. A ``kind`` that means another
            table of settings (of a corpus, of an initialisation) takes that one's defaults for the rest. The order of
            the assignments matters only among those of one key, where the last one holds.

    Raises:
        ConfigError: an assignment has no "=", or names a setting or a value that does not exist.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        names = key.strip().split(".")
        if not equals or not all(names):
            raise ConfigError(f"{assignment!r} sets nothing", hint="write KEY=VALUE, such as optimizer.lr=3e-4")
        table = changes
        for name in names[:-1]:
            inner = table.setdefault(name, {})
            if not isinstance(inner, dict):
                inner = table[name] = {}
            table = inner
        table[names[-1]] = Typed(value.strip())
    return RunConfig.from_dict(merge(RunConfig, config.to_dict(), changes))


def differences(a: RunConfig, b: RunConfig) -> list[tuple[str, Any, Any]]:
    """The settings in which two runs differ: dotted key, its value in a, its value in b (None where it has none)."""
    left, right = dict(flatten(a.to_dict())), dict(flatten(b.to_dict()))
    keys = [*left, *(key for key in right if key not in left)]
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]
