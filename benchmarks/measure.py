"""Runs one contender in a process of its own and watches its time and its anonymous memory."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Result:
    """Median seconds, and the highest anonymous memory in MB beyond what the process held when it started."""

    seconds: float
    megabytes: float
    answer: str = ""


def anonymous_kb(pid: int) -> int:
    """Resident memory that is not the page cache's: what a mapped file costs is left out."""
    with contextlib.suppress(OSError, IndexError, StopIteration):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])
    return 0


def run_function(
    name: str,
    arguments: Sequence[str],
    repeats: int,
    *,
    module: str = "benchmarks.child",
    environment: Mapping[str, str] | None = None,
) -> Result:
    """Times the child module's function of that name, without start-up and imports."""
    runs = [_run_child([module, name, *arguments], environment) for _ in range(repeats)]
    answers = {r.answer for r in runs}
    if len(answers) > 1:
        raise SystemExit(f"{name} gave different answers: {answers}")
    return Result(statistics.median(r.seconds for r in runs), max(r.megabytes for r in runs), answers.pop())


def _run_child(arguments: Sequence[str], environment: Mapping[str, str] | None) -> Result:
    command, env = [sys.executable, "-m", *arguments], {**os.environ, **(environment or {})}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        before = anonymous_kb(child.pid)
        child.stdin.write("go\n")
        child.stdin.flush()
        peak = _watch(child)
        output = child.stdout.read().split()
        if child.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed")
    return Result(float(output[-1]), (peak - before) / 1024, output[-2])


def run_command(command: Sequence[str], repeats: int, environment: Mapping[str, str] | None = None) -> Result:
    """Times a whole command, start-up included; memory is the process's own peak."""
    seconds, peaks = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        env = {**os.environ, **(environment or {})}
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL) as child:
            peaks.append(_watch(child))
            seconds.append(time.perf_counter() - start)
            if child.returncode:
                raise SystemExit(f"{' '.join(command)} failed")
    return Result(statistics.median(seconds), max(peaks) / 1024)


def _watch(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> int:
    peak = 0
    while child.poll() is None:
        peak = max(peak, anonymous_kb(child.pid))
        time.sleep(0.002)
    return peak
