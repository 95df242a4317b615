"""``python -m benchmarks NAME [--smoke]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import dynamics, hub, lattice, scan, simulate, tokens, train


def main() -> None:
    """Runs one benchmark at full size, or at a size that only shows that it works."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=["dynamics", "hub", "lattice", "scan", "simulate", "tokens", "train"])
    parser.add_argument("--rows", type=int, help="a Qwen3-4B's 151,936 if not given; for hub 200 MB of embedding")
    parser.add_argument("--dim", type=int)
    parser.add_argument("--repeats", type=int, help="3 if not given; for simulate 5, for train 8 rounds")
    parser.add_argument("--steps", type=int, default=2_000, help="of the recorded run of train and dynamics")
    parser.add_argument("--smoke", action="store_true", help="a tiny size, one run each")
    parser.add_argument("--run", type=Path, help="a recording for dynamics, instead of one trained first")
    options = parser.parse_args()
    if options.name == "dynamics":
        dynamics.run(
            options.steps, 1 if options.smoke else options.repeats or 3, folder=options.run, smoke=options.smoke
        )
        return
    if options.name == "simulate":
        simulate.run(1 if options.smoke else options.repeats or 5, smoke=options.smoke)
        return
    if options.name == "train":
        rounds, steps = (1, 48) if options.smoke else (options.repeats or 8, options.steps)
        train.run(steps, rounds, smoke=options.smoke)
        return
    run = {"hub": hub.run, "lattice": lattice.run, "scan": scan.run, "tokens": tokens.run}[options.name]
    if options.smoke:
        run(rows=2_600, dim=64, repeats=1)
    else:
        rows, dim = (97_656, 1_024) if options.name == "hub" else (151_936, 2_560)
        run(options.rows or rows, options.dim or dim, options.repeats or 3)


if __name__ == "__main__":
    main()
