"""Whether dead tokens lie against the mean hidden state: in a real model over a text, in toys at a step, and in both.

The mechanism under test: a dead row's gradient is a mean of p h, so descent carries the dead rows along -h_mean, and
their centroid comes to lie there (Land and Bartolo 2024, section 2; see README, `forensics dynamics`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.comparison.hidden import HIDDEN, Hidden, Lie, Vector, finite, lie_of, spread_of, spread_values
from forensics.comparison.hidden_states import Sample
from forensics.comparison.runs import Group, Toy
from forensics.comparison.verdict import SEEDS
from forensics.hypotheses.subject import Subject
from forensics.measures import Population
from forensics.recording import Recording

CHANCE = 3.0
"""Standard deviations of the cosine of random directions beyond which a direction is said to be no chance."""

DRAWS = 1_000
"""Bootstrap samples: the ends of a 95 % interval then stand to about a tenth of its width."""

FEWEST_WINDOWS = 4
"""Windows below which nothing is drawn again: their means say too little of how they spread."""

RULE = f"""The dead centroid lies along -h_mean where its cosine with h_mean is below -{CHANCE:g} / sqrt(D), along \
+h_mean where above {CHANCE:g} / sqrt(D); 1 / sqrt(D) is the standard deviation between random directions of a round \
cloud, and hidden states are not round, so that this chance level is a lower bound. Of a text the cosine's 95 % \
bootstrap interval over its windows must exclude zero, too. The same is asked of the difference of the dead and the \
live centroid, from which a shift that all tokens share has gone. Only groups of {SEEDS} seeds or more count for the \
answer."""

Lies = Literal["along -h_mean", "along +h_mean", "neither"]


@dataclass(frozen=True, slots=True, eq=False)
class Mechanism:
    """The answer for a real model and the toys beside it.

    Attributes:
        real: of the real model; None where no text was given and it is no recording.
        toys: of each group, each run; None where h_mean was not recorded.
    """

    real: Hidden | None
    toys: tuple[tuple[Hidden | None, ...], ...]

    def claim(self, groups: tuple[Group, ...], key: Literal["dead", "difference"] = "dead") -> str | None:
        """One sentence: does the dead centroid lie along -h_mean in the real model as in the toys?

        Args:
            groups: whose toys these are.
            key: of the dead centroid itself, or less the live one.
        """
        if self.real is None:
            return None
        what = "the dead centroid" if key == "dead" else "the dead less the live centroid"
        own = lies(self.real, key)
        parts = [f"real {where_text(self.real, key)}: {own or 'undefined'}{_held_down(self.real)}"]
        counts, most = [], 0
        for group, hidden in zip(groups, self.toys, strict=True):
            found = [lies(h, key) for h in hidden if h is not None]
            against = found.count("along -h_mean")
            if len(found) >= SEEDS:
                counts.append((against, len(found)))
            most = max(most, len(found))
            if found:
                parts.append(f"toy {group.label} at step {group.step:,}: along -h_mean in {against} of {len(found)}")
        if own is None or not most:
            answer = "no comparison"
        elif not counts:
            answer = f"no answer: three seeds at least, here {most}"
        else:
            answer = _answer(own == "along -h_mean", counts)
        return f"{what}: {'; '.join(parts)}: {answer}"

    def to_dict(self, groups: tuple[Group, ...]) -> dict[str, Any]:
        """Plain values."""
        return {
            "rule": RULE,
            "claims": {key: self.claim(groups, key) for key in ("dead", "difference")},
            "real": None if self.real is None else _with_verdicts(self.real),
            "toys": [[None if h is None else _with_verdicts(h) for h in hidden] for hidden in self.toys],
        }


def _answer(real: bool, counts: list[tuple[int, int]]) -> str:
    """From (runs along -h_mean, runs) of each group that has seeds enough."""
    if not any(against for against, _ in counts):
        return "neither does" if not real else "the real model alone does"
    if not real:
        return "does not generalise"
    return "generalises" if all(against == n for against, n in counts) else "as in some toys"


def lies(hidden: Hidden, key: str) -> Lies | None:
    """Where a centroid lies to h_mean by ``RULE``; None where it is undefined or the text too short."""
    z = hidden.lie.z(key)
    if z is None or (hidden.facts.get("windows") and key not in hidden.intervals):
        return None
    low, high = hidden.intervals.get(key, (z, z))
    if z < -CHANCE and high < 0:
        return "along -h_mean"
    return "along +h_mean" if z > CHANCE and low > 0 else "neither"


def where_text(hidden: Hidden, key: str) -> str:
    """Angle and distance from chance, in words."""
    angle, z = hidden.values.get(f"h_{key}_angle"), hidden.lie.z(key)
    return "-" if angle is None or z is None else f"{angle:.1f} degrees (z {z:+.1f})"


def _held_down(hidden: Hidden) -> str:
    rank = hidden.values.get("dead_logit_rank")
    return "" if rank is None else f", {100 * rank:.2g} % of live tokens score lower on average"


def real_hidden(sample: Sample, dead: Population, live: Population, where: str, *, seed: int = 0) -> Hidden:
    """Figures of a text's hidden states, with a bootstrap over its windows.

    Args:
        sample: of the model.
        dead: of the output matrix.
        live: what they are held against.
        where: of what, in words.
        seed: of the bootstrap.
    """
    mean, spread, norm = spread_of(sample.hidden)
    lie = lie_of(sample.matrix, mean, dead.token_ids, live.token_ids)
    windows = int(sample.window[-1]) + 1
    facts = {"positions": len(sample.hidden), "windows": windows, "loss": sample.loss, "text_cut": sample.cut}
    values = {**spread, **lie.values, **finite({"dead_probability": sample.dead_probability})}
    intervals = _bootstrap(sample, mean, lie, seed) if windows >= FEWEST_WINDOWS else {}
    return Hidden(where, lie, _ordered(values), float(np.linalg.norm(mean)), norm, intervals, facts)


def _bootstrap(sample: Sample, mean: Vector, lie: Lie, seed: int) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of the cosines, windows drawn with replacement (Efron and Tibshirani 1993, ch. 13).

    |h_mean| is held at the text's own: the mean of windows drawn again is longer by their noise, so that its own cosine
    would be too small in every draw.
    """
    sizes = np.bincount(sample.window)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sums = np.add.reduceat(sample.hidden, starts, axis=0, dtype=np.float64)
    counts = np.random.default_rng(seed).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=DRAWS)
    found = {}
    for key, vector in (("dead", lie.dead), ("live", lie.live), ("difference", lie.dead - lie.live)):
        if lie.cosines[key] is not None:
            along = sums @ vector / (np.linalg.norm(vector) * np.linalg.norm(mean))
            low, high = np.quantile(counts @ along / (counts @ sizes), (0.025, 0.975)).tolist()
            found[key] = (low, high)
    return found


def toy_hidden(toy: Toy, subject: Subject) -> Hidden | None:
    """Figures of a recording's hidden states at a step; None where h_mean was recorded near none.

    The h_mean of a recorded step t is of the forward before update t, hence of the matrix after update t - 1: taken is
    that of step + 1, or, at the end of a run, of the step itself.

    Args:
        toy: a recording at a step.
        subject: its dead and live tokens.
    """
    recording = toy.recording
    at = _nearest(recording, "h_mean", toy.step)
    if at is None:
        return None
    mean = recording.frame("h_mean", at).astype(np.float64)
    lie = lie_of(toy.checkpoint.matrix("output"), mean, subject.dead.token_ids, subject.live.token_ids)
    length = float(np.linalg.norm(mean))
    known = {name: _number(recording, name, at) for name in _SPREAD}
    total, along = known["spread_total"], known["spread_along"]
    values = {**lie.values, "h_angle": known["spread_angle"], "h_resultant": known["spread_resultant"]}
    if total is not None and along is not None:
        values |= spread_values(length, total, along, len(mean))
    if (p := _frame(recording, "p_dead", at)) is not None:
        values["dead_probability"] = float(p.astype(np.float64).mean()) * recording.vocab_size
    where = f"run:{recording.name}, forward before update {at:,}"
    return Hidden(where, lie, _ordered(finite(values)), length, known["spread_norm"])


_SPREAD = ("spread_total", "spread_along", "spread_angle", "spread_resultant", "spread_norm")


def _nearest(recording: Recording, name: str, step: int) -> int | None:
    if name not in {channel.name for channel in recording.channels}:
        return None
    steps = set(recording.steps(name).tolist())
    return next((at for at in (step + 1, step) if at in steps), None)


def _frame(recording: Recording, name: str, at: int) -> NDArray[Any] | None:
    held = name in {channel.name for channel in recording.channels} and at in recording.steps(name)
    return recording.frame(name, at) if held else None


def _number(recording: Recording, name: str, at: int) -> float | None:
    found = _frame(recording, name, at)
    return None if found is None else finite({name: float(found)})[name]


def _ordered(values: dict[str, float | None]) -> dict[str, float | None]:
    return {o.name: values.get(o.name) for o in HIDDEN}


def _with_verdicts(hidden: Hidden) -> dict[str, Any]:
    return {**hidden.to_dict(), "lies": {key: lies(hidden, key) for key in ("dead", "difference")}}
