"""The founding notebooks' training loop; written before ours was tuned, and kept as it is."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from forensics.toy.config import RunConfig
from forensics.toy.corpus import Corpus
from forensics.toy.loop import Training
from forensics.toy.model import INPUT, POSITIONS


class TinyLM(nn.Module):
    """The founding notebooks' network (Crucible 3), as its cell has it."""

    def __init__(self, vocab_size: int, hidden_dim: int, num_layers: int, num_heads: int, seq_len: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, hidden_dim)
        self.pos_embedding = nn.Embedding(seq_len, hidden_dim)
        encoder_layer = nn.TransformerEncoderLayer(
            d_model=hidden_dim,
            nhead=num_heads,
            dim_feedforward=hidden_dim * 4,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.transformer = nn.TransformerEncoder(encoder_layer, num_layers=num_layers)
        self.ln_f = nn.LayerNorm(hidden_dim)

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[B, T, V]`` and hidden states ``[B, T, D]``."""
        seq_len = input_ids.shape[1]
        hidden = self.embedding(input_ids) + self.pos_embedding(torch.arange(seq_len).unsqueeze(0))
        mask = nn.Transformer.generate_square_subsequent_mask(seq_len)
        hidden = self.ln_f(self.transformer(hidden, mask=mask, is_causal=True))
        return hidden @ self.embedding.weight.T, hidden


class Founding:
    """The founding loop of Crucible 3, cell by cell, from the same words and on the same batches as ours."""

    def __init__(self, config: RunConfig, corpus: Corpus, ours: Training):
        spec, context = config.model, config.batches.context
        self.vocab, self.batches, self.step = corpus.vocab_size, ours.batches, 0
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="enable_nested_tensor is True")
            self.model = TinyLM(self.vocab, spec.dim, spec.layers, spec.heads, context).to(torch.bfloat16)
        names = {INPUT: "embedding.weight", POSITIONS: "pos_embedding.weight"}
        state = {}
        for name in ours.model.layout.shapes:
            theirs = name.replace("layers.layers", "transformer.layers").replace("final_norm", "ln_f")
            state[names.get(name, theirs)] = ours.model.layout.view(ours.updater.weights, name)
        self.model.load_state_dict(state)
        rule = config.optimizer
        betas = (rule.beta1, rule.beta2)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=rule.lr, betas=betas, eps=rule.eps, weight_decay=rule.weight_decay
        )
        self.loss_fn = nn.CrossEntropyLoss()
        self.w_history, self.h_history = histories(config, self.vocab)

    def one(self) -> float:
        """A step of the founding loop."""
        self.step += 1
        h, loss = self.backward(torch.from_numpy(self.batches.at(self.step)))
        self.optimizer.step()
        self.w_history[self.step] = self.model.embedding.weight.detach().cpu().to(torch.bfloat16)
        self.h_history[self.step - 1] = h.mean(dim=(0, 1)).cpu().float()
        return loss.item()

    def backward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states and loss; the gradients are in the parameters."""
        with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
            logits, h = self.model(input_ids)
            shift_logits = logits[:, :-1, :].contiguous()
            shift_labels = input_ids[:, 1:].contiguous()
            loss = self.loss_fn(shift_logits.view(-1, self.vocab), shift_labels.view(-1))
        self.optimizer.zero_grad()
        loss.backward()
        return h.detach(), loss


def histories(config: RunConfig, vocab: int) -> tuple[Tensor, Tensor]:
    """What the founding loop copies W and h_mean into, for the whole run.

    Theirs writes zeros first, 0.64 GB for crucible-3; here a page that holds no step yet costs nothing.
    """
    dim = config.model.dim
    words = torch.from_numpy(np.zeros((config.steps + 1, vocab, dim), np.int16))
    return words.view(torch.bfloat16), torch.zeros(config.steps, dim)
