"""The words of a matrix in a numpy file."""

from __future__ import annotations

import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.errors import ConfigError
from forensics.formats import BFLOAT16, FloatFormat, Words

BLOCK = 1 << 18
"""Numbers read at a time."""

NOT_A_FILE = (OSError, ValueError, TypeError, OverflowError, EOFError, SyntaxError, tokenize.TokenError)
"""What numpy raises on a file that is missing, cut off or no array."""


def read_words(path: str, rows: int, dim: int, fmt: FloatFormat) -> Words:
    """The words of an .npy file's numbers, rounded to the format; uint16 is taken for bfloat16 words.

    The file is mapped, never unpickled, and read block by block.

    Raises:
        ConfigError: no path, no such file, a file that is no array of that shape and of float32, float16 or (for
            bfloat16) uint16, or a number that is not finite in the format.
    """
    array = _mapped(path)
    if array.shape != (rows, dim):
        raise ConfigError(f"{path}: expected an array of [{rows}, {dim}], found {list(array.shape)}")
    if not _readable(array.dtype, fmt):
        words_too = " or uint16 (its words)" if fmt == BFLOAT16 else ""
        raise ConfigError(
            f"{path}: expected float32, float16{words_too} for a matrix of {fmt.name}, found {array.dtype}",
            hint="numpy.save(path, array.astype('float32')) writes one",
        )
    words = np.empty((rows, dim), fmt.word_dtype)
    step = max(1, BLOCK // dim)
    for start in range(0, rows, step):
        block = array[start : start + step]
        found = block.astype(fmt.word_dtype) if block.dtype.kind == "u" else fmt.narrow(block)
        _refuse_infinite(path, found, start, fmt)
        words[start : start + step] = found
    return words


def _mapped(path: str) -> NDArray[Any]:
    if not path:
        raise ConfigError("initialisation 'file': no path is given", hint="path names an .npy file")
    try:
        return np.lib.format.open_memmap(Path(path), mode="r")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except NOT_A_FILE as error:
        raise ConfigError(f"{path}: not a readable .npy file ({error})", hint="numpy.save writes one") from None


def _readable(dtype: np.dtype[Any], fmt: FloatFormat) -> bool:
    if dtype.kind == "u":
        return dtype.itemsize == 2 and fmt == BFLOAT16
    return dtype.kind == "f" and dtype.itemsize <= 4


def _refuse_infinite(path: str, words: Words, start: int, fmt: FloatFormat) -> None:
    bad = ((words & fmt.magnitude_mask) > fmt.largest_finite).any(axis=1)
    if bad.any():
        raise ConfigError(f"{path}: row {start + int(bad.argmax())} holds a number that is not finite in {fmt.name}")
