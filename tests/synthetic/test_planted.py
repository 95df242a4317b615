"""A planted matrix streams, holds and writes the same words; a folder is whole or has no truth."""

import dataclasses
import errno
import importlib.util
import json
import tracemalloc

import numpy as np
import pytest

from forensics.embedding import Embedding, Source
from forensics.errors import OutputError
from forensics.formats import FORMATS
from forensics.synthetic import plant, plant_groups

SMALL = [
    pytest.param({"name": "qwen3-4b", "rows": 2400, "dim": 64}, id="qwen3-4b"),
    pytest.param({"name": "qwen3-4b", "rows": 2400, "dim": 65, "dtype": "float32"}, id="qwen3-4b float32"),
    pytest.param({"name": "healthy", "rows": 900, "dim": 48}, id="healthy"),
    pytest.param({"name": "healthy", "rows": 900, "dim": 7, "dtype": "float8_e5m2"}, id="healthy float8"),
]


@pytest.mark.parametrize("sizes", SMALL)
def test_same_seed_same_bytes_other_seed_other_bytes(sizes):
    first, again, other = plant(**sizes), plant(**sizes, seed=0), plant(**sizes, seed=1)
    assert first.embedding().sha256 == again.embedding().sha256 == first.embedding().sha256
    assert first.truth == again.truth and first.source == again.source
    assert other.embedding().sha256 != first.embedding().sha256
    assert other.truth != first.truth and other.source != first.source


@pytest.mark.parametrize("sizes", SMALL)
def test_blocks_are_the_embedding(sizes):
    planted = plant(**sizes)
    embedding = planted.embedding()
    blocks = list(planted.blocks())
    assert all(b.dtype == planted.format.word_dtype and b.shape[1] == planted.dim for b in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), embedding.words)
    assert embedding.tensor == "model.embed_tokens.weight"
    assert embedding.source == planted.source == Source("planted", planted.name, planted.source.revision)
    parameters = (planted.rows, planted.dim, planted.seed, planted.format.name)
    assert all(str(value) in str(planted.source.revision) for value in parameters)


@pytest.mark.parametrize(
    ("sizes", "share"),
    [({"name": "qwen3-4b", "rows": 12_000, "dim": 256}, 0.15), ({"name": "healthy", "rows": 16_000}, 0.5)],
)
def test_streaming_needs_no_more_than_blocks(sizes, share):
    planted = plant(**sizes)
    tracemalloc.start()
    n_bytes = sum(block.nbytes for block in planted.blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_bytes == planted.rows * planted.dim * 2
    assert peak < share * n_bytes


@pytest.mark.parametrize("sizes", SMALL)
def test_written_folder_is_read_by_safetensors_itself(sizes, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    torch = pytest.importorskip("torch")
    planted = plant(**sizes)
    planted.write(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors", "truth.json"]
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        assert sorted(file.keys()) == ["model.embed_tokens.weight", "model.norm.weight"]
        weight, norm = file.get_tensor("model.embed_tokens.weight"), file.get_tensor("model.norm.weight")
    assert str(weight.dtype) == f"torch.{planted.format.name}"
    assert norm.to(torch.float32).tolist() == [1.0] * planted.dim
    np.testing.assert_array_equal(
        weight.view(torch.uint8).numpy().reshape(planted.rows, -1), planted.embedding().rows_bytes
    )
    assert json.loads((folder / "truth.json").read_text()) == planted.truth
    assert json.loads((folder / "config.json").read_text()) == planted.config


def test_a_folder_is_written_twice_with_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        plant("qwen3-4b", rows=2276, dim=64).write(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.filterwarnings("ignore")  # transformers' own
@pytest.mark.parametrize(
    "sizes",
    [
        {"name": "qwen3-4b", "rows": 2276},
        {"name": "qwen3-4b", "rows": 2276, "dim": 65, "dtype": "float32"},
        {"name": "healthy", "rows": 70, "dim": 7, "dtype": "float16"},
        {"name": "healthy", "rows": 70, "dim": 1},
    ],
)
def test_transformers_loads_the_folder(sizes, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    planted = plant(**sizes)
    planted.write(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    loaded = Embedding.from_model(model)
    assert loaded.format is planted.format
    np.testing.assert_array_equal(loaded.rows_bytes, planted.embedding().rows_bytes)
    with torch.no_grad():
        assert model(torch.tensor([[0, 1, 2]])).logits.shape == (1, 3, planted.rows)


def failing(planted, error):
    """The same matrix, whose stream breaks off after its first block."""

    def stream():
        yield next(planted.blocks())
        raise error

    return dataclasses.replace(planted, stream=stream)


def test_a_write_that_fails_midway_leaves_nothing(tmp_path):
    planted = plant("healthy", rows=9000, dim=64)
    with pytest.raises(RuntimeError, match="broke"):
        failing(planted, RuntimeError("broke")).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line(tmp_path):
    planted = plant("healthy", rows=9000, dim=64)
    with pytest.raises(OutputError, match="No space left") as caught:
        failing(planted, OSError(errno.ENOSPC, "No space left on device")).write(tmp_path / "out")
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failed_rewrite_keeps_the_old_matrix_but_not_its_truth(tmp_path):
    plant_groups(50, 8, [[1, 2]]).write(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(RuntimeError):
        failing(plant("healthy", rows=9000, dim=64), RuntimeError("broke")).write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert (tmp_path / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "truth.json"])
def test_a_folder_of_somebody_s_model_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text('{"precious": 1}')
    with pytest.raises(OutputError, match=f"holds {name}, which was not planted"):
        plant("healthy", rows=20, dim=8).write(tmp_path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(name, '{"precious": 1}')]


def test_a_planted_folder_is_planted_anew_and_other_files_stay(tmp_path):
    (tmp_path / "notes.md").write_text("mine")
    for name in ("healthy", "causes", "qwen3-4b"):
        plant(name, rows=2276, dim=64).write(tmp_path)
        (tmp_path / "tokenizer.json").write_text("{}")  # added to a planted checkpoint, say
    assert (tmp_path / "notes.md").read_text() == "mine"


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        plant("healthy", rows=20, dim=8).write(tmp_path / "file")


@pytest.mark.parametrize("name", FORMATS)
def test_config_names_a_type_that_torch_computes_in(name):
    config = plant("healthy", rows=20, dim=256, dtype=name).config
    assert config["torch_dtype"] == (name if not name.startswith("float8") else "bfloat16")
    assert (config["vocab_size"], config["hidden_size"], config["num_hidden_layers"]) == (20, 256, 0)
    assert (config["num_attention_heads"], config["head_dim"]) == (2, 128)


def test_truth_defines_every_figure():
    truth = plant("qwen3-4b", rows=2276, dim=64).truth
    assert len(truth["figures"]) >= 20
    for name, figure in truth["figures"].items():
        assert figure["definition"] and figure["unit"], name
        assert figure["population"] in truth["populations"], name
