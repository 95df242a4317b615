"""One sentence a question: what was found, with its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from forensics.dynamics.account import UpdateAccount
from forensics.dynamics.alignment import Alignment
from forensics.dynamics.bootstrap import Bootstrap
from forensics.dynamics.context import ClusterCourse, ProbeCourse
from forensics.dynamics.direction import TOP, Direction
from forensics.dynamics.diversification import SpreadCourse
from forensics.dynamics.drift import Drift
from forensics.dynamics.formation import Formation
from forensics.dynamics.freezing import Freezing
from forensics.dynamics.hidden import MeanCourse
from forensics.dynamics.lattice_motion import REGIMES, LatticeMotion
from forensics.dynamics.lifecycle import Lifecycle
from forensics.dynamics.modes import PARTS
from forensics.dynamics.motion import Motion
from forensics.dynamics.rates import Rates
from forensics.dynamics.replay import Replay
from forensics.dynamics.result import Answer
from forensics.dynamics.sharpening import Sharpening
from forensics.text import number


def claim_of(answer: Answer) -> str:
    """The finding of an answered question."""
    return CLAIMS[answer.key](answer.result)


def _h_mean(found: MeanCourse) -> str:
    where = "does not settle on a direction" if found.tolerance is not None else "has too few steps to settle in"
    if found.convergence_step is not None:
        where = f"settles on its final direction (within {number(found.tolerance, 3)} degrees) from step "
        where += f"{found.convergence_step:,} on"
    steady = f"; two recorded steps in turn agree to a cosine of {_mean(found.lag_one)}" if len(found.lag_one) else ""
    return f"h_mean {where}{steady}; its norm goes from {_first(found.norm)} to {_last(found.norm)}."


def _spread(found: SpreadCourse) -> str:
    loss = ""
    if found.loss_end is not None and found.unigram_entropy is not None:
        loss = f"; loss ends at {number(found.loss_end, 4)} nats, unigram entropy {number(found.unigram_entropy, 4)}"
    angle = found.series["angle"]
    verdict = found.verdict or "no verdict, for want of loss, its reference, or 14 steps"
    return (
        f"Diversification: {verdict}. The mean angle between h and h_mean goes from {_first(angle)} to {_last(angle)} "
        f"degrees, with a least of {number(float(np.min(angle)), 3)}{loss}."
    )


def _direction(found: Direction) -> str:
    last = found.pointings[-1]
    ids = ", ".join(map(str, last.top[:5]))
    said = f"At step {last.step:,} h_mean points at tokens {ids} first; {last.dead_in_top} of its top {TOP} are dead"
    if last.rank_correlation is None:
        return f"{said}. Against the unigram distribution: {found.shares}."
    rho = number(last.rank_correlation, 3)
    return f"{said}; its logits go with the log share with a rank correlation of {rho} ({found.shares})."


def _clusters(found: ClusterCourse) -> str:
    said = []
    for name, series in found.excess.items():
        course = found.courses[name]
        end = "too few steps to tell where it ends" if course is None else f"{number(course.end, 3)} at the end"
        said.append(f"by {name} token {_first(series)} at the first step, {end}")
    by = "; ".join(said)
    return f"Share of the variance of h between tokens, beyond chance: {by}."


def _probe(found: ProbeCourse) -> str:
    gain = number(float(found.gain[-1]), 3)
    error = "" if found.gain_error is None else f" \u00b1 {number(found.gain_error, 2)}"
    since = "" if found.ahead_since is None else f", ahead from step {found.ahead_since:,} on"
    return (
        f"Whether a single h points at its own next token rather than at frequent ones: {found.verdict} "
        f"(log-probability less log share {gain}{error} nats at the last step{since})."
    )


def _bootstrap(found: Bootstrap) -> str:
    collapse = "" if found.collapse_step is None else f"; h lies nearest to h_mean at step {found.collapse_step:,}"
    tested, grows = found.frequency, ""
    if tested is not None and tested.rank_correlation is not None:
        rho = number(tested.rank_correlation, 3)
        grows = f"; |W[{tested.step}] - W[0]| goes with the share with a rank correlation of {rho}"
    turn = "" if found.transition_step is None else f"; h_mean begins to wiggle at step {found.transition_step:,}"
    return f"Bootstrap amplification: {found.verdict or 'too few steps to tell'}{collapse}{grows}{turn}."


def _drift(found: Drift) -> str:
    dead = found.dead
    lift = "the origin stays within their bounding sphere"
    if dead.liftoff is not None:
        lift = f"the origin leaves their bounding sphere at step {dead.liftoff:,}"
    if not np.isfinite(dead.path):
        return "A dead row is not finite at some recorded step: the centroid's path has no length."
    how = "at rest" if dead.straightness is None else f"straightness {number(dead.straightness, 3)}"
    return (
        f"The dead centroid moves {number(dead.net, 3)} over a path of {number(dead.path, 3)} ({how}); {lift}; the "
        f"mean distance from the centroid goes from {_first(dead.radius_mean)} to {_last(dead.radius_mean)}."
    )


def _alignment(found: Alignment) -> str:
    steps = "The dead centroid does not move"
    if np.isfinite(found.after_diagonality).any():
        steps = f"The dead centroid steps along -h_mean with a cosine of {_cosine(found.after['h_mean'])}"
    if "h_mean" not in found.before:
        return f"{steps}; {found.missing}."
    kind = f" ({found.optimizer})" if found.optimizer else ""
    pushed = f"The mean dead gradient lies along h_mean with a cosine of {_cosine(found.before['h_mean'])}"
    return f"{pushed}; after the optimizer{kind}, {_lower(steps)}."


def _motion(found: Motion) -> str:
    whole = found.windows[-1]
    order = np.argsort(-whole.modes.shares, kind="stable")[:3]
    chance = whole.modes.chance
    parts = ", ".join(f"{PARTS[i]} {_percent(whole.modes.shares[i])} (noise: {_percent(chance[i])})" for i in order)
    thermal = "" if found.shear_ratio is None else f"; thermal over bulk motion is {number(found.shear_ratio, 3)}"
    if np.isnan(whole.modes.energy).any():
        return f"A dead row is not finite at step {whole.first:,} or {whole.last:,}: its displacement has no parts."
    if not np.isfinite(whole.modes.shares).all():
        return f"No dead row moved between step {whole.first:,} and {whole.last:,}."
    return f"Of the dead rows' displacement over the whole run, by squares: {parts}{thermal}."


def _lattice(found: LatticeMotion) -> str:
    if found.dead is None:
        return "No dead token is recorded, or only one step."
    ends = []
    for regime in REGIMES[:-1]:
        seen = np.flatnonzero(found.dead.share(regime))
        ends.append(f"{regime} {found.steps[seen[-1] + 1]:,}" if len(seen) else f"{regime} never")
    still = float(found.dead.share("frozen")[-1])
    seen_last = f"Last steps with a dead token in each regime: {', '.join(ends)}"
    return f"{seen_last}; {_percent(still)} did not move in the last interval."


def _lifecycle(found: Lifecycle) -> str:
    said = []
    for each in found.schemes:
        # The last phase is called by what was seen: whether it is for good, only stillness against pauses may tell.
        names, last = [*list(each.scheme.phases)[:-1], "still at the end"], each.populations[-1]
        in_them = ", ".join(f"{n:,} {name}" for name, n in zip(names, last.tolist(), strict=True) if n)
        left = [(name, each.left(i)) for i, name in enumerate(names[:-1])]
        ends = ", ".join(f"{name} by step {step:,}" for name, step in left if step is not None and step > each.steps[0])
        said.append(f"{each.scheme.name}: {in_them}" + (f"; half have left {ends}" if ends else ""))
    return f"At the end, by {'; by '.join(said)}. Who moves in the last interval is in the phase of that move."


def _freezing(found: Freezing) -> str:
    fates = found.stillness["exact"].fates
    permanent = "a dead token moves in the last interval, so nothing is known to have stopped for good"
    if found.permanent is not None:
        permanent = f"in this recording no dead token moves from step {found.permanent:,} on"
    if not found.stillness["exact"].longest_steps:
        still = f"{fates['undecided']:,} are still: no pause has ended yet, so nothing can be told from stillness"
        return f"At the end {fates['moving']:,} dead tokens move, {still}; {permanent}."
    return (
        f"At the end {fates['moving']:,} dead tokens move, {fates['settled']:,} have been still for longer than any "
        f"pause that ended, {fates['undecided']:,} for no longer than that (undecided); {permanent}."
    )


def _updates(found: UpdateAccount) -> str:
    said = []
    for which, account in found.kinds.items():
        classes = (("moved", "moved"), ("no_gradient", "had no gradient"), ("no_update", "had no update"),
                   ("lost", _LOST[found.rule]), ("unexplained", "stayed unexplained"))  # fmt: skip
        shares = [(label, account.share(name)) for name, label in classes]
        said.append(f"{which}: " + ", ".join(f"{_percent(s)} {label}" for label, s in shares if s))
    rule = "" if found.rule == "half a gap" else f" (what decides here is {found.rule})"
    return f"Of the elements' updates{rule}, {'; '.join(said)}."


_LOST = {
    "half a gap": "were lost to rounding",
    "chance": "were rounded back by chance",
    "second word": "are kept in the second word for later",
}


def _replay(found: Replay) -> str:
    shares = ", ".join(f"{name} {_percent(share, 4)}" for name, share in found.share.items())
    whole = " The whole run follows from step 0, gradients and learning rates alone." if found.is_whole else ""
    first = "" if found.first_difference is None else f" The first difference is at update {found.first_difference:,}."
    caveat = f" {found.caveat}." if found.caveat else ""
    return f"Words that come out as recorded over {len(found.steps):,} updates: {shares}.{whole}{first}{caveat}"


def _sharpening(found: Sharpening) -> str:
    line = found.over_time
    if line is None:
        return "The dead gradient cannot be fitted to the dead probability: too few steps, or one is constant."
    ratio = found.explained
    made = "" if ratio is None else f"; log p_dead falls {number(ratio, 3)} times as far as the log gradient"
    power = "in no power that is told from its error"
    if line.slope_error < abs(line.slope):
        power = f"to the power {number(line.slope, 3)} \u00b1 {number(line.slope_error, 2)}"
    return f"The dead gradient norm goes with p_dead {power} over time (r2 {number(line.r2, 3)}){made}."


def _rates(found: Rates) -> str:
    if found.verdict is None:
        return "Fewer than two rates: nothing to hold against each other."
    times = [(name, fit.time) for name, fit in found.decay.items() if fit is not None and fit.is_fall]
    listed = ", ".join(f"{name} {number(time, 3)}" for name, time in times)
    caveat = " That is no evidence of a common cause." if not found.verdict.startswith("do not") else ""
    return f"Of loss, gradient, drift and radius: {found.verdict}.{caveat}" + (
        f" Relaxation times in steps: {listed}." if listed else ""
    )


def _formation(found: Formation) -> str:
    counts = {name: values.tolist() for name, values in found.counts.items()}
    totals = {name: int(values.sum()) for name, values in found.changes.items()}
    changed = "" if found.last_change is None else f"; the last change is at step {found.last_change:,}"
    return (
        f"{counts['holes'][-1]:,} black holes at the end, of {counts['tokens_dead'][-1]:,} dead and "
        f"{counts['tokens_live'][-1]:,} live tokens (at the first step {counts['holes'][0]:,}, at most "
        f"{max(counts['holes']):,}); {totals['births']:,} births, {totals['merges']:,} merges, {totals['splits']:,} "
        f"splits; {totals['leaves_live']:,} times a live token left one{changed}."
    )


def _first(values: Any) -> str:
    return number(float(values[0]), 3)


def _last(values: Any) -> str:
    return number(float(values[-1]), 3)


def _mean(values: Any) -> str:
    return number(float(np.mean(values)), 4)


def _cosine(values: Any) -> str:
    held = values[np.isfinite(values)]
    if not len(held):
        return "no value: one of the two is always zero"
    of = f"median over the {len(held):,} of {len(values):,} updates that have one"
    return f"{number(float(np.median(held)), 3)} ({of})"


def _percent(share: float, digits: int = 3) -> str:
    return f"{number(100 * float(share), digits)} %"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


CLAIMS: Mapping[str, Callable[[Any], str]] = {
    "h_mean": _h_mean,
    "direction": _direction,
    "spread": _spread,
    "clusters": _clusters,
    "probe": _probe,
    "bootstrap": _bootstrap,
    "drift": _drift,
    "alignment": _alignment,
    "motion": _motion,
    "lattice": _lattice,
    "lifecycle": _lifecycle,
    "freezing": _freezing,
    "updates": _updates,
    "replay": _replay,
    "sharpening": _sharpening,
    "rates": _rates,
    "formation": _formation,
}
"""By the key of the question."""
