"""Hugging Face folders: which files are read, what a missing or damaged one does, what a lying one cannot do."""

import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch

from forensics.checkpoint.disk import check_shard_name
from forensics.errors import CheckpointError, SourceError, TensorNotFoundError, UnsafeFileError
from forensics.sources import open_checkpoint

ROWS, DIM = 12, 4
E_IN, E_OUT, LAYER = "model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.weight"
CONFIG = {"model_type": "llama", "vocab_size": ROWS, "hidden_size": DIM}
INDEX = "model.safetensors.index.json"


def table(seed=0, rows=ROWS, dim=DIM):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)


def save(path, **tensors):
    safetensors.torch.save_file({name.replace("__", "."): t for name, t in tensors.items()}, path)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    return path


@pytest.fixture
def single(folder):
    """One weights file with its config."""
    safetensors.torch.save_file({E_IN: table(), E_OUT: table(1), LAYER: table(2, 8)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


@pytest.fixture
def sharded(folder):
    """E_in, a layer and E_out in three shards."""
    weight_map = {}
    for i, (name, tensor) in enumerate({E_IN: table(), LAYER: table(2, 8), E_OUT: table(1)}.items(), start=1):
        shard = f"model-{i:05}-of-00003.safetensors"
        safetensors.torch.save_file({name: tensor}, folder / shard)
        weight_map[name] = shard
    write_index(folder, weight_map)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def write_index(folder, weight_map, name=INDEX):
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))


def weight_map_of(folder):
    return json.loads((folder / INDEX).read_text())["weight_map"]


def assert_two_matrices(checkpoint):
    assert checkpoint.tied == "different"
    for role, name, seed in (("input", E_IN, 0), ("output", E_OUT, 1)):
        embedding = checkpoint.matrix(role)
        assert (embedding.tensor, embedding.role) == (name, role)
        np.testing.assert_array_equal(embedding.values(), table(seed).float().numpy())


# What is read


def test_a_single_file(single):
    checkpoint = open_checkpoint(single)
    assert_two_matrices(checkpoint)
    assert dict(checkpoint.config) == CONFIG
    assert checkpoint.source.to_dict() == {"kind": "folder", "location": "model", "revision": None}
    assert checkpoint.notes == ("no tokenizer file that is read lies beside the weights: tokens are known by id only",)


def test_the_file_itself_has_the_same_neighbours(single):
    checkpoint = open_checkpoint(single / "model.safetensors")
    assert_two_matrices(checkpoint)
    assert dict(checkpoint.config) == CONFIG
    assert checkpoint.source.to_dict() == {"kind": "file", "location": "model.safetensors", "revision": None}


def test_shards(sharded):
    checkpoint = open_checkpoint(sharded)
    assert_two_matrices(checkpoint)
    assert dict(checkpoint.config) == CONFIG


def test_a_sharded_model_as_transformers_saves_it(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = transformers.LlamaConfig(**sizes, num_attention_heads=2, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="6KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) == 3
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.tied == "different"
    for embedding, layer in (("input", model.get_input_embeddings()), ("output", model.get_output_embeddings())):
        found = checkpoint.matrix(embedding).values()
        np.testing.assert_array_equal(found, layer.weight.detach().float().numpy())


@pytest.mark.parametrize(
    ("head", "tied", "roles"),
    [
        (None, "absent", ["input"]),
        (table(), "identical", ["tied"]),
        (table(1), "different", ["input", "output"]),
        (table().float(), "different", ["input", "output"]),
    ],
    ids=["absent", "identical", "different", "other format"],
)
@pytest.mark.parametrize("layout", ["single", "shards"])
def test_tying_is_proved_by_bytes(folder, head, tied, roles, layout):
    tensors = {E_IN: table(), LAYER: table(2, 8)} | ({} if head is None else {E_OUT: head.clone()})
    if layout == "single":
        safetensors.torch.save_file(tensors, folder / "model.safetensors")
    else:
        for i, (name, tensor) in enumerate(tensors.items()):
            safetensors.torch.save_file({name: tensor}, folder / f"{i}.safetensors")
        write_index(folder, {name: f"{i}.safetensors" for i, name in enumerate(tensors)})
    # The config's word on it is not asked.
    (folder / "config.json").write_text(json.dumps({**CONFIG, "tie_word_embeddings": tied != "identical"}))
    checkpoint = open_checkpoint(folder)
    assert checkpoint.tied == tied
    assert [e.role for e in checkpoint.matrices] == roles
    assert checkpoint.matrix("input").tensor == E_IN
    if tied == "absent":
        # The config ties E_out to E_in, so that E_in serves; without its word there is no output matrix.
        assert checkpoint.matrix("output").tensor == E_IN
        (folder / "config.json").write_text(json.dumps(CONFIG))
        with pytest.raises(TensorNotFoundError, match="no output matrix, only input"):
            open_checkpoint(folder).matrix("output")


def test_a_head_that_differs_in_one_zero_sign_is_different(folder):
    values = torch.zeros(ROWS, DIM)
    head = values.clone()
    head[-1, -1] = -0.0
    safetensors.torch.save_file({E_IN: values, E_OUT: head}, folder / "model.safetensors")
    assert open_checkpoint(folder).tied == "different"


def test_a_single_file_comes_before_an_index_and_safetensors_before_bin(single):
    """As transformers looks for them."""
    write_index(single, {E_IN: "gone.safetensors"})
    write_index(single, {E_IN: "gone.bin"}, "pytorch_model.bin.index.json")
    (single / "pytorch_model.bin").write_bytes(b"not read")
    assert_two_matrices(open_checkpoint(single))


def test_a_tensor_asked_for_by_name_can_be_in_any_shard(sharded):
    (embedding,) = open_checkpoint(sharded, tensor=LAYER).matrices
    np.testing.assert_array_equal(embedding.values(), table(2, 8).float().numpy())
    with pytest.raises(TensorNotFoundError):
        open_checkpoint(sharded, tensor="model.layers.1.mlp.up_proj.weight")


def test_shards_come_before_bin(sharded):
    (sharded / "pytorch_model.bin").write_bytes(b"not read")
    assert_two_matrices(open_checkpoint(sharded))


def test_one_weights_file_of_another_name(single):
    (single / "model.safetensors").rename(single / "weights.safetensors")
    (single / "training_args.bin").write_bytes(b"not weights")
    (single / "rng_state.pth").write_bytes(b"not weights")
    assert_two_matrices(open_checkpoint(single))


def test_several_weights_files_and_no_index(single):
    (single / "model.safetensors").rename(single / "b.safetensors")
    save(single / "a.safetensors", x=table())
    with pytest.raises(SourceError, match=r"model: 2 weights files and no index.*name one of them: a\.saf.*b\.saf"):
        open_checkpoint(single)
    assert_two_matrices(open_checkpoint(single / "b.safetensors"))


def test_an_empty_folder(folder):
    with pytest.raises(SourceError, match=r"model: holds no weights file; expected one ending in \.safetensors"):
        open_checkpoint(folder)


def test_the_current_folder_has_its_name(single, monkeypatch):
    monkeypatch.chdir(single)
    checkpoint = open_checkpoint(".")
    assert checkpoint.source.to_dict() == {"kind": "folder", "location": "model", "revision": None}
    (single / "model.safetensors").unlink()
    with pytest.raises(SourceError, match=r"^model: holds no weights file"):
        open_checkpoint(".")


def test_safetensors_of_another_ending_is_known_by_its_content(single):
    (single / "model.safetensors").rename(single / "weights")
    assert_two_matrices(open_checkpoint(single / "weights"))


# Shards that are missing, damaged or not where the index says


def test_a_missing_shard_of_layers_does_not_matter(sharded):
    (sharded / "model-00002-of-00003.safetensors").unlink()
    assert_two_matrices(open_checkpoint(sharded))


@pytest.mark.parametrize(("number", "tensor"), [(1, E_IN), (3, E_OUT)])
def test_a_missing_shard_that_is_needed_is_named(sharded, number, tensor):
    shard = f"model-0000{number}-of-00003.safetensors"
    (sharded / shard).unlink()
    with pytest.raises(CheckpointError, match=f"^{shard}: missing, and tensor '{tensor}' is in it; download"):
        open_checkpoint(sharded)


def test_with_no_telling_name_every_shard_is_needed(folder):
    save(folder / "a.safetensors", w=table())
    write_index(folder, {"w": "a.safetensors", "x": "b.safetensors"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(CheckpointError, match=r"^b\.safetensors: missing, and tensor 'x' is in it"):
        open_checkpoint(folder)
    save(folder / "b.safetensors", x=table(1, 3))
    assert open_checkpoint(folder).matrix().tensor == "w"


def test_a_tensor_that_its_shard_lacks(sharded):
    write_index(sharded, {**weight_map_of(sharded), "model.embed_in.weight": "model-00001-of-00003.safetensors"})
    with pytest.raises(CheckpointError, match=r"json says it holds tensor 'model\.embed_in\.weight', and it does not"):
        open_checkpoint(sharded)


def test_a_damaged_shard(sharded):
    shard = sharded / "model-00003-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"^model-00003-of-00003\.safetensors: "):
        open_checkpoint(sharded)


def test_a_shard_that_is_no_weights_file(sharded):
    write_index(sharded, {**weight_map_of(sharded), E_IN: "config.json"})
    with pytest.raises(CheckpointError, match=r"^config\.json: not a weights file that is known"):
        open_checkpoint(sharded)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {}}', '{"weight_map": []}', '{"weight_map": "a"}'])
def test_an_index_without_a_map(folder, index):
    (folder / INDEX).write_text(index)
    with pytest.raises(CheckpointError, match="no weight_map"):
        open_checkpoint(folder)


@pytest.mark.parametrize("index", ["", "[]", "{", "\x00", '{"weight_map": {"a": "b", "a": "c"}}', "[" * 100_000])
def test_an_index_that_is_no_json_object(folder, index):
    (folder / INDEX).write_text(index)
    with pytest.raises(CheckpointError, match=INDEX):
        open_checkpoint(folder)


@pytest.mark.parametrize("shard", [None, 5, 1.5, True, [], {}, ["model-00001-of-00003.safetensors"]])
@pytest.mark.parametrize("tensor", [E_IN, LAYER])
def test_a_shard_that_is_no_name(sharded, tensor, shard):
    write_index(sharded, {**weight_map_of(sharded), tensor: shard})
    with pytest.raises(CheckpointError, match=f"the shard of tensor '{tensor}' is a .*, not a file name"):
        open_checkpoint(sharded)


UNSAFE = [
    "../../x.safetensors",
    "a/../../x.safetensors",
    "..",
    "/etc/passwd",
    "//host/x",
    "a\\b.safetensors",
    "C:\\x.safetensors",
    "C:x",
    "",
    ".",
    "/",
    "a\0b",
    "\x1b[2Jx.safetensors",
    "x\u202e.safetensors",
]


@pytest.mark.parametrize("shard", UNSAFE)
@pytest.mark.parametrize("tensor", [E_IN, LAYER])
def test_a_shard_name_that_leads_elsewhere(sharded, tensor, shard):
    (sharded.parent / "x.safetensors").write_bytes((sharded / weight_map_of(sharded)[E_IN]).read_bytes())
    write_index(sharded, {**weight_map_of(sharded), tensor: shard})
    with pytest.raises(UnsafeFileError, match="is not that of a file in the folder; do not trust") as caught:
        open_checkpoint(sharded)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("shard", ["a.safetensors", "part/a.safetensors", "..a", "a..b", "Modell-\u00e4.safetensors"])
def test_a_shard_name_inside_the_folder(shard):
    check_shard_name(shard, INDEX)


def test_half_a_surrogate_pair_is_no_shard_name(sharded):
    write_index(sharded, {**weight_map_of(sharded), E_IN: "\ud800.safetensors"})
    with pytest.raises(CheckpointError, match="surrogates not allowed"):
        open_checkpoint(sharded)
    with pytest.raises(UnsafeFileError):
        check_shard_name("\ud800.safetensors", INDEX)


def test_a_shard_name_longer_than_the_file_system_takes(sharded):
    write_index(sharded, {E_IN: "x" * 5000})
    with pytest.raises(SourceError, match="cannot be read \\(File name too long\\)") as caught:
        open_checkpoint(sharded)
    assert len(str(caught.value)) < 300


# Links, as in the Hub's cache


def test_links_out_of_the_folder_are_followed(single, tmp_path):
    """blobs/<hash> holds the bytes, snapshots/<commit>/<name> points there."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123abcd"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for i, path in enumerate(sorted(single.iterdir())):
        path.rename(blobs / f"hash{i}")
        (snapshot / path.name).symlink_to(os.path.relpath(blobs / f"hash{i}", snapshot))
    for source, location in ((snapshot, "0123abcd"), (snapshot / "model.safetensors", "model.safetensors")):
        checkpoint = open_checkpoint(source)
        assert_two_matrices(checkpoint)
        assert dict(checkpoint.config) == CONFIG
        assert checkpoint.source.location == location


def test_linked_shards(sharded, tmp_path):
    for path in list(sharded.glob("*.safetensors")):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    assert_two_matrices(open_checkpoint(sharded))


def test_a_broken_link_is_a_missing_file(sharded):
    shard = sharded / "model-00001-of-00003.safetensors"
    shard.unlink()
    shard.symlink_to("gone")
    with pytest.raises(CheckpointError, match="missing, and tensor"):
        open_checkpoint(sharded)
    with pytest.raises(SourceError, match="no such file"):
        open_checkpoint(shard)


def test_a_link_to_itself(tmp_path):
    (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
    with pytest.raises(SourceError, match="no such file"):
        open_checkpoint(tmp_path / "loop.safetensors")
    with pytest.raises(SourceError, match="holds no weights file"):
        open_checkpoint(tmp_path)


# Config and tokenizer: notes, not ends


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '"x"',
        "\xff\xfe",
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        '{"vocab_size": 1' + "0" * 5000 + "}",
    ],
    ids=["empty", "cut", "list", "number", "null", "string", "utf-16 mark", "repeated key", "deep", "5,000 digits"],
)
def test_a_damaged_config_is_a_note(single, config):
    (single / "config.json").write_text(config, encoding="latin-1")
    checkpoint = open_checkpoint(single)
    assert_two_matrices(checkpoint)
    assert checkpoint.config == {}
    assert any(note.startswith("config not used: config.json: ") and len(note) < 250 for note in checkpoint.notes)


@pytest.mark.parametrize(
    "config",
    [
        {"vocab_size": 10, "hidden_size": 4},
        {"vocab_size": 8, "hidden_size": 4},  # the rows of a layer's matrix
        {"vocab_size": 10**400, "hidden_size": -1},
        {"vocab_size": "12", "hidden_size": [4]},
        {"vocab_size": None},
        {"text_config": {"vocab_size": 12, "hidden_size": 4}},
        {"text_config": {"vocab_size": 11}, "vision_config": {"vocab_size": 8, "hidden_size": 4}},
        {"text_config": 5, "x": {"y": {"vocab_size": 3}}},
    ],
)
def test_a_config_that_lies_does_not_mislead(single, config):
    (single / "config.json").write_text(json.dumps(config))
    assert_two_matrices(open_checkpoint(single))


@pytest.mark.parametrize("tokenizer", ["", "[]", "{}", '{"model": {}}', '{"model": {"vocab": [[]]}}'])
def test_a_damaged_tokenizer_is_a_note(single, tokenizer):
    (single / "tokenizer.json").write_text(tokenizer)
    checkpoint = open_checkpoint(single)
    assert_two_matrices(checkpoint)
    assert checkpoint.vocabulary is None
    assert [note for note in checkpoint.notes if note.startswith("tokenizer not used: tokenizer.json: ")]


def test_a_tokenizer_that_is_read(single):
    (single / "vocab.txt").write_text("[PAD]\n##s\n", encoding="utf-8")
    checkpoint = open_checkpoint(single)
    assert [checkpoint.vocabulary.text(i) for i in range(3)] == ["[PAD]", "##s", None]
    assert checkpoint.notes == ()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.txt"])
def test_a_folder_in_a_files_place_is_passed_over(single, name):
    (single / name).unlink(missing_ok=True)
    (single / name).mkdir()
    assert_two_matrices(open_checkpoint(single))


# torch's own files


def test_bin_files_with_and_without_an_index(folder):
    pytest.importorskip("forensics.checkpoint.torch_zip")
    torch.save({E_IN: table(), E_OUT: table(1)}, folder / "pytorch_model.bin")
    checkpoint = open_checkpoint(folder)
    assert_two_matrices(checkpoint)
    assert checkpoint.config == {}
    assert checkpoint.vocabulary is None
    (folder / "pytorch_model.bin").unlink()
    for i, (name, tensor) in enumerate({E_IN: table(), LAYER: table(2, 8), E_OUT: table(1)}.items()):
        torch.save({name: tensor}, folder / f"{i}.bin")
    write_index(folder, {E_IN: "0.bin", LAYER: "1.bin", E_OUT: "2.bin"}, "pytorch_model.bin.index.json")
    (folder / "1.bin").unlink()
    assert_two_matrices(open_checkpoint(folder))


# What is not a file or a folder


def test_nothing_there(tmp_path):
    with pytest.raises(SourceError, match=r"^gone\.safetensors: no such file or folder; check the path"):
        open_checkpoint(tmp_path / "gone.safetensors")


def test_a_file_that_holds_no_weights(tmp_path):
    path = tmp_path / "README.md"
    for content in (b"", b"# read me"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"^README\.md: not a weights file that is known; known: \.safeten"):
            open_checkpoint(path)


@pytest.mark.parametrize("name", ["pipe", "model.safetensors", "model.gguf"])
def test_a_pipe_does_not_hang(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match=f"^{name}: neither a file nor a folder"):
        open_checkpoint(tmp_path / name)
    with pytest.raises(SourceError, match="holds no weights file"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.json", "vocab.txt", "a.tiktoken"])
def test_a_pipe_beside_the_weights_does_not_hang(single, name):
    (single / name).unlink(missing_ok=True)
    os.mkfifo(single / name)
    assert_two_matrices(open_checkpoint(single))


def test_a_device():
    with pytest.raises(SourceError, match=r"^zero: neither a file nor a folder"):
        open_checkpoint("/dev/zero")


def test_a_file_that_may_not_be_read(single):
    path = single / "model.safetensors"
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user reads everything")
    with pytest.raises(SourceError, match="cannot be read \\(Permission denied\\)"):
        open_checkpoint(single)


def test_a_path_through_a_file(single):
    with pytest.raises(SourceError, match="no such file or folder"):
        open_checkpoint(single / "config.json" / "x")


def test_an_index_decides_between_two_shards_that_hold_a_name(tmp_path):
    first, stale = torch.zeros(6, 4), torch.arange(24.0).reshape(6, 4)
    safetensors.torch.save_file({E_IN: first}, tmp_path / "a.safetensors")
    safetensors.torch.save_file({E_IN: stale, "lm_head.weight": stale + 1}, tmp_path / "b.safetensors")
    write_index(tmp_path, {E_IN: "a.safetensors", "lm_head.weight": "b.safetensors"})
    assert not open_checkpoint(tmp_path).matrix("input").values().any()


def test_one_shard_named_by_itself_leaves_tying_open(tmp_path):
    path = tmp_path / "model-00001-of-00002.safetensors"
    safetensors.torch.save_file({E_IN: torch.ones(6, 4)}, path)
    checkpoint = open_checkpoint(path)
    assert checkpoint.tied is None
    assert any("one part of several" in note for note in checkpoint.notes)


@pytest.mark.parametrize(("says", "same"), [(True, False), (False, True)])
def test_a_config_that_the_bytes_contradict_is_noted(tmp_path, says, same):
    table = torch.arange(24.0).reshape(6, 4)
    head = table.clone() if same else table + 1
    safetensors.torch.save_file({E_IN: table, "lm_head.weight": head}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"tie_word_embeddings": says}))
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.tied == ("identical" if same else "different")
    assert any("the config says" in note for note in checkpoint.notes)


def test_a_scale_beside_the_table_is_noted(tmp_path):
    table = {E_IN: torch.ones(6, 4).to(torch.float8_e4m3fn), E_IN + "_scale": torch.ones(1)}
    safetensors.torch.save_file(table, tmp_path / "model.safetensors")
    assert any("has a scale of its own" in note for note in open_checkpoint(tmp_path).notes)


def test_special_tokens_of_a_slow_tokenizer_are_read(tmp_path):
    safetensors.torch.save_file({E_IN: torch.ones(4, 4)}, tmp_path / "model.safetensors")
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1}))
    added = {"2": {"content": "<s>"}, "3": {"content": "</s>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    vocabulary = open_checkpoint(tmp_path).vocabulary
    assert [vocabulary.text(i) for i in range(4)] == ["a", "b", "<s>", "</s>"]
