"""``python -m benchmarks NAME [--smoke]``."""

from __future__ import annotations

import argparse

from benchmarks import lattice, scan


def main() -> None:
    """Runs one benchmark at full size, or at a size that only shows that it works."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=["lattice", "scan"])
    parser.add_argument("--rows", type=int, default=151_936)
    parser.add_argument("--dim", type=int, default=2_560)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a tiny size, one run each")
    options = parser.parse_args()
    run = {"lattice": lattice.run, "scan": scan.run}[options.name]
    if options.smoke:
        run(rows=2_600, dim=64, repeats=1)
    else:
        run(options.rows, options.dim, options.repeats)


if __name__ == "__main__":
    main()
