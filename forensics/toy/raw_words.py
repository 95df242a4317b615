"""Matrices as their raw words: the evidence itself, of all tokens or of those that are tracked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from forensics.formats import FORMATS
from forensics.recording import Channel
from forensics.toy.figures import pick, words
from forensics.toy.model import LanguageModel
from forensics.toy.recorder import FORWARD, Frames, Recorder
from forensics.toy.step import Step

Take = Callable[[Step], Tensor | None]
Start = Callable[[Tensor, LanguageModel], Tensor]


class TokenWords(Recorder):
    """Rows of a matrix as raw words.

    Args:
        name: of the recorder and of its channel.
        fmt: number format of the matrix.
        definition: what it is.
        ids: ``int64[n]``, the tokens whose rows are taken, ascending.
        dim: numbers in a row.
        take: the matrix ``[V, D]`` of a step.
        start: the matrix of step 0, from the stored output matrix and the network; None where there is none.
    """

    def __init__(
        self,
        name: str,
        fmt: str,
        definition: str,
        ids: NDArray[Any],
        dim: int,
        take: Take,
        start: Start | None = None,
    ) -> None:
        self.name = name
        self.channels = (words_channel(name, (len(ids), dim), fmt, definition, ids),)
        self._ids, self._take, self._start = torch.from_numpy(ids), take, start

    def begin(self, weights: Tensor, model: LanguageModel) -> Frames:
        """The words before any update."""
        return {} if self._start is None else self._words(self._start(weights, model))

    def observe(self, step: Step) -> Frames:
        """The words of a step."""
        matrix = self._take(step)
        if matrix is None:
            raise ValueError(f"step {step.step} has no {self.name}")
        return self._words(matrix)

    def _words(self, matrix: Tensor) -> Frames:
        whole = len(self._ids) == len(matrix)  # then an index would be one more copy
        return {self.name: words(matrix if whole else matrix[pick(self._ids, matrix)])}


class HiddenWords(Recorder):
    """Every hidden state as raw words; large."""

    name = "h_full"

    def __init__(self, shape: tuple[int, int, int], fmt: str) -> None:
        definition = f"h at every position, [batch, position, dim], {FORWARD}"
        self.channels = (words_channel("h_full", shape, fmt, definition),)

    def observe(self, step: Step) -> Frames:
        """The words of `Step.hidden`."""
        return {"h_full": words(step.hidden)}


def words_channel(
    name: str, shape: tuple[int, ...], fmt: str, definition: str, token_ids: NDArray[Any] | None = None
) -> Channel:
    """A channel of the words of a float format."""
    dtype = FORMATS[fmt].word_dtype.name
    return Channel(name, shape, dtype, format=fmt, unit="word", definition=definition, token_ids=token_ids)
