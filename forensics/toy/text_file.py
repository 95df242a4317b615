"""A corpus read from a text file with a tokenizer that exists, or byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from forensics.errors import ConfigError
from forensics.toy.census import Corpus, bigram_cross_entropy

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A text is encoded in pieces of about this many characters: the tokenizers library holds some 150 bytes a token
# until a call returns, and works on the pieces of a call side by side.
_PIECE = 1_000_000
_PIECES_AT_ONCE = 4

_BOUND = "context_entropy is what a bigram count model pays on held-out text: an upper bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A text and the tokenizer that reads it.

    Attributes:
        text: path of a UTF-8 text file, read as it lies there: line ends are not translated.
        tokenizer: path of a tokenizer.json, or "bytes": each byte is its own id.
        vocab: rows of the matrix; 0 takes the tokenizer's own size, 256 for bytes. More adds phantom ids, all dead;
            less is taken for bytes alone, if no byte needs more.

    Raises:
        ConfigError: a negative vocab.
    """

    kind: ClassVar[str] = "text"
    text: str = ""
    tokenizer: str = "bytes"
    vocab: int = 0

    def __post_init__(self) -> None:
        """Refuses a size below 0."""
        if self.vocab < 0:
            raise ConfigError(f"corpus.vocab is {self.vocab}, expected 0 (the tokenizer's own) or more")


def read_text_file(spec: TextFile) -> Corpus:
    """The corpus of a :class:`TextFile`.

    Memory: the text as a string (1 to 4 bytes a character), 4 bytes a token, and what ``_PIECE`` says.

    Raises:
        ConfigError: as :func:`forensics.toy.corpus.build_corpus`.
    """
    name = Path(spec.text).name
    if spec.tokenizer == "bytes":
        tokens = np.frombuffer(read_file(spec.text, "text"), np.uint8).astype(np.int32)
        return counted(tokens, spec.vocab or 256, name, "each byte is its own token")
    tokenizer, own = _open_tokenizer(spec.tokenizer)
    if 0 < spec.vocab < own:
        raise ConfigError(
            f"corpus.vocab is {spec.vocab}, {spec.tokenizer} has ids up to {own - 1}", hint=f"take 0 or at least {own}"
        )
    text = read_text(spec.text, "text")
    with refusals(spec.tokenizer):
        tokens = encode(tokenizer, text)
        document = tokenizer.to_str()
    notes = []
    if len(text) > _PIECE:
        notes.append(f"encoded in pieces of {_PIECE} characters cut at line ends; a token across a cut is split")
    if spec.vocab > own:
        notes.append(f"{spec.vocab - own} ids are phantom: no token of the tokenizer has them")
    return counted(tokens, spec.vocab or own, name, *notes, tokenizer_json=document)


def counted(tokens: NDArray[np.int32], vocab: int, name: str, *notes: str, tokenizer_json: str | None = None) -> Corpus:
    """The census of a text, with what context is worth in it at least."""
    corpus = Corpus.from_tokens(tokens, vocab, name=name, notes=(*notes, _BOUND), tokenizer_json=tokenizer_json)
    return replace(corpus, context_entropy=bigram_cross_entropy(corpus.tokens, vocab))


def read_file(path: str, key: str) -> bytes:
    """A file that is there and is not empty; ``key`` is the setting that names it."""
    if not path:
        raise ConfigError(f"corpus.{key} names no file", hint=f"set corpus.{key} to a path")
    try:
        raw = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({reason})", hint=f"set corpus.{key} to a file") from error
    if not raw:
        raise ConfigError(f"{path}: the file is empty", hint=f"set corpus.{key} to a file with text")
    return raw


def read_text(path: str, key: str) -> str:
    r"""A file's text. Text mode is not used: it turns \r\n into \n, which cost the founding runs a live byte."""
    raw = read_file(path, key)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: not UTF-8 at byte {error.start}, line {line} (0x{raw[error.start]:02x}: {error.reason})",
            hint="convert it to UTF-8",
        ) from error


def pieces(text: str) -> Iterator[str]:
    """The text cut after the first line end past every ``_PIECE`` characters."""
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin + _PIECE - 1) + 1 or len(text)
        yield text[begin:end]
        begin = end


def encode(tokenizer: Tokenizer, text: str) -> NDArray[np.int32]:
    """The text's ids, with no special token added: int32[n]."""
    cut = pieces(text)
    parts = [np.empty(0, np.int32)]
    while some := list(islice(cut, _PIECES_AT_ONCE)):
        for encoding in tokenizer.encode_batch_fast(some, add_special_tokens=False):
            parts.append(np.array(encoding.ids, np.int32))
    return np.concatenate(parts)


def _open_tokenizer(path: str) -> tuple[Tokenizer, int]:
    """The tokenizer, which then neither truncates nor pads, and one more than its largest id."""
    from tokenizers import Tokenizer

    document = read_text(path, "tokenizer")
    with refusals(path):
        tokenizer = Tokenizer.from_str(document)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer, max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


@contextmanager
def refusals(origin: str) -> Iterator[None]:
    """Turns what the tokenizers library throws into one error; it has no class of its own, a panic is no Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, ConfigError):
        raise
    except BaseException as error:
        what = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"{origin}: the tokenizers library refuses it ({what})", hint="give a tokenizer.json, or 'bytes'"
        ) from error
