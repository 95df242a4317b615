"""Planted causes hold what their truth says, in every format; blocks are not written as floats."""

import numpy as np
import pytest

from forensics import open_checkpoint
from forensics.black_holes import find_black_holes
from forensics.errors import OutputError, SourceError
from forensics.formats import FORMATS
from forensics.synthetic import PLANTED
from forensics.synthetic.causes import MAKERS, Q8_0, RECIPES, plant_cause

NEVER_EQUAL = {"mean-noise"}  # or not in every format: a cloud, not a hole


@pytest.mark.parametrize("cause", MAKERS)
def test_groups_are_equal_rows_and_no_others_are(cause):
    planted = plant_cause(cause, rows=700, dim=64, dtype="float32", seed=3)
    holes = find_black_holes(planted.embedding())
    single = [g for g in planted.truth["groups"] if g["cause"] not in (*NEVER_EQUAL, "collinear", "zero")]
    found = {tuple(hole.token_ids.tolist()) for hole in holes.holes}
    assert {tuple(g["token_ids"]) for g in single} <= found
    planted_ids = {t for g in planted.truth["groups"] for t in g["token_ids"]}
    assert {t for ids in found for t in ids} <= planted_ids
    members = [t for g in planted.truth["groups"] for t in g["token_ids"]]
    assert len(members) == len(set(members))


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_format_and_the_same_seed_give_the_same_rows(dtype):
    first, again = (plant_cause("all", rows=600, dim=32, dtype=dtype).embedding() for _ in range(2))
    assert first.format.name == dtype and first.sha256 == again.sha256
    assert plant_cause("all", rows=600, dim=32, dtype=dtype, seed=1).embedding().sha256 != first.sha256


def test_each_is_opened_by_its_name():
    assert set(RECIPES) <= set(PLANTED)
    checkpoint = open_checkpoint("synth:cause-quantised")
    assert checkpoint.matrix().format == Q8_0 and str(checkpoint.source).startswith("synth:cause-quantised")


def test_blocks_are_not_written(tmp_path):
    with pytest.raises(OutputError, match="no safetensors"):
        plant_cause("quantised", rows=600, dim=64).write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_before_quantisation_differ():
    planted = plant_cause("quantised", rows=600, dim=64)
    words = np.concatenate(list(planted.blocks()))
    for group in planted.truth["groups"]:
        assert len(np.unique(words[group["token_ids"]], axis=0)) == len(group["token_ids"])


@pytest.mark.parametrize(
    ("cause", "sizes"),
    [
        ("nothing", {}),
        ("zero", {"rows": 100}),
        ("zero", {"dim": 8}),
        ("quantised", {"dim": 65}),
        ("zero", {"seed": -1}),
    ],
)
def test_what_cannot_be_planted_is_refused(cause, sizes):
    with pytest.raises(SourceError) as caught:
        plant_cause(cause, **sizes)
    assert "\n" not in str(caught.value)
