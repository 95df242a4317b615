"""Which tensor is the embedding: decided from names, shapes and the config, never from a list of models."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from forensics.checkpoint.stored import StoredTensor
from forensics.embedding import Role
from forensics.errors import TensorNotFoundError

_TAILS = {"weight", "qweight", "weight_packed"}
# Not the maps from a factorised embedding's width to the model's.
_INPUT = re.compile(r"emb(?!.*(proj|map|transform))|^wte$|^shared$")
_OUTPUT = re.compile(
    r"^(lm_?head|lm_loss|(un)?embed_?out|unembed(ding)?|output(_layer|_proj|_projection)?|head|proj_out|decoder"
    r"|generator|vocab_projector|pred_layer|ff_out)$"
)
_NOT_TOKENS = re.compile(
    r"pos|(^|_)type|token_type|segment|patch|per_layer|rel|rotary|rope|time|class|speaker|norm|conv|label|lang"
)
_NOT_TEXT = re.compile(r"vision|visual|image|audio|speech")
_IN_LAYER = re.compile(r"(^|\.)(layers?|blocks?|blk|h)\.\d+\.")
"""Inside one layer: copies for multi-token prediction, tables of a layer's own."""

CONFIG_ROWS = ("vocab_size", "n_vocab", "padded_vocab_size", "n_words")
CONFIG_DIM = ("hidden_size", "d_model", "n_embd", "dim", "embedding_size", "word_embed_proj_dim", "emb_dim")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a config says of the embedding; None where it is silent."""

    rows: int | None
    dims: tuple[int, ...]


def expected_shape(config: Mapping[str, Any]) -> Shape:
    """Rows and possible widths from a config, its nested text config included.

    Several width keys can be set (a factorised embedding is narrower than the model); any may hold.
    """
    text = text_config(config)
    dims = [text[key] for key in CONFIG_DIM if type(text.get(key)) is int]
    return Shape(_config_rows(text) or None, tuple(dims))


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config that describes the language model: itself, or the nested one with a vocabulary."""
    if any(key in config for key in CONFIG_ROWS):
        return config
    nested = [v for v in config.values() if isinstance(v, Mapping) and any(key in v for key in CONFIG_ROWS)]
    # Codebooks of other modalities have vocabularies too; the text's is the largest.
    return max(nested, key=_config_rows, default=config)


def _config_rows(config: Mapping[str, Any]) -> int:
    return next((config[key] for key in CONFIG_ROWS if type(config.get(key)) is int), 0)


def config_ties(config: Mapping[str, Any]) -> bool | None:
    """Whether the config says that E_out is E_in; None where it is silent. A claim, never a proof."""
    for part in (text_config(config), config):
        if isinstance(part.get("tie_word_embeddings"), bool):
            return bool(part["tie_word_embeddings"])
    return None


def initializer_range(config: Mapping[str, Any]) -> float | None:
    """The standard deviation that the config says weights were drawn with, or None."""
    value = text_config(config).get("initializer_range")
    # A hostile config can hold any JSON value: only a positive number of a float's size means something here.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
        return None
    return float(value)


def role_by_name(name: str) -> Role:
    """What a tensor's name says it does: "input", "output" or "unknown"."""
    name = name.lower()
    parts = name.split(".")
    if parts[-1] in _TAILS and len(parts) > 1:
        parts = parts[:-1]
    last = parts[-1]
    if _is_of_other_use(name, last):
        return "unknown"
    # A head can be a module that wraps its matrix.
    if _OUTPUT.match(last) or (last in ("linear", "proj") and len(parts) > 1 and _OUTPUT.match(parts[-2])):
        return "output"
    return "input" if _INPUT.search(last) else "unknown"


def _is_of_other_use(name: str, last: str) -> bool:
    """True for a name that says what else the matrix is: positions, images, a layer's."""
    return bool(_NOT_TOKENS.search(last) or _NOT_TEXT.search(name) or _IN_LAYER.search(name))


def choose_embeddings(
    tensors: Iterable[StoredTensor], config: Mapping[str, Any], where: str
) -> tuple[StoredTensor | None, StoredTensor | None]:
    """E_in and E_out among a checkpoint's tensors; either may be None, not both.

    Among the matrices whose shape the config describes, or else among all, names decide; with no telling name
    a single matrix of the right shape is taken as E_in.

    Raises:
        TensorNotFoundError: nothing fits, or more than one could be meant; it lists them.
    """
    expected = expected_shape(config)
    matrices = [t for t in tensors if len(t.shape) == 2]
    fitting = [t for t in matrices if t.shape[0] == expected.rows]
    fitting = [t for t in fitting if t.shape[1] in expected.dims] or fitting
    heads = _of_role(fitting, "output")
    inputs = _of_role(fitting, "input") or [t for t in _of_role(matrices, "input") if _fits_heads(t, heads)]
    outputs = heads or _of_role(matrices, "output")
    if not inputs and not outputs:
        if len(fitting) != 1:
            raise _not_found(fitting or matrices, where, ambiguous=len(fitting) > 1)
        inputs = fitting
    if not inputs:
        # A table whose name says nothing, beside a head of its shape.
        shapes = {head.shape for head in outputs}
        nameless = [t for t in matrices if t.shape in shapes and role_by_name(t.name) == "unknown"]
        inputs = [t for t in nameless if not _is_of_other_use(t.name.lower(), t.name.lower().rpartition(".")[2])]
    chosen_input = _single(inputs, where)
    if chosen_input is not None:
        outputs = _heads_of(chosen_input, _of_role(matrices, "output"), heads)
    return chosen_input, _single(outputs, where)


def _fits_heads(table: StoredTensor, heads: list[StoredTensor]) -> bool:
    """Packed, a table has any shape; else it must be a pair for every head of the config's shape."""
    return table.format is None or all(_can_pair(table, head) for head in heads)


def _can_pair(table: StoredTensor, head: StoredTensor) -> bool:
    """Of one width and like numbers of rows: either may be padded; another row count altogether is a classifier's."""
    rows, scored = table.shape[0], head.shape[0]
    return head.shape[1] == table.shape[1] and rows < 2 * scored and scored < 2 * rows


def _heads_of(table: StoredTensor, outputs: list[StoredTensor], heads: list[StoredTensor]) -> list[StoredTensor]:
    """The outputs that can be the table's pair: of its shape or its rows, packed, or of the config's rows."""
    return (
        [t for t in outputs if t.shape == table.shape]
        or [t for t in outputs if t.shape[0] == table.shape[0]]
        or [t for t in outputs if t.format is None]
        or [t for t in heads if t.shape[1] == table.shape[1]]
        or [t for t in outputs if _can_pair(table, t)]
    )


def named_tensor(tensors: Mapping[str, StoredTensor], name: str, where: str) -> StoredTensor:
    """The tensor of that exact name.

    Raises:
        TensorNotFoundError: no such tensor; close names are given.
    """
    if name in tensors:
        return tensors[name]
    # Of the layers' names there can be a hundred thousand, all alike.
    outside = [known for known in tensors if not _IN_LAYER.search(known)]
    close = tuple(difflib.get_close_matches(name, outside, n=4, cutoff=0.4))
    matrices = tuple(t.name for t in _largest(tensors.values()))
    raise TensorNotFoundError(
        f"{where}: no tensor {name!r} among {len(tensors):,}",
        hint=f"did you mean {', '.join(close or matrices) or 'another file'}?",
        candidates=close or matrices,
    )


def _of_role(matrices: list[StoredTensor], role: Role) -> list[StoredTensor]:
    return [t for t in matrices if role_by_name(t.name) == role]


def _single(candidates: list[StoredTensor], where: str) -> StoredTensor | None:
    """The one candidate; of several, the shortest name if all hold the same bytes (shared tables)."""
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    first, *others = sorted(candidates, key=lambda t: (len(t.name), t.name))
    if all(same_bytes(first, other) for other in others):
        return first
    raise _not_found(candidates, where, ambiguous=True)


def same_bytes(first: StoredTensor, second: StoredTensor) -> bool:
    """True if two tensors hold the same shape, format and bytes; compared in blocks."""
    if (first.shape, first.format, first.n_bytes) != (second.shape, second.format, second.n_bytes):
        return False
    if (first.path, first.offset) == (second.path, second.offset):
        return True
    a, b = first.map(), second.map()
    step = 4 << 20
    return all((a[i : i + step] == b[i : i + step]).all() for i in range(0, len(a), step))


def _largest(tensors: Iterable[StoredTensor]) -> list[StoredTensor]:
    matrices = [t for t in tensors if len(t.shape) == 2]
    return sorted(matrices, key=lambda t: (-t.n_bytes, t.name))[:8]


def _not_found(candidates: list[StoredTensor], where: str, *, ambiguous: bool) -> TensorNotFoundError:
    listed = _largest(candidates)
    names = tuple(t.name for t in listed)
    if ambiguous:
        message = f"{where}: {len(candidates)} tensors could be the embedding"
    elif listed:
        message = f"{where}: no tensor is recognisably an embedding"
    else:
        message = f"{where}: holds no matrix"
    hint = f"choose one with --tensor: {'; '.join(map(str, listed))}" if listed else "is this the model's weights file?"
    return TensorNotFoundError(message, hint=hint, candidates=names)
