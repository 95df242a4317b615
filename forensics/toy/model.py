"""The language models: token rows in, hidden states out, all parameters in one flat tensor.

The two token matrices belong to no layer. The loop looks rows up, the body turns them into hidden states, and the loss
multiplies those by the unembedding (see :mod:`forensics.toy.loss`): so the gradient of every row is in one place,
exact, before anything rounds it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from forensics.formats import FORMATS
from forensics.initialisation import Initialisation, draw

if TYPE_CHECKING:
    from forensics.toy.config import InitialSpec, ModelSpec

_PURPOSE = 0x1417
"""Keeps these generators apart from all others of the run's seed."""

INPUT, OUTPUT, POSITIONS = "tokens", "output", "positions"


class Body(nn.Module):
    """Positions, pre-norm transformer layers of torch, and the final norm (TinyLM of the founding runs)."""

    def __init__(self, spec: ModelSpec, context: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(context, spec.dim))
        layer = nn.TransformerEncoderLayer(
            spec.dim, spec.heads, spec.ff, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, spec.layers, enable_nested_tensor=False)
        norms = {"layernorm": nn.LayerNorm, "rmsnorm": nn.RMSNorm}
        self.final_norm = norms[spec.final_norm](spec.dim) if spec.final_norm in norms else nn.Identity()
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context), persistent=False)

    def forward(self, embedded: Tensor) -> Tensor:
        """Hidden states ``[B, T, D]`` of the embedded tokens ``[B, T, D]``."""
        length = embedded.shape[1]
        mask = self.mask[:length, :length].to(embedded.dtype)  # type: ignore[index]
        hidden: Tensor = self.layers(embedded + self.positions[:length], mask=mask, is_causal=True)
        normed: Tensor = self.final_norm(hidden)
        return normed


class GPT2Body(nn.Module):
    """The body of transformers' GPT-2, without its token matrix."""

    def __init__(self, spec: ModelSpec, context: int) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2Model

        config = GPT2Config(
            vocab_size=1,  # its own token matrix is not used
            n_positions=context,
            n_embd=spec.dim,
            n_layer=spec.layers,
            n_head=spec.heads,
            n_inner=spec.ff,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
        self.gpt2 = GPT2Model(config)
        self.gpt2.set_input_embeddings(nn.Identity())  # type: ignore[no-untyped-call]
        self.positions = self.gpt2.wpe.weight

    def forward(self, embedded: Tensor) -> Tensor:
        """Hidden states ``[B, T, D]`` of the embedded tokens ``[B, T, D]``."""
        hidden: Tensor = self.gpt2(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return hidden


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each parameter lies in the flat tensor.

    Attributes:
        shapes: by name, in order.
        starts: first element, by name.
        total: number of elements.
    """

    shapes: Mapping[str, tuple[int, ...]]
    starts: Mapping[str, int]
    total: int

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> Layout:
        """One after the other."""
        starts, total = {}, 0
        for name, shape in shapes.items():
            starts[name] = total
            total += math.prod(shape)
        return cls(dict(shapes), starts, total)

    def view(self, flat: Tensor, name: str) -> Tensor:
        """The named parameter's elements of any flat tensor of this layout, in its shape."""
        shape = self.shapes[name]
        return flat[self.starts[name] : self.starts[name] + math.prod(shape)].view(shape)


class LanguageModel:
    """A body and its token matrices over one flat tensor.

    Attributes:
        layout: where each parameter lies.
        tied: one matrix looks tokens up and scores them.
        initial: the flat tensor of the initial words, in the stored dtype.
    """

    def __init__(self, spec: ModelSpec, initial: InitialSpec, *, vocab: int, context: int, stored: str, seed: int):
        self.tied = spec.tied
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = GPT2Body(spec, context) if spec.kind == "gpt2" else Body(spec, context)
        named = dict(self.body.named_parameters())
        self._body_names = {
            name: parameter for name, parameter in named.items() if parameter is not self.body.positions
        }
        shapes: dict[str, tuple[int, ...]] = {INPUT: (vocab, spec.dim)}
        if not spec.tied:
            shapes[OUTPUT] = (vocab, spec.dim)
        shapes[POSITIONS] = (context, spec.dim)
        shapes |= {name: tuple(parameter.shape) for name, parameter in self._body_names.items()}
        self.layout = Layout.of(shapes)
        self.initial = self._initial_words(initial, stored, seed)
        self._flat = self.initial

    def _initial_words(self, initial: InitialSpec, stored: str, seed: int) -> Tensor:
        flat = torch.empty(self.layout.total, dtype=getattr(torch, stored))
        for name, parameter in self._body_names.items():
            self.layout.view(flat, name).copy_(parameter.detach())
        # A generator for each matrix: another setting of one leaves the others' words as they were.
        drawn: list[tuple[str, Initialisation | None]] = [(INPUT, initial.tokens), (POSITIONS, initial.positions)]
        if not self.tied:
            drawn.append((OUTPUT, initial.output))
        for number, (name, how) in enumerate(drawn):
            if how is None:  # an output matrix that starts as a copy
                self.layout.view(flat, name).copy_(self.layout.view(flat, INPUT))
                continue
            rng = np.random.default_rng([seed, _PURPOSE, number])
            rows, dim = self.layout.shapes[name]
            words = draw(how, rows, dim, FORMATS[stored], rng)
            signed = torch.from_numpy(words.view(f"i{words.itemsize}"))
            self.layout.view(flat, name).copy_(signed.view(flat.dtype))
        return flat

    def bind(self, visible: Tensor, gradient: Tensor) -> None:
        """Makes the layers' parameters views of ``visible`` and their gradients views of ``gradient``."""
        self.body.to(device=visible.device, dtype=visible.dtype)
        self._flat = visible
        for name, parameter in {POSITIONS: self.body.positions, **self._body_names}.items():
            parameter.data = self.layout.view(visible, name)
            parameter.grad = self.layout.view(gradient, name)

    @property
    def input(self) -> Tensor:
        """The matrix that looks tokens up, ``[V, D]``, as the forward sees it."""
        return self.layout.view(self._flat, INPUT)

    @property
    def output(self) -> Tensor:
        """The unembedding, ``[V, D]``, as the forward sees it."""
        return self.layout.view(self._flat, self.output_name)

    @property
    def output_name(self) -> str:
        """Which parameter the unembedding is."""
        return INPUT if self.tied else OUTPUT

    def hidden(self, tokens: Tensor) -> Tensor:
        """Hidden states ``[B, T, D]`` of the tokens ``int64[B, T]`` after the final norm."""
        hidden: Tensor = self.body(self.input[tokens])
        return hidden
