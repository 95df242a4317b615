"""Small recordings whose dead rows lie against h_mean, and small models that transformers loads."""

import json

import numpy as np

from forensics.formats import FORMATS
from forensics.recording import Channel, RecordingWriter
from tests.scanning.planted_model import tokenizer

BF16 = FORMATS["bfloat16"]
VOCAB, DIM, DEAD = 96, 16, np.arange(60, 96)
LAST = 4
SPREAD = ("spread_total", "spread_along", "spread_angle", "spread_resultant", "spread_norm")


def direction(dim=DIM):
    return np.ones(dim) / np.sqrt(dim)


def frames(seed, *, pull=-1.0, noise=0.02, dim=DIM):
    """W at every step, the dead rows about pull * t along h_mean; h_mean of the forward before each update."""
    rng = np.random.default_rng(seed)
    live, dead = rng.normal(size=(VOCAB - len(DEAD), dim)), rng.normal(size=(len(DEAD), dim))
    for step in range(LAST + 1):
        rows = np.concatenate([live, pull * (1 + 0.1 * step) * direction(dim) + noise * dead])
        held = {"W": BF16.narrow(rows.astype(np.float32))}
        if step:
            held["h_mean"] = (step * direction(dim)).astype(np.float32)
            held |= dict(zip(SPREAD, map(np.float64, (3.0, 0.2, 40.0, 0.7, 5.0)), strict=True))
            held["p_dead"] = np.full(len(DEAD), 0.5 / VOCAB, np.float32)
        yield step, held


def save_run(folder, seed=0, *, lr=1.0, hidden=True, dead=DEAD, **named):
    """A recording on disk."""
    dim = named.get("dim", DIM)
    channels = [Channel("W", (VOCAB, dim), "uint16", "bfloat16", token_ids=np.arange(VOCAB))]
    if hidden:
        channels += [Channel("h_mean", (dim,), "float32"), Channel("p_dead", (len(dead),), "float32")]
        channels += [Channel(name, (), "float64") for name in SPREAD]
    kept = {channel.name for channel in channels}
    config = {"seed": seed, "optimizer": {"lr": lr}, "model": {"dim": dim, "tied": True}}
    with RecordingWriter.create(folder, config, channels, vocab_size=VOCAB, dead_ids=dead) as writer:
        for step, held in frames(seed, **named):
            writer.append(step, {name: held[name] for name in kept & held.keys()})
    return folder


def save_runs(folder, seeds, **named):
    return [save_run(folder / f"{named.get('lr', 1.0):g}-{seed}", seed, **named) for seed in seeds]


WORDS = [f"word{i}" for i in range(VOCAB)]


def save_model(folder, *, seed=0, kind="llama"):
    """A random language model with dead rows, and a tokenizer of one word a token."""
    import torch
    import transformers

    torch.manual_seed(seed)
    sizes = {"vocab_size": VOCAB, "hidden_size": DIM, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position_embeddings": 8}
    if kind == "llama":
        config = transformers.LlamaConfig(**sizes, num_key_value_heads=1, tie_word_embeddings=True)
        model = transformers.LlamaForCausalLM(config)
    else:
        model = transformers.BertModel(transformers.BertConfig(**sizes))
    with torch.no_grad():
        model.get_input_embeddings().weight[torch.from_numpy(DEAD)] = 0.25 * torch.from_numpy(direction()).float()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    document = tokenizer(WORDS)
    # A tokenizer that begins every text with a token of its own, unless it is asked not to.
    start = {"id": "word0", "ids": [0], "tokens": ["word0"]}
    pieces = [{"SpecialToken": {"id": "word0", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    document["post_processor"] = {"type": "TemplateProcessing", "single": pieces, "pair": pieces}
    document["post_processor"]["special_tokens"] = {"word0": start}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return folder


def text(n, seed=0):
    return " ".join(f"word{i}" for i in np.random.default_rng(seed).integers(0, 60, n))
