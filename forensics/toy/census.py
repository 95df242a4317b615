"""A token stream and the census that proves which of its ids occur."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forensics.errors import ConfigError

_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """A training stream; an id is dead if it does not occur in it, by count and by nothing else.

    A corpus may be without dead tokens (a control run has none); who needs some asks :meth:`require_dead`.

    Attributes:
        tokens: int32[n], read-only.
        vocab_size: V; ids run from 0 to V - 1.
        counts: int64[V], occurrences of each id.
        name: kind of corpus or name of its file, never a path.
        sha256: digest of the stream and V, so that a resumed run can prove that it reads the same corpus.
        notes: what a reader of the run should know, one sentence each.
        tokenizer_json: the tokenizer that made it, if it has one.
        context_entropy: nats a token costs at best, given the one before it; a note says how it is known.
    """

    tokens: NDArray[np.int32]
    vocab_size: int
    counts: NDArray[np.int64]
    name: str
    sha256: str
    notes: tuple[str, ...] = ()
    tokenizer_json: str | None = None
    context_entropy: float | None = None

    @classmethod
    def from_tokens(
        cls,
        tokens: NDArray[np.int32],
        vocab_size: int,
        *,
        name: str,
        notes: tuple[str, ...] = (),
        tokenizer_json: str | None = None,
        context_entropy: float | None = None,
    ) -> Self:
        """Counts a stream.

        Raises:
            ConfigError: the stream is empty, or has an id outside the vocabulary.
        """
        if tokens.size == 0:
            raise ConfigError(f"{name}: the corpus is empty", hint="give a text with at least one token")
        least, most = int(tokens.min()), int(tokens.max())
        if least < 0 or most >= vocab_size:
            found = least if least < 0 else most
            raise ConfigError(
                f"{name}: token id {found} occurs, the vocabulary has ids 0 to {vocab_size - 1}",
                hint=f"take a vocabulary of at least {most + 1}",
            )
        stream = np.array(tokens, dtype="<i4", order="C", copy=None).view()  # a view: the caller's stays as it was
        stream.setflags(write=False)
        counts = count_ids(stream, vocab_size)
        counts.setflags(write=False)
        digest = hashlib.sha256(f"forensics.corpus/1 {vocab_size}\n".encode())
        digest.update(stream.data)
        return cls(stream, vocab_size, counts, name, digest.hexdigest(), notes, tokenizer_json, context_entropy)

    @property
    def dead_ids(self) -> NDArray[np.int64]:
        """The ids that never occur, sorted: int64[dead]."""
        return np.flatnonzero(self.counts == 0)

    @property
    def live_ids(self) -> NDArray[np.int64]:
        """The ids that occur, sorted: int64[live]."""
        return np.flatnonzero(self.counts)

    @property
    def unigram(self) -> NDArray[np.float64]:
        """Share of each id in the stream: float64[V]; 0 for the dead."""
        return self.counts / self.tokens.size

    @property
    def unigram_entropy(self) -> float:
        """Nats a token costs whoever knows the shares alone: -sum p ln p (Shannon 1948)."""
        share = self.unigram[self.live_ids]
        return float(abs(share @ np.log(share)))

    def require_dead(self) -> NDArray[np.int64]:
        """The dead ids, of which there is at least one.

        Raises:
            ConfigError: every id occurs.
        """
        dead = self.dead_ids
        if dead.size == 0:
            raise ConfigError(
                f"{self.name}: no dead tokens, all {self.vocab_size} ids occur",
                hint="take a larger vocabulary than the text uses, or a corpus of the kind 'foreign' or 'synthetic'",
            )
        return dead

    def to_dict(self) -> dict[str, Any]:
        """The census: sizes, occurrences of a live id, entropies in nats, digest."""
        live = self.counts[self.live_ids]
        return {
            "name": self.name,
            "tokens": self.tokens.size,
            "vocab_size": self.vocab_size,
            "live": live.size,
            "dead": self.vocab_size - live.size,
            "occurrences_min": int(live.min()),
            "occurrences_median": float(np.median(live)),
            "occurrences_mean": float(live.mean()),
            "occurrences_max": int(live.max()),
            "unigram_entropy": self.unigram_entropy,
            "context_entropy": self.context_entropy,
            "sha256": self.sha256,
            "notes": list(self.notes),
        }


def count_ids(tokens: NDArray[np.int32], vocab_size: int) -> NDArray[np.int64]:
    """Occurrences of each id: int64[V]; in blocks, since a count widens what it reads to 8 bytes a token."""
    counts = np.zeros(vocab_size, np.int64)
    for begin in range(0, tokens.size, _BLOCK):
        counts += np.bincount(tokens[begin : begin + _BLOCK], minlength=vocab_size)
    return counts


def bigram_cross_entropy(tokens: NDArray[np.int32], vocab_size: int, limit: int = 2_000_000) -> float | None:
    """Nats a token costs a bigram count model on text it has not seen: an upper bound of the context entropy.

    p(t | s) = (n(s,t) + k u(t)) / (n(s) + k), with u the unigram counted with one occurrence more of every id
    (a Dirichlet prior around the unigram: MacKay & Peto 1995, section 3). Counted on the first four fifths; k is
    chosen on the next tenth, the last tenth is scored.

    Args:
        tokens: int32[n].
        vocab_size: V.
        limit: only the first so many tokens are read, which bounds time (about a second) and memory.

    Returns:
        The mean, or None if there are fewer than 20 tokens.
    """
    read = tokens[:limit]
    if read.size < 20:
        return None
    trained, tuned = int(read.size * 0.8), int(read.size * 0.9)
    pairs = read[:-1].astype(np.int64) * vocab_size + read[1:]
    seen, times = np.unique(pairs[:trained], return_counts=True)
    before = np.bincount(read[:trained], minlength=vocab_size)
    unigram = np.bincount(read[1 : trained + 1], minlength=vocab_size) + 1.0
    unigram /= unigram.sum()

    def cost(start: int, stop: int, weight: float) -> float:
        asked = pairs[start:stop]
        at = np.minimum(np.searchsorted(seen, asked), seen.size - 1)
        joint = np.where(seen[at] == asked, times[at], 0)
        states, following = np.divmod(asked, vocab_size)
        return float(-np.log((joint + weight * unigram[following]) / (before[states] + weight)).mean())

    weight = min((4.0**power for power in range(-1, 8)), key=lambda k: cost(trained, tuned, k))
    return cost(tuned, pairs.size, weight)
