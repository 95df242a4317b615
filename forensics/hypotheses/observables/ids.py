"""Where in the vocabulary the dead tokens lie."""

from __future__ import annotations

import numpy as np

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.observables.observable import Observable
from forensics.hypotheses.observables.populations import DEAD

IDS = (
    Observable(
        "tail_share",
        "tokens in the vocabulary's tail",
        "share",
        DEAD,
        "dead tokens in the unbroken run of dead ids that ends at the matrix's last row, over dead tokens; "
        "undefined where a simulator foretells no ids",
        needs="ids",
        transform="arcsine",
    ),
    Observable(
        "median_id",
        "median id",
        "share",
        DEAD,
        "median of (id + 1/2) over the matrix's rows; undefined where a simulator foretells no ids",
        needs="ids",
        resolution=0.01,
    ),
)


def measure_ids(cloud: Cloud, context: Context) -> dict[str, float | None]:
    """The observables of ``IDS``."""
    ids = cloud.token_ids
    if ids is None:
        return dict.fromkeys(o.name for o in IDS)
    # Counted from the end, the unbroken run holds the ids that are as far from the last row as they have others after.
    run = ids[::-1] == context.vocab - 1 - np.arange(len(ids))
    tail = len(ids) if run.all() else int(run.argmin())
    return {"tail_share": tail / len(ids), "median_id": (float(np.median(ids)) + 0.5) / context.vocab}
