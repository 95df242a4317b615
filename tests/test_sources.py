"""What a user may name, and what comes of it."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from forensics.checkpoint import Checkpoint
from forensics.errors import CheckpointError, ForensicsError, RemoteError, SourceError, TensorNotFoundError
from forensics.hub.client import HubOptions
from forensics.sources import load_embedding, open_checkpoint

TENSOR = "model.embed_tokens.weight"
VALUES = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current folder and the home folder, with ``org/name`` and ``weights.safetensors`` in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "org" / "name"
    folder.mkdir(parents=True)
    for path in (folder / "model.safetensors", tmp_path / "weights.safetensors"):
        safetensors.torch.save_file({TENSOR: VALUES, "lm_head.weight": VALUES + 1}, path)
    return tmp_path


FILE = ("file", "weights.safetensors")
FOLDER = ("folder", "name")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("weights.safetensors", FILE),
        ("./weights.safetensors", FILE),
        ("~/weights.safetensors", FILE),
        ("org/../weights.safetensors", FILE),
        ("org/name", FOLDER),  # of the Hub's form, and here
        ("org/name/", FOLDER),
        ("./org/name", FOLDER),
        ("~/org/name", FOLDER),
        ("org/name/model.safetensors", ("file", "model.safetensors")),
        (Path("org/name"), FOLDER),
        (Path("~/org/name"), FOLDER),
    ],
)
def test_local_paths(home, source, expected):
    checkpoint = open_checkpoint(source)
    assert (checkpoint.source.kind, checkpoint.source.location) == expected
    assert checkpoint.source.revision is None
    np.testing.assert_array_equal(checkpoint.matrix().values(), VALUES.numpy())


def test_an_absolute_path_leaves_no_trace_of_the_machine(home):
    checkpoint = open_checkpoint(str(home / "org" / "name"))
    for embedding in checkpoint.matrices:
        assert embedding.source.to_dict() == {"kind": "folder", "location": "name", "revision": None}
        assert str(home) not in repr(embedding)


def test_folders_by_dots_have_their_names(home, monkeypatch):
    monkeypatch.chdir(home / "org" / "name")
    assert open_checkpoint(".").source.location == "name"
    (home / "org" / "name" / "inner").mkdir()
    monkeypatch.chdir("inner")
    assert open_checkpoint("..").source.location == "name"
    assert open_checkpoint("../").source.location == "name"
    assert open_checkpoint("../../name").source.location == "name"


@pytest.mark.parametrize("source", ["", " ", "\t\n"])
def test_an_empty_source(source):
    with pytest.raises(SourceError, match="an empty SOURCE; name org/name"):
        open_checkpoint(source)


@pytest.mark.parametrize(
    ("source", "asked_for"),
    [("Qwen/Qwen3-4B", "Qwen/Qwen3-4B"), ("org/other", "org/other"), ("org/name@main", "org/name@main"),
     ("hf:a/b", "a/b"), ("hf:org/name", "org/name"), ("hf://org/name", "org/name"), ("hf:gpt2", "gpt2"),
     ("a/b:x.gguf", "a/b:x.gguf"),
     ("a/b@refs/pr/1:in/model.safetensors", "a/b@refs/pr/1:in/model.safetensors")],
)  # fmt: skip
def test_what_is_asked_of_the_hub(home, source, asked_for):
    nothing = HubOptions(offline=True, cache=home / "cache", hub_cache=home / "hub")
    with pytest.raises(RemoteError, match="not in the cache, and offline") as caught:
        open_checkpoint(source, hub=nothing)
    assert caught.value.message.startswith(f"{asked_for}: ") and caught.value.exit_code == 4


def test_a_folder_of_the_hubs_form_is_read_here_and_said_to_be(home):
    assert open_checkpoint("org/name").notes[0] == (
        "org/name is read from this disk; for the Hub's model of that name write hf:org/name"
    )
    assert "read from this disk" not in " ".join(open_checkpoint("./org/name").notes)


@pytest.mark.parametrize("source", ["run:", "hf:", "hf:a/b/c", "hf:a b", "hf:a--b/c", "hf:a/b.git"])
def test_what_this_version_does_not_read(home, source):
    with pytest.raises(SourceError, match="not a kind of SOURCE that this version reads; expected org/name") as caught:
        open_checkpoint(source)
    assert str(caught.value).startswith(source)


@pytest.mark.parametrize(
    "source",
    [
        "gone",
        "./gone",
        "/gone",
        "a/b/c",
        "pkg:",
        "synth:",
        "org/name/gone",
        "a\0b",
        "./a\0b",
        "\ud800",
        "-",
        "*",
        "~/gone",
    ],
)
def test_nothing_there(home, source):
    with pytest.raises(SourceError, match="no such file or folder"):
        open_checkpoint(source)


@pytest.mark.parametrize("source", ["x" * 300, "./" + "x" * 300, "org/" + "x" * 5000, "a/" * 3000])
def test_names_longer_than_the_file_system_takes(home, source):
    with pytest.raises(SourceError):
        open_checkpoint(source)


def test_a_home_that_is_nobodys(home):
    with pytest.raises(SourceError, match="~nobody-of-that-name/x: .*write the path out"):
        open_checkpoint("~nobody-of-that-name/x")


def test_a_package_that_is_not_installed():
    with pytest.raises(SourceError, match="pkg:no_such_package: no installed package"):
        open_checkpoint("pkg:no_such_package")


# Planted checkpoints


def test_a_planted_checkpoint():
    checkpoint = open_checkpoint("synth:healthy")
    assert isinstance(checkpoint, Checkpoint)
    assert checkpoint.source.kind == "planted"
    assert checkpoint.tied == "absent"
    [embedding] = checkpoint.matrices
    assert open_checkpoint("synth:healthy").matrix().sha256 == embedding.sha256
    assert open_checkpoint("synth:healthy", tensor=embedding.tensor).matrix().sha256 == embedding.sha256


def test_a_planted_checkpoint_that_is_not_there():
    with pytest.raises(ForensicsError, match="nothing-of-that-name"):
        open_checkpoint("synth:nothing-of-that-name")
    with pytest.raises(TensorNotFoundError, match="synth:healthy: no tensor 'x'"):
        open_checkpoint("synth:healthy", tensor="x")


# One matrix


def test_the_matrix_of_a_role(home):
    assert load_embedding("weights.safetensors").role == "input"
    assert load_embedding("weights.safetensors", role="input").tensor == TENSOR
    np.testing.assert_array_equal(load_embedding("weights.safetensors", role="output").values(), VALUES.numpy() + 1)


def test_a_role_that_is_not_there(home):
    safetensors.torch.save_file({TENSOR: VALUES}, "alone.safetensors")
    with pytest.raises(TensorNotFoundError, match=r"alone\.safetensors: no output matrix, only input") as caught:
        load_embedding("alone.safetensors", role="output")
    assert isinstance(caught.value, KeyError)
    assert caught.value.candidates == (TENSOR,)


def test_a_tied_matrix_has_both_roles(home):
    safetensors.torch.save_file({TENSOR: VALUES, "lm_head.weight": VALUES.clone()}, "tied.safetensors")
    assert load_embedding("tied.safetensors", role="output").sha256 == load_embedding("tied.safetensors").sha256


def test_a_tensor_by_name(home):
    checkpoint = open_checkpoint("weights.safetensors", tensor="lm_head.weight")
    assert [(e.tensor, e.role) for e in checkpoint.matrices] == [("lm_head.weight", "output")]
    assert checkpoint.tied is None
    assert load_embedding("weights.safetensors", tensor="lm_head.weight").tensor == "lm_head.weight"
    with pytest.raises(TensorNotFoundError, match="no tensor 'lm_head'"):
        open_checkpoint("weights.safetensors", tensor="lm_head")
    with pytest.raises(TensorNotFoundError, match="no tensor ''"):
        open_checkpoint("weights.safetensors", tensor="")


def test_a_damaged_file_is_the_readers_error(home):
    Path("damaged.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match=r"^damaged\.safetensors: "):
        open_checkpoint("damaged.safetensors")
