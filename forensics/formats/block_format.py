"""Quantised formats: rows stored as blocks of integers with shared scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.errors import FormatError


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """A quantised format: a row is stored as blocks of integers with shared scales.

    Attributes:
        name: the ggml name, such as "Q8_0".
        code: the ggml type number.
        block_values: numbers in a block.
        block_bytes: bytes in a block.
    """

    name: str
    code: int
    block_values: int
    block_bytes: int

    def row_bytes(self, dim: int) -> int:
        """Stored bytes of a row of ``dim`` numbers.

        Raises:
            FormatError: a row is not a whole number of blocks.
        """
        if dim % self.block_values:
            raise FormatError(f"a {self.name} row is a multiple of {self.block_values} numbers, found {dim}")
        return dim // self.block_values * self.block_bytes

    def dequantise(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The values that the stored blocks stand for, ``float32[rows, dim]``, as ggml computes them.

        Raises:
            FormatError: the gguf package cannot dequantise this type.
        """
        if not len(rows):
            # gguf refuses to reshape nothing.
            return np.empty((0, rows.shape[1] // self.block_bytes * self.block_values), np.float32)
        from gguf.constants import GGMLQuantizationType  # 0.2 s, for quantised files only
        from gguf.quants import dequantize

        try:
            with np.errstate(all="ignore"):  # a scale can be any float16, infinities and nans among them
                values = dequantize(rows, GGMLQuantizationType(self.code))
        except NotImplementedError as error:
            raise FormatError(
                f"{self.name} blocks cannot be turned into numbers by the installed gguf package",
                hint="a newer gguf may know the type",
            ) from error
        return np.asarray(values, dtype=np.float32)
