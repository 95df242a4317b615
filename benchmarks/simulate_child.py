"""The processes of ``python -m benchmarks simulate``: one contender each, told how many simulations to draw.

``python -m benchmarks.simulate_child CONTENDER SIGMA SEED`` prints a line when it is ready, then reads a number of
simulations a line and answers each with a line of JSON: seconds, and the means of different rows and holes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

from forensics.hypotheses.founding import founding_context
from forensics.hypotheses.sampling.anchors import anchor_values
from forensics.hypotheses.simulators import snowball

Counts = tuple[int, int]
Contender = Callable[[], Counts]


def ours(sigma: float, seed: int, *, observe: bool = False) -> Contender:
    """The snowball as the test draws it, a new place in the cells each time; holes and populations counted."""
    context, rng = founding_context(), np.random.default_rng(seed)
    if observe:
        from forensics.hypotheses.observables import measure_cloud

    def one() -> Counts:
        cloud = snowball.simulate(context, {"sigma": sigma, "anchor": "off"}, rng)
        if observe:
            measure_cloud(cloud, context)
        populations = cloud.populations
        return len(populations), int((populations > 1).sum())

    return one


def notebook(sigma: float, seed: int) -> Contender:
    """The founding cell: all numbers drawn in float32 around the anchor, bfloat16, torch.unique over the rows."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    context, rng = founding_context(), np.random.default_rng(seed)

    def one() -> Counts:
        anchor = torch.from_numpy(anchor_values(context, "off", rng))
        noise = torch.randn(context.n_rows, context.dim, dtype=torch.float32) * sigma
        rows = (anchor + noise).to(torch.bfloat16)
        # Of bfloat16, float32 and integer views, all of them published, this is the fastest.
        unique, counts = torch.unique(rows.view(torch.int16), dim=0, return_counts=True)
        return len(unique), int((counts > 1).sum())

    return one


def main() -> None:
    """Draws when told to, until its input ends."""
    name, sigma, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    one = notebook(sigma, seed) if name == "notebook" else ours(sigma, seed, observe=name == "observed")
    one()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        counts = [one() for _ in range(int(line))]
        seconds = time.perf_counter() - start
        unique, holes = np.mean(counts, axis=0)
        print(json.dumps({"seconds": seconds, "unique": unique, "holes": holes}), flush=True)


if __name__ == "__main__":
    main()
