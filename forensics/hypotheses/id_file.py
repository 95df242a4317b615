"""A user's list of token ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forensics.errors import SelectionError

MAX_FILE = 1 << 24
"""Bytes of a list of ids: more than the ids of any vocabulary take."""


def read_ids(file: Path, n_rows: int) -> NDArray[np.int64]:
    """Token ids from a file: a JSON list, or numbers apart by white space or commas; ascending, each once.

    Raises:
        SelectionError: not readable, no list of ids, or an id that the matrix does not have.
    """
    name, expected = str(file)[:80], "expected a file of ids: a JSON list, or numbers apart by spaces or commas"
    try:
        if file.stat().st_size > MAX_FILE:
            raise SelectionError(f"{name}: larger than a list of ids", hint=f"at most {MAX_FILE:,} bytes are read")
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SelectionError(f"{name}: not UTF-8 (byte {error.start:,})", hint=expected) from error
    except (OSError, ValueError) as error:  # a zero byte in the name
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SelectionError(f"{name}: cannot be read ({why})", hint=expected) from error
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else text.replace(",", " ").split()
        # Nine digits hold every id, and keep int() from a number of a million digits.
        ids = [int(word) for word in map(str, found) if word.isascii() and word.isdecimal() and len(word) <= 9]
    except (ValueError, RecursionError) as error:
        raise SelectionError(f"{name}: not a JSON list ({error})"[:200], hint="expected [1, 2, 3]") from error
    if len(ids) != len(found):
        message = f"{name}: {len(found) - len(ids)} of {len(found)} entries are not token ids"
        raise SelectionError(message, hint=expected)
    beyond = [i for i in ids if i >= n_rows]
    if beyond:
        message = f"{name}: no token {beyond[0]:,}: the matrix has rows 0 to {n_rows - 1:,}"
        raise SelectionError(message, hint="give ids of this matrix's tokens")
    return np.unique(np.array(ids, dtype=np.int64))
