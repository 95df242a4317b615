"""``python -m benchmarks NAME [--smoke]``."""

from __future__ import annotations

import argparse

from benchmarks import hub, lattice, scan, tokens


def main() -> None:
    """Runs one benchmark at full size, or at a size that only shows that it works."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=["hub", "lattice", "scan", "tokens"])
    parser.add_argument("--rows", type=int, help="a Qwen3-4B's 151,936 if not given; for hub 200 MB of embedding")
    parser.add_argument("--dim", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a tiny size, one run each")
    options = parser.parse_args()
    run = {"hub": hub.run, "lattice": lattice.run, "scan": scan.run, "tokens": tokens.run}[options.name]
    if options.smoke:
        run(rows=2_600, dim=64, repeats=1)
    else:
        rows, dim = (97_656, 1_024) if options.name == "hub" else (151_936, 2_560)
        run(options.rows or rows, options.dim or dim, options.repeats)


if __name__ == "__main__":
    main()
