"""``python -m benchmarks simulate``: static simulations a minute, and the driven cloud's steps a second."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.measure import ROOT

SIGMAS = (1.5e-9, 5e-9, 2e-8)
PROCESSES = 2
TURNS = {"ours": 600, "observed": 60, "notebook": 6}
NAMES = {
    "ours": "ours, holes and populations counted",
    "observed": "ours, all observables of a cloud",
    "notebook": "the founding cell: randn, bfloat16, torch.unique",
}


def run(repeats: int, *, smoke: bool = False) -> None:
    """Prints the tables."""
    turns = dict.fromkeys(TURNS, 2) if smoke else TURNS
    print(f"The snowball at 2,221 x 2,560 bfloat16, anchor norm 0.3709, {PROCESSES} processes of one thread each.")
    print(f"Simulations a minute of all processes: median of {repeats} rounds in which the contenders take turns.\n")
    print("| sigma | contender | a minute | times the founding cell (least to most) | different rows | holes |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for sigma in SIGMAS:
        _static(sigma, turns, repeats)
    if importlib.util.find_spec("benchmarks.driven"):
        print(flush=True)
        importlib.import_module("benchmarks.driven").tables(repeats, smoke=smoke)


def _static(sigma: float, turns: dict[str, int], repeats: int) -> None:
    teams = {name: _Team(name, sigma) for name in turns}
    try:
        rounds = [{name: team.draw(turns[name]) for name, team in teams.items()} for _ in range(repeats)]
    finally:
        for team in teams.values():
            team.end()
    rates = {name: np.array([r[name][0] for r in rounds]) for name in turns}
    for name, rate in rates.items():
        ratios = rate / rates["notebook"]
        unique, holes = np.mean([r[name][1:] for r in rounds], axis=0)
        times = f"{np.median(ratios):.1f} ({ratios.min():.1f} to {ratios.max():.1f})"
        print(
            f"| {sigma:g} | {NAMES[name]} | {np.median(rate):,.0f} | {times} | {unique:,.1f} | {holes:,.1f} |",
            flush=True,
        )


class _Team:
    """As many processes of a contender as there are cores to show; they draw at the same time."""

    def __init__(self, name: str, sigma: float) -> None:
        command = [sys.executable, "-m", "benchmarks.simulate_child", name, repr(sigma)]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.children = [
            subprocess.Popen(
                [*command, str(seed)], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for seed in range(PROCESSES)
        ]
        self._lines()

    def draw(self, n: int) -> tuple[float, float, float]:
        """Simulations a minute, all processes together; means of different rows and of holes."""
        for child in self.children:
            assert child.stdin is not None
            child.stdin.write(f"{n}\n")
            child.stdin.flush()
        answers = [json.loads(line) for line in self._lines()]
        rate = sum(60 * n / answer["seconds"] for answer in answers)
        return rate, float(np.mean([a["unique"] for a in answers])), float(np.mean([a["holes"] for a in answers]))

    def _lines(self) -> Sequence[str]:
        lines = []
        for child in self.children:
            assert child.stdout is not None
            lines.append(child.stdout.readline())
            if not lines[-1]:
                raise SystemExit(f"{' '.join(map(str, child.args))} failed")  # type: ignore[arg-type]
        return lines

    def end(self) -> None:
        """Lets the processes end."""
        for child in self.children:
            assert child.stdin is not None
            child.stdin.close()
            child.wait()
