"""A model beside toys, end to end: what is the same is reproduced, what is not is not, bad input is one clear error."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from forensics import comparison
from forensics.comparison import compare
from forensics.comparison.hidden import HIDDEN
from forensics.errors import ComparisonError, ForensicsError, SelectionError
from forensics.hypotheses.observables import OBSERVABLES
from forensics.sources import open_checkpoint
from tests.comparison.made import DEAD, LAST, save_model, save_run, save_runs, text

KEYS = set(OBSERVABLES) | {o.name for o in HIDDEN}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return save_runs(tmp_path_factory.mktemp("runs"), range(1, 6))


def verdicts(result, group=0):
    return {line.observable.name: line.cells[group].verdict for line in result.lines}


def test_one_more_run_of_the_toy_is_reproduced(runs):
    told = []
    for i, run in enumerate(runs):  # each in turn is the real one: one in twenty misses
        result = compare(f"run:{run}", runs[:i] + runs[i + 1 :])
        told += [verdict for verdict in verdicts(result).values() if verdict.endswith("reproduced")]
    assert len(told) > 80 and told.count("not reproduced") / len(told) < 0.15
    found = verdicts(result)
    assert found["centroid_angle"] == found["h_dead_angle"] == "reproduced" and set(found) <= KEYS
    assert result.real.is_known and len(result.real.dead) == len(DEAD)
    assert result.mechanism.claim(result.groups).endswith("generalises")
    held = result.count(0, "reproduced") + result.count(0, "not reproduced")
    assert f"would miss about {0.05 * held:.2g} by chance" in result.claim(0)


def test_another_toy_is_not(runs, tmp_path):
    result = compare(f"run:{save_run(tmp_path / 'far', pull=-0.2, noise=0.2)}", runs)
    found = verdicts(result)
    assert found["radius_over_centroid"] == found["norm_ratio"] == "not reproduced"
    line = next(line for line in result.lines if line.observable.name == "norm_ratio")
    cell = line.cells[0]
    missed = result.count(0, "not reproduced")
    told = missed + result.count(0, "reproduced")
    assert missed > 3 and f": {missed} of {told} lines not reproduced" in result.claim(0)
    assert f"miss about {0.05 * told:.2g} by chance" in result.claim(0)
    sentence = line.sentence(result.groups[0], cell)
    assert sentence.startswith(f"{line.observable.title}: real {line.real:.4g}, toy {cell.mean:.4g} \u00b1 ")
    assert f"at step {LAST}: not reproduced, " in sentence


def test_steps_are_groups_side_by_side(runs):
    result = compare(f"run:{runs[4]}@2", runs[:4], at=[1, 2, 3])
    assert [(g.label, g.step) for g in result.groups] == [("A", 1), ("A", 2), ("A", 3)]
    angle = next(line for line in result.lines if line.observable.name == "norm_ratio")
    assert angle.cells[0].mean < angle.cells[1].mean < angle.cells[2].mean
    assert [cell.verdict == "reproduced" for cell in angle.cells] == [False, True, False]


def test_two_seeds_give_no_verdict(runs):
    result = compare(f"run:{runs[0]}", runs[1:3])
    assert set(verdicts(result).values()) <= {"no verdict", "undefined"}
    assert result.claim(0).endswith("no verdict: three seeds at least, here 2")


def test_the_model_itself_is_no_toy(runs, tmp_path):
    copied = save_run(tmp_path / "copy", 1)  # of seed 1, bit for bit: another name is no other run
    result = compare(f"run:{runs[0]}", [*runs, copied])
    assert [toy.seed for toy in result.groups[0].toys] == [2, 3, 4, 5] and result.groups[0].left_out == ()
    assert sum("is the model itself" in note for note in result.real.notes) == 2
    assert len(compare(f"run:{runs[0]}@1", runs).groups[0].toys) == 5
    with pytest.raises(ComparisonError, match="the model itself"):
        compare(f"run:{runs[0]}", [runs[0]])


def test_of_few_seeds_no_line_is_reproduced_in_words(runs):
    few, many = (str(compare(f"run:{runs[0]}", runs[1:n])) for n in (4, 5))
    assert "within the seeds' spread (3 seeds: \u00b1 5 sd)" in few and "(4 seeds: \u00b1 3.6 sd)" in many
    assert not [line for line in few.splitlines() if line.endswith(" reproduced") and "not reproduced" not in line]


def test_a_step_asked_for_of_all_is_not_that_of_a_run_with_its_own(runs):
    both = compare(f"run:{runs[0]}", [f"run:{runs[1]}@1", runs[2]], at=[2])
    assert [g.step for g in both.groups] == [1, 2] and any("--at does not apply" in note for note in both.real.notes)
    alone = (
        compare(f"run:{runs[0]}", [f"run:{runs[1]}@1"]).real.notes
        + compare(f"run:{runs[0]}", runs[1], at=[2]).real.notes
    )
    assert not [note for note in alone if "--at" in note]


def test_sides_of_other_sizes(runs, tmp_path):
    wide = save_run(tmp_path / "wide", dim=32)
    result = compare(f"run:{wide}", runs)
    sized = {name for name, o in OBSERVABLES.items() if not o.scale_free}
    found = {line.observable.name: line.cells[0] for line in result.lines}
    assert sized & set(found)
    for name in sized & set(found):
        assert found[name].verdict in ("no verdict", "undefined")
        assert "not scale-free" in found[name].reason or found[name].verdict == "undefined"
    same = {line.observable.name: line.cells[0] for line in compare(f"run:{runs[0]}", runs[1:]).lines}
    assert all("not scale-free" not in (same[name].reason or "") for name in sized & set(same))


def test_what_the_selection_fixes_is_no_evidence(tmp_path, runs):
    result = compare(f"run:{save_run(tmp_path / 'one', noise=0.0)}", runs, dead="holes")
    cell = next(line.cells[0] for line in result.lines if line.observable.name == "in_hole_share")
    assert (cell.verdict, cell.reason) == ("no verdict", "fixed by how the real dead were chosen")
    assert result.options == ("--dead", "holes")


def test_steps_of_other_formats_are_not_compared(tmp_path, runs):
    rows = np.random.default_rng(0).normal(size=(96, 16)).astype(np.float32)
    rows[DEAD] = rows[60] + 1e-4 * rows[DEAD]
    save_file({"wte.weight": rows}, tmp_path / "model.safetensors")
    (tmp_path / "ids").write_text(" ".join(map(str, DEAD)))
    lines = compare(tmp_path / "model.safetensors", runs, dead=f"ids:{tmp_path / 'ids'}").lines
    of_steps = [line.cells[0] for line in lines if line.observable.unit == "steps" and line.real is not None]
    assert of_steps and all(cell.verdict in ("no verdict", "undefined") for cell in of_steps)
    assert "a step of float32 is not one of bfloat16" in {cell.reason for cell in of_steps}


def test_ids_lie_where_settings_put_them(runs):
    found = verdicts(compare(f"run:{runs[0]}", runs[1:]))
    assert found["tail_share"] == found["median_id"] == "no verdict"


def test_the_documents(runs):
    result = compare(f"run:{runs[0]}", runs[1:], at=[2])
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["schema"] == "forensics.compare/1" and document["real"]["dead_are"] == "known"
    assert document["groups"][0]["seeds"] == [2, 3, 4, 5] and document["groups"][0]["step"] == 2
    frame = result.to_frame()
    assert len(frame) == len(result.lines) and set(frame.verdict) == set(verdicts(result).values())
    assert str(result).count("\n") < 70 and "toy A at step 2 (D = 16)" in str(result)
    assert result.command == "forensics compare run:1-1@4 " + " ".join(f"run:1-{i}@2" for i in range(2, 6))
    assert comparison.__all__ == ["Comparison", "compare"]


def test_a_text(runs, tmp_path):
    folder, words = save_model(tmp_path / "model"), tmp_path / "words.txt"
    words.write_text(text(60))
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps(DEAD.tolist()))
    result = compare(folder, runs, dead=f"ids:{ids}", text=words)
    lines = {line.observable.name: line for line in result.lines if line.section == "hidden states"}
    assert set(lines) == {o.name for o in HIDDEN} and not result.real.is_known
    real = result.mechanism.real
    assert real.facts == {"positions": 60, "windows": 8, "loss": pytest.approx(np.log(96), abs=1), "text_cut": False}
    assert lines["h_dead_angle"].real == real.values["h_dead_angle"] is not None
    assert "real " in result.mechanism.claim(result.groups)
    checkpoint = open_checkpoint(folder)
    again = compare(checkpoint, runs, dead=f"ids:{ids}", text=words, path=folder)
    assert again.to_dict() == result.to_dict()


def bad(said, *arguments, error=ComparisonError, **named):
    with pytest.raises(error, match=said) as caught:
        compare(*arguments, **named)
    assert "\n" not in caught.value.message


def test_bad_texts_end_before_anything_is_read(runs, tmp_path):
    for name, raw, said in (("e", b" \n", "an empty text"), ("u", b"ok\xff", "not UTF-8 \\(byte 2\\)")):
        (tmp_path / name).write_bytes(raw)
        bad(said, "synth:no-such", runs, text=tmp_path / name)
    bad("cannot be read", "synth:no-such", runs, text=tmp_path / "missing")
    bad("cannot be read", "synth:no-such", runs, text=tmp_path)
    words = tmp_path / "w"
    words.write_text("word1 word2")
    bad("a recording has no model", f"run:{runs[0]}", runs[1:], text=words)
    bad("a planted matrix has no model", "synth:healthy", runs, text=words)


def test_bad_sides(runs, tmp_path):
    bad("nobody is dead", "synth:healthy", runs)
    bad("no such folder", f"run:{tmp_path}/none", runs, error=ForensicsError)
    bad("nothing to compare with", "synth:qwen3-4b", [])
    bad("unknown selection", f"run:{runs[0]}", runs[1:], dead="best", error=SelectionError)
