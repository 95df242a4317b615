"""Makes a recording's folder: the group, the token ids and one empty array a channel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.errors import OutputError, RecordingError
from forensics.recording.channel import Channel
from forensics.recording.layout import SCHEMA
from forensics.recording.store import FRAMES_FILE, make_array, make_group, read_attributes, write_ids


def make_folder(
    folder: Path, made_of: Mapping[str, Any], channels: Mapping[str, Channel], dead: NDArray[np.int64]
) -> dict[str, Any]:
    """Writes everything but frames.json, which makes it a recording.

    Args:
        folder: there, locked, and of nobody else.
        made_of: the run's config, vocab_size and extra.
        channels: by name.
        dead: ``int64[n]``, ascending.

    Returns:
        The arrays by channel.

    Raises:
        RecordingError: JSON cannot hold the config or the extra.
        OSError: the file system refused.
    """
    from forensics import __version__

    written = {"schema": SCHEMA, "written_by": __version__, "channels": list(channels)}
    make_group(folder, {**written, **{what: _plain(value, what) for what, value in made_of.items()}})
    write_ids(folder, "dead", dead)
    arrays = {}
    for name, channel in channels.items():
        tokens = _tokens_of(channel, int(made_of["vocab_size"]), dead)
        if tokens == "own" and channel.token_ids is not None:
            write_ids(folder, name, channel.token_ids)
        arrays[name] = make_array(folder, channel, tokens)
    return arrays


def change_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Replaces the run's settings in the group's own file.

    Raises:
        RecordingError: JSON cannot hold them.
        OSError: the file system refused.
    """
    make_group(folder, {**read_attributes(folder), "config": _plain(config, "config")})


def check_tokens(channels: Mapping[str, Channel], vocab_size: int) -> None:
    """Channels are over tokens that there are.

    Raises:
        RecordingError: one is not.
    """
    for name, channel in channels.items():
        ids = channel.token_ids
        if ids is not None and len(ids) and ids[-1] >= vocab_size:
            raise RecordingError(f"channel {name}: token {ids[-1]} is beyond the {vocab_size:,} of the vocabulary")


def _tokens_of(channel: Channel, vocab_size: int, dead: NDArray[np.int64]) -> str | None:
    """The name of the set of tokens: the three that need no list of their own, or "own"."""
    ids = channel.token_ids
    if ids is None:
        return None
    if len(ids) == vocab_size:
        return "all"
    if np.array_equal(ids, dead):
        return "dead"
    is_live = len(ids) + len(dead) == vocab_size and not np.isin(ids, dead).any()
    return "live" if is_live else "own"


def refuse_what_is_there(folder: Path) -> None:
    """A folder may be made a recording; one that was cut off while it was made may be made again.

    Raises:
        OutputError: it is one already, or holds other Zarr data.
    """
    if not (folder / "zarr.json").exists():
        return
    try:
        read_attributes(folder)
    except RecordingError as error:
        raise OutputError(f"{folder.name}: holds other Zarr data", hint="choose another folder") from error
    if (folder / FRAMES_FILE).exists():
        raise OutputError(
            f"{folder.name}: holds a recording", hint="go on with it by resuming, or choose another folder"
        )


def _plain(value: Any, what: str) -> Any:
    """As JSON gives it back."""
    try:
        return json.loads(json.dumps(dict(value) if isinstance(value, Mapping) else int(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise RecordingError(f"{what}: JSON cannot hold it ({error})") from error
