"""Planted examples of what makes equal or nearly equal rows, one a cause, all at once, and a quantised null.

Each is made the way its maker makes it: from a description of the maker's arithmetic, in its order of roundings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forensics.embedding import Embedding
from forensics.errors import OutputError, SourceError
from forensics.formats import BFLOAT16, BlockFormat, FloatFormat, Words, float_format
from forensics.synthetic.groups import BLOCK_NUMBERS, STD
from forensics.synthetic.planted import Planted, check_sizes, qwen3_config

Ids = NDArray[np.int64]

ROWS, DIM = 4096, 256

LEAST_ROWS, LEAST_DIM = 512, 32
"""Room for every structure, and a whole block of a quantised format."""

Q8_0 = BlockFormat("Q8_0", 8, 32, 34)

NOISE = 1e-9
"""What transformers multiplies the covariance with when it draws appended rows."""


class Draft:
    """A vocabulary's rows on their way: values, which tokens are what, and the causes put in so far.

    Rows lean a common way by half their size and their sizes spread over a factor of two, as trained rows do; values
    are rounded to the format whenever a maker reads or writes them.
    """

    def __init__(self, rows: int, dim: int, fmt: FloatFormat, seed: int) -> None:
        self.rng, self.fmt = np.random.default_rng(seed), fmt
        size = STD * np.exp(0.35 * self.rng.standard_normal((rows, 1)))
        lean = STD * 0.5 * self.rng.standard_normal(dim)
        self.values = self.rounded(lean + size * self.rng.standard_normal((rows, dim)))
        self.marks: dict[str, list[int]] = {"padding": [], "unreachable": [], "added": []}
        self.groups: list[dict[str, Any]] = []
        self.free, self.end = set(range(rows)), rows  # rows from end on are not there yet

    def rounded(self, values: ArrayLike) -> NDArray[np.float32]:
        """To the format and back."""
        return self.fmt.widen(self.fmt.narrow(values))

    def take(self, n: int, *marks: str, tail: bool = False) -> Ids:
        """Tokens that no maker had yet: the last ones, or a draw from the upper half."""
        free = np.array(sorted(self.free))
        upper = free[len(free) // 2 :]
        ids = free[len(free) - n :] if tail else np.sort(self.rng.choice(upper, n, replace=False))
        self.free -= set(ids.tolist())
        for mark in marks:
            self.marks[mark] += ids.tolist()
        return ids

    def put(self, cause: str, ids: Ids, values: ArrayLike) -> None:
        """Writes rows and remembers who made them."""
        self.values[ids] = self.rounded(np.broadcast_to(values, (len(ids), self.values.shape[1])))
        self.groups.append({"cause": cause, "token_ids": ids.tolist()})


def _zero(d: Draft) -> None:
    d.put("zero", d.take(12, "added"), np.zeros(1))


def _padding(d: Draft) -> None:
    d.put("padding", d.take(24, "padding", tail=True), STD * d.rng.standard_normal(d.values.shape[1]))


def _mean(d: Draft) -> None:
    ids = d.take(16, "added", tail=True)
    d.put("mean", ids, d.values[: ids[0]].mean(axis=0, dtype=np.float32))


def _mean_noise(d: Draft) -> None:
    _append_noisy(d, d.take(40, "added", tail=True))


def _append_noisy(d: Draft, ids: Ids) -> None:
    before = d.values[: ids[0]]
    mean = before.mean(axis=0, dtype=np.float32)
    # Z (X - mean) / sqrt(n) has the covariance of X for standard normal Z.
    drawn = d.rng.standard_normal((len(ids), len(before)), dtype=np.float32) @ (before - mean)
    d.put("mean-noise", ids, mean + np.float32(np.sqrt(NOISE / len(before))) * drawn)


def _collinear(d: Draft) -> None:
    ids = d.take(60, "unreachable")
    untrained = [*ids, *(token for g in d.groups if g["cause"] == "zero" for token in g["token_ids"])]
    mean = np.delete(d.values[: d.end], untrained, axis=0).mean(axis=0, dtype=np.float32)
    counts = d.rng.integers(1, 40, len(ids))
    d.put("collinear", ids, mean * (counts / np.float32(97))[:, None])


def _frozen(d: Draft) -> None:
    row = d.rounded(0.35 * STD * d.rng.standard_normal(d.values.shape[1]))
    words = d.fmt.ordinals(d.fmt.narrow(row))
    dims = np.argsort(-np.abs(row))[: d.values.shape[1] // 8]
    for n in (30, 11, 4, 2):
        stepped = words.copy()
        stepped[d.rng.choice(dims, 3, replace=False)] += d.rng.choice([-1, 1], 3)
        d.put("frozen", d.take(n, "unreachable"), d.fmt.widen(d.fmt.words_of(stepped)))


def _copied(d: Draft) -> None:
    for n in (1, 1, 4):
        original = d.take(1)
        ids = np.sort(np.concatenate([original, d.take(n, "added")]))
        d.put("copied", ids, d.values[original[0]])


def _unexplained(d: Draft) -> None:
    for n in (2, 3):
        ids = d.take(n)
        d.put("unexplained", ids, d.values[ids[0]])


def _nothing(d: Draft) -> None:
    """No maker."""


def _close(d: Draft) -> None:
    """Rows nearer to each other than a code of Q8_0, and one a code further: equal only once quantised."""
    for n in (6, 3, 2):
        ids = d.take(n + 1)
        blocks = np.repeat(d.values[ids[:1]], n + 1, axis=0).reshape(n + 1, -1, Q8_0.block_values)
        code = np.abs(blocks).max(axis=2, keepdims=True) / 127
        codes = np.rint(blocks / code)
        # Of the smaller numbers alone: the rounding of a larger one is a good part of a code.
        small = np.abs(codes) < 24
        codes += np.where(small, d.rng.uniform(-0.3, 0.3, codes.shape), 0)
        codes[-1, 0, np.flatnonzero(small[-1, 0])[0]] += 1
        d.put("quantised", ids, (codes * code).reshape(n + 1, -1))
        d.groups[-1]["token_ids"] = ids[:-1].tolist()


def _everything(d: Draft) -> None:
    """In the order of a model's life: training, reserved rows, copies, a fix, a resize, padding."""
    padding, appended = d.take(24, "padding", tail=True), d.take(40, "added", tail=True)
    d.end = int(appended[0])
    for make in (_frozen, _zero, _unexplained, _copied, _collinear):
        make(d)
    _append_noisy(d, appended)
    d.put("zero", padding, np.zeros(1))


MAKERS: dict[str, Callable[[Draft], None]] = {
    "zero": _zero,
    "mean": _mean,
    "mean-noise": _mean_noise,
    "collinear": _collinear,
    "padding": _padding,
    "copied": _copied,
    "frozen": _frozen,
    "quantised": _close,
    "unexplained": _unexplained,
    "all": _everything,
    "null": _nothing,
}


@dataclass(frozen=True, slots=True, eq=False)
class PlantedBlocks(Planted):
    """A planted matrix that is quantised when it is held in memory; ``blocks`` gives it before that.

    Attributes:
        stored: the format of its rows.
    """

    stored: BlockFormat = Q8_0

    def embedding(self) -> Embedding:
        """The quantised matrix in memory."""
        before = Planted.embedding(self)
        return quantise(before, self.stored)

    def write(self, folder: Any) -> None:
        """Refused: a safetensors file holds no blocks.

        Raises:
            OutputError: always.
        """
        raise OutputError(
            f"{self.name}: {self.stored.name} blocks have no safetensors file", hint=f"open it as synth:{self.name}"
        )


def quantise(embedding: Embedding, fmt: BlockFormat) -> Embedding:
    """The matrix as ggml's quantiser stores it."""
    from gguf.constants import GGMLQuantizationType  # 0.2 s, for quantised matrices only
    from gguf.quants import quantize

    rows = np.concatenate([quantize(values, GGMLQuantizationType(fmt.code)) for _, values in embedding.blocks()])
    return Embedding(rows, fmt, embedding.dim, embedding.role, embedding.tensor, embedding.source)


def plant_cause(
    cause: str,
    *,
    rows: int | None = None,
    dim: int | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    quantised: bool | None = None,
    name: str | None = None,
) -> Planted:
    """A matrix in which one cause made rows equal or nearly equal; made in memory.

    Args:
        cause: a cause's slug; "all" for several at once; "null" for none.
        rows: number of token rows, 4,096 if None.
        dim: numbers in a row, 256 if None.
        seed: from 0; 0 if None.
        dtype: name of a float format, bfloat16 if None.
        quantised: stored as Q8_0 blocks; only the cause "quantised" if None.
        name: what to call it.

    Raises:
        SourceError: an unknown cause, or no room for its rows or blocks.
        FormatError: an unknown format.
    """
    if cause not in MAKERS:
        raise SourceError(f"no planted cause is called {cause!r}", hint=f"known: {', '.join(MAKERS)}")
    name, fmt = name or f"cause-{cause}", float_format(dtype or BFLOAT16.name)
    rows, dim, seed = ROWS if rows is None else rows, DIM if dim is None else dim, seed or 0
    check_sizes(name, rows, dim, seed)
    blocks = cause == "quantised" if quantised is None else quantised
    if rows < LEAST_ROWS or dim < LEAST_DIM or (blocks and dim % Q8_0.block_values):
        raise SourceError(
            f"{name}: {rows} x {dim} has no room",
            hint=f"from {LEAST_ROWS} rows of {LEAST_DIM} numbers; blocks want a multiple of {Q8_0.block_values}",
        )

    def draft() -> Draft:
        made = Draft(rows, dim, fmt, seed)
        MAKERS[cause](made)
        return made

    def stream() -> Iterator[Words]:
        words, step = fmt.narrow(draft().values), max(1, BLOCK_NUMBERS // dim)
        for start in range(0, rows, step):
            yield words[start : start + step]

    made = draft()
    truth = {
        "name": name,
        "rows": rows,
        "dim": dim,
        "seed": seed,
        "format": Q8_0.name if blocks else fmt.name,
        "groups": [{**g, "token_ids": sorted(g["token_ids"])} for g in made.groups],
        "tokens": {mark: sorted(ids) for mark, ids in made.marks.items()},
    }
    plant = PlantedBlocks if blocks else Planted
    return plant(name, fmt, rows, dim, seed, qwen3_config(rows, dim, fmt), truth, stream)


def _recipe(cause: str, name: str, says: str, quantised: bool | None = None) -> Callable[..., Planted]:
    made = partial(plant_cause, cause, name=name, quantised=quantised)

    def recipe(
        *, rows: int | None = None, dim: int | None = None, seed: int | None = None, dtype: str | None = None
    ) -> Planted:
        return made(rows=rows, dim=dim, seed=seed, dtype=dtype)

    recipe.__doc__ = says
    return recipe


RECIPES = {
    **{
        f"cause-{cause}": _recipe(cause, f"cause-{cause}", f"Rows made equal by one cause: {cause}.")
        for cause in MAKERS
        if cause not in ("all", "null")
    },
    "causes": _recipe("all", "causes", "Seven makers of equal or nearly equal rows, in the order of a model's life."),
    "causes-none": _recipe("null", "causes-none", "The quantised null: Q8_0 rows of which no two are near.", True),
}
"""The named ones."""
