"""A fixed set of sequences that a run is asked at every recorded step: does it learn more than frequencies?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from forensics.errors import ConfigError
from forensics.recording import Channel
from forensics.toy.census import Corpus
from forensics.toy.figures import array
from forensics.toy.logits import logit_blocks
from forensics.toy.loop import scored_positions
from forensics.toy.model import LanguageModel
from forensics.toy.recorder import AFTER, Frames, Recorder
from forensics.toy.step import Step

SEQUENCES = 16
KEPT = 4
"""Sequences whose hidden states are kept; ranks and log-probabilities are of all."""

SEED = 20251128
"""Of the choice of sequences alone: one corpus and context give one probe, whatever the run's seed."""


class Probe(Recorder):
    """Hidden states, rank and log-probability of the true next token on sequences of the corpus, after each update.

    The sequences lie in the training stream, as everything does that the founding runs looked at: this is not a test
    of generalisation. The baseline is what the shares of the corpus alone give for the same targets.
    """

    name = "probe"

    def __init__(self, *, dim: int, context: int, label_offset: int, scored: str, corpus: Corpus) -> None:
        self._tokens = torch.from_numpy(probe_sequences(corpus, context))
        self._positions, self._targets = scored_positions(self._tokens, label_offset, scored)
        self._unigram = corpus.unigram
        n = len(self._targets)
        self._n_kept = n * KEPT // SEQUENCES
        true = f"the true token of each scored position of {SEQUENCES} fixed sequences"
        once = "(step 0 alone)"
        self.channels = (
            Channel(
                "probe_h",
                (self._n_kept, dim),
                "float32",
                unit="value",
                definition=f"h at the scored positions of the first {KEPT} fixed sequences, {AFTER}",
            ),
            Channel(
                "probe_rank",
                (n,),
                "int64",
                unit="rank",
                definition=f"1 + the number of tokens with a larger logit than {true}, {AFTER}",
            ),
            Channel("probe_logp", (n,), "float32", unit="nats", definition=f"log-probability of {true}, {AFTER}"),
            Channel(
                "probe_unigram_rank",
                (n,),
                "int64",
                unit="rank",
                definition=f"1 + the number of tokens more frequent in the corpus than {true} {once}",
            ),
            Channel(
                "probe_unigram_logp",
                (n,),
                "float32",
                unit="nats",
                definition=f"log of the corpus's share of {true}: the baseline {once}",
            ),
            Channel(
                "probe_tokens",
                (SEQUENCES, context),
                "int64",
                unit="token id",
                definition=f"the fixed sequences {once}",
            ),
            Channel("probe_targets", (n,), "int64", unit="token id", definition=f"{true} {once}"),
        )

    def begin(self, weights: Tensor, model: LanguageModel) -> Frames:
        """The answers of the initial weights, the sequences, and the baseline."""
        targets = self._targets.numpy()
        ranked = np.sort(self._unigram)
        share = self._unigram[targets]
        return {
            **self._ask(model),
            "probe_unigram_rank": len(ranked) - np.searchsorted(ranked, share, side="right") + 1,
            "probe_unigram_logp": np.log(share).astype(np.float32),
            "probe_tokens": self._tokens.numpy().copy(),
            "probe_targets": targets.copy(),
        }

    def observe(self, step: Step) -> Frames:
        """The answers of the weights after the update."""
        return self._ask(step.model)

    def _ask(self, model: LanguageModel) -> Frames:
        with torch.no_grad():
            matrix = model.output
            device = matrix.device
            hidden = model.hidden(self._tokens.to(device)).flatten(0, 1)[self._positions.to(device)]
            targets = self._targets.to(device)
            rank = np.empty(len(targets), np.int64)
            logp = np.empty(len(targets), np.float32)
            for start, logits in logit_blocks(hidden, matrix):
                stop = start + len(logits)
                true = logits.gather(1, targets[start:stop, None])
                rank[start:stop] = 1 + (logits > true).sum(dim=1).cpu().numpy()
                logp[start:stop] = (true[:, 0] - logits.logsumexp(dim=1)).cpu().numpy()
            return {"probe_h": array(hidden[: self._n_kept]), "probe_rank": rank, "probe_logp": logp}


def probe_sequences(corpus: Corpus, context: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """``int64[16, context]``, sequences of the corpus from starts drawn once.

    Raises:
        ConfigError: the corpus is shorter than a sequence.
    """
    starts = corpus.tokens.size - context + 1
    if starts < 1:
        raise ConfigError(f"a probe needs {context} tokens, the corpus has {corpus.tokens.size}")
    rng = np.random.default_rng(SEED)
    first = np.sort(rng.choice(starts, SEQUENCES, replace=starts < SEQUENCES))
    return np.stack([corpus.tokens[start : start + context] for start in first]).astype(np.int64)
