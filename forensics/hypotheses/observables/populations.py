"""How many tokens hold the same row: holes, their populations, singletons."""

from __future__ import annotations

import numpy as np

from forensics.hypotheses.cloud import Cloud
from forensics.hypotheses.context import Context
from forensics.hypotheses.observables.observable import Observable

DEAD, DISTINCT, HOLES = "dead tokens", "distinct dead rows", "distinct rows of the dead tokens' holes"

_RANKS = ("largest", "second", "third", "fourth")

POPULATIONS = (
    Observable(
        "holes",
        "black holes",
        "groups",
        DEAD,
        "distinct dead rows that two or more dead tokens hold",
        transform="log1p",
        # Half a hole more among ten.
        resolution=0.05,
        scale_free=False,
    ),
    Observable(
        "holes_per_token",
        "black holes per token",
        "share",
        DEAD,
        "black holes over dead tokens",
        transform="arcsine",
        derived=True,
    ),
    *(
        Observable(
            f"{rank}_share",
            f"{rank} population",
            "share",
            DEAD,
            f"tokens that hold the {'most' if rank == 'largest' else rank + ' most'} populated row, over dead tokens"
            + ("" if rank == "largest" else "; 0 where there are fewer rows"),
            transform="arcsine",
        )
        for rank in _RANKS
    ),
    Observable(
        "population_entropy",
        "entropy of the populations",
        "share",
        DEAD,
        "Shannon entropy of the rows' populations over ln(dead tokens): 0 on one point, 1 where all differ; "
        "undefined for one token",
    ),
    Observable(
        "in_hole_share",
        "tokens in black holes",
        "share",
        DEAD,
        "dead tokens whose row another dead token holds, over dead tokens",
        transform="arcsine",
    ),
    Observable(
        "unique_share",
        "unique rows",
        "share",
        DEAD,
        "distinct dead rows over dead tokens",
        transform="arcsine",
    ),
    Observable(
        "singleton_share",
        "singletons",
        "share",
        DEAD,
        "dead tokens whose row no other dead token holds, over dead tokens: what tokens in black holes leave",
        transform="arcsine",
        derived=True,
    ),
)


def measure_populations(cloud: Cloud, context: Context) -> dict[str, float | None]:
    """The observables of ``POPULATIONS``; all are defined for quantised rows, too, by their stored bytes."""
    populations, n = cloud.populations, len(cloud)
    holes = int((populations > 1).sum())
    shares = populations / n
    alone = len(populations) - holes
    top = [float(share) for share in shares[: len(_RANKS)]] + [0.0] * (len(_RANKS) - len(shares))
    entropy = -float(shares @ np.log(shares))
    return {
        "holes": float(holes),
        "holes_per_token": holes / n,
        **{f"{rank}_share": share for rank, share in zip(_RANKS, top, strict=True)},
        # At the ends a rounding may lead out, and of one point the sum is -0.0.
        "population_entropy": min(abs(entropy) / float(np.log(n)), 1.0) if n > 1 else None,
        "in_hole_share": (n - alone) / n,
        "unique_share": len(populations) / n,
        "singleton_share": alone / n,
    }
