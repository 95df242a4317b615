"""A seeded Zipf-Markov token stream with learnable context and a chosen number of dead ids; it needs no file.

The shares of the live ids follow Zipf-Mandelbrot, u(rank) ~ (rank + shift)^-zipf (Mandelbrot 1953). With the
default exponent and shift the most frequent of 6,301 live ids has 3.3 % of the stream and the median one 69 of
1,371,328 tokens, as in the founding Flannel corpus (3.33 % and 68); the rarest is expected 36 times, not once.

Context is a class bigram (Brown et al. 1992): live ids are dealt to classes, and with probability ``context`` a
token follows from the class of the one before it, else from the shares alone. What follows a class is made by
laying the shares end to end on [0, 1) twice, with the classes in two different orders: class g, whose stretch in
the first order is I(g), is followed by a uniform point of I(g), read as a token in the second order. A uniform
point of I(g) averaged over g is a uniform point of [0, 1), so that **the shares are exactly stationary**: what
context adds changes no id's frequency. The conditional entropy is then a sum over the cells of both layouts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from forensics.errors import ConfigError
from forensics.toy.census import Corpus, count_ids

# Streams of this length run side by side, this many at a time: a numpy call must be long enough to cost little
# per token and short enough to stay in the cache. Every stream starts from the shares, as a document would.
_LENGTH = 1_024
_STREAMS = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticText:
    """A seeded stream of token ids.

    Attributes:
        vocab: ids in all.
        dead: how many of them never occur.
        tokens: length of the stream.
        zipf: exponent of the rank-frequency law, at most 100; 0 makes all live ids equally frequent.
        shift: its rank shift, above -1.
        context: probability that a token follows from the one before it; 0 is an independent stream.
        classes: classes of live ids that share their successors, at most one an id; 0 gives each id its own.
        placement: where the dead ids lie, "scattered" or "last".
        seed: seed of the whole stream.

    Raises:
        ConfigError: a value outside its range, or too few tokens to show every live id.
    """

    kind: ClassVar[str] = "synthetic"
    vocab: int = 10_000
    dead: int = 3_699
    tokens: int = 1_371_328
    zipf: float = 0.93
    shift: float = 1.9
    context: float = 0.6
    classes: int = 64
    placement: Literal["scattered", "last"] = "scattered"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what no stream can be made of."""
        checks = (
            ("vocab", 1 <= self.vocab < 2**31, "an id must fit 32 bits: from 1 to 2147483647"),
            ("dead", 0 <= self.dead < self.vocab, f"from 0 to vocab - 1 = {self.vocab - 1}: one id must be live"),
            ("tokens", 1 <= self.tokens < 2**31, "from 1 to 2147483647"),
            ("zipf", 0 <= self.zipf <= 100, "a number from 0 to 100"),
            ("shift", -1 < self.shift < math.inf, "a number above -1"),
            ("context", 0 <= self.context <= 1, "a probability"),
            ("classes", self.classes >= 0, "a whole number from 0"),
            ("placement", self.placement in ("scattered", "last"), "'scattered' or 'last'"),
            ("seed", self.seed >= 0, "a whole number from 0"),
        )
        for name, holds, expected in checks:
            if not holds:
                raise ConfigError(f"corpus.{name} is {getattr(self, name)!r}, expected {expected}")
        live = self.vocab - self.dead
        if self.tokens < live:
            raise ConfigError(
                f"corpus.tokens is {self.tokens}, too few to show each of {live} live ids once",
                hint="take more tokens, or more dead ids",
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """The Markov source; a token is known by its place in the second layout.

    ``edges``: float64[live], where its stretch ends; ``share``: float64[live], how long it is; ``start`` and
    ``width``: float64[live], the stretch I(g) of its class in the first layout; ``cuts``: float64[classes + 1],
    the edges of all I(g).
    """

    edges: NDArray[np.float64]
    share: NDArray[np.float64]
    start: NDArray[np.float64]
    width: NDArray[np.float64]
    cuts: NDArray[np.float64]


def synthesize(spec: SyntheticText) -> Corpus:
    """The stream of a :class:`SyntheticText`; the same on every call. 35 million tokens take a few seconds."""
    rng = np.random.default_rng(spec.seed)
    live = spec.vocab - spec.dead
    source = _make_source(spec, live, rng)
    ids = rng.permutation(spec.vocab)[:live] if spec.placement == "scattered" else rng.permutation(live)
    tokens = _draw(source, ids.astype(np.int32), spec, rng)
    planted = _show_all(tokens, ids, rng)
    notes = (
        f"synthetic Zipf-Markov stream in documents of {_LENGTH} tokens; context_entropy is exact, of its source",
        *([f"{planted} live ids that chance had left out were planted once each"] if planted else []),
    )
    return Corpus.from_tokens(
        tokens, spec.vocab, name="synthetic", notes=notes, context_entropy=_context_entropy(source, spec.context)
    )


def _make_source(spec: SyntheticText, live: int, rng: np.random.Generator) -> _Source:
    """Deals the ranks to classes and lays them out twice."""
    # Against the first rank, so that a steep law underflows in its tail and overflows nowhere.
    weight = ((np.arange(1, live + 1) + spec.shift) / (1 + spec.shift)) ** -spec.zipf
    dealt = (weight / weight.sum())[rng.permutation(live)]
    classes = min(spec.classes or live, live)
    bounds = np.arange(classes + 1) * live // classes
    members = np.repeat(np.arange(classes), np.diff(bounds))
    cuts = np.concatenate(([0.0], np.cumsum(np.add.reduceat(dealt, bounds[:-1]))))
    second = np.argsort(rng.permutation(classes)[members], kind="stable")
    group, share = members[second], dealt[second]
    return _Source(np.cumsum(share), share, cuts[group], np.diff(cuts)[group], cuts)


def _draw(source: _Source, ids: NDArray[np.int32], spec: SyntheticText, rng: np.random.Generator) -> NDArray[np.int32]:
    """The stream: int32[tokens]. One uniform number a token decides both whether context speaks and what it says."""
    tokens = np.empty(spec.tokens, np.int32)
    inner, context = source.edges[:-1], spec.context  # without the last edge no rounding leads beyond the last id
    for begin in range(0, spec.tokens, _STREAMS * _LENGTH):
        block = tokens[begin : begin + _STREAMS * _LENGTH]
        drawn = np.empty((_LENGTH, -(-block.size // _LENGTH)), np.int32)
        at = np.searchsorted(inner, rng.random(drawn.shape[1]), side="right")
        drawn[0] = ids[at]
        for row in drawn[1:]:
            point = rng.random(row.size)
            follows = point < context
            free = (point - context) / max(1 - context, 1e-300)
            point = np.where(follows, source.start[at] + source.width[at] * (point / max(context, 1e-300)), free)
            at = np.searchsorted(inner, point, side="right")
            row[:] = ids[at]
        block[:] = drawn.T.reshape(-1)[: block.size]
    return tokens


def _show_all(tokens: NDArray[np.int32], ids: NDArray[np.int64], rng: np.random.Generator) -> int:
    """Plants, in place, each live id that does not occur, where no other id loses its first occurrence."""
    missing = ids[count_ids(tokens, int(ids.max()) + 1)[ids] == 0]
    if missing.size == 0:
        return 0
    first = np.full(int(ids.max()) + 1, -1)
    first[tokens[::-1]] = np.arange(tokens.size - 1, -1, -1)  # of equal ids the last assignment, the first place, stays
    kept = np.sort(first[first >= 0])
    chosen = rng.choice(tokens.size - kept.size, missing.size, replace=False)
    tokens[chosen + np.searchsorted(kept - np.arange(kept.size), chosen, side="right")] = missing
    return int(missing.size)


def _context_entropy(source: _Source, context: float) -> float:
    """H(next | this) of the source in nats: - sum over g of |I(g)| sum over t of p ln p, p = (1-c) u(t) + c T(g,t).

    T(g,t) is the share of I(g) that lies in the stretch of t; it is 0 but in at most classes + live cells, so that
    the sum is taken with T = 0 everywhere and mended in those cells. Derived from Cover & Thomas 2006, theorem 4.2.4.
    """
    points = np.union1d(source.cuts, source.edges)
    points = points[points <= source.cuts[-1]]  # the two layouts' sums may end a rounding apart
    begin, length = points[:-1], np.diff(points)
    token = np.minimum(np.searchsorted(source.edges, begin, side="right"), source.edges.size - 1)
    mass = np.diff(source.cuts)[np.searchsorted(source.cuts, begin, side="right") - 1]
    free = (1 - context) * source.share
    mended = mass * (_plogp(free[token] + context * length / mass) - _plogp(free[token]))
    return float(abs(_plogp(free).sum() + mended.sum()))


def _plogp(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """P ln p, 0 at 0."""
    return p * np.log(np.where(p > 0, p, 1.0))
