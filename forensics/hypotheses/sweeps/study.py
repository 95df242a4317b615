"""A subject to a judgement: which hypotheses are simulated, how often, and what the simulations say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forensics.checkpoint.naming import initializer_range
from forensics.errors import HypothesisError
from forensics.hypotheses.context import Context, Law
from forensics.hypotheses.discovery import hypotheses
from forensics.hypotheses.hypothesis import Hypothesis
from forensics.hypotheses.judging.result import Judgement, judge
from forensics.hypotheses.observables import CLOUD, OBSERVABLES
from forensics.hypotheses.population import Progress
from forensics.hypotheses.subject import Subject
from forensics.hypotheses.sweeps.cluster import check_scheduler
from forensics.hypotheses.sweeps.reference import Reference, code_digest
from forensics.hypotheses.sweeps.simulation import Simulation
from forensics.hypotheses.sweeps.store import Store
from forensics.hypotheses.sweeps.sweep import make_tasks, sweep

SCHEMA = "forensics.hypotheses/1"

BUDGET = 1000
"""Simulations of each hypothesis, if nothing else is said."""

SLOW_LEAST = 125
"""Simulations of a slow hypothesis at least, if the budget has them: with a fifth of them held out, the rest reach a
p-value of 0.01 (99 are needed for it)."""

SLOW = "slow: a second or more a simulation; name it with --only"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a result depends on.

    Attributes:
        budget: simulations of each hypothesis; of a slow one a quarter, but 125 at least if the budget has them.
        seed: of every simulation.
        only: what was asked for by name, a user's file by the file's own; empty: all that are not slow.
        draws: simulations by hypothesis.
        left_out: hypotheses that were not simulated, and why.
    """

    budget: int
    seed: int
    only: tuple[str, ...]
    draws: Mapping[str, int]
    left_out: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "budget": self.budget,
            "seed": self.seed,
            "only": list(self.only),
            "draws": dict(self.draws),
            "left_out": dict(self.left_out),
        }


@dataclass(frozen=True, slots=True, eq=False)
class HypothesesStudy:
    """What was asked about a subject, and the answer.

    Attributes:
        subject: the matrix and its dead rows.
        settings: what was asked for.
        context: what the simulators were told; None if there is nothing to explain or to judge, as is judgement.
        hypotheses: those that were simulated, by name.
        simulations: by hypothesis, by number.
        observed: the dead rows' observables.
        judgement: what the simulations say.
    """

    subject: Subject
    settings: Settings
    context: Context | None = None
    hypotheses: Mapping[str, Hypothesis] = field(default_factory=dict)
    simulations: Mapping[str, tuple[Simulation, ...]] = field(default_factory=dict)
    observed: Mapping[str, float | None] = field(default_factory=dict)
    judgement: Judgement | None = None

    @property
    def claim(self) -> str:
        """The answer in a sentence."""
        if self.subject.no_verdict is not None:
            return f"no verdict: {self.subject.no_verdict}"
        if self.judgement is None:
            return f"nothing to explain: {self.subject.why_dead}"
        left_out = self.settings.left_out
        return self.judgement.claim + (f"; not simulated: {', '.join(sorted(left_out))}" if left_out else "")

    @property
    def command(self) -> str:
        """What to type to have it again; user's files by their own names."""
        dead = self.subject.dead.name
        options = [word for name in self.settings.only for word in ("--only", name)]
        options += ["--budget", str(self.settings.budget)] if self.settings.budget != BUDGET else []
        options += ["--dead", "ids:FILE" if dead == "ids" else dead] if len(self.subject.dead) else []
        options += ["--seed", str(self.settings.seed)] if self.settings.seed else []
        return self.subject.checkpoint.command("hypotheses", *options)

    def to_dict(self) -> dict[str, Any]:
        """The content of hypotheses.json."""
        told = self.context
        return {
            "schema": SCHEMA,
            "subject": self.subject.to_dict(),
            "settings": self.settings.to_dict(),
            "claim": self.claim,
            "observed": dict(self.observed),
            "hypotheses": [] if told is None else [h.to_dict(told) for h in self.hypotheses.values()],
            "judgement": None if self.judgement is None else self.judgement.to_dict(),
        }


def study(
    subject: Subject,
    *,
    only: Sequence[str] = (),
    budget: int = BUDGET,
    workers: int = 1,
    scheduler: str | None = None,
    folder: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> HypothesesStudy:
    """Simulates hypotheses and judges them by what they say of a subject.

    The same subject, hypotheses, budget and seed give the same result, whoever simulates and however often it was cut
    off.

    Args:
        subject: from :func:`~forensics.hypotheses.subject.open_subject`.
        only: names, or .py files that define one; all that are not slow if empty.
        budget: simulations of each; of a slow one a quarter, but 125 at least if the budget has them.
        workers: processes of this machine.
        scheduler: address of a Dask scheduler, whose workers simulate instead.
        folder: keeps the simulations; those that lie there are not made again. In memory if None.
        seed: of every simulation, from 0.
        progress: called with the stage under way.

    Raises:
        HypothesisError: no such hypothesis, two of one name, or none that can be simulated here.
        SchedulerError: a scheduler that does not answer, or has no fitting workers.
        ConfigError, RecordingError, OutputError: of the folder, see :class:`~forensics.hypotheses.sweeps.store.Store`.
    """
    references, left_out = choose(only)
    names = tuple(Path(name).name if name.endswith(".py") else name for name in only)
    if subject.cloud is None or subject.no_verdict is not None:
        return HypothesesStudy(subject, Settings(budget, seed, names, {}, left_out))
    tell = progress or (lambda stage: None)
    context, obstacles = _context(subject, references, tell)
    references = [r for r in references if r.name not in obstacles]
    if not references:
        why = "; ".join(f"{name}: {reason}" for name, reason in obstacles.items())
        raise HypothesisError(f"nothing can be simulated for {subject.checkpoint.source} ({why})")
    draws = {r.name: _draws(r.hypothesis, budget) for r in references}
    digests = {r.name: r.digest for r in references}
    with Store(folder, store_settings(subject, seed), digests) as store:
        tasks = make_tasks({r: store.missing(r.name, draws[r.name]) for r in references}, seed)
        done, total = 0, sum(len(task.indices) for task in tasks)
        for simulations in sweep(tasks, context, workers=workers, scheduler=scheduler):
            store.add(simulations)
            done += len(simulations)
            tell(f"simulations: {done:,} of {total:,}")
        found = {r.name: store.simulations(r.name, draws[r.name]) for r in references}
    tell("judgement")
    observed, simulated = subject.observables(), {r.name: r.hypothesis for r in references}
    evidence = [OBSERVABLES[name] for name in CLOUD if name not in subject.by_construction]
    judgement = judge(simulated, context, observed, found, seed=seed, observables=evidence)
    settings = Settings(budget, seed, names, draws, {**left_out, **obstacles})
    return HypothesesStudy(subject, settings, context, simulated, found, observed, judgement)


def choose(only: Sequence[str] = ()) -> tuple[list[Reference], dict[str, str]]:
    """What to simulate, sorted by name, and what is left out with the reason.

    Raises:
        HypothesisError: no such hypothesis, or two of one name.
    """
    if not only:
        known = hypotheses()
        return [Reference(n) for n, h in known.items() if not h.slow], {n: SLOW for n, h in known.items() if h.slow}
    chosen: dict[str, Reference] = {}
    for given in only:
        reference = Reference.of(given)
        if chosen.setdefault(reference.name, reference) != reference:
            raise HypothesisError(f"two hypotheses are called {reference.name!r}", hint="give the file's another name")
    return [chosen[name] for name in sorted(chosen)], {}


def check_request(only: Sequence[str], scheduler: str | None) -> None:
    """Says a wrong name or address before a model is fetched.

    Raises:
        HypothesisError: no such hypothesis, or two of one name.
        SchedulerError: a scheduler that does not answer, or has no fitting workers.
    """
    choose(only)
    if scheduler is not None:
        check_scheduler(scheduler)


def store_settings(subject: Subject, seed: int) -> dict[str, Any]:
    """What every simulation depends on, but for users' own files."""
    from forensics import __version__

    definitions = [(o.name, o.definition) for o in OBSERVABLES.values()]
    return {
        "source": subject.checkpoint.source.to_dict(),
        "tensor_sha256": subject.embedding.sha256,
        "dead_tokens": len(subject.dead),
        "dead_sha256": hashlib.sha256(subject.dead.token_ids.astype("<i8").tobytes()).hexdigest(),
        "live_sha256": hashlib.sha256(subject.live.token_ids.astype("<i8").tobytes()).hexdigest(),
        "initializer_range": initializer_range(subject.checkpoint.config),
        "only_in_holes": subject.only_in_holes,
        "seed": seed,
        "version": __version__,
        "code_sha256": code_digest(),
        "observables_sha256": hashlib.sha256(json.dumps(definitions).encode()).hexdigest(),
    }


def _context(subject: Subject, references: Sequence[Reference], tell: Progress) -> tuple[Context, dict[str, str]]:
    """What simulators are told, with as much of the live rows' law as one needs, and who cannot be simulated."""
    needs = {r.hypothesis.needs_live for r in references}
    law: Law | None = "covariance" if "covariance" in needs else "mean" if "mean" in needs else None
    if law == "covariance":
        tell("the live rows' law")
    context = subject.context(law=law)
    found = ((r.name, r.hypothesis.obstacle(context.told(r.hypothesis.needs_live))) for r in references)
    return context, {name: why for name, why in found if why}


def _draws(hypothesis: Hypothesis, budget: int) -> int:
    return min(budget, max(SLOW_LEAST, budget // 4)) if hypothesis.slow else budget
