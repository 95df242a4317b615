"""A corpus whose tokens die as in the founding runs: of a text that the tokenizer was trained on and the model not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from forensics.errors import ConfigError
from forensics.toy.census import Corpus
from forensics.toy.text_file import counted, encode, pieces, read_text, refusals

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_UNKNOWN = "<unk>"

# A word with the space before it, or one other space character: every character is kept, and no token spans a
# line end, so that a text encoded in pieces gives the tokens of the whole.
_WORDS = r" ?\S+|\s"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignText:
    """A BPE trained on a main and a foreign text, of which the model reads no foreign one: its tokens die.

    As in the founding runs it merges characters, not bytes, and has one special token, for what it does not know.

    Attributes:
        text: path of the main text, UTF-8.
        foreign: path of the foreign text, UTF-8.
        model_text: path of the text the model is trained on; "" takes ``text``.
        vocab: tokens of the BPE: the special one, the characters and the merges.
        limit_alphabet: most characters it keeps, the most frequent first.

    Raises:
        ConfigError: a size below 1.
    """

    kind: ClassVar[str] = "foreign"
    text: str = ""
    foreign: str = ""
    model_text: str = ""
    vocab: int = 10_000
    limit_alphabet: int = 2_799

    def __post_init__(self) -> None:
        """Refuses sizes below 1."""
        for name in ("vocab", "limit_alphabet"):
            if getattr(self, name) < 1:
                raise ConfigError(f"corpus.{name} is {getattr(self, name)!r}, expected a whole number from 1")


def read_foreign_text(spec: ForeignText) -> Corpus:
    """The corpus of a :class:`ForeignText`; the same texts give the same tokenizer.

    Raises:
        ConfigError: as :func:`forensics.toy.corpus.build_corpus`.
    """
    main, foreign = read_text(spec.text, "text"), read_text(spec.foreign, "foreign")
    model_text = read_text(spec.model_text, "model_text") if spec.model_text else main
    names = [Path(path).name for path in (spec.text, spec.foreign, spec.model_text or spec.text)]
    with refusals(" and ".join(names[:2])):
        tokenizer = _train(main, foreign, spec)
        tokens, document = encode(tokenizer, model_text), tokenizer.to_str()
    note = f"BPE trained on {names[0]} and {names[1]}; the model reads {names[2]}"
    return counted(tokens, spec.vocab, names[2], note, tokenizer_json=document)


def _train(main: str, foreign: str, spec: ForeignText) -> Tokenizer:
    """Trains the BPE on both texts.

    The alphabet is chosen here: the library breaks ties between equally frequent characters by chance.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    often = Counter(main)
    often.update(foreign)
    alphabet = sorted(sorted(often), key=often.__getitem__, reverse=True)[: spec.limit_alphabet]
    tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORDS), "isolated")
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocab,
        special_tokens=[_UNKNOWN],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chain(pieces(main), pieces(foreign)), trainer)
    size = tokenizer.get_vocab_size()
    if size != spec.vocab:
        raise ConfigError(
            f"corpus.vocab is {spec.vocab}, the texts give a BPE of {size} tokens, {len(alphabet)} of them characters",
            hint="take another vocab, a smaller limit_alphabet, or longer texts",
        )
    return tokenizer
