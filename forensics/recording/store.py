"""The zarr side of a recording: arrays made and opened, and its errors as ours."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.errors import ForensicsError, OutputError, RecordingError
from forensics.recording.channel import Channel
from forensics.recording.layout import ENCODING, SCHEMA, Layout, layout_of

FRAMES_FILE = "frames.json"
TOKENIZER_FILE = "tokenizer.json"
TOKEN_IDS = "token_ids"

MAX_JSON_BYTES = 64 << 20
"""A config of some KB, a schedule of some runs: far beyond is no recording."""

_CODECS = {"bytes", "blosc", "zstd", "crc32c", "sharding_indexed"}
"""What a recording is packed with; a stranger's folder makes nothing else run."""

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EFBIG: "the file is too large"}

# What zarr, its codecs and json raise on damaged bytes, none of it promised: a folder can hold anything.
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError, MemoryError, AssertionError)


@contextmanager
def reading(what: str, hint: str | None = None) -> Iterator[None]:
    """Turns whatever damaged bytes raise into one line.

    Raises:
        RecordingError: something did.
    """
    try:
        yield
    except ForensicsError:
        raise
    except _DAMAGED as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise RecordingError(f"{what} ({reason})", hint=hint) from error


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Turns a full disk and its kind into one line; what was recorded before stays readable.

    Raises:
        OutputError: the file system refused.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        reason = _FULL.get(error.errno or 0, error.strerror or str(error))
        raise OutputError(
            f"{where}: the recording cannot be written, {reason}",
            hint="free some space and go on from the last checkpoint: what was recorded before is kept"
            if error.errno in _FULL
            else None,
        ) from error


def read_document(path: Path, what: str) -> dict[str, Any]:
    """The object in one of a recording's JSON files.

    Raises:
        RecordingError: it is not there, or is none.
    """
    with reading(f"{what} cannot be read"):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise RecordingError(f"{what} is {path.stat().st_size:,} bytes, expected under {MAX_JSON_BYTES:,}")
        found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise RecordingError(f"{what}: expected a JSON object, found {type(found).__name__}")
    return found


def read_attributes(folder: Path) -> dict[str, Any]:
    """The attributes of the group: what the run was.

    Raises:
        RecordingError: the folder is no recording, or of a version that is not read.
    """
    group = folder / "zarr.json"
    hint = "name the folder that `forensics train --out` wrote"
    if not group.is_file():
        raise RecordingError(f"{folder.name}: not a recording (it has no zarr.json)", hint=hint)
    attributes = read_document(group, f"{folder.name}: zarr.json").get("attributes")
    schema = attributes.get("schema") if isinstance(attributes, dict) else None
    if not isinstance(attributes, dict) or not str(schema).startswith("forensics.recording/"):
        raise RecordingError(f"{folder.name}: a Zarr folder, but not a recording", hint=hint)
    if schema != SCHEMA:
        raise RecordingError(
            f"{folder.name}: a recording of format {str(schema)[:60]}, this version reads {SCHEMA}",
            hint=f"it was written by forensics {str(attributes.get('written_by'))[:20]}; read it with that",
        )
    return attributes


def make_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Makes or replaces the group's own file; arrays in the folder are left alone."""
    # Zarr's own calls write it first without attributes.
    group = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    replace_text(folder / "zarr.json", json.dumps(group, indent=1, allow_nan=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Writes a file beside its place and renames it there."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def make_array(folder: Path, channel: Channel, tokens: str | None) -> Any:
    """A channel's array, empty; one of that name is replaced.

    Args:
        folder: the recording's.
        channel: what goes in.
        tokens: whose rows axis 1 runs over: "all", "dead", "live", "own" (``token_ids/NAME``), or None.
    """
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    layout, itemsize = layout_of(channel), np.dtype(channel.dtype).itemsize
    chunk = (layout.frames, *channel.shape)
    inner = chunk if layout.rows is None else (layout.frames, layout.rows, *channel.shape[1:])
    # A shard is a whole number of blocks: the last one is filled up.
    shard = None if layout.rows is None else (chunk[0], -(-chunk[1] // layout.rows) * layout.rows, *chunk[2:])
    axes = ["step", *("token" if i == 0 and tokens else f"axis_{i + 1}" for i in range(len(channel.shape)))]
    return zarr.open_group(store=str(folder), mode="r+", zarr_format=3).create_array(
        channel.name,
        shape=(0, *channel.shape),
        dtype=channel.dtype,
        chunks=inner,
        shards=shard,
        # Level 1 and byte shuffle: on zigzag differences higher levels gain 2 % of raw in four times the time.
        compressors=[BloscCodec(typesize=itemsize, cname="zstd", clevel=1, shuffle="shuffle"), Crc32cCodec()],
        fill_value=0,
        dimension_names=axes,
        attributes={
            "format": channel.format,
            "unit": channel.unit,
            "definition": channel.definition,
            "tokens": tokens,
            "frames_per_chunk": layout.frames,
            "encoding": ENCODING if is_encoded(channel) else "as it is",
        },
        # One folder of files: a flush has to wait for the folder, too.
        chunk_key_encoding={"name": "default", "separator": "."},
        # A chunk that is not there must be a loss, never a chunk of zeros.
        config={"write_empty_chunks": True},
        overwrite=True,
    )


def is_encoded(channel: Channel) -> bool:
    """True where frames are stored as differences: rows of words."""
    return np.dtype(channel.dtype).kind == "u" and bool(channel.shape)


def open_array(folder: Path, name: str, *, writable: bool = False) -> Any:
    """An array of the recording.

    Raises:
        RecordingError: it is not there, or not packed as a recording's.
    """
    import zarr

    describe_array(folder, name)
    # Set globally: zarr 3.1 ignores `config` where the array is there already, and would leave out chunks of zeros.
    always = zarr.config.set({"array.write_empty_chunks": True})
    with reading(f"{folder.name}: {name}/zarr.json is damaged"), always:
        return zarr.open_array(store=str(folder / name), mode="r+" if writable else "r")


def describe_array(folder: Path, name: str) -> dict[str, Any]:
    """What an array's own file says of it.

    Raises:
        RecordingError: it is not there, or the array is not packed as a recording's.
    """
    path = folder / name / "zarr.json"
    if not path.is_file():
        raise RecordingError(f"{folder.name}: {name} is missing from the folder", hint="copy the folder again, whole")
    described = read_document(path, f"{folder.name}: {name}/zarr.json")
    strange = set(_codec_names(described.get("codecs"))) - _CODECS
    if strange:
        packed = ", ".join(sorted(strange))[:60]
        raise RecordingError(f"{folder.name}: {name} is packed with {packed}, which no recording uses")
    return described


def _codec_names(codecs: Any) -> Iterator[str]:
    for codec in codecs if isinstance(codecs, list) else []:
        yield str(codec.get("name")) if isinstance(codec, dict) else "?"
        configuration = codec.get("configuration") if isinstance(codec, dict) else None
        if isinstance(configuration, dict):
            yield from _codec_names(configuration.get("codecs"))


def chunk_path(folder: Path, channel: Channel, chunk: int) -> Path:
    """The file of a channel's chunk."""
    return folder / channel.name / ".".join(["c", str(chunk), *("0" for _ in channel.shape)])


def layout_on_disk(array: Any, channel: Channel, where: str) -> Layout:
    """The chunking that an array was written with.

    Raises:
        RecordingError: its chunks are not whole frames.
    """
    whole = tuple(array.shards or array.chunks)
    if len(array.shape) != 1 + len(channel.shape) or any(w < n for w, n in zip(whole[1:], channel.shape, strict=True)):
        raise RecordingError(f"{where}: its chunks {list(whole)} are not whole frames of {channel.covers}")
    return Layout(int(whole[0]), int(array.chunks[1]) if array.shards else None)


def write_ids(folder: Path, name: str, ids: NDArray[np.int64]) -> None:
    """Token ids as an array of the group."""
    import zarr

    group = zarr.open_group(store=str(folder), mode="r+", zarr_format=3)
    group.create_array(f"{TOKEN_IDS}/{name}", data=ids if len(ids) else np.empty(0, np.int64), overwrite=True)


def read_ids(folder: Path, name: str) -> NDArray[np.int64]:
    """Token ids of the recording.

    Raises:
        RecordingError: they are missing or damaged.
    """
    array = open_array(folder, f"{TOKEN_IDS}/{name}")
    with reading(f"{folder.name}: {TOKEN_IDS}/{name} is damaged"):
        return np.asarray(array[:]).astype(np.int64)
