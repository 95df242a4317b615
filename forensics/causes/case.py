"""A group of rows with everything that its rules are judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.black_holes import BlackHoles
from forensics.causes.made import Cloud
from forensics.causes.nearness import Nearness
from forensics.causes.sums import Ids

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """What the tokenizer says of every row, ``bool[rows]`` each; None where it is not known.

    Attributes:
        padding: beyond the tokenizer.
        unreachable: no text encodes to it.
        added: special, or added to the vocabulary by hand.
    """

    padding: Mask | None = None
    unreachable: Mask | None = None
    added: Mask | None = None

    @property
    def unusual(self) -> Mask | None:
        """Any of the three; None where only padding, or nothing, is known."""
        if self.unreachable is None and self.added is None:
            return None
        known = [mask for mask in (self.padding, self.unreachable, self.added) if mask is not None]
        return np.asarray(np.logical_or.reduce(known))


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A group and what its rules are judged on.

    Attributes:
        token_ids: ascending.
        first: the first token with a finite row that is not zero; None without.
        distinct: distinct stored rows of the group.
        cluster: distinct rows chained to the group by steps, its own included; None where it was not looked for.
        holes: of the matrix.
        near: of the matrix.
        tokens: what the tokenizer says.
        typical_norms: smallest, median and largest norm of the rows in no hole.
    """

    token_ids: Ids
    first: int | None
    distinct: int
    cluster: int | None
    holes: BlackHoles
    near: Nearness
    tokens: Tokens
    typical_norms: tuple[float, float, float] | None

    @property
    def norm(self) -> float | None:
        """Norm of the first row that is finite and not zero."""
        return None if self.first is None else float(np.sqrt(self.near.sums.squares[self.first]))

    @property
    def cloud(self) -> Cloud | None:
        """The cloud that the whole group is in."""
        k = self.near.cloud_of[self.token_ids]
        return self.near.clouds[int(k[0])] if k[0] >= 0 and (k == k[0]).all() else None

    def count(self, mask: Mask | None) -> int | None:
        """Tokens of the group in a mask."""
        return None if mask is None else int(mask[self.token_ids].sum())
