"""The kinds of corpus a run can be trained on, and how one is built."""

from __future__ import annotations

from forensics.toy.census import Corpus
from forensics.toy.foreign_text import ForeignText, read_foreign_text
from forensics.toy.synthetic_text import SyntheticText, synthesize
from forensics.toy.text_file import TextFile, read_text_file

__all__ = ["CORPORA", "Corpus", "CorpusSpec", "ForeignText", "SyntheticText", "TextFile", "build_corpus"]

CorpusSpec = SyntheticText | TextFile | ForeignText
CORPORA: dict[str, type[CorpusSpec]] = {spec.kind: spec for spec in (SyntheticText, TextFile, ForeignText)}
"""Every kind of corpus by the name a run's settings give it."""


def build_corpus(spec: CorpusSpec) -> Corpus:
    """Reads, trains or draws the corpus, and counts it; the same spec and files give the same stream.

    Raises:
        ConfigError: a file that is not there, is not UTF-8, is empty or is no tokenizer; a vocabulary that does not
            hold every id that occurs, or that the texts cannot fill.
    """
    match spec:
        case SyntheticText():
            return synthesize(spec)
        case TextFile():
            return read_text_file(spec)
        case ForeignText():
            return read_foreign_text(spec)
