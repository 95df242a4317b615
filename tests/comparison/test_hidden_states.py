"""A real model's hidden states against transformers' own, and one clear refusal for each that will not do."""

import importlib.util
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from forensics.comparison import hidden_states
from forensics.comparison.hidden_states import sample_hidden
from forensics.comparison.model_place import Place, find_model
from forensics.embedding import Source
from forensics.errors import ComparisonError, RemoteError
from forensics.hub.client import HubOptions
from forensics.sources import open_checkpoint
from tests.comparison.made import DEAD, DIM, VOCAB, save_model, save_run, text


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "llama")


def sampled(folder, words, checkpoint=None):
    return sample_hidden(checkpoint or open_checkpoint(folder), Place(folder), words, DEAD)


def direct(folder, ids):
    """What transformers itself gives, window by window."""
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    hidden, logits = [], []
    with torch.no_grad():
        for start in range(0, len(ids), 8):
            out = loaded(torch.tensor([ids[start : start + 8]]), output_hidden_states=True)
            hidden.append(out.hidden_states[-1][0])
            logits.append(out.logits[0].double())
    return hidden, logits


def test_hidden_states_are_the_output_matrixs_input(model, monkeypatch, capsys):
    words = text(8 * 5 + 3)
    ids = [int(word.removeprefix("word")) for word in words.split()]
    monkeypatch.setattr(hidden_states, "_LOGIT_NUMBERS", 2 * 8 * VOCAB)  # two windows at a time, of five and a rest
    capsys.readouterr()
    found = sampled(model, words)
    assert capsys.readouterr() == ("", "")
    hidden, logits = direct(model, ids)
    np.testing.assert_allclose(found.hidden, torch.cat(hidden).numpy(), atol=1e-6)
    assert found.hidden.shape == (43, DIM) and found.window.tolist() == [i // 8 for i in range(43)]
    assert found.matrix.role in ("tied", "input") and not found.cut
    p = torch.cat(logits).softmax(dim=-1)[:, DEAD].mean() * VOCAB
    assert found.dead_probability == pytest.approx(float(p), rel=1e-5)
    nlls = [
        torch.nn.functional.cross_entropy(z[:-1], torch.tensor(ids[8 * i + 1 : 8 * i + 8]), reduction="none")
        for i, z in enumerate(logits)
    ]
    assert found.loss == pytest.approx(float(torch.cat(nlls).mean()), rel=1e-5)


def test_a_long_text_is_cut(model, monkeypatch):
    monkeypatch.setattr(hidden_states, "MAX_POSITIONS", 20)
    found = sampled(model, text(21))
    assert len(found.hidden) == 20 and found.cut


def test_two_tokens_do_and_one_does_not(model):
    assert len(sampled(model, "word1 word2").hidden) == 2
    for words, said in (("word1", "the text is 1 token"), ("  ", "the text is 0 tokens")):
        with pytest.raises(ComparisonError, match=said):
            sampled(model, words)


def test_an_encoder_scores_no_tokens(tmp_path):
    folder = save_model(tmp_path / "bert", kind="bert")
    with pytest.raises(ComparisonError, match="does not score tokens: the checkpoint holds no"):
        sampled(folder, text(9))


def test_another_models_matrix_is_refused(model, tmp_path):
    other = open_checkpoint(save_model(tmp_path / "other", seed=1))
    with pytest.raises(ComparisonError, match="another matrix \\(96 x 16\\)"):
        sampled(model, text(9), other)


def test_no_tokenizer(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "bare")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ComparisonError, match="its tokenizer cannot be loaded"):
        sampled(folder, text(9), open_checkpoint(model))


def test_a_tokenizer_of_more_tokens(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "more")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["beyond"] = VOCAB + 4
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ComparisonError, match="gives id 100, the matrix has 96 rows"):
        sampled(folder, "word1 beyond", open_checkpoint(model))


def test_a_config_that_is_no_models(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "no-such-thing"}))
    with pytest.raises(ComparisonError, match="cannot be loaded|cannot load it") as caught:
        sampled(folder, text(9), open_checkpoint(model))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_names_the_extra(model, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ComparisonError, match=f"needs {package}, which is not installed.*\\[models\\]"):
        sampled(model, text(9))


def test_a_gguf_file_asks_for_accelerate(model, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ComparisonError, match=r"needs accelerate, which is not installed.*\[models\]"):
        sample_hidden(open_checkpoint(model), Place(model, "a.gguf"), text(9), DEAD)


def test_a_model_of_the_hub_is_taken_from_huggingface_hubs_cache(model, tmp_path):
    commit = "0123456789" * 4
    opened = replace(open_checkpoint(model), source=Source("hub", "org/m", commit))
    options = HubOptions(offline=True, hub_cache=tmp_path)
    with pytest.raises(RemoteError, match="org/m: the whole model: offline mode is on"):
        find_model(opened, None, options)
    snapshot = shutil.copytree(model, tmp_path / "models--org--m" / "snapshots" / commit)
    assert find_model(opened, None, options) == Place(snapshot)


def test_where_a_model_lies(model, tmp_path):
    opened = open_checkpoint(model)
    assert find_model(opened, model) == find_model(opened, model / "model.safetensors") == Place(model)
    assert find_model(opened, tmp_path / "x.GGUF") == Place(tmp_path, "x.GGUF")
    with pytest.raises(ComparisonError, match="no config.json"):
        find_model(opened, tmp_path / "x.safetensors")
    with pytest.raises(ComparisonError, match="does not say where"):
        find_model(opened, None)
    for source, what in (("synth:healthy", "a planted matrix"), (f"run:{save_run(tmp_path / 'r')}", "a recording")):
        with pytest.raises(ComparisonError, match=what):
            find_model(open_checkpoint(source), None)
