"""``python -m benchmarks dynamics``: the whole report of a recorded goldilocks run, in a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import ROOT, anonymous_kb

CHANNELS = "W,grad,m,v,loss,h_mean,spread,clusters,probe,logits,p_dead,summaries"
SMOKE = ["steps=48", "batches.batch=2", "batches.context=32", "corpus.tokens=200_000"]
MOST_SECONDS, MOST_MB = 60, 2_000


def run(steps: int, repeats: int, *, folder: Path | None = None, smoke: bool = False) -> None:
    """Prints the table for a goldilocks recording of that many steps.

    Args:
        steps: of the run that is trained first, which is not timed.
        repeats: how often it is analysed.
        folder: a recording to take instead.
        smoke: a tiny run.
    """
    with tempfile.TemporaryDirectory(prefix="forensics-benchmark-") as temporary:
        recording = folder or _train(Path(temporary) / "goldilocks", SMOKE if smoke else [f"steps={steps}"])
        runs = [_report(recording, Path(temporary) / "report") for _ in range(repeats)]
    seconds, peak = statistics.median(r[0] for r in runs), max(r[1] for r in runs)
    print(f"The whole report of a recording of {runs[0][2]:,} steps, every channel a question needs, on this machine.")
    print(f"Median of {repeats}; memory is the process's anonymous peak, imports and all.\n")
    print("| forensics dynamics | measured | goal |\n| --- | ---: | ---: |")
    print(f"| seconds | {seconds:.1f} | {MOST_SECONDS} |\n| MB | {peak:,.0f} | {MOST_MB:,} |\n")


def _train(folder: Path, settings: list[str]) -> Path:
    from forensics.toy import run as runs
    from forensics.toy.config import override
    from forensics.toy.presets import load_config

    config = override(load_config("goldilocks"), [f"record.channels={CHANNELS}", *settings])
    training = runs.begin(config, folder, device="cpu")
    try:
        runs.carry_on(training)
    finally:
        training.close()
    return folder


def _report(recording: Path, report: Path) -> tuple[float, float, int]:
    """Seconds of analysis and writing, megabytes, recorded steps."""
    command = [sys.executable, "-m", "benchmarks.dynamics", str(recording), str(report)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        peak = 0
        while child.poll() is None:
            peak = max(peak, anonymous_kb(child.pid))
            time.sleep(0.01)
        if child.returncode:
            raise SystemExit("the report failed")
        seconds, steps = child.stdout.read().split()
    return float(seconds), peak / 1024, int(steps)


def _be_the_report(recording: str, report: str) -> None:
    """The process that is watched."""
    from forensics.dynamics.study import study
    from forensics.report.dynamics_report import write_dynamics_report

    start = time.perf_counter()
    result = study(recording)
    write_dynamics_report(result, report)
    print(time.perf_counter() - start, len(result.run.steps))


if __name__ == "__main__":
    _be_the_report(*sys.argv[1:])
