"""A small model with one token of every fault: a folder with weights and a word-level tokenizer.json."""

import json

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from forensics.sources import open_checkpoint

ROWS, DIM, TOKENS = 1_200, 48, 1_180
ZERO, DEAD, NEAR, SPLIT, NAN = 110, (100, 101, 102, 103), (104, 105), 120, 130
ORIGINAL, COPY, UNKNOWN, HEALTHY = 140, 2, 0, 300
UNDER_TRAINED = tuple(range(200, 240))
PADDING = tuple(range(TOKENS, ROWS))
ADDED = {0: "<unk>", 1: "<pad>", 2: "<copy>"}


def pieces():
    """By id: words, three added tokens, forty reserved-looking ones and one with a space, which no word has."""
    named = ADDED | {i: f"<extra_{n}>" for n, i in enumerate(UNDER_TRAINED)} | {SPLIT: "two words"}
    return [named.get(i, f"word{i}") for i in range(TOKENS)]


def values(shared=0.35, seed=0):
    """bfloat16[ROWS, DIM]: rows of spread norms about 1; the untrained ones lie about one vector of norm ``shared``."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1, (ROWS, DIM)) * np.exp(rng.normal(0, 0.2, (ROWS, 1))) / np.sqrt(DIM)
    common = rng.normal(0, shared / np.sqrt(DIM), DIM)
    rows[[*UNDER_TRAINED]] = common + rng.normal(0, 0.02 / np.sqrt(DIM), (len(UNDER_TRAINED), DIM))
    rows[[*DEAD, *NEAR]] = common
    rows = rows.astype(ml_dtypes.bfloat16)
    words = rows.view(np.uint16)
    words[NEAR[0], 3] += 1
    words[NEAR[1], 5:7] += 1
    rows[ZERO], rows[NAN, 0], rows[COPY] = 0, np.nan, rows[ORIGINAL]
    return rows


def tokenizer(texts=None):
    """The tokenizer.json of some pieces, as a document."""
    texts = pieces() if texts is None else texts
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": text, **flags} for i, text in ADDED.items() if texts[i] == text],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {text: i for i, text in enumerate(texts)}, "unk_token": "<unk>"},
    }


def write_model(folder, tensors=None, config=None, document=None):
    """Writes the model, or one of other tensors, config and tokenizer; ``document`` False leaves the last out."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"wte.weight": values()} if tensors is None else tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config or {}))
    if document is not False:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer() if document is None else document))
    return folder


def opened(folder, *arguments, **named):
    """The written model as a checkpoint."""
    return open_checkpoint(str(write_model(folder, *arguments, **named)))
