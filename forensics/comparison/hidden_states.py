"""The hidden states of a real model over a text: what its output matrix is multiplied with, position by position.

The model is loaded through transformers in float32 on the CPU: 4 bytes a weight, so a model of 0.1 billion weights
takes 0.5 GB, one of 4 billion 16 GB. None of a repository's own code is run.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forensics.checkpoint import Checkpoint
from forensics.comparison.model_place import Place, check_gguf, needing_models
from forensics.embedding import Embedding
from forensics.errors import ComparisonError, ForensicsError

if TYPE_CHECKING:
    import torch

WINDOW = 256
"""Positions that see each other: what the bootstrap takes as independent, so not too few of them."""

MAX_POSITIONS = 16_384
"""Positions of a text that are run: at D = 4,096 their hidden states take 256 MB."""

_LOGIT_NUMBERS = 1 << 26
"""Logits at a time, 256 MB in float32: windows are run together as far as these go."""

_TROUBLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, IndexError)
"""What transformers raises on a model that it cannot load or run; it has no error of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Hidden states of a model over a text.

    Attributes:
        hidden: ``float32[n, D]``, the input of the output matrix at every position.
        window: ``int64[n]``, the window that each position is in; windows do not see each other.
        dead_probability: mean over positions and dead tokens of p, times the vocabulary's size.
        loss: mean cross entropy of the text's next tokens, nats; None where no window has two tokens.
        matrix: the output matrix as stored, which the model's own was found equal to.
        cut: whether the text went on.
    """

    hidden: NDArray[np.float32]
    window: NDArray[np.int64]
    dead_probability: float | None
    loss: float | None
    matrix: Embedding
    cut: bool


def sample_hidden(
    checkpoint: Checkpoint,
    place: Place,
    text: str,
    dead_ids: NDArray[np.int64],
    *,
    progress: Callable[[str], object] | None = None,
) -> Sample:
    """Runs a text through a model, in windows of ``WINDOW`` tokens without special tokens of the tokenizer's own.

    Args:
        checkpoint: whose output matrix is held against the loaded model's: they must hold the same numbers.
        place: of the whole model.
        text: two tokens at least.
        dead_ids: whose probability is taken.
        progress: called with the stage under way.

    Raises:
        ComparisonError: torch, transformers or the tokenizer is missing, the model cannot be loaded or scores no
            tokens, its output matrix is another, or the text is no two tokens.
    """
    say = progress or (lambda stage: None)
    name = str(checkpoint.source)
    with needing_models():
        import torch

        say("loading the model")
        with _quiet():
            tokenizer, model = _load(place, name)
            matrix = _matrix(checkpoint, model, name)
            ids = _encode(tokenizer, text, matrix.n_rows, name)
        try:
            with torch.inference_mode():
                return _run(model, ids, dead_ids, matrix, say)
        except _TROUBLE as error:
            raise _failed(name, "cannot be run", error) from None


def _load(place: Place, name: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if place.gguf is not None:
        check_gguf()
        where["gguf_file"] = place.gguf
    try:
        tokenizer = AutoTokenizer.from_pretrained(place.folder, **where)
    except _TROUBLE as error:
        raise _failed(name, "its tokenizer cannot be loaded", error) from None
    try:
        found: Any = AutoModelForCausalLM.from_pretrained(
            place.folder, dtype=torch.float32, output_loading_info=True, **where
        )
    except _TROUBLE as error:
        raise _failed(name, "transformers cannot load it as a model that scores tokens", error) from None
    model, loaded = found
    missing = sorted(loaded["missing_keys"])
    if missing:
        # An encoder, say: what transformers would draw at random must not be measured.
        message = f"{name}: it does not score tokens: the checkpoint holds no {missing[0]}"
        raise ComparisonError(message, hint="a text needs a language model; leave the text away")
    return tokenizer, model.eval()


def _matrix(checkpoint: Checkpoint, model: Any, name: str) -> Embedding:
    """The stored matrix that the model scores with."""
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if weight is None:
        raise ComparisonError(f"{name}: the model has no output matrix", hint="a text needs a language model")
    for embedding in reversed(checkpoint.matrices):
        if _same(embedding, weight):
            return embedding
    shape = " x ".join(f"{n:,}" for n in weight.shape)
    raise ComparisonError(
        f"{name}: the loaded model scores with another matrix ({shape}) than those measured",
        hint="name the whole checkpoint, without --tensor",
    )


def _same(embedding: Embedding, weight: torch.Tensor) -> bool:
    if tuple(weight.shape) != (embedding.n_rows, embedding.dim):
        return False
    loaded = weight.detach()
    return all(
        np.array_equal(loaded[start : start + len(values)].numpy(), values, equal_nan=True)
        for start, values in embedding.blocks()
    )


def _encode(tokenizer: Any, text: str, n_rows: int, name: str) -> NDArray[np.int64]:
    try:
        ids = np.array(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], np.int64)
    except _TROUBLE as error:
        raise _failed(name, "its tokenizer cannot read the text", error) from None
    if ids.ndim != 1 or len(ids) < 2:
        raise ComparisonError(f"the text is {ids.size} token{'s' * (ids.size != 1)}", hint="give a longer one")
    if ids.max() >= n_rows:
        raise ComparisonError(f"{name}: the tokenizer gives id {ids.max():,}, the matrix has {n_rows:,} rows")
    return ids


def _run(
    model: Any, ids: NDArray[np.int64], dead_ids: NDArray[np.int64], matrix: Embedding, say: Callable[[str], object]
) -> Sample:
    import torch

    kept = ids[:MAX_POSITIONS]
    caught: list[torch.Tensor] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda module, given: caught.append(given[0]))
    dead = torch.from_numpy(dead_ids)
    hidden, losses, shares = [], [], []
    try:
        done = 0
        for batch in _batches(kept, _window(model), matrix.n_rows):
            say(f"hidden states: {100 * done // len(kept)} % of {len(kept):,} positions")
            caught.clear()
            tokens = torch.from_numpy(batch)
            logits = model(input_ids=tokens, use_cache=False).logits.float()
            hidden.append(caught[-1].reshape(-1, matrix.dim).float().numpy())
            level = logits.logsumexp(dim=-1, keepdim=True)
            shares.append((logits[..., dead] - level).exp().mean(dim=-1).flatten().double())
            picked = logits[:, :-1].gather(-1, tokens[:, 1:, None]) - level[:, :-1]
            losses.append(-picked.flatten().double())
            done += batch.size
    finally:
        hook.remove()
    loss, share = torch.cat(losses), torch.cat(shares)
    size = _window(model)
    return Sample(
        np.concatenate(hidden),
        np.arange(len(kept)) // size,
        float(share.mean()) * matrix.n_rows if len(dead_ids) else None,
        float(loss.mean()) if len(loss) else None,
        matrix,
        len(kept) < len(ids),
    )


def _window(model: Any) -> int:
    limit = getattr(model.config, "max_position_embeddings", None)
    return min(WINDOW, limit) if isinstance(limit, int) and limit > 0 else WINDOW


def _batches(ids: NDArray[np.int64], size: int, vocab: int) -> Iterator[NDArray[np.int64]]:
    """Windows of equal length together, ``int64[b, size]``; the rest of the text alone."""
    whole = ids[: len(ids) // size * size].reshape(-1, size)
    together = max(1, _LOGIT_NUMBERS // (size * vocab))
    for start in range(0, len(whole), together):
        yield whole[start : start + together]
    if whole.size < len(ids):
        yield ids[np.newaxis, whole.size :]


def _failed(name: str, what: str, error: BaseException) -> ComparisonError:
    if isinstance(error, ForensicsError):
        said = str(error)
    else:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ComparisonError(f"{name}: {what} ({said[:200]})", hint="a text needs a whole model that transformers reads")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences transformers' bars and advice for a while: stdout is data, stderr our own notes."""
    import transformers.utils.logging

    logging: Any = transformers.utils.logging
    before, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(50)  # nothing but what is critical
    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # the bar over a GGUF file's tensors listens to nobody
            yield
    finally:
        logging.set_verbosity(before)
        if shown:
            logging.enable_progress_bar()
