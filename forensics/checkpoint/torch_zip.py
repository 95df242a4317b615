"""Zip files written by torch.save: the pickle run safely, the tensors left on disk.

Such a file is a zip archive of stored, never compressed entries: ``<prefix>/data.pkl`` describes the
tensors, ``<prefix>/data/<key>`` holds a storage that they are views of. The zip directory, the pickle and the
local headers of the storages are all that is read; what they say is checked against the file.

References:
    PKWARE APPNOTE.TXT 6.3, section 4.3.7 (local header); torch/serialization.py (entries).
"""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from forensics.checkpoint.binary_file import BinaryFile, opened
from forensics.checkpoint.stored import StoredTensor
from forensics.checkpoint.torch_globals import ITEMSIZE, PickledTensor
from forensics.checkpoint.torch_pickle import run_pickle
from forensics.errors import CheckpointError, ForensicsError, UnsafeFileError
from forensics.formats import FORMATS

MAX_PICKLE_BYTES = 256 << 20
"""A pickle takes some 200 bytes per tensor."""

MAX_DIRECTORY_BYTES = 16 << 20
"""A zip directory takes some 100 bytes per storage, and fifteen times as much in memory."""

MAX_DEPTH = 32
"""Dictionaries within dictionaries: a checkpoint has two or three, one that contains itself has no end."""

MAX_ENTRIES = 500_000
"""Dictionary entries looked at: small dictionaries that share their parts can unfold to any number."""

MAX_NAME = 500
"""Characters of a tensor's name, for the same reason."""

_LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_RESAVE = "load it once with torch and save it again, or convert it to safetensors"
_AGAIN = "download it again"


def read_torch_zip(file: Path | BinaryFile, wanted: Callable[[str], bool] | None = None) -> dict[str, StoredTensor]:
    """The tensors of a ``pytorch_model.bin``, ``.pt`` or ``.pth`` file by name; nothing is executed.

    Dictionaries within dictionaries give dotted names; tensors in lists, or under keys that are not text, are
    left out. A tensor that is not contiguous in row-major order, or whose values are not the stored ones, is
    listed with format None.

    Args:
        file: the file.
        wanted: list only the tensors of these names, if there are any: each costs a read of its own.

    Raises:
        UnsafeFileError: the file asks for more than state dicts need, or is a bomb.
        CheckpointError: it cannot be read, is damaged, lies about itself, or is of another kind.
    """
    try:
        with opened(file) as source:
            _check_kind(source.path, source.read_at(0, 512))
            archive = _Archive(source)
            named = _flatten(run_pickle(archive.pickle(), source.path.name), source.path.name)
            chosen = {name: tensor for name, tensor in named.items() if wanted and wanted(name)} or named
            tensors = {name: archive.locate(name, tensor) for name, tensor in chosen.items()}
            archive.check_overlaps()
            return tensors
    except OSError as error:
        if isinstance(error, ForensicsError):
            raise
        name = file.name if isinstance(file, Path) else file.path.name
        raise CheckpointError(f"{name}: cannot be read ({error.strerror})") from error


def _check_kind(path: Path, head: bytes) -> None:
    if not head:
        raise CheckpointError(f"{path.name}: is empty", hint=_AGAIN)
    if _LEGACY_MAGIC in head[:32]:
        raise CheckpointError(f"{path.name}: is of the kind that torch wrote before 1.6, not a zip file", hint=_RESAVE)
    if head[257:262] == b"ustar":
        raise CheckpointError(f"{path.name}: is a tar file, as the first versions of torch wrote", hint=_RESAVE)
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path.name}: is a Git LFS pointer, not the file itself", hint="run git lfs pull")
    if not head.startswith(b"PK\x03\x04"):
        raise CheckpointError(f"{path.name}: is not a zip file as torch.save writes it", hint=_AGAIN)


def _flatten(root: object, where: str) -> dict[str, PickledTensor]:
    found: dict[str, PickledTensor] = {}
    top = root if isinstance(root, dict) else {"tensor": root}
    for n_seen, (name, value) in enumerate(_entries(top, "", 1, where)):
        if n_seen == MAX_ENTRIES:
            raise UnsafeFileError(f"{where}: its dictionaries unfold to more than {MAX_ENTRIES:,} entries")
        if isinstance(value, PickledTensor):
            if len(name) > MAX_NAME:
                raise UnsafeFileError(f"{where}: tensor {name[:80]!r}... has a name over {MAX_NAME} characters")
            if name in found:
                raise CheckpointError(f"{where}: tensor {name!r} is named twice")
            found[name] = value
    return found


def _entries(node: dict[str, object], prefix: str, depth: int, where: str) -> Iterator[tuple[str, object]]:
    if depth > MAX_DEPTH:
        raise UnsafeFileError(f"{where}: dictionaries are nested over {MAX_DEPTH} deep, or contain themselves")
    for key, value in node.items():
        name = prefix + key[: MAX_NAME + 1]
        yield name, value
        if isinstance(value, dict):
            yield from _entries(value, f"{name}.", depth + 1, where)


class _Handle(io.RawIOBase):
    """What ``zipfile`` asks of a file; it cannot be made to read it as one huge directory."""

    def __init__(self, file: BinaryFile) -> None:
        self._file, self._position = file, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        if position < 0:
            raise OSError("a position before the file's start")
        self._position = position
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        rest = max(0, self._file.size - self._position)
        n_bytes = rest if size is None or size < 0 else min(size, rest)
        if n_bytes > MAX_DIRECTORY_BYTES:
            raise BadZipFile(f"a directory of {n_bytes:,} bytes")
        raw = self._file.read_at(self._position, n_bytes)
        self._position += len(raw)
        return raw


class _Archive:
    """The zip directory of a torch file, believed only as far as the file bears it out."""

    def __init__(self, file: BinaryFile) -> None:
        self.path, self.file = file.path, file
        try:
            with ZipFile(_Handle(file)) as archive:  # it reads, seeks and tells, no more
                entries, self.stop = archive.infolist(), archive.start_dir
        # NotImplementedError: a zip version from the future. UnicodeDecodeError: an entry's name.
        except (BadZipFile, NotImplementedError, UnicodeDecodeError, struct.error) as error:
            raise self.bad(f"is a zip file without a sound directory ({error})", _AGAIN) from None
        self.entries = {entry.filename: entry for entry in entries}
        self.used: dict[str, tuple[int, int]] = {}
        self.extents: list[tuple[int, int]] = []
        if len(self.entries) < len(entries):
            twice = Counter(entry.filename for entry in entries).most_common(1)[0][0]
            raise self.bad(f"zip entry {twice[:80]!r} is there twice")
        if any(entry.flag_bits & 0x41 for entry in entries):
            raise self.bad("is encrypted")
        # Readers differ in what they make of bytes put before an archive; torch puts none.
        if entries and min(entry.header_offset for entry in entries) != 0:
            raise self.bad("is a zip archive with something put before it")
        if any(re.match(r"[^/]+/(code/|constants\.pkl)", name) for name in self.entries):
            raise self.bad("is a TorchScript archive, a program with weights", "save the model's state_dict instead")
        pickles = [name for name in self.entries if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(pickles) != 1:
            raise self.bad(f"has {len(pickles)} entries named data.pkl, a torch file has one")
        self.prefix = pickles[0].removesuffix("data.pkl")

    def bad(self, what: str, hint: str | None = None) -> CheckpointError:
        return CheckpointError(f"{self.path.name}: {what}", hint=hint)

    def span(self, name: str) -> tuple[int, int]:
        """First byte and number of bytes of an entry's data."""
        if name in self.used:
            return self.used[name]
        entry, where = self.entries.get(name), f"zip entry {name[:80]!r}"
        if entry is None:
            raise self.bad(f"{where} is missing", _AGAIN)
        header = self.file.read_at(entry.header_offset, 30) if entry.header_offset + 30 <= self.stop else b""
        if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
            raise self.bad(f"{where} has no local header at byte {entry.header_offset:,}", _AGAIN)
        method, n_name, n_extra = struct.unpack("<8xH16xHH", header)
        if {method, entry.compress_type} != {ZIP_STORED} or entry.compress_size != entry.file_size:
            raise self.bad(f"{where} is compressed, as torch.save never does it", _RESAVE)
        local_name = self.file.read_at(entry.header_offset + 30, n_name)
        if local_name.decode("utf-8" if entry.flag_bits & 0x800 else "cp437", "replace") != name:
            raise self.bad(f"{where} has another name in its local header")
        start = entry.header_offset + 30 + n_name + n_extra
        if start + entry.file_size > self.stop:
            raise self.bad(f"{where} ends at byte {start + entry.file_size:,}, in the directory at {self.stop:,}")
        self.used[name] = start, entry.file_size
        self.extents.append((entry.header_offset, start + entry.file_size))
        return self.used[name]

    def check_overlaps(self) -> None:
        """The entries that were used share no byte: a few megabytes cannot stand for terabytes of tensors."""
        for (_, stop), (start, _) in pairwise(sorted(self.extents)):
            if start < stop:
                raise UnsafeFileError(f"{self.path.name}: zip entries overlap at byte {start:,}")

    def pickle(self) -> bytes:
        """The bytes of data.pkl, of a little-endian archive."""
        if (order := self.prefix + "byteorder") in self.entries and self.read(order, 16) != b"little":
            raise self.bad("holds big-endian numbers, which are not read", "save it again on a little-endian machine")
        return self.read(self.prefix + "data.pkl", MAX_PICKLE_BYTES)

    def read(self, name: str, limit: int) -> bytes:
        """All bytes of an entry, if they are not more than ``limit``."""
        start, n_bytes = self.span(name)
        if n_bytes > limit:
            raise UnsafeFileError(
                f"{self.path.name}: zip entry {name[:80]!r} has {n_bytes:,} bytes, expected under {limit:,}"
            )
        raw = self.file.read_at(start, n_bytes)
        # torch.serialization.set_crc32_options(False) leaves every checksum 0.
        if self.entries[name].CRC not in (0, zlib.crc32(raw)):
            raise self.bad(f"zip entry {name[:80]!r} does not match its checksum", _AGAIN)
        return raw

    def locate(self, name: str, tensor: PickledTensor) -> StoredTensor:
        """The tensor as a byte range of the file."""
        where, storage, size = f"tensor {name[:200]!r}", tensor.storage, ITEMSIZE[tensor.type_name]
        start, n_bytes = self.span(f"{self.prefix}data/{storage.key}")
        if not 0 <= n_bytes - storage.n_bytes < ITEMSIZE[storage.type_name]:
            raise self.bad(f"{where} claims a storage of {storage.n_bytes:,} bytes, the file has {n_bytes:,}", _AGAIN)
        n_items = math.prod(tensor.shape)
        # Elements from the first to the last, which strides can set wider apart, or on top of each other.
        reach = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True)) if n_items else 0
        offset = tensor.offset if n_items else 0
        if (offset + reach) * size > storage.n_bytes:
            raise self.bad(
                f"{where} of shape {str(list(tensor.shape))[:80]} ends at byte {(offset + reach) * size:,}"
                f" of its storage, which has {storage.n_bytes:,}"
            )
        fmt = FORMATS.get(tensor.type_name)
        dtype = fmt.stored_as if fmt else tensor.type_name
        if not tensor.as_stored:
            fmt, dtype = None, f"{dtype} (negated or conjugated)"
        elif not _is_contiguous(tensor):
            fmt, dtype = None, f"{dtype} (strided)"
        return StoredTensor(name, tensor.shape, dtype, fmt, self.path, start + offset * size, reach * size)


def _is_contiguous(tensor: PickledTensor) -> bool:
    expected = 1
    for n, step in zip(reversed(tensor.shape), reversed(tensor.stride), strict=True):
        if n != 1 and step != expected:
            return 0 in tensor.shape
        expected *= n
    return True
