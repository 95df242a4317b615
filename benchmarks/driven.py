"""The driven cloud's updates a second, for ``python -m benchmarks simulate``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

from benchmarks.measure import ROOT

NAMES = {
    "fused": "ours, torch's fused AdamW, feedback",
    "loop": "ours, torch's for-loop AdamW, feedback: as simulated",
    "foreach": "ours, torch's foreach AdamW, feedback",
    "fused_common": "ours, fused, one gradient for all rows",
    "loop_common": "ours, for-loop, one gradient for all rows",
    "loop_tight": "ours, for-loop, feedback, a tight cloud of {tight:,} different rows",
    "founding": "the founding way, the dead rows alone",
    "founding_whole": "the founding way, all 151,936 rows",
}
THREADS = 2


def tables(repeats: int, *, smoke: bool = False) -> None:
    """Prints the table: rounds in which the contenders take turns, in one process of two threads."""
    command = [sys.executable, "-m", "benchmarks.driven_child", str(repeats), *(["--smoke"] if smoke else [])]
    env = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit("the driven benchmark failed")
    found = json.loads(done.stdout)
    rows, dim = found["shape"]
    seconds = {name: np.array(values) for name, values in found["seconds"].items()}
    print(f"The driven cloud: {rows:,} x {dim:,} bfloat16 from N(0, 0.02), AdamW, bfloat16 moments, {THREADS} threads.")
    print(f"Median of {repeats} rounds (whole matrix: of one). The founding way is autograd through the softmax of")
    print("one h_mean and torch.optim.AdamW on a bfloat16 parameter; of the dead rows alone the rest is given.\n")
    print("| one update | steps a second | times the founding way, dead rows (least to most) |")
    print("| --- | ---: | ---: |")
    for name, label in NAMES.items():
        if name not in seconds:
            continue
        ratios = seconds["founding"][: len(seconds[name])] / seconds[name]
        times = f"{np.median(ratios):.2g} ({ratios.min():.2g} to {ratios.max():.2g})"
        rate = 1 / np.median(seconds[name])
        print(f"| {label.format(tight=found['tight'])} | {rate:,.{0 if rate > 10 else 2}f} | {times} |")


if __name__ == "__main__":
    tables(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
