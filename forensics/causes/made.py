"""The rows that a maker computed from the others: clouds about a mean of them, and rows along their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.causes.sums import CHANCE, LEAST_DIM, Ids, Mean, RowSums, Vector, chance_of_ordinary

RUNS = 64
"""Runs of consecutive ids whose first is tried as the first appended one, longest first: a bound on the cost."""

KEPT_MEANS = 8
"""Means before such a run that all rows near a mean are held against, of the longest runs: likewise."""

PRODUCT_ERROR = 1e-5
"""Relative error of a squared distance from float32 products: sqrt(dim) 2^-24 with room for 16,384 numbers."""

BALL = float(np.sqrt(np.pi * np.e / 2))
"""A ball of radius r in many dimensions holds no more than a box of half-width BALL r / sqrt(dim) (Stirling)."""


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Rows that were set to a mean of others, to rounding or with noise.

    Attributes:
        mean: the mean they lie at.
        token_ids: ascending.
        excess: ``float64[n]``, distance from the mean beyond its tolerance and the rows' own rounding; 0 is exact.
    """

    mean: Mean
    token_ids: Ids
    excess: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Rows that are one number times the mean of all others, to rounding.

    Attributes:
        mean: whose direction they have.
        token_ids: ascending.
        scale: ``float64[n]``, row over mean.
    """

    mean: Mean
    token_ids: Ids
    scale: Vector


def find_clouds(sums: RowSums, near: Ids, everything: Mean) -> list[Cloud]:
    """The rows set to a mean, to rounding or with a resize's noise, each with the mean that it fits best.

    Tried are the means that a maker could have taken: of the rows before the first of a run of ids (appended rows),
    of all rows (which rows at the mean leave where it was), and of all rows that turn out not to be at it.
    """
    if not near.size or not _can_tell(sums, everything):
        return []
    inside = mean_excess(sums, near, everything) <= everything.error
    found: list[tuple[int, Mean]] = []
    runs = sorted(np.split(near, np.flatnonzero(np.diff(near) > 1) + 1), key=lambda run: (-len(run), -int(run[0])))
    for run in runs[:RUNS]:
        fitting, mean = _fitting(sums, run, sums.before(int(run[0])))
        if fitting.size and fitting[0] != run[0]:
            fitting, mean = _fitting(sums, fitting, sums.before(int(fitting[0])))
        if mean is not None and fitting.size:
            inside |= np.isin(near, fitting)
            found.append((int(fitting[0]), mean))
    chosen = near[inside]
    if not chosen.size:
        return []
    means = [mean for _, mean in sorted(found[:KEPT_MEANS], key=lambda pair: pair[0])]
    others = sums.without(chosen, "all other rows")
    return _share_out(sums, chosen, [*means, *([others] if others else [])])


def _fitting(sums: RowSums, run: Ids, mean: Mean | None) -> tuple[Ids, Mean | None]:
    return (run[:0], None) if mean is None else (run[mean_excess(sums, run, mean) <= mean.error], mean)


def _share_out(sums: RowSums, token_ids: Ids, means: list[Mean]) -> list[Cloud]:
    """Gives each row to one mean: the one that has most rows in reach; of equals the one with most exact, the first."""
    means = [mean for mean in means if _can_tell(sums, mean)]
    if not means:
        return []
    excess = np.array([mean_excess(sums, token_ids, mean) for mean in means])
    within = excess <= np.array([mean.reach for mean in means])[:, None]
    free = np.ones(len(token_ids), np.bool_)
    clouds = []
    while (within & free).any():
        count, exact = ((some & free).sum(axis=1) for some in (within, excess == 0))
        k = int(np.lexsort((-exact, -count))[0])
        taken = within[k] & free
        clouds.append(Cloud(means[k], token_ids[taken], excess[k][taken]))
        free &= ~taken
    return clouds


def mean_excess(sums: RowSums, token_ids: Ids, mean: Mean) -> Vector:
    """How far rows lie from a mean beyond its tolerance and one step of their own, ``float64[n]``, in value units.

    A step is two roundings to nearest: of the mean to the format, and of whatever was saved from that.
    """
    out = np.empty(len(token_ids))
    for start, stop in sums.embedding.spans(len(token_ids)):
        ids = token_ids[start:stop]
        off = np.abs(sums.embedding.values_of(ids) - mean.vector)
        beyond = np.maximum(off - mean.tolerance - sums.steps_at(ids), 0)
        out[start:stop] = np.sqrt((beyond**2).sum(axis=1))
    return out


def _can_tell(sums: RowSums, mean: Mean) -> bool:
    """Whether ordinary rows of this spread are too unlikely to lie within the mean's reach."""
    spread = sums.spread
    ball = BALL * mean.reach * spread / max(float(np.linalg.norm(spread)), float(np.finfo(np.float64).tiny))
    width = ball + mean.tolerance + sums.steps.typical
    if len(mean.vector) < LEAST_DIM or not mean.reach:
        return False
    return chance_of_ordinary(width, spread, sums.embedding.n_rows) < CHANCE


def find_line(sums: RowSums, aligned: Ids, zero: NDArray[np.bool_], everything: Mean) -> Line | None:
    """The rows for which one scale turns the mean of all other rows into every stored number, to rounding.

    The rows themselves, and zero rows, only shorten the mean of all: that mean finds them. Zero rows are left out of
    the others, so that the scale is over the mean of the trained ones.

    References:
        unsloth_zoo, ``fix_untrained_tokens``: untrained rows = mean of the trained rows x relative frequency.
    """
    found, _ = _on_line(sums, aligned, everything)
    others = sums.without(np.union1d(found, np.flatnonzero(zero)), "all other rows that are not zero")
    if not found.size or others is None:
        return None
    found, scale = _on_line(sums, found, others)
    return Line(others, found, scale) if found.size else None


def _on_line(sums: RowSums, token_ids: Ids, mean: Mean) -> tuple[Ids, Vector]:
    """The rows on the line of a mean, with their scales.

    Each number allows an interval of scales, and the row is on the line if all intervals meet.
    """
    kept, scales = [np.empty(0, np.int64)], [np.empty(0)]
    if len(mean.vector) < LEAST_DIM or not mean.vector.any():
        return kept[0], scales[0]
    for start, stop in sums.embedding.spans(len(token_ids)):
        ids = token_ids[start:stop]
        values, slack = sums.embedding.values_of(ids).astype(np.float64), sums.steps_at(ids)
        slack += (values @ mean.vector / (mean.vector @ mean.vector))[:, None] * mean.tolerance
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.stack([(values - slack) / mean.vector, (values + slack) / mean.vector])
        ends[:, :, mean.vector == 0] = np.array([-np.inf, np.inf])[:, None, None]
        low, high = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
        meets = np.flatnonzero((low <= high) & (high > 0))
        # One dimension fixes the scale; the others must be too many to agree by chance.
        lengths = np.linalg.norm(values, axis=1) / np.sqrt(len(mean.vector))
        n = sums.embedding.n_rows
        told = [i for i in meets if chance_of_ordinary(np.sort(slack[i])[:-1], lengths[i], n) < CHANCE]
        kept.append(ids[told])
        scales.append(((low + high) / 2)[told])
    return np.concatenate(kept), np.concatenate(scales)


def may_be_on_line(sums: RowSums, mean: Mean, along: Vector) -> NDArray[np.bool_]:
    """Whom to test: rows whose part across the mean could be rounding, given the products with the mean."""
    norm = float(mean.vector @ mean.vector)
    if not norm:
        return np.zeros(len(along), np.bool_)
    lengths = np.sqrt(sums.squares)
    rounding = sums.steps.relative * lengths + along / norm * float(np.linalg.norm(mean.tolerance))
    rounding += sums.steps.least * np.sqrt(len(mean.vector))
    across = sums.squares - along**2 / norm
    return np.asarray((along > 0) & (across <= rounding**2 + PRODUCT_ERROR * sums.squares))
