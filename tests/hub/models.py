"""Small models in every layout that the Hub has, and how tests open them over the loopback Hub."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

from forensics.hub.client import HubOptions, Watch
from forensics.sources import open_checkpoint
from tests.hub.loopback import LoopbackHub, Repo

ROWS, DIM = 600, 64
E_IN, E_OUT = "model.embed_tokens.weight", "lm_head.weight"
CONFIG = {"model_type": "llama", "vocab_size": ROWS, "hidden_size": DIM}


def matrix(dtype=torch.bfloat16, seed=0, rows=ROWS, dim=DIM):
    """Random rows, ten of which are one black hole."""
    values = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))
    values[rows // 2 : rows // 2 + 10] = values[3]
    return values.to(dtype)


def layers(n=4):
    return {f"model.layers.{i}.mlp.up_proj.weight": matrix(seed=90 + i, dim=256) for i in range(n)}


def beside(folder, config=CONFIG, *, tokens=ROWS - 7):
    """A config, and a tokenizer that lacks the last ids."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    vocab = {f"t{i}": i for i in range(tokens)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": vocab, "merges": []}}))
    (folder / "README.md").write_text("# A model")
    (folder / "vocab.json").write_text("not needed beside tokenizer.json")


def single(folder, tensors, **options):
    beside(folder, **options)
    save_file(tensors, folder / "model.safetensors")


def shards(folder, parts, *, torch_zip=False):
    """Each part a shard, with the index that says so."""
    beside(folder)
    stem, ending = ("pytorch_model", "bin") if torch_zip else ("model", "safetensors")
    weight_map = {}
    for i, part in enumerate(parts, start=1):
        name = f"{stem}-{i:05}-of-{len(parts):05}.{ending}"
        weight_map |= dict.fromkeys(part, name)
        (torch.save if torch_zip else save_file)(part, folder / name)
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def torch_single(folder):
    beside(folder)
    torch.save({E_IN: matrix(), **layers()}, folder / "pytorch_model.bin")


def gguf_file(path, *, n_tokens=ROWS):
    """Q8_0, with a vocabulary in its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(n_tokens)
    writer.add_embedding_length(DIM)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"a long piece of text for token {i:09}" for i in range(n_tokens)])
    rows = matrix(torch.float32, rows=n_tokens).numpy()
    for name in ("token_embd.weight", "blk.0.ffn_up.weight"):
        packed = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Listener(Watch):
    """Keeps what was said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def options(hub, place, **more):
    """Caches under a folder of the test; no login of the machine."""
    given = {"token": False, "endpoint": hub.endpoint if isinstance(hub, LoopbackHub) else hub}
    given |= {"cache": Path(place) / "cache", "hub_cache": Path(place) / "hub"}
    return HubOptions(**(given | more))


def opened(hub, place, source="org/name", *, tensor=None, **more):
    """The model over the Hub."""
    return open_checkpoint(source, tensor=tensor, hub=options(hub, place, **more))


def serve(folder, **flags):
    return LoopbackHub([Repo.from_folder("org/name", folder, **flags)])


def stored(checkpoint):
    """The bytes of its matrices, read now."""
    return [np.ascontiguousarray(m.rows_bytes).tobytes() for m in checkpoint.matrices]
