"""Writes the case files from scan to verdict, and the report on the simulations: ``python reports/hypotheses.py``.

Run ``python reports/make.py`` before it: the case files stand beside its reports. A quarter of an hour on two cores;
minutes with ``--quick``. With ``--store DIR`` simulations are kept there, and those that are there are used.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from make import CASES, put_section, unused_sentence
from simulations import curves, recorded, simulations

import forensics
from forensics.checkpoint import Checkpoint
from forensics.formats import FloatFormat
from forensics.hypotheses.discovery import hypotheses
from forensics.hypotheses.founding import Curve
from forensics.hypotheses.judging.fit import OFF
from forensics.hypotheses.observables import OBSERVABLES
from forensics.hypotheses.subject import open_subject
from forensics.hypotheses.sweeps.study import HypothesesStudy, study
from forensics.lattice import BlockSurvey, LatticeSurvey
from forensics.report.hypotheses_calibration import classes_part
from forensics.report.hypotheses_document import PLANTED, is_planted, opening
from forensics.report.hypotheses_report import SIMULATIONS, write_hypotheses_report
from forensics.report.hypotheses_verdicts import verdict_table, weak, weights
from forensics.report.lattice_document import lattice_claim
from forensics.report.markdown import code, plain
from forensics.scanning.lattice import scan_lattice
from forensics.scanning.token_claims import claims
from forensics.scanning.tokens import scan_tokens
from forensics.text import number

HERE = Path(__file__).parent
LONG = (SIMULATIONS, "hypotheses.json")
CONTROL = "synth:healthy"

COSTLY = {"driven_normal": 1_000_000, "driven_normal_unit": 1_000_000, "trained_toy": 0}
"""Numbers in the dead rows up to which these are simulated: beyond, one takes some ten seconds."""

VERDICTS = {"The figures reject": "rejected", "They do not reject": "not rejected", "No verdict on": "no verdict"}

ASKED = {"all-minilm-l6-v2": "normal"}
"""The hypothesis that a case was chosen for."""


def main() -> None:
    """Simulates what is not there yet and writes the reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="as few simulations as a verdict needs, a short toy run")
    parser.add_argument(
        "--budget",
        type=int,
        default=500,
        help="simulations of each hypothesis; of a slow one a tenth, but 125 at least",
    )
    parser.add_argument("--store", type=Path, help="keep simulations and the toy run here, and use those there are")
    parser.add_argument("--workers", type=int, default=2, help="processes that simulate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        write(
            options.store or Path(temporary), 125 if options.quick else options.budget, options.workers, options.quick
        )


def write(store: Path, budget: int, workers: int, quick: bool) -> None:
    """All of it."""
    studies = {name: case(name, case_of[0], store / name, budget, workers) for name, case_of in CASES.items()}
    control = study(open_subject(forensics.open_checkpoint(CONTROL)))
    toy = recorded(store / ("toy-quick" if quick else "toy"), 60 if quick else None)
    simulations(studies, control, toy, 20 if quick else 200)
    put_section("Hypotheses", section())


def section() -> str:
    """What the index of the reports says of these."""
    said = [
        "Simulated and written by `python reports/hypotheses.py` (`simulations.csv` and `hypotheses.json` are left "
        "out): which initialisation could have made what a case shows, from the scan to the verdict, and what the "
        "simulators and the test are worth: [simulations.md](simulations.md).",
    ]
    cases = [name for name in CASES if (HERE / name / "case.md").exists()]
    listed = "\n".join(f"- [{name}]({name}/case.md): {claim_in(HERE / name / 'case.md')}" for name in cases)
    return "\n\n".join([*said, listed])


def claim_in(path: Path) -> str:
    """The claim at the head of a case file."""
    return next(line.strip("*") for line in path.read_text().splitlines() if line.startswith("**"))


def case(name: str, source: str, store: Path, budget: int, workers: int) -> HypothesesStudy:
    """Writes one case file with its report of hypotheses, and returns the study."""
    checkpoint = forensics.open_checkpoint(source)
    subject = open_subject(checkpoint)
    size = len(subject.dead) * subject.embedding.dim
    only = [known for known in hypotheses() if size <= COSTLY.get(known, size)]
    found = study(subject, only=only, budget=budget, workers=workers, folder=store)
    folder = HERE / name
    write_hypotheses_report(found, folder, curves=curves_of(found))
    for long in LONG:
        (folder / long).unlink(missing_ok=True)
    parts = [f"# Case: {name}", f"**{plain(opening(found))}**", PLANTED if is_planted(found.subject) else ""]
    parts += [*_looked_at(checkpoint, folder), *_verdict(found, ASKED.get(name))]
    install = [CASES[name][1]] if CASES[name][1] else []
    verbs = [verb for verb in ("scan", "lattice", "tokens") if verb == "scan" or (folder / f"{verb}.md").exists()]
    commands = [*install, *(f"forensics {verb} {source}" for verb in verbs), found.command]
    parts.append("```sh\n" + "\n".join(line for line in commands if line) + "\n```")
    parts.append("Written by `python reports/hypotheses.py`; every sentence is computed from the results.")
    (folder / "case.md").write_text("\n\n".join(part for part in parts if part) + "\n")
    return found


def curves_of(found: HypothesesStudy) -> dict[str, Curve] | None:
    """Noise around a subject's point, where it has holes that noise of its format could have made."""
    context, cloud = found.context, found.subject.cloud
    if context is None or cloud is None or not isinstance(cloud.format, FloatFormat) or cloud.populations[0] < 2:
        return None
    return curves(context, ("the stored row", "a point in its cell"), 5)


def _looked_at(checkpoint: Checkpoint, folder: Path) -> Iterator[str]:
    """What the scan, the lattice and the tokens say."""
    scanned = forensics.scan(checkpoint)
    yield "## 1. Scan"
    said = " ".join([*(plain(matrix.claim) for matrix in scanned.matrices), plain(unused_sentence(scanned))])
    yield f"{said.strip()} ([report.md](report.md))"
    yield "## 2. Lattice"
    for _, survey in scan_lattice(checkpoint).surveys:
        if survey is None:
            yield "No two rows are identical, so there is no black hole to look around."
        else:
            said = lattice_claim(survey) if isinstance(survey, LatticeSurvey) else _nearest(survey)
            yield f"{plain(said)} ([lattice.md](lattice.md))"
    yield "## 3. Tokens"
    if checkpoint.vocabulary is None:
        yield "There is no tokenizer here: who cannot be produced is not known."
        return
    for matrix in scan_tokens(checkpoint).matrices:
        yield f"{' '.join(plain(line) for line in claims(matrix))} ([tokens.md](tokens.md))"


def _nearest(survey: BlockSurvey) -> str:
    """What a quantised matrix's rows nearest to its largest hole have in common with it."""
    others = [n for n in survey.neighbours if n.token_id != survey.centre]
    shared = [n.equal_blocks for n in others]
    if not shared:
        return f"No other row lies near token {survey.centre}'s."
    most = sum(n == max(shared) for n in shared)
    return (
        f"Of the {len(shared)} rows nearest to token {survey.centre}'s, {most} share {max(shared)} of its "
        f"{survey.n_blocks} blocks bit for bit, the others {min(shared)} or more."
    )


def _verdict(found: HypothesesStudy, asked: str | None) -> Iterator[str]:
    """The hypotheses, and what follows."""
    yield "## 4. Hypotheses"
    yield f"Dead: {plain(found.subject.why_dead)}. ([hypotheses.md](hypotheses.md): method, parameters, calibration)"
    judgement = found.judgement
    if judgement is None:
        return
    yield verdict_table(found)
    yield weak(found)
    yield weights(judgement)
    skipped = [name for name in hypotheses() if name not in (found.hypotheses or {})]
    yield f"Not simulated: {', '.join(skipped)}." if skipped else ""
    yield "## 5. Verdict"
    if asked is not None:
        yield _answer(found, asked)
    for said, verdict in VERDICTS.items():
        names = [code(fit.hypothesis) for fit in judgement.fits if fit.verdict == verdict]
        yield f"{said}: {', '.join(names)}." if names else ""
    yield classes_part(judgement.classes)
    if found.subject.by_construction:
        fixed = ", ".join(OBSERVABLES[name].title for name in found.subject.by_construction)
        yield f"True by construction of who is called dead, and evidence of nothing: {plain(fixed)}."
    if is_planted(found.subject):
        yield f"**{PLANTED} It was made from published figures.**"


def _answer(found: HypothesesStudy, asked: str) -> str:
    """Whether the dead rows show what one hypothesis predicts."""
    assert found.judgement is not None and found.hypotheses is not None
    fit = next(fit for fit in found.judgement.fits if fit.hypothesis == asked)
    drawn = {str(s.parameters["sigma"]) for s in (found.simulations or {})[asked] if "sigma" in s.parameters}
    said = {"rejected": "No: it is rejected", "not rejected": "Yes: it is not rejected"}.get(fit.verdict, "No verdict")
    off = [r for r in fit.residuals if r.z is not None and abs(r.z) >= OFF]
    worst = "; ".join(r.sentence(asked) for r in off[:4]) or "no single statistic is far off"
    return (
        f"Is what these rows show what N(0, {', '.join(sorted(drawn))}) predicts "
        f"({plain(found.hypotheses[asked].title)})? **{said}** (p = {number(fit.p_value, 2)}). "
        f"{len(fit.residuals) - len(off)} of {len(fit.residuals)} statistics lie within {OFF:g} standard deviations; "
        f"furthest off: {plain(worst)}."
    )


if __name__ == "__main__":
    main()
