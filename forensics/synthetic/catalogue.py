"""The planted checkpoints by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from forensics.errors import SourceError
from forensics.synthetic.causes import RECIPES
from forensics.synthetic.groups import plant_healthy
from forensics.synthetic.planted import Planted
from forensics.synthetic.qwen3_4b import plant_qwen3_4b


class Recipe(Protocol):
    """Plants a checkpoint; None stands for the recipe's own size, seed or format."""

    def __call__(
        self, *, rows: int | None = None, dim: int | None = None, seed: int | None = None, dtype: str | None = None
    ) -> Planted:
        """The planted checkpoint."""


PLANTED: Mapping[str, Recipe] = {"healthy": plant_healthy, "qwen3-4b": plant_qwen3_4b, **RECIPES}
"""Every named checkpoint; a recipe's docstring says in its first line what it holds."""

SOURCE_ROWS: Mapping[str, int] = {"qwen3-4b": 16_212}
"""Rows to plant when a checkpoint is opened in memory, where its full size would take long.

For qwen3-4b: all 2,212 dead rows and 14,000 live ones, 83 MB in place of 778 MB.
"""


def plant(
    name: str,
    *,
    rows: int | None = None,
    dim: int | None = None,
    seed: int | None = None,
    dtype: str | None = None,
) -> Planted:
    """The planted checkpoint of that name.

    Args:
        name: a key of :data:`PLANTED`.
        rows: number of token rows; the recipe's full size if None.
        dim: numbers in a row; likewise.
        seed: from 0; 0 if None.
        dtype: name of a float format; the recipe's own if None.

    Raises:
        SourceError: no such name, or sizes that cannot hold the structure.
        FormatError: an unknown format, or one that cannot hold it.
    """
    recipe = PLANTED.get(name)
    if recipe is None:
        raise SourceError(f"no planted checkpoint is called {name!r}", hint=f"known: {', '.join(sorted(PLANTED))}")
    return recipe(rows=rows, dim=dim, seed=seed, dtype=dtype)
