"""The process in which one contender runs: imports first, then waits for the word, then prints its seconds."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import baselines
from forensics.black_holes import find_black_holes
from forensics.sources import load_embedding


def main() -> None:
    """``python -m benchmarks.child CONTENDER FOLDER``."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    if name == "torch_unique":
        import torch  # noqa: F401 - not part of the contender's time
    embedding = load_embedding(folder)
    matrix = np.asarray(embedding.words)
    baselines.plain_read(matrix)  # faults the mapping in, for every contender alike
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    if name == "find_black_holes":
        answer = len(find_black_holes(embedding))
    elif name == "notebook_steps":
        answer = baselines.notebook_steps(folder, Path(sys.argv[3]))
    else:
        answer = getattr(baselines, name)(matrix)
    print(answer, time.perf_counter() - start)


if __name__ == "__main__":
    main()
