"""GGUF files: metadata and tensor table read and checked, the tensors left on disk.

The gguf package's own reader makes several numpy objects of every metadata string (seconds for a tokenizer)
and trusts every count it reads, so the header is parsed here; the package still supplies the table of
block sizes and turns quantised blocks into numbers.

References:
    https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from forensics.checkpoint.binary_file import BinaryFile, ReadAhead, opened
from forensics.checkpoint.stored import StoredTensor
from forensics.errors import CheckpointError
from forensics.formats import BFLOAT16, FLOAT16, FLOAT32, BlockFormat, TensorFormat

STRING, ARRAY = 8, 9
SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "|b1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
"""numpy types of the scalar metadata types, by GGUF type number."""

MAX_DIMENSIONS = 4
"""ggml's own limit."""

MAX_HEADER_BYTES = 128 << 20
"""A vocabulary of 262,144 tokens with its merges takes under 20 MB; an object read may take ten times its bytes."""

_FLOATS = {0: FLOAT32, 1: FLOAT16, 30: BFLOAT16}


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says before its data.

    Attributes:
        metadata: scalars, strings, numpy arrays, and lists of ``bytes`` for arrays of strings.
        tensors: by name.
    """

    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]


def read_gguf(file: Path | BinaryFile) -> GgufHeader:
    """The metadata and the tensors of a GGUF file; the tensors' bytes are not touched.

    Raises:
        CheckpointError: not GGUF, an unsupported version, cut short, or a header that says what cannot be.
    """
    with opened(file) as source:
        if source.size < 24:
            raise CheckpointError(
                f"{source.path.name}: is {source.size} bytes long, too short for a GGUF header",
                hint="download it again",
            )
        return _read(source.path, _Cursor(ReadAhead(source)))


def _read(path: Path, cursor: _Cursor) -> GgufHeader:
    if cursor.take(4) != b"GGUF":
        raise CheckpointError(f"{path.name}: does not start with 'GGUF'")
    version = cursor.number("<I")
    if version not in (2, 3):
        raise CheckpointError(
            f"{path.name}: GGUF version {version:,} is not read, expected 2 or 3",
            hint="version 1 and big-endian files can be converted with llama.cpp",
        )
    n_tensors, n_metadata = cursor.number("<Q"), cursor.number("<Q")
    # The smallest tensor entry is 8 + 4 + 4 + 8 bytes, the smallest metadata entry 8 + 4 + 1.
    cursor.require(n_tensors * 24 + n_metadata * 13, f"{n_tensors:,} tensors and {n_metadata:,} metadata entries")
    metadata: dict[str, Any] = {}
    for _ in range(n_metadata):
        key = cursor.string()
        if key in metadata:
            raise CheckpointError(f"{path.name}: metadata key {key[:80]!r} is given twice")
        metadata[key] = cursor.value(cursor.number("<I"))
    entries = [_tensor_entry(cursor) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
        raise CheckpointError(f"{path.name}: general.alignment {alignment!r:.40} is not a power of two from 8")
    data_start = -(-cursor.position // alignment) * alignment
    tensors: dict[str, StoredTensor] = {}
    for name, shape, code, offset in entries:
        if name in tensors:
            raise CheckpointError(f"{path.name}: tensor {name[:80]!r} is given twice")
        if offset % alignment:
            raise CheckpointError(
                f"{path.name}: tensor {name[:80]!r} starts at {offset:,}, not a multiple of {alignment:,}"
            )
        tensors[name] = _stored(path, name, shape, code, data_start + offset, cursor.size)
    _check_overlaps(path, tensors)
    return GgufHeader(metadata, tensors)


def _tensor_entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.string()
    n_dimensions = cursor.number("<I")
    if n_dimensions > MAX_DIMENSIONS:
        raise CheckpointError(
            f"{cursor.path.name}: tensor {name[:80]!r} claims {n_dimensions:,} dimensions, at most {MAX_DIMENSIONS}"
        )
    sizes = [cursor.number("<Q") for _ in range(n_dimensions)]
    code, offset = cursor.number("<I"), cursor.number("<Q")
    # ggml lists the fastest dimension first; rows come first here.
    return name, tuple(reversed(sizes)), code, offset


def _stored(path: Path, name: str, shape: tuple[int, ...], code: int, offset: int, size: int) -> StoredTensor:
    where = f"{path.name}: tensor {name[:80]!r}"
    table = _block_sizes()
    if code not in table:
        raise CheckpointError(f"{where} has unknown ggml type {code}", hint="a newer gguf package may know it")
    type_name, block_values, block_bytes = table[code]
    dim = shape[-1] if shape else 1
    n_rows = 1
    for n in shape[:-1]:
        n_rows *= n
    if dim % block_values:
        raise CheckpointError(f"{where}: rows of {dim:,} are not whole {type_name} blocks of {block_values}")
    n_bytes = n_rows * (dim // block_values) * block_bytes
    if offset + n_bytes > size:
        raise CheckpointError(
            f"{where} ends at byte {offset + n_bytes:,}, the file has {size:,}", hint="download it again"
        )
    fmt: TensorFormat | None = _FLOATS.get(code)
    if fmt is None and block_values > 1:
        fmt = BlockFormat(type_name, code, block_values, block_bytes)
    return StoredTensor(name, shape, type_name, fmt, path, offset, n_bytes)


def _check_overlaps(path: Path, tensors: dict[str, StoredTensor]) -> None:
    position = 0
    for tensor in sorted(tensors.values(), key=lambda t: (t.offset, t.n_bytes)):
        if tensor.offset < position:
            raise CheckpointError(f"{path.name}: tensor {tensor.name[:80]!r} overlaps the tensor before it")
        position = tensor.offset + tensor.n_bytes


@cache
def _block_sizes() -> dict[int, tuple[str, int, int]]:
    """Name, numbers a block and bytes a block of every ggml type the gguf package knows."""
    from gguf.constants import GGML_QUANT_SIZES  # 0.2 s, for GGUF files only

    return {int(t): (t.name, values, n_bytes) for t, (values, n_bytes) in GGML_QUANT_SIZES.items()}


class _Cursor:
    """Reads forward through a file and never past its end."""

    def __init__(self, file: BinaryFile) -> None:
        self.path, self.size = file.path, file.size
        self.position = 0
        self._file = file
        self._depth = 0

    def require(self, n_bytes: int, what: str) -> None:
        limit = min(self.size, MAX_HEADER_BYTES)
        if n_bytes > limit - self.position:
            held = f"the file has {limit:,} bytes" if limit == self.size else f"a header has at most {limit:,} bytes"
            raise CheckpointError(
                f"{self.path.name}: claims {what} at byte {self.position:,}, {held}", hint="download it again"
            )

    def take(self, n_bytes: int) -> bytes:
        self.require(n_bytes, f"{n_bytes:,} more bytes")
        start = self.position
        self.position += n_bytes
        return self._file.read_at(start, n_bytes)

    def number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return int(value)

    def raw_string(self) -> bytes:
        return self.take(self.number("<Q"))

    def string(self) -> str:
        return self.raw_string().decode("utf-8", errors="backslashreplace")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self._array()
        if kind not in SCALARS:
            raise CheckpointError(f"{self.path.name}: unknown metadata type {kind:,} at byte {self.position:,}")
        dtype = np.dtype(SCALARS[kind])
        return np.frombuffer(self.take(dtype.itemsize), dtype)[0].item()

    def _array(self) -> Any:
        kind, length = self.number("<I"), self.number("<Q")
        if kind in SCALARS:
            dtype = np.dtype(SCALARS[kind])
            return np.frombuffer(self.take(length * dtype.itemsize), dtype)
        # Strings and nested arrays need at least 8 bytes each: a length beyond that is a lie.
        self.require(length * 8, f"an array of {length:,} entries")
        read: Callable[[], Any] = self.raw_string if kind == STRING else self._nested
        if kind not in (STRING, ARRAY):
            raise CheckpointError(f"{self.path.name}: unknown array type {kind:,} at byte {self.position:,}")
        return [read() for _ in range(length)]

    def _nested(self) -> Any:
        if self._depth >= 8:
            raise CheckpointError(f"{self.path.name}: metadata arrays nested more than 8 deep")
        self._depth += 1
        try:
            return self._array()
        finally:
            self._depth -= 1
