"""Which tokens h_mean points at, against what is known of their shares in the corpus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.plain import number
from forensics.dynamics.series import rank_correlation
from forensics.errors import ConfigError, RecordingError
from forensics.measures import Measure
from forensics.recording import Recording

if TYPE_CHECKING:
    from forensics.toy.synthetic_text import SyntheticText

TOP = 10
LOOKED_AT = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
"""Steps that are looked at, and the last: a matrix is read for each."""


@dataclass(frozen=True, slots=True, eq=False)
class Unigram:
    """What is known of the tokens' shares in the training stream.

    Attributes:
        token_ids: ``int64[n]``, ascending; live tokens.
        log_share: ``float64[n]``, nats.
        is_complete: every live token is among them.
        source: where the shares come from, and what is missing.
    """

    token_ids: NDArray[np.int64]
    log_share: NDArray[np.float64]
    is_complete: bool
    source: str


def known_unigram(recording: Recording, *, rebuild: bool = False) -> Unigram | None:
    """The shares that a recording knows; None if none.

    The census in a recording is a summary. The probe has the exact shares of its targets; clusters count the most
    frequent tokens in the batches.

    Args:
        recording: of a run.
        rebuild: draw a synthetic corpus again from the config (seconds for 35 million tokens) and take all shares from
            it, if its digest is the recorded one.
    """
    if rebuild and (found := _rebuilt(recording)):
        return found
    names = {channel.name for channel in recording.channels}
    if {"probe_targets", "probe_unigram_logp"} <= names and len(recording.steps("probe_targets")):
        ids, at = np.unique(recording.series("probe_targets")[0], return_index=True)
        share = recording.series("probe_unigram_logp")[0][at].astype(float)
        n_live = recording.vocab_size - len(recording.dead_ids)
        source = f"exact shares of the {len(ids)} of {n_live} live tokens that the probe asks for"
        return Unigram(ids.astype(np.int64), share, len(ids) == n_live, source)
    if "clusters_target_count" in names and len(recording.steps("clusters_target_count")):
        counts = np.sum([frames.sum(axis=0) for _, frames in recording.blocks("clusters_target_count")], axis=0)
        frequent = recording.channel("clusters_target_count").token_ids
        if frequent is None or not np.any(counts):
            return None
        seen = counts > 0
        source = f"counts of the {int(seen.sum())} most frequent tokens in the batches, shares among these"
        return Unigram(frequent[seen], np.log(counts[seen] / counts.sum()), False, source)
    return None


def _rebuilt(recording: Recording) -> Unigram | None:
    from forensics.toy.config import RunConfig
    from forensics.toy.synthetic_text import SyntheticText

    try:
        spec = RunConfig.from_dict(recording.config).corpus if "corpus" in recording.config else None
    except ConfigError:  # of another version: what is recorded has to do
        return None
    digest = (recording.extra.get("corpus") or {}).get("sha256")
    if digest is None or not isinstance(spec, SyntheticText):
        return None
    drawn, unigram = _drawn(spec)
    return unigram if drawn == digest else None


@lru_cache(maxsize=1)
def _drawn(spec: SyntheticText) -> tuple[str, Unigram]:
    """Digest and shares of a synthetic corpus; several questions ask for the same."""
    from forensics.toy.corpus import build_corpus

    corpus = build_corpus(spec)
    live, source = corpus.live_ids, "all shares, of the corpus drawn again from the config"
    return corpus.sha256, Unigram(live, np.log(corpus.unigram[live]), True, source)


@dataclass(frozen=True, slots=True)
class Pointing:
    """What h_mean points at in one forward.

    Attributes:
        step: of the forward: h_mean[step] against W[step - 1].
        top: the ids of the largest logits of h_mean, largest first.
        dead_in_top: how many of them are dead.
        rank_correlation: of the logits with the log shares, over tokens whose share is known; None without shares.
        frequent_in_top: how many of the `TOP` most frequent known tokens are among the top; None without shares.
        divergence: KL divergence in nats of softmax(W h_mean) from the shares; None unless all are known.
    """

    step: int
    top: tuple[int, ...]
    dead_in_top: int
    rank_correlation: float | None
    frequent_in_top: int | None
    divergence: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {name: getattr(self, name) for name in self.__slots__} | {"top": list(self.top)}


@dataclass(frozen=True, slots=True)
class Direction:
    """What h_mean points at over a run.

    Attributes:
        pointings: by step.
        shares: what is known of the corpus's shares, and what is missing.
    """

    pointings: tuple[Pointing, ...]
    shares: str

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The figures of the last step."""
        last = self.pointings[-1]
        same = next(
            (p.step for i, p in enumerate(self.pointings) if all(_alike(p, q) for q in self.pointings[i:])), None
        )
        return (
            Measure(
                "h_mean on log share", last.rank_correlation, "", "live", f"rank correlation of logits; {self.shares}"
            ),
            Measure("frequent among the top", last.frequent_in_top, "tokens", "live", f"of {TOP}; {self.shares}"),
            Measure("divergence from unigram", last.divergence, "nats", "live", "KL(shares | softmax(W h_mean))"),
            Measure(
                "top tokens since",
                same,
                "step",
                "all",
                f"first looked-at step whose top {TOP} shares half with every later one",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """All as plain values."""
        return {"shares": self.shares, "pointings": [each.to_dict() for each in self.pointings]}


def analyse_direction(recording: Recording, unigram: Unigram | None = None) -> Direction:
    """Looks which tokens h_mean points at.

    Args:
        recording: of a run.
        unigram: shares; `known_unigram` of the recording if None.

    Raises:
        RecordingError: W or h_mean was not recorded, or W of some tokens alone.
    """
    recording.require("W", "h_mean")
    unigram = unigram or known_unigram(recording)
    found = []
    for step in looked_at(recording):
        values = recording.embedding(step - 1).values(0, recording.vocab_size)
        found.append(_point(recording, step, values @ recording.frame("h_mean", step), unigram))
    if not found:
        raise RecordingError(f"{recording.name}: no step has h_mean and the W of the step before")
    return Direction(tuple(found), unigram.source if unigram else "no share is recorded: record probe or clusters")


def looked_at(recording: Recording) -> list[int]:
    """Steps of `LOOKED_AT`, and the last, whose h_mean and W of the step before are recorded."""
    steps = np.intersect1d(recording.steps("h_mean"), recording.steps("W") + 1)
    if not len(steps):
        return []
    return sorted({*LOOKED_AT} & {*steps.tolist()} | {int(steps[0]), int(steps[-1])})


def _point(recording: Recording, step: int, logits: NDArray[Any], unigram: Unigram | None) -> Pointing:
    top = np.argsort(-logits, kind="stable")[:TOP]
    dead = int(np.isin(top, recording.dead_ids).sum())
    rho = frequent = divergence = None
    if unigram:
        known = logits[unigram.token_ids].astype(float)
        rho = rank_correlation(known, unigram.log_share)
        most = unigram.token_ids[np.argsort(-unigram.log_share, kind="stable")[:TOP]]
        frequent = int(np.isin(most, top).sum())
        if unigram.is_complete:
            highest = float(logits.max())
            log_q = known - highest - np.log(np.exp(logits.astype(float) - highest).sum())
            divergence = number(np.exp(unigram.log_share) @ (unigram.log_share - log_q))
    return Pointing(step, tuple(top.tolist()), dead, rho, frequent, divergence)


def _alike(one: Pointing, other: Pointing) -> bool:
    return 2 * len({*one.top} & {*other.top}) >= len(one.top)
