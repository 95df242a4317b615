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
    where = "does not settle on a direction"
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
    verdict = found.verdict or "no verdict, for want of loss, its reference, or four steps"
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
    by = "; ".join(
        f"by {name} token {_first(series)} at the first step, {_last(series)} at the last"
        for name, series in found.excess.items()
    )
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
    collapse = "h does not collapse onto h_mean"
    if found.collapse_step is not None:
        collapse = f"h lies nearest to h_mean at step {found.collapse_step:,}"
    turn = "" if found.transition_step is None else f"; h_mean begins to wiggle at step {found.transition_step:,}"
    return f"Bootstrap amplification: {found.verdict or 'no verdict'}; {collapse}{turn}."


def _drift(found: Drift) -> str:
    dead = found.dead
    lift = "the origin stays within their bounding sphere"
    if dead.liftoff is not None:
        lift = f"the origin leaves their bounding sphere at step {dead.liftoff:,}"
    how = "at rest" if dead.straightness is None else f"straightness {number(dead.straightness, 3)}"
    return (
        f"The dead centroid moves {number(dead.net, 3)} over a path of {number(dead.path, 3)} ({how}); {lift}; the "
        f"mean distance from the centroid goes from {_first(dead.radius_mean)} to {_last(dead.radius_mean)}."
    )


def _alignment(found: Alignment) -> str:
    after = _median(found.after["h_mean"])
    steps = f"The dead centroid steps along -h_mean with a cosine of {after} (median over updates)"
    if "h_mean" not in found.before:
        return f"{steps}; {found.missing}."
    before = _median(found.before["h_mean"])
    kind = f" ({found.optimizer})" if found.optimizer else ""
    pushed = f"The mean dead gradient lies along h_mean with a cosine of {before}"
    return f"{pushed}; after the optimizer{kind}, {_lower(steps)}."


def _motion(found: Motion) -> str:
    whole = found.windows[-1]
    order = np.argsort(-whole.modes.shares, kind="stable")[:3]
    parts = ", ".join(f"{PARTS[i]} {_percent(whole.modes.shares[i])}" for i in order)
    thermal = "" if found.shear_ratio is None else f"; thermal over bulk motion is {number(found.shear_ratio, 3)}"
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
        names, last = list(each.scheme.phases), each.populations[-1]
        in_them = ", ".join(f"{n:,} {name}" for name, n in zip(names, last.tolist(), strict=True) if n)
        left = [(name, each.survival(i).when(0.5)) for i, name in enumerate(names[:-1])]
        ends = ", ".join(f"{name} by step {step:,}" for name, step in left if step is not None)
        said.append(f"{each.scheme.name}: at the end {in_them}" + (f"; half have left {ends}" if ends else ""))
    return f"{'. '.join(said)}. A token that moves in the last interval is in the phase of that move, not frozen."


def _freezing(found: Freezing) -> str:
    fates = found.stillness["exact"].fates
    permanent = "a dead token moves in the last interval, so nothing is known to have stopped for good"
    if found.permanent is not None:
        permanent = f"from step {found.permanent:,} on no dead token moves, as far as the recording goes"
    return (
        f"At the end {fates['moving']:,} dead tokens move, {fates['settled']:,} have been still for longer than any "
        f"pause that ended, {fates['undecided']:,} for no longer than that (undecided); {permanent}."
    )


def _updates(found: UpdateAccount) -> str:
    said = []
    for which, account in found.kinds.items():
        classes = (("moved", "moved"), ("no_gradient", "had no gradient"), ("no_update", "had no update"),
                   ("lost", "were lost to rounding"), ("unexplained", "stayed unexplained"))  # fmt: skip
        shares = [(label, account.share(name)) for name, label in classes]
        said.append(f"{which}: " + ", ".join(f"{_percent(s)} {label}" for label, s in shares if s))
    rule = "" if found.rule == "half a gap" else f" (what decides here is {found.rule})"
    return f"Of the elements' updates{rule}, {'; '.join(said)}."


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
    return (
        f"The dead gradient norm goes as p_dead to the power {number(line.slope, 3)} over time (r2 "
        f"{number(line.r2, 3)}){made}."
    )


def _rates(found: Rates) -> str:
    if found.verdict is None:
        return "Fewer than two rates: nothing to hold against each other."
    times = [(name, fit.time) for name, fit in found.decay.items() if fit is not None and fit.is_bounded]
    listed = ", ".join(f"{name} {number(time, 3)}" for name, time in times)
    return f"Of loss, gradient, drift and radius: {found.verdict}." + (
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


def _median(values: Any) -> str:
    held = values[np.isfinite(values)]
    return number(float(np.median(held)), 3) if len(held) else "-"


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
