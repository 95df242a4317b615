"""How far verdicts can be trusted, as markdown: size, power, attribution, coverage; and which hypotheses are one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forensics.hypotheses.judging.calibration import Calibration
from forensics.hypotheses.judging.classes import Classes, Pair
from forensics.report.markdown import code, fold, table
from forensics.text import number


def confusion_grid(found: Calibration, classes: Classes) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Hypotheses drawn from, in class order; what they are given to; the shares, ``float64[h, c]``."""
    rows = in_class_order(found, classes)
    columns = list(found.attributed[rows[0]]) if rows else []
    return rows, columns, np.array([[found.attributed[r][c] for c in columns] for r in rows])


def in_class_order(found: Calibration, classes: Classes) -> list[str]:
    """The hypotheses with held-out simulations by class; last those that could not be fitted and so have none."""
    place = {name: i for i, names in enumerate(classes.members) for name in names}
    return sorted(found.n, key=lambda name: (place.get(name, len(place)), name))


def classes_part(classes: Classes) -> str:
    """Which hypotheses are not told apart, and the test that shows it; nothing where all can."""
    joined = [names for names in classes.members if len(names) > 1]
    pairs = [pair for pair in classes.pairs if not pair.told_apart or pair.declared]
    if not pairs:
        return ""
    said = "; ".join(f"{', '.join(map(code, names))} ({classes.compared(names):,})" for names in joined)
    head = f"Not told apart with so many simulations of each, and count as one: {said}." if joined else ""
    head = head or ("No two count as one." if any(not p.told_apart for p in pairs) else "All are told apart.")
    rows = [
        (
            f"{code(pair.first)}, {code(pair.second)}",
            f"{pair.n:,}",
            number(pair.same_share, 3),
            number(pair.expected, 3),
            number(pair.p_value, 2),
            "told apart" if pair.told_apart else _not_apart(pair, classes),
            "argued to be one" if pair.declared else "-",
        )
        for pair in pairs
    ]
    header = ("pair", "simulations of each", "own neighbours", "expected of one", "p", "found", "argued")
    return (
        f"{head} Tested by the share of nearest neighbours that are of a simulation's own hypothesis (Schilling 1986), "
        f"at {classes.alpha:g} over all {len(classes.pairs):,} pairs (Holm).\n\n"
        + table(header, rows, right=range(1, 5))
    )


def calibration_parts(found: Calibration, classes: Classes) -> Iterator[str]:
    """What the same test makes of simulations that no fit has seen."""
    rows = [_row(name, found, classes) for name in in_class_order(found, classes)]
    yield (
        "Held-out simulations, with seeds and parameters that no fit has seen, put through the same test. The size is "
        f"the share that their own hypothesis rejects (at most {found.alpha:g} is expected, on average over the "
        "prior; by thirds of a parameter: lowest, middle, highest), the power the share that another rejects; "
        '"p, uniform" is that of its own draws\' p-values being too small.'
    )
    header = (
        "drawn from", "held out", "size", "p, uniform", "attributed to its class", "to none", "least power against",
        "coverage of 90 % intervals", "size by thirds of a parameter",
    )  # fmt: skip
    yield table(header, rows, right=range(1, 6))
    rows_of, columns, shares = confusion_grid(found, classes)
    body = [(code(name), *(_share(x) for x in line)) for name, line in zip(rows_of, shares.tolist(), strict=True)]
    yield fold("Confusion matrix", table(("drawn from", *map(code, columns)), body, right=range(1, len(columns) + 1)))
    tested = sorted({name for line in found.rejected.values() for name in line})
    body = [(code(name), *(_share(found.rejected[name].get(t)) for t in tested)) for name in rows_of]
    power = table(("drawn from", *map(code, tested)), body, right=range(1, len(tested) + 1))
    yield fold("Power: the share that each hypothesis (columns) rejects", power)


def _row(name: str, found: Calibration, classes: Classes) -> tuple[str, ...]:
    own = next((names for names in classes.members if name in names), (name,))
    others = {tested: share for tested, share in found.rejected[name].items() if tested not in own}
    weakest = min(others, key=lambda tested: (others[tested], tested)) if others else None
    coverage = ", ".join(f"{code(p)} {_share(x)}" for p, x in found.coverage.get(name, {}).items())
    attributed = found.attributed[name]
    return (
        code(name),
        f"{found.n[name]:,}",
        _share(found.rejected[name].get(name)),
        number(found.uniformity.get(name), 2),
        _share(attributed.get(" = ".join(own))),
        _share(attributed.get("none")),
        f"{code(weakest)} {_share(others[weakest])}" if weakest else "-",
        coverage or "-",
        "; ".join(f"{code(p)} {', '.join(map(_share, sizes))}" for p, sizes in found.thirds.get(name, {}).items())
        or "-",
    )


def _not_apart(pair: Pair, classes: Classes) -> str:
    same = classes.of(pair.first) == classes.of(pair.second)
    return "not told apart" + ("" if same else ", yet two classes")


def _share(share: float | None) -> str:
    return "-" if share is None else number(share, 2)
