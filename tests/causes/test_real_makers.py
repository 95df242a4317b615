"""The rules on rows made by the makers themselves: transformers' resize, torch's padding_idx, formulas."""

import numpy as np
import pytest

from forensics.black_holes import find_black_holes
from forensics.causes import classify_causes
from forensics.embedding import Embedding

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own

DTYPES = ["float32", "bfloat16", "float16"]


def model(kind, dtype, vocab, dim=64, lean=0.5):
    """A tiny model whose rows lean a common way by ``lean`` standard deviations; its two matrices differ."""
    torch.manual_seed(0)
    sizes = {"vocab_size": vocab, "tie_word_embeddings": False}
    if kind == "gpt2":
        config = transformers.GPT2Config(n_embd=dim, n_layer=1, n_head=2, n_positions=8, **sizes)
        made = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            hidden_size=dim, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, **sizes
        )
        made = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for layer in (made.get_input_embeddings(), made.get_output_embeddings()):
            layer.weight += lean * 0.02 * torch.randn(dim)
    return made.to(getattr(torch, dtype))


def classify(source, role="input", **more):
    embedding = Embedding.from_array(source) if torch.is_tensor(source) else Embedding.from_model(source, role=role)
    return classify_causes(embedding, find_black_holes(embedding), **more)


def tokens_of(causes, cause):
    return sorted({int(t) for g in causes.groups if g.cause == cause for t in g.token_ids})


@pytest.mark.parametrize("lean", [0, 0.5])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "role"), [("gpt2", "input"), ("llama", "input"), ("llama", "output")])
def test_a_resize_with_mean_and_covariance(kind, role, dtype, lean):
    resized = model(kind, dtype, 700, lean=lean)
    resized.resize_token_embeddings(730)
    causes = classify(resized, role)
    assert tokens_of(causes, "mean-noise") == list(range(700, 730)) and set(causes.tokens) == {"mean-noise"}
    assert "before token 700 (700)" in causes.groups[-1].finding("mean-noise").evidence[0].definition


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_resize_whose_covariance_is_singular_falls_back_to_the_mean(dtype):
    resized = model("llama", dtype, 40)  # fewer rows than dimensions
    resized.resize_token_embeddings(60)
    (group,) = classify(resized).groups
    assert (group.cause, group.kind, group.token_ids.tolist()) == ("mean", "hole", list(range(40, 60)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_resize_at_random_leaves_nothing(dtype):
    resized = model("llama", dtype, 700)
    resized.resize_token_embeddings(730, mean_resizing=False)
    assert len(classify(resized)) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_to_a_multiple(dtype):
    padded = model("llama", dtype, 701)
    padded.resize_token_embeddings(pad_to_multiple_of=64)
    causes = classify(padded, padding=np.arange(704) >= 701)
    assert tokens_of(causes, "mean-noise") == [701, 702, 703]
    assert all("padding" in g.also for g in causes.groups)


@pytest.mark.parametrize("dtype", DTYPES)
def test_resized_twice_then_padded_with_zeros(dtype):
    resized = model("llama", dtype, 700)
    resized.resize_token_embeddings(716)
    resized.resize_token_embeddings(740)
    weight = resized.get_input_embeddings().weight.detach()
    causes = classify(torch.cat([weight, torch.zeros(28, 64, dtype=weight.dtype)]))
    assert tokens_of(causes, "mean-noise") == list(range(700, 740))
    assert tokens_of(causes, "zero") == list(range(740, 768))


def test_padding_idx_leaves_one_zero_row():
    layer = torch.nn.Embedding(500, 64, padding_idx=3)
    (group,) = classify(layer.weight).groups
    assert (group.cause, group.token_ids.tolist()) == ("zero", [3])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fix_of_untrained_tokens(dtype):
    """unsloth_zoo's fix_untrained_tokens, as described: mean of the trained x count / largest count."""
    weight = model("llama", dtype, 900).get_input_embeddings().weight.detach().clone()
    rng = np.random.default_rng(0)
    untrained = torch.from_numpy(np.sort(rng.choice(900, 50, replace=False)))
    weight[untrained] = 0  # what it takes for untrained: no number above 1e-16
    total = weight.sum(dim=0, dtype=torch.float32) - weight[untrained].sum(dim=0, dtype=torch.float32)
    mean = total / (900 - len(untrained))
    counts = torch.from_numpy(rng.integers(0, 6, 50))
    weight[untrained] = (mean[None].repeat(50, 1) * (counts / 117)[:, None]).to(weight.dtype)
    causes = classify(weight)
    assert tokens_of(causes, "collinear") == untrained[counts > 0].tolist()
    assert tokens_of(causes, "zero") == untrained[counts == 0].tolist()
    assert set(causes.tokens) == {"zero", "collinear"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_appended_means_of_merging_tools(dtype):
    """mergekit and unsloth's add_new_tokens: a float32 mean of all rows, rounded, repeated."""
    weight = model("llama", dtype, 900).get_input_embeddings().weight.detach()
    mean = weight.mean(dim=0, dtype=torch.float32).to(weight.dtype)
    causes = classify(torch.cat([weight, mean[None].repeat(17, 1)]))
    assert causes.tokens == {"mean": 17}


@pytest.mark.parametrize("shorter", ["bfloat16", "float16"])
def test_a_mean_taken_before_the_rows_were_rounded(shorter):
    """Resized in float32, saved in a shorter format: the mean of what is stored is not quite the stored mean."""
    weight = model("llama", "float32", 900).get_input_embeddings().weight.detach()
    mean = weight.mean(dim=0)
    causes = classify(torch.cat([weight, mean[None].repeat(17, 1)]).to(getattr(torch, shorter)))
    assert causes.tokens == {"mean": 17}
