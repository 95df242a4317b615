"""``python -m benchmarks lattice``: the nearest of the smoke's unique rows to every row of the vocabulary."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks import baselines
from benchmarks.measure import ROOT, Result, anonymous_kb
from forensics.lattice.distances import nearest_members, row_ordinals
from forensics.sources import load_embedding
from forensics.synthetic import plant

LOOP_ROWS = 4_748
"""Rows that the loop is timed on, evenly spread: at full size every 32nd. All rows would take it minutes a run."""


def run(rows: int, dim: int, repeats: int) -> None:
    """Prints the table for a planted matrix of that size."""
    with tempfile.TemporaryDirectory(prefix="forensics-benchmark-") as temporary:
        model = Path(temporary) / "model"
        planted = plant("qwen3-4b", rows=rows, dim=dim)
        planted.write(model)
        ids = [hole["token_ids"][0] for hole in planted.truth["holes"]]
        ids += [single["token_id"] for single in planted.truth["singletons"]]
        every = max(1, rows // LOOP_ROWS)
        size = f"{rows:,} x {dim:,} bfloat16 ({rows * dim * 2 / 1e6:,.0f} MB)"
        print(f"Planted qwen3-4b, {size}, warm page cache: the nearest of the smoke's {len(ids)} unique rows")
        print("to every row, L-infinity in steps of the format.")
        print(f"Medians of {repeats}; memory is anonymous, beyond the mapped file.\n")
        ours = _run(["ours", str(model), json.dumps(ids), str(every)], repeats)
        part = _run(["loop", str(model), json.dumps(ids), str(every)], repeats)
        if ours.answer != part.answer:
            raise SystemExit("the contenders found different distances or members")
        loop = Result(part.seconds * rows / len(range(0, rows, every)), part.megabytes, part.answer)
        note = f"timed on one row in {every}, {part.seconds:.2f} s, and scaled" if every > 1 else "timed on all rows"
        print("| nearest members | seconds | times ours | MB |\n| --- | ---: | ---: | ---: |")
        _row("nearest_members", ours, ours)
        _row(f"numpy in blocks of 0.3 GB ({note})", loop, ours)
        print("\nDistances and members agree on the rows that both were asked for.\n")


def _row(name: str, result: Result, ours: Result) -> None:
    print(f"| {name} | {result.seconds:.3f} | {result.seconds / ours.seconds:.1f} | {result.megabytes:,.0f} |")


def _run(arguments: list[str], repeats: int) -> Result:
    runs = [_run_child(arguments) for _ in range(repeats)]
    return Result(statistics.median(r.seconds for r in runs), max(r.megabytes for r in runs), runs[0].answer)


def _run_child(arguments: list[str]) -> Result:
    command = [sys.executable, "-m", "benchmarks.lattice", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        before = peak = anonymous_kb(child.pid)
        child.stdin.write("go\n")
        child.stdin.flush()
        while child.poll() is None:
            peak = max(peak, anonymous_kb(child.pid))
            time.sleep(0.002)
        if child.returncode:
            raise SystemExit(f"{arguments[0]} failed")
        answer, seconds = child.stdout.read().split()
    return Result(float(seconds), (peak - before) / 1024, answer)


def _be_contender(name: str, folder: Path, ids: list[int], every: int) -> None:
    """The process that is watched: faults the mapping in, waits for the word, prints its answer and its seconds."""
    embedding = load_embedding(folder)
    matrix, tokens = np.asarray(embedding.words), np.array(ids)
    baselines.plain_read(matrix)
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    if name == "ours":
        found = nearest_members(embedding, row_ordinals(embedding, tokens), "linf")
        distance, member = found.distance[::every], found.member[::every]
    else:
        distance, member = baselines.nearest_loop(matrix[::every], matrix[tokens])
    seconds = time.perf_counter() - start
    print(sha256(np.stack([distance, member]).astype("<i8").tobytes()).hexdigest(), seconds)


if __name__ == "__main__":
    _be_contender(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]))
