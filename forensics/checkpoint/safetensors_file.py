"""Safetensors files: the header read and checked, the tensors left on disk; and a streaming writer.

The layout is 8 bytes of little-endian header length, that much JSON, then the tensors' bytes without gaps.
Everything the header says is checked against the file before any of it is used. numpy-side loaders refuse
bfloat16 and fp8, and the whole-file loaders read more than is asked; hence this reader.

References:
    https://huggingface.co/docs/safetensors (format section).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from forensics.checkpoint.binary_file import BinaryFile, opened
from forensics.checkpoint.json_file import parse_json
from forensics.checkpoint.stored import StoredTensor
from forensics.errors import CheckpointError
from forensics.formats import FORMATS

MAX_HEADER_BYTES = 100_000_000
"""The safetensors library's own limit; real headers stay under 20 MB."""

BITS: dict[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
"""Bits per element of every dtype code in the format's definition."""

METADATA = "__metadata__"
"""The one header entry that is no tensor: a mapping of text to text."""

_FORMAT_OF_CODE = {f.stored_as: f for f in FORMATS.values()}


def read_safetensors(file: Path | BinaryFile) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name; reads the header alone, in two exact reads.

    Raises:
        CheckpointError: the file is cut short, or its header is damaged or says what cannot be.
    """
    with opened(file) as source:
        path, size = source.path, source.size
        prefix = source.read_at(0, 8)
        if len(prefix) < 8:
            raise _bad(path, f"is {size} bytes long, too short for a safetensors header", "download it again")
        length = int.from_bytes(prefix, "little")
        if length > MAX_HEADER_BYTES:
            raise _bad(path, f"header claims {length:,} bytes, the format allows {MAX_HEADER_BYTES:,}")
        if 8 + length > size:
            raise _bad(path, f"header ends at byte {8 + length:,}, the file has {size:,}", "download it again")
        raw = source.read_at(8, length)
    if not raw.startswith(b"{"):
        raise _bad(path, "header does not start with '{'")
    # A tensor's entry has three brackets in some fifty bytes. A header of little else is built to fill memory.
    if raw.count(b"[") + raw.count(b"{") > 1_000 + length // 8:
        raise _bad(path, "header is not a table of tensors")
    header = parse_json(raw, f"{path.name}: safetensors header")
    metadata = header.pop(METADATA, None)
    if metadata is not None and not _is_text_map(metadata):
        raise _bad(path, f"{METADATA} is not a mapping of text to text")
    tensors = {name: _tensor(path, name, entry, 8 + length, size) for name, entry in header.items()}
    _check_coverage(path, tensors, 8 + length, size)
    return tensors


def _tensor(path: Path, name: str, entry: Any, data_start: int, size: int) -> StoredTensor:
    where = f"tensor {name[:200]!r}"
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise _bad(path, f"{where} lacks one of dtype, shape, data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _bad(path, f"{where} has unknown dtype {str(dtype)[:40]!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise _bad(path, f"{where}: shape and data_offsets are lists of whole numbers under 2**64")
    start, stop = offsets
    n_values = 1
    for n in shape:
        n_values *= n
        if n_values >> 64:  # stop here: a hostile shape could grow the product without end
            raise _bad(path, f"{where}: the size of shape {str(shape)[:80]} overflows")
    n_bits = BITS[dtype] * n_values
    if n_bits > 8 * size:
        what = f"of shape {str(shape)[:80]} {dtype} is larger than the file"
        raise _bad(path, f"{where} {what}", "download it again")
    if n_bits % 8:
        raise _bad(path, f"{where} does not fill whole bytes")
    if start > stop or stop - start != n_bits // 8:
        raise _bad(path, f"{where} needs {n_bits // 8:,} bytes for {dtype}, its offsets span {stop - start:,}")
    if data_start + stop > size:
        raise _bad(path, f"{where} ends at byte {data_start + stop:,}, the file has {size:,}", "download it again")
    return StoredTensor(name, tuple(shape), dtype, _FORMAT_OF_CODE.get(dtype), path, data_start + start, stop - start)


def _are_sizes(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 1 << 64 for n in numbers)


def _is_text_map(metadata: Any) -> bool:
    return isinstance(metadata, dict) and all(isinstance(text, str) for text in metadata.values())


def _check_coverage(path: Path, tensors: Mapping[str, StoredTensor], data_start: int, size: int) -> None:
    """The tensors tile the data section: an overlap or a gap says that the header lies."""
    position = data_start
    for tensor in sorted(tensors.values(), key=lambda t: (t.offset, t.n_bytes)):
        if tensor.offset != position:
            what = "overlaps the tensor before it" if tensor.offset < position else "leaves a gap before it"
            raise _bad(path, f"tensor {tensor.name[:200]!r} {what} at byte {tensor.offset:,}")
        position += tensor.n_bytes
    if position != size:
        raise _bad(path, f"tensors end at byte {position:,}, the file has {size:,}", "download it again")


def _bad(path: Path, what: str, hint: str | None = None) -> CheckpointError:
    return CheckpointError(f"{path.name}: {what}", hint=hint)


@dataclass(frozen=True, slots=True)
class OutgoingTensor:
    """A tensor to be written: its dtype code, its shape, and its bytes in pieces."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: Iterable[NDArray[Any]]

    @property
    def n_bytes(self) -> int:
        """Bytes that the pieces must add up to."""
        return BITS[self.dtype] * int(np.prod(self.shape, dtype=object)) // 8


def write_safetensors(path: Path, tensors: Iterable[OutgoingTensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file a piece at a time; the same input gives the same bytes.

    The file is written beside its name and renamed, so that it is whole or absent.

    Raises:
        CheckpointError: a name is given twice, or a tensor's pieces do not add up to its shape.
    """
    # Widest dtypes first, then by name: every tensor stays aligned to its element, as the library does it.
    ordered = sorted(tensors, key=lambda t: (-BITS[t.dtype], t.name))
    header: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    position = 0
    for tensor in ordered:
        if tensor.name == METADATA or tensor.name in header:
            raise CheckpointError(f"{path.name}: tensor name {tensor.name!r} is taken")
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, position + tensor.n_bytes],
        }
        position += tensor.n_bytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for tensor in ordered:
                _write_pieces(file, tensor)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_pieces(file: BinaryIO, tensor: OutgoingTensor) -> None:
    written = 0
    for piece in tensor.pieces:
        written += file.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
    if written != tensor.n_bytes:
        raise CheckpointError(f"tensor {tensor.name!r}: {tensor.n_bytes:,} bytes expected, {written:,} given")
