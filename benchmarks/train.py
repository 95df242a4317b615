"""``python -m benchmarks train``: a training step against the founding loop's, and what recording it costs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.measure import ROOT, anonymous_kb

NAMES = {
    "recorded": "our loop, W recorded to disk",
    "copied": "our loop, W copied in memory",
    "founding": "the founding loop (full logits, bf16 autocast), W copied in memory",
    "loss": "our loss and its gradients alone",
    "limit_as_ours": "the three products and one exp alone, z and dh of bfloat16 inputs as ours",
    "limit_float32": "the same, all float32",
}
TURN = 16
"""Steps that the recorded run makes at a time: a chunk of W holds as many frames, so each turn writes one."""

SMOKE = ["batches.batch=4", "batches.context=32", "corpus.tokens=200_000"]


def run(steps: int, rounds: int, *, smoke: bool = False) -> None:
    """Prints the tables: of one crucible-3 step, and of a recorded goldilocks run of that many steps."""
    _steps(SMOKE if smoke else [], rounds, each=1 if smoke else 2)
    print(flush=True)
    _accuracy(SMOKE if smoke else [])
    print(flush=True)
    _recording([f"steps={steps}", *(SMOKE if smoke else [])])


def _steps(settings: Sequence[str], rounds: int, each: int) -> None:
    contenders = {name: _Contender(name, settings) for name in NAMES}
    turns = {name: TURN if name == "recorded" else each for name in NAMES}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    try:
        # Two steps to warm up; memory is watched here, not where time is taken.
        warm = {name: contender.step(max(2, turns[name]), watch=True) for name, contender in contenders.items()}
        for _ in range(rounds):
            for name, contender in contenders.items():
                runs[name].append(contender.step(turns[name]))
    finally:
        for contender in contenders.values():
            contender.end()
    ours, theirs = warm["copied"]["loss"][0], warm["founding"]["loss"][0]
    if abs(ours - theirs) > 0.05 or warm["recorded"]["loss"][0] != ours:
        raise SystemExit(f"the loops do not train the same model: losses {ours} and {theirs} at step 1")
    what = f"A step of crucible-3{' in a tiny size' if settings else ''}: same words, same batches"
    print(f"{what}, each process stepping in turn.")
    print(f"Medians of {rounds} rounds of {each} steps ({TURN} where W is recorded: each round writes a chunk).")
    print("Memory is the whole process's anonymous peak, in the steps that warm up.\n")
    print("| one step | seconds | times ours | MB |\n| --- | ---: | ---: | ---: |")
    of_one = {name: np.array([answer["seconds"] for answer in answers]) for name, answers in runs.items()}
    for name, label in NAMES.items():
        seconds, base = np.median(of_one[name]), np.median(of_one["copied"])
        print(f"| {label} | {seconds:.3f} | {seconds / base:.2f} | {warm[name]['megabytes']:,.0f} |")
    ratios = of_one["founding"] / of_one["copied"]
    share = warm["copied"]["megabytes"] / warm["founding"]["megabytes"]
    print(f"\nRound by round the founding loop takes {ratios.min():.1f} to {ratios.max():.1f} times our time")
    print(f"(median {np.median(ratios):.1f}); our peak is {share:.0%} of its peak. Parts of the limit, in seconds:\n")
    parts = {name: [answer["parts"] for answer in runs[name]] for name in ("limit_as_ours", "limit_float32")}
    columns = list(parts["limit_as_ours"][0])
    print(f"| the limit | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    for name, found in parts.items():
        medians = [float(np.median([part[column] for part in found])) for column in columns]
        label = "all float32" if name == "limit_float32" else "as ours"
        print(f"| {label} | {' | '.join(f'{seconds:.3f}' for seconds in medians)} |")


def _accuracy(settings: Sequence[str]) -> None:
    found = _once("accuracy", "crucible-3", settings)
    same = "the same" if found["same_hidden"] else "each its own"
    print(
        f"\nGradients of the {found['dead']:,} dead rows at step 1 ({found['positions']:,} positions) against float64"
    )
    print(f"from {same} hidden states: L2 norm of the difference over the reference's.\n")
    print("| dead rows' gradient | the worst row | all rows together |\n| --- | ---: | ---: |")
    for name, label in {
        "ours": "our loop's, float32",
        "handed": "our loop's, rounded once to bfloat16 for the optimizer",
        "founding": "the founding loop's, bfloat16",
    }.items():
        print(f"| {label} | {found[name]['worst']:.1e} | {found[name]['all']:.1e} |")


def _recording(settings: Sequence[str]) -> None:
    found = _once("recording", "goldilocks", settings)
    without, with_it = np.array(found["without"]), np.array(found["with"])
    cost = float(np.median(with_it / without)) - 1
    looks = {kind: np.array(found[kind]) * 1000 for kind in ("matrix", "trajectory")}
    steps = settings[0].partition("=")[2]
    print(
        f"\nW of every step of goldilocks, {steps} steps, beside the same run without, {found['turn']} steps in turn;"
    )
    print("then read back from a warm page cache, each equal to what was in memory.\n")
    print("| recording W | |\n| --- | ---: |")
    print(f"| a step without, ms (median of {len(without)} turns) | {np.median(without) * 1000:.1f} |")
    print(f"| a step with W recorded, ms | {np.median(with_it) * 1000:.1f} |")
    print(f"| what recording adds (median over pairs of turns) | {cost:.1%} |")
    print(f"| stored, MB | {found['stored'] / 1e6:,.1f} |")
    print(f"| stored, of raw ({found['raw'] / 1e6:,.0f} MB) | {found['stored'] / found['raw']:.1%} |")
    for kind, label in {"matrix": "a step's matrix", "trajectory": "a token's trajectory"}.items():
        took = looks[kind]
        print(f"| {label}, ms: median and worst of {len(took)} | {np.median(took):.0f}, {took.max():.0f} |")


class _Contender:
    """A process that makes steps when it is told to."""

    def __init__(self, name: str, settings: Sequence[str]):
        command = [sys.executable, "-m", "benchmarks.train_child", name, "crucible-3", *settings]
        self.name = name
        self.child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = False

    def step(self, n: int, *, watch: bool = False) -> dict[str, Any]:
        """Its answer to ``n`` steps, and with ``watch`` the highest memory meanwhile."""
        assert self.child.stdin is not None and self.child.stdout is not None
        if not self.ready:
            self._line()
            self.ready = True
        self.child.stdin.write(f"{n}\n")
        self.child.stdin.flush()
        if not watch:
            return dict(json.loads(self._line()))
        with _Watch(self.child.pid) as watched:
            answer = json.loads(self._line())
        return {**answer, "megabytes": watched.peak / 1024}

    def end(self) -> None:
        """Ends its input, and waits for it."""
        self.child.communicate()

    def _line(self) -> str:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed")
        return line


class _Watch(threading.Thread):
    """Watches a process's anonymous memory for as long as the context lasts."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.peak, self.over = pid, anonymous_kb(pid), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            self.peak = max(self.peak, anonymous_kb(self.pid))

    def __enter__(self) -> _Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def _once(name: str, preset: str, settings: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.train_child", name, preset, *settings]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed")
    return dict(json.loads(done.stdout))
