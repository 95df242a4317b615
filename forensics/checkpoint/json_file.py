"""JSON from untrusted files: an object with unique keys, or one clear line."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from forensics.errors import CheckpointError

MAX_JSON_BYTES = 256 << 20
"""The largest tokenizer.json in circulation is near 40 MB."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: unreadable, too large, not JSON, not an object, or a key given twice.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(
                f"{path.name}: {path.stat().st_size:,} bytes of JSON, expected under {MAX_JSON_BYTES:,}"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.name}: cannot be read ({error.strerror})") from error
    return parse_json(raw, path.name)


def parse_json(raw: bytes, where: str) -> dict[str, Any]:
    """The object in a JSON text; ``where`` begins the error messages.

    Raises:
        CheckpointError: not JSON, not an object, or a key given twice.
    """
    try:
        # Decoded here: json would guess at UTF-16 and 32, which nothing that reads these files takes.
        text = raw.decode()
        parsed = json.loads(text, object_pairs_hook=_unique)
        if _SURROGATE.search(text):
            # Half of a surrogate pair is a string that cannot be written anywhere.
            json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CheckpointError(f"{where}: not valid JSON ({reason[:120]})", hint="download it again") from None
    if not isinstance(parsed, dict):
        raise CheckpointError(f"{where}: expected a JSON object, found {type(parsed).__name__}")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"key {twice[:80]!r} is given twice")
    return result
