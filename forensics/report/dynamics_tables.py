"""The long tables of a dynamics report: one row a step, one row a token."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.dynamics.account import COUNTS, UpdateAccount
from forensics.dynamics.context import ClusterCourse
from forensics.dynamics.hidden import MeanCourse
from forensics.dynamics.replay import Replay
from forensics.dynamics.result import Dynamics

Series = tuple[str, NDArray[np.int64], NDArray[Any]]
"""A column's name, its steps and its numbers."""


def write_series(run: Dynamics, path: Path) -> None:
    """One row a step: what the run recorded of each, then what the analyses make of it.

    Floats read back exactly; a cell is empty where nothing is defined at a step. A column is named by its question.
    """
    columns = list(series_of(run))
    steps = np.unique(np.concatenate([steps for _, steps, _ in columns])) if columns else np.empty(0, np.int64)
    cells = [[str(step) for step in steps.tolist()]]
    for _, own, values in columns:
        column = [""] * len(steps)
        for at, value in zip(np.searchsorted(steps, own).tolist(), values.tolist(), strict=True):
            column[at] = _cell(value)
        cells.append(column)
    _write(path, ["step", *(name for name, _, _ in columns)], zip(*cells, strict=True))


def series_of(run: Dynamics) -> Iterator[Series]:
    """Every figure that is taken at each step."""
    for name, (steps, values) in run.recorded.items():
        yield name, steps, values
    for answer in run.answers:
        if answer.result is not None:
            for name, steps, values in _SERIES.get(answer.key, _own)(answer.result):
                yield f"{answer.key}.{name}", steps, values


def _own(found: Any) -> Iterator[Series]:
    """Of a result that names its series itself."""
    for name, values in getattr(found, "series", {}).items():
        yield name, found.steps, values


def _fields(*names: str) -> Callable[[Any], Iterator[Series]]:
    """Of a result whose attributes they are."""
    return lambda found: ((name, found.steps, getattr(found, name)) for name in names)


def _h_mean(found: MeanCourse) -> Iterator[Series]:
    yield "norm", found.steps, found.norm
    yield "lag_one", found.steps[1:], found.lag_one
    yield "swing", found.steps[1:], found.swing
    yield "autocorrelation_at_lag", found.lags, found.autocorrelation  # in the row of the lag


def _clusters(found: ClusterCourse) -> Iterator[Series]:
    return ((f"excess_{by}", found.steps, values) for by, values in found.excess.items())


def _updates(found: UpdateAccount) -> Iterator[Series]:
    for which, account in found.kinds.items():
        for i, name in enumerate(COUNTS):
            yield f"{which}_{name}", found.steps, account.counts[:, i]
        for name in ("adam_norm", "adam_norm_std", "push_over_gap", "v_mean"):
            yield f"{which}_{name}", found.steps, getattr(account, name)
    if found.recovery is not None:
        yield from _fields(*_RECOVERY)(found.recovery)


def _replay(found: Replay) -> Iterator[Series]:
    return ((f"equal_{name}", found.steps, found.equal[:, i]) for i, name in enumerate(found.channels))


_RECOVERY = ("velocity", "velocity_cosine", "acceleration", "gradient_cosine", "mean_gradient_cosine", "still")

_SERIES: Mapping[str, Callable[[Any], Iterator[Series]]] = {
    "h_mean": _h_mean,
    "spread": _fields(),  # the run's own figures, which are columns already
    "clusters": _clusters,
    "probe": _fields("gain", "better", "median_rank", "first"),
    "bootstrap": _fields("similarity", "norm_ratio"),
    "updates": _updates,
    "replay": _replay,
    "sharpening": _fields("gradient", "probability", "token_slope", "token_r2"),
}
"""By the key of the question; the others name their series themselves."""


def write_tokens_course(run: Dynamics, path: Path) -> None:
    """One row a recorded dead token: its first and last motion, its fate, the last step of each phase.

    A fate is "moving" (in the last interval: censored), "undecided" or "settled" (see `Stillness`).
    """
    tables = [table for answer in run.answers if (table := getattr(answer.result, "tokens", None)) is not None]
    ids = tables[0]["token_id"] if tables else np.empty(0, np.int64)
    columns = {"token_id": ids}
    for table in tables:
        columns |= {name: values for name, values in table.items() if len(values) == len(ids)}
    _write(path, list(columns), zip(*(values.tolist() for values in columns.values()), strict=True))


def _write(path: Path, header: list[str], rows: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _cell(value: Any) -> str:
    return "" if isinstance(value, float) and not math.isfinite(value) else repr(value)
