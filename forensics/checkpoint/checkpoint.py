"""What every SOURCE opens to: the embedding matrices of a model, with the proof of how they are tied."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.checkpoint.naming import choose_embeddings, config_ties, named_tensor, role_by_name, same_bytes
from forensics.checkpoint.stored import StoredTensor
from forensics.embedding import Embedding, Source
from forensics.errors import FormatError, TensorNotFoundError
from forensics.formats import FloatFormat
from forensics.vocabulary import Vocabulary

Tied = Literal["absent", "identical", "different"]
"""E_out against E_in, by bytes: not stored, the same bytes, or other bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A model's embedding matrices and what lies beside them.

    Attributes:
        source: where it came from.
        matrices: one Embedding if E_out is absent or identical to E_in (role "tied"), else two.
        tied: "absent", "identical" or "different", from bytes; None where that cannot be known: one tensor was
            asked for by name, only E_out is stored, or only a part of the checkpoint was read.
        vocabulary: the tokenizer's pieces, or None.
        config: the model's config, empty if there is none.
        notes: what a reader of the results must know, such as a tokenizer that could not be read.
        asked: the tensor that was asked for by name, or None.
        output_bias: ``float32[rows]``, what the output layer adds to each token's score; None where it adds nothing.
        dead_ids: ``int64[n]``, tokens that the training stream never held, where that was recorded; else None.
    """

    source: Source
    matrices: tuple[Embedding, ...]
    tied: Tied | None
    vocabulary: Vocabulary | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    asked: str | None = None
    output_bias: NDArray[np.float32] | None = None
    dead_ids: NDArray[np.int64] | None = None

    def command(self, verb: str, *options: str) -> str:
        """What to type to do this again: the verb, the SOURCE, the options, and the tensor that was asked for."""
        asked = ["--tensor", self.asked] if self.asked is not None else []
        return shlex.join(["forensics", verb, self.source.argument, *options, *asked])

    def matrix(self, role: str | None = None) -> Embedding:
        """The matrix of that role; E_in, or the only one, without a role.

        A tied matrix serves both roles, and so does an E_in whose config ties it to an E_out that is not stored.

        Raises:
            TensorNotFoundError: no such matrix.
        """
        for embedding in self.matrices:
            if role is None or embedding.role in (role, "tied"):
                return embedding
        if role == "output" and self.tied == "absent" and config_ties(self.config):
            return self.matrices[0]
        held = ", ".join(e.role for e in self.matrices)
        names = tuple(e.tensor for e in self.matrices)
        raise TensorNotFoundError(f"{self.source}: no {role} matrix, only {held}", candidates=names)


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What a reader found on disk, before any tensor is chosen.

    Attributes:
        where: names the place in error messages.
        tensors: by name.
        config: the model's config, empty if there is none.
        vocabulary: the tokenizer's pieces, or None.
        notes: anything that could not be read and was passed over.
        is_part: the file is one of several, so that what it lacks may be in another.
    """

    where: str
    tensors: Mapping[str, StoredTensor]
    config: Mapping[str, Any]
    vocabulary: Vocabulary | None
    notes: tuple[str, ...] = ()
    is_part: bool = False


def assemble(contents: Contents, source: Source, tensor: str | None = None) -> Checkpoint:
    """Chooses the embedding tensors and proves how they are tied.

    Args:
        contents: what the reader found.
        source: where it came from.
        tensor: take this tensor alone instead of choosing.

    Raises:
        TensorNotFoundError: no tensor, or more than one, could be meant.
        CheckpointError, FormatError: the chosen tensor cannot be an embedding.
    """
    tied: Tied | None = None
    if tensor is not None:
        stored = named_tensor(contents.tensors, tensor, contents.where)
        matrices = [stored.embedding(role_by_name(tensor), source)]
    else:
        chosen, head = choose_embeddings(contents.tensors.values(), contents.config, contents.where)
        matrices, tied = _pair(chosen, head, source)
    notes = [*contents.notes, *_doubts(contents, matrices, tied)]
    if contents.is_part and tied == "absent":
        tied = None
    bias = _output_bias(contents, matrices[-1].n_rows, source) if tensor is None else None
    found, config = tuple(matrices), contents.config
    return Checkpoint(source, found, tied, contents.vocabulary, config, tuple(notes), tensor, bias)


def _output_bias(contents: Contents, n_rows: int, source: Source) -> NDArray[np.float32] | None:
    """The one vector that is called a bias and has a number for every token: no other layer is that wide."""
    biases = [t for t in contents.tensors.values() if t.name.lower().endswith("bias") and _is_vector(t, n_rows)]
    if len(biases) != 1:
        return None
    row: NDArray[np.float32] = replace(biases[0], shape=(1, n_rows)).embedding("unknown", source).values()[0]
    return row


def _is_vector(tensor: StoredTensor, n: int) -> bool:
    return tensor.shape in ((n,), (1, n)) and isinstance(tensor.format, FloatFormat)


def _doubts(contents: Contents, matrices: list[Embedding], tied: Tied | None) -> Iterator[str]:
    """What the bytes contradict, or cannot tell."""
    if contents.is_part and tied == "absent":
        yield "one part of several was read: whether an output matrix is stored in another is not known"
    says = config_ties(contents.config)
    if says is True and tied == "different":
        yield "the config says that the matrices are tied, and their bytes differ"
    if says is False and tied == "identical":
        yield "the config says that the matrices are not tied, and their bytes are identical"
    for embedding in matrices:
        scales = [name for tail in ("_scale", "_scale_inv") if (name := embedding.tensor + tail) in contents.tensors]
        if scales:
            yield f"{embedding.tensor} has a scale of its own ({scales[0]}): figures are of the stored numbers"


def _pair(
    chosen: StoredTensor | None, head: StoredTensor | None, source: Source
) -> tuple[list[Embedding], Tied | None]:
    if chosen is None and head is not None:
        # Only a head: there is no E_in to hold it against.
        return [head.embedding("output", source)], None
    assert chosen is not None
    if head is None:
        return [chosen.embedding("input", source)], "absent"
    if same_bytes(chosen, head):
        return [chosen.embedding("tied", source)], "identical"
    first = chosen.embedding("input", source)
    try:
        return [first, head.embedding("output", source)], "different"
    except FormatError as error:
        # E_in alone would be a scan that says nothing of the matrix that it left out.
        hint = f"scan E_in alone with --tensor {chosen.name}, or the checkpoint that E_out was packed from"
        raise FormatError(error.message, hint=hint) from None
