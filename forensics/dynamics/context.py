"""Do single hidden states know their context? The fixed probe against the corpus's shares, and clustering by token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.plain import listed, number, require_record
from forensics.dynamics.series import Course, course_of
from forensics.errors import RecordingError
from forensics.measures import Measure
from forensics.recording import Recording

ERRORS = 2.0
"""Standard errors, over the probe's sequences, above which its gain over the shares is called one."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ProbeCourse:
    """The probe's answers after each recorded update, against the corpus's shares for the same targets.

    Attributes:
        steps: ``int64[n]``.
        gain: ``float64[n]``, mean log-probability of the true token less the log of its share, nats.
        better: ``float64[n]``, share of positions whose true token is likelier than its share.
        median_rank: ``float64[n]``, median rank of the true token.
        first: ``float64[n]``, share of positions where it ranks first.
        unigram_median_rank, unigram_first: the same of the order by frequency.
        positions, sequences: asked.
        gain_error: standard error of the last gain over the sequences.
        ahead_since: the first step from which the gain stays positive; None if it does not at the end.
        verdict: "yes", "no" or "cannot tell": whether at the last step h points at the true token better than the
            shares do, by the gain against `ERRORS` standard errors.
    """

    steps: NDArray[np.int64]
    gain: Array
    better: Array
    median_rank: Array
    first: Array
    unigram_median_rank: float
    unigram_first: float
    positions: int
    sequences: int
    gain_error: float | None
    ahead_since: int | None
    verdict: str

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        of = f"over {self.positions:,} positions of {self.sequences} fixed training sequences, last step"
        rule = f"the gain lies more than {ERRORS:g} standard errors over the sequences above 0 (below: no)"
        return (
            Measure(
                "probe gain",
                number(self.gain[-1]),
                "nats",
                "probe",
                f"mean log p of the true token less log share, {of}",
            ),
            Measure("probe gain, error", self.gain_error, "nats", "probe", "standard error over the sequences"),
            Measure(
                "probe better", number(self.better[-1]), "share", "probe", f"true token likelier than its share, {of}"
            ),
            Measure("probe rank, median", number(self.median_rank[-1]), "rank", "probe", f"of the true token, {of}"),
            Measure(
                "unigram rank, median", self.unigram_median_rank, "rank", "probe", "of the same targets by frequency"
            ),
            Measure("probe ranks first", number(self.first[-1]), "share", "probe", of),
            Measure("unigram ranks first", self.unigram_first, "share", "probe", "of the same targets by frequency"),
            Measure(
                "probe ahead since", self.ahead_since, "step", "probe", "first step from which the gain stays above 0"
            ),
            Measure("h points at the right token", self.verdict, "", "probe", rule),
        )

    def to_dict(self) -> dict[str, Any]:
        """All as plain values."""
        series = ("gain", "better", "median_rank", "first")
        scalars = (
            "unigram_median_rank",
            "unigram_first",
            "positions",
            "sequences",
            "gain_error",
            "ahead_since",
            "verdict",
        )
        return {
            "steps": self.steps.tolist(),
            **{name: listed(getattr(self, name)) for name in series},
            **{name: getattr(self, name) for name in scalars},
        }


@np.errstate(invalid="ignore")  # of a run that overflowed: a gain that is nan is none
def analyse_probe(recording: Recording) -> ProbeCourse:
    """Follows the probe.

    Raises:
        RecordingError: probe was not recorded, or step 0 of it is missing.
    """
    names = ("probe_rank", "probe_logp", "probe_unigram_rank", "probe_unigram_logp", "probe_tokens")
    require_record(recording, "probe", *names)
    if not len(recording.steps("probe_logp")) or not len(recording.steps("probe_unigram_logp")):
        raise RecordingError(f"{recording.name}: the probe's baseline, recorded at step 0, is missing")
    baseline = recording.series("probe_unigram_logp")[0].astype(float)
    rank = recording.series("probe_unigram_rank")[0]
    sequences = recording.channel("probe_tokens").shape[0]
    gains, last = [], baseline
    for _, frames in recording.blocks("probe_logp"):
        difference = frames.astype(float) - baseline
        gains += [(row.mean(), (row > 0).mean()) for row in difference]
        last = difference[-1]
    ranks = [(np.median(row), (row == 1).mean()) for _, frames in recording.blocks("probe_rank") for row in frames]
    gain, better = np.array(gains).T
    median_rank, first = np.array(ranks).T
    each = last.reshape(sequences, -1).mean(axis=1)
    error = number(each.std(ddof=1) / np.sqrt(sequences)) if sequences > 1 else None
    steps = recording.steps("probe_logp")
    behind = np.flatnonzero(~(gain > 0))
    since = 0 if not len(behind) else int(behind[-1]) + 1
    return ProbeCourse(
        steps, gain, better, median_rank, first,
        float(np.median(rank)), float((rank == 1).mean()), len(baseline), sequences,
        error, int(steps[since]) if since < len(steps) else None, _verdict(float(gain[-1]), error),
    )  # fmt: skip


def _verdict(gain: float, error: float | None) -> str:
    if error is None or not abs(gain) > ERRORS * error:
        return "cannot tell"
    return "yes" if gain > 0 else "no"


@dataclass(frozen=True, slots=True, eq=False)
class ClusterCourse:
    """How much of the variance of h lies between tokens, beyond what random labels would have.

    Attributes:
        steps: ``int64[n]``.
        excess: by grouping ("target": the true token, "predicted": the likeliest), ``float64[n]``, share between groups
            less the share under random labels.
        courses: of each, see `series.Course`.
    """

    steps: NDArray[np.int64]
    excess: Mapping[str, Array]
    courses: Mapping[str, Course | None]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of a summary."""
        found = []
        for by, series in self.excess.items():
            definition = f"share of the variance of h between groups by {by} token, less that of random labels"
            course = self.courses[by]
            found += [
                Measure(f"clustering by {by}, first", number(series[0]), "share", "h", definition),
                Measure(f"clustering by {by}, last", number(course.end) if course else None, "share", "h", definition),
                Measure(f"clustering by {by}, course", course.shape if course else None, "", "h", definition),
            ]
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """All as plain values."""
        return {
            "steps": self.steps.tolist(),
            "excess": {by: listed(series) for by, series in self.excess.items()},
            "courses": {by: course.to_dict() if course else None for by, course in self.courses.items()},
        }


def analyse_clusters(recording: Recording) -> ClusterCourse:
    """Follows the clustering of h by token.

    Raises:
        RecordingError: clusters were not recorded.
    """
    labels = ("target", "predicted")
    require_record(recording, "clusters", *(f"clusters_{by}_{what}" for by in labels for what in ("between", "chance")))
    steps = recording.steps("clusters_target_between")
    if not len(steps):
        raise RecordingError(f"{recording.name}: clusters were recorded at no step")
    excess = {
        by: recording.series(f"clusters_{by}_between") - recording.series(f"clusters_{by}_chance") for by in labels
    }
    return ClusterCourse(steps, excess, {by: course_of(steps, series) for by, series in excess.items()})
