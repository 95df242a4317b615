"""Zip files written by torch.save: the pickle run safely, the tensors left on disk.

Such a file is a zip archive of stored, never compressed entries: ``<prefix>/data.pkl`` describes the
tensors, ``<prefix>/data/<key>`` holds a storage that they are views of. The zip directory, the pickle and the
local headers of the storages are all that is read; what they say is checked against the file.

References:
    PKWARE APPNOTE.TXT 6.3 (local header: section 4.3.7); torch/serialization.py (the entries).
"""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from forensics.checkpoint.stored import StoredTensor
from forensics.checkpoint.torch_pickle import ITEMSIZE, PickledStorage, PickledTensor, run_pickle
from forensics.errors import CheckpointError, UnsafeFileError
from forensics.formats import FORMATS

MAX_PICKLE_BYTES = 256 << 20
"""A pickle takes some 200 bytes per tensor."""

MAX_DIRECTORY_BYTES = 16 << 20
"""The directory takes some 100 bytes per storage; in memory it is fifteen times that."""

MAX_DEPTH = 32
"""Dictionaries within dictionaries; a checkpoint has two or three, one that contains itself has no end."""

MAX_ENTRIES = 500_000
"""Dictionary entries looked at: dictionaries that share their parts can be small and have no end to speak of."""

MAX_NAME = 500
"""Characters in a tensor's name, for the same reason."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C .to_bytes(10, "little")
_RESAVE = "load it once with torch and save it again, or convert it to safetensors"


def read_torch_zip(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a ``pytorch_model.bin``, ``.pt`` or ``.pth`` file by name; executes nothing.

    Dictionaries within dictionaries are flattened to dotted names. Tensors in lists or under keys that are not
    text are left out. One that is not a contiguous row-major view, or not of its stored values, is listed with
    format None. Tied tensors share their byte range.

    Raises:
        UnsafeFileError: the pickle asks for more than a state dict needs, or the file is a bomb.
        CheckpointError: the file cannot be read, is damaged, lies about itself, or is of another kind.
    """
    try:
        with _BoundedFile(path) as file:
            _check_kind(file, path.name)
            archive = _Archive(file, path)
            named = _flatten(run_pickle(archive.pickle(), path.name), path.name)
            return {name: archive.locate(name, tensor) for name, tensor in named.items()}
    except OSError as error:
        raise CheckpointError(f"{path.name}: cannot be read ({error.strerror or error})") from error


class _BoundedFile(io.FileIO):
    """A file of which no stretch longer than a pickle may be is read at once.

    ``zipfile`` reads a directory of whatever length the file claims in one go.
    """


...
