"""``python -m benchmarks scan``: black holes, the whole scan and start-up against the alternatives."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Result, run_command, run_function
from forensics.synthetic import plant

CLI = [sys.executable, "-c", "from forensics_cli.main import cli; cli()"]


def run(rows: int, dim: int, repeats: int) -> None:
    """Prints the tables for a planted matrix of that size."""
    with tempfile.TemporaryDirectory(prefix="forensics-benchmark-") as temporary:
        place = Path(temporary)
        model = place / "model"
        plant("qwen3-4b", rows=rows, dim=dim).write(model)
        print(f"Planted qwen3-4b, {rows:,} x {dim:,} bfloat16 ({rows * dim * 2 / 1e6:,.0f} MB), warm page cache.")
        print(f"Medians of {repeats}; memory is anonymous, beyond the mapped file.\n")
        _holes(model, repeats)
        _whole(model, place, repeats)
        _sizes(place, rows, dim, repeats)


def _holes(model: Path, repeats: int) -> None:
    names = ("find_black_holes", "plain_read", "torch_unique", "numpy_unique")
    results = {name: run_function(name, [str(model)], repeats) for name in names}
    ours = results["find_black_holes"]
    if len({result.answer for name, result in results.items() if name != "plain_read"}) > 1:
        raise SystemExit(f"the contenders found different holes: {results}")
    print("| finding the holes | seconds | times ours | MB |\n| --- | ---: | ---: | ---: |")
    for name, result in results.items():
        _row(name, result, ours)
    print()


def _whole(model: Path, place: Path, repeats: int) -> None:
    scan = [*CLI, "scan", str(model), "--quiet", "--out", str(place / "report")]
    first = run_command(scan, 1, _fresh(place))
    warm = run_command(scan, repeats)
    notebook = run_function("notebook_steps", [str(model), str(place / "notebook")], 1)
    start = run_command([*CLI, "--help"], max(3, repeats))
    print("| whole work | seconds | times ours | MB |\n| --- | ---: | ---: | ---: |")
    _row("forensics scan", warm, warm)
    _row("forensics scan, first run in a fresh environment", first, warm)
    _row("transformers and the notebook steps (their imports included)", notebook, warm)
    _row("forensics --help", start, warm)
    print()


def _fresh(place: Path) -> dict[str, str]:
    """Empty caches: no compiled modules, no font list."""
    return {"PYTHONPYCACHEPREFIX": str(place / "pyc"), "MPLCONFIGDIR": str(place / "mpl")}


def _sizes(place: Path, rows: int, dim: int, repeats: int) -> None:
    print("| rows | MB | holes, s | ns a byte | scan, s |\n| ---: | ---: | ---: | ---: | ---: |")
    for eighths in (1, 2, 4, 8):
        n = max(rows * eighths // 8, 2_300)
        folder = place / f"size-{eighths}"
        plant("qwen3-4b", rows=n, dim=dim).write(folder)
        holes = run_function("find_black_holes", [str(folder)], repeats)
        scan = run_command([*CLI, "scan", str(folder), "-q", "--out", str(place / "report")], repeats)
        n_bytes = n * dim * 2
        a_byte = holes.seconds * 1e9 / n_bytes
        print(f"| {n:,} | {n_bytes / 1e6:,.0f} | {holes.seconds:.4f} | {a_byte:.3f} | {scan.seconds:.2f} |")
        shutil.rmtree(folder)


def _row(name: str, result: Result, ours: Result) -> None:
    print(f"| {name} | {result.seconds:.3f} | {result.seconds / ours.seconds:.2f} | {result.megabytes:,.0f} |")
