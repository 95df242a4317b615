"""``python -m benchmarks tokens``: the under-trained indicators of every token, streamed and the published way."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import baselines
from benchmarks.measure import Result, run_function
from forensics.black_holes import find_black_holes
from forensics.sources import load_embedding
from forensics.synthetic import plant
from forensics.undertrained import find_candidates, find_reference, measure_indicators


def run(rows: int, dim: int, repeats: int) -> None:
    """Prints the table for a planted matrix of that size."""
    with tempfile.TemporaryDirectory(prefix="forensics-benchmark-") as temporary:
        model = Path(temporary) / "model"
        plant("qwen3-4b", rows=rows, dim=dim).write(model)
        size = f"{rows:,} x {dim:,} bfloat16 ({rows * dim * 2 / 1e6:,.0f} MB)"
        print(f"Planted qwen3-4b, {size}, warm page cache; the reference is the black holes' tokens.")
        print(f"Medians of {repeats}, taken in turns; memory is anonymous, beyond the mapped file.\n")
        names = ("measure_indicators", "published", "find_reference", "find_candidates")
        runs: dict[str, list[Result]] = {name: [] for name in names}
        for _ in range(repeats):
            for name in names:
                runs[name].append(run_function(name, [str(model)], 1, module="benchmarks.tokens"))
        ours = _median(runs["measure_indicators"])
        print("| under-trained tokens | seconds | times ours | MB |\n| --- | ---: | ---: | ---: |")
        for name, results in runs.items():
            _row(
                {"published": "the published way (float32 copies, randomized PCA)"}.get(name, name),
                _median(results),
                ours,
            )
        published = runs["published"][0].answer
        if not np.allclose(
            [float(x) for x in ours.answer.split(",")], [float(x) for x in published.split(",")], atol=1e-2
        ):
            raise SystemExit(f"the contenders found different indicators: {ours.answer} and {published}")
        print("\nThe medians of the five indicators agree (that of the randomized component to 1e-2).\n")


def _median(results: list[Result]) -> Result:
    return Result(statistics.median(r.seconds for r in results), max(r.megabytes for r in results), results[0].answer)


def _row(name: str, result: Result, ours: Result) -> None:
    print(f"| {name} | {result.seconds:.3f} | {result.seconds / ours.seconds:.2f} | {result.megabytes:,.0f} |")


def _be_contender(name: str, folder: Path) -> None:
    """The process that is watched: faults the mapping in, waits for the word, prints its answer and its seconds."""
    import scipy.linalg  # noqa: F401 - not part of the contender's time

    embedding = load_embedding(folder)
    holes = find_black_holes(embedding)
    ids = np.flatnonzero(holes.mask)
    prepared = measure_indicators(embedding, ids) if name == "find_candidates" else None
    baselines.plain_read(np.asarray(embedding.words))
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    answer = "-"
    if name == "measure_indicators":
        answer = _medians(measure_indicators(embedding, ids).values)
    elif name == "published":
        answer = _medians(baselines.published_indicators(embedding.values(), ids))
    elif name == "find_reference":
        find_reference(embedding, holes)
    else:
        assert prepared is not None
        find_candidates(prepared, holes)
    print(answer, time.perf_counter() - start)


def _medians(values: dict[str, np.ndarray]) -> str:
    return ",".join(f"{np.median(values[name]):.6f}" for name in sorted(values))


if __name__ == "__main__":
    _be_contender(sys.argv[1], Path(sys.argv[2]))
