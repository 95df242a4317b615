"""A flat tensor is worked in pieces that stay in cache, so that scratch stays small; matrices are cut at whole rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from forensics.errors import ConfigError

# Measured on two cores with 5.7 million words: float32 operations are 1.3 times as fast in pieces of 2^17 to 2^20
# elements as in one, bfloat16 ones equally fast from 2^19 on; below 2^17 the calls themselves cost.
PIECE = 1 << 19

# first element, rows, dim
Matrix = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements start … stop - 1 of the flat tensor; `matrix` where they are whole rows of an embedding matrix."""

    start: int
    stop: int
    matrix: Matrix | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start

    def of(self, tensor: Tensor) -> Tensor:
        """View of these elements of a contiguous tensor, [size]."""
        return tensor.view(-1)[self.start : self.stop]


def cut(elements: int, matrices: Sequence[Matrix] = (), *, whole: bool = False) -> list[Piece]:
    """Pieces that cover 0 … elements - 1 once, in order; one piece alone where `whole`.

    Raises:
        ConfigError: the matrices overlap, are empty or reach outside.
    """
    if whole:
        return [Piece(0, elements)]
    pieces: list[Piece] = []
    at = 0
    for matrix in sorted(matrices):
        first, rows, dim = matrix
        end = first + rows * dim
        if first < at or rows < 1 or dim < 1 or end > elements:
            raise ConfigError(f"the embedding matrix {matrix} overlaps another or reaches outside {elements} elements")
        pieces += _spans(at, first, PIECE, None)
        pieces += _spans(first, end, max(PIECE // dim, 1) * dim, matrix)
        at = end
    return pieces + _spans(at, elements, PIECE, None)


def _spans(start: int, stop: int, step: int, matrix: Matrix | None) -> list[Piece]:
    return [Piece(at, min(at + step, stop), matrix) for at in range(start, stop, step)]
